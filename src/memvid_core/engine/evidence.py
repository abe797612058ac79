"""Evidence: how far a memory's rankings can be trusted, learned from its own texts without labels.

The weight of the vectors of the built-in embedder follows from the length of the texts. The scores to expect if no text
is relevant follow from *practice questions*: parts of sentences, asked of all texts but their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.engine import fusion
from memvid_core.engine.index_folder import IndexFolder
from memvid_core.engine.snapshot import Snapshot
from memvid_core.errors import DamagedFrameError
from memvid_core.model import is_fittable
from memvid_core.system.atomic_files import write_file
from memvid_core.words.scores import Ranking

__all__ = [
    "GAIN",
    "LEAST",
    "Evidence",
    "Sample",
    "Without",
    "copy_evidence",
    "enough",
    "evidence_of",
    "learned",
    "odds",
    "practice",
    "sample_of",
    "sample_step",
    "support",
    "trust",
    "usual_scores",
    "weight",
]

LEAST: Final = 1_000
"""The minimum number of records to learn from; fewer use the defaults of :class:`Evidence`."""

_VERSION: Final = 5
_FILE: Final = "evidence"
_SUM_BYTES: Final = 32  # hexadecimal, before the JSON text
_MOST_BYTES: Final = 4_096
_SAMPLE: Final = 1_024  # texts
_QUESTIONS: Final = 128
_CHARACTERS: Final = 2_000  # of a text
_WORDS: Final = 12  # of a practice question
_FEWEST_WORDS: Final = 4
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_LONG: Final = 2_500  # characters
_LEAST_WEIGHT, _MOST_WEIGHT = 0.05, 0.45
_QUANTILE: Final = 0.75
_NARROWEST: Final = 0.03


GAIN: Final = 0.1
"""The additional weight of the refined dense ranking of the built-in embedder, times :func:`support`."""

_MOST_TRUST: Final = 0.55
_MOST_TRUST_SHORT: Final = 0.15  # for texts without length
_TOKENS: Final = 400  # of a text, for a whole unit more
_NO_TRUST: Final = 0.2  # of support, which questions in another language have by chance
_SUPPORTED: Final = 5  # texts


class Evidence(NamedTuple):
    """What a memory's texts say about its rankings. The defaults are for memories with too few texts.

    Attributes:
        alpha: The weight of the dense ranking of the built-in embedder.
        usual: The combined score that three of four questions without a relevant text do not reach.
        spread: The difference between that score and the median.
        usual_words: Like ``usual``, for lexical scores alone.
        spread_words: Like ``spread``, for lexical scores alone.
        background: The mean cosine of two of the memory's vectors.
    """

    alpha: float = fusion.ALPHA
    usual: float = 0.43
    spread: float = 0.05
    usual_words: float = 0.45
    spread_words: float = 0.06
    background: float = 0.0

    def of_words(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return relevances in [0, 1] from lexical scores (n,)."""
        return _logistic((scores - self.usual_words) / self.spread_words)

    def of_both(self, words: NDArray[np.floating], cosines: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return relevances in [0, 1] from lexical scores (n,) and scores (n,) of the built-in embedder."""
        return _logistic(((words + cosines) / 2 - self.usual) / self.spread)

    def of_model(
        self, words: NDArray[np.floating], cosines: NDArray[np.floating], support: float
    ) -> NDArray[np.float64]:
        """Return relevances in [0, 1] from lexical scores (n,) and scores (n,) of a model with that support."""
        share = min(0.5, support)
        above = np.clip((cosines - self.background) / max(1 - self.background, 1e-6), 0, 1)
        mixed: NDArray[np.float64] = (1 - share) * self.of_words(words) + share * above
        return mixed


class Practice(NamedTuple):
    """A practice question, and the place of its text."""

    place: int
    question: str


def practice(texts: Sequence[str], count: int = _QUESTIONS) -> list[Practice]:
    """Make practice questions from evenly spread texts; the same texts always give the same questions.

    Args:
        texts: The texts.
        count: The approximate number of questions.

    Example:
        >>> [asked] = practice(["The wing of an aircraft lifts it."], 1)
        >>> asked.question
        'The wing of an aircraft lifts it.'
    """
    made = []
    for place in range(0, len(texts), max(1, len(texts) // max(1, count))):
        sentences = [part for part in map(str.strip, _SENTENCE.split(texts[place])) if part]
        long = [i for i, sentence in enumerate(sentences) if len(sentence.split()) >= _FEWEST_WORDS]
        if long:
            words = sentences[long[_mixed(place, 1) % len(long)]].split()
            start = _mixed(place, 2) % (len(words) - _WORDS + 1) if len(words) > _WORDS else 0
            made.append(Practice(place, " ".join(words[start : start + _WORDS])))
    return made


def _mixed(*numbers: int) -> int:
    """Return a pseudo-random number from numbers, the same on every machine."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = ((state ^ number) * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & ((1 << 64) - 1)
        state ^= state >> 29
    return state


def _logistic(values: NDArray[np.floating]) -> NDArray[np.float64]:
    limited = np.clip(np.asarray(values, np.float64), -30, 30)
    found: NDArray[np.float64] = 1 / (1 + np.exp(-limited))
    return found


def weight(texts: Sequence[str]) -> float:
    """Return the weight of the built-in embedder's ranking, which is better the longer the texts are.

    Its vectors add up the words of a text. Those of one sentence say little, and its words are compared more exactly as
    words.

    Args:
        texts: The texts, each cut to 2,000 characters.

    Returns:
        The mean number of characters divided by 2,500, in [0.05, 0.45]; the default without texts.

    Example:
        >>> weight(["a" * 500, "b" * 1_000]), weight(["Ada drinks tea."])
        (0.3, 0.05)
    """
    if not texts:
        return fusion.ALPHA
    return round(min(max(sum(map(len, texts)) / len(texts) / _LONG, _LEAST_WEIGHT), _MOST_WEIGHT), 3)


def usual_scores(rankings: Iterable[tuple[Ranking, Ranking]]) -> dict[str, float]:
    """Return the fields of :class:`Evidence` on the scores of questions without a relevant text.

    Args:
        rankings: For each question, the lexical and the dense ranking, with scores in [0, 1].
    """
    best = [(_combined(words, dense), _best(words[1])) for words, dense in rankings]
    if not best:
        return {}
    both, words = zip(*best, strict=True)
    return {**_quantiles(both, "usual", "spread"), **_quantiles(words, "usual_words", "spread_words")}


def odds(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return BM25 scores, in units of the ideal score, from lexical scores in [0, 1)."""
    return (scores / np.maximum(1 - scores, np.finfo(np.float32).eps)).astype(np.float32)


def _best(scores: NDArray[np.float32]) -> float:
    return float(scores.max(initial=0))


def _combined(lexical: Ranking, dense: Ranking) -> float:
    """Return the best combined score of a question."""
    by_row = dict(zip(lexical[0].tolist(), lexical[1].tolist(), strict=True))
    near = dict(zip(dense[0].tolist(), fusion.dense_score(dense[1]).tolist(), strict=True))
    return max(((by_row.get(row, 0.0) + near.get(row, 0.0)) / 2 for row in {*by_row, *near}), default=0.0)


def _quantiles(values: Sequence[float], usual: str, spread: str) -> dict[str, float]:
    median, upper = np.quantile(values, (0.5, _QUANTILE)).tolist()
    return {usual: round(upper, 4), spread: round(max(upper - median, _NARROWEST), 4)}


class Sample(NamedTuple):
    """An even sample of the live rows: their numbers, the beginnings of their texts, and vectors (n, d) of some."""

    rows: list[int]
    texts: list[str]
    vectors: NDArray[np.float32]


Without = Callable[[str, int], tuple[Ranking, Ranking]]
"""A function of a question and a row: the lexical and the dense ranking of the other rows, with scores in [0, 1]."""


def evidence_of(snapshot: Snapshot, known: dict[str, Evidence], without: Without) -> Evidence:
    """Return the evidence of a memory, learned at 1,000 records and each time that their number has doubled.

    It is kept in the index folder, and derived again from the texts if that is deleted.

    Args:
        snapshot: The snapshot that is searched.
        known: What this process has learned; changed by this function.
        without: Searches the snapshot.
    """
    records = snapshot.record_count
    if not enough(records):
        return Evidence()
    index = snapshot.epoch.index
    key = _key(snapshot, index)
    if key not in known:
        path = _path(index)
        found = _read(path, key, index)
        if found is None:
            found = learned(sample_of(snapshot), lambda questions: (without(*question) for question in questions))
            _write(path, key, found, index)
            index.protect()
        known.clear()
        known[key] = found
    return known[key]


def copy_evidence(snapshot: Snapshot, made: IndexFolder) -> None:
    """Copy the evidence of a memory, if it is known, to the index of a compacted one.

    Args:
        snapshot: The snapshot whose live records were copied.
        made: The index of the copy, which has these records.
    """
    index = snapshot.epoch.index
    found = _read(_path(index), _key(snapshot, index), index)
    if found is not None:
        _write(_path(made), _key(snapshot, made), found, made)


def _path(index: IndexFolder) -> Path | None:
    return None if index.folder is None else index.folder / _FILE


def _key(snapshot: Snapshot, index: IndexFolder) -> str:
    """Return what the evidence depends on; another key means that it is outdated."""
    model = index.catalog.model_number(snapshot.commit)
    kind = snapshot.embedder.name if is_fittable(snapshot.embedder) else ""
    return f"{_VERSION} {snapshot.record_count.bit_length()} {model or 0} {kind}"


def enough(records: int) -> bool:
    """Return whether so many records are enough to learn from."""
    return records >= LEAST


def learned(
    sample: Sample, rankings: Callable[[Sequence[tuple[str, int]]], Iterable[tuple[Ranking, Ranking]]]
) -> Evidence:
    """Return the evidence of texts.

    Args:
        sample: An even sample of the rows.
        rankings: A function of pairs of a question and a row: for each, the lexical and the dense ranking of the other
            rows, with scores in [0, 1].
    """
    rows, texts, vectors = sample
    usual = usual_scores(rankings([(asked.question, rows[asked.place]) for asked in practice(texts)]))
    return Evidence()._replace(alpha=weight(texts), background=_background(vectors), **usual)


def sample_of(snapshot: Snapshot, first: int = 0, step: int | None = None) -> Sample:
    """Return an even sample of the live rows.

    Args:
        snapshot: The snapshot.
        first: The place of the first one among the live rows.
        step: The distance of two; None for about 1,000 of them.
    """
    live = np.flatnonzero(snapshot.live)
    rows, texts = [], []
    for row in live[first :: sample_step(len(live)) if step is None else step].tolist():
        with suppress(DamagedFrameError):
            texts.append(snapshot.record(row).text[:_CHARACTERS])
            rows.append(row)
    index = snapshot.vector_index
    having = np.array([row for row in rows if index is not None and snapshot.dense[row]], np.int64)
    return Sample(rows, texts, np.zeros((0, 0), np.float32) if index is None else index.vectors(having))


def sample_step(records: int) -> int:
    """Return the distance of two sampled rows of so many live ones."""
    return max(1, -(-records // _SAMPLE))


def _background(vectors: NDArray[np.float32]) -> float:
    """Return the mean cosine of two vectors (n, d), which is the squared length of the mean unit vector."""
    if not len(vectors):
        return 0.0
    wide = vectors.astype(np.float64)
    units = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return round(min(float(np.square(units.mean(axis=0)).sum()), 1.0), 4)


def _read(path: Path | None, key: str, index: IndexFolder) -> Evidence | None:
    """Return the kept evidence; None if there is none for this key and this memory, or the file is damaged."""
    if path is None or not path.is_file():  # a pipe would be waited for
        return None
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES)
        checksum, body = data[:_SUM_BYTES], data[_SUM_BYTES:]
        kept = json.loads(body) if checksum == xxhash.xxh3_128_hexdigest(body).encode() else {}
        found = Evidence(*(float(kept[name]) for name in Evidence._fields))
        usable = kept["key"] == key and all(0 <= value <= 1 for value in found)
        usable = usable and index.holds(bytes.fromhex(kept["cursor"]), 0)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if usable else None


def _write(path: Path | None, key: str, found: Evidence, index: IndexFolder) -> None:
    """Keep the evidence behind its checksum, with a commit that the memory has, if the folder can be written."""
    if path is None or not path.parent.is_dir():
        return
    body = json.dumps({"key": key, "cursor": (index.cursor or b"").hex(), **found._asdict()}).encode()
    with suppress(OSError):
        write_file(path, xxhash.xxh3_128_hexdigest(body).encode() + body, durable=False)


def support(dense: Ranking, lexical: Ranking) -> float:
    """Return how far the words support a dense ranking: the mean relative BM25 score of its first five rows.

    A model that knows the language of the question ranks texts first that have some of its words. The first texts of
    one that does not know it are arbitrary, and most have none.

    Args:
        dense: Rows, best first.
        lexical: About 100 rows with their BM25 scores, best first.

    Returns:
        0 if no word occurs in the first rows, 1 if they are as good as the best lexical one, or no text has a word.

    Example:
        >>> dense = np.array([3, 1]), np.array([0.9, 0.8], np.float32)
        >>> support(dense, (np.array([1, 7]), np.array([8.0, 4.0], np.float32)))
        0.5
    """
    rows, scores = lexical
    if not len(rows) or not len(dense[0]):
        return 1.0
    known = dict(zip(rows.tolist(), scores.tolist(), strict=True))
    first = dense[0][:_SUPPORTED].tolist()
    best = float(scores[0])
    return sum(known.get(row, 0.0) for row in first) / (len(first) * best) if best > 0 else 1.0


def trust(dense: Ranking, lexical: Ranking, tokens: float) -> float:
    """Return the weight of an external model's ranking, from its support by the words and the length of the texts.

    So an English model does not spoil the answers to Korean questions. And the words of a short text say most of what
    it says, and few other texts have them, so that they are compared more exactly as words.

    Args:
        dense: About 100 rows, best first.
        lexical: About as many rows with their BM25 scores, best first.
        tokens: The mean number of tokens of the memory's texts in the words index.

    Returns:
        The weight of the dense ranking: 0 up to a support of 0.2, 0.55 from a support of 0.57 on; for texts of fewer
        than 160 tokens at most 0.15 and a 400th for each token.

    Example:
        >>> dense = np.array([3, 1, 2, 4]), np.array([0.9, 0.8, 0.7, 0.6], np.float32)
        >>> lexical = np.array([1, 3]), np.array([8.0, 8.0], np.float32)
        >>> round(trust(dense, lexical, 200), 3), round(trust(dense, lexical, 20), 3)
        (0.45, 0.2)
    """
    most = min(_MOST_TRUST, _MOST_TRUST_SHORT + tokens / _TOKENS)
    return min(most, 1.5 * max(0.0, support(dense, lexical) - _NO_TRUST))
