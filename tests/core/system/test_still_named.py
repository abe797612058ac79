"""A lock is on an open file, not on its name: before it is taken, another process may put another file there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from memvid_core.library import objects
from memvid_core.library.remote import objects_at
from memvid_core.system import atomic_files, remote_cache
from memvid_core.system.atomic_files import remove_all_left, remove_left, writing_file
from memvid_core.system.file_lock import still_named, system_lock
from memvid_core.system.remote_cache import cached_copies, clear_cache

LEFT = ".a.0123456789ab.writing"


class Interrupted:
    """The system's lock; before the first time that it is taken, something else happens."""

    def __init__(self, before: Callable[[], object]) -> None:
        self._before: list[Callable[[], object]] = [before]

    def try_lock(self, descriptor: int, *, shared: bool = False) -> bool:
        while self._before:
            self._before.pop()()
        return system_lock().try_lock(descriptor, shared=shared)


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
        use(objects, Interrupted(another))
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
