"""Replacing: which rows of a library have ids that are met again in newer shards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from memvid_core.library.remembered import Remembered
from memvid_core.library.shards import Asking

__all__ = ["replaced_rows"]

_IDS: Final = 1 << 16  # that a shard is asked for at once
_TOGETHER: Final = 1 << 18  # that all older shards are asked about at once: each may have to be opened for that


def replaced_rows(
    asking: Asking, remembered: Remembered, old: int, before: str, together: int = _TOGETHER
) -> dict[int, list[int]]:
    """Return the rows of records whose ids are met again in a newer shard, by the number of their shard.

    Args:
        asking: Asks the shards.
        remembered: What is known of small ones.
        old: The number of the shards in which no id is met twice; the others are new.
        before: What an error says first.
        together: How many ids of new shards are compared with the older ones at once.

    Raises:
        MemoryFileError: A shard does not answer.
    """
    gone: dict[int, list[int]] = defaultdict(list)

    def ask(numbers: range, ids: list[str]) -> None:
        if ids and len(numbers):
            for number, found in remembered.rows_of(asking, numbers, ids).items():
                gone[number] += found.values()
            asking.check(before)

    split = -1  # the shard whose first ids were compared before
    for chunk in _chunks(asking, old, before, together):
        first, last = min(chunk), max(chunk)
        ask(range(first), [one for ids in chunk.values() for one in ids])
        if first == split:
            ask(range(first, first + 1), [one for number, ids in chunk.items() if number > first for one in ids])
        for number, ids in _met_again(chunk).items():
            if number != split:
                ask(range(number, number + 1), ids)
        split = last
    return gone


def _chunks(asking: Asking, old: int, before: str, together: int) -> Iterator[dict[int, list[str]]]:
    """Yield the ids of new shards, by their number, about so many at a time; those of the first shard are not asked."""
    chunk: dict[int, list[str]] = {}
    size = 0
    for number in range(max(old, 1), len(asking.shards.entries)):
        rows = asking.shards.entries[number].rows
        step = min(_IDS, together)
        for first in range(0, rows, step):
            answer = asking.ask("ids", {number: (list(range(first, min(first + step, rows))),)})
            asking.check(before)
            chunk.setdefault(number, []).extend(answer[number])
            size += len(answer[number])
            if size >= together:
                yield chunk
                chunk, size = {}, 0
    if chunk:
        yield chunk


def _met_again(chunk: dict[int, list[str]]) -> dict[int, list[str]]:
    """Return the ids that are met in a later shard of a chunk, too."""
    latest: dict[str, int] = {}
    found: dict[int, list[str]] = defaultdict(list)
    for number, ids in chunk.items():
        for one in ids:
            earlier = latest.get(one, number)
            if earlier != number:
                found[earlier].append(one)
            latest[one] = number
    return found
