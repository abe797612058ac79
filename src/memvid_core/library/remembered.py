"""Remembered: what a writer has learned of small shards, so that a commit opens only those that are new to it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Final

from memvid_core.library.shards import Asking

__all__ = ["Remembered"]

_SMALL: Final = 1_024  # rows of a shard
_MOST: Final = 1 << 18  # rows of all of them


class Remembered:
    """The ids and the lengths of the texts of small shards, which never change."""

    def __init__(self) -> None:
        self._ids: dict[str, frozenset[str]] = {}
        self._lengths: dict[tuple[str, str], list[int]] = {}
        self._lock = threading.Lock()
        self._rows = 0

    def rows_of(self, asking: Asking, numbers: Iterable[int], ids: Sequence[str]) -> dict[int, dict[str, int]]:
        """Return the rows of live records with some ids, by the number of their shard; ``asking`` has the failures."""
        entries = asking.shards.entries
        chosen = list(numbers)
        small = {number: entries[number] for number in chosen if entries[number].rows <= _SMALL}
        unknown = {number: (list(range(one.rows)),) for number, one in small.items() if one.name not in self._ids}
        found = asking.ask("ids", unknown)
        self._make_room(sum(map(len, found.values())))
        self._ids |= {small[number].name: frozenset(answer) for number, answer in found.items()}
        known = {number: self._ids.get(one.name) for number, one in small.items()}
        wanted = set(ids)
        having = [number for number in chosen if (there := known.get(number)) is None or not wanted.isdisjoint(there)]
        rows: dict[int, dict[str, int]] = asking.ask("rows_of", dict.fromkeys(having, (list(ids),)))
        return rows

    def lengths(self, asking: Asking, step: int) -> dict[int, list[int]]:
        """Return the numbers of tokens of every ``step``-th live row of all shards, by the number of each."""
        entries = asking.shards.entries
        starts = dict(enumerate(asking.shards.starts(step)))
        small = {number: entry for number, entry in enumerate(entries) if entry.rows <= _SMALL}
        known = {number: self._lengths.get((one.name, one.deletes)) for number, one in small.items()}
        asked = {n: (0, 1) if n in small else start for n, start in starts.items() if known.get(n) is None}
        answers: dict[int, list[int]] = asking.ask("lengths", asked)
        whole = {number: answer for number, answer in answers.items() if number in small}
        self._make_room(sum(map(len, whole.values())))
        self._lengths |= {(small[number].name, small[number].deletes): answer for number, answer in whole.items()}
        found = {number: answer for number, answer in answers.items() if number not in small}
        for number in small:
            lengths = answers.get(number, known[number])
            if lengths is not None:
                first, every = starts[number]
                found[number] = lengths[first::every]
        return found

    def _make_room(self, rows: int) -> None:
        """Forget everything if some more rows would be too many."""
        with self._lock:
            self._rows += rows
            if self._rows > _MOST:
                self._ids, self._lengths, self._rows = {}, {}, rows
