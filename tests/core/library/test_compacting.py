"""Compaction and vacuum: what counts stays, what was stays until a vacuum; killed or raced, nothing is lost."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memvid_core import (
    DamagedLibraryError,
    IncompleteSearchError,
    InvalidInputError,
    Library,
    ReadOnlyError,
    Record,
)
from memvid_core.library import manifest, state
from memvid_core.library.compacting import Plan
from memvid_core.library.manifest import FieldSummary, ShardEntry
from tests.core.embedders import embed
from tests.core.library.libraries import plain, records
from tests.processes import start

NOW = timedelta(0)


def files(library: Library) -> set[str]:
    """The names of all shards, models and lists of deleted rows."""
    root = Path(library.path)
    found = [path for folder in ("shards", "models", "deletes") for path in root.glob(f"{folder}/*")]
    return {path.relative_to(root).as_posix() for path in found if path.suffix != ".index"}


def entry(name: str, live: int, rows: int | None = None, **fields: FieldSummary) -> ShardEntry:
    rows = live if rows is None else rows
    return ShardEntry(name * 32, "", 1, "", rows, rows, live, 0, 0, "", fields)


def grouped(plan: Plan, *entries: ShardEntry) -> list[str]:
    return ["".join(one.name[0] for one in group) for group in plan.groups(entries)]


def test_which_shards_are_merged() -> None:
    small = [entry(name, 10) for name in "abcdef"]
    assert grouped(Plan(40, 0.2), *small) == ["abcd", "ef"]
    assert grouped(Plan(10, 0.2), *small) == []
    assert grouped(Plan(40, 0.2), small[0], entry("b", 21), small[2]) == []
    assert grouped(Plan(40, 0.2), entry("a", 30, 40), entry("b", 30, 31), entry("c", 0, 5)) == ["a", "c"]
    assert grouped(Plan(40, 1), entry("a", 30, 40), entry("c", 0, 5), entry("d", 1, 9)) == ["cd"]
    assert grouped(Plan(40, 0), entry("a", 39, 40)) == ["a"]
    ones, two = FieldSummary(numbers=(1,)), FieldSummary(numbers=(2,))
    parts = [entry("a", 9, year=ones), entry("b", 9, year=ones), entry("c", 0, year=two), entry("d", 9, year=two)]
    assert grouped(Plan(40, 0.2), *parts) == ["abc"]
    assert grouped(Plan(40, 0.2, keep_partitions=False), *parts) == ["abcd"]
    mixed = FieldSummary(numbers=(1, 9), strings=("a", "m"), ranges=True)
    assert grouped(Plan(40, 0.2), parts[0], entry("b", 9, year=mixed)) == ["ab"]
    assert grouped(Plan(40, 0.2), entry("a", 9, year=mixed), entry("b", 9, year=FieldSummary(strings=("n",)))) == []
    nothing = FieldSummary(others=True)
    assert grouped(Plan(40, 0.2), entry("a", 9, year=nothing), entry("b", 9, year=nothing)) == ["ab"]


@pytest.mark.parametrize("vectors", ["float16", "float32", "float64", "int8"])
def test_the_answers_are_the_same_before_and_after(tmp_path: Path, vectors: str) -> None:
    some = records(90)
    given = np.random.default_rng(1).normal(size=(90, 12))
    options: dict[str, Any] = {"vectors": vectors}
    with Library.create(tmp_path / "other", "given", **options) as library:
        library.build(zip(some, given, strict=True), rows_per_shard=15)
    with Library.open(tmp_path / "other") as library:
        library.delete([f"r{n}" for n in range(0, 90, 7)])
        asked: list[dict[str, Any]] = [
            {"mode": "lexical"},
            {"mode": "lexical", "where": {"topic": "wing"}},
            {"embedding": given[3], "mode": "dense", "with_vectors": True},
            {"embedding": given[3], "mode": "hybrid", "explain": True},
        ]
        before = [library.search("wing heat", k=99, **one) for one in asked]
        everything = list(library)
        report = library.compact(rows_per_shard=40)
        assert (report.replaced, report.written, report.dropped) == (6, 2, 13)
        assert list(library) == everything
        after = [library.search("wing heat", k=99, **one) for one in asked]
        assert list(map(plain, after)) == list(map(plain, before))
        again = library.compact(rows_per_shard=40)
        assert (again.replaced, again.written, again.version) == (0, 0, report.version)
        assert library.info().deleted == 0
        assert library.verify().ok


def test_the_order_of_records_stays_and_older_versions_too_until_a_vacuum(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        for number in range(4):
            library.add([f"text {number} {n}" for n in range(5)], ids=[f"{number} {n}" for n in range(5)])
        library.build([Record(f"big {n}", f"page {n}") for n in range(30)])
        library.add(["new text", "one more"], ids=["2 2", "more"])
        library.delete(["1 1"])
        now = list(library)
        assert library.compact(rows_per_shard=20).replaced == 4
        assert list(library) == now
        assert [one.change for one in library.history()][-2:] == ["delete", "compact"]
        assert len(files(library)) == 7 + 2  # with two lists of deleted rows, and no model
        opened = [Library.open(library.path, embedder=embed, as_of=number) for number in (4, 7)]
        with opened[0] as past, opened[1] as last:
            assert [len(past), len(last)] == [20, len(now)]
            wanted = plain(past.search("text 1", k=30))
            planned = library.vacuum(NOW, dry_run=True)
            assert plain(past.search("text 1", k=30)) == wanted
            report = library.vacuum(NOW)
            assert (report.versions, report.files, report.bytes) == (7, planned.files, planned.bytes)
            assert report.kept == ()
            assert [(one.number, one.change) for one in library.history()] == [(8, "compact"), (9, "vacuum")]
            assert library.version == 9
            with pytest.raises(InvalidInputError, match="there are 8 to 9"):
                Library.open(library.path, as_of=4)
            with pytest.raises(InvalidInputError, match="removed by vacuum"):
                Library.open(library.path, as_of=past.history()[0].time if past.history() else past.info().modified)
            with contextlib.suppress(IncompleteSearchError):  # some systems go on to answer from what is open
                assert plain(past.search("text 1", k=30)) == wanted
            with pytest.raises(IncompleteSearchError, match="vacuum"):
                last.search("text 1", mode="lexical")
        named = {f"shards/{Path(name).name}" for name in library.explain_shards()}
        assert files(library) == named
        assert list(library) == now
        assert library.verify() == Library.open(library.path, embedder=embed).verify()
        assert library.verify().ok
        assert library.add("after it")
        assert library.version == 10
        assert library.vacuum(NOW).versions == 2


def test_versions_and_files_are_kept_for_the_time_that_is_asked(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embed, cache_dir=tmp_path / "cache") as library:
        library.add(["one"], ids=["one"])
        library.add(["two"], ids=["two"])
        library.compact()
        assert library.vacuum() == library.vacuum(timedelta(hours=1))
        assert (library.vacuum().versions, library.vacuum().files) == (0, ())
        cached = list((tmp_path / "cache" / library.info().id).iterdir())
        assert len(cached) == 3
        report = library.vacuum(NOW)
        assert report.versions == 2
        assert len([name for name in report.files if name.endswith(".mp4")]) == 2
        assert len(list((tmp_path / "cache" / library.info().id).iterdir())) == 1
        for wrong in (timedelta(-1), 3, None, "a day"):
            with pytest.raises(InvalidInputError, match="older_than"):
                library.vacuum(wrong)  # type: ignore[arg-type]
        for arguments in ((0,), (True,), ("many",)):
            with pytest.raises(InvalidInputError, match="rows_per_shard"):
                library.compact(*arguments)
        for share in (-0.1, 1.1, "all", True, float("nan")):
            with pytest.raises(InvalidInputError, match="max_deleted"):
                library.compact(max_deleted=share)  # type: ignore[arg-type]
        with Library.open(library.path, embedder=embed, as_of=3) as past:
            for call in (past.compact, past.vacuum):
                with pytest.raises(ReadOnlyError):
                    call()


def test_only_what_a_library_writes_is_deleted(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        library.add(["one"])
        root = Path(library.path)
        one, two = "a" * 32, "b" * 64
        left = [
            f"shards/{one}.mp4",
            f"shards/.{one}.mp4.0123456789ab.writing",
            f"shards/{'c' * 32}.mp4.catalog.sqlite3",
            f"models/{two}",
            f"models/.{two}.0123456789ab.writing",
            f"deletes/{two}",
            "manifest/.00000000000000000002.json.0123456789ab.writing",
            ".library.json.0123456789ab.writing",
        ]
        foreign = ["shards/notes.mp4", "shards/readme.txt", "notes/a", "models/x", f"{one}.mp4", f"manifest/{one}.json"]
        for name in left + foreign:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x" * 10)
        assert library.vacuum().files == ()
        for path in root.rglob("*"):
            os.utime(path, (1, 1))
        os.utime(root / f"shards/.{one}.mp4.0123456789ab.writing")  # the same shard: it is being written
        report = library.vacuum()
        assert {name.removesuffix("/catalog.sqlite3") for name in left if one not in name} == set(report.files)
        assert report.bytes == 60
        os.utime(root / f"shards/.{one}.mp4.0123456789ab.writing", (1, 1))
        assert len(library.vacuum().files) == 2
        assert not any((root / name).exists() for name in left)
        assert all((root / name).exists() for name in foreign)
        assert len(library) == 1
        assert library.vacuum().files == ()


def test_a_damaged_manifest_that_stays_stops_a_vacuum(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        library.add(["one"])
        library.add(["two"])
        library.compact()
        before = files(library)
        paths = sorted(Path(library.path, "manifest").glob("*.json"))
        whole = paths[1].read_bytes()
        paths[1].write_bytes(whole[:-5])
        with pytest.raises(DamagedLibraryError, match=paths[1].name):
            library.vacuum()
        assert files(library) == before
        assert library.vacuum(NOW).versions == 2  # it goes, whatever it says
        assert library.verify().ok
        paths[0].write_bytes(b"removed by nobody\n")
        assert [one.name for one in library.verify().damage] == [f"manifest/{paths[0].name}"]


def test_what_others_change_while_shards_are_merged_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        Library.create(tmp_path / "library", embed) as library,
        Library.open(tmp_path / "library", embedder=embed) as other,
    ):
        for number in range(3):
            library.add([f"text {number} {n}" for n in range(4)], ids=[f"{number} {n}" for n in range(4)])
        library.delete(["0 0"])
        commit = manifest.commit_manifest
        changes = iter(
            [
                lambda: other.delete(["0 1", "2 3"]),
                lambda: other.add(["new"], ids=["1 2"]),
                lambda: None,
            ]
        )

        def after_another(*arguments: Any) -> Any:
            if arguments[1].change == "compact":
                next(changes)()
            return commit(*arguments)

        monkeypatch.setattr(state, "commit_manifest", after_another)
        report = library.compact()
        monkeypatch.undo()
        assert (report.replaced, report.written, report.dropped) == (3, 1, 1)
        kept = [f"{n} {m}" for n in range(3) for m in range(4) if f"{n} {m}" not in ("0 0", "0 1", "2 3", "1 2")]
        assert [record.id for record in library] == [*kept, "1 2"]
        assert library.get("1 2").text == "new"
        assert library.info().deleted == 3
        assert library.compact(max_deleted=0).dropped == 3
        assert [record.id for record in library] == [*kept, "1 2"]
        assert library.verify().ok


def test_against_a_model(tmp_path: Path, effort: Callable[[int], int]) -> None:
    for seed in range(effort(2)):
        rng = random.Random(seed)
        folder = tmp_path / str(seed)
        Library.create(folder, embed, partition_by=rng.choice([(), ("part",)])).close()
        library = Library.open(folder, embedder=embed)
        model: dict[str, Record] = {}
        states: list[dict[str, Record]] = [{}]
        oldest = 0
        for step in range(14):
            act = rng.choice(["build", "add", "delete", "compact", "compact", "vacuum", "open"])
            if act in ("build", "add"):
                made = [
                    Record(f"id{one}", f"text {step} {one}", {"part": rng.randrange(3)})
                    for one in rng.sample(range(30), rng.randrange(1, 12))
                ]
                if act == "build":
                    library.build(made, rows_per_shard=rng.randrange(1, 9))
                else:
                    library.add([r.text for r in made], [r.metadata for r in made], [r.id for r in made])
                for record in made:  # a replaced record moves to the end
                    model.pop(record.id, None)
                    model[record.id] = record
            elif act == "delete":
                part = {"part": rng.randrange(3)}
                assert library.delete(where=part) == len([r for r in model.values() if r.metadata == part])
                model = {key: record for key, record in model.items() if record.metadata != part}
            elif act == "compact":
                rows, share = rng.randrange(1, 40), rng.choice([0, 0.3, 1])
                found = library.compact(rows, max_deleted=share, keep_partitions=rng.random() < 0.5)
                assert (found.replaced > 0) == (library.version > len(states) - 1)
            elif act == "vacuum":
                library.vacuum(NOW)
                oldest = library.version
            else:
                library.close()
                library = Library.open(folder, embedder=embed)
            states += [dict(model)] * (library.version - len(states) + 1)
            assert list(library) == list(model.values())
            past = rng.randrange(oldest, len(states))
            with Library.open(folder, embedder=embed, as_of=past) as other:
                assert list(other) == list(states[past].values())
        library.compact(40, max_deleted=0, keep_partitions=False)
        library.vacuum(NOW)
        assert library.info().shards == bool(model)
        assert library.info().deleted == 0
        assert library.verify().ok
        assert len(files(library)) == bool(model)
        library.close()


COMPACT = """if True:
    import sys
    from datetime import timedelta
    from memvid_core import Library
    from tests.core.embedders import embed
    with Library.open(sys.argv[1], embedder=embed) as library:
        sys.stdin.readline()
        print(library.compact(rows_per_shard=20, max_deleted=0.1).version)
        if len(sys.argv) > 2:
            library.vacuum(timedelta(0))
