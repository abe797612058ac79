"""Lines of versions: whatever is added, corrected and forgotten, an item has its own past, and no other's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memvid_core import Memory
from memvid_core.agent import SyncMemoryService
from memvid_core.agent.folding import fold
from memvid_core.agent.records import Item, read_item, read_turn
from memvid_core.agent.sources import base_of
from memvid_core.agent.times import seconds
from tests.scopes import settings

ME: dict[str, Any] = {"user_id": "me"}
THINGS = ("tea",)
LIKED = tuple(f"I like {thing}." for thing in THINGS)
DISLIKED = tuple(f"I no longer like {thing}." for thing in THINGS)
TOWNS = tuple(f"I moved to {town}." for town in ("Rome", "Oslo"))
BY_HAND = ("by hand",)
QUESTION = " ".join((*LIKED, *DISLIKED, *TOWNS, *BY_HAND))
names = st.integers(0, 99)


@dataclass
class Version:
    """One version of an item, as the model knows it."""

    text: str
    since: float
    slot: str | None = None
    until: float | None = None
    next: str | None = None
    before: str | None = None
    sources: list[str] = field(default_factory=list)

    def holds(self, time: float) -> bool:
        return self.since <= time and (self.until is None or time < self.until)


class Lines(RuleBasedStateMachine):
    """A memory, and a model of it, in which a version has one that follows it, until when it holds."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "m.mp4"
        self._now = datetime(2026, 1, 1, tzinfo=UTC)
        self._said: dict[str, float] = {}
        self._times = 0
        self.model: dict[str, Version] = {}

    def teardown(self) -> None:
        self.service.memory.close()
        self._folder.cleanup()

    @initialize()
    def begin(self) -> None:
        Memory.create(self._path).close()
        self._open()

    def _open(self) -> None:
        memory = Memory.open(self._path, "a")
        self.service = SyncMemoryService(memory, memorize_config={"extract": "rules"}, clock=self._clock)

    def _clock(self) -> datetime:
        self._now += timedelta(hours=1)
        return self._now

    def _stored(self) -> dict[str, Item]:
        return {record.id: read_item(record) for record in self.service.memory.select({"agent.kind": "item"})}

    def _any(self, number: int, *, current: bool = False) -> str:
        found = sorted(name for name, each in self.model.items() if not current or each.next is None)
        return found[number % len(found)]

    # --- adding and correcting ---

    @rule(text=st.sampled_from((*LIKED, *BY_HAND)))
    def write(self, text: str) -> None:
        item = self.service.create_memory_item(memory_content=text, user=ME)
        self.model.setdefault(item.id, Version(text, seconds(item.created_at)))

    @rule(text=st.sampled_from((*LIKED, *DISLIKED, *TOWNS)), hours=st.integers(0, 60))
    def say(self, text: str, hours: int) -> None:
        """Say something, now or some hours ago: no two things at one time."""
        self._times += 1
        when = self._clock() - timedelta(hours=hours, seconds=self._times)
        message = {"role": "user", "content": text, "created_at": when.isoformat()}
        (turn,) = self.service.add([message], **ME, session_id=f"{self._times}").turns
        self._said[turn.id] = when.timestamp()
        stored = self._stored()
        new = [name for name in stored if name not in self.model]
        for name in sorted(new, key=lambda name: stored[name].summary == text):
            item = stored[name]  # the last; one before it was read again in an older turn, because it is corrected
            self._insert(name, Version(item.summary, seconds(item.created_at), item.slot, sources=list(item.sources)))
        if not new:
            again = [name for name, each in self.model.items() if each.next is None and turn.id in stored[name].sources]
            assert [fold(self.model[name].text) for name in again] == [fold(text)]
            self.model[again[0]].sources.append(turn.id)

    def _insert(self, name: str, new: Version) -> None:
        """Take a version into the model, where the memory says, with all that say the same as what it corrects."""
        item = self._stored()[name]
        older = self.model.get(item.supersedes or "")
        next_one = item.superseded_by if older is None else older.next
        if older is not None:
            assert older.since <= new.since
            equal = (fold(older.text), older.slot, older.next)
            for each in self.model.values():
                if (fold(each.text), each.slot, each.next) == equal:
                    each.next, each.until = name, new.since
        if next_one in self.model:
            self.model[next_one].before = name
            new = replace(new, next=next_one, until=self.model[next_one].since)
            assert new.since <= self.model[next_one].since
        self.model[name] = replace(new, before=item.supersedes)

    @precondition(lambda self: self.model)
    @rule(number=names, text=st.sampled_from((*LIKED, *TOWNS, *BY_HAND)))
    def edit(self, number: int, text: str) -> None:
        name = self._any(number, current=True)
        before = self.model[name]
        item = self.service.update_memory_item(memory_id=name, memory_content=text, user=ME)
        if text == before.text:
            return
        older = item.supersedes
        assert older is not None
        assert older not in self.model
        assert base_of(older) == name
        for each in self.model.values():
            each.next = older if each.next == name else each.next
        since = seconds(item.created_at)
        self.model[older] = replace(before, next=name, until=since, sources=list(before.sources))
        self.model[name] = replace(before, text=text, since=since, before=older)

    # --- forgetting ---

    @precondition(lambda self: self.model)
    @rule(number=names)
    def forget_item(self, number: int) -> None:
        name = self._any(number)
        self.service.forget(name, **ME)
        self._take({name})

    @precondition(lambda self: self._said)
    @rule(numbers=st.lists(names, min_size=1, max_size=3))
    def forget_turns(self, numbers: list[int]) -> None:
        said = sorted(self._said)
        gone = {said[number % len(said)] for number in numbers}
        self.service.forget(gone, **ME)
        for turn in gone:
            del self._said[turn]
        later = {}
        for name, each in self.model.items():
            left = [source for source in each.sources if source not in gone]
            edited = each.before is not None and base_of(each.before) == name
            if left and left[0] != each.sources[0] and not edited:
                later[name] = self._said[left[0]]
            each.sources, was = left, each.sources
            if was and not left:
                each.text = ""
        self._take({name for name, each in self.model.items() if not each.text})
        for name in sorted(later.keys() & self.model.keys(), key=lambda name: -self.model[name].since):
            each = self.model[name]
            each.since = max(each.since, later[name])
            each.since = each.since if each.until is None else min(each.since, each.until)
            for before in self.model.values():
                before.until = each.since if before.next == name else before.until

    def _take(self, names: Iterable[str]) -> None:
        """Take versions out of the model, as if they had never been; with an item go its older versions."""
        gone = {each for each in self.model if each in names or base_of(each) in names}
        taken = {name: self.model.pop(name) for name in gone}
        for each in self.model.values():
            while (following := taken.get(each.next or "")) is not None:
                each.next, each.until = following.next, following.until
        for name, each in self.model.items():
            if each.before in taken:
                leading = [(before.since, other) for other, before in self.model.items() if before.next == name]
                each.before = max(leading)[1] if leading else None

    # --- looking ---

    @rule()
    def compact(self) -> None:
        self.service.memory.compact()

    @rule()
    def reopen(self) -> None:
        self.service.memory.close()
        self._open()

    @rule(hours=st.integers(0, 100))
    def ask_the_past(self, hours: int) -> None:
        time = self._now - timedelta(hours=hours, minutes=1)
        answer = self.service.recall(QUESTION, as_of=time, **ME)
        shown = {hit.id for hit in answer.ranked if hit.kind == "item"}
        assert shown == {name for name, each in self.model.items() if each.holds(time.timestamp())}

    @rule()
    def ask(self) -> None:
        answer = self.service.recall(QUESTION, **ME)
        found = {hit.id: hit for hit in answer.ranked if hit.kind == "item"}
        assert found.keys() == {name for name, each in self.model.items() if each.next is None}
        for name, hit in found.items():
            before = self.model[name].before
            assert hit.note.rpartition(": ")[2].rstrip(")") == ("" if before is None else self.model[before].text)

    @invariant()
    def links_are_those_of_the_model(self) -> None:
        stored = {} if not hasattr(self, "service") else self._stored()
        assert {name: _read(item) for name, item in stored.items()} == self.model
        turns = {record.id: read_turn(record) for record in self.service.memory.select({"agent.kind": "turn"})}
        assert turns.keys() == self._said.keys()

    @invariant()
    def each_item_has_its_own_history(self) -> None:
        for name in self.model:
            line = [name]
            while (before := self.model[line[0]].before) is not None:
                line.insert(0, before)
            while (newer := self.model[line[-1]].next) is not None:
                line.append(newer)
            assert [each.id for each in self.service.history(name, **ME)] == line


