"""BM25 scores of one query: its words, near words for those that no row has, and synonyms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.words.analyzer import ParsedQuery, is_word
from memvid_core.words.list_reader import ListReader
from memvid_core.words.near import MAX_WORDS, has_near, near_grams, near_words
from memvid_core.words.postings import Matches
from memvid_core.words.synonyms import Synonyms
from memvid_core.words.wanted import Bar, Wanted

__all__ = [
    "MAX_TERMS",
    "NOTHING",
    "Extra",
    "Near",
    "Scoring",
    "Shared",
    "Statistics",
    "asked_too",
    "chosen_terms",
    "length_normalization",
    "length_step",
    "live_rows",
    "sampled_normalization",
    "saturation",
]

MAX_TERMS: Final = 128
"""The maximum number of different tokens that are searched: of longer queries, the rarest."""

MAX_CANDIDATES: Final = 512
"""The maximum number of different tokens of a query that are considered, from its beginning."""

B: Final = 0.65
"""BM25 length normalization of a memory with few records, chosen on questions in English and Korean."""

_LEAST, _MOST = 0.45, 1.0
_NEUTRAL: Final = 0.6  # length normalization at which k1 is 1
_LEAST_SATURATION: Final = 0.75
_ENOUGH = 200  # rows
_FEWEST: Final = 3  # tokens
_SAMPLE = 4_096  # rows

NEAR: Final = 0.8
"""The weight of near words, compared with a word of the question."""

SYNONYM: Final = 0.9
"""The weight of synonyms, compared with what the question says."""


_FEW_ROWS: Final = 1 << 15
"""Up to so many rows, it is faster to look for those with a score than to collect them."""
_MANY_MATCHES: Final = 1 << 14
"""From so many matches on, it pays to find out which rows can be among the best; and numbers of live rows are kept."""
_KEPT: Final = 1 << 14
"""The numbers of live rows that are kept, at most."""
_SOME_MATCHES: Final = 1 << 11
"""The same where it is known what the best rows of other indexes reach."""
_ENOUGH_ROWS: Final = 1 << 12
"""Of so many rows with the rarest tokens, the best tell how good a row must be."""
_LOOKED_UP: Final = 8
"""To look up a row in a list takes as long as to score so many rows of it."""
_ROUNDING: Final = 1e-4
"""More than what float32 sums of a question can be wrong by, in parts of them."""
_FEW_MATCHES: Final = 200
"""Of more matches, those of each token are added faster one token after the other than all with one slow call."""


class Extra(NamedTuple):
    """What a search asks for in addition to the words of a query.

    Attributes:
        fuzzy: Whether words that no live row has are replaced by near words.
        synonyms: Synonyms of words.
    """

    fuzzy: bool = False
    synonyms: Synonyms | None = None


NOTHING: Final = Extra()


class Statistics(NamedTuple):
    """The BM25 statistics of the live rows; ``live`` returns the array they were computed from.

    Attributes:
        live: A function that returns the array.
        rows: The number of live rows.
        tokens: The number of their tokens.
        lengths: The number of tokens of each row, (n,) int32.
        exists: Which rows are live, (n,) bool; None for all.
        b: The length normalization (:func:`length_normalization`).
        frequencies: The number of live rows of tokens, as far as they were counted; None keeps none.
    """

    live: Callable[[], object]
    rows: int
    tokens: int
    lengths: NDArray[np.int32]
    exists: NDArray[np.bool_] | None
    b: float = B
    frequencies: dict[str, int] | None = None


def length_normalization(lengths: NDArray[np.int32]) -> float:
    """Return BM25's b for texts of these lengths: the more the lengths differ, the more a long text is penalized.

    If lengths are similar, a longer text says more, and is right to have more of the words. If short messages are mixed
    with long ones, a long one has most words of any question by chance.

    Args:
        lengths: (n,) the number of tokens of each live row.

    Returns:
        The standard deviation of the logarithms of the lengths, in steps of 0.05 and between 0.45 and 1; 0.65 for fewer
        than 200 rows. Texts of one or two tokens are ids and labels, and say nothing about the others.

    Example:
        >>> length_normalization(np.array([30, 3_000] * 200)), length_normalization(np.array([30, 40] * 200))
        (1.0, 0.45)
        >>> length_normalization(np.array([30, 40, 1] * 200))
        0.45
    """
    return sampled_normalization(lengths[:: length_step(len(lengths))], len(lengths))


def sampled_normalization(sample: NDArray[np.int32], rows: int) -> float:
    """Return the length normalization of so many rows from the lengths of an even sample of them."""
    if rows < _ENOUGH:
        return B
    texts = sample[sample >= _FEWEST]
    spread = float(np.log(texts).std()) if len(texts) else 0.0
    return min(max(round(spread * 20) / 20, _LEAST), _MOST)


def saturation(b: float) -> float:
    """Return BM25's k1 for a length normalization: where lengths differ widely, repetitions of a word say more.

    Passages of similar lengths have each word once or twice, so that a second occurrence is chance. Where pages are
    mixed with notes, a page on a subject names it many times.

    Args:
        b: The length normalization, in [0.45, 1].

    Returns:
        1 at 0.6, and 0.2 more for each 0.05 more; at least 0.75.

    Example:
        >>> [saturation(b) for b in (0.45, 0.6, 0.75, 1.0)]
        [0.75, 1.0, 1.6, 2.6]
    """
    return max(round(1 + 4 * (b - _NEUTRAL), 4), _LEAST_SATURATION)


def length_step(rows: int) -> int:
    """Return the distance of two sampled rows of so many."""
    return max(1, -(-rows // _SAMPLE))


Near = Mapping[str, tuple[list[str], int]]
"""For a token that no live row has: the near tokens, and the number of live rows with any of them."""


class Shared(NamedTuple):
    """The statistics of a question over several indexes, so that each gives a row the score that one index would.

    Attributes:
        rows: The number of live rows.
        tokens: The number of their tokens.
        b: The length normalization.
        terms: The tokens that are searched, with their numbers of occurrences in the question.
        frequencies: The number of live rows of each.
        near: The near tokens of those that no live row has.
        bar: What the best rows reach, for the indexes that search for the same number of rows at the same time.
    """

    rows: int
    tokens: int
    b: float
    terms: dict[str, int]
    frequencies: dict[str, int]
    near: Near
    bar: Bar | None = None


def chosen_terms(terms: Sequence[str], frequencies: Callable[[Sequence[str]], Mapping[str, int]]) -> dict[str, int]:
    """Choose the tokens of a query that are searched, with the number of occurrences of each.

    Args:
        terms: The tokens.
        frequencies: Returns the number of rows of some tokens; called for long queries only.
    """
    counted = dict(list(Counter(terms).items())[:MAX_CANDIDATES])
    if len(counted) <= MAX_TERMS:
        return counted
    rows = frequencies(list(counted))
    rarest = sorted((token for token in counted if rows[token]), key=lambda token: rows[token] / counted[token])
    return {token: counted[token] for token in rarest[:MAX_TERMS]}


class Scoring:
    """Add up the scores of one query.

    Args:
        reader: The posting lists.
        counted: The statistics.
        scores: (n,) float32, zeros.
        shared: The statistics of all indexes, if the reader reads one of several.

    Attributes:
        scores: The array; zeros again after :meth:`taken`.
        ideal: The sum of the tokens' idf.
    """

    def __init__(
        self, reader: ListReader, counted: Statistics, scores: NDArray[np.float32], shared: Shared | None = None
    ) -> None:
        if shared is not None:
            counted = counted._replace(rows=shared.rows, tokens=shared.tokens, b=shared.b)
        self.scores = scores
        self.ideal = 0.0
        self._reader, self._counted, self._shared = reader, counted, shared
        self._k1 = saturation(counted.b)
        mean = counted.tokens / counted.rows if counted.tokens else 1.0
        self._slope = np.float32(self._k1 * counted.b / mean)
        self._floor = np.float32(self._k1 * (1 - counted.b))
        self._touched = [np.zeros(0, np.int64)]
        self._best: NDArray[np.int64] | None = None  # the only rows whose scores are complete
        self._weights: dict[str, float] = {}
        self._missing: dict[str, int] = {}

    def add(self, tokens: Mapping[str, int], extra: Extra = NOTHING, wanted: Wanted | None = None) -> None:
        """Score tokens, the rarest first.

        Args:
            tokens: The tokens, with the number of occurrences of each in the query.
            extra: What :meth:`add_extra` is told to add afterwards.
            wanted: The best rows that are wanted: other rows may get no score; None for all rows.
        """
        total = self._counted.rows
        known = None if self._shared is None else self._shared.frequencies
        present: list[tuple[int, str]] = []
        for token, times in tokens.items():
            frequency = self._live_rows(token) if known is None else known[token]
            weight = times * float(np.log1p((total - frequency + 0.5) / (frequency + 0.5)))
            self.ideal += weight
            self._weights[token] = weight
            if frequency:
                present.append((frequency, token))
            else:
                self._missing[token] = times
        ordered = [token for _, token in sorted(present, key=lambda one: one[0])]
        final = extra.synonyms is None and not (extra.fuzzy and self._missing)
        if wanted is not None and final and self._add_best(ordered, wanted):
            return
        self._add_each([self._reader.find(token) for token in ordered], [self._weights[token] for token in ordered])

    def _add_best(self, ordered: Sequence[str], wanted: Wanted) -> bool:
        """Score the rows that can be among the best, if tokens have long lists; return whether this was done.

        Once the rare tokens are scored, the best rows of these may be better than a row with all others would be. Then
        the lists of the others are looked up for the rows that can still be among the best (Turtle and Flood, "Query
        Evaluation: Strategies and Optimizations", 1995). A row gets the same sums, in the same order, as without this.
        """
        least = _MANY_MATCHES if wanted.bar.score <= 0.0 else _SOME_MATCHES
        if len(self.scores) * len(ordered) < least or any(token[-1] == "*" for token in ordered):
            return False
        sizes = [self._reader.frequency(token) for token in ordered]
        left, rest = sum(sizes), sum(self._weights[token] for token in ordered) * (self._k1 + 1)
        if left < least:
            return False
        seen = 0
        for place, (token, size) in enumerate(zip(ordered, sizes, strict=True)):
            if self._best is None:
                found = self._reader.find(token)
                self._add(found.rows, self._scores(found, self._weights[token]))
            else:
                found = self._reader.find_among(token, self._best)
                self.scores[found.rows] += self._scores(found, self._weights[token])
                continue
            left, seen = left - size, seen + size
            rest -= self._weights[token] * (self._k1 + 1)
            if place + 1 < len(ordered) and (left >= 2 * seen or (2 * left >= seen and wanted.bar.score > rest)):
                self._best = self._can_be_best(wanted, max(rest, 0.0), left)
        return True

    def _can_be_best(self, wanted: Wanted, rest: float, left: int) -> NDArray[np.int64] | None:
        """Return the rows, ascending, that can be among the best if up to ``rest`` is added to each; None: too many."""
        least = wanted.bar.score * (1 - _ROUNDING)
        if least <= rest:
            least = self._reached(wanted, rest)
        if least <= rest:
            return None
        rows = np.concatenate(self._touched)
        likely = rows[self.scores[rows] >= least - rest]
        return np.sort(likely) if _LOOKED_UP * len(likely) <= left else None

    def _reached(self, wanted: Wanted, rest: float) -> float:
        """Return what the best rows have at least, as the rarest tokens show; 0 if that is less than ``rest``."""
        some, count = [], 0  # the rows of the rarest tokens, among which the best ones are
        for part in self._touched:
            some.append(part)
            count += len(part)
            if count >= _ENOUGH_ROWS + _LOOKED_UP * wanted.k:
                break
        rows = np.concatenate(some)
        found = self.scores[rows[wanted.kept(rows)]]
        if len(found) < wanted.k or found.max() <= rest:
            return 0.0
        enough = float(np.partition(found, len(found) - wanted.k)[len(found) - wanted.k])
        return wanted.bar.reach(enough) * (1 - _ROUNDING)

    def add_extra(self, parsed: ParsedQuery, extra: Extra) -> dict[str, float]:
        """Score synonyms and near words; return them with their weights."""
        if extra.synonyms is not None:
            for said, others in extra.synonyms.of_terms(parsed.terms):
                self._add_synonyms(said, others)
        near = self._near(parsed) if extra.fuzzy and self._missing else {}
        for token, (words, frequency) in near.items():
            found = self._reader.any_of(words)
            weight = NEAR * self._missing[token] * _rarity(self._counted.rows, frequency)
            self._add(found.rows, self._scores(found, weight))
        return asked_too(parsed, extra, near)

    def taken(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the rows with a score, or those that can be the best, and their scores, and reset the array."""
        touched = np.concatenate(self._touched)
        rows = touched if self._best is None else self._best
        found = self.scores[rows]
        self.scores[touched] = 0
        return rows, found

    def _add(self, rows: NDArray[np.int64], scores: NDArray[np.floating]) -> None:
        self._touched.append(rows[self.scores[rows] == 0])
        self.scores[rows] += scores

    def _add_each(self, present: Sequence[Matches], weights: Sequence[float]) -> None:
        """Add the scores of several tokens; of few matches all at once, with the same sums."""
        matches = sum(len(found.rows) for found in present)
        if matches > _FEW_MATCHES or len(self.scores) > _FEW_ROWS or len(self._touched) > 1 or not present:
            for found, weight in zip(present, weights, strict=True):
                self._add(found.rows, self._scores(found, weight))
            return
        rows = np.concatenate([found.rows for found in present])
        counts = np.concatenate([found.counts for found in present])
        factors = np.array(weights) * (self._k1 + 1)
        each = np.repeat(factors.astype(np.float32), [len(found.rows) for found in present])
        saturated = counts / (counts + (self._floor + self._slope * self._counted.lengths[rows]))
        np.add.at(self.scores, rows, saturated * each)
        self._touched.append(np.flatnonzero(self.scores))

    def _scores(self, found: Matches, weight: float) -> NDArray[np.floating]:
        counts = found.counts
        saturated = counts / (counts + (self._floor + self._slope * self._counted.lengths[found.rows]))
        scores: NDArray[np.floating] = saturated * np.float32(weight * (self._k1 + 1))
        return scores

    def _live(self, rows: NDArray[np.int64]) -> int:
        return _live_among(self._counted, rows)

    def _live_rows(self, token: str) -> int:
        if len(self._counted.lengths) <= _FEW_ROWS:  # to look up a word again takes longer than to join its short lists
            self._reader.find(token)
        return live_rows(self._reader, self._counted, token)

    def _near(self, parsed: ParsedQuery) -> Near:
        """Return near words of those that are missing, and the number of live rows with any of them."""
        if self._shared is not None:
            return self._shared.near
        grams = near_grams(parsed.terms, self._live_rows)
        found = {token: others for token, others in grams.items() if token in self._missing}
        for token in [token for token in self._missing if has_near(token)][:MAX_WORDS]:
            others = near_words(token, self._reader.like(token), self._live_rows)
            if others:
                found[token] = others
        return {token: (near, self._live(self._reader.any_of(near).rows)) for token, near in found.items()}

    def _add_synonyms(self, said: Sequence[str], others: Sequence[Sequence[str]]) -> None:
        """Give a row with a synonym about the score of a row with what the query says; not both scores together."""
        found = self._reader.any_of_phrases(others)
        weight = sum(self._weights.get(token, 0.0) for token in said)
        other = self._scores(found, SYNONYM * weight)
        own = np.zeros(len(found.rows), np.float32)
        for token in said:
            matches = self._reader.find(token)
            common, at, there = np.intersect1d(found.rows, matches.rows, assume_unique=True, return_indices=True)
            own[at] += self._scores(Matches(common, matches.counts[there]), self._weights.get(token, 0.0))
            self._missing.pop(token, None)
        better = other > own
        self._add(found.rows[better], (other - own)[better])


def live_rows(reader: ListReader, counted: Statistics, token: str) -> int:
    """Count the live rows with a token; its lists are joined only if some rows are not live."""
    if counted.exists is None:
        return reader.frequency(token)
    known = counted.frequencies
    found = None if known is None else known.get(token)
    if found is None:
        rows = reader.find(token).rows
        found = _live_among(counted, rows)
        if known is not None and len(rows) >= _MANY_MATCHES and len(known) < _KEPT:
            known[token] = found
    return found


def _live_among(counted: Statistics, rows: NDArray[np.int64]) -> int:
    return len(rows) if counted.exists is None else int(np.count_nonzero(counted.exists[rows]))


def asked_too(parsed: ParsedQuery, extra: Extra, near: Near) -> dict[str, float]:
    """Return synonyms and near words of a query, with their weights."""
    told: dict[str, float] = {}
    if extra.synonyms is not None:
        for said, others in extra.synonyms.of_terms(parsed.terms):
            told |= {f"{_shown(said)} → {_shown(other)}": SYNONYM for other in others}
    for token, (words, _) in near.items():
        told |= {f"{token} → {word}": NEAR for word in words if is_word(token)}
    return told


def _shown(phrase: Sequence[str]) -> str:
    return " ".join(filter(is_word, phrase))


def _rarity(total: int, frequency: int) -> float:
    return float(np.log1p((total - min(frequency, total) + 0.5) / (frequency + 0.5)))
