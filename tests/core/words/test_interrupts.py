"""Ctrl-C at any line of the word index: the next call answers rightly."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from memvid_core.words import lexical_index as lexical
from memvid_core.words import loaded_store, postings
from memvid_core.words.lexical_index import LexicalIndex

MODULES = {lexical.__file__, loaded_store.__file__, postings.__file__}


class InterruptAt:
    """Raises KeyboardInterrupt before the ``number``-th line to run in the word index."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen = 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> InterruptAt | None:
        if frame.f_code.co_filename not in MODULES:
            return None
        if event == "line":
            self.seen += 1
            if self.seen == self.number:
                raise KeyboardInterrupt
        return self

    def during(self, call: Callable[[], Any]) -> bool:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            call()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False


def use(index: LexicalIndex, size: int, live: np.ndarray[Any, Any]) -> None:
    index.sync()
    index.extend(index.rows, [f"row{n} common" for n in range(index.rows, index.rows + size)])
    index.search('common "row1 common"', 9, live=live)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("size", [1, 6])
def test_an_interrupt_at_any_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(postings, "TAIL_ROWS", 6)
    live = np.ones(999, np.bool_)
    live.flags.writeable = False
    interrupted, number = True, 0
    while interrupted:
        number += 1
        index, other = LexicalIndex(tmp_path / str(number)), LexicalIndex(tmp_path / str(number))
        index.extend(0, ["row0 common", "row1 common"])
        other.extend(0, ["row0 common", "row1 common", "row2 common"])
        interrupted = InterruptAt(number).during(lambda index=index: use(index, size, live))  # type: ignore[misc]
        use(index, 1, live)
        other.sync()
        assert index.rows == other.rows, number
        for one in (index, other):
            assert sorted(one.search("common", 99, live=live)[0].tolist()) == list(range(one.rows)), number
            for row in range(one.rows):
                assert one.search(f"row{row}", 9, live=live)[0].tolist() == [row], number
        (first, scores), (second, others) = index.search("common row1", 99), other.search("common row1", 99)
        assert first.tolist() == second.tolist()
        assert scores.tolist() == others.tolist(), number
        index.close()
        other.close()
    assert number > 80
