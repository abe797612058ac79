"""What importing the package costs, and what it says where LlamaIndex is missing."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def python(code: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_nothing_heavy_of_ours_is_imported_before_it_is_used() -> None:
    loaded = python("import llama_index_memvid, sys; print(*sys.modules)").split()
    roots = {name.partition(".")[0] for name in loaded}
    assert "memvid_core" in roots
    assert roots & {"av", "joblib", "langchain_core", "langgraph", "scipy", "sklearn", "typer"} == set()


def test_without_llama_index_the_error_names_the_extra() -> None:
    message = python(
        """
        import sys
        sys.modules["llama_index"] = None
        try:
            import llama_index_memvid
        except ImportError as error:
            print(type(error).__name__, error, repr(error.__cause__))
        """
    )
    assert message.startswith("MissingExtraError")
    assert 'pip install "memvid-core[llama-index]"' in message
    assert "llama_index" in message.partition("memvid-core[llama-index]")[2]
