"""Sessions of the OpenAI Agents SDK: every item comes back exactly as it was given, in order."""

from __future__ import annotations

import asyncio
import json
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core import InvalidInputError, Memory, ReadOnlyError, serving
from tests.upstream_tests import passed, source_of

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def item_types() -> list[Any]:
    """The typed dicts of which an item of the SDK may be one."""
    from agents import TResponseInputItem

    found: list[Any] = []
    waiting = [TResponseInputItem]
    while waiting:
        each = waiting.pop()
        if typing.get_args(each):
            waiting += typing.get_args(each)
        elif hasattr(each, "__required_keys__"):
            found.append(each)
    return found


items = st.deferred(
    lambda: st.sampled_from(item_types()).flatmap(
        lambda kind: st.fixed_dictionaries(
            {}, optional=dict.fromkeys([*kind.__required_keys__, *kind.__optional_keys__], values)
        )
    )
)


@pytest.fixture(scope="module")
def shared() -> typing.Iterator[Memory]:
    with Memory.create(":memory:", "given") as memory:
        yield memory


@given(given_items=st.lists(items, max_size=8), limit=st.one_of(st.none(), st.integers(-1, 9)))
def test_every_kind_of_item_comes_back_exactly_and_in_order(
    shared: Memory, given_items: list[Any], limit: int | None
) -> None:
    async def run() -> None:
        session = serving.MemvidSession("s", shared)
        await session.clear_session()
        half = len(given_items) // 2
        await session.add_items(given_items[:half])
        await session.add_items(given_items[half:])
        expected = given_items if limit is None or limit < 0 else given_items[len(given_items) - limit :][:limit]
        got = await session.get_items(limit)
        if limit is None or limit <= len(given_items):
            assert json.dumps(got) == json.dumps(expected)  # with the order of keys, and 1 apart from 1.0
        assert [await session.pop_item() for _ in given_items] == given_items[::-1]
        assert await session.pop_item() is None

    asyncio.run(run())


def test_the_items_of_the_sdk_are_many() -> None:
    assert len(item_types()) >= 20


@pytest.mark.long
def test_the_sdks_own_tests_of_sessions_pass_on_ours() -> None:
    of_sqlite = ["sqlite_session_close", "reaps", "retired", "live_worker", "closed_rejects", "corrupt", "file_lock"]
    of_sqlite += ["write_lock", "rolls_back", "rollback", "post_commit", "cancel", "streamed", "run_sync"]
    files = ["tests/memory/test_session.py", "tests/memory/test_session_limit.py"]
    plugin = Path(__file__).parent / "upstream" / "openai_plugin.py"
    assert passed(source_of("openai-agents"), plugin, files, leave_out=of_sqlite) >= 27


async def test_an_agent_remembers_over_runs_and_processes(tmp_path: Path) -> None:
    from agents import Agent, Runner
    from agents.memory import Session
    from agents.testing import ScriptedModel
    from openai.types.responses import ResponseOutputMessage, ResponseOutputText

    def reply(text: str) -> Any:
        content = ResponseOutputText(text=text, type="output_text", annotations=[], logprobs=[])
        return ResponseOutputMessage(id="1", type="message", role="assistant", content=[content], status="completed")

    model = ScriptedModel()
    agent = Agent(name="helper", model=model)
    path = tmp_path / "m.mp4"
    with Memory.create(path) as memory:
        model.enqueue([reply("At six.")])
        await Runner.run(agent, "When is the party?", session=serving.MemvidSession("monday", memory))
    with Memory.open(path, "a") as memory:
        session = serving.MemvidSession("monday", memory)
        assert isinstance(session, Session)
        model.enqueue([reply("In the garden.")])
        await Runner.run(agent, "Where?", session=session)
        said = [json.dumps(item) for item in await session.get_items()]
        assert [word in text for word, text in zip(("party", "six", "Where", "garden"), said, strict=True)] == [
            True
        ] * 4
        assert memory.search("party", k=1)[0].text == "user: When is the party?"
        assert memory.verify().ok


async def test_sessions_scopes_objects_and_tasks_are_kept_apart_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path) as first, Memory.open(path, "a") as second:
        mine, same = (
            serving.MemvidSession("s", first, {"user": "ada"}),
            serving.MemvidSession("s", second, {"user": "ada"}),
        )
        other = serving.MemvidSession("s", first, {"user": "bob"})
        sessions = {"a": mine, "b": same, "c": other}
        calls = [(name, number) for number in range(8) for name in sessions]
        await asyncio.gather(
            *(sessions[name].add_items([{"role": "user", "content": f"{name}{number}"}]) for name, number in calls)
        )
        contents = [item["content"] for item in await mine.get_items()]
        assert contents == [item["content"] for item in await same.get_items()]
        assert len(contents) == 16
        for name in "ab":
            assert [each for each in contents if each[0] == name] == [f"{name}{number}" for number in range(8)]
        assert len(await other.get_items()) == 8
        assert await serving.MemvidSession("s", first).get_items() == []
        await mine.clear_session()
        assert (await same.get_items(), len(await other.get_items())) == ([], 8)


async def test_what_is_no_session_is_refused(tmp_path: Path) -> None:
    from agents.memory import SessionSettings

    memory = Memory.create(":memory:")
    for name in ("", None, 3):
        with pytest.raises(InvalidInputError, match="has a name"):
            serving.MemvidSession(name, memory)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="open Memory"):
        serving.MemvidSession("s", "m.mp4")  # type: ignore[arg-type]
    session = serving.MemvidSession("s", memory, session_settings=SessionSettings(limit=1))
    with pytest.raises(InvalidInputError, match="must be JSON"):
        await session.add_items([{"role": "user", "content": "kept?"}, {"content": object()}])
    assert len(memory) == 0
    await session.add_items([{"role": "user", "content": "one"}, {"role": "user", "content": "\ud800"}])
    assert await session.get_items() == [{"role": "user", "content": "\ud800"}]
    with Memory.create(tmp_path / "m.mp4"), Memory.open(tmp_path / "m.mp4") as reader, pytest.raises(ReadOnlyError):
        await serving.MemvidSession("s", reader).add_items([{"role": "user", "content": "x"}])


def test_an_item_that_is_nested_too_deeply_is_refused() -> None:
    item: Any = object()
    for _ in range(20_000):
        item = {"content": item}
    session = serving.MemvidSession("deep", Memory.create(":memory:"))
    with pytest.raises(InvalidInputError, match="nested too deeply"):
        asyncio.run(session.add_items([item]))
    assert asyncio.run(session.get_items()) == []
