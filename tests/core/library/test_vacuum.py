"""A vacuum beside writers: at whatever moment each of them runs, what a version names is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest

from memvid_core import DamagedLibraryError, Library, Record, StorageError
from memvid_core.library import claims
from memvid_core.library.building import ShardBuilder
from memvid_core.library.manifest import Manifest, commit_manifest
from memvid_core.library.objects import Objects
from memvid_core.library.remote import objects_at
from memvid_core.library.state import Change, Place, State, committed, open_state
from memvid_core.library.vacuuming import vacuumed
from tests.core.embedders import embed
from tests.core.library.libraries import records
from tests.core.library.stepping import Stepping
from tests.processes import start

NOW = timedelta(0)
SOME = records(12)


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a library is made: a folder, or an object store."""
    monkeypatch.setenv("MEMVID_CACHE_DIR", str(tmp_path / "cache"))
    return str(tmp_path / "library") if request.param == "folder" else f"memory://{tmp_path.name}/library"


def copied(url: str, number: int) -> str:
    """A copy of a library."""
    if "://" not in url:
        return str(shutil.copytree(url, f"{url}-{number}"))
    fs, root = fsspec.core.url_to_fs(url)
    for name in fs.find(root):
        fs.pipe_file(f"{root}-{number}{name[len(root) :]}", fs.cat_file(name))
    return f"{url}-{number}"


def placed(url: str) -> tuple[Library, Place]:
    library = Library.open(url, embedder=embed)
    return library, library._place


def unclaimed(place: Place) -> Change:
    """The shards of a writer that was suspended until its claim had ended."""
    state = open_state(place)
    builder = ShardBuilder(place.objects, place.description, "0" * 16, state.vectors.embedder, 3)
    built = builder.build([Record(f"new {n}", f"new text {n}") for n in range(6)])
    return Change("build", built, state.vectors.embedder, "", state.manifest.vacuum)


def deleting(place: Place) -> Change:
    return Change("delete", deleted=lambda state: {0: [1, 2]} if state.manifest.shards[0].live > 2 else {})


def prepared(url: str) -> None:
    """A library with versions and files that a vacuum deletes."""
    with Library.create(url, embed) as library:
        library.build(SOME, rows_per_shard=4)
        library.delete(["r1"])
        library.compact(rows_per_shard=12, max_deleted=0)
        library.add(["later"], ids=["later"])


@pytest.mark.parametrize("writer", [unclaimed, deleting])
@pytest.mark.parametrize("first", ["vacuum", "writer"])
def test_whatever_runs_between_two_steps_of_the_other_no_file_that_counts_is_deleted(
    url: str, writer: Callable[[Place], Change], first: str
) -> None:
    prepared(url)
    made, place = placed(url)
    with made:
        change = writer(place)  # what it has written is in each copy
    number = committed_ones = 0
    while True:
        number += 1
        library, place = placed(copied(url, number))
        outcome: list[State] = []

        def write(place: Place = place, outcome: list[State] = outcome) -> None:
            with suppress(StorageError):
                outcome.append(committed(place, change)[0])

        def clean(place: Place = place) -> None:
            with suppress(DamagedLibraryError):  # a manifest that another vacuum removed
                vacuumed(place, NOW, dry_run=False)

        if first == "vacuum":
            stepping = Stepping(place.objects, number, write)
            clean(replace(place, objects=stepping))
        else:
            stepping = Stepping(place.objects, number, clean)
            write(replace(place, objects=stepping))
        ended = stepping.calls < number
        with library:
            library.refresh()
            assert library.verify().damage == (), (number, first)
            if outcome and writer is unclaimed:
                assert {f"new {n}" for n in range(6)} <= set(library.ids()), (number, first)
            committed_ones += bool(outcome)
            library.vacuum(NOW)
            report = library.verify()
            assert report.ok
            assert report.orphans == ()
        if ended:
            break
    assert number >= 5
    assert committed_ones


def test_a_writer_that_goes_on_while_a_vacuum_is_suspended_commits_nothing_that_it_deletes(url: str) -> None:
    prepared(url)
    made, place = placed(url)
    with made:
        change = unclaimed(place)
    number = told = 0
    while True:
        number += 1
        library, place = placed(copied(url, number))
        done: list[object] = []

        def go_on(place: Place = place, done: list[object] = done) -> None:
            with place.objects.claim(f"writing/{'0' * 16}"):
                for step in (lambda: vacuumed(place, NOW, dry_run=False), lambda: committed(place, change)):
                    with suppress(StorageError, DamagedLibraryError):
                        done.append(step())

        stepping = Stepping(place.objects, number, go_on)
        with suppress(DamagedLibraryError):  # a manifest that the other vacuum removed
            vacuumed(replace(place, objects=stepping), NOW, dry_run=False)
        with library:
            library.refresh()
            assert library.verify().damage == (), number
            told += len(done) < 2
            library.vacuum(NOW)
            assert library.verify().orphans == ()
        if stepping.calls < number:
            break
    assert 0 < told < number


