"""langchain-core's own tests of its vector store and of ``index()``, from its source archive, on our store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.upstream_tests import passed, source_of

PLUGIN = Path(__file__).parent / "upstream" / "langchain_plugin.py"
STORE, INDEX = "tests/unit_tests/vectorstores/test_in_memory.py", "tests/unit_tests/indexing/test_indexing.py"


@pytest.mark.long
def test_langchain_cores_own_tests_pass_on_our_stores() -> None:
    done = passed(source_of("langchain-core"), PLUGIN, [STORE, INDEX], plugins=["asyncio", "pytest_mock"])
    assert done >= 2 * 80  # in RAM and in a file