"""


def test_two_compactions_and_a_writer_at_once_lose_nothing(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        for number in range(8):
            library.add([f"text {number} {n}" for n in range(3)], ids=[f"{number} {n}" for n in range(3)])
        workers = [start(COMPACT, library.path) for _ in range(2)]
        for worker in workers:
            worker.stdin.write("\n")
            worker.stdin.flush()
        library.add(["new"], ids=["3 1"])
        library.delete(["4 1", "7 2"])
        for worker in workers:
            said, failed = worker.communicate()
            assert failed == ""
            assert int(said)
        library.refresh()
        wanted = [f"{n} {m}" for n in range(8) for m in range(3) if f"{n} {m}" not in ("3 1", "4 1", "7 2")]
        assert [record.id for record in library] == [*wanted, "3 1"]
        assert library.verify().ok
        assert library.compact(rows_per_shard=20).version >= library.version
        assert library.info().shards <= 3
        library.vacuum(NOW)
        assert library.verify().orphans == ()
        assert [record.id for record in library] == [*wanted, "3 1"]


KILLED = """if True:
    import os, signal, sys
    from datetime import timedelta
    from pathlib import Path
    from memvid_core import Library
    from tests.core.embedders import embed

    left = [int(sys.argv[2])]

    def counted(call):
        def counting(*arguments, **options):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)
        return counting

    with Library.open(sys.argv[1], embedder=embed) as library:
        for name in ("link", "replace", "unlink", "fsync"):
            setattr(os, name, counted(getattr(os, name)))
        library.compact(rows_per_shard=20, max_deleted=0)
        library.vacuum(timedelta(0))
        print(left[0])
"""


def test_killed_at_any_moment_nothing_that_counts_is_lost(tmp_path: Path, effort: Callable[[int], int]) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        for number in range(6):
            library.add([f"text {number} {n}" for n in range(4)], ids=[f"{number} {n}" for n in range(4)])
        library.delete(["0 0", "5 3"])
        wanted = list(library)
    calls = 400 - int(start(KILLED, shutil.copytree(library.path, tmp_path / "whole"), 400).communicate()[0])
    rng = random.Random(3)
    for number in [*rng.sample(range(1, calls), effort(3)), calls]:
        copy = shutil.copytree(library.path, tmp_path / f"killed at {number}")
        start(KILLED, copy, number).communicate()
        with Library.open(copy, embedder=embed) as again:
            assert list(again) == wanted
            assert again.verify().ok
            again.compact(rows_per_shard=20, max_deleted=0)
            again.vacuum(NOW)
            assert list(again) == wanted
            assert again.verify().ok
            assert len(files(again)) == 2
            assert len(list(Path(copy, "shards").iterdir())) == 4  # with their indexes
