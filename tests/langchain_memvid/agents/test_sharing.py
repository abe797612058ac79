"""Several users, agents, stores and savers over one file: what each sees, what each may delete, and what goes wrong."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from langchain.agents import create_agent
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.store.base import PutOp, SearchOp
from typing_extensions import override

from langchain_memvid import MemvidVectorStore
from langchain_memvid.agents import MemvidMiddleware, MemvidSaver, MemvidStore, create_memory_tools
from memvid_core import FilterError, InvalidInputError, LockedError, Memory, MemvidError, ReadOnlyError
from tests.langchain_memvid.agents.fakes import Clock, LetterEmbeddings, ScriptedModel, call
from tests.langchain_memvid.fakes import TableEmbeddings


def by_user(runtime: Any) -> dict[str, Any]:
    return {"user": runtime.context["user"]}


def say(agent: Any, text: str, user: str | None, *, asynchronous: bool = False) -> list[Any]:
    """What an agent answers a user, tools' messages too."""
    context = {} if user is None else {"context": {"user": user}}
    asked: Any = {"messages": [HumanMessage(text)]}
    found = asyncio.run(agent.ainvoke(asked, **context)) if asynchronous else agent.invoke(asked, **context)
    return list(found["messages"])


def by_tools(messages: list[Any]) -> str:
    return "\n".join(str(message.content) for message in messages if isinstance(message, ToolMessage))


# --- two users ---


@pytest.mark.parametrize("asynchronous", [False, True])
def test_nobody_reads_or_deletes_another_user_s_notes(tmp_path: Path, asynchronous: bool) -> None:
    with Memory.create(tmp_path / "agent.mp4") as memory:
        memory.add(["The office closes at six."], ids=["handbook"])
        MemvidStore(memory=memory).put(("users", "ada"), "code", {"text": "the office alarm code is 99"})

        def agent(*steps: Any) -> Any:
            return create_agent(
                ScriptedModel(script=list(steps)),
                tools=create_memory_tools(memory, scope=by_user, shared=True),
                middleware=[MemvidMiddleware(memory, scope=by_user, shared=True)],
            )

        done = AIMessage("Done.")
        said = say(
            agent(call("save_memory", text="Ada's PIN is 4711"), done), "hello", "ada", asynchronous=asynchronous
        )
        name = by_tools(said).removeprefix("Saved as [").removesuffix("].")
        assert name in memory

        looking = agent(call("search_memory", query="PIN alarm code office"), done)
        found = by_tools(say(looking, "what is the PIN?", "bob", asynchronous=asynchronous))
        assert "4711" not in found
        assert "99" not in found  # what lies in a namespace of a store is somebody's
        assert "closes at six" in found  # what is nobody's is everybody's

        for shown in (name, f"[{name}]"):
            forgetting = agent(call("forget_memory", id=shown), done)
            answer = by_tools(say(forgetting, "forget it", "bob", asynchronous=asynchronous))
            assert answer == f"No memory has the id [{name}]."
        answer = by_tools(
            say(agent(call("forget_memory", id=f"[{name}]"), done), "forget", "ada", asynchronous=asynchronous)
        )
        assert answer == f"Forgot [{name}]."
        assert "handbook" in memory


def test_the_middleware_recalls_only_the_user_s_own_and_nobody_s(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "agent.mp4") as memory:
        memory.add(["the wing of the plane is red"], ids=["doc"])
        memory.add(["a guide to wings"], {"kind": "guide"}, ids=["guide"])
        for user in ("ada", "bob"):
            model = ScriptedModel(script=[AIMessage("Yes.")])
            middleware = [MemvidMiddleware(memory, scope=by_user, shared={"kind": "guide"})]
            say(create_agent(model, middleware=middleware), f"{user}'s wing", user)
        model = ScriptedModel(script=[AIMessage("Yes.")])
        say(
            create_agent(model, middleware=[MemvidMiddleware(memory, scope=by_user, shared={"kind": "guide"})]),
            "wing",
            "bob",
        )
        told = model.seen[0][0].text
        assert "bob's wing" in told
        assert "a guide to wings" in told
        assert "ada's wing" not in told
        assert "is red" not in told


