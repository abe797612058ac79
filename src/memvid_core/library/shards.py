"""Shards: the shards of one version of a library, asked together; rows are numbered over all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import MemoryFileError
from memvid_core.library.executor import Executor, Failure, Questions, ShardRef
from memvid_core.library.manifest import ShardEntry
from memvid_core.library.partitions import may_match
from memvid_core.library.reports import SearchReport
from memvid_core.library.waiting import Deadline
from memvid_core.model import Index

__all__ = ["Asking", "Shards", "ShardsFailed"]

_KEPT_COUNTS = 1 << 16  # tokens


class ShardsFailed(Exception):  # never leaves the library
    """Shards that had answered before did not answer again: the question must be asked of the others."""


class Shards:
    """The shards of one version.

    Args:
        entries: Their entries in the manifest, in the order of addition.
        library: The folder of the library.
        executor: Who asks them.
        index_dir: Returns the folder of the index of a shard; None for the default one.
        options: The options of the file system.
        index: How their vectors are searched.
    """

    def __init__(
        self,
        entries: Sequence[ShardEntry],
        library: str,
        executor: Executor,
        index_dir: Callable[[ShardEntry], str | None] = lambda _: None,
        options: Mapping[str, Any] | None = None,
        index: Index = "auto",
    ) -> None:
        self.entries = tuple(entries)
        self.refs = [ShardRef(library, entry, index_dir(entry), options or None, index) for entry in entries]
        self.executor = executor
        self.bases: NDArray[np.int64] = np.cumsum([0, *(entry.rows for entry in entries)], dtype=np.int64)
        self.live_bases: NDArray[np.int64] = np.cumsum([0, *(entry.live for entry in entries)], dtype=np.int64)
        self.thinned: NDArray[np.bool_] = np.diff(self.bases) > np.diff(self.live_bases)
        """Which shards have deleted rows, (shards,)."""
        self.word_counts: dict[str, int] = {}
        """The number of live rows of tokens, as far as every shard has counted them."""
        self.all_counts: Mapping[str, int] | None = None
        """The number of live rows of all tokens, if it is known; tokens that it lacks have none."""
        self.counting_rounds = 0
        """How often shards were asked to count tokens."""

    @property
    def rows(self) -> int:
        """The number of rows of all shards, live or not."""
        return int(self.bases[-1])

    def holders(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers (n,) of the shards that hold rows."""
        return np.searchsorted(self.bases, rows, side="right") - 1

    def keep_counts(self, counts: Mapping[str, int]) -> None:
        """Keep the counts of words for later questions."""
        if len(self.word_counts) > _KEPT_COUNTS:
            self.word_counts = {}
        self.word_counts.update(counts)

    def starts(self, step: int) -> list[tuple[int, int]]:
        """Return for each shard where an even sample of the live rows begins in it, and the step."""
        return [(-start % step, step) for start in self.live_bases[:-1].tolist()]


@dataclass
class Asking:
    """One question to the shards, in one or several rounds; a shard that fails is not asked again.

    Attributes:
        shards: The shards.
        deadline: How long the shards have to answer, in all rounds together.
        failed: Why shards failed, by their number.
    """

    shards: Shards
    deadline: Deadline = field(default_factory=lambda: Deadline(None))
    failed: dict[int, str] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)

    @property
    def answering(self) -> list[int]:
        """The numbers of the shards that have not failed."""
        return [number for number in range(len(self.shards.entries)) if number not in self.failed]

    def matching(self, where: Mapping[str, Any] | None) -> list[int]:
        """Return the numbers of the shards that can have records which match a filter, and have not failed."""
        entries = self.shards.entries
        return [n for n in self.answering if entries[n].live and may_match(entries[n].fields, where)]

    def ask(self, call: str, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Ask some shards; return the answers of those that did not fail."""
        numbers = [number for number in arguments if number not in self.failed]
        self.asked.update(numbers)
        questions = [(self.shards.refs[number], arguments[number]) for number in numbers]
        answers = self._answers(call, questions) if questions else []
        found: dict[int, Any] = {}
        for number, answer in zip(numbers, answers, strict=True):
            if isinstance(answer, Failure):
                self.failed[number] = answer.reason
            else:
                found[number] = answer
        return found

    def _answers(self, call: str, questions: Questions) -> list[Any]:
        """Return the answers of shards, or that the time of the search is over."""
        seconds = self.deadline.of_round()
        if seconds != 0:
            return self.shards.executor.ask(call, questions, seconds)
        over = f"the {self.deadline.seconds:g} seconds of the search were over; a larger timeout= waits for it"
        return [Failure(over)] * len(questions)

    def ask_all(self, call: str, *arguments: Any) -> dict[int, Any]:
        """Ask every shard the same."""
        return self.ask(call, dict.fromkeys(self.answering, arguments))

    def ask_these(self, call: str, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Ask some shards, all of which must answer.

        Raises:
            ShardsFailed: One of them did not answer.
        """
        found = self.ask(call, arguments)
        if len(found) < len(arguments):
            raise ShardsFailed
        return found

    def of_rows(self, call: str, rows: Sequence[int] | NDArray[np.int64]) -> list[tuple[NDArray[np.int64], Any]]:
        """Ask the shards that have some rows about them.

        Returns:
            For each of these shards, the places of its rows among the given ones, and its answer.

        Raises:
            ShardsFailed: One of them did not answer.
        """
        wanted = np.asarray(rows, np.int64)
        numbers = self.shards.holders(wanted)
        places = {number: np.flatnonzero(numbers == number) for number in dict.fromkeys(numbers.tolist())}
        own = {n: (wanted[at] - self.shards.bases[n]).tolist() for n, at in places.items()}
        found = self.ask_these(call, {number: (local,) for number, local in own.items()})
        return [(places[number], answer) for number, answer in found.items()]

    def check(self, before: str = "") -> None:
        """Check that every shard answered.

        Args:
            before: What to say first.

        Raises:
            MemoryFileError: One did not; the message names it.
        """
        for number, reason in self.failed.items():
            raise MemoryFileError(f"{before}{self.shards.entries[number].file} does not answer: {reason}")

    def report(self) -> SearchReport:
        """Return which shards answered."""
        entries = self.shards.entries
        failed = {entries[number].file: reason for number, reason in self.failed.items()}
        missing = sum(entries[number].live for number in self.failed)
        return SearchReport(len(self.asked), len(self.asked) - len(failed), failed, missing)
