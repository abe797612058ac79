"""Copies of one memory: each answers for itself, whichever folder their indexes share, and a cut file is named."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from memvid_core import DamageWarning, Memory
from tests.core.embedders import embed


@pytest.fixture(autouse=True)
def _strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A folder for the indexes of several files."""
    return tmp_path / "cache"


def made(path: Path, cache: Path, count: int = 5) -> Path:
    with Memory.create(path, embed, index_dir=cache) as memory:
        for i in range(count):
            memory.add([f"text {i}"], ids=[f"r{i}"])
        memory.search("text", mode="lexical")
    return path


def ids(path: Path, cache: Path) -> list[str]:
    """Every id, each found by its vector, too."""
    with Memory.open(path, embedder=embed, index_dir=cache) as memory:
        for record in memory:
            assert memory.search(record.text, k=1, mode="dense")[0].id == record.id
        assert memory.verify().ok
        return memory.ids()


def add(path: Path, cache: Path, name: str) -> None:
    with Memory.open(path, "a", embedder=embed, index_dir=cache) as memory:
        memory.add([f"text {name}"], ids=[name])


def test_copies_that_go_different_ways(tmp_path: Path, cache: Path) -> None:
    one = made(tmp_path / "one.mp4", cache)
    two, three = (Path(shutil.copy(one, tmp_path / name)) for name in ("two.mp4", "three.mp4"))
    expected = {path: ids(one, cache) for path in (one, two, three)}
    for n in range(12):
        path = (one, two, one, three)[n % 4]
        add(path, cache, f"n{n}")
        expected[path] = [*expected[path], f"n{n}"]
        if n % 5 == 4:
            with Memory.open(path, "a", embedder=embed, index_dir=cache) as memory:
                memory.compact()
        for other, there in expected.items():
            assert ids(other, cache) == there


def test_copies_that_are_open_at_the_same_time(tmp_path: Path, cache: Path) -> None:
    one = made(tmp_path / "one.mp4", cache)
    two = Path(shutil.copy(one, tmp_path / "two.mp4"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: add((one, two)[n % 2], cache, f"n{n}"), range(16)))
    assert sorted(ids(one, cache)[5:]) == sorted(f"n{n}" for n in range(0, 16, 2))
    assert sorted(ids(two, cache)[5:]) == sorted(f"n{n}" for n in range(1, 16, 2))


def test_an_older_copy_is_whole(tmp_path: Path, cache: Path) -> None:
    one = made(tmp_path / "one.mp4", cache)
    backup = Path(shutil.copy(one, tmp_path / "backup.mp4"))
    add(one, cache, "later")
    assert ids(backup, cache) == [f"r{i}" for i in range(5)]
    assert ids(one, cache)[-1] == "later"


def test_file_and_folder_copied_elsewhere(tmp_path: Path, cache: Path) -> None:
    one = made(tmp_path / "one.mp4", cache)
    there = tmp_path / "there"
    there.mkdir()
    two = Path(shutil.copy(one, there / "one.mp4"))
    shutil.copytree(cache, there / "cache")
    before = {path.name for path in (there / "cache").iterdir()}
    add(two, there / "cache", "new")
    assert {path.name for path in (there / "cache").iterdir()} == before  # the copy of the index is in use
    assert ids(two, there / "cache")[-1] == "new"
    assert "new" not in ids(one, cache)


def test_the_default_folder_copied_with_the_file(tmp_path: Path) -> None:
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    with Memory.create(one, embed) as memory:
        memory.add(["text a"], ids=["a"])
    shutil.copy(one, two)
    shutil.copytree(f"{one}.index", f"{two}.index")
    for path, name in ((one, "b"), (two, "c")):
        with Memory.open(path, "a", embedder=embed) as memory:
            memory.add([f"text {name}"], ids=[name])
    for path, name in ((one, "b"), (two, "c")):
        with Memory.open(path, embedder=embed) as memory:
            assert memory.ids() == ["a", name]


@pytest.mark.parametrize("how", ["as it is", "renamed", "put back"])
def test_a_file_that_was_cut_is_named(tmp_path: Path, cache: Path, how: str) -> None:
    one = made(tmp_path / "one.mp4", cache)
    if how == "renamed":
        one = one.rename(tmp_path / "renamed.mp4")
    if how == "put back":
        shutil.copy(one, tmp_path / "copy.mp4")
        os.replace(tmp_path / "copy.mp4", one)
    os.truncate(one, one.stat().st_size - 2500)
    for _ in range(2):
        with pytest.warns(DamageWarning):
            memory = Memory.open(one, embedder=embed, index_dir=cache)
        with memory:
            assert memory.info().lost > 0


