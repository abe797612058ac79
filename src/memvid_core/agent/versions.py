"""Versions: which item holds now, or held at a time, and from an older one to it.

A question often has the words of what was true once: "Where do I live?" finds "I live in Berlin", and not "I moved to
Lisbon". So an older version that is found leads to the one that took its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from memvid_core.agent.records import AGENT, Item, read_item
from memvid_core.agent.sources import base_of
from memvid_core.agent.store import Store
from memvid_core.agent.times import seconds

__all__ = ["CURRENT", "Time", "newer_of"]

CURRENT: Final = {f"{AGENT}.superseded_at": {"$exists": False}}
"""The filter of what was not corrected."""

MOST: Final = 20
"""How many older versions are followed, the best: each may lead along a line of its own."""

STEPS: Final = 30
"""How many corrections of one fact are followed at most; each reads what was not found."""


class Time(NamedTuple):
    """When items are asked for: in seconds since 1970. ``past`` tells that it is not the present."""

    seconds: float
    past: bool = False

    def corrected(self, item: Item) -> bool:
        """Tell whether another version had taken the place of an item."""
        return item.superseded_at is not None and (not self.past or seconds(item.superseded_at) <= self.seconds)

    def holds(self, item: Item) -> bool:
        """Tell whether an item was known, and neither corrected nor expired."""
        expired = item.expires_at is not None and seconds(item.expires_at) <= self.seconds
        known = not self.past or seconds(item.created_at) <= self.seconds
        return known and not expired and not self.corrected(item)


def newer_of(store: Store, items: Iterable[Item], where: Mapping[str, Any], time: Time) -> dict[str, Item]:
    """Return the item that holds in place of each of some older versions, by their ids; none where no item does.

    Args:
        store: Where the records are.
        items: Items that were corrected by the time, best first.
        where: The filter of a scope.
        time: When.
    """
    older = list(islice(items, MOST))
    known = {item.id: item for item in older}
    asked: set[str] = set(known)
    for _ in range(STEPS):
        missing = {name for item in known.values() if (name := _next(item, time))} - asked
        if not missing:
            break
        asked |= missing
        read = store.get(sorted(missing), where, "item")  # a file of Claude's memory tool supersedes, too: a turn
        known |= {name: read_item(record) for name, record in read.items()}
    found = {item.id: _last(item, known, time) for item in older}
    lost = [item for item in older if found[item.id] is None and item.slot is not None]
    if lost and not time.past:  # the line is too long; what can be true only once has a name
        slots = {f"{AGENT}.slot": {"$in": sorted({item.slot or "" for item in lost})}}
        held = [read_item(record) for record in store.select("item", {**where, **CURRENT, **slots})]
        found |= {item.id: next((each for each in held if _same_fact(each, item)), None) for item in lost}
    return {name: item for name, item in found.items() if item is not None and time.holds(item)}


def _same_fact(one: Item, other: Item) -> bool:
    return one.slot == other.slot and one.scope == other.scope


def _next(item: Item, time: Time) -> str | None:
    """Return the id of the version to look at after one that does not hold; None at the end of the line."""
    if not time.corrected(item):
        return None
    base = base_of(item.id)  # an item that was edited keeps its id, so that this skips the versions between
    return item.superseded_by if time.past or base == item.id else base


def _last(item: Item, known: Mapping[str, Item], time: Time) -> Item | None:
    """Return the end of the line of versions after an item."""
    passed: set[str] = set()
    last: Item | None = item
    while last is not None and last.id not in passed and (name := _next(last, time)):
        passed.add(last.id)
        last = known.get(name)
    return last
