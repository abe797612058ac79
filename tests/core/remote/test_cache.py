"""The copies of remote memories: private, repaired, shared by processes, listed and deleted."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.zip import ZipFileSystem

from memvid_core import Memory
from memvid_core.system.remote_cache import cache_folder, cached_copies, clear_cache
from tests.core.remote.web import Web
from tests.processes import Process, run, start
from tests.users import GUEST, as_user, posix, shared_folder

Look = Callable[[Memory], int]


def entry(cache: Path) -> Path:
    """The folder of the only copy."""
    (found,) = (cache / "remote").iterdir()
    return found


def opened(web: Web) -> int:
    """Open the memory, and check all of it."""
    with Memory.open(web.url()) as memory:
        assert memory.verify().ok
        assert not memory.info().damage
        assert memory.search("engine", k=1)[0].id == "hum"
        return len(memory)


def test_a_copy_is_readable_by_its_user_alone(root: Path, published: Path, cache: Path) -> None:
    with Web(root) as web:
        opened(web)
    if os.name == "posix":
        for path in (cache, cache / "remote", entry(cache)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        entry(cache).chmod(0o755)
        with Web(root) as web:
            opened(web)


@pytest.mark.parametrize("at", [3, 700, 9_000, -900, -1])
def test_a_damaged_copy_is_fetched_again(root: Path, published: Path, cache: Path, at: int) -> None:
    with Web(root) as web:
        opened(web)
        copy = entry(cache) / "m.mp4"
        content = bytearray(copy.read_bytes())
        content[at] ^= 0x41
        copy.write_bytes(content)
        assert opened(web) == 38


def test_damage_to_the_copy_of_an_open_memory_is_repaired_from_the_object(
    root: Path, published: Path, cache: Path
) -> None:
    with Web(root) as web, Memory.open(web.url()) as memory:
        places = [commit.bytes for commit in memory.history()]
        with open(entry(cache) / "m.mp4", "r+b") as file:
            file.seek(700)
            file.write(b"\0" * (sum(places[:2]) - 700))
        assert memory.search("engine", k=1)[0].id == "hum"
        assert len(list(memory)) == 38
        assert memory.verify().ok
        assert not memory.info().damage


@pytest.mark.parametrize("size", [0, 5_000, -1])
def test_a_cut_copy_is_completed(root: Path, published: Path, cache: Path, size: int) -> None:
    with Web(root) as web:
        opened(web)
        copy = entry(cache) / "m.mp4"
        copy.write_bytes(copy.read_bytes()[:size])
        assert opened(web) == 38
        assert copy.read_bytes() == published.read_bytes()


@pytest.mark.parametrize(
    "state",
    [
        "{" * 5_000,
        '{"end": [100000000000, 2, 3, 4]}',
        '{"end": ["a", null, 3, 4]}',
        '{"end": [5000, 1, 1, 0], "url": 7}',
        "[" * 100_000,
    ],
)
def test_a_damaged_note_about_a_copy_does_not_matter(root: Path, published: Path, cache: Path, state: str) -> None:
    with Web(root) as web:
        opened(web)
        (entry(cache) / "state.json").write_text(state)
        assert opened(web) == 38
        cached_copies()


@pytest.mark.parametrize("lost", [None, "", '{"end": 7}'])
def test_a_lost_note_about_a_copy_is_written_again_so_that_its_index_stays(
    root: Path, published: Path, cache: Path, lost: str | None
) -> None:
    with Web(root) as web:
        opened(web)
        note, index = entry(cache) / "state.json", entry(cache) / "m.mp4.index"
        whole = note.read_text()
        note.unlink() if lost is None else note.write_text(lost)
        opened(web)
        assert note.read_text() == whole
        mark = index / "mark"
        mark.write_text("")
        opened(web)
        assert mark.exists()


def test_other_folders_in_the_cache_are_left_alone(root: Path, published: Path, cache: Path, tmp_path: Path) -> None:
    ours, linked = cache / "remote" / "thesis", cache / "remote" / ("0" * 32)
    for folder in (ours, tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
        (folder / "text").write_text("mine")
    linked.symlink_to(tmp_path / "elsewhere")
    with Web(root) as web:
        opened(web)
        assert [copy.url for copy in cached_copies()] == [web.url()]
        assert [copy.url for copy in clear_cache()] == [web.url()]
    assert [path.name for path in ours.iterdir()] == ["text"]
    assert [path.name for path in linked.iterdir()] == ["text"]


def test_damage_of_the_object_itself_is_reported_and_not_fetched_again_and_again(root: Path, published: Path) -> None:
    content = bytearray(published.read_bytes())
    with Memory.open(published) as memory:
        middle = memory.history()[0].bytes // 2
    content[700 + middle : 700 + middle + 6_000] = b"\0" * 6_000
    published.write_bytes(content)
    with Web(root) as web:
        with pytest.warns(UserWarning, match="cannot be read"):
            memory = Memory.open(web.url())
        assert memory.info().damage
        memory.close()
        web.forget()
        with pytest.warns(UserWarning, match="cannot be read"):
            Memory.open(web.url()).close()
        assert web.total < len(content) // 2


def test_without_its_index_or_copy_everything_is_made_again(root: Path, published: Path, cache: Path) -> None:
    with Web(root) as web:
        opened(web)
        shutil.rmtree(entry(cache) / "m.mp4.index")
        assert opened(web) == 38
        shutil.rmtree(cache)
        assert opened(web) == 38


def test_a_cache_that_cannot_be_written_is_replaced_by_a_temporary_folder(
    root: Path, published: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_bytes(b"a file where the folder should be")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with Web(root) as web:
        with Memory.open(web.url()) as memory:
            assert len(memory) == 38
            assert len(list((tmp_path / "temporary").iterdir())) == 1
        assert list((tmp_path / "temporary").iterdir()) == []


def test_copies_are_listed_and_deleted_unless_they_are_open(root: Path, published: Path, cache: Path) -> None:
    shutil.copy(published, root / "other.mp4")
    with Web(root) as web:
        with Memory.open(web.url(query="?token=s3cr3t")) as memory:
            Memory.open(web.url("other.mp4")).close()
            assert {(copy.url, copy.in_use) for copy in cached_copies()} == {
                (web.url(), True),
                (web.url("other.mp4"), False),
            }
            assert clear_cache(web.url()) == []
            assert [copy.url for copy in clear_cache()] == [web.url("other.mp4")]
            assert memory.search("engine", k=1)[0].id == "hum"
        assert [copy.url for copy in clear_cache(web.url())] == [web.url()]
        assert cached_copies() == []
        web.forget()
        assert opened(web) == 38
        assert web.total >= published.stat().st_size


def two_folders(root: Path, name: str) -> Any:
    return DirFileSystem(str(root / name), LocalFileSystem())


def two_archives(root: Path, name: str) -> Any:
    with ZipFile(root / f"{name}.zip", "w") as archive:
        archive.write(root / name / "m.mp4", "m.mp4")
    return ZipFileSystem(str(root / f"{name}.zip"))


def two_open_archives(root: Path, name: str) -> Any:
    two_archives(root, name)
    return ZipFileSystem((root / f"{name}.zip").open("rb"))


def two_headers(root: Path, name: str) -> Any:
    return None


@pytest.mark.parametrize("place", [two_folders, two_archives, two_open_archives, two_headers])
def test_two_memories_of_one_path_in_different_places_do_not_share_a_copy(
    root: Path, place: Callable[[Path, str], Any], look: Look
) -> None:
    for name in ("one", "two"):
        (root / name).mkdir()
        with Memory.create(root / name / "m.mp4") as memory:
            memory.add([f"the wing of {name}"])
    with Web(root) as web, ExitStack() as stack:
        found: dict[str, Memory] = {}
        for name in ("one", "two"):
            fs = place(root, name)
            options: dict[str, Any] = {} if fs else {"storage_options": {"headers": {"Authorization": name}}}
            found[name] = stack.enter_context(Memory.open("m.mp4" if fs else web.url(), fs=fs, **options))
        for name, memory in found.items():
            look(memory)
            assert [record.text for record in memory] == [f"the wing of {name}"]


def test_a_signature_does_not_make_another_copy_but_another_parameter_does(root: Path, published: Path) -> None:
    with Web(root) as web:
        for query in ("?X-Amz-Signature=1&Expires=5", "?X-Amz-Signature=2&Expires=6#page", ""):
            Memory.open(web.url(query=query)).close()
        assert len(cached_copies()) == 1
        Memory.open(web.url(query="?part=2")).close()
        assert len(cached_copies()) == 2


_READS = (
    "import sys; from memvid_core import Memory; m = Memory.open(sys.argv[1]); print(len(m), flush=True); m.close()"
)


def test_a_process_that_is_killed_while_it_fetches_leaves_nothing_in_the_way(
    root: Path, published: Path, cache: Path
) -> None:
    with Web(root) as web:
        content = published.read_bytes()
        web.answer = lambda path: (200, {"Content-Length": str(len(content) + 1)}, content)
        killed: list[Process] = []
        web.before_body = lambda: killed[0].kill() if killed else None
        with start(_READS, web.url()) as process:
            killed.append(process)
            process.wait(30)
        web.answer, web.before_body = lambda path: None, lambda: None
        assert opened(web) == 38
        assert [path.name for path in entry(cache).iterdir() if path.name.endswith(".fetching")] == []


def test_processes_share_a_copy_while_the_object_is_replaced(root: Path, published: Path, look: Look) -> None:
    with Web(root) as web, Memory.open(web.url()) as memory:
        with Memory.open(published, "a") as writer:
            writer.delete(ids=writer.ids()[:10])
            writer.compact()
        done = run(_READS, web.url())
        assert done.stdout.strip() == "28"
        assert look(memory) == 28
        assert memory.verify().ok


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MEMVID_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    for platform, folder in (
        ("linux", tmp_path / ".cache" / "memvid"),
        ("darwin", tmp_path / "Library" / "Caches" / "memvid"),
        ("win32", tmp_path / "local" / "memvid" / "Cache"),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        assert cache_folder() == folder
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "memvid"


def test_the_note_about_a_copy_holds_no_query(root: Path, published: Path, cache: Path) -> None:
    with Web(root) as web:
        Memory.open(web.url(query="?token=s3cr3t")).close()
        assert json.loads((entry(cache) / "state.json").read_text())["url"] == web.url()


@posix
def test_the_cache_of_another_user_is_not_read_and_an_error_says_so() -> None:
    code = """
from memvid_core import cached_copies, clear_cache
from memvid_core.system.remote_cache import shrink_cache
os.environ["MEMVID_CACHE_DIR"] = path + "/cache"
for ask in (cached_copies, clear_cache, lambda: shrink_cache(0)):
    try:
        ask()
    except PermissionError as exc:
        print(type(exc).__name__, "MEMVID_CACHE_DIR" in str(exc))
"""
    with shared_folder(0o777) as folder:
        (folder / "cache" / "remote").mkdir(parents=True)
        (folder / "cache" / "remote").chmod(0)
        try:
            assert as_user(GUEST, code, folder).splitlines() == 3 * ["ReadOnlyError True"]
        finally:
            (folder / "cache" / "remote").chmod(0o700)
