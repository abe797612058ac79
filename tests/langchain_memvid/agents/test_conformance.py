"""LangGraph's own conformance suite for checkpointers, base and extended, on a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability

from langchain_memvid.agents import MemvidSaver


@pytest.mark.parametrize("capability", [capability.value for capability in Capability])
async def test_the_saver_conforms(capability: str, tmp_path: Path) -> None:
    @checkpointer_test(name="MemvidSaver")
    async def make():
        async with MemvidSaver(tmp_path / "threads.mp4") as saver:
            yield saver

    report = await validate(make, capabilities={capability})
    result = report.results[capability]
    assert result.failures == []
    assert result.tests_passed
    assert result.passed
