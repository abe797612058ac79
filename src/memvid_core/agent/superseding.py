"""Superseding: which item a fact corrects, and the line of versions that the two are put into."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any, Final

from memvid_core.agent.correction import Correction
from memvid_core.agent.corrections import fits
from memvid_core.agent.folding import fold
from memvid_core.agent.item_plan import ItemPlan
from memvid_core.agent.passages import terms_of
from memvid_core.agent.records import AGENT, Item, Turn, changed, digest, read_item, read_turn, turn_id
from memvid_core.agent.rules import Fact, sentences
from memvid_core.agent.scopes import SESSION
from memvid_core.agent.store import Store
from memvid_core.agent.times import later, seconds
from memvid_core.agent.versions import CURRENT
from memvid_core.model import Record

__all__ = ["corrected_item", "supersede"]

ALIKE: Final = 30
"""Among how many items, those that have the most of its words, a correction looks for what it corrects."""

BEFORE: Final = 6
"""How many turns before it a correction looks at that names nothing: "Sorry, it's at six."."""

TURNS: Final = 10
"""Among how many turns a correction looks for what no rule read."""

STEPS: Final = 100
"""How many versions are followed at most to the one that holds now."""

_WORD: Final = re.compile(r"\w+")


def corrected_item(store: Store, fact: Fact, item: Item, plan: ItemPlan) -> Item | None:
    """Return the item with the present state of the subject of a fact; None if the subject is new.

    Args:
        store: Where the records are.
        fact: What was read.
        item: The item that was made of it.
        plan: What the same commit writes.
    """
    search = _Search(store, fact, item, plan)
    if fact.slot is not None:
        same = search.best([*search.stored(f"{AGENT}.slot", fact.slot), *plan.current(("slot", fact.slot))])
        if same is not None:
            return same
    if fact.replaces is not None:
        named = search.best([*search.stored("$id", fact.replaces), *plan.named(fact.replaces)])
        words = frozenset(terms_of(fact.replaces))
        if named is not None or not words:
            return named
        return search.like(fact.replaces, lambda said: words <= frozenset(terms_of(said)))
    return next((found for each in fact.corrects if (found := search.by(each)) is not None), None)


class _Search:
    """Looks for the item that a fact corrects."""

    def __init__(self, store: Store, fact: Fact, item: Item, plan: ItemPlan) -> None:
        self._store, self._fact, self._item, self._plan = store, fact, item, plan
        self._exactly = store.exactly(item.scope)

    def stored(self, path: str, value: str) -> list[Item]:
        """Return the items of the scope that hold now and have a value."""
        found = self._store.select("item", {**self._exactly, **CURRENT, path: {"$eq": value}})
        return [read_item(record) for record in found]

    def best(self, found: Iterable[Item], worth: Callable[[Item], int] = lambda _: 0) -> Item | None:
        """Return the item worth most, and of equal ones the latest, of those that hold now in the scope."""
        planned = (self._plan.items.get(each.id, each) for each in found)
        mine = (each for each in planned if each.scope == self._item.scope and each.id != self._item.id)
        current = (each for each in mine if each.superseded_at is None)
        return max(current, key=lambda each: (worth(each), seconds(each.created_at)), default=None)

    def by(self, correction: Correction) -> Item | None:
        """Return the item that a sentence corrects."""
        if not correction.near:
            return self.like(correction.asked, lambda said: fits(correction, said))
        for turn in self._before():
            if (said := self._sentence(turn, lambda said: fits(correction, said), last=True)) is not None:
                return self._as_item(turn, said)
        return None

    def like(self, asked: str, is_so: Callable[[str], bool]) -> Item | None:
        """Return the item of which a test is true; if no rule read it when it was said, one made of its turn."""
        return self._known(asked, is_so) or self._said(asked, is_so)

    def _known(self, asked: str, is_so: Callable[[str], bool]) -> Item | None:
        """Return the item of the scope that holds now and of which a test is true.

        It is found by the index, so that a correction costs the same in a memory of many items. Terms are beginnings of
        words: of several items that have them, it is the one that has most of the whole words, and of these the latest.
        """
        hits = self._store.of_kinds(asked, {**self._exactly, **CURRENT}, ALIKE, ["item"])
        planned = self._plan.current(*(("term", word) for word in terms_of(asked)))
        found = [
            each for each in (*(read_item(hit.record) for hit in hits), *planned) if is_so(self._without_name(each))
        ]
        whole = set(_WORD.findall(fold(asked)))
        return self.best(
            self._of_speaker(found), lambda each: len(whole.intersection(_WORD.findall(fold(each.summary))))
        )

    def _without_name(self, item: Item) -> str:
        return item.summary.removeprefix(f"{self._fact.who}: ")

    def _of_speaker(self, items: Sequence[Item]) -> list[Item]:
        """Return the items that the speaker said, and those that no turn that is there says."""
        who = self._fact.who
        last = {item.sources[-1] for item in items if item.sources} if who else set()
        speakers = {name: read_turn(record).who for name, record in self._store.get(last, kind="turn").items()}
        return [item for item in items if not item.sources or speakers.get(item.sources[-1], who) == who]

    def _said(self, asked: str, is_so: Callable[[str], bool]) -> Item | None:
        """Return what is corrected as an item, if no rule read it when it was said."""

        def said_in(record: Record) -> str | None:
            turn = read_turn(record)
            return self._sentence(turn, is_so) if self._may_be_corrected(turn) else None

        for hit in self._store.search(asked, self._exactly, TURNS, ["turn"], lambda turn: said_in(turn) is not None):
            if (said := said_in(hit.record)) is not None:
                return self._as_item(read_turn(hit.record), said)
        return None

    def _before(self) -> Iterator[Turn]:
        """Yield the turns before that of the fact, and that itself, the latest first."""
        for source in self._fact.sources[-1:]:
            session, _, place = source.rpartition("-")
            names = [turn_id(session, at) for at in range(int(place), max(int(place) - BEFORE, 0) - 1, -1)]
            there = self._store.get(names, kind="turn")
            turns = (read_turn(there[name]) for name in names if name in there)
            yield from (turn for turn in turns if self._may_be_corrected(turn))

    def _may_be_corrected(self, turn: Turn) -> bool:
        """Tell whether a turn is of the same owner, and of the same speaker if that is known."""
        owner = {name: value for name, value in turn.scope.items() if name != SESSION}
        same = self._fact.who is None or turn.who == self._fact.who
        return turn.role == "user" and same and owner == self._item.scope

    def _sentence(self, turn: Turn, is_so: Callable[[str], bool], *, last: bool = False) -> str | None:
        """Return the first sentence of a turn, or the last, of which a test is true; none after that of the fact."""
        said = list(sentences(turn.text))
        if turn.id in self._fact.sources:
            said = said[: said.index(self._fact.said)] if self._fact.said in said else []
        return next((each for each in (reversed(said) if last else said) if is_so(each)), None)

    def _as_item(self, turn: Turn, said: str) -> Item | None:
        """Return the item that says now what a sentence of a turn said; one that is not there yet is made of it."""
        forms = (said, f"{turn.who}: {said}")
        keys = {digest(fold(form)) for form in forms}
        stored = self._store.select("item", {**self._exactly, f"{AGENT}.key": {"$in": sorted(keys)}})
        known = {record.id: read_item(record) for record in stored}
        known |= {item.id: item for item in self._plan.items.values() if item.key in keys}
        if known:
            return self.best(held for item in known.values() if (held := self._held(item)) is not None)
        key = digest(fold(said))
        fields: dict[str, Any] = {"memory_type": self._item.memory_type, "categories": self._item.categories}
        fields |= {"created_at": turn.created_at, "happened_at": turn.happened_at, "origin": self._item.origin}
        name = f"item-{digest(dict(self._item.scope), key, turn.id)}"
        return Item(id=name, summary=said, sources=[turn.id], key=key, scope=dict(self._item.scope), **fields)

    def _held(self, item: Item) -> Item | None:
        """Return the version that holds now of an item, which may be older."""
        for _ in range(STEPS):
            item = self._plan.items.get(item.id, item)
            if item.superseded_by is None:
                return item
            there = self._store.get([item.superseded_by], kind="item")
            newer = self._plan.items.get(item.superseded_by)
            if newer is None and item.superseded_by not in there:
                return None
            item = newer or read_item(there[item.superseded_by])
        return None


def supersede(store: Store, fact: Fact, item: Item, current: Item, plan: ItemPlan) -> None:
    """Put a new item into the line of versions of the one it corrects, or that corrects it, by their times.

    Only a fact that says when it was said can be older than what is known: a clock may have jumped back.
    """
    if not fact.dated:
        item = changed(item, created_at=later(item.created_at, current.created_at))
    line = _versions(store, current, item, plan)
    place = sum(seconds(each.created_at) <= seconds(item.created_at) for each in line)
    first, before = (line[0].version, line[0].supersedes) if place else (1, None)
    line.insert(place, changed(item, same_as=None))
    neighbors = zip([None, *line], line, [*line[1:], None], strict=False)
    for number, (older, each, newer) in enumerate(neighbors, first):
        links: dict[str, Any] = {"version": number, "supersedes": before if older is None else older.id}
        if newer is not None:
            links |= {"superseded_at": newer.created_at, "superseded_by": newer.id}
        if (linked := changed(each, **links)) != each or each.id in (item.id, current.id):
            plan.put(linked)
            if linked.superseded_by != each.superseded_by and each.id != item.id:
                _supersede_equal(store, each, linked, plan, {version.id for version in line})


def _supersede_equal(store: Store, before: Item, corrected: Item, plan: ItemPlan, line: Container[str]) -> None:
    """Correct the items that say the same as a corrected one, and update the links of those that say nearly the same.

    Items say the same if a person has edited one of them.
    """
    tests = ({f"{AGENT}.key": {"$eq": before.key}}, {f"{AGENT}.same_as": {"$eq": before.id}})
    records = store.select("item", {**store.exactly(before.scope), "$or": list(tests)})
    found = {**{record.id: read_item(record) for record in records}, **plan.items}.values()
    others = [each for each in found if each.superseded_by == before.superseded_by and each.scope == before.scope]
    same = [each for each in others if (each.key, each.slot) == (before.key, before.slot)]
    links = {"superseded_at": corrected.superseded_at, "superseded_by": corrected.superseded_by}
    for each in same:
        if each.id not in line:
            plan.put(changed(each, **links))
    near = [each for each in others if each.same_as == before.id and each not in same]
    for place, each in enumerate(near):
        plan.put(changed(each, same_as=near[0].id if place else None))


def _versions(store: Store, current: Item, item: Item, plan: ItemPlan) -> list[Item]:
    """Return an item and the versions before it, back to the first that is older than another, oldest first."""
    line, time = [current], seconds(item.created_at)
    while seconds(line[0].created_at) > time:
        name = line[0].supersedes
        if name is None or any(name == each.id for each in line):
            break
        there = store.get([name], kind="item")
        older = plan.items.get(name) or (read_item(there[name]) if name in there else None)
        if older is None:
            break
        line.insert(0, older)
    return line
