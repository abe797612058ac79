"""Items: each fact once within a scope, corrected by newer ones, linked to what says nearly the same."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, count
from typing import Any, Final

from memvid_core.agent.folding import fold
from memvid_core.agent.item_plan import ItemPlan
from memvid_core.agent.records import AGENT, Item, changed, digest, read_item
from memvid_core.agent.rules import Fact
from memvid_core.agent.scopes import SESSION, nearest
from memvid_core.agent.sources import OlderSources, listed_before
from memvid_core.agent.store import Store
from memvid_core.agent.superseding import corrected_item, supersede
from memvid_core.agent.times import isoformat, later, parse_time, seconds
from memvid_core.agent.versions import CURRENT
from memvid_core.errors import InvalidInputError, RecordNotFoundError

__all__ = ["MEMORY_TYPES", "Items", "checked_type", "names_of", "newest_by_category", "newest_items", "sessions_of"]

MEMORY_TYPES: Final = ("profile", "event", "knowledge", "behavior", "skill", "tool")
SAME: Final = 0.9
"""The cosine from which two items say nearly the same, if they name the same numbers and the same names."""

ALIKE: Final = 30
"""Among how many items, those that have the most of its words, a correction looks for what it corrects."""

_WORD: Final = re.compile(r"\w+")
_EXACT: Final = re.compile(r"\d[\d.,:/-]*|(?<![.!?:]\s)(?<!^)\b[A-Z]\w+")


def checked_type(memory_type: Any) -> str:
    """Return a memory type.

    Raises:
        InvalidInputError: It is unknown.
    """
    if memory_type not in MEMORY_TYPES:
        raise InvalidInputError(f"{memory_type!r} is not a memory type{nearest(str(memory_type), MEMORY_TYPES)}")
    return str(memory_type)


class Items:
    """The items of a store.

    Args:
        store: Where the records are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._older = OlderSources(store)

    def read(self, where: Mapping[str, Any]) -> list[Item]:
        """Return the items of a scope that were not superseded, oldest first."""
        found = (read_item(record) for record in self._store.select("item", where))
        return [item for item in found if item.superseded_at is None]

    def owned(self, scope: Mapping[str, Any]) -> list[Item]:
        """Return the items of exactly this scope, not of narrower ones, that were not superseded, oldest first."""
        return [item for item in self.read(self._store.exactly(scope)) if item.scope == scope]

    def within(self, where: Mapping[str, Any]) -> list[Item]:
        """Return the items of a scope; with a session, those that come from it or from no conversation at all."""
        found = self.read({name: test for name, test in where.items() if name != SESSION})
        if SESSION not in where:
            return found
        sessions = {record.id.removeprefix("session-") for record in self._store.select("resource", where)}
        older = self._older.of(found)
        turns = {item.id: [*listed_before(item, older), *item.sources] for item in found}
        return [item for item in found if not turns[item.id] or not sessions.isdisjoint(_sessions(turns[item.id]))]

    def get(self, item_id: str, where: Mapping[str, Any]) -> Item:
        """Return an item of a scope.

        Raises:
            RecordNotFoundError: There is none with that id in the scope.
        """
        found = self._store.select("item", {**where, "$id": {"$eq": item_id}})
        if not found:
            raise RecordNotFoundError(f"no item has the id {item_id!r} in this scope")
        return read_item(found[0])

    def plan(self, facts: Sequence[Fact], scope: Mapping[str, Any], now: datetime, origin: str) -> ItemPlan:
        """Plan what becomes of facts. A fact that is known is counted, if it comes from turns that are new to it.

        Args:
            facts: What was read.
            scope: The scope that owns them, without a session.
            now: The present.
            origin: ``"user"``, ``"rules"`` or ``"llm"``.
        """
        plan = ItemPlan()
        keys = [digest(fold(fact.summary)) for fact in facts]
        known = self._known(keys, scope)
        unknown = {key: fact.summary for key, fact in zip(keys, facts, strict=True) if key not in known}
        near = self._near(unknown, scope)
        taken = self._store.get(_item_id(scope, key) for key in unknown)
        for key, fact in zip(keys, facts, strict=True):
            item = known.get(key)
            item = item if item is None else plan.items.get(item.id, item)
            if item is None or item.superseded_at is not None:
                first = _item_id(scope, key)
                free = key in unknown and first not in taken and first not in plan.items
                item_id = first if free else self._free_id(scope, key, fact, now, plan)
                item = _new(fact, item_id, key, scope, now, origin, near.get(key))
                current = corrected_item(self._store, fact, item, plan)
                if current is None and not fact.sure:
                    continue
                plan.put(item)
                if current is not None:
                    supersede(self._store, fact, item, current, plan)
                item = plan.items[item.id]
            else:
                item = self._again(item, fact, now, plan)
            known[key] = item
            plan.result.append(item)
        unique = {item.id: plan.items.get(item.id, item) for item in plan.result}
        plan.result = list(unique.values())
        return plan

    def _known(self, keys: Sequence[str], scope: Mapping[str, Any]) -> dict[str, Item]:
        if not keys:
            return {}
        records = self._store.select("item", {**self._store.exactly(scope), f"{AGENT}.key": {"$in": list(keys)}})
        found = (read_item(record) for record in records)
        current = [item for item in found if item.superseded_at is None and item.scope == scope]
        return {
            item.key: item for item in sorted(current, key=lambda item: item.same_as is None)
        }  # the first of equals

    def _free_id(self, scope: Mapping[str, Any], key: str, fact: Fact, now: datetime, plan: ItemPlan) -> str:
        """Return an id made from scope and text; if an item that was corrected has it, from its turns and time, too."""
        said = [list(fact.sources), fact.created_at, isoformat(now)]
        tries: Iterator[list[Any]] = chain([[0], said], ([*said, number] for number in count()))
        names = (_item_id(scope, key, *each) for each in tries)
        return next(name for name in names if name not in plan.items and not self._store.get([name]))

    def _near(self, said: Mapping[str, str], scope: Mapping[str, Any]) -> dict[str, str]:
        """Return, for texts by key, the id of an item that says nearly the same, if one of the scope does.

        It is near in meaning, and has the same numbers and names.
        """
        exactly = self._store.exactly(scope)
        nearest = zip(said.items(), self._store.near(list(said.values()), exactly, 1), strict=True)
        likely = {key: text for (key, text), hits in nearest if any((hit.cosine or 0.0) >= SAME for hit in hits)}
        alike = zip(likely.items(), self._store.near(list(likely.values()), exactly, 5), strict=True)
        found: dict[str, str] = {}
        for (key, text), hits in alike:
            exact = sorted(_EXACT.findall(text))
            for near in (read_item(hit.record) for hit in hits if (hit.cosine or 0.0) >= SAME):
                current = near.superseded_at is None and near.scope == scope
                if current and sorted(_EXACT.findall(near.summary)) == exact:
                    found.setdefault(key, near.same_as or near.id)
        return found

    def _again(self, item: Item, fact: Fact, now: datetime, plan: ItemPlan) -> Item:
        new = [source for source in fact.sources if source not in item.sources]
        categories = [name for name in fact.categories if name not in item.categories]
        if fact.sources and not new and not categories:
            return plan.items.get(item.id, item)
        said = {"sources": [*item.sources, *new], "count": item.count + (len(new) if fact.sources else 1)}
        said["expires_at"] = _still_expires(item, fact, now)
        if not categories:
            return plan.put_again(changed(item, **said))
        return plan.put(changed(item, **said, categories=[*item.categories, *categories]))

    def plan_update(
        self, item: Item, fields: Mapping[str, Any], now: datetime, planned: Mapping[str, Item] | None = None
    ) -> ItemPlan:
        """Plan a correction: the item keeps its id; a new text makes a new version, and the old one is kept.

        Args:
            item: The item.
            fields: What changes.
            now: The present.
            planned: Items that the same commit changes, by id.
        """
        plan = ItemPlan()
        text = fields.get("summary", item.summary)
        since = later(isoformat(now), item.created_at)
        if text == item.summary:
            plan.result = [plan.put(changed(item, **fields))]
            return plan
        older = self._free_version(item)
        plan.put(changed(item, id=older, superseded_at=since, superseded_by=item.id))
        for before in self._others("superseded_by", item.id, item, planned):
            plan.put(changed(before, superseded_by=older))
        corrected = {"version": item.version + 1, "supersedes": older, "created_at": since}
        if item.expires_at is not None and seconds(item.expires_at) <= seconds(since):
            corrected["expires_at"] = None  # what expired is corrected because it holds again
        newer = changed(item, **{**corrected, **fields, "key": digest(fold(text))})
        equal = next(
            (other for other in self._current("key", newer.key, newer, planned) if other.same_as != item.id), None
        )
        plan.result = [plan.put(changed(newer, same_as=None if equal is None else equal.same_as or equal.id))]
        freed = [other for other in self._current("same_as", item.id, newer, planned) if other.key != newer.key]
        for place, other in enumerate(freed):  # they said what the item says no longer
            plan.put(changed(other, same_as=freed[0].id if place else None))
        return plan

    def _current(self, field: str, value: str, item: Item, planned: Mapping[str, Item] | None) -> list[Item]:
        """Return the other items of the scope of an item that hold now and have a value in a field."""
        return [other for other in self._others(field, value, item, planned) if other.superseded_at is None]

    def _others(self, field: str, value: str, item: Item, planned: Mapping[str, Item] | None) -> list[Item]:
        """Return the other items of the scope of an item, and older versions, that have a value in a field."""
        records = self._store.select("item", {**self._store.exactly(item.scope), f"{AGENT}.{field}": {"$eq": value}})
        others = {**{record.id: read_item(record) for record in records}, **(planned or {})}.values()
        mine = (other for other in others if other.scope == item.scope and other.id != item.id)
        return [other for other in mine if getattr(other, field) == value]

    def _free_version(self, item: Item) -> str:
        """Return an id for the older version of an item."""
        names = (f"{item.id}.v{number}" for number in count(item.version))
        return next(name for name in names if not self._store.get([name]))

    def whole(self, item: Item) -> Item:
        """Return an item with all turns that it comes from."""
        return self._older.whole([item])[0]

    def held(self, item: Item, where: Mapping[str, Any]) -> Item:
        """Return the version that holds now of an item, which may be older."""
        return [item, *self._line(item, "superseded_by", where)][-1]

    def history(self, item: Item, where: Mapping[str, Any]) -> list[Item]:
        """Return the versions of an item, oldest first: those before it, itself, and those after it.

        Items that said the same may have been corrected by one. It has the past of one of them; each keeps its own.
        """
        before, after = (self._line(item, link, where) for link in ("supersedes", "superseded_by"))
        return self._older.whole([*reversed(before), item, *after])

    def _line(self, item: Item, link: str, where: Mapping[str, Any]) -> list[Item]:
        """Return the items to which a link between versions leads, the nearest first."""
        line: dict[str, Item] = {}
        while (name := getattr(item, link)) is not None and name not in line:
            found = self._store.select("item", {**where, "$id": {"$eq": name}})
            if not found:
                break
            item = line[name] = read_item(found[0])
        return list(line.values())