def test_notes_chats_and_items_of_others_are_never_nobody_s() -> None:
    memory = Memory.create(":memory:")
    create_memory_tools(memory)[0].invoke({"text": "a note of no user: tea"})
    create_memory_tools(memory, scope={"team": "x"})[0].invoke({"text": "a note of a team: tea"})
    memory.add(
        ["said: tea", "block: tea", "handbook: tea"],
        [{"llama_index": {"chat": {"key": "k"}}}, {"session_id": "s", "role": "user"}, {}],
    )
    _, search, _ = create_memory_tools(memory, scope={"user": "ada"}, shared=True)
    assert search.invoke({"query": "tea", "k": 10}).split("] ")[1] == "handbook: tea"
    assert search.invoke({"query": "tea", "k": 10}).count("tea") == 1


# --- scopes ---


async def _async_scope(runtime: Any) -> dict[str, Any]:
    return {"user": "ada"}


@pytest.mark.parametrize("make", [create_memory_tools, MemvidMiddleware])
def test_a_scope_that_cannot_answer_is_refused_at_once(make: Any) -> None:
    memory = Memory.create(":memory:")
    with pytest.raises(InvalidInputError, match="async"):
        make(memory, scope=_async_scope)
    with pytest.raises(InvalidInputError, match="does not name an owner"):
        make(memory, scope={"user": None})
    with pytest.raises(FilterError, match="shared"):
        make(memory, shared="yes")
    with pytest.raises(
        InvalidInputError, match=r'Memory.open\("agent.mp4"|Memory.open\(.agent.mp4., "a", create=True\)'
    ):
        make("agent.mp4")


def test_without_a_context_the_middleware_says_so_each_time() -> None:
    memory = Memory.create(":memory:")
    agent = create_agent(
        ScriptedModel(script=[AIMessage("a")] * 3), middleware=[MemvidMiddleware(memory, scope=by_user)]
    )
    for _ in range(2):
        with pytest.raises(InvalidInputError, match=r"context=\{"):
            say(agent, "hello", None)
    assert len(memory) == 0


@pytest.mark.parametrize(
    "scope",
    [by_user, lambda runtime: None, dict, lambda runtime: {"user": None}, lambda runtime: _async_scope(runtime)],
)
def test_a_scope_that_names_nobody_shows_and_stores_nothing(scope: Any) -> None:
    memory = Memory.create(":memory:")
    memory.add(["the PIN is 4711"], {"user": "ada"})
    scope = (lambda runtime: {}) if scope is dict else scope
    tools = create_memory_tools(memory, scope=scope)
    steps = [call("search_memory", query="PIN"), call("save_memory", text="x"), AIMessage("Sorry.")]
    told = by_tools(say(create_agent(ScriptedModel(script=steps), tools=tools), "hello", None))
    assert "Could not search" in told
    assert "Could not save it" in told
    assert "4711" not in told
    assert len(memory) == 1


def test_outside_of_a_run_a_scope_function_cannot_be_asked() -> None:
    save, *_ = create_memory_tools(Memory.create(":memory:"), scope=by_user)
    assert "not part of an agent's" in save.invoke({"text": "x"})


# --- a tool's failure is told to the model ---


class Refusing(Embeddings):
    """As a server that has had enough."""

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise RuntimeError("429 Too Many Requests")

    @override
    def embed_query(self, text: str) -> list[float]:
        raise RuntimeError("429 Too Many Requests")


def _refused(path: Path) -> tuple[Memory, str]:
    memory = Memory.create(path, Refusing())
    memory.add(["x"], vectors=[[1.0]])
    return memory, "429"


def _read_only(path: Path) -> tuple[Memory, str]:
    Memory.create(path).close()
    return Memory.open(path), "mode='a'"


def _closed(path: Path) -> tuple[Memory, str]:
    memory = Memory.create(path)
    memory.close()
    return memory, "closed"