def _read(item: Item) -> Version:
    until = None if item.superseded_at is None else seconds(item.superseded_at)
    links = {"next": item.superseded_by, "before": item.supersedes}
    return Version(item.summary, seconds(item.created_at), item.slot, until, **links, sources=item.sources)


Lines.TestCase.settings = settings(examples=12, steps=20)
TestLines = Lines.TestCase


def _told(service: SyncMemoryService, *texts: str) -> list[Item]:
    return [service.create_memory_item(memory_content=text, user=ME) for text in texts]


def _service() -> SyncMemoryService:
    times = iter(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(100))
    return SyncMemoryService(Memory.create(":memory:"), memorize_config={"extract": "rules"}, clock=lambda: next(times))


def _past(service: SyncMemoryService, item: str) -> list[str]:
    return [each.summary for each in service.history(item, **ME)]


def test_items_that_one_correction_corrects_keep_their_own_past():
    service = _service()
    one, other = _told(service, "One is empty.", "Other is full.")
    for item in (one, other):
        service.update_memory_item(memory_id=item.id, memory_content="I like tea.", user=ME)
    (newer,) = service.add("I no longer like tea.", **ME).items
    assert _past(service, one.id) == ["One is empty.", "I like tea.", "I no longer like tea."]
    assert _past(service, other.id) == ["Other is full.", "I like tea.", "I no longer like tea."]
    service.forget(other.id, **ME)
    assert _past(service, newer.id) == _past(service, one.id)
    (hit,) = (hit for hit in service.recall("Do I like tea?", **ME).hits if hit.kind == "item")
    assert hit.note.endswith(": I like tea.)")


def test_a_correction_that_is_edited_is_between_each_that_it_corrected_and_itself():
    service = _service()
    one, other = _told(service, "I like tea.", "By hand")
    service.update_memory_item(memory_id=other.id, memory_content="I like tea.", user=ME)
    (newer,) = service.add("I no longer like tea.", **ME).items
    service.update_memory_item(memory_id=newer.id, memory_content="I hate tea.", user=ME)
    assert _past(service, one.id) == ["I like tea.", "I no longer like tea.", "I hate tea."]


def test_what_is_corrected_later_holds_until_then_for_each_that_is_corrected():
    service = _service()
    one, _ = _told(service, "By hand", "I like tea.")
    service.update_memory_item(memory_id=one.id, memory_content="I like tea.", user=ME)
    said = [{"role": "user", "content": "I no longer like tea.", "created_at": f"2026-02-{day}"} for day in (10, 20)]
    first, _ = (service.add([each], **ME, session_id=each["created_at"]).turns[0] for each in said)
    service.forget([first.id, one.id], **ME)
    shown = service.recall("Do I like tea?", as_of="2026-02-15", **ME).ranked
    assert [hit.text for hit in shown if hit.kind == "item"] == ["I like tea."]
