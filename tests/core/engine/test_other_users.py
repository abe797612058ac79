"""One memory and several users: who may write it shares its index, who may not cannot forge it, and errors say so."""

from __future__ import annotations

import os
import shutil
import stat

import pytest

from tests.users import GROUP, GUEST, OWNER, STRANGER, as_user, others, posix, shared_folder

MAKE = """
with Memory.create(path + "/m.mp4") as memory:
    memory.add(["apple pie", "banana bread", "cherry cake"])
"""
READ = """
with Memory.open(path + "/m.mp4", mode="r") as memory:
    print(len(memory), memory.search("apple pie", k=1)[0].text, len(memory.search("durian", mode="lexical", k=9)))
"""
WRITE = """
with Memory.open(path + "/m.mp4") as memory:
    memory.add(["durian tart"])
    print(len(memory))
""".replace('.mp4")', '.mp4", mode="a")')
COMPACT = """
with Memory.open(path + "/m.mp4", mode="a") as memory:
    memory.delete(memory.ids()[-1:])
    memory.compact()
    print(len(memory))
"""
FORGE = """
import gc
from memvid_core.engine.index_folder import IndexFolder
with Memory.open(path + "/m.mp4", mode="r") as memory:
    memory.search("apple", mode="lexical")
    (index,) = (each for each in gc.get_objects() if isinstance(each, IndexFolder) and not each._closed)
    with index.transaction():
        index.catalog.bury([0], 1)
with Memory.open(path + "/m.mp4", mode="r") as memory:
    print(len(memory))
for folder, _, files in os.walk(path + "/m.mp4.index"):
    os.chmod(folder, 0o777)
    for file in files:
        os.chmod(folder + "/" + file, 0o666)
"""


@others
def test_an_index_of_a_user_who_may_not_write_the_memory_is_not_used() -> None:
    with shared_folder(0o1777) as folder:
        as_user(OWNER, MAKE, folder)
        shutil.rmtree(folder / "m.mp4.index")
        assert as_user(STRANGER, FORGE, folder, umask=0) == "2"  # who believes himself
        assert as_user(OWNER, READ, folder) == "3 apple pie 0"
        assert as_user(GUEST, READ, folder) == "3 apple pie 0"
        assert as_user(OWNER, WRITE, folder) == "4"
        assert as_user(OWNER, READ, folder) == "4 apple pie 1"


@others
def test_nothing_of_a_private_memory_is_written_to_a_folder_that_another_user_made() -> None:
    with shared_folder(0o1777) as folder:
        as_user(STRANGER, "os.mkdir(path + '/m.mp4.index'); os.chmod(path + '/m.mp4.index', 0o777)", folder)
        as_user(OWNER, MAKE, folder, umask=0o077)
        assert not list((folder / "m.mp4.index").iterdir())
        assert as_user(OWNER, READ, folder) == "3 apple pie 0"


@others
@pytest.mark.parametrize(("mode", "umask"), [(0o2775, 0o077), (0o775, 0o002)], ids=["setgid", "plain"])
def test_two_users_of_a_group_write_and_compact_in_turn(mode: int, umask: int) -> None:
    with shared_folder(mode, OWNER, GROUP) as folder:
        as_user(OWNER, MAKE, folder, umask=0o002)
        os.chown(folder / "m.mp4", OWNER, GROUP)
        for live, user, other in ((4, GUEST, OWNER), (5, OWNER, GUEST)):
            assert as_user(user, f"{WRITE}{COMPACT}{WRITE}", folder, umask=umask).split()[-1] == str(live)
            for reader in (other, STRANGER):
                assert as_user(reader, READ, folder) == f"{live} apple pie {live - 3}"
            there = (folder / "m.mp4").stat()
            assert (there.st_gid, stat.S_IMODE(there.st_mode)) == (GROUP, 0o664)


@others
def test_who_may_write_but_not_replace_a_memory_is_told_so() -> None:
    with shared_folder(0o1777) as folder:
        as_user(OWNER, MAKE, folder, umask=0)
        assert as_user(GUEST, WRITE, folder) == "4"
        told = as_user(GUEST, COMPACT, folder)
        assert (
            told == f"ReadOnlyError {folder / 'm.mp4'}: no permission to replace it, as compaction does: its owner can"
        )
        assert [path.name for path in sorted(folder.iterdir())] == ["m.mp4", "m.mp4.index"]
        assert as_user(OWNER, COMPACT, folder, umask=0) == "2"
        assert as_user(GUEST, WRITE, folder) == "3"


