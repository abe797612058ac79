"""Forgetting: turns, the items that rest on them alone, and the summaries that tell of them, in one commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from memvid_core.agent.categories import Categories, Summarize
from memvid_core.agent.conversations import mark_of
from memvid_core.agent.records import (
    Item,
    Resource,
    Turn,
    changed,
    item_draft,
    read_item,
    read_resource,
    read_turn,
    resource_draft,
    resource_id,
)
from memvid_core.agent.store import Changes, Store
from memvid_core.model import Record

__all__ = ["Receipt", "plan_forget"]


class Receipt(msgspec.Struct, frozen=True):
    """What was forgotten: the ids of turns, items, categories and resources that are gone.

    ``rewritten`` are the categories whose summaries told of it. ``unknown`` are ids that the scope does not have.
    ``in_file`` tells that the bytes are still in the file: ``compact`` removes them.
    """

    turns: list[str] = []
    items: list[str] = []
    categories: list[str] = []
    resources: list[str] = []
    rewritten: list[str] = []
    unknown: list[str] = []
    in_file: bool = True


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
    kept = _items_left(store, owners, gone)
    resources = _resources_left(store, gone)
    touched = {name for record in gone.items.values() for name in read_item(record).categories}
    touched |= {name for item in kept.values() for name in item.categories}
    drafts = [item_draft(item) for item in kept.values()] + [resource_draft(each) for each in resources]
    rewritten = _summaries(store, categories, owners, touched, gone, kept, now, summarize)
    receipt = Receipt(
        turns=list(gone.turns),
        items=list(gone.items),
        categories=list(gone.categories),
        resources=list(gone.resources),
        rewritten=[draft.id for draft in rewritten],
        unknown=[each for each in wanted or () if each not in gone],
    )
    return Changes([*drafts, *rewritten], gone.ids(), receipt)


def _items_left(store: Store, owners: Mapping[str, Any], gone: _Gone) -> dict[str, Item]:
    """Return the items that lose a source and have others; those that have none left are gone, with their versions."""
    kept: dict[str, Item] = {}
    if gone.turns:
        for record in store.select("item", {**owners, "sources": {"$in": list(gone.turns)}}):
            item = read_item(record)
            left = [source for source in item.sources if source not in gone.turns]
            if not left:
                gone.items[record.id] = record
            elif record.id not in gone.items:
                kept[item.id] = changed(item, sources=left, count=max(item.count - len(item.sources) + len(left), 1))
    _with_versions(store, owners, gone, kept)
    return kept


def _with_versions(store: Store, owners: Mapping[str, Any], gone: _Gone, kept: dict[str, Item]) -> None:
    """Forget older versions of an item with it, and unlink what pointed to it."""
    if not gone.items:
        return
    for record in store.select("item", owners):
        item = kept.get(record.id) or read_item(record)
        base = record.id.partition(".v")[0]
        if record.id not in gone.items and base != record.id and base in gone.items:
            gone.items[record.id] = record
            kept.pop(record.id, None)
    for record in store.select("item", owners):
        item = kept.get(record.id) or read_item(record)
        links = {name: None for name in ("supersedes", "same_as") if getattr(item, name) in gone.items}
        if item.superseded_by in gone.items:
            links |= {"superseded_by": None, "superseded_at": None}
        if links and record.id not in gone.items:
            kept[record.id] = changed(item, **links)


def _resources_left(store: Store, gone: _Gone) -> list[Resource]:
    """Return the resources that lose a turn and stay: they keep its digest, so that it does not come back."""
    by_session: dict[str, list[Turn]] = {}
    for record in gone.turns.values():
        turn = read_turn(record)
        by_session.setdefault(turn.session, []).append(turn)
    there = store.get(resource_id(session) for session in by_session)
    left = []
    for session, turns in by_session.items():
        record_id = resource_id(session)
        if record_id in there and record_id not in gone.resources:
            resource = read_resource(there[record_id])
            marks = {str(turn.position): mark_of(turn) for turn in turns}
            left.append(changed(resource, forgotten={**resource.forgotten, **marks}))
    return left


def _summaries(
    store: Store,
    categories: Categories,
    owners: Mapping[str, Any],
    names: Iterable[str],
    gone: _Gone,
    kept: Mapping[str, Item],
    now: datetime,
    summarize: Summarize | None,
) -> list[Any]:
    """Return the records of the categories that told of what is gone."""
    wanted = set(names)
    drafts = []
    if wanted:
        items = [kept.get(record.id) or read_item(record) for record in store.select("item", owners)]
        items = [item for item in items if item.id not in gone.items]
        for category in categories.read(owners):
            if category.name in wanted and category.id not in gone.categories:
                own = [item for item in items if item.scope == category.scope]
                drafts += categories.drafts([category.name], own, category.scope, now, summarize)
    return drafts
