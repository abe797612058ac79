"""A vacuum that deletes every older version while a library is read or written: the newest version is taken instead."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from memvid_core import (
    CommitConflictError,
    DamagedLibraryError,
    IncompleteSearchError,
    Library,
    MemoryFileError,
    Record,
)
from memvid_core.library.executor import Questions, ThreadExecutor
from memvid_core.library.manifest import newest_version
from memvid_core.library.state import open_state
from tests.core.embedders import embed
from tests.core.library.libraries import records
from tests.core.library.stepping import Stepping

SOME = records(12)
BEFORE = {record.id for record in SOME} - {"r1"}
LEFT = BEFORE - {"r2"}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A library of four shards, in two of which records are deleted."""
    path = tmp_path / "made"
    with Library.create(path, embed) as library:
        library.build(SOME, rows_per_shard=3)
        library.delete(["r1"])
    return path


class Changing:
    """Change and vacuum a library: whatever was read of it before is gone afterwards."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.times = 0

    def __call__(self) -> None:
        with Library.open(self._path, embedder=embed) as library:
            if not self.times:
                library.delete(["r2"])
                library.compact(max_deleted=0)
            else:
                library.build([record for record in SOME if record.id in LEFT])
                library.compact(max_deleted=0)
            self.times += 1
            library.vacuum(timedelta(0))


class Asked(ThreadExecutor):
    """An executor; another program runs before the shards are asked for the ``at``-th time, or each time."""

    def __init__(self, other: Callable[[], object], at: int | None) -> None:
        super().__init__()
        self._other, self._at = other, at
        self.calls = 0

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        """Ask shards."""
        self.calls += 1
        if self._at in (None, self.calls):
            self._other()
        return super().ask(call, questions, timeout)


READS: dict[str, Callable[[Library], object]] = {
    "search": lambda library: {hit.id for hit in library.search("wing heat", 20)} <= BEFORE,
    "allowed": lambda library: library.search("wing heat", 20, mode="lexical", partial="allow").report.failed == {},
    "mmr": lambda library: {hit.id for hit in library.mmr("wing heat", 20)} <= BEFORE,
    "get": lambda library: library.get("r0").id == "r0",
    "vectors": lambda library: list(library.get_vectors(["r0", "r5"])) == ["r0", "r5"],
    "contains": lambda library: "r5" in library and "r1" not in library,
    "select": lambda library: LEFT <= {r.id for r in library.select(order_by="n")} <= BEFORE,
    "ids": lambda library: LEFT <= set(library.ids()) <= BEFORE,
    "records": lambda library: LEFT <= {record.id for record in library} <= BEFORE,
}
WRITES: dict[str, Callable[[Library], object]] = {
    "add": lambda library: library.add(["new", "again"], ids=["new", "r5"]),
    "build": lambda library: library.build([Record("new", "new"), Record("r5", "again")], rows_per_shard=1),
    "delete": lambda library: library.delete(["r5", "r7"]) == 2,
    "filter": lambda library: library.delete(where={"n": {"$gte": 0}}),
    "compact": lambda library: library.compact(rows_per_shard=7, max_deleted=0) is not None,
    "vacuum": lambda library: library.vacuum(timedelta(0)) is not None,
    "verify": lambda library: library.verify().damage == (),
    "history": lambda library: library.history() is not None,
    "refresh": lambda library: library.refresh() > 0,
}


def kept(act: str) -> set[str]:
    """The ids after a write, whether the other deleted before it or after it."""
    if act in ("add", "build"):
        return LEFT | {"new"}
    return LEFT - {"r5", "r7"} if act == "delete" else set() if act == "filter" else LEFT


@pytest.mark.parametrize("read", READS)
def test_reads_between_whose_questions_all_files_are_replaced(made: Path, tmp_path: Path, read: str) -> None:
    number = 0
    while True:
        number += 1
        path = Path(shutil.copytree(made, tmp_path / str(number)))
        other = Changing(path)
        executor = Asked(other, number)
        with Library.open(path, embedder=embed, executor=executor) as library:
            assert READS[read](library), number
        executor.close()
        if not other.times:
            break
    assert number > 1


@pytest.mark.parametrize("act", [*WRITES, *READS])
def test_calls_between_whose_steps_all_files_are_replaced(made: Path, tmp_path: Path, act: str) -> None:
    number = 0
    while True:
        number += 1
        path = Path(shutil.copytree(made, tmp_path / str(number)))
        other = Changing(path)
        with Library.open(path, embedder=embed) as library:
            stepping: Any = Stepping(library._place.objects, number, other)
            library._place = replace(library._place, objects=stepping)
            assert (WRITES | READS)[act](library), number
            library.refresh()
            if other.times and act in WRITES:
                assert set(library.ids()) == kept(act), number
                assert library.verify().ok, number
                assert len(library) == len(kept(act))
        if stepping.calls < number:
            break
        assert number < 400


@pytest.mark.parametrize("act", ["delete", "add"])
def test_writes_before_whose_every_question_files_are_replaced(
    made: Path, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memvid_core.library.state.TRIES", 4)
    executor = Asked(Changing(made), None)
    with Library.open(made, embedder=embed, executor=executor) as library:
        with pytest.raises(CommitConflictError, match="try again"):
            WRITES[act](library)
        assert library.verify().damage == ()
    executor.close()
    with Library.open(made, embedder=embed) as library:
        assert set(library.ids()) == LEFT
        library.vacuum(timedelta(0))
        assert library.verify().orphans == ()


@pytest.mark.parametrize("read", ["search", "get", "records"])
def test_reads_before_whose_every_question_files_are_replaced(
    made: Path, read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memvid_core.library.state.TRIES", 4)
    executor = Asked(Changing(made), None)
    with (
        Library.open(made, embedder=embed, executor=executor) as library,
        pytest.raises(CommitConflictError, match="older_than"),
    ):
        READS[read](library)
    executor.close()


def test_an_iteration_whose_files_are_replaced_says_so(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memvid_core.library.reading.PAGE", 2)
    executor = ThreadExecutor(open_shards=1)
    with Library.open(made, embedder=embed, executor=executor) as library:
        found = iter(library)
        assert [next(found).id, next(found).id] == ["r0", "r2"]
        Changing(made)()
        with pytest.raises(CommitConflictError, match="begin again"):
            list(found)
        assert {record.id for record in library} == LEFT
    executor.close()


def test_an_iteration_stays_on_its_version(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memvid_core.library.reading.PAGE", 2)
    with Library.open(made, embedder=embed) as library:
        found = iter(library)
        before = [next(found).id]
        library.compact(max_deleted=0)
        library.delete(["r7"])
        assert [*before, *(record.id for record in found)] == [r.id for r in SOME if r.id != "r1"]


def test_a_version_of_the_past_that_is_vacuumed_is_named(made: Path) -> None:
    with Library.open(made, embedder=embed, as_of=2) as past:
        Changing(made)()
        for read in READS:
            if read in ("search", "mmr"):
                with pytest.raises(IncompleteSearchError):
                    READS[read](past)
            elif read != "allowed":
                with pytest.raises(DamagedLibraryError, match=r"was removed by vacuum\(\)"):
                    READS[read](past)


def test_files_that_are_missing_without_a_vacuum_are_named_at_once(made: Path) -> None:
    with Library.open(made, embedder=embed) as library, Library.open(made, embedder=embed) as other:
        other.add(["later"])  # a newer version names the missing file as well
        for path in (made / "deletes").iterdir():
            path.unlink()
        for read in ("get", "ids", "records", "select", "vectors", "contains"):
            with pytest.raises(MemoryFileError, match="deletes/"):
                READS[read](library)
        for act in ("compact", "delete"):
            with pytest.raises(MemoryFileError, match="deletes/"):
                WRITES[act](library)
        assert newest_version(library._place.objects) == 3
        assert open_state(library._place).manifest.version == 3
