"""What one commit makes of items, before it is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from memvid_core.agent.passages import terms_of
from memvid_core.agent.records import Draft, Item, item_draft
from memvid_core.agent.sources import Older, shortened

__all__ = ["ItemPlan"]


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
        ids = set.intersection(*sorted((self._current[key] for key in keys), key=len)) if keys else set()
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


def _keys_of(item: Item) -> Iterator[tuple[str, str]]:
    """Yield the slot and the terms of an item, each as kind and name."""
    if item.slot is not None:
        yield "slot", item.slot
    yield from (("term", term) for term in terms_of(item.summary))
