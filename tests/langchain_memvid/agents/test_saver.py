"""The checkpointer beyond the conformance suite: graphs, files, branches, pruning, and what it refuses."""

from __future__ import annotations

import asyncio
import operator
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from langchain_memvid.agents import MemvidSaver, MemvidStore
from memvid_core import (
    ClosedError,
    DamageWarning,
    InvalidInputError,
    Memory,
    MemoryFileError,
    MetadataError,
    ReadOnlyError,
)


class State(TypedDict):
    log: Annotated[list[str], operator.add]
    turns: int


def graph(saver: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("one", lambda state: {"log": ["one"], "turns": state["turns"] + 1})
    builder.add_node("two", lambda state: {"log": ["two"]})
    builder.add_edge(START, "one")
    builder.add_edge("one", "two")
    builder.add_edge("two", END)
    return builder.compile(checkpointer=saver)


def thread(name: str, **more: Any) -> Any:
    return {"configurable": {"thread_id": name, **more}}


def comparable(entry: Any) -> Any:
    """A checkpoint without what differs from run to run."""
    times = {"ts", "id", "channel_versions", "versions_seen"}
    checkpoint = {key: value for key, value in entry.checkpoint.items() if key not in times}
    writes = [(channel, value) for _, channel, value in entry.pending_writes]
    values = {key: value for key, value in checkpoint["channel_values"].items() if not key.startswith("branch:")}
    return values, entry.metadata["source"], entry.metadata["step"], writes


@pytest.fixture
def saver(place: str) -> Any:
    with MemvidSaver(place) as opened:
        yield opened


def test_a_graph_runs_as_with_langgraph_s_own(saver: MemvidSaver) -> None:
    runs = []
    for checkpointer in (InMemorySaver(), saver):
        compiled = graph(checkpointer)
        for name in ("a", "b", "a"):
            compiled.invoke({"log": ["in"], "turns": 0}, thread(name))
        runs.append([[comparable(entry) for entry in checkpointer.list(thread(name))] for name in ("a", "b")])
    assert runs[0] == runs[1]
    assert len(runs[1][0]) == 8


def test_a_thread_goes_on_in_a_file_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "threads.mp4"
    with MemvidSaver(path) as saver:
        graph(saver).invoke({"log": ["in"], "turns": 0}, thread("a"))
        before = list(saver.list(None))
    with MemvidSaver(path) as saver:
        assert list(saver.list(None)) == before
        assert graph(saver).invoke({"log": ["again"], "turns": 5}, thread("a"))["log"] == [
            *("in", "one", "two"),
            *("again", "one", "two"),
        ]
        saver.memory.compact()
        assert graph(saver).get_state(thread("a")).values["turns"] == 6
    with MemvidSaver(path, mode="r") as reader:
        assert graph(reader).get_state(thread("a")).values["turns"] == 6
        with pytest.raises(ReadOnlyError):
            graph(reader).invoke({"log": [], "turns": 0}, thread("a"))


def test_an_interrupted_graph_is_resumed_from_the_file(tmp_path: Path) -> None:
    def ask(state: State) -> dict[str, Any]:
        return {"log": [interrupt("sure?")]}

    def build(saver: Any) -> Any:
        builder = StateGraph(State).add_node("ask", ask).add_edge(START, "ask")
        return builder.compile(checkpointer=saver)

    path = tmp_path / "threads.mp4"
    with MemvidSaver(path) as saver:
        assert build(saver).invoke({"log": [], "turns": 0}, thread("a"))["__interrupt__"][0].value == "sure?"
    with MemvidSaver(path) as saver:
        assert build(saver).invoke(Command(resume="yes"), thread("a"))["log"] == ["yes"]


def test_branches_of_one_thread_do_not_overwrite_each_other(saver: MemvidSaver) -> None:
    compiled = graph(saver)
    compiled.invoke({"log": ["in"], "turns": 0}, thread("a"))
    start = next(state for state in compiled.get_state_history(thread("a")) if state.next == ("two",))
    left = compiled.update_state(start.config, {"log": ["left"]})
    right = compiled.update_state(start.config, {"log": ["right"]})
    assert compiled.get_state(left).values["log"] == ["in", "one", "left"]
    assert compiled.get_state(right).values["log"] == ["in", "one", "right"]


async def test_async_is_the_same_and_leaves_the_loop_alone(saver: MemvidSaver) -> None:
    loop, threads = threading.get_ident(), set()

    class Noted(JsonPlusSerializer):
        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            threads.add(threading.get_ident())
            return super().dumps_typed(obj)

        def loads_typed(self, data: tuple[str, bytes]) -> Any:
            threads.add(threading.get_ident())
            return super().loads_typed(data)

    saver.serde = Noted()
    compiled = graph(saver)
    names = [str(number) for number in range(4)]
    await asyncio.gather(*(compiled.ainvoke({"log": ["in"], "turns": 0}, thread(name)) for name in names))
    found = [entry async for entry in saver.alist(None, limit=3)]
    state = await compiled.aget_state(thread("0"))
    await saver.acopy_thread("0", "copy")
    await saver.aprune(["copy"])
    await saver.adelete_thread("copy")
    assert threads
    assert loop not in threads
    assert found == list(saver.list(None, limit=3))
    assert state.values["log"] == ["in", "one", "two"]
    for name in names:
        assert [entry async for entry in saver.alist(thread(name))] == list(saver.list(thread(name)))


def test_many_checkpoints_are_listed_by_pages(saver: MemvidSaver) -> None:
    compiled = graph(saver)
    for turn in range(10):
        compiled.invoke({"log": [str(turn)], "turns": turn}, thread("a"))
    found = list(saver.list(thread("a")))
    assert len(found) == 40
    assert [entry.checkpoint["id"] for entry in found] == sorted((e.checkpoint["id"] for e in found), reverse=True)
    assert [entry for entry in found if entry.metadata["source"] == "input"] == list(
        saver.list(thread("a"), filter={"source": "input"})
    )
    assert list(saver.list(thread("a"), before=found[34].config, limit=3)) == found[35:38]
    assert list(saver.list(thread("a"), filter={"source": "input"}, limit=1)) == [found[3]]
    assert list(saver.list(thread("a"), limit=0)) == []
    assert list(saver.list(found[7].config)) == [found[7]]


def test_pruning_drops_values_that_no_checkpoint_names_any_more(saver: MemvidSaver) -> None:
    compiled = graph(saver)
    for name in ("a", "b"):
        for _ in range(3):
            compiled.invoke({"log": ["in"], "turns": 0}, thread(name))
    other = list(saver.list(thread("b")))
    state = compiled.get_state(thread("a"))
    records, commits = len(saver.memory), len(saver.memory.history())
    saver.prune(["a"])
    assert len(saver.memory.history()) == commits + 1
    assert compiled.get_state(thread("a")).values == state.values
    assert compiled.get_state(thread("a")).config == state.config
    assert list(saver.list(thread("b"))) == other
    left = [name for name in saver.memory.ids() if '"a"' in name]
    assert len(left) <= 1 + len(state.values) + 4  # the checkpoint, its values, and channels that were empty
    assert len(saver.memory) < records
    saver.prune(["a", "b"], strategy="delete")
    assert len(saver.memory) == 0
    with pytest.raises(InvalidInputError, match="keep_latest"):
        saver.prune(["a"], strategy="keep_some")


def folded(state: list[str], writes: list[list[str]]) -> list[str]:
    return [*state, *(entry for write in writes for entry in write)]


def test_pruning_keeps_what_a_delta_channel_is_rebuilt_from(saver: MemvidSaver) -> None:
    class Delta(TypedDict):
        log: Annotated[list[str], DeltaChannel(folded, snapshot_frequency=5)]

    builder = StateGraph(Delta).add_node("one", lambda state: {"log": ["one"]}).add_edge(START, "one")
    compiled = builder.compile(checkpointer=saver)
    for _ in range(4):
        compiled.invoke({"log": ["in"]}, thread("a"))
    whole = compiled.get_state(thread("a")).values
    assert whole == {"log": ["in", "one"] * 4}
    before = len(list(saver.list(thread("a"))))
    saver.prune(["a"])
    assert compiled.get_state(thread("a")).values == whole
    assert 1 < len(list(saver.list(thread("a")))) < before
    assert compiled.invoke({"log": ["in"]}, thread("a")) == {"log": ["in", "one"] * 5}


def test_a_copied_thread_lives_on_its_own(saver: MemvidSaver) -> None:
    compiled = graph(saver)
    compiled.invoke({"log": ["in"], "turns": 0}, thread("a"))
    saver.copy_thread("a", "b")
    assert [comparable(entry) for entry in saver.list(thread("b"))] == [
        comparable(entry) for entry in saver.list(thread("a"))
    ]
    compiled.invoke({"log": ["more"], "turns": 0}, thread("b"))
    saver.delete_thread("a")
    assert compiled.get_state(thread("b")).values["log"] == ["in", "one", "two", "more", "one", "two"]
    assert compiled.get_state(thread("a")).values == {}


def test_a_serializer_with_pickle_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="pickle"):
        MemvidSaver(serde=JsonPlusSerializer(pickle_fallback=True))