@others
def test_info_says_why_the_index_of_another_user_is_not_used() -> None:
    look = """
with Memory.open(path + "/m.mp4", mode="r") as memory:
    print(memory.info().index_in_ram)
import contextlib
from memvid_core.cli import app
with contextlib.suppress(SystemExit):
    app(["info", path + "/m.mp4"])
"""
    with shared_folder(0o1777) as folder:
        as_user(OWNER, MAKE, folder)
        assert not as_user(OWNER, look, folder).partition("\n")[0].strip().startswith("its folder")
        shutil.rmtree(folder / "m.mp4.index")
        as_user(STRANGER, "os.mkdir(path + '/m.mp4.index')", folder)
        told, *shown = as_user(OWNER, look, folder).splitlines()
        assert told == (
            f"its folder {folder / 'm.mp4.index'} belongs to a user who may not write the memory; remove the folder, "
            "or give another index_dir"
        )
        assert f"in RAM: {told}" in " ".join(" ".join(shown).split())


@posix
def test_info_says_that_an_index_folder_cannot_be_made_or_written() -> None:
    look = """
for folder in ("m.mp4.index", "there", "file", "missing/folder", "mine"):
    with Memory.open(path + "/m.mp4", index_dir=path + "/" + folder) as memory:
        print([memory.info().index_in_ram.replace(path, "")])
with Memory.create(":memory:") as memory:
    print([memory.info().index_in_ram])
"""
    with shared_folder(0o777) as folder:
        as_user(OWNER, MAKE, folder)
        (folder / "there").mkdir(0o755)
        (folder / "file").touch()
        (folder / "mine").mkdir()
        (folder / "mine").chmod(0o777)
        for read_only in (folder / "there", folder):
            read_only.chmod(0o555)
        assert as_user(OWNER, look, folder).splitlines() == [
            "['']",
            "['its folder /there cannot be written; give another index_dir']",
            "['its folder /file cannot be made (File exists); give another index_dir']",
            "['its folder /missing/folder cannot be made (Permission denied); give another index_dir']",
            "['']",
            "['']",
        ]


@posix
def test_a_folder_that_becomes_read_only_while_a_memory_is_open() -> None:
    with shared_folder(0o777) as folder:
        told = as_user(
            OWNER,
            """
            memory = Memory.create(path + "/m.mp4")
            memory.add(["apple pie", "banana bread"])
            memory.search("apple", mode="lexical")
            places = [path, *(os.path.join(d, n) for d, ds, fs in os.walk(path) for n in (*ds, *fs))]
            def permit(write):
                for place in places[1:]:
                    if os.path.exists(place):
                        os.chmod(place, (0o755 if os.path.isdir(place) else 0o644) & (0o777 if write else 0o555))
            permit(False)
            memory.add(["cherry cake"])
            print(len(memory), len(memory.search("cherry", mode="lexical")))
            memory.close()
            try:
                Memory.open(path + "/m.mp4", mode="a")
            except PermissionError as exc:
                print(type(exc).__name__)
            with Memory.open(path + "/m.mp4", mode="r") as memory:
                print(len(memory), len(memory.search("cherry", mode="lexical")), bool(memory.info().index_in_ram))
            permit(True)
            with Memory.open(path + "/m.mp4", mode="a") as memory:
                memory.add(["durian tart"])
                print(len(memory), len(memory.search("durian", mode="lexical")), memory.verify().ok)
            """.replace("\n            ", "\n"),
            folder,
        )
        assert told.splitlines() == ["3 1", "ReadOnlyError", "3 1 True", "4 1 True"]


@posix
def test_a_memory_that_nobody_may_write_has_an_index_on_disk() -> None:
    with shared_folder(0o777) as folder:
        as_user(OWNER, MAKE, folder)
        (folder / "m.mp4").chmod(0o444)
        shutil.rmtree(folder / "m.mp4.index")
        assert as_user(OWNER, READ, folder) == "3 apple pie 0"
        assert list((folder / "m.mp4.index").glob("*/catalog.sqlite"))


@others
def test_the_log_says_that_another_user_has_made_the_index_in_a_shared_folder() -> None:
    look = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
with Memory.open(path + "/m.mp4", mode="r", index_dir=path + "/indexes") as memory:
    print(memory.search("apple pie", k=1)[0].text)
"""
    with shared_folder(0o755) as folder:
        as_user(0, MAKE, folder)
        (folder / "indexes").mkdir()
        (folder / "indexes").chmod(0o1777)
        assert as_user(OWNER, look, folder) == "apple pie"
        told, found = as_user(STRANGER, look, folder).splitlines()
        assert told.startswith(f"the index is built in RAM, since its folder cannot be used: {folder / 'indexes'}/")
        assert told.endswith(" belongs to a user who may not write the memory")
        assert found == "apple pie"
