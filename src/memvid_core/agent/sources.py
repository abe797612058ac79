"""Sources of items that are said often: an item lists its last turns, and records of their own list those before.

An item is written again each time it is said. With all of its turns in it, a line that is said n times would cost n²
ids. So an item has :data:`LISTED` ids at most: the older ones move, many at once, into a record that is not written
again until one of them is forgotten.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from memvid_core.agent.records import AGENT, Draft, Item, changed
from memvid_core.agent.store import Store
from memvid_core.model import Record

__all__ = ["LAST", "LISTED", "Older", "OlderSources", "base_of", "listed_before", "shortened"]

LISTED: Final = 32
"""How many turns an item lists at most."""
LAST: Final = 8
"""How many it still lists when the others have moved: a recall looks at the last three."""


class Older(NamedTuple):
    """Turns that an item no longer lists: the ``number``-th record of them, from 0. Versions of an item share it."""

    id: str
    item: str
    number: int
    sources: list[str]
    scope: dict[str, Any]

    def draft(self) -> Draft:
        """Return its record; its text has no words, so no question finds it."""
        about = {"kind": "sources", "item": self.item, "number": self.number}
        return Draft(self.id, " ", {**self.scope, "sources": self.sources, AGENT: about})


def base_of(item_id: str) -> str:
    """Return the id of an item whose older version an id names, or the id itself."""
    return item_id.partition(".v")[0]


def shortened(item: Item) -> tuple[Item, list[Older]]:
    """Return an item that lists no more than its last turns, and the records of those before them.

    Example:
        >>> item = Item(id="item-1", memory_type="event", summary="said often", sources=[f"s-{n}" for n in range(33)])
        >>> short, older = shortened(item)
        >>> short.sources[0], short.older, [(each.id, len(each.sources)) for each in older]
        ('s-25', 1, [('item-1.s0', 25)])
    """
    if len(item.sources) <= LISTED:
        return item, []
    moved, kept = item.sources[:-LAST], item.sources[-LAST:]
    base = base_of(item.id)
    parts = [moved[first : first + LISTED] for first in range(0, len(moved), LISTED)]
    scope = dict(item.scope)
    older = [Older(f"{base}.s{number}", base, number, part, scope) for number, part in enumerate(parts, item.older)]
    return changed(item, sources=kept, older=item.older + len(older)), older


class OlderSources:
    """The records of the sources that items no longer list.

    Args:
        store: Where the records are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, items: Iterable[Item]) -> dict[str, list[Older]]:
        """Return the older sources of those items that have any, by the id of the item's newest version."""
        named = list(dict.fromkeys(base_of(item.id) for item in items if item.older))
        return self._read({f"{AGENT}.item": {"$in": named}}) if named else {}

    def naming(self, turns: Collection[str], where: Mapping[str, Any]) -> dict[str, list[Older]]:
        """Return the older sources of those items of a scope that name any of some turns there."""
        return self._read({**where, "sources": {"$in": list(turns)}})

    def _read(self, where: Mapping[str, Any]) -> dict[str, list[Older]]:
        found: defaultdict[str, list[Older]] = defaultdict(list)
        for record in self._store.select("sources", where):
            older = _read_older(record)
            found[older.item].append(older)
        return {name: sorted(each, key=lambda older: older.number) for name, each in found.items()}

    def whole(self, items: Iterable[Item]) -> list[Item]:
        """Return items with all turns that they come from, oldest first."""
        found = list(items)
        there = self.of(found)
        return [
            changed(item, sources=list(dict.fromkeys([*listed_before(item, there), *item.sources]))) for item in found
        ]


def listed_before(item: Item, there: Mapping[str, Iterable[Older]]) -> list[str]:
    """Return the turns that a version of an item comes from and does not list."""
    mine = (each for each in there.get(base_of(item.id), ()) if each.number < item.older)
    return [turn for each in mine for turn in each.sources]


def _read_older(record: Record) -> Older:
    about = record.metadata[AGENT]
    scope = {name: value for name, value in record.metadata.items() if name not in (AGENT, "sources")}
    return Older(record.id, about["item"], about["number"], list(record.metadata["sources"]), scope)
