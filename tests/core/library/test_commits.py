"""Commits to a library: one of several writers wins, the others commit on top of it; a killed build changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from memvid_core import CommitConflictError, Library, MemoryExistsError, Record, StorageError
from memvid_core.library import manifest, reading, state
from memvid_core.library.objects import LocalObjects
from memvid_core.library.remote import RemoteObjects
from tests.core.embedders import embed
from tests.core.library.libraries import records
from tests.processes import start

ADD = """if True:
    import sys
    from memvid_core import Library
    from tests.core.embedders import embed
    path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with Library.open(path, embedder=embed) as library:
        sys.stdin.readline()
        for number in range(count):
            library.add([f"{name} {number}", f"shared {name}"], ids=[f"{name} {number}", "shared"])
        print(library.version)
"""

BUILD = """if True:
    import os, signal, sys
    from memvid_core import Library, Record
    from tests.core.embedders import embed

    def until(number):
        for n in range(40):
            if n == number:
                os.kill(os.getpid(), signal.SIGKILL)
            yield Record(f"new {n}", f"text {n}")

    with Library.open(sys.argv[1], embedder=embed) as library:
        library.build(until(int(sys.argv[2])), rows_per_shard=10)
"""


def test_no_commit_of_several_processes_is_lost(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        library.add(["first"], ids=["first"])
        writers = [start(ADD, library.path, name, 3) for name in "abc"]
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()
        for writer in writers:
            said, failed = writer.communicate()
            assert failed == ""
            assert said
        assert library.refresh() == 10
        assert {record.id for record in library} == {"first", "shared", *(f"{n} {i}" for n in "abc" for i in range(3))}
        assert [version.number for version in library.history()] == list(range(1, 11))
        assert library.verify().ok


@pytest.mark.parametrize("killed_at", [5, 25])
def test_a_killed_build_leaves_the_library_as_it_was(tmp_path: Path, killed_at: int) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        library.build(records(20))
        process = start(BUILD, library.path, killed_at)
        process.communicate()
        assert library.refresh() == 1
        assert len(library) == 20
        report = library.verify()
        assert report.ok
        assert len(report.orphans) == killed_at // 10 + 1
        assert library.build([Record("new", "text")]).version == 2


def test_the_name_of_a_manifest_is_taken_once(tmp_path: Path) -> None:
    objects, won = LocalObjects(tmp_path), []
    objects.make_folder("manifest")
    ready = threading.Barrier(8)

    def commit(number: int) -> None:
        ready.wait()
        try:
            objects.create("manifest/1", b"%d" % number)
        except FileExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert objects.read("manifest/1") == b"%d" % won[0]
    assert len(won) == 1
    assert objects.names("manifest") == ["1"]


def test_a_file_system_without_links_has_one_winner_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refused)
    monkeypatch.setattr("os.name", "posix")
    objects = LocalObjects(tmp_path)
    objects.create("library.json", b"1")
    objects.make_folder("manifest")
    objects.create("manifest/1", b"2")
    with pytest.raises(FileExistsError):
        objects.create("manifest/1", b"3")
    assert objects.read("manifest/1") == b"2"
    assert objects.names("manifest") == ["1"]


def test_a_writer_that_is_never_first_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        Library.create(tmp_path / "library", embed) as one,
        Library.open(tmp_path / "library", embedder=embed) as other,
    ):
        commit = manifest.commit_manifest

        def after_another(*arguments: object) -> bool:
            monkeypatch.setattr(state, "commit_manifest", commit)
            other.add(["faster"])
            monkeypatch.setattr(state, "commit_manifest", after_another)
            return commit(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(state, "commit_manifest", after_another)
        monkeypatch.setattr(state, "TRIES", 2)
        with pytest.raises(CommitConflictError, match="try again"):
            one.add(["slower"])
        monkeypatch.undo()
        assert [record.text for record in Library.open(one.path, embedder=embed)] == ["faster"] * 2
        assert one.verify().orphans == ()
        assert one.add(["slower"])
        assert len(one) == 3


def test_a_full_disk_leaves_the_library_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library.create(tmp_path / "library", embed) as library:
        library.add(["one"])

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(StorageError):
            library.add(["two"])
        monkeypatch.undo()
        assert library.refresh() == 1
        assert [record.text for record in library] == ["one"]
        assert not list(Path(library.path).rglob("*.writing"))


def sent_again(create: Callable[..., None], *arguments: Any) -> None:
    """A request that is answered late, so that the file system sends it again."""
    create(*arguments)
    create(*arguments)


def not_answered(create: Callable[..., None], *arguments: Any) -> None:
    """A request that no answer comes to, however often it is sent."""
    with suppress(MemoryExistsError):
        create(*arguments)
    raise StorageError("the server does not answer in time")


@pytest.mark.parametrize("lost", [sent_again, not_answered])
def test_what_was_created_although_the_answer_was_lost_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: Callable[..., None]
) -> None:
    create = LocalObjects.create
    names: list[str] = []

    def created(objects: LocalObjects, name: str, data: bytes) -> None:
        names.append(name)
        (create if names.count(name) > 1 else partial(lost, create))(objects, name, data)

    monkeypatch.setattr(LocalObjects, "create", created)
    with Library.create(tmp_path / "library", embed) as library:
        library.add(["one", "two"])
        library.add(["three"], ids=["3"])
        assert library.delete(["3"]) == 1
        assert (library.version, [record.text for record in library]) == (3, ["one", "two"])
        assert library.verify().ok
    assert {name.partition("/")[0] for name in names} == {"library.json", "manifest", "deletes"}


@pytest.mark.parametrize("compact", [True, False])
def test_a_commit_whose_answer_was_lost_counts_once_even_if_its_version_was_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compact: bool
) -> None:
    create = LocalObjects.create
    with (
        Library.create(tmp_path / "library", embed) as library,
        Library.open(tmp_path / "library", embedder=embed) as other,
    ):
        library.add(["one"])

        def lost(objects: LocalObjects, name: str, data: bytes) -> None:
            create(objects, name, data)
            monkeypatch.undo()
            other.add(["three"])
            if compact:
                other.compact()
            other.vacuum(timedelta(0))
            raise StorageError("the server does not answer in time")

        def lost_commit(objects: LocalObjects, name: str, data: bytes) -> None:
            (lost if name.startswith("manifest/") else create)(objects, name, data)

        monkeypatch.setattr(LocalObjects, "create", lost_commit)
        library.add(["two"])
        library.refresh()
        assert [record.text for record in library] == ["one", "two", "three"]
        assert library.verify().ok


def test_who_cannot_know_whether_a_commit_was_made_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMVID_CACHE_DIR", str(tmp_path / "cache"))
    create = RemoteObjects.create

    def lost(objects: RemoteObjects, name: str, data: bytes) -> None:
        not_answered(create, objects, name, data)

    with Library.create(f"memory://{tmp_path.name}/library", embed) as library:
        library.add(["one"])
        monkeypatch.setattr(RemoteObjects, "create", lost)
        with pytest.raises(StorageError, match=r"does not answer.* not known whether version 2 was committed"):
            library.add(["two"])
        monkeypatch.undo()
        assert library.refresh() == 2
        assert [record.text for record in library] == ["one", "two"]


@pytest.mark.parametrize("refused", [1, 2, 9])
@pytest.mark.parametrize("folder", ["manifest", "deletes"])
def test_a_name_that_is_taken_and_is_not_there_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int, folder: str
) -> None:
    url, put, left = f"memory://{tmp_path.name}/library", MemoryFileSystem.pipe_file, 0

    def refusing(self: MemoryFileSystem, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        nonlocal left
        if left and mode == "create" and f"/{folder}/" in path:  # S3's 409, while another request is under way
            left -= 1
            raise FileExistsError(path)
        put(self, path, value, mode=mode, **options)

    with Library.create(url, embed) as library:
        library.add(["one", "two"], ids=["a", "b"])
        monkeypatch.setattr(MemoryFileSystem, "pipe_file", refusing)
        left = refused
        if refused < 3:
            library.delete("a")
        else:
            with pytest.raises(StorageError, match="has it not; try again"):
                library.delete("a")
            left = 0
            library.delete("a")
        assert library.ids() == ["b"]
        assert library.version == 2
        assert not library.verify().damage


def test_a_refresh_does_not_undo_what_another_thread_has_read_meanwhile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened = state.open_state

    def slowly(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        found = opened(*arguments, **options)
        thread = threading.Thread(target=library.add, args=(["new"],), kwargs={"ids": ["new"]})
        thread.start()
        thread.join()
        return found

    with Library.create(tmp_path / "library", embedder=embed) as library:
        library.add(["old"], ids=["old"])
        monkeypatch.setattr(reading, "open_state", slowly)
        assert library.refresh() == 2
        assert "new" in library
