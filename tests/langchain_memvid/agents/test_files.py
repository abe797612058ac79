"""The tool that keeps text files, in langchain_tests' suites and beside Claude's memory tool."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from langchain_memvid.agents import create_memory_file_tool
from langchain_memvid.agents.files import MemoryFilesTool
from memvid_core import InvalidInputError, Memory, MemoryFiles


class FileCases:
    """What the suites need."""

    @property
    def tool_constructor(self) -> type[BaseTool]:
        return MemoryFilesTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"memory": Memory.create(":memory:")}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"command": "create", "path": "/memories/a.txt", "file_text": "one"}


class TestUnit(FileCases, ToolsUnitTests): ...


class TestIntegration(FileCases, ToolsIntegrationTests): ...


async def test_every_command_works_and_an_error_is_a_message() -> None:
    memory = Memory.create(":memory:")
    tool = create_memory_file_tool(memory, scope={"user_id": "ada"})
    create = {"command": "create", "path": "/memories/a.txt", "file_text": "one\ntwo"}
    assert tool.invoke(create) == "File created successfully at: /memories/a.txt"
    assert tool.invoke(create) == "File /memories/a.txt already exists"
    edit = {"command": "str_replace", "path": "/memories/a.txt", "old_str": "two", "new_str": ""}
    assert "has been edited" in await tool.ainvoke(edit)
    insert = {"command": "insert", "path": "/memories/a.txt", "insert_line": 0, "insert_text": "zero"}
    assert "has been edited" in await tool.ainvoke(insert)
    assert tool.invoke({"command": "rename", "old_path": "/memories/a.txt", "new_path": "/memories/b.txt"})
    assert "     1\tzero\n     2\tone" in tool.invoke({"command": "view", "path": "/memories/b.txt"})
    assert "/etc" in tool.invoke({"command": "view", "path": "/etc/passwd"})
    assert tool.invoke({"command": "delete"}) == "delete takes path"
    assert tool.invoke({"command": "view", "path": "/memories", "old_str": "x"}) == "view takes path, view_range"
    assert MemoryFiles(memory, {"user_id": "ada"}).paths() == ["/memories/b.txt"]
    assert MemoryFiles(memory).paths() == []
    with pytest.raises(InvalidInputError, match="owner"):
        create_memory_file_tool(memory, scope={"user_id": None})