def _item_id(scope: Mapping[str, Any], key: str, *said: Any) -> str:
    """Return the id of an item that is made from scope and text, and from what is said of it, if that is taken."""
    return f"item-{digest(dict(scope), key, *(said or (0,)))}"


def _new(
    fact: Fact, item_id: str, key: str, scope: Mapping[str, Any], now: datetime, origin: str, same_as: str | None
) -> Item:
    expires = None if fact.expires_at is None else isoformat(parse_time(fact.expires_at, name="expires_at"))
    return Item(
        id=item_id,
        memory_type=checked_type(fact.memory_type),
        summary=fact.summary,
        categories=list(fact.categories),
        sources=list(fact.sources),
        count=max(len(fact.sources), 1),
        origin=origin,
        created_at=fact.created_at or isoformat(now),
        happened_at=fact.happened_at,
        expires_at=expires,
        same_as=same_as,
        slot=fact.slot,
        key=key,
        scope=dict(scope),
    )


def _still_expires(item: Item, fact: Fact, now: datetime) -> str | None:
    """Return when an item that is said again expires: the later time; what had expired holds again."""
    if item.expires_at is None:
        return None
    if fact.expires_at is not None:
        return later(item.expires_at, isoformat(parse_time(fact.expires_at, name="expires_at")))
    return item.expires_at if seconds(item.expires_at) > seconds(fact.created_at or isoformat(now)) else None


