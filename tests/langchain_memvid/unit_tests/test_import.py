"""What importing the package costs, and what it says where LangChain is missing."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import langchain_memvid


def python(code: str) -> str:
    command = [sys.executable, "-W", "error::ImportWarning", "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    roots = {name.partition(".")[0] for name in python("import langchain_memvid, sys; print(*sys.modules)").split()}
    assert roots & {"memvid_core", "numpy"} == set()
    used = python("from langchain_memvid import MemvidVectorStore; import sys; print(*sys.modules)").split()
    roots = {name.partition(".")[0] for name in used}
    assert "memvid_core" in roots
    assert roots & {"av", "joblib", "langgraph", "rich", "scipy", "sklearn", "typer"} == set()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(langchain_memvid, "MemvidVectorstore")
    assert set(langchain_memvid.__all__) <= set(dir(langchain_memvid))


def test_without_langchain_the_error_names_the_extra() -> None:
    message = python(
        """
        import sys
        sys.modules["langchain_core"] = None
        try:
            import langchain_memvid
        except ImportError as error:
            print(type(error).__name__, error, repr(error.__cause__))
        """
    )
    assert message.startswith("MissingExtraError")
    assert 'pip install "memvid-core[langchain]"' in message
    assert "langchain_core" in message.partition("memvid-core[langchain]")[2]
