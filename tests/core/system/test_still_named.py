"""A lock is on an open file, not on its name: before it is taken, another process may put another file there."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from types import ModuleType

import pytest

from memvid_core import LockedError, Memory, MemoryExistsError, convert
from memvid_core.journal import Journal
from memvid_core.library import claims
from memvid_core.library.remote import objects_at
from memvid_core.system import atomic_files, commit_lock, remote_cache, unfinished
from memvid_core.system.atomic_files import appearing, held, remove_all_left, remove_left, replacing, writing_file
from memvid_core.system.file_lock import still_named, system_lock
from memvid_core.system.remote_cache import cached_copies, clear_cache
from memvid_core.system.unfinished import being_made, finished, was_left

LEFT = ".a.0123456789ab.writing"


class Interrupted:
    """The system's lock; before the first time that it is taken, something else happens."""

    def __init__(self, before: Callable[[], object]) -> None:
        self._before: list[Callable[[], object]] = [before]

    def try_lock(self, descriptor: int, *, shared: bool = False) -> bool:
        while self._before:
            self._before.pop()()
        return system_lock().try_lock(descriptor, shared=shared)

    def unlock(self, descriptor: int) -> None:
        system_lock().unlock(descriptor)


Use = Callable[[ModuleType, Interrupted], None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Make a module use another lock."""
    return lambda module, lock: monkeypatch.setattr(module, "system_lock", lambda: lock)


class Another:
    """What other processes do with a file: delete it, as a leftover, and create and lock a new one in its place."""

    def __init__(self, path: Path) -> None:
        self.path, self.descriptor = path, -1

    def __call__(self) -> None:
        self.path.unlink()
        self.descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        os.write(self.descriptor, b"new")
        assert system_lock().try_lock(self.descriptor, shared=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no file that is open")
class TestWhoDeletesWhatIsLeft:
    @pytest.mark.parametrize("remove", [lambda folder: remove_left(folder / "a"), remove_all_left])
    def test_keeps_a_file_that_a_writer_created_meanwhile(
        self, tmp_path: Path, use: Use, remove: Callable[[Path], None]
    ) -> None:
        (tmp_path / LEFT).write_bytes(b"left")
        another = Another(tmp_path / LEFT)
        use(atomic_files, Interrupted(another))
        remove(tmp_path)
        assert (tmp_path / LEFT).read_bytes() == b"new"
        os.close(another.descriptor)
        remove(tmp_path)
        assert not (tmp_path / LEFT).exists()

    def test_keeps_a_claim_that_a_writer_made_meanwhile(self, tmp_path: Path, use: Use) -> None:
        library = objects_at(str(tmp_path / "library"))
        library.prepare()
        (tmp_path / "library" / "writing").mkdir(exist_ok=True)
        claim = tmp_path / "library" / "writing" / "0123456789abcdef"
        claim.touch()
        another = Another(claim)
        use(claims, Interrupted(another))
        assert not library.remove("writing/0123456789abcdef")
        assert claim.read_bytes() == b"new"
        os.close(another.descriptor)
        assert library.remove("writing/0123456789abcdef")

    def test_keeps_a_copy_in_the_cache_that_a_reader_opened_meanwhile(
        self, tmp_path: Path, use: Use, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MEMVID_CACHE_DIR", str(tmp_path))
        entry = tmp_path / "remote" / ("0" * 32)
        entry.mkdir(parents=True)
        used = entry / remote_cache._USED
        used.touch()
        (entry / "copy").write_bytes(b"fetched")
        [found] = cached_copies()
        assert found.folder == entry
        another = Another(used)
        use(remote_cache, Interrupted(another))
        assert not remote_cache._delete(entry, really=True)
        assert (entry / "copy").read_bytes() == b"fetched"
        os.close(another.descriptor)
        assert [copy.folder for copy in clear_cache()] == [entry]
        assert not entry.exists()


class TestMarksOfUnfinishedFiles:
    @pytest.mark.skipif(os.name == "nt", reason="Windows deletes no file that is open")
    def test_one_whose_maker_ends_while_it_is_opened_says_nothing_of_the_next(self, tmp_path: Path, use: Use) -> None:
        target, first, left = tmp_path / "a", ExitStack(), []
        left.append(first.enter_context(being_made(target, b"task")).left)
        use(unfinished, Interrupted(first.close))
        with being_made(target, b"task") as mark:
            left.append(mark.left)
            assert was_left(target, b"task")  # its own mark has the name
        assert left == [False, False]
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(os.name == "nt", reason="Windows deletes no file that is open")
    def test_one_that_another_process_made_meanwhile_is_not_deleted(self, tmp_path: Path, use: Use) -> None:
        mark = tmp_path / ".a.making"
        mark.write_bytes(b"left")
        another = Another(mark)
        use(unfinished, Interrupted(another))
        finished(tmp_path / "a")
        assert mark.read_bytes() == b"new"
        with pytest.raises(LockedError, match="another process is making"), being_made(tmp_path / "a", b"new"):
            raise AssertionError
        os.close(another.descriptor)
        with being_made(tmp_path / "a", b"new") as again:
            assert not again.left
        assert not mark.exists()


class TestWhatIsClosedBeforeItIsRenamed:
    """A new memory is closed, so not locked, when it gets its name, and may be opened again before that."""

    @pytest.mark.parametrize("writes", [appearing, replacing])
    @pytest.mark.parametrize("remove", [lambda folder: remove_left(folder / "a"), remove_all_left])
    def test_is_kept_by_who_deletes_what_is_left(
        self, tmp_path: Path, writes: Callable[[Path], AbstractContextManager[Path]], remove: Callable[[Path], None]
    ) -> None:
        with writes(tmp_path / "a") as made:
            remove(tmp_path)
            made.write_bytes(b"new")
            (tmp_path / f"{made.name}.index").mkdir()
            remove(tmp_path)
            assert (tmp_path / f"{made.name}.index").is_dir()
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
        assert (tmp_path / "a").read_bytes() == b"new"

    def test_is_deleted_when_its_writer_was_killed(self, tmp_path: Path) -> None:
        for name in (LEFT, f"{LEFT}.new"):
            (tmp_path / name).write_bytes(b"")
        for name in (f"{LEFT}.index", f"{LEFT}.new.index"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "catalog").write_bytes(b"")
        remove_left(tmp_path / "a")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("make", ["save", "convert", "create"])
    def test_is_there_when_the_call_returns(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: str) -> None:
        target, closed = tmp_path / "target.mp4", Journal.close

        def close(journal: Journal) -> None:
            closed(journal)
            with suppress(MemoryExistsError), appearing(target):  # as another process that creates it, and fails
                pass

        with Memory.create(tmp_path / "memory.mp4", "given") as memory:
            memory.add("text", vectors=[[1.0, 0.0]], ids="a")
            monkeypatch.setattr(Journal, "close", close)
            if make == "save":
                memory.save(target)
            elif make == "convert":
                convert(tmp_path / "memory.mp4", target, codec="pcm")
            else:
                Memory.create(target, "given").close()
        monkeypatch.undo()
        with Memory.open(target, embedder="given") as made:
            assert len(made) == (0 if make == "create" else 1)


@pytest.mark.skipif(os.name == "nt", reason="Windows does not rename an open file")
class TestWhoReplacesAMemory:
    def test_waits_for_who_locks_the_file_that_a_compaction_put_there_meanwhile(self, tmp_path: Path, use: Use) -> None:
        target, made = tmp_path / "a", tmp_path / "b"
        target.write_bytes(b"old")
        made.write_bytes(b"new")
        descriptor = os.open(made, os.O_RDWR)
        assert system_lock().try_lock(descriptor)
        use(commit_lock, Interrupted(lambda: os.replace(made, target)))
        with pytest.raises(LockedError), held(target, 0):
            pass
        use(commit_lock, Interrupted(lambda: None))
        os.close(descriptor)
        with held(target, 0) as existing:
            assert existing

    def test_waits_for_who_writes_to_a_file_that_was_created_meanwhile(self, tmp_path: Path) -> None:
        target = tmp_path / "a"

        def replace() -> None:
            with replacing(target, timeout=0) as made:
                made.write_bytes(b"saved")
                target.write_bytes(b"created")
                stack.enter_context(held(target, 0))

        with ExitStack() as stack, pytest.raises(LockedError):
            replace()
        assert target.read_bytes() == b"created"
        assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no file that is open")
def test_a_writer_takes_another_name_if_its_file_was_locked_by_who_deletes_it(tmp_path: Path, use: Use) -> None:
    taken: list[tuple[Path, int]] = []

    def take() -> None:
        [path] = tmp_path.iterdir()
        descriptor = os.open(path, os.O_RDWR)
        assert system_lock().try_lock(descriptor)
        taken.append((path, descriptor))

    use(atomic_files, Interrupted(take))
    with writing_file(tmp_path / "a") as file:
        [(path, descriptor)] = taken
        path.unlink(missing_ok=True)  # only now, and by its path
        os.close(descriptor)
        file.write(b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"content"


def test_a_path_that_is_gone_or_replaced_names_the_file_no_more(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with open(path, "wb") as file:
        assert still_named(path, file.fileno())
    with open(path, "rb") as file:
        (tmp_path / "b").write_bytes(b"")
        if os.name != "nt":
            os.replace(tmp_path / "b", path)
            assert not still_named(path, file.fileno())
            path.unlink()
            assert not still_named(path, file.fileno())
