"""Versions that were committed with a clock that is wrong are as good as others."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from memvid_core import Library
from memvid_core.library.building import claimed
from memvid_core.library.remote import objects_at
from tests.core.embedders import embed

YEAR = 365 * 24 * 3600 * 10**9


@pytest.mark.parametrize("years", [-30, 1, 5_000, 7_500])
@pytest.mark.parametrize("made", [True, False], ids=["made", "grown"])
def test_a_clock_that_is_years_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, years: int, made: bool) -> None:
    path, true = tmp_path / "library", time.time_ns
    shift = years * YEAR if made else 0
    monkeypatch.setattr(time, "time_ns", lambda: true() + shift)
    with Library.create(path, embed) as library:
        library.add(["one"], ids=["a"])
        shift = years * YEAR
        library.add(["two"], ids=["b"])
        shift = 0
        library.add(["three"], ids=["c"])
    with Library.open(path, "a", embedder=embed) as library:
        assert sorted(library.ids()) == ["a", "b", "c"]
        times = [version.time for version in library.history()]
        assert times == sorted(set(times))
        assert not library.verify().damage
        library.delete("b")
        library.vacuum(timedelta(0))
        assert sorted(library.ids()) == ["a", "c"]


@pytest.mark.parametrize("hours", [-5, 5])
@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_a_vacuum_goes_by_the_clock_that_dates_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int, kind: str
) -> None:
    path, true = str(tmp_path / "library") if kind == "folder" else f"memory://{tmp_path.name}/library", time.time_ns
    with Library.create(path, embed) as library:
        library.add(["one"], ids=["a"])
        library.add(["two"], ids=["b"])
        objects = objects_at(path)
        with claimed(objects) as name:  # a writer at work, on a machine with the same clock as the files
            objects.create(f"shards/{name}{'0' * 16}.mp4", b"being written")
            monkeypatch.setattr(time, "time_ns", lambda: true() + hours * 3600 * 10**9)
            assert library.vacuum(timedelta(hours=1)).versions == 0
            assert library.past(1).ids() == ["a"]
            library.vacuum(timedelta(0))
            assert objects.exists(f"shards/{name}{'0' * 16}.mp4")
        library.add(["three"], ids=["c"])  # dated by the wrong clock
        monkeypatch.undo()
        assert library.vacuum(timedelta(hours=1)).versions == 0
        assert library.vacuum(timedelta(0)).versions >= 1
        assert sorted(library.ids()) == ["a", "b", "c"]
        assert not library.verify().damage
