"""The structure of the source, measured by ``scripts/structure.py``: no circles, few layers, no long files."""

from __future__ import annotations

import ast
import gc
import re
import runpy
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent

# These only go down. A constant that a test needs smaller belongs into a frozen settings object that is passed in.
PARTS = 20
LAYERS = 9
ARROWS = 75
PATCHED_NAMES = 13
NOUN_PHRASES = 1


@pytest.fixture(scope="module", autouse=True)
def _no_search_for_garbage() -> Iterator[None]:
    """Trees of all sources are a million objects, and to search them again and again takes three times the parsing."""
    gc.disable()
    yield
    _statements.cache_clear()
    gc.enable()


@pytest.fixture(scope="module")
def structure() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "structure.py"))


def test_no_folders_import_each_other(structure: dict[str, Any]) -> None:
    arrows = structure["arrows_of"](ROOT / "src")
    assert structure["circles"](arrows) == []
    assert len(arrows) <= PARTS
    assert structure["layers"](arrows) <= LAYERS
    assert sum(map(len, arrows.values())) <= ARROWS


def test_a_circle_is_found_also_inside_a_function(structure: dict[str, Any], tmp_path: Path) -> None:
    package = tmp_path / "memvid_core"
    for name, text in {
        "a/one.py": "import memvid_core.b.two\n",
        "b/two.py": "def f():\n    from memvid_core.a import one\n",
        "c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from memvid_core.a import one\n",
        "a/__init__.py": "",
        "b/__init__.py": "",
        "__init__.py": "",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text, encoding="utf-8")
    arrows = structure["arrows_of"](tmp_path)
    assert structure["circles"](arrows) == [["memvid_core.a", "memvid_core.b"]]
    assert arrows["memvid_core.c"] == set()


def test_functions_say_what_they_do_in_the_imperative() -> None:
    english = runpy.run_path(str(ROOT / "scripts" / "english.py"))
    found = [
        text
        for path in (ROOT / "src").rglob("*.py")
        for text in english["docstrings"](ast.parse(path.read_text(encoding="utf-8")))
        if english["mood_of"](text) == "noun phrase"
    ]
    assert len(found) <= NOUN_PHRASES, found


def test_few_phrases_must_be_read_twice() -> None:
    """A tenth of the 108, 30 and 116 that src and docs had on 28 November 2026."""
    english = runpy.run_path(str(ROOT / "scripts" / "english.py"))
    counts: Counter[str] = sum(
        (
            english["counted"](path.read_text(encoding="utf-8"))
            for area in ("src", "docs")
            for path in english["files_of"](ROOT / area)
        ),
        Counter(),
    )
    assert counts["is no"] <= 10
    assert counts["anew"] <= 3
    assert counts["beside"] <= 11
    assert counts["what ... what"] <= 11


def test_tests_patch_few_private_names() -> None:
    patched = re.compile(r"setattr\(\s*(?:[\w.]+,\s*[\"']_\w+[\"']|[\"'][\w.]*\._\w+[\"'])")
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")}
    counts = {str(path.relative_to(ROOT)): n for path, text in texts.items() if (n := len(patched.findall(text)))}
    assert sum(counts.values()) <= PATCHED_NAMES, counts


def test_no_file_is_longer_than_a_reader_can_hold(structure: dict[str, Any]) -> None:
    long = {str(p): n for p in (ROOT / "src").rglob("*.py") if (n := p.read_text(encoding="utf-8").count("\n")) > 450}
    assert long == {}


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Calls that fail a test by themselves: of pytest, and the guard that raises where a coroutine blocks its loop.
FAILING = {"raises", "warns", "fail", "blockbuster_ctx"}


@cache
def _statements(text: str) -> list[ast.AST]:
    """Return the statements of a file, and the handlers of exceptions, at any depth; expressions hold none."""
    return list(_inner(ast.parse(text), (ast.AST,)))


def _inner(node: ast.AST, kinds: tuple[type[ast.AST], ...], but: tuple[type[ast.AST], ...] = ()) -> Iterator[ast.AST]:
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        inner = getattr(node, name, None)
        for item in inner if isinstance(inner, list) else ():
            if not isinstance(item, but):
                if isinstance(item, kinds):
                    yield item
                yield from _inner(item, kinds, but)


def _called(nodes: list[ast.AST]) -> set[str]:
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    return {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}


def _checks(nodes: list[ast.AST]) -> bool:
    """Tell whether a function, of which these are all nodes, can fail by what it says itself."""
    checked = [
        word.value for node in nodes if isinstance(node, ast.Call) for word in node.keywords if word.arg == "check"
    ]
    return (
        any(isinstance(node, ast.Assert | ast.Raise) for node in nodes)
        or any(name in FAILING or name.startswith("assert_") for name in _called(nodes))
        or any(isinstance(value, ast.Constant) and value.value is True for value in checked)  # run(..., check=True)
    )


def without_a_check(texts: list[str]) -> list[str]:
    """Return the names of the tests that assert nothing, also not in a function of the tests that they call."""
    functions = [node for text in texts for node in _statements(text) if isinstance(node, FUNCTIONS)]
    called, checking = {}, set()
    for function in functions:
        nodes = list(ast.walk(function))
        called[id(function)] = _called(nodes)
        if _checks(nodes):
            checking.add(id(function))
    while True:
        helpers = {function.name for function in functions if id(function) in checking} - {"__init__"}
        more = {at for at, names in called.items() if at not in checking and names & helpers}
        if not more:
            break
        checking |= more
    return [one.name for one in functions if one.name.startswith("test_") and id(one) not in checking]


def test_no_test_asserts_nothing() -> None:
    paths = [path for path in (ROOT / "tests").rglob("*.py") if path.parent.name != "upstream"]
    assert without_a_check([path.read_text(encoding="utf-8") for path in paths]) == []


def early_ends(text: str) -> list[str]:
    """Return the names of the tests that end in a branch without a check, such as on a system that lacks something."""
    found = []
    for test in _statements(text):
        if not (isinstance(test, FUNCTIONS) and test.name.startswith("test_")):
            continue
        blocks = [block for node in _inner(test, (ast.If, ast.ExceptHandler), FUNCTIONS) for block in _branches(node)]
        ended = [
            block for block in blocks if any(isinstance(each, ast.Return) and each.value is None for each in block)
        ]
        checks = [[_checks(list(ast.walk(each))) for each in block] for block in ended]
        found += [test.name for block in checks if not any(block)]
    return found


def _branches(node: ast.AST) -> list[list[ast.stmt]]:
    if isinstance(node, ast.If):
        return [node.body, node.orelse]
    return [node.body] if isinstance(node, ast.ExceptHandler) else []


def test_no_test_ends_before_it_asserts_something() -> None:
    found = {str(path): early_ends(path.read_text(encoding="utf-8")) for path in (ROOT / "tests").rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}
    assert early_ends("def test_a():\n    if nt:\n        return\n    assert 1\n") == ["test_a"]
    assert early_ends("def test_b():\n    if nt:\n        assert 2\n        return\n    assert 1\n") == []


def test_a_test_that_asserts_nothing_is_found() -> None:
    helper = "def helper():\n    assert 1\n"
    tests = "def test_a():\n    helper()\ndef test_b():\n    print(1)\nasync def test_c():\n    raises(f)\n"
    assert without_a_check([helper, tests]) == ["test_b"]