class Opaque:
    """What no serializer without pickle can store."""


def test_what_cannot_be_stored_is_an_error_and_changes_nothing(saver: MemvidSaver) -> None:
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"fine": 1, "bad": lambda: None}
    checkpoint["channel_versions"] = {"fine": "1", "bad": "1"}
    with pytest.raises(MetadataError, match="bad"):
        saver.put(thread("a", checkpoint_ns=""), checkpoint, {}, {"fine": "1", "bad": "1"})
    with pytest.raises(MetadataError, match="Opaque"):
        saver.put_writes(thread("a", checkpoint_id="1"), [("fine", 1), ("bad", Opaque())], "task")
    assert len(saver.memory) == 0


def test_binary_values_of_any_bytes_come_back(saver: MemvidSaver) -> None:
    value = {"bytes": bytes(range(256)) * 10, "messages": [HumanMessage("차 한 잔?", id="1"), AIMessage("🍵", id="2")]}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"all": value, "raw": b"\x00\xff"}
    checkpoint["channel_versions"] = {"all": "1", "raw": "1", "empty": "1"}
    config = saver.put(thread("a", checkpoint_ns=""), checkpoint, {}, checkpoint["channel_versions"])
    found = saver.get_tuple(config)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"all": value, "raw": b"\x00\xff"}


