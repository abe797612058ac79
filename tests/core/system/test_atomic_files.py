"""Files that appear complete or not at all, however many write them and whenever a writer is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from memvid_core import Memory, MemoryNotFoundError, MemvidError, StorageError
from memvid_core.system import atomic_files
from memvid_core.system.atomic_files import (
    being_compacted,
    compaction_path,
    create_file,
    held,
    remove_all_left,
    remove_left,
    replacing,
    write_file,
    writing_file,
)

Write = Callable[[Path, bytes], None]


@pytest.fixture(params=[write_file, create_file], ids=["write", "create"])
def write(request: pytest.FixtureRequest) -> Write:
    function: Write = request.param
    return function


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_nothing_else_is_left(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "a.json", b"one")
    assert (tmp_path / "a.json").read_bytes() == b"one"
    assert names(tmp_path) == ["a.json"]


def test_a_failed_block_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"old")

    def fail() -> None:
        with writing_file(tmp_path / "a") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_missing_folder_is_an_error_of_the_system(tmp_path: Path, write: Write) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "no" / "a", b"one")


def test_a_file_is_created_once(tmp_path: Path) -> None:
    create_file(tmp_path / "a", b"first")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("locked", [False, True])
def test_a_file_is_created_once_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locked: bool) -> None:
    def refused(*args: object) -> None:
        raise OSError("links are not supported")

    monkeypatch.setattr(os, "link", refused)
    lock = tmp_path / "lock" if locked else None
    (tmp_path / "lock").touch()
    create_file(tmp_path / "a", b"first", lock=lock)
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "a", b"second", lock=lock)
    assert (tmp_path / "a").read_bytes() == b"first"
    assert names(tmp_path) == ["a", "lock"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_the_mode_stays_and_a_new_file_takes_that_of_another(tmp_path: Path, mode: int, write: Write) -> None:
    (tmp_path / "like").touch(mode)
    (tmp_path / "like").chmod(mode)
    for made in (tmp_path / "written", tmp_path / "created"):
        (write_file if made.name == "written" else create_file)(made, b"one", like=tmp_path / "like")
        write_file(made, b"two")
        assert stat.S_IMODE(made.stat().st_mode) == mode


def test_threads_that_write_one_file_leave_one_whole_content(tmp_path: Path) -> None:
    contents = [bytes([letter]) * 100_000 for letter in b"abcdefgh"]
    barrier = threading.Barrier(len(contents))
    seen: list[bytes] = []

    def run(content: bytes) -> None:
        barrier.wait()
        for _ in range(20):
            write_file(tmp_path / "a", content, durable=False)
            seen.append((tmp_path / "a").read_bytes())

    threads = [threading.Thread(target=run, args=[content]) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 160
    assert set(seen) <= set(contents)
    assert names(tmp_path) == ["a"]


def test_of_many_threads_one_creates_the_file(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    made: list[int] = []

    def run(number: int) -> None:
        barrier.wait()
        try:
            create_file(tmp_path / "a", str(number).encode())
        except FileExistsError:
            return
        made.append(number)

    threads = [threading.Thread(target=run, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_text() == str(made[0])
    assert len(made) == 1
    assert names(tmp_path) == ["a"]


def _write_half(target: Path, ready: multiprocessing.synchronize.Event) -> None:
    with writing_file(target) as file:
        file.write(b"forgotten")
        file.flush()
        ready.set()
        signal.pause() if sys.platform != "win32" else threading.Event().wait()


def test_what_a_killed_writer_left_is_deleted_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_write_half, args=(tmp_path / "a", ready))
    writer.start()
    assert ready.wait(30)
    remove_all_left(tmp_path)
    write_file(tmp_path / "a", b"one")
    half = [name for name in names(tmp_path) if name != "a"]
    assert len(half) == 1
    assert (tmp_path / half[0]).read_bytes() == b"forgotten"
    writer.kill()
    writer.join()
    (tmp_path / ".notes.writing").touch()  # somebody else's
    remove_all_left(tmp_path)
    assert names(tmp_path) == [".notes.writing", "a"]


def test_the_next_writer_deletes_what_a_killed_one_left(tmp_path: Path, write: Write) -> None:
    (tmp_path / ".a.0123456789ab.writing").write_bytes(b"half")
    write(tmp_path / "a", b"one")
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["한" * 83, "a" * 249, "😀" * 62, "é" * 91 + "x", "[a]" * 40])
def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path, write: Write, name: str) -> None:
    write(tmp_path / name, b"one")
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == b"one"


def test_a_long_name_loses_its_leftovers(tmp_path: Path) -> None:
    target = tmp_path / ("한" * 83)
    left = compaction_path(target, "0123456789ab")
    left.touch()
    remove_left(target)
    assert not left.exists()


@pytest.mark.parametrize("name", [".a.notes.writing", ".a.my.compacting", ".a.b.0123456789ab.writing"])
def test_files_of_somebody_else_stay(tmp_path: Path, write: Write, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    write(tmp_path / "a", b"one")
    assert not being_compacted(tmp_path / "a")
    assert names(tmp_path) == [name, "a"]


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    targets = [tmp_path / "folder"]
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe")
        os.symlink(os.devnull, tmp_path / "device")
        targets += [tmp_path / "pipe", tmp_path / "device"]
    before = names(tmp_path)
    for target in targets:
        with pytest.raises(OSError, match="not a regular file"):
            write_file(target, b"one")
    assert names(tmp_path) == before
    assert not any(target.is_file() for target in targets)


@pytest.mark.parametrize("name", ["n" * 300, "/".join(["n" * 200] * 30)])
def test_a_name_that_the_system_does_not_take_is_a_named_error(tmp_path: Path, name: str) -> None:
    with pytest.raises((StorageError, MemoryNotFoundError)):
        Memory.create(tmp_path / f"{name}.mp4", "given")
    assert names(tmp_path) == []


class InterruptAt:
    """Raises KeyboardInterrupt before the ``number``-th line that runs in the module of these files."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen = 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> InterruptAt | None:
        if frame.f_code.co_filename != atomic_files.__file__:
            return None
        if event == "line":
            self.seen += 1
            if self.seen == self.number:
                raise KeyboardInterrupt
        return self


def _replaced(target: Path) -> None:
    with replacing(target) as made:
        made.write_bytes(b"new")


def _written(target: Path) -> None:
    write_file(target, b"new")


# An interrupt between opening a file and keeping it leaves the closing to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("write", [_replaced, _written])
@pytest.mark.parametrize("there", [False, True])
def test_an_interrupt_at_any_line_leaves_nothing_that_stays(
    tmp_path: Path, write: Callable[[Path], None], there: bool
) -> None:
    target = tmp_path / "file"
    number, interrupted = 0, True
    while interrupted:
        number += 1
        target.unlink(missing_ok=True)
        if there:
            target.write_bytes(b"old")
        before = sys.gettrace()
        sys.settrace(InterruptAt(number))
        try:
            write(target)
        except KeyboardInterrupt:
            interrupted = True
        else:
            interrupted = False
        finally:
            sys.settrace(before)
        left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert set(left) <= {"file"}, (number, left)
        assert left.get("file", b"") in ((b"old", b"new") if there else (b"", b"new")), number
        with held(target, 1.0):
            pass
    assert number > 20


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000])
def test_a_target_whose_name_is_too_long_is_an_error_of_this_package(tmp_path: Path, name: str) -> None:
    with pytest.raises(MemvidError), replacing(tmp_path / name):
        pass