def test_a_list_of_a_killed_vacuum_is_finished_by_the_next_one(url: str) -> None:
    prepared(url)
    total = 0
    for number in range(1, 60):
        library, place = placed(copied(url, number))

        def die() -> None:
            raise KeyboardInterrupt

        stepping: Any = Stepping(place.objects, number, die)
        with suppress(KeyboardInterrupt):
            vacuumed(replace(place, objects=stepping), NOW, dry_run=False)
        with library:
            library.refresh()
            assert library.verify().damage == ()
            ids = library.ids()
            first = library.vacuum(timedelta(days=1)).files  # what was listed needs no age
            library.vacuum(NOW)
            library.vacuum(NOW)
            shards = {name for name in objects_at(url + f"-{number}").listing("shards") if name.endswith(".mp4")}
            assert {f"shards/{name}" for name in shards} == set(library.explain_shards())
            assert library.ids() == ids
            total += len(first)
        if stepping.calls < number:
            break
    assert total > 0
    assert stepping.calls < number


def test_files_of_a_running_build_stay_however_old(url: str) -> None:
    with Library.create(url, embed) as library, Library.open(url, embedder=embed) as other:
        library.add(["one"])

        def slowly() -> Iterator[Record]:
            yield from SOME[:8]  # shards are sealed, and one is not
            if "://" not in url:
                for path in Path(url, "shards").rglob("*"):
                    os.utime(path, (1, 1))
            assert other.vacuum(NOW).files == ()
            yield SOME[8]
            assert other.vacuum(NOW).files == ()
            yield from SOME[9:]

        assert library.build(slowly(), rows_per_shard=2).added == 12
        assert len(library) == 13
        assert library.verify().ok
        assert objects_at(url).listing("writing") == {}


def test_a_writer_whose_claim_has_ended_is_told(url: str) -> None:
    prepared(url)
    library, place = placed(url)
    with library:
        change = unclaimed(place)
        assert any("0" * 16 in name for name in library.vacuum(NOW).files)
        with pytest.raises(StorageError, match="suspended"):
            committed(place, change)
        assert library.refresh() == 5
        assert library.verify().ok


def test_the_claim_of_a_dead_process_does_not_last(tmp_path: Path) -> None:
    path = tmp_path / "library"
    Library.create(path, embed).close()
    child = start(BUILD, path)
    assert child.stdout.readline() == "written\n"
    with Library.open(path, embedder=embed) as library:
        assert len(objects_at(str(path)).listing("writing")) == 1
        assert library.vacuum(NOW).files == ()
        child.kill()
        child.wait()
        gone = library.vacuum(NOW).files
        assert {name.partition("/")[0] for name in gone} == {"shards", "writing"}
        assert objects_at(str(path)).listing("shards") == {}
    child.communicate()


BUILD = """if True:
    import sys
    from memvid_core import Library, Record
    from tests.core.embedders import embed

    def forever():
        for number in range(7):
            yield Record(str(number), f"text {number}")
        print("written", flush=True)
        sys.stdin.read()

    with Library.open(sys.argv[1], embedder=embed) as library:
        library.build(forever(), rows_per_shard=2)
"""


def test_a_claim_is_renewed(url: str) -> None:
    objects = objects_at(url)
    objects.prepare()
    renewals: list[object] = []
    with claims.renewed(lambda: renewals.append(1), every=0.001):
        while len(renewals) < 3:
            pass
    with objects.claim("writing/0123456789abcdef"):
        [state] = objects.listing("writing").values()
        assert objects.is_claimed("writing/0123456789abcdef", state.modified, state.modified)
        objects.remove("writing/0123456789abcdef") if "://" not in url else None
        assert list(objects.listing("writing")) == ["0123456789abcdef"]
    assert objects.listing("writing") == {}
    assert not objects.is_claimed("writing/0123456789abcdef", 5, state.modified)


