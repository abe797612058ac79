"""Items: each fact once within a scope, corrected by newer ones, linked to what says nearly the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from memvid_core.agent.folding import fold
from memvid_core.agent.passages import terms_of
from memvid_core.agent.records import AGENT, Draft, Item, changed, digest, item_draft, read_item
from memvid_core.agent.rules import Fact
from memvid_core.agent.scopes import nearest
from memvid_core.agent.store import Store
from memvid_core.agent.times import isoformat, parse_time
from memvid_core.errors import InvalidInputError, RecordNotFoundError

__all__ = ["MEMORY_TYPES", "ItemPlan", "Items", "checked_type"]

MEMORY_TYPES: Final = ("profile", "event", "knowledge", "behavior", "skill", "tool")
SAME: Final = 0.9
"""The cosine from which two items say nearly the same, if they name the same numbers and the same names."""

_EXACT: Final = re.compile(r"\d[\d.,:/-]*|(?<![.!?:]\s)(?<!^)\b[A-Z]\w+")


def checked_type(memory_type: Any) -> str:
    """Return a memory type.

    Raises:
        InvalidInputError: It is unknown.
    """
    if memory_type not in MEMORY_TYPES:
        raise InvalidInputError(f"{memory_type!r} is not a memory type{nearest(str(memory_type), MEMORY_TYPES)}")
    return str(memory_type)


class ItemPlan:
    """What one commit makes of items: those that are new or changed, by id."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.result: list[Item] = []

    def put(self, item: Item) -> Item:
        """Write an item; a later form of it takes the place of an earlier one."""
        self.items[item.id] = item
        return item

    def drafts(self) -> list[Draft]:
        """Return the records to write."""
        return [item_draft(item) for item in self.items.values()]

    def categories(self) -> set[str]:
        """Return the names of the categories whose items change."""
        return {name for item in self.items.values() for name in item.categories}


