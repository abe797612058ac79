"""What importing the agents costs, and what it says where LangGraph or LangChain is missing."""

from __future__ import annotations

import pytest

from langchain_memvid import agents
from tests.langchain_memvid.unit_tests.test_import import python


def test_nothing_of_langgraph_is_imported_before_it_is_asked_for() -> None:
    roots = {name.partition(".")[0] for name in python("import langchain_memvid, sys; print(*sys.modules)").split()}
    assert roots & {"langgraph", "langchain"} == set()
    used = python("from langchain_memvid.agents import MemvidStore, MemvidSaver; import sys; print(*sys.modules)")
    assert "langchain.agents" not in used.split()


@pytest.mark.parametrize("missing", ["langgraph", "langgraph.graph", "langchain"])
def test_where_one_is_missing_the_error_names_the_extra(missing: str) -> None:
    message = python(
        f"""
        import sys
        sys.modules[{missing!r}] = None
        import langchain_memvid
        try:
            from langchain_memvid.agents import MemvidStore
        except ImportError as error:
            print(type(error).__name__, error, repr(error.__cause__))
        """
    )
    assert message.startswith("MissingExtraError")
    assert 'pip install "memvid-core[agents]"' in message
    assert "ModuleNotFoundError" in message


def test_what_is_public_is_what_is_listed() -> None:
    for name in agents.__all__:
        assert getattr(agents, name).__doc__
    assert set(agents.__all__) <= set(dir(agents))
    assert not hasattr(agents, "MemvidStores")