def _locked(path: Path) -> tuple[Memory, str]:
    Memory.create(path).close()
    return Memory.open(path, "a", timeout=0), "written by"


FAILURES: dict[str, tuple[Callable[[Path], tuple[Memory, str]], tuple[str, ...]]] = {
    "the embedder refuses": (_refused, ("save_memory", "search_memory")),
    "a reader": (_read_only, ("save_memory", "forget_memory")),
    "closed": (_closed, ("save_memory", "search_memory", "forget_memory")),
    "locked": (_locked, ("save_memory", "forget_memory")),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "save_memory": {"text": "a fact"},
    "search_memory": {"query": "a fact"},
    "forget_memory": {"id": "note-1"},
}


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_told_to_the_model_and_the_run_goes_on(tmp_path: Path, failure: str, asynchronous: bool) -> None:
    make, names = FAILURES[failure]
    memory, words = make(tmp_path / "m.mp4")
    steps = [*(call(name, **ARGUMENTS[name]) for name in names), AIMessage("Sorry.")]
    agent = create_agent(ScriptedModel(script=steps), tools=create_memory_tools(memory))
    with Memory.open(tmp_path / "m.mp4", "a", embedder="given") as other:
        if failure == "locked":
            holding = threading.Event(), threading.Event()

            def hold() -> None:
                with other.exclusive():
                    holding[0].set()
                    holding[1].wait(60)

            holder = threading.Thread(target=hold)
            holder.start()
            holding[0].wait(60)
        messages = say(agent, "hello", None, asynchronous=asynchronous)
        if failure == "locked":
            holding[1].set()
            holder.join()
    assert messages[-1].text == "Sorry."
    told = [message for message in messages if isinstance(message, ToolMessage)]
    assert [message.status for message in told] == ["error"] * len(names)
    assert all(words in str(message.content) and "Memory.open" not in str(message.content) for message in told)
    memory.close()


# --- stores and savers on one path ---


def _checkpoint(saver: MemvidSaver, thread: str) -> Any:
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"], checkpoint["channel_versions"] = {"a": "tea"}, {"a": "1"}
    return saver.put(config, checkpoint, {}, {"a": "1"})


