"""One library and several users: its files have its permissions, and errors say what is not permitted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from memvid_core import Library, Record
from tests.users import GROUP, GUEST, OWNER, STRANGER, SUPERUSER, as_user, others, posix, shared_folder

MAKE = """
with Library.create(path + "/library") as library:
    library.build([Record("a", "the wing lifts"), Record("b", "the engine hums")], rows_per_shard=1)
"""
READ = """
with Library.open(path + "/library", mode="r") as library:
    print(len(library), library.search("wing lifts", k=1)[0].id)
"""
ADD = """
with Library.open(path + "/library") as library:
    library.add(["a durian tart"])
    print(len(library))
"""
CHANGE = """
from datetime import timedelta
with Library.open(path + "/library") as library:
    library.delete(["b"])
    library.compact()
    library.vacuum(older_than=timedelta(0))
    print(len(library))
"""


@posix
@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_all_files_have_the_permissions_of_the_library(tmp_path: Path, umask: int) -> None:
    from datetime import timedelta

    before = os.umask(0o002)
    try:
        path = tmp_path / "library"
        with Library.create(path) as library:
            os.umask(umask)
            library.build([Record("a", "the wing lifts"), Record("b", "the engine hums")], rows_per_shard=1)
            library.add(["a durian tart"])
            library.delete(["b"])
            library.compact()
            library.vacuum(older_than=timedelta(0))
            assert library.search("wing", k=1)[0].id == "a"
    finally:
        os.umask(before)
    modes = {
        (place.is_dir(), stat.S_IMODE(place.stat().st_mode) & 0o777): place.name
        for place in path.rglob("*")
        if not place.name.endswith((".sqlite-shm", ".sqlite-wal"))  # SQLite gives them those of the database
    }
    assert set(modes) == {(True, 0o775), (False, 0o664)}, modes


@others
def test_two_users_of_a_group_change_a_library_in_turn() -> None:
    with shared_folder(0o2775, OWNER, GROUP) as folder:
        as_user(OWNER, MAKE, folder, umask=0o002)
        for live, user, other in ((2, GUEST, OWNER), (3, OWNER, GUEST)):
            assert as_user(user, f"{ADD}{CHANGE}", folder, umask=0o077) == f"{live + (live == 2)}\n{live}"
            for reader in (other, STRANGER):
                assert as_user(reader, READ, folder) == f"{live} a"


@posix
def test_who_may_not_write_or_read_a_library_is_told_so() -> None:
    with shared_folder(0o777) as folder:
        as_user(OWNER, MAKE, folder, umask=0o022)
        library = folder / "library"
        places = [library, *(place for place in library.rglob("*") if place.is_dir())]
        for place in places:
            place.chmod(0o555)
        try:
            for code in (ADD, CHANGE):
                told = as_user(STRANGER, code, folder)
                assert told.startswith(f"ReadOnlyError {library}: no permission to write {library}"), told
                assert told.endswith("; open it with mode='r'")
            assert as_user(STRANGER, READ, folder) == "2 a"
            if SUPERUSER:
                (library / "library.json").chmod(0o600)
                told = as_user(STRANGER, READ, folder)
                assert told == f"ReadOnlyError {library / 'library.json'}: no permission to read it"
        finally:
            for place in places:
                place.chmod(0o755)


@posix
def test_a_library_whose_description_is_write_protected_can_be_changed_by_its_owner() -> None:
    with shared_folder(0o777) as folder:
        as_user(OWNER, MAKE, folder)
        (folder / "library" / "library.json").chmod(0o444)
        for live in (2, 3):
            assert as_user(OWNER, f"{ADD}{CHANGE}", folder) == f"{live + (live == 2)}\n{live}"


@posix
def test_a_shard_that_is_being_written_has_the_permissions_of_the_library(tmp_path: Path) -> None:
    def some() -> Iterator[Record]:
        for number in range(6):
            yield Record(str(number), f"secret {number}")
        shards = (path for path in (tmp_path / "library" / "shards").iterdir() if path.suffix == ".mp4")
        seen.extend(stat.S_IMODE(path.stat().st_mode) for path in shards)

    seen: list[int] = []
    before = os.umask(0o022)
    try:
        Library.create(tmp_path / "library").close()
        (tmp_path / "library" / "library.json").chmod(0o600)
        with Library.open(tmp_path / "library", mode="a") as library:
            library.build(some(), rows_per_shard=3, sample=2)
    finally:
        os.umask(before)
    assert seen
    assert set(seen) == {0o600}
