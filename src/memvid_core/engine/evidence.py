"""Evidence: how far a memory's rankings can be trusted, learned from its own texts without labels.

A *practice question* is a part of a sentence of a text, and three quarters of its words are removed from the text. Both
rankings look for the text among a sample of the memory. The weight that finds most of them is the weight of the dense
ranking in this memory. The same questions without their text show the scores to expect if no text is relevant.

Source: the inverse cloze task (Lee, Chang and Toutanova, ACL 2019), with some words left, as in most real questions.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.engine import fusion
from memvid_core.engine.snapshot import Snapshot
from memvid_core.errors import DamagedFrameError
from memvid_core.index.words.lexical_index import LexicalIndex
from memvid_core.index.words.scores import Ranking, top_k
from memvid_core.model import Embedder, FittableEmbedder, plain_query

__all__ = [
    "GAIN",
    "LEAST",
    "Evidence",
    "Without",
    "best_weight",
    "evidence_of",
    "odds",
    "practice",
    "support",
    "trust",
    "usual_scores",
    "weight",
]

LEAST: Final = 1_000
"""The minimum number of records to learn from; fewer use the defaults of :class:`Evidence`."""

_VERSION: Final = 3
_FILE: Final = "evidence.json"
_SAMPLE: Final = 1_024  # texts
_QUESTIONS: Final = 128
_CHARACTERS: Final = 2_000  # of a text
_WORDS: Final = 12  # of a practice question
_FEWEST_WORDS: Final = 4
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_WEIGHTS = np.linspace(0, 1, 11)
_PRIOR, _WIDTH = 0.3, 0.5  # most collections are best searched with a dense weight of 0 to 0.7
_CERTAIN = 0.5  # so many more questions found make a weight e times as plausible
_QUANTILE: Final = 0.75
_NARROWEST: Final = 0.03


GAIN: Final = 0.25
"""The additional weight of the refined dense ranking of the built-in embedder, times :func:`support`."""

_MOST_TRUST: Final = 0.55
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
    """A practice question, the text without most of the question's words, and the place of the text."""

    place: int
    question: str
    text: str


