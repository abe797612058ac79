"""Items: each fact once within a scope, corrected by newer ones, linked to what says nearly the same."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, count
from typing import Any, Final

from memvid_core.agent.folding import fold
from memvid_core.agent.passages import terms_of
from memvid_core.agent.records import AGENT, Draft, Item, changed, digest, item_draft, read_item, read_turn
from memvid_core.agent.rules import Fact, sentences
from memvid_core.agent.scopes import SESSION, nearest
from memvid_core.agent.sources import Older, OlderSources, listed_before, shortened
from memvid_core.agent.store import Store
from memvid_core.agent.times import isoformat, parse_time, seconds
from memvid_core.agent.versions import CURRENT
from memvid_core.errors import InvalidInputError, RecordNotFoundError

__all__ = ["MEMORY_TYPES", "ItemPlan", "Items", "checked_type", "names_of", "newest_items", "sessions_of"]

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


class ItemPlan:
    """What one commit makes of items: those that are new or changed, by id."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.result: list[Item] = []
        self._counted: set[str] = set()
        self._older: dict[str, Older] = {}
        self._current: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def put(self, item: Item) -> Item:
        """Write an item; a later form of it takes the place of an earlier one."""
        item, older = shortened(item)
        self._older |= {each.id: each for each in older}
        self._counted.discard(item.id)
        if item.id in self.items:
            for key in _keys_of(self.items[item.id]):
                self._current[key].discard(item.id)
        if item.superseded_at is None:
            for key in _keys_of(item):
                self._current[key].add(item.id)
        self.items[item.id] = item
        return item

    def current(self, *keys: tuple[str, str]) -> list[Item]:
        """Return the items that hold now and have all of some slots and terms, each given as kind and name."""
        ids = set.intersection(*sorted((self._current[key] for key in keys), key=len))
        return [self.items[item_id] for item_id in sorted(ids)]

    def named(self, item_id: str) -> list[Item]:
        """Return the item of an id, if it is here."""
        return [self.items[item_id]] if item_id in self.items else []

    def put_again(self, item: Item) -> Item:
        """Write an item that only was said once more, so that the summaries of its categories stay as they are."""
        again = item.id not in self.items or item.id in self._counted
        item = self.put(item)
        if again:
            self._counted.add(item.id)
        return item

    def drafts(self) -> list[Draft]:
        """Return the records to write."""
        return [*(item_draft(item) for item in self.items.values()), *(each.draft() for each in self._older.values())]

    def take(self, other: ItemPlan) -> None:
        """Add what another plan writes."""
        for item in other.items.values():
            self.put(item)
        self._older |= other._older

    def categories(self) -> set[str]:
        """Return the names of the categories whose items change."""
        changed_items = (item for item in self.items.values() if item.id not in self._counted)
        return {name for item in changed_items for name in item.categories}

    def counted_categories(self) -> set[str]:
        """Return the names of the categories of items that only were said once more."""
        return {name for item_id in self._counted for name in self.items[item_id].categories}


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
        known = self._known(facts, scope)
        for fact in facts:
            key = digest(fold(fact.summary))
            item = known.get(key)
            item = item if item is None else plan.items.get(item.id, item)
            if item is None or item.superseded_at is not None:
                item = plan.put(self._new(fact, key, scope, now, origin, plan))
                self._supersede(fact, item, plan)
                item = plan.items[item.id]
            else:
                item = self._again(item, fact, plan)
            known[key] = item
            plan.result.append(item)
        unique = {item.id: plan.items.get(item.id, item) for item in plan.result}
        plan.result = list(unique.values())
        return plan

    def _known(self, facts: Sequence[Fact], scope: Mapping[str, Any]) -> dict[str, Item]:
        keys = [digest(fold(fact.summary)) for fact in facts]
        if not keys:
            return {}
        records = self._store.select("item", {**self._store.exactly(scope), f"{AGENT}.key": {"$in": keys}})
        found = [read_item(record) for record in records]
        return {item.key: item for item in found if item.superseded_at is None and item.scope == scope}

    def _new(self, fact: Fact, key: str, scope: Mapping[str, Any], now: datetime, origin: str, plan: ItemPlan) -> Item:
        expires = None if fact.expires_at is None else isoformat(parse_time(fact.expires_at, name="expires_at"))
        item = Item(
            id=self._free_id(scope, key, fact, now, plan),
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

    def _free_id(self, scope: Mapping[str, Any], key: str, fact: Fact, now: datetime, plan: ItemPlan) -> str:
        """Return an id made from scope and text; if an item that was corrected has it, from its turns and time, too."""
        said = [list(fact.sources), fact.created_at, isoformat(now)]
        tries: Iterator[list[Any]] = chain([[0], said], ([*said, number] for number in count()))
        names = (f"item-{digest(dict(scope), key, *each)}" for each in tries)
        return next(name for name in names if name not in plan.items and not self._store.get([name]))

    def _near(self, item: Item) -> str | None:
        """Return the id of an item that says nearly the same: near in meaning, with the same numbers and names."""
        exact = sorted(_EXACT.findall(item.summary))
        for hit in self._store.near(item.summary, self._store.exactly(item.scope), 5):
            near = read_item(hit.record)
            same = (hit.cosine or 0.0) >= SAME and sorted(_EXACT.findall(near.summary)) == exact
            current = near.superseded_at is None and near.scope == item.scope
            if same and current and near.id != item.id:
                return near.same_as or near.id
        return None

    def _again(self, item: Item, fact: Fact, plan: ItemPlan) -> Item:
        new = [source for source in fact.sources if source not in item.sources]
        categories = [name for name in fact.categories if name not in item.categories]
        if fact.sources and not new and not categories:
            return plan.items.get(item.id, item)
        said = {"sources": [*item.sources, *new], "count": item.count + (len(new) if fact.sources else 1)}
        if not categories:
            return plan.put_again(changed(item, **said))
        return plan.put(changed(item, **said, categories=[*item.categories, *categories]))

    def _supersede(self, fact: Fact, item: Item, plan: ItemPlan) -> None:
        """Put a new item into the line of versions of the one it corrects, or that corrects it, by their times.

        Only a fact that says when it was said can be older than what is known: a clock may have jumped back.
        """
        current = self._corrected(fact, item, plan)
        if current is None:
            return
        if not fact.dated:
            item = changed(item, created_at=_later(item.created_at, current.created_at))
        line = self._versions(current, item, plan)
        place = sum(seconds(each.created_at) <= seconds(item.created_at) for each in line)
        first, before = (line[0].version, line[0].supersedes) if place else (1, None)
        line.insert(place, changed(item, same_as=None))
        neighbors = zip([None, *line], line, [*line[1:], None], strict=False)
        for version, (older, each, newer) in enumerate(neighbors, first):
            links: dict[str, Any] = {"version": version, "supersedes": before if older is None else older.id}
            if newer is not None:
                links |= {"superseded_at": newer.created_at, "superseded_by": newer.id}
            if (linked := changed(each, **links)) != each or each.id in (item.id, current.id):
                plan.put(linked)

    def _versions(self, current: Item, item: Item, plan: ItemPlan) -> list[Item]:
        """Return an item and the versions before it, back to the first that is older than another, oldest first."""
        line, time = [current], seconds(item.created_at)
        while seconds(line[0].created_at) > time:
            name = line[0].supersedes
            if name is None or any(name == each.id for each in line):
                break
            there = self._store.get([name], kind="item")
            older = plan.items.get(name) or (read_item(there[name]) if name in there else None)
            if older is None:
                break
            line.insert(0, older)
        return line

    def _corrected(self, fact: Fact, item: Item, plan: ItemPlan) -> Item | None:
        """Return the item that says what holds now of what a fact is about; None if the fact is about something new."""
        exactly = self._store.exactly(item.scope)
        if fact.slot is not None:
            stored = self.read({**exactly, **CURRENT, f"{AGENT}.slot": {"$eq": fact.slot}})
            same = _best([*stored, *plan.current(("slot", fact.slot))], item, plan)
            if same is not None:
                return same
        if fact.replaces is None:
            return None
        stored = self.read({**exactly, **CURRENT, "$id": {"$eq": fact.replaces}})
        words = set(terms_of(fact.replaces))
        named = _best([*stored, *plan.named(fact.replaces)], item, plan)
        if named is not None or not words:
            return named
        return self._alike(fact, words, item, plan) or self._said_before(fact, item, words, plan)

    def _alike(self, fact: Fact, words: set[str], item: Item, plan: ItemPlan) -> Item | None:
        """Return the item of the scope of an item that holds now and has all terms that a fact replaces.

        It is found by the index, so that a correction costs the same in a memory of many items. Terms are beginnings of
        words: of several items that have them, it is the one that has most of the whole words, and of these the latest.
        """
        text, where = fact.replaces or "", {**self._store.exactly(item.scope), **CURRENT}
        hits = map(read_item, (hit.record for hit in self._store.of_kinds(text, where, ALIKE, ["item"])))
        stored = [each for each in hits if words <= set(terms_of(each.summary))]
        whole = set(_WORD.findall(fold(text)))
        found = self._said_by(fact.who, [*stored, *plan.current(*(("term", word) for word in words))])
        return _best(found, item, plan, lambda each: len(whole.intersection(_WORD.findall(fold(each.summary)))))

    def _said_by(self, who: str | None, items: Sequence[Item]) -> list[Item]:
        """Return the items that somebody said, and those that no turn that is there says."""
        last = {item.sources[-1] for item in items if item.sources} if who else set()
        speakers = {name: read_turn(record).who for name, record in self._store.get(last, kind="turn").items()}
        return [item for item in items if not item.sources or speakers.get(item.sources[-1], who) == who]

    def _said_before(self, fact: Fact, item: Item, words: set[str], plan: ItemPlan) -> Item | None:
        """Return what a fact corrects as an item, if no rule read it when it was said: a sentence of another turn."""
        for hit in self._store.search(fact.replaces or "", self._store.exactly(item.scope), 10, ["turn"]):
            turn = read_turn(hit.record)
            owner = {name: value for name, value in turn.scope.items() if name != SESSION}
            other = fact.who is not None and turn.who != fact.who
            if turn.role != "user" or other or turn.id in fact.sources or owner != item.scope:
                continue
            said = next((each for each in sentences(turn.text) if words <= set(terms_of(each))), None)
            if said is not None:
                key = digest(fold(said))
                name = f"item-{digest(dict(item.scope), key, turn.id)}"
                if name in plan.items or self._store.get([name]):
                    return None  # it was corrected before
                fields: dict[str, Any] = {"memory_type": item.memory_type, "categories": item.categories}
                fields |= {"created_at": turn.created_at, "happened_at": turn.happened_at, "origin": item.origin}
                return Item(id=name, summary=said, sources=[turn.id], key=key, scope=dict(item.scope), **fields)
        return None

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
        since = _later(isoformat(now), item.created_at)
        if text == item.summary:
            plan.result = [plan.put(changed(item, **fields))]
            return plan
        older = self._free_version(item)
        plan.put(changed(item, id=older, superseded_at=since, superseded_by=item.id))
        for record in self._store.get([item.supersedes] if item.supersedes else [], kind="item").values():
            before = read_item(record)
            if before.superseded_by == item.id:
                plan.put(changed(before, superseded_by=older))
        corrected = {"version": item.version + 1, "supersedes": older, "created_at": since}
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
        records = self._store.select("item", {**self._store.exactly(item.scope), f"{AGENT}.{field}": {"$eq": value}})
        others = {**{record.id: read_item(record) for record in records}, **(planned or {})}.values()
        current = (other for other in others if other.superseded_at is None and other.scope == item.scope)
        return [other for other in current if getattr(other, field) == value and other.id != item.id]

    def _free_version(self, item: Item) -> str:
        """Return an id for the older version of an item."""
        names = (f"{item.id}.v{number}" for number in count(item.version))
        return next(name for name in names if not self._store.get([name]))

    def whole(self, item: Item) -> Item:
        """Return an item with all turns that it comes from."""
        return self._older.whole([item])[0]

    def history(self, item: Item, where: Mapping[str, Any]) -> list[Item]:
        """Return the versions of an item, oldest first."""
        versions = {item.id: item}
        last = self._end(item, "superseded_by", versions, where)
        self._end(last, "supersedes", versions, where)
        return sorted(self._older.whole(versions.values()), key=lambda each: each.version)

    def _end(self, item: Item, link: str, known: dict[str, Item], where: Mapping[str, Any]) -> Item:
        """Follow a link between versions to its end, and return that; those on the way become known."""
        passed = {item.id}
        while (name := getattr(item, link)) is not None and name not in passed:
            passed.add(name)
            if name not in known:
                found = self._store.select("item", {**where, "$id": {"$eq": name}})
                if not found:
                    break
                known[name] = read_item(found[0])
            item = known[name]
        return item


def _keys_of(item: Item) -> Iterator[tuple[str, str]]:
    """Yield the slot and the terms of an item, each as kind and name."""
    if item.slot is not None:
        yield "slot", item.slot
    yield from (("term", term) for term in terms_of(item.summary))


def _best(found: Iterable[Item], item: Item, plan: ItemPlan, worth: Callable[[Item], int] = lambda _: 0) -> Item | None:
    """Return the item worth most, and of equal ones the latest, of those that hold now in the scope of another item."""
    mine = (plan.items.get(each.id, each) for each in found if each.scope == item.scope and each.id != item.id)
    current = (each for each in mine if each.superseded_at is None)
    return max(current, key=lambda each: (worth(each), seconds(each.created_at)), default=None)


def newest_items(store: Store, scope: Mapping[str, Any], most: int, category: str | None = None) -> list[Item]:
    """Return the newest items of exactly this scope that were not superseded, oldest first.

    Args:
        store: Where the records are.
        scope: The scope that owns them.
        most: How many to return at most; only these are read.
        category: The name of their category; None takes all.
    """
    named = {} if category is None else {f"{AGENT}.categories": {"$eq": category}}
    found: list[Item] = []
    for offset in count(0, most):
        where = {**store.exactly(scope), **CURRENT, **named}
        records = store.select("item", where, limit=most, offset=offset, descending=True)
        found += [item for item in map(read_item, records) if item.scope == scope]
        if len(records) < most or len(found) >= most:
            break
    return found[:most][::-1]


def sessions_of(item: Item) -> list[str]:
    """Return the keys of the sessions of the turns that an item lists, each once."""
    return _sessions(item.sources)


def _sessions(turns: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(turn.rpartition("-")[0] for turn in turns))


def _later(one: str, other: str) -> str:
    """Return the later of two stored times."""
    return max(one, other, key=seconds)


def names_of(items: Iterable[Item]) -> list[str]:
    """Return the names of the categories of some items, each once."""
    return list(dict.fromkeys(name for item in items for name in item.categories))
