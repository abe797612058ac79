"""Commits made with a clock that is wrong are as good as others, and their times can be read."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from memvid_core import Memory

VECTORS = np.eye(8, dtype=np.float32)
YEAR = 365 * 24 * 3600 * 10**9


@pytest.mark.parametrize("years", [-2_000, -60, -1, 1, 7_000, 9_000, 200_000])
@pytest.mark.parametrize("made", [True, False], ids=["made", "grown"])
def test_a_clock_that_is_years_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, years: int, made: bool) -> None:
    path, true = tmp_path / "m.mp4", time.time_ns
    shift = years * YEAR if made else 0
    monkeypatch.setattr(time, "time_ns", lambda: true() + shift)
    with Memory.create(path, "given") as memory:
        memory.add("a", ids="a", vectors=VECTORS[:1])
        shift = years * YEAR
        memory.add("b", ids="b", vectors=VECTORS[1:2])
        shift = 0
        memory.add("c", ids="c", vectors=VECTORS[2:3])
        times = [commit.time for commit in memory.history()]
        assert times == sorted(times)
        assert memory.info().modified == times[-1]
        assert memory.verify().ok
    shutil.rmtree(f"{path}.index")
    with Memory.open(path, embedder="given") as memory:
        assert memory.ids() == ["a", "b", "c"]
        assert [commit.time for commit in memory.history()] == times
        assert memory.info().created <= times[0]
    with Memory.open(path, as_of=datetime.max.replace(tzinfo=UTC), embedder="given") as memory:
        assert len(memory) == 3