def test_a_vacuum_before_each_commit_keeps_no_delete_from_committing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    with Library.create(url, embed) as library, Library.open(url, embedder=embed) as other:
        library.add(["one", "two"], ids=["a", "b"])

        def late(objects: Objects, manifest: Manifest) -> bool:
            tried.append(manifest.version)
            other.vacuum(NOW)
            return commit_manifest(objects, manifest)

        monkeypatch.setattr("memvid_core.library.state.commit_manifest", late)
        library.delete(["a"])
        assert len(tried) <= 3
        assert [*library.ids()] == ["b"]
        library.vacuum(NOW)
        assert library.verify().orphans == ()


WRITE = """if True:
    import sys
    from memvid_core import Library
    from tests.core.embedders import embed
    with Library.open(sys.argv[1], embedder=embed) as library:
        sys.stdin.readline()
        for number in range(int(sys.argv[3])):
            library.add([f"{sys.argv[2]} {number}"], ids=[f"{sys.argv[2]} {number}"])
            if number % 3 == 2:
                library.delete([f"{sys.argv[2]} {number - 1}"])
"""

CLEAN = """if True:
    import sys, threading
    from datetime import timedelta
    from memvid_core import Library
    from tests.core.embedders import embed
    done = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    with Library.open(sys.argv[1], embedder=embed) as library:
        rounds = 0
        while not done.is_set():
            getattr(library, sys.argv[2])(*([timedelta(0)] if sys.argv[2] == "vacuum" else [50]))
            rounds += 1
        print(rounds)
"""


def test_writers_a_compaction_a_vacuum_and_a_reader_at_once(tmp_path: Path) -> None:
    path = tmp_path / "library"
    with Library.create(path, embed) as library:
        library.add(["before"], ids=["before"])
        helpers = [start(CLEAN, path, act) for act in ("vacuum", "compact")]
        writers = [start(WRITE, path, name, 9) for name in "ab"]
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()
        while any(writer.poll() is None for writer in writers):
            assert library.search("before", 1, mode="lexical")[0].id == "before"
            assert library.get("before").text == "before"
            assert "before" in library.ids()
        for process in (*writers, *helpers):
            assert process.communicate()[1] == ""
        library.refresh()
        gone = {f"{name} {n - 1}" for name in "ab" for n in (2, 5, 8)}
        assert set(library.ids()) == {"before", *(f"{name} {n}" for name in "ab" for n in range(9))} - gone
        assert library.verify().ok
        library.vacuum(NOW)
        assert library.verify().orphans == ()


def test_what_was_listed_by_a_vacuum_is_hostile(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        library.add(["one"])
        library.add(["two"])
        library.compact()
        library.vacuum(NOW)
        [path] = Path(library.path, "vacuums").iterdir()
        path.write_bytes(b"[[]]")
        assert [one.name for one in library.verify().damage] == [f"vacuums/{path.name}"]
        library.add(["three"])
        library.add(["four"])
        library.compact()
        assert len([name for name in library.vacuum(NOW).files if name.endswith(".mp4")]) == 3
        library.vacuum(NOW)
        assert library.verify().ok
        assert _texts(library) == ["one", "two", "three", "four"]


def _texts(library: Library) -> Sequence[str]:
    return [record.text for record in library]


@pytest.mark.parametrize("folder", ["shards", "models", "deletes", "vacuums", "writing", "manifest"])
def test_no_vacuum_deletes_the_files_of_another_library_through_a_link(tmp_path: Path, folder: str) -> None:
    path, disk = tmp_path / "library", tmp_path / "disk"
    with Library.create(path) as library:
        library.add(["one"], ids=["1"])
    (path / folder).mkdir(exist_ok=True)
    (path / folder).rename(disk)
    (path / folder).symlink_to(disk)
    shutil.copytree(path, tmp_path / "copy", symlinks=True)
    with Library.open(path) as library:
        library.add(["two"], ids=["2"])
        library.delete(["1"])
    before = sorted(disk.rglob("*"))
    with Library.open(tmp_path / "copy") as copy:
        for dry_run in (True, False):
            with pytest.raises(StorageError, match=f"{folder} in .* is a symbolic link"):
                copy.vacuum(timedelta(0), dry_run=dry_run)
    assert sorted(disk.rglob("*")) == before
    with Library.open(path) as library:
        assert [record.text for record in library.get(["2"])] == ["two"]


def test_a_library_behind_a_link_is_vacuumed(tmp_path: Path) -> None:
    with Library.create(tmp_path / "disk") as library:
        library.add(["one"], ids=["1"])
    (tmp_path / "library").symlink_to(tmp_path / "disk")
    with Library.open(tmp_path / "library") as library:
        library.delete(["1"])
        library.add(["two"], ids=["2"])
        library.vacuum(timedelta(0))
        assert [record.text for record in library.get(["2"])] == ["two"]
        assert library.verify().ok
