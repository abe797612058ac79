"""Claude's memory tool, compared with the file-system backend of Anthropic's SDK, and beyond it."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core import InvalidInputError, Memory, MemoryFiles, SyncMemoryService, serving
from memvid_core.serving.server import mcp_server
from tests.upstream_tests import passed, source_of

names = st.sampled_from(["a", "b", "c.txt", ".hidden"])
paths = st.one_of(
    st.lists(names, min_size=1, max_size=3).map(lambda parts: "/memories/" + "/".join(parts)),
    st.sampled_from(
        [
            "/memories",
            "/memories/",
            "/memories/.",
            "/memories/a/..",
            "/memories/a/../b",
            "/memories//a",
            "/memoriesa",
            "/memories/../x",
            "/memories/../memories/a",
            "/memories/../../etc/passwd",
            "/etc/passwd",
            "memories/a",
            "",
        ]
    ),
)
texts = st.text(st.sampled_from("ab\n\r é날"), max_size=12)
commands = st.one_of(
    st.fixed_dictionaries(
        {"command": st.just("view"), "path": paths},
        optional={"view_range": st.lists(st.integers(-1, 4), min_size=1, max_size=3)},
    ),
    st.fixed_dictionaries({"command": st.just("create"), "path": paths, "file_text": texts}),
    st.fixed_dictionaries(
        {"command": st.just("str_replace"), "path": paths, "old_str": st.sampled_from(["a", "b\n", "aa", "날", ""])}
        | {"new_str": texts}
    ),
    st.fixed_dictionaries(
        {"command": st.just("insert"), "path": paths, "insert_line": st.integers(-1, 4), "insert_text": texts}
    ),
    st.fixed_dictionaries({"command": st.just("delete"), "path": paths}),
    st.fixed_dictionaries({"command": st.just("rename"), "old_path": paths, "new_path": paths}),
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Memory]:
    """A memory for all examples, each with a scope of its own."""
    with Memory.create(":memory:", "given") as memory:
        yield memory


def said(tool: Any, command: dict[str, Any]) -> tuple[str, str]:
    """What a command answers, without the sizes of folders, which belong to a file system."""
    from anthropic.lib.tools import ToolError

    try:
        answer = ("ok", tool.call(command))
    except ToolError as exc:
        answer = ("refused", str(exc))
    except (OSError, ValueError) as exc:  # the file system's own refusals
        return "failed", type(exc).__name__
    lines = answer[1].split("\n")
    folders = [1] if command["command"] == "view" and lines[0].startswith("Here're") else []
    folders += [number for number, line in enumerate(lines) if line.endswith("/") and folders]
    for number in folders:
        lines[number] = re.sub(r"^\S+\t", "\t", lines[number])
    return answer[0], "\n".join(lines)


@given(script=st.lists(commands, max_size=10))
def test_every_command_answers_as_the_file_system_of_the_sdk_does(shared: Memory, script: list[dict[str, Any]]) -> None:
    from anthropic.tools.memory import BetaLocalFilesystemMemoryTool

    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = BetaLocalFilesystemMemoryTool(folder), serving.MemvidMemoryTool(shared, {"user_id": folder})
        for command in script:
            before = set(theirs.memory_root.rglob("*"))
            expected, got = said(theirs, command), said(ours, command)
            if expected[0] == "failed":  # a file as a folder: theirs may have made a part of it
                assert got[0] == "refused"
                return
            if expected[0] == "refused":  # theirs makes the folders of a destination all the same
                for made in sorted(set(theirs.memory_root.rglob("*")) - before, reverse=True):
                    made.rmdir()
            assert got == expected, command
        on_disk = {
            f"/memories/{path.relative_to(theirs.memory_root).as_posix()}": path.read_bytes().decode()
            for path in theirs.memory_root.rglob("*")
            if path.is_file()
        }
        assert {path: ours.files.read(path) for path in ours.files.paths()} == on_disk


@pytest.mark.long
def test_anthropics_own_tests_of_its_file_system_memory_pass_on_ours() -> None:
    file = "tests/lib/tools/memory_tools/test_filesystem.py"
    of_file_systems = ["symlink", "mkdir", "validate_path"]
    options = ["--noconftest", "-c", os.devnull, "--rootdir", ".", "-o", "asyncio_mode=auto", "--import-mode=importlib"]
    plugin = Path(__file__).parent / "upstream" / "anthropic_plugin.py"
    assert passed(source_of("anthropic"), plugin, [file], *options, leave_out=of_file_systems) >= 74


def call(tool: serving.MemvidMemoryTool, command: str, path: str, **more: Any) -> Any:
    return tool.call({"command": command, "path": path, **more})


def test_each_edit_is_a_commit_and_a_version_that_outlives_rename_and_compaction(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "m.mp4") as memory:
        tool = serving.MemvidMemoryTool(memory)
        call(tool, "create", "/memories/a/tea.txt", file_text="green tea\r\n")
        call(tool, "str_replace", "/memories/a/tea.txt", old_str="green", new_str="black")
        call(tool, "insert", "/memories/a/tea.txt", insert_line=1, insert_text="no milk")
        tool.call({"command": "rename", "old_path": "/memories/a", "new_path": "/memories/b"})
        assert [commit.number for commit in memory.history()] == [1, 2, 3, 4]
        memory.compact()
        found = tool.files.versions("/memories/b/tea.txt")
        assert [each.number for each in found] == [1, 2, 3]
        assert [each.text for each in found] == ["green tea\r\n", "black tea\r\n", "black tea\r\nno milk\n"]
        call(tool, "delete", "/memories/b")
        assert len(memory) == 0


def test_what_files_say_is_recalled_and_only_within_their_scope() -> None:
    memory = Memory.create(":memory:")
    tool, other = (
        serving.MemvidMemoryTool(memory, {"user_id": "ada"}),
        serving.MemvidMemoryTool(memory, {"user_id": "bob"}),
    )
    call(tool, "create", "/memories/party.md", file_text="The office party is at six.")
    call(tool, "str_replace", "/memories/party.md", old_str="six", new_str="seven")
    service = SyncMemoryService(memory)
    answer = service.recall("When is the office party?", user_id="ada")
    assert "/memories/party.md: The office party is at seven." in answer.text
    assert "six" not in answer.text
    assert service.recall("When is the office party?", user_id="bob").hits == []
    assert other.files.paths() == []
    call(other, "create", "/memories/party.md", file_text="bob's")
    other.clear_all_memory()
    assert tool.files.read("/memories/party.md") == "The office party is at seven."
    wider = serving.MemvidMemoryTool(
        memory, {"user_id": "ada", "agent_id": "x"}
    )  # a scope of its own, not a part of the other
    assert wider.files.paths() == []
    receipt = service.forget(answer.hits[0].id, user_id="ada")
    assert (len(receipt.turns), len(receipt.items)) == (1, 1)
    assert tool.files.paths() == []
    assert [record.text for record in memory] == []


def test_the_past_is_recalled_as_it_was() -> None:
    memory = Memory.create(":memory:")
    tool = serving.MemvidMemoryTool(memory, {"user_id": "ada"})
    days = iter(["2026-01-05T12:00:00+00:00", "2026-03-05T12:00:00+00:00"])
    tool.files = MemoryFiles(memory, {"user_id": "ada"}, clock=lambda: next(days))
    call(tool, "create", "/memories/party.md", file_text="The office party is at six.")
    call(tool, "str_replace", "/memories/party.md", old_str="six", new_str="seven")
    recall = SyncMemoryService(memory).recall
    assert "at six." in recall("When is the party?", user_id="ada", as_of="2026-02-01").text
    assert "at seven." in recall("When is the party?", user_id="ada", as_of="2026-04-01").text
    assert "at six." not in recall("When is the party?", user_id="ada").text


async def test_files_are_found_by_the_mcp_server_which_does_not_change_them() -> None:
    from mcp import Client

    memory = Memory.create(":memory:")
    tool = serving.MemvidMemoryTool(memory)
    call(tool, "create", "/memories/a/tea.txt", file_text="Ada drinks tea")
    call(tool, "insert", "/memories/a/tea.txt", insert_line=1, insert_text="without milk")
    async with Client(mcp_server(memory)) as client:
        found: Any = (await client.call_tool("list_memories", {})).structured_content
        ids = [each["id"] for each in found["memories"]]
        assert len(ids) == 1
        gone: Any = (await client.call_tool("forget_memories", {"ids": ids})).structured_content
        assert gone["deleted"] == []


async def test_the_async_twin_does_the_same() -> None:
    from anthropic.lib.tools import ToolError

    tool = serving.MemvidAsyncMemoryTool(Memory.create(":memory:"))
    create = {"command": "create", "path": "/memories/a.txt", "file_text": "one\ntwo"}
    assert await tool.call(create) == "File created successfully at: /memories/a.txt"
    with pytest.raises(ToolError, match=r"File /memories/a.txt already exists"):
        await tool.call(create)
    assert "     2\ttwo" in str(await tool.call({"command": "view", "path": "/memories/a.txt"}))
    assert await tool.clear_all_memory() == "All memory cleared"
    assert tool.to_dict() == {"type": "memory_20250818", "name": "memory"}


def test_tools_in_several_threads_and_objects_lose_no_edit(tmp_path: Path) -> None:
    from anthropic.lib.tools import ToolError

    path = tmp_path / "m.mp4"
    with Memory.create(path) as memory:
        serving.MemvidMemoryTool(memory).files.create("/memories/log.txt", "")

    def write(name: str) -> None:
        with Memory.open(path, "a") as memory:
            tool = serving.MemvidMemoryTool(memory)
            for number in range(10):
                tool.files.insert("/memories/log.txt", 0, f"{name}{number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Memory.open(path) as memory:
        tool = serving.MemvidMemoryTool(memory)
        lines = tool.files.read("/memories/log.txt").split()
        assert sorted(lines) == sorted(f"{name}{number}" for name in "ab" for number in range(10))
        assert len(tool.files.versions("/memories/log.txt")) == 21
        with pytest.raises(ToolError, match="open it with mode='a'"):
            tool.call({"command": "delete", "path": "/memories/log.txt"})


@pytest.mark.parametrize("scope", [{}, {"user_id": ""}, {"user_id": None}])
def test_a_scope_names_an_owner(scope: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="owner"):
        serving.MemvidMemoryTool(Memory.create(":memory:"), scope)


@pytest.mark.parametrize("path", [None, 1, ["/memories/a.txt"], b"/memories/a.txt"])
def test_a_path_that_is_no_text_is_an_error_that_the_model_reads(path: Any) -> None:
    files = MemoryFiles(Memory.create(":memory:"))
    for command in ({"command": "view"}, {"command": "create", "file_text": "a"}, {"command": "delete"}):
        with pytest.raises(InvalidInputError, match="must start with /memories"):
            files.run({**command, "path": path})
