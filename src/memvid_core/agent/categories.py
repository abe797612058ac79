"""Categories: subjects of a scope, each with a summary of its items."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from memvid_core.agent.folding import fold
from memvid_core.agent.items import newest_by_category
from memvid_core.agent.records import Category, Draft, Item, category_draft, changed, digest, read_category
from memvid_core.agent.rules import Fact
from memvid_core.agent.scopes import SESSION
from memvid_core.agent.store import Store
from memvid_core.agent.times import isoformat

__all__ = ["DEFAULT_CATEGORIES", "Categories", "Summarize", "bullets", "category_id"]

DEFAULT_CATEGORIES: Final = {
    "personal_info": "Who somebody is: name, home, health, dates",
    "preferences": "What somebody likes and dislikes",
    "relationships": "Family, friends and colleagues",
    "activities": "What somebody does and did",
    "goals": "What somebody wants and has to do",
    "experiences": "What happened to somebody",
    "knowledge": "What somebody knows and can do",
    "opinions": "What somebody thinks",
    "habits": "What somebody does regularly",
    "work_life": "Work, projects and decisions",
}
MOST: Final = 20
"""How many items a summary without a model lists: the newest."""
READ: Final = 200
"""How many items a model reads for a summary: the newest."""

Summarize = Callable[[Category, Sequence[Item]], str]


def category_id(scope: Mapping[str, Any], name: str) -> str:
    """Return the id of a category of a scope."""
    return f"category-{digest(dict(scope), fold(name))}"


def bullets(_: Category, items: Sequence[Item]) -> str:
    """Return a summary without a model: the items, a line each."""
    return "\n".join(f"- {item.summary} [ref:{item.id}]" for item in items[-MOST:])


class Categories:
    """The categories of a store.

    Args:
        store: Where the records are.
        descriptions: What the categories are about, by name.
    """

    def __init__(self, store: Store, descriptions: Mapping[str, str] = DEFAULT_CATEGORIES) -> None:
        self._store = store
        self._descriptions = dict(descriptions)

    def read(self, where: Mapping[str, Any]) -> list[Category]:
        """Return the categories of a scope, in the order they were made."""
        return [read_category(record) for record in self._store.select("category", where)]

    def within(self, where: Mapping[str, Any], items: Sequence[Item]) -> list[Category]:
        """Return the categories of a scope; with a session, those of its items, with summaries of these alone."""
        found = self.read({name: test for name, test in where.items() if name != SESSION})
        if SESSION not in where:
            return found
        narrowed = ((each, _inside(each, items)) for each in found)
        return [changed(each, summary=bullets(each, inside), stale=False) for each, inside in narrowed if inside]

    def named(self, facts: Sequence[Fact], scope: Mapping[str, Any]) -> list[Fact]:
        """Return facts whose categories are called as they are in the scope: "Habits" is "habits", if that is there."""
        called = self._called(scope, [name for fact in facts for name in fact.categories])
        return [
            fact._replace(categories=tuple(dict.fromkeys(called[name] for name in fact.categories))) for fact in facts
        ]

    def renamed(self, fields: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a correction, with the categories called as they are in the scope."""
        names = fields.get("categories")
        if names is None:
            return dict(fields)
        called = self._called(scope, names)
        return {**fields, "categories": list(dict.fromkeys(called[name] for name in names))}

    def _called(self, scope: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
        """Return what each category is called: as it is there, else as it is configured, else as it was named first."""
        ids = {name: category_id(scope, name) for name in names}
        there = self._store.get(ids.values())
        first = {fold(name): name for name in (*reversed(list(ids)), *self._descriptions)}
        return {
            name: read_category(there[found]).name if found in there else first[fold(name)]
            for name, found in ids.items()
        }

    def stale(self, names: Iterable[str], scope: Mapping[str, Any]) -> set[str]:
        """Return the names of those categories whose summaries are still to be written, or that are not there."""
        ids = {name: category_id(scope, name) for name in names}
        there = self._store.get(ids.values())
        return {name for name, found in ids.items() if found not in there or read_category(there[found]).stale}

    def drafts(
        self,
        names: Iterable[str],
        changed_items: Mapping[str, Item],
        scope: Mapping[str, Any],
        now: datetime,
        summarize: Summarize | None,
        gone: Collection[str] = (),
    ) -> list[Draft]:
        """Return the records of categories with new summaries, of their newest items.

        Args:
            names: Which.
            changed_items: The items that the same commit writes, by id.
            scope: The scope that owns them.
            now: The present.
            summarize: Writes a summary; without it, summaries are emptied and marked as stale.
            gone: The ids of the items that the same commit deletes.
        """
        wanted = sorted(set(names))
        there = self._store.get(category_id(scope, name) for name in wanted)
        most = (MOST if summarize in (None, bullets) else READ) + len(changed_items) + len(gone)
        stored = newest_by_category(self._store, scope, most, wanted)
        drafts = []
        for name in wanted:
            kept = [item for item in stored[name] if item.id not in changed_items and item.id not in gone]
            items = [*kept, *changed_items.values()]
            drafts.append(category_draft(self._made(name, items, scope, now, summarize, there)))
        return drafts

    def _made(
        self,
        name: str,
        items: Sequence[Item],
        scope: Mapping[str, Any],
        now: datetime,
        summarize: Summarize | None,
        there: Mapping[str, Any],
    ) -> Category:
        made = category_id(scope, name)
        if made in there:
            category = read_category(there[made])
        else:
            about = self._descriptions.get(name, "")
            category = Category(id=made, name=name, description=about, created_at=isoformat(now), scope=dict(scope))
        inside = _inside(category, items)[-READ:]
        if summarize is None and inside:
            return changed(category, summary="", stale=True)
        return changed(category, summary=summarize(category, inside) if summarize and inside else "", stale=False)


def _inside(category: Category, items: Iterable[Item]) -> list[Item]:
    """Return the items of a category that were not superseded."""
    mine = (item for item in items if item.scope == category.scope and category.name in item.categories)
    return [item for item in mine if item.superseded_at is None]