def test_a_saver_first_and_facts_later_on_one_path(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with MemvidSaver(path) as saver:
        _checkpoint(saver, "t")
        for round_ in range(2):  # also when the facts are there already
            with MemvidStore(path) as store:
                store.put(("users",), f"{round_}", {"text": f"Ada drinks tea, {round_}"})
                assert len(store.search(("users",), query="tea")) == round_ + 1
                assert store.memory.embedder is not None
        with MemvidVectorStore(path=path) as documents:
            documents.add_texts(["the wing lifts"], ids=["wing"])
            assert documents.similarity_search("a lifting wing", k=1)[0].id == "wing"
        assert saver.get_tuple({"configurable": {"thread_id": "t"}}) is not None


def test_a_saver_first_and_a_model_of_one_s_own_later(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with MemvidSaver(path) as saver, MemvidStore(path, index={"embed": LetterEmbeddings(), "dims": 8}) as store:
        _checkpoint(saver, "t")
        store.put(("users",), "drink", {"text": "tea"})
        assert store.search(("users",), query="tea")[0].key == "drink"
    with MemvidStore(path) as store, pytest.raises(InvalidInputError, match="embed"):
        store.put(("users",), "drink", {"text": "coffee"})


async def test_everything_is_opened_and_closed_beside_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with blockbuster_ctx(["langchain_memvid", "memvid_core"]):
        async with await MemvidSaver.aopen(path) as saver, await MemvidStore.aopen(path, timeout=5) as store:
            await store.aput(("a",), "k", {"text": "tea"}, ttl=5)
            assert (await store.aget(("a",), "k")).value == {"text": "tea"}  # type: ignore[union-attr]
            config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
            config = await saver.aput(config, empty_checkpoint(), {}, {})
            await saver.aput_writes(config, [("a", 1)], "task")
            assert (await saver.aget_tuple(config)).pending_writes == [("task", "a", 1)]  # type: ignore[union-attr]
        for held in (saver, store):
            await held.aclose()
            with pytest.raises(MemvidError):
                len(held.memory)


async def test_waiting_writers_leave_reads_and_the_loop_s_own_threads_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with MemvidStore(path) as one, MemvidStore(path) as two:
        one.put(("a",), "k", {"text": "tea"})
        with one.memory.exclusive():
            waiting = [asyncio.ensure_future(two.aput(("a",), f"{i}", {"text": "tea"})) for i in range(32)]
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 10) == "free"
            assert await asyncio.wait_for(two.aget(("a",), "k"), 10) is not None
        await asyncio.gather(*waiting)
        assert len(one.search(("a",), limit=100)) == 33


def test_a_reader_s_answer_does_not_wait_for_its_time_to_be_written(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "a.mp4"
    with MemvidStore(path) as one, MemvidStore(path, timeout=0) as two:
        one.put(("a",), "k", {"text": "tea"}, ttl=10)
        clock.pass_minutes(5)
        with one.memory.exclusive():
            assert two.get(("a",), "k") is not None
            with pytest.raises(LockedError):
                two.put(("a",), "l", {"text": "tea"})
        clock.pass_minutes(5)
        assert two.get(("a",), "k") is None


def test_a_refresh_does_not_bring_back_what_others_deleted_or_put(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "a.mp4"
    with MemvidStore(path) as one, MemvidStore(path) as two:
        for key in ("gone", "new"):
            one.put(("a",), key, {"text": "old"}, ttl=10)
        clock.pass_minutes(5)
        read = one._read

        def read_and_be_overtaken(*given: Any) -> Any:
            answer = read(*given)
            two.batch([PutOp(("a",), "gone", None), PutOp(("a",), "new", {"text": "new"}, ttl=30)])
            return answer

        one.__dict__["_read"] = read_and_be_overtaken  # another process writes between its reading and its writing
        found: Any = one.batch([SearchOp(("a",))])[0]
        assert len(found) == 2
        del one.__dict__["_read"]
        assert [(item.key, item.value["text"]) for item in two.search(("a",))] == [("new", "new")]
        clock.pass_minutes(20)
        assert two.get(("a",), "new", refresh_ttl=False) is not None


def test_what_comes_late_for_a_deleted_checkpoint_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    deletions: list[Callable[[MemvidSaver], Any]] = [
        lambda saver: saver.delete_thread("t"),
        lambda saver: saver.prune(["t"], strategy="delete"),
        lambda saver: saver.delete_for_runs(["r"]),
    ]
    with MemvidSaver(path) as one, MemvidSaver(path) as two:
        for delete in deletions:
            for deleting in (one, two):
                config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}, "metadata": {"run_id": "r"}}
                config = one.put(config, empty_checkpoint(), {}, {})
                one.put_writes(config, [("a", 1)], "task")
                delete(deleting)
                one.put_writes(config, [("a", 1)], "late task")
                assert len(one.memory) == 0


def test_writes_may_come_before_their_checkpoint(tmp_path: Path) -> None:
    with MemvidSaver(tmp_path / "a.mp4") as saver:
        checkpoint = empty_checkpoint()
        place = {"thread_id": "t", "checkpoint_ns": ""}
        saver.put_writes({"configurable": {**place, "checkpoint_id": checkpoint["id"]}}, [("a", 1)], "task")
        saver.put({"configurable": place}, checkpoint, {}, {})
        found = saver.get_tuple({"configurable": place})
        assert found is not None
        assert found.pending_writes == [("task", "a", 1)]


def test_a_checkpoint_keeps_values_that_another_process_pruned_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with MemvidSaver(path) as one, MemvidSaver(path) as two:
        config = _checkpoint(one, "t")
        two.delete_thread("t")
        later = empty_checkpoint()
        later["channel_values"], later["channel_versions"] = {"a": "tea", "b": 2}, {"a": "1", "b": "1"}
        one.put(config, later, {}, {"b": "1"})
        found = two.get_tuple({"configurable": {"thread_id": "t"}})
        assert found is not None
        assert found.checkpoint["channel_values"] == {"a": "tea", "b": 2}


@pytest.mark.parametrize("wrong", [False, 0, "", [], "x"], ids=repr)
def test_what_is_no_filter_is_never_taken_for_none(wrong: Any) -> None:
    store, saver = MemvidStore(), MemvidSaver()
    store.put(("a",), "k", {"text": "tea"})
    _checkpoint(saver, "t")
    with pytest.raises(FilterError):
        store.search(("a",), filter=wrong)
    with pytest.raises(FilterError):
        list(saver.list(None, filter=wrong))


# --- copies ---


def test_stores_savers_and_tools_are_copied_and_pickled(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with MemvidStore(path, ttl={"default_ttl": 5}) as store, MemvidSaver(path) as saver:
        assert copy.deepcopy(store) is store
        assert copy.deepcopy(saver) is saver
        assert copy.copy(saver) is not saver  # LangGraph gives a copy another serializer
        with pickle.loads(pickle.dumps(store)) as other, pickle.loads(pickle.dumps(saver)) as reader:
            assert other.ttl_config == {"default_ttl": 5}
            other.put(("a",), "k", {"text": "tea"})
            _checkpoint(saver, "t")
            assert store.get(("a",), "k") is not None
            assert reader.get_tuple({"configurable": {"thread_id": "t"}}) is not None
        save, *_ = create_memory_tools(store.memory)
        for made in (copy.deepcopy(save), save.model_copy(deep=True), copy.copy(save)):
            assert made.invoke({"text": "Ada drinks tea"}).startswith("Saved as [note-")
    for held in (MemvidStore(), MemvidSaver()):
        with pytest.raises(InvalidInputError, match="RAM"):
            pickle.dumps(held)


def test_a_pickled_store_has_its_embedder(tmp_path: Path) -> None:
    with (
        Memory.create(tmp_path / "m.mp4", TableEmbeddings()) as memory,
        pickle.loads(pickle.dumps(MemvidStore(memory=memory))) as other,
    ):
        other.put(("a",), "k", {"text": "tea"})
        assert MemvidStore(memory=memory).search(("a",), query="tea")[0].score == pytest.approx(1.0, abs=1e-3)


@pytest.mark.filterwarnings("ignore::memvid_core.EmbedderWarning")
def test_messages_advise_what_can_be_done_here(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with MemvidStore(path, index={"embed": LetterEmbeddings(), "dims": 8}) as store:
        store.put(("a",), "k", {"text": "tea"})
    reader, closed = MemvidStore(path, mode="r", index=False), MemvidStore(path, index=False)
    plain, stateless = MemvidStore(path), MemvidSaver(path, mode="r")
    closed.close()
    wrong: Any = {"embed": TableEmbeddings()}
    calls: list[Any] = [
        lambda: MemvidStore(path, index=wrong),
        lambda: MemvidSaver(tmp_path / "none.mp4", mode="r"),
        lambda: MemvidSaver(path, mode="w"),  # type: ignore[arg-type]
        lambda: MemvidSaver(reader.memory),  # type: ignore[arg-type]
        lambda: reader.put(("a",), "l", {}),
        lambda: plain.put(("a",), "l", {}),
        lambda: closed.get(("a",), "k"),
        lambda: stateless.delete_thread("t"),
        reader.sweep_ttl,
    ]
    for number, made in enumerate(calls):
        with pytest.raises(MemvidError) as caught:
            made()
        words = ("force", "Memory.open", "Memory.create", "where=", "select(", "embedder=")
        assert not any(word in str(caught.value) for word in words), (number, str(caught.value))
    mistyped: Any = {"filds": ["a"]}
    with pytest.raises(InvalidInputError, match="did you mean 'fields'"):
        MemvidStore(index=mistyped)
    with pytest.raises(ReadOnlyError, match="mode='a'"):
        reader.put(("a",), "l", {})
    for held in (reader, plain, stateless):
        held.close()