@pytest.mark.parametrize("name", ["a.b/c", 'a","b', "여의도", "x\x00y", 7])
def test_a_thread_may_have_any_name(saver: MemvidSaver, name: Any) -> None:
    compiled = graph(saver)
    compiled.invoke({"log": ["in"], "turns": 0}, thread("a"))
    compiled.invoke({"log": ["other"], "turns": 0}, thread(name))
    assert compiled.get_state(thread(name)).values["log"] == ["other", "one", "two"]
    saver.delete_thread(name)
    assert compiled.get_state(thread(name)).values == {}
    assert compiled.get_state(thread("a")).values["log"] == ["in", "one", "two"]


def test_a_memory_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="open Memory"):
        MemvidSaver(memory="threads.mp4")  # type: ignore[arg-type]


@pytest.mark.parametrize("config", [{}, {"configurable": {}}, {"configurable": {"thread_id": None}}])
def test_a_config_without_a_thread_is_an_error(saver: MemvidSaver, config: Any) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: saver.get_tuple(config),
        lambda: list(saver.list(config)),
        lambda: saver.put(config, empty_checkpoint(), {}, {}),
        lambda: saver.put_writes(config, [("n", 1)], "task"),
    ]
    for call in calls:
        with pytest.raises(InvalidInputError, match="thread_id"):
            call()
    with pytest.raises(InvalidInputError, match="checkpoint_id"):
        saver.put_writes(thread("a"), [("n", 1)], "task")
    assert len(saver.memory) == 0


def test_a_file_is_opened_twice_for_writing_by_path(tmp_path: Path) -> None:
    path = tmp_path / "threads.mp4"
    with MemvidSaver(path) as saver, MemvidSaver(path) as other:
        compiled = StateGraph(MessagesState).add_node("answer", lambda state: {"messages": [AIMessage("the wing")]})
        graph = compiled.add_edge(START, "answer").compile(checkpointer=saver)
        graph.invoke({"messages": [HumanMessage("what about the wing?")]}, thread("a"))
        assert other.get_tuple(thread("a")) == saver.get_tuple(thread("a"))
    saver.close()
    with pytest.raises(ClosedError):
        saver.get_tuple(thread("a"))