def practice(texts: Sequence[str], count: int = _QUESTIONS) -> list[Practice]:
    """Make practice questions from evenly spread texts; the same texts always give the same questions.

    Args:
        texts: The texts.
        count: The approximate number of questions.

    Example:
        >>> [asked] = practice(["The wing of an aircraft lifts it."], 1)
        >>> asked.question, len(asked.text.split())
        ('The wing of an aircraft lifts it.', 2)
    """
    made = []
    for place in range(0, len(texts), max(1, len(texts) // max(1, count))):
        sentences = [part for part in map(str.strip, _SENTENCE.split(texts[place])) if part]
        long = [i for i, sentence in enumerate(sentences) if len(sentence.split()) >= _FEWEST_WORDS]
        if long:
            chosen = long[_mixed(place, 1) % len(long)]
            made.append(_reduced(place, sentences, chosen))
    return made


def _reduced(place: int, sentences: list[str], chosen: int) -> Practice:
    words = sentences[chosen].split()
    start = _mixed(place, 2) % (len(words) - _WORDS + 1) if len(words) > _WORDS else 0
    asked = words[start : start + _WORDS]
    order = sorted(range(len(asked)), key=lambda i: _mixed(place, 3 + i))
    removed = {start + i for i in order[: 3 * len(asked) // 4]}
    left = " ".join(word for i, word in enumerate(words) if i not in removed)
    return Practice(place, " ".join(asked), "\n".join((*sentences[:chosen], left, *sentences[chosen + 1 :])))


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


def weight(texts: Sequence[str], embedder: Embedder | None) -> float:
    """Return the weight of the dense ranking, learned from texts in about a second.

    Args:
        texts: The texts, each cut to 2,000 characters.
        embedder: The memory's embedder. Only the built-in one is used: another one may be slow, remote, or paid for.

    Returns:
        The weight, in [0, 1]; the default if the texts are too short for practice questions.
    """
    asked = practice(texts)
    if not asked or not isinstance(embedder, FittableEmbedder):
        return fusion.ALPHA
    sample = list(texts)
    space = _embedded(sample, asked, embedder)
    return best_weight(asked, _dense(space, asked), _lexical(sample, asked), space)


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


def _lexical(sample: list[str], asked: list[Practice]) -> list[Ranking]:
    """Return for each question the rows and scores in [0, 1]; its own text is the reduced one."""
    index = LexicalIndex()
    index.extend(0, [*sample, *(question.text for question in asked)])
    count = len(sample)
    mask = np.zeros(count + len(asked), np.bool_)
    mask[:count] = True
    rankings = []
    for number, question in enumerate(asked):
        mask[question.place], mask[count + number] = False, True
        rows, scores = index.search(plain_query(question.question), fusion.CANDIDATES, mask, normalized=True)
        mask[question.place], mask[count + number] = True, False
        rankings.append((np.where(rows == count + number, question.place, rows), scores))
    index.close()
    return rankings


class Space(NamedTuple):
    """The vectors of practice: of the texts (n, d), and of each question and its reduced text (q, d)."""

    texts: NDArray[Any]
    questions: NDArray[Any]
    reduced: NDArray[Any]

    def of_rows(self, number: int, place: int, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the vectors of rows for a question, whose own text is the reduced one."""
        return np.where((rows == place)[:, np.newaxis], self.reduced[number], self.texts[rows])


def _embedded(sample: list[str], asked: list[Practice], embedder: FittableEmbedder) -> Space:
    """Embed the practice.

    A fitted embedder knows which words of its texts occur together, so the copy used here is not fitted to the texts
    that are looked for.
    """
    embed = _fitted_to_others(sample, asked, embedder).embed_documents
    return Space(embed(sample), embed([one.question for one in asked]), embed([one.text for one in asked]))


def _dense(space: Space, asked: list[Practice]) -> list[Ranking]:
    """Return for each question the rows and their cosines."""
    cosines: NDArray[Any] = space.questions @ space.texts.T
    places = np.array([question.place for question in asked])
    cosines[np.arange(len(asked)), places] = np.einsum("ij,ij->i", space.questions, space.reduced)
    rows = np.arange(len(space.texts), dtype=np.int64)
    return [top_k(rows, line, fusion.CANDIDATES) for line in cosines.astype(np.float32)]


def _fitted_to_others(sample: list[str], asked: list[Practice], embedder: FittableEmbedder) -> FittableEmbedder:
    copy = embedder.clone()
    if embedder.fitted:
        places = {question.place for question in asked}
        copy.fit([text for place, text in enumerate(sample) if place not in places])
    return copy


def best_weight(asked: list[Practice], dense: list[Ranking], lexical: list[Ranking], space: Space) -> float:
    """Return the mean of the weights, weighted by how well they do and by a prior.

    The quality of a weight is the mean reciprocal rank of the text, found as a search finds it: by two fusions. The
    means of neighboring weights hardly differ, so a mean is more stable than the best one.
    """
    reached = np.zeros(len(_WEIGHTS))
    for number, (question, by_vector, by_word) in enumerate(zip(asked, dense, lexical, strict=True)):
        ratios = by_word[0], odds(by_word[1])
        gain = GAIN * support(by_vector, ratios)
        vectors = partial(space.of_rows, number, question.place)
        for at, alpha in enumerate(_WEIGHTS.tolist()):
            weights = {"alpha": alpha, "refined": min(1.0, alpha + gain)}
            rows = fusion.hybrid(space.questions[number], by_vector, ratios, vectors, 10, **weights).rows
            ranks = np.flatnonzero(rows == question.place)
            reached[at] += 1 / (1 + ranks[0]) if len(ranks) else 0
    plausible = np.exp((reached - reached.max()) / _CERTAIN - (_WEIGHTS - _PRIOR) ** 2 / (2 * _WIDTH**2))
    return float(np.round(plausible @ _WEIGHTS / plausible.sum(), 3))


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
    if records < LEAST:
        return Evidence()
    index = snapshot.epoch.index
    model = index.catalog.model_number(snapshot.commit)
    kind = snapshot.embedder.name if isinstance(snapshot.embedder, FittableEmbedder) else ""
    key = f"{_VERSION} {records.bit_length()} {model or 0} {kind}"
    if key not in known:
        path = None if index.folder is None else index.folder / _FILE
        found = _read(path, key)
        if found is None:
            found = _learned(snapshot, without)
            _write(path, key, found)
            index.protect()
        known.clear()
        known[key] = found
    return known[key]


def _learned(snapshot: Snapshot, without: Without) -> Evidence:
    rows, texts = _sample(snapshot)
    usual = usual_scores(without(asked.question, rows[asked.place]) for asked in practice(texts))
    background = _background(snapshot, rows)
    return Evidence()._replace(alpha=weight(texts, snapshot.embedder), background=background, **usual)


def _sample(snapshot: Snapshot) -> tuple[list[int], list[str]]:
    """Return an even sample of the rows, with the beginnings of their texts."""
    live = np.flatnonzero(snapshot.live)
    rows, texts = [], []
    for row in live[:: -(-len(live) // _SAMPLE)].tolist():
        with suppress(DamagedFrameError):
            texts.append(snapshot.record(row).text[:_CHARACTERS])
            rows.append(row)
    return rows, texts


def _background(snapshot: Snapshot, rows: list[int]) -> float:
    """Return the mean cosine of two vectors, which is the squared length of the mean unit vector."""
    index = snapshot.vector_index
    having = [row for row in rows if snapshot.dense[row]]
    if index is None or not having:
        return 0.0
    vectors = index.vectors(np.array(having, np.int64)).astype(np.float64)
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return round(min(float(np.square(units.mean(axis=0)).sum()), 1.0), 4)


def _read(path: Path | None, key: str) -> Evidence | None:
    """Return the kept evidence; None if there is none for this key, or it is unreadable."""
    if path is None:
        return None
    try:
        kept = json.loads(path.read_text("utf-8"))
        found = Evidence(*(float(kept[name]) for name in Evidence._fields))
        usable = kept["key"] == key and all(0 <= value <= 1 for value in found)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if usable else None


def _write(path: Path | None, key: str, found: Evidence) -> None:
    """Keep the evidence, if the folder can be written."""
    if path is None or not path.parent.is_dir():
        return
    made = path.with_name(f"{_FILE}.{os.getpid()}")
    with suppress(OSError):
        made.write_text(json.dumps({"key": key, **found._asdict()}), "utf-8")
        made.replace(path)


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


def trust(dense: Ranking, lexical: Ranking) -> float:
    """Return the weight of an external model's ranking, from its support by the words.

    So an English model does not spoil the answers to Korean questions.

    Args:
        dense: About 100 rows, best first.
        lexical: About as many rows with their BM25 scores, best first.

    Returns:
        The weight of the dense ranking: 0 without support, 0.55 from half of the possible support on.

    Example:
        >>> dense = np.array([3, 1, 2, 4]), np.array([0.9, 0.8, 0.7, 0.6], np.float32)
        >>> round(trust(dense, (np.array([1, 7]), np.array([8.0, 4.0], np.float32))), 3)
        0.275
    """
    return min(_MOST_TRUST, 2 * _MOST_TRUST * support(dense, lexical))