def test_the_folder_of_a_copy_goes_with_it(tmp_path: Path, cache: Path) -> None:
    one = made(tmp_path / "one.mp4", cache)
    two = Path(shutil.copy(one, tmp_path / "two.mp4"))
    ids(two, cache)
    assert len(list(cache.glob("copy-*"))) == 1
    two.unlink()
    ids(one, cache)
    assert not list(cache.glob("copy-*"))


def test_a_record_that_cannot_be_read_costs_nothing(tmp_path: Path, cache: Path) -> None:
    one = made(tmp_path / "one.mp4", cache)
    (record,) = cache.glob("owner-*")
    for damaged in (b"", b"[[[[", b"\xff" * 100, b'{"path":1}'):
        record.write_bytes(damaged)
        assert len(ids(one, cache)) == 5


def test_copies_that_are_opened_at_once_when_the_owner_of_their_index_is_gone(tmp_path: Path, cache: Path) -> None:
    one = made(tmp_path / "one.mp4", cache)
    for round_ in range(5):
        copies = [Path(shutil.copy(one, tmp_path / f"{round_}-{name}.mp4")) for name in "ab"]
        one.unlink()
        together = Barrier(2)

        def opened(path: Path, together: Barrier = together) -> Memory:
            together.wait()
            return Memory.open(path, "a", embedder=embed, index_dir=cache)

        with ThreadPoolExecutor(2) as pool:
            memories = list(pool.map(opened, copies))
        for n in range(3):
            for memory, name in zip(memories, "ab", strict=True):
                memory.add([f"text {round_}{name}{n}"], ids=[f"{round_}{name}{n}"])
        for memory, name in zip(memories, "ab", strict=True):
            assert memory.ids()[-3:] == [f"{round_}{name}{n}" for n in range(3)]
            memory.close()
        assert ids(copies[0], cache)[-1] == f"{round_}a2"
        assert ids(copies[1], cache)[-1] == f"{round_}b2"
        one = copies[0]
        copies[1].unlink()


def test_copies_whose_record_of_the_owner_is_damaged(tmp_path: Path, cache: Path) -> None:
    one = made(tmp_path / "one.mp4", cache)
    two = Path(shutil.copy(one, tmp_path / "two.mp4"))
    (record,) = cache.glob("owner-*")
    record.write_bytes(bytes(record.stat().st_size))
    with (
        Memory.open(one, "a", embedder=embed, index_dir=cache) as first,
        Memory.open(two, "a", embedder=embed, index_dir=cache) as second,
    ):
        first.add(["text first"], ids=["first"])
        second.add(["text second"], ids=["second"])
    assert ids(one, cache)[-1] == "first"
    assert ids(two, cache)[-1] == "second"


def test_a_damaged_record_does_not_let_a_copy_take_the_index_of_an_open_owner(tmp_path: Path, cache: Path) -> None:
    one = made(tmp_path / "one.mp4", cache)
    with Memory.open(one, "a", embedder=embed, index_dir=cache) as first:
        (record,) = cache.glob("owner-*")
        record.write_bytes(bytes(record.stat().st_size))
        two = Path(shutil.copy(one, tmp_path / "two.mp4"))
        with Memory.open(two, "a", embedder=embed, index_dir=cache) as second:
            for number in range(3):
                first.add([f"text first {number}"], ids=[f"first {number}"])
                second.add([f"text second {number}"], ids=[f"second {number}"])
                assert first.search(f"first {number}", k=1, mode="lexical")[0].id == f"first {number}"
                assert second.search(f"second {number}", k=1, mode="lexical")[0].id == f"second {number}"
    assert ids(one, cache)[-1] == "first 2"
    assert record.read_bytes().startswith(b"{")  # the owner has written it again


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode on Windows")
def test_files_whose_names_are_not_unicode(tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "memvid_core")
    names = [os.fsdecode(name) for name in (b"one \xff.mp4", b"two \xfe.mp4")]
    try:
        one = made(tmp_path / names[0], cache)
    except OSError:  # a file system of Unicode names
        assert not [path for path in tmp_path.iterdir() if path.suffix == ".mp4"]
        return
    two = Path(shutil.copy(one, tmp_path / names[1]))
    add(two, cache, "second")
    add(one, cache, "first")
    assert ids(one, cache)[-1] == "first"
    assert ids(two, cache)[-1] == "second"
    assert r"one \udcff.mp4" in caplog.text
    caplog.text.encode()


@pytest.mark.skipif(os.name == "nt", reason="links need a permission on Windows")
def test_an_owner_that_cannot_be_looked_for_is_not_gone(tmp_path: Path, cache: Path) -> None:
    one = made(tmp_path / "one.mp4", cache)
    two = Path(shutil.copy(one, tmp_path / "two.mp4"))
    one.unlink()
    one.symlink_to(one)  # neither there nor missing, as in a folder of another user
    add(two, cache, "second")
    assert [path.name for path in cache.glob("copy-*")]