def newest_items(
    store: Store, scope: Mapping[str, Any], most: int, categories: Collection[str] | None = None
) -> list[Item]:
    """Return the newest items of exactly this scope that were not superseded, oldest first.

    Args:
        store: Where the records are.
        scope: The scope that owns them.
        most: How many to return at most; only these are read.
        categories: The names of their categories, of which each has one at least; None takes all.
    """
    named = {} if categories is None else {f"{AGENT}.categories": {"$in": sorted(categories)}}
    found: list[Item] = []
    for offset in count(0, most):
        where = {**store.exactly(scope), **CURRENT, **named}
        records = store.select("item", where, limit=most, offset=offset, descending=True)
        found += [item for item in map(read_item, records) if item.scope == scope]
        if len(records) < most or len(found) >= most:
            break
    return found[:most][::-1]


def newest_by_category(
    store: Store, scope: Mapping[str, Any], most: int, categories: Collection[str]
) -> dict[str, list[Item]]:
    """Return the newest items of each of some categories, as :func:`newest_items` does.

    They are asked for at once; where one category has so many new ones that they crowd out another's, that alone is
    asked for again.
    """
    if not categories:
        return {}
    room = most * len(categories)
    read = newest_items(store, scope, room, categories)
    found = {name: [item for item in read if name in item.categories][-most:] for name in categories}
    return {
        name: items if len(read) < room or len(items) == most else newest_items(store, scope, most, [name])
        for name, items in found.items()
    }


def sessions_of(item: Item) -> list[str]:
    """Return the keys of the sessions of the turns that an item lists, each once."""
    return _sessions(item.sources)


def _sessions(turns: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(turn.rpartition("-")[0] for turn in turns))


def names_of(items: Iterable[Item]) -> list[str]:
    """Return the names of the categories of some items, each once."""
    return list(dict.fromkeys(name for item in items for name in item.categories))
