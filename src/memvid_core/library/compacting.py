"""Compaction of a library: small shards and shards with many deleted records are written again as larger ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import InvalidInputError, MemoryFileError
from memvid_core.library.building import Built, Given, ShardBuilder, claimed
from memvid_core.library.manifest import ShardEntry
from memvid_core.library.partitions import overlap
from memvid_core.library.reports import CompactReport
from memvid_core.library.shards import Asking
from memvid_core.library.state import Change, Place, State, committed, open_state, replaced
from memvid_core.library.waiting import TRIES

__all__ = ["Plan", "compacted"]

_PAGE: Final = 4_096  # records that are read together
_NOTHING_DONE: Final = "no shards were merged: "


@dataclass(frozen=True)
class Plan:
    """Which shards are merged.

    Attributes:
        rows_per_shard: The maximum number of records of a merged shard. Shards with more than half of it stay.
        max_deleted: The largest share of deleted rows of a shard that stays.
        keep_partitions: Whether shards without a common value in a partition field stay apart.

    Raises:
        InvalidInputError: A number is out of its range.
    """

    rows_per_shard: int
    max_deleted: float
    keep_partitions: bool = True

    def __post_init__(self) -> None:
        rows: object = self.rows_per_shard
        share: object = self.max_deleted
        if not (type(rows) is int and rows > 0):
            raise InvalidInputError(f"rows_per_shard is a positive number, not {rows!r}")
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise InvalidInputError(f"max_deleted is a share of 0 to 1, not {share!r}")

    def groups(self, entries: Sequence[ShardEntry]) -> list[list[ShardEntry]]:
        """Return the groups of neighboring shards of which each becomes one shard.

        Args:
            entries: The shards, in the order of addition.
        """
        groups: list[list[ShardEntry]] = [[]]
        for entry in entries:
            if not self._emptied(entry) and entry.live > self.rows_per_shard // 2:
                groups.append([])
                continue
            filled = [one for one in groups[-1] if one.live]
            full = sum(one.live for one in filled) + entry.live > self.rows_per_shard
            if filled and entry.live and (full or not self._together(filled[-1], entry)):
                groups.append([])
            groups[-1].append(entry)
        return [group for group in groups if len(group) > 1 or (group and self._emptied(group[0]))]

    def _emptied(self, entry: ShardEntry) -> bool:
        return entry.rows - entry.live > self.max_deleted * entry.rows or not entry.live

    def _together(self, one: ShardEntry, other: ShardEntry) -> bool:
        return not self.keep_partitions or overlap(one.fields, other.fields)


def compacted(place: Place, state: State, plan: Plan) -> tuple[State, CompactReport]:
    """Merge the shards of a version, a group at a time, each as one version; see ``Library.compact``."""
    names = {entry.name for entry in state.manifest.shards}
    merged = written = dropped = failed = 0
    while True:
        runs = groupby(state.manifest.shards, lambda entry: entry.name in names)  # a new shard is not merged again
        groups = [group for ours, run in runs if ours for group in plan.groups(list(run))]
        if not groups:
            return state, CompactReport(state.manifest.version, merged, written, dropped)
        try:
            with claimed(place.objects) as claim:
                change = _merged(place, state, claim, groups[0])
                state, _ = committed(place, change, state)
        except MemoryFileError:  # also of a file that a vacuum deletes while it is read
            failed += 1
            known = open_state(place, known=state)
            if failed == TRIES or not replaced(state, known) & {entry.file for entry in groups[0]}:
                raise
            state = known  # another compaction was faster, or records were deleted
            continue
        failed = 0
        merged += len(groups[0])
        written += len(change.built.entries)
        dropped += sum(entry.rows for entry in groups[0]) - sum(len(rows) for rows in change.merged.values())


def _merged(place: Place, state: State, claim: str, group: list[ShardEntry]) -> Change:
    """Write the live records of some shards to a new one."""
    asking = Asking(place.shards(group))
    answers = asking.ask_all("selected", None, None, False, None)
    asking.check(_NOTHING_DONE)
    rows: dict[str, NDArray[np.int64]] = {
        entry.name: np.array(answers[number][0], np.int64) for number, entry in enumerate(group)
    }
    embedder = state.vectors.embedder
    count = sum(map(len, rows.values()))
    built = Built()
    if count:
        records = _records(asking, rows)
        builder = ShardBuilder(place.objects, place.description, claim, embedder, count, index=place.index)
        built = builder.build(records)
    return Change("compact", built, embedder, state.manifest.model, state.manifest.vacuum, merged=rows)


def _records(asking: Asking, rows: dict[str, NDArray[np.int64]]) -> Iterator[Given]:
    """Yield the records of some rows of each shard, with their vectors."""
    for number, wanted in enumerate(rows.values()):
        for first in range(0, len(wanted), _PAGE):
            part = wanted[first : first + _PAGE].tolist()
            records = asking.ask("records", {number: (part,)})
            vectors = asking.ask("stored_vectors", {number: (part,)})
            asking.check(_NOTHING_DONE)
            for row, record in zip(part, records[number], strict=True):
                yield record, vectors[number].get(row)