def test_store_saver_and_documents_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "agent.mp4"
    with Memory.create(path) as memory:
        memory.add(["the wing lifts"], ids=["doc"])
        store, saver = MemvidStore(memory=memory), MemvidSaver(memory=memory)
        builder = StateGraph(MessagesState).add_node("answer", lambda state: {"messages": [AIMessage("the wing")]})
        compiled = builder.add_edge(START, "answer").compile(checkpointer=saver, store=store)
        compiled.invoke({"messages": [HumanMessage("what about the wing?")]}, thread("a"))
        store.put(("users",), "k", {"text": "asks about the wing"})
        # What a checkpoint holds is no text to be found.
        assert {hit.id for hit in memory.search("what about the wing", k=50)} <= {"doc", 'item["users","k"]'}
        assert [item.key for item in store.search(())] == ["k"]
        assert store.list_namespaces() == [("users",)]
        store.close()
        saver.close()
        saver.delete_thread("a")
        assert len(memory) == 2


@pytest.mark.parametrize("index", ["kept", "rebuilt"])
async def test_a_listing_goes_on_after_a_checkpoint_that_damage_took(tmp_path: Path, index: str) -> None:
    path, borders = tmp_path / "threads.mp4", []
    with MemvidSaver(path) as saver:
        config: Any = thread("1", checkpoint_ns="")
        for number in range(5):
            borders.append(path.stat().st_size)
            checkpoint: Any = {**empty_checkpoint(), "id": f"{number}"}
            checkpoint["channel_values"] = {"turns": number}
            checkpoint["channel_versions"] = {"turns": f"{number}"}
            config = saver.put(config, checkpoint, {"step": number}, checkpoint["channel_versions"])
        assert [entry.metadata["step"] for entry in saver.list(thread("1"))] == [4, 3, 2, 1, 0]
    with path.open("r+b") as file:
        file.seek(borders[3])
        file.write(bytes(borders[4] - borders[3]))
    if index == "rebuilt":
        shutil.rmtree(f"{path}.index")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with MemvidSaver(path, mode="r") as saver:
            assert [entry.metadata["step"] for entry in saver.list(thread("1"))] == [4, 2, 1, 0]
            assert [entry.metadata["step"] for entry in saver.list(thread("1"), limit=2)] == [4, 2]
            assert [entry.metadata["step"] async for entry in saver.alist(thread("1"), limit=3)] == [4, 2, 1]
    assert {each.category for each in warned} == {DamageWarning}


@pytest.mark.parametrize("index", ["kept", "rebuilt"])
def test_a_checkpoint_without_a_value_that_damage_took_is_not_given(tmp_path: Path, index: str) -> None:
    path, borders = tmp_path / "threads.mp4", []
    with MemvidSaver(path) as saver:
        config: Any = thread("1", checkpoint_ns="")
        for number in range(3):
            borders.append(path.stat().st_size)
            checkpoint: Any = {**empty_checkpoint(), "id": f"{number}"}
            checkpoint["channel_values"] = {"messages": ["hello"], "turns": number}
            checkpoint["channel_versions"] = {"messages": "0", "turns": f"{number}"}
            new = checkpoint["channel_versions"] if number == 0 else {"turns": f"{number}"}
            config = saver.put(config, checkpoint, {"step": number}, new)
    with path.open("r+b") as file:  # the commit with the first checkpoint, and with the messages of all
        file.seek(borders[0])
        file.write(bytes(borders[1] - borders[0]))
    if index == "kept":  # what is damaged is found where it is read
        saver = MemvidSaver(path, mode="r")
    else:
        shutil.rmtree(f"{path}.index")
        with pytest.warns(DamageWarning):
            saver = MemvidSaver(path, mode="r")
        assert saver.memory.info().lost > 0
    reason = "frame" if index == "kept" else "messages"
    with saver:
        for asked in (thread("1"), thread("1", checkpoint_id="1")):
            with pytest.raises(MemoryFileError, match=reason):
                saver.get_tuple(asked)
        with pytest.warns(DamageWarning, match=reason) as warned:
            assert list(saver.list(thread("1"))) == []
        assert {str(each.message).split("'")[1] for each in warned} >= {"1", "2"}
