"""Forgetting: turns, the items that rest on them alone, and the summaries that tell of them, in one commit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from memvid_core.agent.categories import Categories, Summarize
from memvid_core.agent.conversations import mark_of
from memvid_core.agent.records import (
    AGENT,
    Draft,
    Item,
    Turn,
    changed,
    forgotten_ids,
    item_draft,
    read_item,
    read_resource,
    read_turn,
    resource_id,
    with_forgotten,
)
from memvid_core.agent.sources import LAST, Older, OlderSources, base_of, listed_before
from memvid_core.agent.store import Changes, Store
from memvid_core.agent.times import seconds
from memvid_core.model import Record

__all__ = ["Receipt", "plan_forget"]

_LINKS = ("supersedes", "superseded_by", "same_as")
"""The fields of an item that name another."""
_ASKED = 500
"""How many ids one filter names: it has a limit."""


class Receipt(msgspec.Struct, frozen=True):
    """What was forgotten: the ids of turns, items, categories, resources and notes that are gone.

    ``notes`` are texts that memory tools saved; they go with a whole scope. ``rewritten`` are the categories whose
    summaries told of it. ``unknown`` are ids that the scope does not have. ``in_file`` tells that the bytes are still
    in the file: ``compact`` removes them.
    """

    turns: list[str] = []
    items: list[str] = []
    categories: list[str] = []
    resources: list[str] = []
    rewritten: list[str] = []
    unknown: list[str] = []
    in_file: bool = True
    notes: list[str] = []


class _Gone:
    """The records to forget, by kind."""

    def __init__(self, store: Store, where: Mapping[str, Any], ids: Iterable[str] | None) -> None:
        self.turns: dict[str, Record] = {}
        self.items: dict[str, Record] = {}
        self.categories: dict[str, Record] = {}
        self.resources: dict[str, Record] = {}
        named = {} if ids is None else {"$id": {"$in": list(ids)}}
        for kind, into in (
            ("turn", self.turns),
            ("item", self.items),
            ("category", self.categories),
            ("resource", self.resources),
        ):
            into.update({record.id: record for record in store.select(kind, {**where, **named})})

    def __contains__(self, record_id: object) -> bool:
        return any(record_id in part for part in (self.turns, self.items, self.categories, self.resources))

    def ids(self) -> list[str]:
        return [*self.turns, *self.items, *self.categories, *self.resources]


def plan_forget(
    store: Store,
    categories: Categories,
    where: Mapping[str, Any],
    ids: Iterable[str] | None,
    now: datetime,
    summarize: Summarize | None,
) -> Changes:
    """Plan to forget records of a scope, and what rests on them.

    Args:
        store: Where the records are.
        categories: The categories.
        where: The filter of a scope.
        ids: Which of its records; None forgets the whole scope. The id of a resource stands for all its turns.
        now: The present.
        summarize: Rewrites the summaries of categories; without it they are emptied and marked as stale.
    """
    wanted = None if ids is None else list(dict.fromkeys(ids))
    gone = _Gone(store, where, wanted)
    for record in gone.resources.values() if wanted is not None else ():
        session = record.id.removeprefix("session-")
        turns = store.select("turn", {**where, "agent.session": {"$eq": session}})
        gone.turns.update({turn.id: turn for turn in turns})
    owners = {name: value for name, value in where.items() if name != "session_id"}
    older = OlderSources(store)
    shared = older.naming(gone.turns, owners) if gone.turns else {}
    kept = _items_left(store, older, owners, gone, shared)
    resources = _resources_left(store, gone)
    left, emptied = _older_left(older, gone, shared)
    touched = {name for record in gone.items.values() for name in read_item(record).categories}
    touched |= {name for item in kept.values() for name in item.categories}
    drafts = [*(item_draft(item) for item in kept.values()), *resources]
    for record in gone.resources.values():
        emptied += forgotten_ids(read_resource(record))
    rewritten = _summaries(categories, owners, touched, gone, kept, now, summarize)
    receipt = Receipt(
        turns=list(gone.turns),
        items=list(gone.items),
        categories=list(gone.categories),
        resources=list(gone.resources),
        rewritten=[draft.id for draft in rewritten],
        unknown=[each for each in wanted or () if each not in gone],
        notes=store.notes(where) if wanted is None else [],
    )
    return Changes([*drafts, *left, *rewritten], [*gone.ids(), *emptied, *receipt.notes], receipt)


def _items_left(
    store: Store,
    older: OlderSources,
    owners: Mapping[str, Any],
    gone: _Gone,
    shared: Mapping[str, list[Older]],
) -> dict[str, Item]:
    """Return the items that lose a source and have others; those that have none left are gone, with their versions."""
    kept: dict[str, Item] = {}
    begin: dict[str, str] = {}
    if gone.turns:
        named = store.select("item", {**owners, "sources": {"$in": list(gone.turns)}})
        records = {record.id: record for record in [*named, *_with_versions(store, owners, shared)]}
        items = [read_item(record) for record in records.values()]
        there = older.of(items)
        for item in items:
            before = list(dict.fromkeys([*listed_before(item, there), *item.sources]))
            left = [source for source in before if source not in gone.turns]
            if not left:
                gone.items[item.id] = records[item.id]
            elif len(left) < len(before) and item.id not in gone.items:
                listed = [source for source in item.sources if source not in gone.turns] or left[-LAST:]
                kept[item.id] = changed(item, sources=listed, count=max(item.count - len(before) + len(left), 1))
                if left[0] != before[0] and (item.supersedes is None or base_of(item.supersedes) != item.id):
                    begin[item.id] = left[0]  # unless a person has corrected it: then it holds since that
    _take_versions(store, owners, gone, kept)
    if begin:
        _begin_later(store, owners, gone, kept, begin)
    return kept


def _begin_later(
    store: Store, owners: Mapping[str, Any], gone: _Gone, kept: dict[str, Item], begin: Mapping[str, str]
) -> None:
    """Let items hold since the first turn that is left of theirs was said, and those that they corrected until then."""
    turns = store.get(begin.values(), kind="turn")
    later = [kept[name] for name, turn in begin.items() if name in kept and turn in turns]
    stored = store.select("item", {**owners, f"{AGENT}.superseded_by": {"$in": [item.id for item in later]}})
    known = {record.id: read_item(record) for record in stored if record.id not in gone.items} | kept
    corrected: defaultdict[str | None, list[str]] = defaultdict(list)
    for item in known.values():
        corrected[item.superseded_by].append(item.id)
    for name in (item.id for item in sorted(later, key=lambda item: seconds(item.created_at), reverse=True)):
        item = kept[name]
        since = max(item.created_at, turns[begin[name]].metadata["created_at"], key=seconds)
        since = since if item.superseded_at is None else min(since, item.superseded_at, key=seconds)
        kept[name] = changed(item, created_at=since)
        for before in corrected[name]:
            kept[before] = changed(kept.get(before, known[before]), superseded_at=since)


def _with_versions(store: Store, owners: Mapping[str, Any], ids: Iterable[str]) -> list[Record]:
    """Return some items of a scope and all their older versions, which their ids begin with."""
    found = store.get(ids, kind="item")
    corrected = [name for name, record in found.items() if read_item(record).version > 1]
    for first in range(0, len(corrected), _ASKED):
        begin = [{"$id": {"$like": f"{name}.v%"}} for name in corrected[first : first + _ASKED]]
        found |= {record.id: record for record in store.select("item", {**owners, "$or": begin})}
    return list(found.values())


def _older_left(older: OlderSources, gone: _Gone, shared: Mapping[str, list[Older]]) -> tuple[list[Draft], list[str]]:
    """Return the records of older sources that lose a turn and have others, and the ids of those that are gone."""
    of_gone = older.of(read_item(record) for record in gone.items.values() if base_of(record.id) == record.id)
    deleted = [each.id for several in of_gone.values() for each in several]
    drafts: list[Draft] = []
    for each in (each for name, several in shared.items() if name not in of_gone for each in several):
        left = [source for source in each.sources if source not in gone.turns]
        if left:
            drafts.append(each._replace(sources=left).draft())
        else:
            deleted.append(each.id)
    return drafts, deleted


def _take_versions(store: Store, owners: Mapping[str, Any], gone: _Gone, kept: dict[str, Item]) -> None:
    """Forget older versions of an item with it, and link what it was linked with."""
    if not gone.items:
        return
    for record in _with_versions(store, owners, [name for name in gone.items if base_of(name) == name]):
        if record.id not in gone.items:
            gone.items[record.id] = record
            kept.pop(record.id, None)
    linked = ({f"{AGENT}.{name}": {"$in": list(gone.items)}} for name in _LINKS)
    freed = [record for record in store.select("item", {**owners, "$or": list(linked)}) if record.id not in gone.items]
    for record in freed:
        kept[record.id] = _linked_past(kept.get(record.id) or read_item(record), gone)
    _link_back(store, owners, [record.id for record in freed], gone, kept)
    for record in freed:
        if kept[record.id].superseded_at is None and kept[record.id].same_as is None:
            _link_equal(store, record.id, gone, kept)


def _link_back(
    store: Store, owners: Mapping[str, Any], freed: Iterable[str], gone: _Gone, kept: dict[str, Item]
) -> None:
    """Let what corrected an item that is gone correct, of those that now lead to it, the latest."""
    lost = {name for name in freed if kept[name].supersedes in gone.items}
    stored = store.select("item", {**owners, f"{AGENT}.superseded_by": {"$in": sorted(lost)}}) if lost else []
    known = {record.id: read_item(record) for record in stored if record.id not in gone.items} | kept
    before: dict[str | None, str] = {}
    for item in sorted(known.values(), key=lambda item: (seconds(item.created_at), item.id)):
        before[item.superseded_by] = item.id
    for name in lost:
        kept[name] = changed(kept[name], supersedes=before.get(name))


def _link_equal(store: Store, name: str, gone: _Gone, kept: dict[str, Item]) -> None:
    """Let an item that holds now lead to one that says the same, if what linked or corrected them is gone."""
    item = kept[name]
    alike = ({f"{AGENT}.key": {"$eq": item.key}}, {f"{AGENT}.same_as": {"$eq": name}})
    there = store.select("item", {**store.exactly(item.scope), "$or": list(alike)})
    others = [kept.get(each.id) or read_item(each) for each in there if each.id not in gone.items and each.id != name]
    current = [each for each in others if each.superseded_at is None and each.scope == item.scope]
    equal = next((each for each in current if each.key == item.key and each.same_as is None), None)
    if equal is not None:
        kept[name] = changed(item, same_as=equal.id)
        for each in current:
            if each.same_as == name:
                kept[each.id] = changed(each, same_as=equal.id)


def _linked_past(item: Item, gone: _Gone) -> Item:
    """Return an item whose links to what came after it lead past the items that are gone."""
    links: dict[str, Any] = {}
    for field in ("superseded_by", "same_as"):
        name, time = getattr(item, field), item.superseded_at
        passed: set[str] = set()
        while name in gone.items:
            next_one = read_item(gone.items[name])
            passed.add(name)
            name, time = getattr(next_one, field), next_one.superseded_at
            if name in passed:  # links that another program has made into a ring
                name, time = None, None
        links[field] = name
        if field == "superseded_by":
            links["superseded_at"] = time
    if links["same_as"] == item.id:
        links["same_as"] = None
    return changed(item, **links)


def _resources_left(store: Store, gone: _Gone) -> list[Draft]:
    """Return the records of resources that lose a turn and stay: they keep its digest, so that it does not return."""
    by_session: dict[str, list[Turn]] = {}
    for record in gone.turns.values():
        turn = read_turn(record)
        by_session.setdefault(turn.session, []).append(turn)
    there = store.get(resource_id(session) for session in by_session)
    left: list[Draft] = []
    for session, turns in by_session.items():
        record_id = resource_id(session)
        if record_id in there and record_id not in gone.resources:
            resource = read_resource(there[record_id])
            if _has_no_other(store, session, gone):
                url = None if resource.modality == "conversation" else resource.url
                resource = changed(resource, title=None, url=url)
            marks = {str(turn.position): mark_of(turn) for turn in turns}
            left += with_forgotten(resource, marks)
    return left


def _has_no_other(store: Store, session: str, gone: _Gone) -> bool:
    """Tell whether all turns of a session are gone; its title, which tells of them, goes with them."""
    where = {"agent.session": {"$eq": session}}
    return all(record.id in gone.turns for record in store.select("turn", where, limit=len(gone.turns) + 1))


def _summaries(
    categories: Categories,
    owners: Mapping[str, Any],
    names: Iterable[str],
    gone: _Gone,
    kept: Mapping[str, Item],
    now: datetime,
    summarize: Summarize | None,
) -> list[Any]:
    """Return the records of the categories that mention deleted records."""
    wanted = set(names)
    drafts = []
    for category in categories.read(owners) if wanted else ():
        if category.name in wanted and category.id not in gone.categories:
            drafts += categories.drafts([category.name], kept, category.scope, now, summarize, gone.items)
    return drafts
