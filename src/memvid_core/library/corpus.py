"""LibraryCorpus: what a search in a library ranks, asked of its shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.engine import fusion
from memvid_core.engine.evidence import Evidence, Sample, enough, learned, sample_step
from memvid_core.engine.ranking import Ranking, merged, to_scores
from memvid_core.engine.search_request import SearchRequest
from memvid_core.engine.shared_words import SharedWords, Totals, asked_together, total_words
from memvid_core.errors import DamagedLibraryError
from memvid_core.library.manifest import StoredEvidence, StoredTotals
from memvid_core.library.remembered import Remembered
from memvid_core.library.shards import Asking, ShardsFailed
from memvid_core.library.waiting import Deadline
from memvid_core.model import Embedder, Record, is_fittable, plain_query

__all__ = ["LibraryCorpus", "Vectors", "learned_evidence", "totals_of"]


_MOST_AHEAD: Final = 50  # records
_LEARNED_AFTER: Final = 8  # rounds that count tokens: who asks less often does not pay for it
_LEARNED_ROWS: Final = 1 << 18  # of the library: to read the lists of more would take too long for one question
_LEARNED_TOKENS: Final = 1 << 18  # about 25 MB
_LEARNED_SECONDS: Final = 2.0
_ROWS_A_ROUND: Final = 1000  # of which the lists are read in the time of one round


class Vectors:
    """What is known of the vectors of a library.

    Args:
        embedder: The embedder, in the state that made the vectors; None if it is not known.
        recorded: The name of the embedder that made them.
        metric: The metric.
        dimension: The dimension; None if no record has a vector.
    """

    def __init__(self, embedder: Embedder | None, recorded: str, metric: str, dimension: int | None) -> None:
        self.embedder, self.recorded, self.metric, self.dimension = embedder, recorded, metric, dimension


class LibraryCorpus:
    """The rows of all shards, as a :class:`~memvid_core.engine.ranker.Corpus`.

    Args:
        asking: Asks the shards.
        vectors: The vectors.
        totals: The word statistics.
        evidence: What the texts say about rankings.
    """

    def __init__(self, asking: Asking, vectors: Vectors, totals: StoredTotals, evidence: StoredEvidence | None) -> None:
        self._asking, self._vectors = asking, vectors
        self._words = SharedWords(Totals(totals.rows, totals.tokens, totals.b), _Counter(asking))
        self._evidence = _evidence_of(evidence)
        self._kept = _Kept()
        self.rows = asking.shards.rows
        self.embedder, self.recorded, self.metric = vectors.embedder, vectors.recorded, vectors.metric

    @cached_property
    def word_embedder(self) -> bool:
        """Whether the vectors are the built-in embedder's."""
        return is_fittable(self.embedder)

    @property
    def has_vectors(self) -> bool:
        """Whether any row has a vector."""
        return self._vectors.dimension is not None

    @property
    def mean_length(self) -> float:
        """The mean number of tokens of a live row of all shards."""
        return self._words.mean_length

    def evidence(self) -> Evidence:
        """Return what the manifest says."""
        return self._evidence

    def rankings(self, request: SearchRequest, k: int, where: Mapping[str, Any] | None) -> tuple[Ranking, Ranking]:
        """Return the best rows of all shards that match a filter, by words and by vectors.

        Raises:
            ShardsFailed: One did not answer: the others may have left out rows that only those of this one outdo, and
                its words were counted.
        """
        shared = None if request.mode == "dense" else self._words.of(request)
        plain = replace(request, where=None, rerank=None, recency=None)
        numbers = self._asking.matching(where)
        together = asked_together([self._asking.shards.entries[number].live for number in numbers], shared)
        ahead = self._ahead(request)
        arguments = {n: (plain, k, where, *one, ahead) for n, one in zip(numbers, together, strict=True)}
        answers = self._asking.ask_these("candidates", arguments)
        for number, answer in answers.items():
            base = int(self._asking.shards.bases[number])
            self._kept.records.update({base + row: record for row, record in answer.records.items()})
        return self.merged(answers, k)

    def _ahead(self, request: SearchRequest) -> int:
        """Return of how many rows the shards send the records with the candidates, if a round takes longer than that.

        Of a hybrid search and of a diverse choice, a shard cannot know which rows are best.
        """
        distant = getattr(self._asking.shards.executor, "distant", False)
        if not distant or request.mode == "hybrid" or request.diversity is not None:
            return 0
        return min(request.k, _MOST_AHEAD)

    def merged(self, answers: Mapping[int, Sequence[Any]], k: int) -> tuple[Ranking, Ranking]:
        """Return the best rows of the rankings of some shards."""
        bases = self._asking.shards.bases
        words, dense = (
            merged([(answer[part][0] + bases[number], answer[part][1]) for number, answer in answers.items()], k)
            for part in (0, 1)
        )
        return words, dense

    def asked_too(self, request: SearchRequest) -> dict[str, float]:
        """Return near words and synonyms, with their weights."""
        return self._words.asked_too(request)

    def expect(self, vectors: NDArray[np.int64], places: NDArray[np.int64], records: NDArray[np.int64]) -> None:
        """Ask for the vectors, live places and records of rows in one round, and keep them for this question.

        Shards without deleted rows are not asked for places.
        """
        shards, kept = self._asking.shards, self._kept
        thin = places[shards.thinned[shards.holders(places)]] if shards.thinned.any() else places[:0]
        wanted = (
            kept.without_vectors(vectors),
            np.array([row for row in thin.tolist() if row not in kept.places], np.int64),
            np.array([row for row in records.tolist() if row not in kept.records], np.int64),
        )
        if not any(map(len, wanted)):
            return
        numbers = [shards.holders(rows) for rows in wanted]
        arguments = {
            number: tuple(
                (rows[held == number] - shards.bases[number]).tolist()
                for rows, held in zip(wanted, numbers, strict=True)
            )
            for number in np.unique(np.concatenate(numbers)).tolist()
        }
        answers = self._asking.ask_these("contents", arguments)
        matrix = np.full((len(wanted[0]), self._vectors.dimension or 0), self._no_vector, np.float32)
        for number, answer in answers.items():
            base = int(shards.bases[number])
            if answer.vectors.shape[1]:
                self._check_dimension(answer.vectors.shape[1])
                matrix[numbers[0] == number] = answer.vectors
            live = (np.array(answer.places, np.int64) + shards.live_bases[number]).tolist()
            kept.places.update(zip(wanted[1][numbers[1] == number].tolist(), live, strict=True))
            kept.records.update({base + row: record for row, record in answer.records.items()})
        kept.add_vectors(wanted[0], matrix)

    @property
    def _no_vector(self) -> float:
        return 0.0 if self.metric == "cosine" else np.nan

    def _check_dimension(self, found: int) -> None:
        dimension = self._vectors.dimension or 0
        if found != dimension:
            raise DamagedLibraryError("the manifest", f"says that vectors have {dimension} components, not {found}")

    def records(self, rows: Sequence[int]) -> list[Record]:
        """Return the records of rows."""
        kept = self._kept.records
        missing = [row for row in rows if row not in kept]
        for places, records in self._asking.of_rows("records", missing):
            kept.update(zip([missing[place] for place in places.tolist()], records, strict=True))
        return [kept[row] for row in rows]

    def live_places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places (n,) of live rows among all live ones."""
        self.expect(rows[:0], rows, rows[:0])
        shards = self._asking.shards
        numbers = shards.holders(rows)
        found = rows - shards.bases[numbers] + shards.live_bases[numbers]
        known = self._kept.places
        for at, row in enumerate(rows.tolist() if known else []):
            found[at] = known.get(row, found[at])
        return found

    def indexed_vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the indexed vectors of rows (n, d)."""
        self.expect(rows, rows[:0], rows[:0])
        return self._kept.vectors(rows)

    def stored_vectors(self, rows: Sequence[int]) -> dict[int, NDArray[Any]]:
        """Return the stored vectors (d,) by row."""
        found: dict[int, NDArray[Any]] = {}
        bases = self._asking.shards.bases
        for places, vectors in self._asking.of_rows("stored_vectors", rows):
            if len(places):
                row = rows[int(places[0])]
                base = int(bases[int(np.searchsorted(bases, row, side="right")) - 1])
                found.update({base + local: vector for local, vector in vectors.items()})
        return found

    def practiced(self, questions: Sequence[tuple[str, int]]) -> list[tuple[Ranking, Ranking]]:
        """Return the lexical and the dense ranking of all rows but one for each of some questions, in a few rounds."""
        texts = [plain_query(question) for question, _ in questions]
        self._words.count(texts)
        own = self.embedder if is_fittable(self.embedder) else None
        asked = []
        for text in texts:
            vector = None if own is None else own.embed_query(text)
            request = SearchRequest(text, vector, fusion.CANDIDATES, "hybrid")
            asked.append((request, request.k, None, self._words.of(request)))
        bases = self._asking.shards.bases
        holders = np.searchsorted(bases, [row for _, row in questions], side="right") - 1
        arguments = {
            number: (
                [
                    (*one, row - int(bases[number]) if holder == number else None)
                    for one, (_, row), holder in zip(asked, questions, holders.tolist(), strict=True)
                ],
            )
            for number in self._asking.answering
        }
        answers = self._asking.ask("many_candidates", arguments)
        found = []
        for place in range(len(questions)):
            words, dense = self.merged({n: answer[place] for n, answer in answers.items()}, fusion.CANDIDATES)
            found.append((words, (dense[0], to_scores(dense[1], self.metric))))
        return found


