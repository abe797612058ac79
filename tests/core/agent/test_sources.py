"""What is said again and again: no record grows with it, and forgetting finds every turn that an item comes from."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from memvid_core import Memory, RecordNotFoundError
from memvid_core.agent import SyncMemoryService
from memvid_core.agent.sources import LISTED

ME: dict[str, Any] = {"user_id": "me"}


@pytest.fixture
def service():
    with Memory.create(":memory:") as memory:
        yield SyncMemoryService(memory, memorize_config={"extract": "rules"})


class Talk:
    """One session in which lines are said, an hour apart."""

    def __init__(self, service):
        self.service, self._hours = service, count()

    def say(self, *lines):
        start = datetime(2026, 1, 1, tzinfo=UTC)
        times = [(start + timedelta(hours=next(self._hours))).isoformat() for _ in lines]
        said = [{"role": "user", "content": line, "created_at": time} for line, time in zip(lines, times, strict=True)]
        return self.service.add(said, **ME, session_id="s")


def _sizes(memory):
    records = [r for r in memory.select() if r.metadata["agent"]["kind"] not in ("sources", "forgotten")]
    return max(len(record.text) + len(json.dumps(record.metadata)) for record in records)


def _forgotten(talk, names):
    turns = talk.say(*(f"the {name} is here" for name in names)).turns
    talk.service.forget([turn.id for turn in turns], **ME)


@pytest.mark.parametrize(
    "saying",
    [
        pytest.param(lambda talk, names: talk.say(*["I like tea."] * len(names)), id="the same again"),
        pytest.param(lambda talk, names: talk.say(*(f"I like {name}." for name in names)), id="new facts"),
        pytest.param(lambda talk, names: talk.say(*(f"I moved to {name}." for name in names)), id="corrections"),
        pytest.param(lambda talk, names: talk.say(*["My seat is 4A.", "My seat is 5B."] * 20), id="back and forth"),
        pytest.param(_forgotten, id="said and forgotten"),
    ],
)
def test_no_record_grows_with_what_was_said_before(service, saying):
    talk, numbers = Talk(service), count(10)
    sizes = []
    for _ in range(4):
        saying(talk, ["B" + "".join(chr(97 + int(digit)) for digit in str(next(numbers))) for _ in range(40)])
        sizes.append(_sizes(service.memory))
    assert sizes[-1] < sizes[0] + 600


def test_random_repeats_and_forgetting_agree_with_a_model(service, effort):
    rng, talk = random.Random(3), Talk(service)
    lines = ("I like tea.", "I love hiking.")
    model: dict[str, list[str]] = {line: [] for line in lines}
    name_of: dict[str, str] = {}
    for _ in range(effort(8)):
        line = rng.choice(lines)
        added = talk.say(*[line] * rng.randrange(1, 2 * LISTED))
        model[line] += [turn.id for turn in added.turns]
        name_of[line] = added.items[0].id
        every = [turn for turns in model.values() for turn in turns]
        some = rng.choice([every[:40], every[-40:], rng.sample(every, len(every) // 2), model[line]])
        service.forget(some, **ME)
        model = {line: [turn for turn in turns if turn not in some] for line, turns in model.items()}
        for line, name in name_of.items():
            _agrees(service, name, model[line])
        held = [source for record in service.memory.select() for source in record.metadata.get("sources", [])]
        assert set(held) == {turn for turns in model.values() for turn in turns}


def _agrees(service, name, turns):
    if not turns:
        with pytest.raises(RecordNotFoundError):
            service.get(name, **ME)
        return
    item = service.get(name, **ME)
    assert (item.sources, item.count) == (turns, len(turns))
    listed = next(each for each in service.list_memory_items(ME) if each.id == name)
    assert 0 < len(listed.sources) <= LISTED
    assert set(listed.sources) <= set(turns)


def test_a_version_is_forgotten_with_its_own_turns(service):
    talk = Talk(service)
    old = talk.say(*["I like tea."] * 50)
    corrected = service.update_memory_item(memory_id=old.items[0].id, memory_content="I like green tea.", user=ME)
    new = talk.say(*["I like green tea."] * 50)
    assert [len(each.sources) for each in service.history(corrected.id, **ME)] == [50, 100]
    service.forget([turn.id for turn in old.turns], **ME)
    assert [(each.summary, each.count) for each in service.history(corrected.id, **ME)] == [("I like green tea.", 50)]
    service.forget([turn.id for turn in new.turns], **ME)
    assert service.list_memory_items(ME) == []
    assert service.memory.select({"agent.kind": {"$in": ["item", "sources"]}}) == []


def test_versions_go_with_their_item_whatever_was_forgotten_between(service):
    item = service.create_memory_item(memory_content="tea one", user=ME)
    for text in ("tea two", "tea three", "tea four"):
        service.update_memory_item(memory_id=item.id, memory_content=text, user=ME)
    service.forget(f"{item.id}.v2", **ME)
    assert [each.summary for each in service.history(item.id, **ME)] == ["tea one", "tea three", "tea four"]
    service.forget(item.id, **ME)
    assert service.memory.select({"agent.kind": "item"}) == []
    assert service.memory.search("tea", k=5) == []


def test_the_past_without_a_turn_is_as_if_it_had_never_been_said(service):
    said = {
        "2026-01-05": "I live in Berlin.",
        "2026-03-05": "I moved to Lisbon.",
        "2026-05-05": "I moved to Lisbon.",
        "2026-07-05": "I moved to Rome.",
        "2026-08-05": "I moved to Rome.",
    }
    turns = {
        day: service.add([{"role": "user", "content": text, "created_at": day}], **ME, session_id=day).turns[0].id
        for day, text in said.items()
    }

    def known(day):
        found = service.recall("Where do I live?", **ME, as_of=day).ranked
        return [hit.text for hit in found if hit.kind == "item"]

    assert known("2026-04-01") == ["I moved to Lisbon."]
    service.forget(turns["2026-03-05"], **ME)
    assert [known(f"2026-0{month}-20") for month in (2, 4, 5, 7)] == [
        ["I live in Berlin."],
        ["I live in Berlin."],
        ["I moved to Lisbon."],
        ["I moved to Rome."],
    ]
    service.forget([turns["2026-05-05"], turns["2026-07-05"]], **ME)
    assert known("2026-06-01") == known("2026-07-20") == ["I live in Berlin."]
    assert known("2026-08-20") == ["I moved to Rome."]


def test_writers_at_once_count_each_turn_once(tmp_path):
    path, times = tmp_path / "m.mp4", 12
    Memory.create(path).close()
    forgotten: list[str] = []

    def work(name):
        with Memory.open(path, "a") as memory:
            talk = SyncMemoryService(memory, memorize_config={"extract": "rules"})
            for number in range(times):
                text = [{"role": "user", "content": "I like tea.", "created_at": f"2026-01-{number + 1:02}"}]
                turns = talk.add(text, **ME, session_id=f"{name}-{number // 4}").turns
                if name == "c" and number % 3 == 0:
                    there = [record.id for record in memory.select({"agent.kind": "turn"})]
                    forgotten.extend(talk.forget([there[0], *(turn.id for turn in turns)], **ME).turns)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, "abc"))
    with Memory.open(path) as memory:
        (item,) = (reader := SyncMemoryService(memory)).list_memory_items(ME)
        turns = {record.id for record in memory.select({"agent.kind": "turn"})}
        assert len(turns) == 3 * times - len(set(forgotten))
        assert item.count == len(turns)
        assert sorted(reader.history(item.id, **ME)[0].sources) == sorted(turns)


def test_a_session_finds_what_was_said_in_it_long_ago(service):
    said = [{"role": "user", "content": "I like tea.", "created_at": f"2026-01-01T00:00:{n:02}"} for n in range(40)]
    service.add(said[:1], **ME, session_id="first")
    service.add(said[1:], **ME, session_id="second")
    for session in ("first", "second"):
        assert [item.summary for item in service.list_memory_items({**ME, "session_id": session})] == ["I like tea."]


def test_what_was_forgotten_does_not_come_back(service):
    talk = Talk(service)
    texts = [f"number {n}" for n in range(120)]
    turns = [turn for first in (0, 50, 100) for turn in talk.say(*texts[first : first + 50]).turns]
    for first in range(0, 110, 11):
        service.forget([turn.id for turn in turns[first : first + 11]], **ME)
    again = SyncMemoryService(service.memory, memorize_config={"extract": "rules"})
    assert Talk(again).say(*texts).turns == []
    assert len(service.memory.select({"agent.kind": "turn"})) == 10
    service.forget([turns[0].id, service.memory.select({"agent.kind": "resource"})[0].id], **ME)
    assert list(service.memory) == []


def test_what_was_read_meanwhile_is_not_counted_twice(service):
    other = SyncMemoryService(service.memory, memorize_config={"extract": "rules"})
    write = service._memorizer.write_items

    def late(*arguments, **options):
        other.add([{"role": "user", "content": "I like tea."}], **ME, session_id="s")
        service._memorizer.write_items = write
        return write(*arguments, **options)

    service._memorizer.write_items = late
    service.add([{"role": "user", "content": "I like tea."}], **ME, session_id="s")
    assert [(item.count, len(item.sources)) for item in service.list_memory_items(ME)] == [(1, 1)]
