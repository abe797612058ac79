"""MemoryLoop: records in the background, recalls in time, never raises, and tells what it dropped."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from memvid_core import InvalidInputError, LockedError, Memory, MemoryLoop, MemoryService, SyncMemoryService
from memvid_core.agent import Dropped
from tests.attacks import ATTACKS, lines_that_escape

ADA = {"user_id": "ada"}
PARTY = [("user", "When does the office party start?"), ("assistant", "At six, on Friday.")]


@pytest.fixture
def memory() -> Any:
    with Memory.create(":memory:") as opened:
        yield opened


def turns(memory: Memory) -> list[str]:
    found = memory.select({"agent.kind": "turn"})
    return [turn.text[turn.metadata["agent"]["head"] :] for turn in found]


class Gate:
    """Holds up the writes of a memory until it is opened."""

    def __init__(self, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.entered = threading.Event(), threading.Event()
        add = memory.add

        def held(*arguments: Any, **options: Any) -> Any:
            self.entered.set()
            assert self.open.wait(30)
            return add(*arguments, **options)

        monkeypatch.setattr(memory, "add", held)


@pytest.mark.parametrize("form", [lambda memory: memory, MemoryService, SyncMemoryService])
def test_the_office_party_is_answered(memory: Memory, form: Any) -> None:
    with MemoryLoop(form(memory), ADA, session="monday") as loop:
        assert loop.recall("When is the office party?").text == ""
        assert loop.record(PARTY)
        assert loop.flush().recorded == 1
        assert [hit.text for hit in loop.recall("When is the office party?").hits] == [text for _, text in PARTY]
        assert loop.recall("***").hits == loop.recall("").hits == []
        assert loop.recall("party", known=[PARTY[1][1]]).hits[0].text == PARTY[0][1]
        assert len(loop.recall("party", budget=0).hits) == 0


def test_turns_of_a_session_are_neighbors_in_their_order(memory: Memory) -> None:
    with MemoryLoop(memory, ADA, session="monday") as loop:
        for number in range(50):
            loop.record([("user", f"Question {number}"), ("assistant", f"Answer {number}")])
    expected = [f"{what} {number}" for number in range(50) for what in ("Question", "Answer")]
    assert turns(memory) == expected  # closing writes what waits
    assert {turn.metadata["session_id"] for turn in memory.select({"agent.kind": "turn"})} == {"monday"}


def test_recording_waits_for_nothing_and_tells_what_it_drops(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(memory, monkeypatch)
    report: list[Dropped] = []
    with MemoryLoop(memory, ADA, session="s", queue=3, on_drop=report.append) as loop:
        assert loop.record("one")
        assert gate.entered.wait(30)
        assert [loop.record(text) for text in ("two", "three", "four", "five")] == [True, True, False, False]
        waiting = loop.flush(0.0)
        assert (waiting.recorded, waiting.pending, len(waiting.dropped)) == (0, 3, 2)
        assert [dropped.messages for dropped in report] == ["four", "five"]
        assert report[0].why == "3 turns are waiting already"
        gate.open.set()
        done = loop.flush()
        assert (done.recorded, done.pending, done.dropped) == (3, 0, [])
        assert turns(memory) == ["one", "two", "three"]


def test_what_is_recorded_is_what_was_said_then(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(memory, monkeypatch)
    said = [{"role": "user", "content": "I live in Turin."}]
    with MemoryLoop(memory, ADA) as loop:
        loop.record(said)
        said[0]["content"] = "I live in Rome."
        said.clear()
        gate.open.set()
    assert turns(memory) == ["I live in Turin."]


@pytest.mark.parametrize("wrong", [[{"role": "user"}], [3], {"role": "", "content": "x"}, object()])
def test_nothing_raises_into_the_agent(memory: Memory, wrong: Any) -> None:
    def fail(dropped: Dropped) -> None:
        raise RuntimeError("no log")

    with MemoryLoop(memory, ADA, on_drop=fail) as loop:
        assert not loop.record(wrong)
        assert loop.record([{"role": "tool", "content": "output"}, {"role": "user", "content": " "}])
        assert loop.record("fine")
        report = loop.flush()
        assert (report.recorded, [dropped.messages for dropped in report.dropped]) == (1, [wrong])
        assert report.failures == ["on_drop: RuntimeError: no log"]
        assert loop.recall("fine", budget=-1).hits == []
        assert loop.recall(None).hits == []  # type: ignore[arg-type]
        assert loop.recall("fine", unknown=1).hits == []
        assert len(loop.flush().failures) == 3
        memory.close()
        assert loop.recall("fine").text == ""
        assert loop.record("lost")
        report = loop.flush()
        assert [dropped.messages[0].text for dropped in report.dropped] == ["lost"]
        assert "ClosedError" in report.dropped[0].why
        assert "ClosedError" in report.failures[0]
    assert not loop.record("late")
    assert loop.recall("late").hits == []
    assert [dropped.why for dropped in loop.flush().dropped] == ["the loop is closed"]


def test_a_file_that_others_hold_costs_the_turn_and_not_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "agent.mp4"
    with Memory.create(path) as other, Memory.open(path, "a", timeout=0.05) as memory, MemoryLoop(memory, ADA) as loop:
        with other.exclusive():
            assert loop.record("I live in Turin.")
            report = loop.flush()
        assert LockedError.__name__ in report.dropped[0].why
        assert loop.record(report.dropped[0].messages)
        assert loop.flush().recorded == 1
        assert loop.recall("Where do I live?").hits[0].text == "I live in Turin."


def test_a_recall_that_takes_too_long_returns_nothing(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.add(["x"])
    opened, search = threading.Event(), memory.search

    def slow(*arguments: Any, **options: Any) -> Any:
        assert opened.wait(30)
        return search(*arguments, **options)

    monkeypatch.setattr(memory, "search", slow)
    with MemoryLoop(memory, ADA, patience=0.05) as loop:
        began = time.monotonic()
        assert loop.recall("party").hits == loop.recall("party").hits == []
        assert time.monotonic() - began < 5
        assert loop.flush().failures == ["no answer in 0.05 s", "an earlier recall has not returned"]
        opened.set()


async def test_it_blocks_no_event_loop(memory: Memory) -> None:
    with blockbuster_ctx(["memvid_core"]):
        async with MemoryLoop(memory, ADA, session="monday") as loop:
            assert loop.record(PARTY)
            assert (await loop.aflush()).recorded == 1
            answers = [await loop.arecall("When is the office party?") for _ in range(3)]
            assert [answer.hits[1].text for answer in answers] == ["At six, on Friday."] * 3
            assert (await loop.arecall("party", budget=-1)).hits == []
            assert len((await loop.aflush()).failures) == 1
    assert (await loop.arecall("party")).hits == []


async def test_a_cancelled_recall_is_cancelled(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = threading.Event()
    monkeypatch.setattr(memory, "search", lambda *_, **__: [opened.wait(30)][:0])
    async with MemoryLoop(memory, ADA, patience=30) as loop:
        task = asyncio.create_task(loop.arecall("party"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        opened.set()


def test_what_was_recalled_is_never_recorded(memory: Memory) -> None:
    with MemoryLoop(memory, ADA, session="monday") as loop:
        loop.record(PARTY)
        loop.flush()
        report = loop.recall("When is the office party?").text
        loop.record([("user", f"{report}\n\nAnd where?"), ("assistant", "In the garden.")])
        loop.record(report)
    assert turns(memory) == [*[text for _, text in PARTY], "And where?", "In the garden."]


def test_stored_attacks_come_back_as_quoted_data_within_the_budget(memory: Memory) -> None:
    with MemoryLoop(memory, ADA, session="monday") as loop:
        for attack in ATTACKS:
            loop.record(attack)
        assert loop.flush().recorded == len(ATTACKS)
        answer = loop.recall("What is the budget?", budget=1_500)
    assert lines_that_escape(answer.text, answer.text.split("\n")[0]) == []
    assert answer.tokens <= 1_500
    assert len(answer.hits) >= 15


@pytest.mark.parametrize("wrong", [{"budget": -1}, {"queue": 0}, {"patience": 0}, {"budget": 1.5}])
def test_wrong_settings_are_refused(memory: Memory, wrong: Any) -> None:
    with pytest.raises(InvalidInputError):
        MemoryLoop(memory, ADA, **wrong)
    with pytest.raises(InvalidInputError, match="owner"):
        MemoryLoop(MemoryService(memory))
    with pytest.raises(InvalidInputError, match="open Memory"):
        MemoryLoop("notes.mp4", ADA)  # type: ignore[arg-type]