class Items:
    """The items of a store.

    Args:
        store: Where the records are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, where: Mapping[str, Any]) -> list[Item]:
        """Return the items of a scope that were not superseded, oldest first."""
        found = (read_item(record) for record in self._store.select("item", where))
        return [item for item in found if item.superseded_at is None]

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
        where = {name: {"$eq": value} for name, value in scope.items()}
        known = self._known(facts, where)
        for fact in facts:
            key = digest(fold(fact.summary))
            item = known.get(key)
            if item is None:
                item = plan.put(self._new(fact, key, scope, now, origin, plan))
                self._supersede(fact, item, where, now, plan)
                item = plan.items[item.id]
            else:
                item = self._again(item, fact, plan)
            known[key] = item
            plan.result.append(item)
        unique = {item.id: plan.items.get(item.id, item) for item in plan.result}
        plan.result = list(unique.values())
        return plan

    def _known(self, facts: Sequence[Fact], where: Mapping[str, Any]) -> dict[str, Item]:
        keys = [digest(fold(fact.summary)) for fact in facts]
        if not keys:
            return {}
        records = self._store.select("item", {**where, f"{AGENT}.key": {"$in": keys}})
        found = [read_item(record) for record in records]
        return {item.key: item for item in found if item.superseded_at is None}

    def _new(self, fact: Fact, key: str, scope: Mapping[str, Any], now: datetime, origin: str, plan: ItemPlan) -> Item:
        expires = None if fact.expires_at is None else isoformat(parse_time(fact.expires_at, name="expires_at"))
        item = Item(
            id=self._free_id(scope, key, plan),
            memory_type=checked_type(fact.memory_type),
            summary=fact.summary,
            categories=list(fact.categories),
            sources=list(fact.sources),
            count=max(len(fact.sources), 1),
            origin=origin,
            created_at=fact.created_at or isoformat(now),
            happened_at=fact.happened_at,
            expires_at=expires,
            slot=fact.slot,
            key=key,
            scope=dict(scope),
        )
        return changed(item, same_as=self._near(item))

    def _free_id(self, scope: Mapping[str, Any], key: str, plan: ItemPlan) -> str:
        """Return an id made from scope and text; another one if an item that was corrected has it."""
        for attempt in range(1_000):
            name = f"item-{digest(dict(scope), key, attempt)}"
            if name not in plan.items and not self._store.get([name]):
                return name
        raise InvalidInputError("an item was corrected away a thousand times")

    def _near(self, item: Item) -> str | None:
        """Return the id of an item that says nearly the same: near in meaning, with the same numbers and names."""
        where = {name: {"$eq": value} for name, value in item.scope.items()}
        exact = sorted(_EXACT.findall(item.summary))
        for hit in self._store.near(item.summary, where, 3):
            near = read_item(hit.record)
            same = (hit.cosine or 0.0) >= SAME and sorted(_EXACT.findall(near.summary)) == exact
            if same and near.superseded_at is None and near.id != item.id:
                return near.same_as or near.id
        return None

    def _again(self, item: Item, fact: Fact, plan: ItemPlan) -> Item:
        new = [source for source in fact.sources if source not in item.sources]
        categories = [name for name in fact.categories if name not in item.categories]
        if fact.sources and not new and not categories:
            return plan.items.get(item.id, item)
        return plan.put(
            changed(
                item,
                sources=[*item.sources, *new],
                count=item.count + (len(new) if fact.sources else 1),
                categories=[*item.categories, *categories],
            )
        )

    def _supersede(self, fact: Fact, item: Item, where: Mapping[str, Any], now: datetime, plan: ItemPlan) -> None:
        """Let a new item take the place of the one it corrects."""
        old = self._corrected(fact, item, where, plan)
        if old is None or old.id == item.id:
            return
        since = item.created_at or isoformat(now)
        plan.put(changed(old, superseded_at=since, superseded_by=item.id))
        plan.put(changed(item, supersedes=old.id, version=old.version + 1, same_as=None))

    def _corrected(self, fact: Fact, item: Item, where: Mapping[str, Any], plan: ItemPlan) -> Item | None:
        if fact.slot is not None:
            found = self._current({**where, f"{AGENT}.slot": {"$eq": fact.slot}}, plan)
            found += [each for each in plan.items.values() if each.slot == fact.slot and each.superseded_at is None]
            others = [each for each in found if each.id != item.id]
            if others:
                return others[-1]
        if fact.replaces is None:
            return None
        words = set(terms_of(fact.replaces))
        for each in reversed(self._current(where, plan)):
            if each.id == fact.replaces or (words and words <= set(terms_of(each.summary))):
                return each if each.id != item.id else None
        return None

    def _current(self, where: Mapping[str, Any], plan: ItemPlan) -> list[Item]:
        read = (read_item(record) for record in self._store.select("item", where))
        found = [plan.items.get(item.id, item) for item in read]
        return [item for item in found if item.superseded_at is None]

    def plan_update(self, item: Item, fields: Mapping[str, Any], now: datetime) -> ItemPlan:
        """Plan a correction: the item keeps its id; a new text makes a new version, and the old one is kept."""
        plan = ItemPlan()
        text = fields.get("summary", item.summary)
        if text == item.summary:
            plan.result = [plan.put(changed(item, **fields))]
            return plan
        older = f"{item.id}.v{item.version}"
        plan.put(changed(item, id=older, superseded_at=isoformat(now), superseded_by=item.id))
        corrected = {"version": item.version + 1, "supersedes": older, "created_at": isoformat(now), "same_as": None}
        newer = changed(item, **{**corrected, **fields, "key": digest(fold(text))})
        plan.result = [plan.put(newer)]
        return plan

    def history(self, item: Item, where: Mapping[str, Any]) -> list[Item]:
        """Return the versions of an item, oldest first."""
        versions = {item.id: item}
        for step in ("supersedes", "superseded_by"):
            name = getattr(item, step)
            while name is not None and name not in versions:
                found = self._store.select("item", {**where, "$id": {"$eq": name}})
                if not found:
                    break
                versions[name] = read_item(found[0])
                name = getattr(versions[name], step)
        return sorted(versions.values(), key=lambda each: each.version)


def names_of(items: Iterable[Item]) -> list[str]:
    """Return the names of the categories of some items, each once."""
    return list(dict.fromkeys(name for item in items for name in item.categories))
