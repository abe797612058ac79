"""Ctrl-C at any line of what changes a memory: the change is there whole or not at all, and the memory goes on."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import memvid_core
from memvid_core import Memory
from tests.core.embedders import embed

PACKAGE = str(Path(memvid_core.__file__).parent)
# Where state changes hands: elsewhere an interrupt is an exception like any other.
FUNCTIONS = {
    "transaction",
    "_change",
    "snapshot",
    "commit",
    "_apply",
    "swap",
    "go_on_with",
    "use",
    "catch_up",
    "follow",
    "_follow",
    "taken",
    "tried",
    "_waited",
    "_locked",
    "acquire",
    "_wait",
    "release",
    "lock_file",
    "_lock_file",
    "writing",
}

CHANGES: dict[str, tuple[Callable[[Memory], Any], set[str]]] = {
    "add": (lambda memory: memory.add(["new", "again"], ids=["new", "a"]), {"a", "b", "c", "new"}),
    "delete": (lambda memory: memory.delete(["a", "b"]), {"c"}),
    "compact": (lambda memory: memory.compact(), {"a", "b", "c"}),
    "search": (lambda memory: memory.search("text", mode="lexical"), {"a", "b", "c"}),
}


class InterruptAt:
    """Raises KeyboardInterrupt before the line that is the ``number``-th to run in FUNCTIONS."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen = 0
        self.first: dict[tuple[str, int], int] = {}  # of each line the number at which it ran first

    def __call__(self, frame: FrameType, event: str, _: Any) -> InterruptAt | None:
        code = frame.f_code
        if code.co_name not in FUNCTIONS or not code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            self.seen += 1
            self.first.setdefault((code.co_filename, frame.f_lineno), self.seen)
            if self.seen == self.number:
                raise KeyboardInterrupt
        return self

    def during(self, call: Callable[[], Any]) -> bool:
        """Whether the interrupt came while ``call`` ran."""
        before = sys.gettrace()
        sys.settrace(self)
        try:
            call()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False


# An interrupt between opening a file and keeping it leaves the closing to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("change", CHANGES)
def test_an_interrupt_at_any_line_leaves_all_or_nothing_and_a_memory_that_works(
    tmp_path: Path, change: str, effort: Callable[[int], int]
) -> None:
    call, after = CHANGES[change]
    base, path = tmp_path / "base.mp4", tmp_path / "m.mp4"
    with Memory.create(base, embed) as memory:
        memory.add(["text a", "text b", "text c", "text d"], ids=list("abcd"))
        memory.delete("d")
    lines = InterruptAt(0)
    shutil.copyfile(base, path)
    with Memory.open(path, "a", embedder=embed) as memory:
        lines.during(lambda: call(memory))
    numbers = set(range(1, lines.seen + 1))
    if effort(1) == 1 and change == "delete":
        numbers = set(range(3, lines.seen + 1, 3))  # its lines are those of "add"
    elif effort(1) == 1 and change == "compact":
        numbers = set(lines.first.values())  # the others run again
    came = 0
    for number in sorted(numbers):
        shutil.rmtree(f"{path}.index", ignore_errors=True)
        shutil.copyfile(base, path)
        with Memory.open(path, "a", embedder=embed) as memory:
            interrupted = InterruptAt(number).during(lambda memory=memory: call(memory))  # type: ignore[misc]
            with Memory.open(path, "a", embedder=embed, timeout=5) as other:
                other.add("of another", ids="other")  # the lock was given back
            came += interrupted
            there = set(memory.ids()) - {"other"}
            assert there == after or (interrupted and there == set("abc")), number
            memory.add("fresh", ids="fresh")
            assert set(memory.ids()) == there | {"fresh", "other"}, number
            assert memory.search("fresh", k=1, mode="lexical")[0].id == "fresh", number
            with Memory.open(path, embedder=embed) as reader:
                assert set(reader.ids()) == there | {"fresh", "other"}, number
                assert reader.verify().ok, number
    assert came > len(numbers) // 2 > 5