class _Kept:
    """What is known of rows, for one question."""

    def __init__(self) -> None:
        self.places: dict[int, int] = {}  # of rows of shards with deleted ones
        self.records: dict[int, Record] = {}
        self._vector_rows = np.zeros(0, np.int64)  # ascending
        self._matrix = np.zeros((0, 0), np.float32)

    def add_vectors(self, rows: NDArray[np.int64], matrix: NDArray[np.float32]) -> None:
        """Keep the vectors (n, d) of more rows."""
        if len(rows):
            every = np.concatenate([self._vector_rows, rows])
            order = np.argsort(every)
            self._matrix = np.concatenate([self._matrix, matrix])[order] if len(self._matrix) else matrix[order]
            self._vector_rows = every[order]

    def without_vectors(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows whose vectors are not known."""
        known = self._vector_rows
        if not len(known):
            return rows
        at = np.minimum(np.searchsorted(known, rows), len(known) - 1)
        unknown: NDArray[np.int64] = rows[known[at] != rows]
        return unknown

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors (n, d) of rows, all of which are known."""
        return self._matrix[np.searchsorted(self._vector_rows, rows)]


def _is_listed(token: str) -> bool:
    """Return whether the counts of all tokens say how many rows a token has: not of the beginnings of words."""
    return token[-1] != "*" and token.isprintable()


class _Counter:
    """Counts words in all shards that have not failed.

    All that is counted for one question is of the same shards: if one fails, the search begins again without it, and
    without what is known of all shards together. So the hits do not depend on the round in which it fails.
    """

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def counts(self, tokens: Sequence[str]) -> dict[str, int]:
        """Return the number of live rows of each token."""
        shards = self._asking.shards
        every, kept = (None, {}) if self._asking.failed else (shards.all_counts, shards.word_counts)
        known = {token: kept[token] for token in tokens if token in kept}
        if every is not None:
            known.update({token: every.get(token, 0) for token in tokens if _is_listed(token)})
        unknown = [token for token in tokens if token not in known]
        if unknown:
            counted = self._sums("counts", unknown)
            if not self._asking.failed:
                shards.keep_counts(counted)
                self._learn()
            known.update(counted)
        return known

    def _learn(self) -> None:
        """Ask for the counts of all tokens, if a round takes long and some were needed for tokens.

        It is tried once for a version, and what it takes is bounded. A shard that fails has not failed the question.
        """
        shards, left = self._asking.shards, self._asking.deadline.of_round()
        shards.counting_rounds = rounds = shards.counting_rounds + 1
        if rounds != max(_LEARNED_AFTER, shards.rows // _ROWS_A_ROUND) or shards.rows > _LEARNED_ROWS:
            return
        if not getattr(shards.executor, "distant", False):
            return
        seconds = _LEARNED_SECONDS if left is None else min(left / 4, _LEARNED_SECONDS)  # the question needs the rest
        asking = replace(self._asking, deadline=Deadline(seconds), failed={}, asked=set())
        answers = asking.ask_all("counts_of_all", _LEARNED_TOKENS)
        if asking.failed:
            return
        found: dict[str, int] = {}
        for answer in answers.values():
            if answer is None or len(found) > _LEARNED_TOKENS:
                return
            tokens, counts = answer[0].split("\n") if len(answer[1]) else [], answer[1].tolist()
            if len(tokens) != len(counts):  # one has a line feed, which no text gives it
                return
            for token, count in zip(tokens, counts, strict=True):
                found[token] = found.get(token, 0) + count
        shards.all_counts = found

    def frequencies(self, tokens: Sequence[str]) -> dict[str, int]:
        """Return the number of rows of each token, including deleted ones."""
        return self._sums("frequencies", tokens)

    def any_counts(self, groups: Sequence[Sequence[str]]) -> list[int]:
        """Return, for each group of tokens, the number of live rows with any of them."""
        answers = self._all("any_counts", groups)
        return [sum(answer[place] for answer in answers.values()) for place in range(len(groups))]

    def near(self, words: Sequence[str]) -> list[list[list[str]]]:
        """Return, for each missing word, the near tokens at distance 1, and for long words at distance 2."""
        answers = self._all("near", words)
        found = []
        for place in range(len(words)):
            distances: list[set[str]] = []
            for answer in answers.values():
                for number, tokens in enumerate(answer[place]):
                    if number == len(distances):
                        distances.append(set())
                    distances[number].update(tokens)
            found.append([sorted(tokens) for tokens in distances])
        return found

    def _all(self, call: str, *arguments: Any) -> dict[int, Any]:
        """Ask every shard that has not failed.

        Raises:
            ShardsFailed: One of them did not answer.
        """
        return self._asking.ask_these(call, dict.fromkeys(self._asking.answering, arguments))

    def _sums(self, call: str, tokens: Sequence[str]) -> dict[str, int]:
        answers = self._all(call, tokens)
        return {token: sum(answer[place] for answer in answers.values()) for place, token in enumerate(tokens)}


def totals_of(asking: Asking, remembered: Remembered) -> StoredTotals:
    """Return the word statistics of all shards.

    Args:
        asking: Asks the shards.
        remembered: What is known of small ones.

    Raises:
        ShardsFailed: A shard did not answer.
    """
    entries = asking.shards.entries
    rows, tokens = sum(entry.live for entry in entries), sum(entry.tokens for entry in entries)

    def lengths(step: int) -> list[int]:
        answers = remembered.lengths(asking, step)
        if asking.failed:
            raise ShardsFailed
        return [length for number in range(len(entries)) for length in answers[number]]

    return StoredTotals(*total_words(rows, tokens, lengths))


def learned_evidence(asking: Asking, vectors: Vectors, totals: StoredTotals) -> StoredEvidence | None:
    """Return what the texts of all shards say about rankings; None with too few records.

    Raises:
        ShardsFailed: A shard did not answer.
    """
    if not enough(totals.rows):
        return None
    shards = asking.shards
    answers = asking.ask("sample", dict(enumerate(shards.starts(sample_step(totals.rows)))))
    if asking.failed:
        raise ShardsFailed
    ordered: list[tuple[int, Sample]] = sorted(answers.items())
    rows = [int(shards.bases[number]) + row for number, part in ordered for row in part.rows]
    texts = [text for _, part in ordered for text in part.texts]
    parts = [part.vectors for _, part in ordered if len(part.vectors)]
    matrix = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
    corpus = LibraryCorpus(asking, vectors, totals, None)
    found = learned(Sample(rows, texts, matrix), corpus.practiced)
    if asking.failed:
        raise ShardsFailed
    return StoredEvidence(*found, totals.rows)


def _evidence_of(stored: StoredEvidence | None) -> Evidence:
    if stored is None:
        return Evidence()
    return Evidence(*(getattr(stored, name) for name in Evidence._fields))
