"""A remote memory costs few requests, follows its object, and never shows a mixture of two versions of it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from memvid_core import Memory, StorageError, TornTailWarning
from memvid_core.memory import session_of
from memvid_core.system import remote_copies
from tests.core.remote.web import Web

Look = Callable[[Memory], int]


@pytest.fixture(scope="module")
def several_megabytes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory of a few commits."""
    path = tmp_path_factory.mktemp("large") / "m.mp4"
    rng = np.random.default_rng(7)
    with Memory.create(path, "given") as memory:
        memory.add([f"word{i} text" for i in range(900)], vectors=rng.normal(size=(900, 1_400)))
        memory.add(["the last"], ids=["last"], vectors=rng.normal(size=(1, 1_400)))
    return path


@pytest.fixture
def large(root: Path, several_megabytes: Path) -> Path:
    """The same, published."""
    return Path(shutil.copy(several_megabytes, root))


@pytest.mark.parametrize("version", ["etag", "none"])
def test_first_opening_reads_the_file_once_and_later_ones_a_few_kilobytes(
    root: Path, large: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_copies, "LOOK_SECONDS", 600.0)  # a busy machine takes more than two
    size = large.stat().st_size
    assert size > 2_000_000
    with Web(root, version=version) as web:
        with Memory.open(web.url()) as memory:
            assert len(memory) == 901
        assert web.requests <= 2
        assert web.total <= 1.02 * size
        web.forget()
        with Memory.open(web.url()) as memory:
            assert (web.requests, web.total <= 200_000) == (1, True)
            web.forget()
            vector = np.random.default_rng(1).normal(size=1_400)
            assert len(memory.search(vector, k=10)) == 10
            assert memory.search("word7", mode="lexical")
            assert web.requests <= 3
            web.forget()
            assert memory.get("last").text == "the last"
            assert web.requests <= 1


def test_an_open_memory_looks_at_most_every_two_seconds(root: Path, published: Path) -> None:
    with Web(root) as web, Memory.open(web.url()) as memory:
        web.forget()
        began = time.monotonic()
        for _ in range(50):
            memory.search("wing")
        assert web.requests <= 1 + (time.monotonic() - began) / 2


@pytest.mark.parametrize(("version", "ranges"), [("etag", True), ("weak", True), ("none", True), ("none", False)])
def test_every_change_of_the_object_is_seen(
    root: Path, published: Path, look: Look, version: str, ranges: bool
) -> None:
    with Web(root, version=version, ranges=ranges) as web, Memory.open(web.url()) as memory:
        assert len(memory) == 38
        with Memory.open(published, "a") as writer:
            writer.add(["one more"])
            assert look(memory) == 39
            writer.delete(ids=writer.ids()[:20])
            assert look(memory) == 19
            writer.compact()
            assert look(memory) == 19
            assert [hit.text for hit in memory.search("the engine", k=1)] == ["the engine hums"]
            writer.add(["after it"])
            assert look(memory) == 20
        older = published.read_bytes()
        with Memory.open(published, "a") as writer:
            writer.add(["in the newest only"])
        assert look(memory) == 21
        published.write_bytes(older)
        assert look(memory) == 20
        assert not memory.info().damage
        other = root / "other.mp4"
        with Memory.create(other) as writer:
            writer.add(["another memory"])
        os.replace(other, published)
        assert look(memory) == 1
        assert memory.search("memory", k=1)[0].text == "another memory"
        assert memory.verify().ok
        web.forget()
        assert look(memory) == 1
        assert web.total <= published.stat().st_size


def memory_of(text: str, path: Path) -> Path:
    """A memory of one record; its random id and its times may be a byte longer in the video than those of another."""
    with Memory.create(path) as writer:
        writer.add([text], ids=["x"])
    return path


@pytest.mark.parametrize("version", ["time", "none"])
def test_an_object_of_the_same_size_and_time_is_told_by_its_last_commit(
    root: Path, tmp_path: Path, look: Look, version: str
) -> None:
    texts = ("the wing lifts", "the wing falls")
    first = memory_of(texts[0], tmp_path / "first.mp4")
    alike = (memory_of(texts[1], tmp_path / f"{number}.mp4") for number in range(100))
    second = next(path for path in alike if path.stat().st_size == first.stat().st_size)
    shutil.copy(first, root / "m.mp4")
    os.utime(root / "m.mp4", (1e9, 1e9))
    with Web(root, version=version) as web, Memory.open(web.url()) as memory:
        assert memory.get("x").text == texts[0]
        shutil.copy(second, root / "m.mp4")
        os.utime(root / "m.mp4", (1e9, 1e9))
        look(memory)
        assert memory.get("x").text == texts[1]


def test_a_follower_never_shows_a_wrong_count(root: Path) -> None:
    """100 commits of one record each, a compaction, and another memory in its place."""
    path = root / "m.mp4"
    seen: list[tuple[int, int]] = []
    news = threading.Condition()
    with Memory.create(path) as writer, Web(root) as web:
        writer.add(["first"])
        reader = Memory.open(web.url())

        def follow() -> None:
            for commit in reader.follow(since=0, interval=0.005):
                with news:
                    seen.append((commit.number, len(reader)))
                    news.notify_all()

        def wait_for(number: int) -> None:
            with news:
                assert news.wait_for(lambda: bool(seen) and seen[-1][0] == number, 20), seen[-3:]

        thread = threading.Thread(target=follow)
        thread.start()
        wait_for(1)
        for number in range(2, 101):
            writer.add([f"record {number}"])
            if number % 5 == 0:
                wait_for(number)
        assert [number for number, _ in seen] == list(range(1, 101))
        assert all(number <= count <= 100 for number, count in seen)
        writer.delete(ids=writer.ids()[:60])
        wait_for(101)
        writer.compact()
        writer.add(["after the compaction"])
        wait_for(102)
        assert seen[-2:] == [(101, 40), (102, 41)]
        other = root / "other.mp4"
        with Memory.create(other) as swapped:
            swapped.add(["a", "b"])
            swapped.add(["c"])
        os.replace(other, path)
        wait_for(2)
        assert seen[-2:] == [(1, 3), (2, 3)]
        reader.close()
        thread.join(10)
        assert not thread.is_alive()


class Changing(MemoryFileSystem):  # type: ignore[misc]
    """A file system whose object is replaced between two reads, as often as it is told to."""

    protocol = "changing"
    cachable = False
    swaps: int = 0
    content: bytes = b""

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode, **options)
        if mode == "rb" and self.swaps:
            self.swaps -= 1
            before = file.getvalue()

            class Torn:
                """The first half of the old content, and the second half of the new one."""

                def __init__(self, content: bytes) -> None:
                    self.content, self.at = content, 0

                def seek(self, at: int) -> None:
                    self.at = at

                def read(self, size: int) -> bytes:
                    data = self.content[self.at : self.at + size]
                    self.at += len(data)
                    return data

                def close(self) -> None:
                    return None

            self.pipe(path, self.content)
            half = len(before) // 2
            return Torn(before[:half] + self.content[half : len(before)].ljust(len(before) - half, b"\0"))
        return file


def _memory_of(path: Path, texts: list[str]) -> bytes:
    with Memory.create(path) as memory:
        memory.add(texts)
    return path.read_bytes()


@pytest.mark.parametrize("swaps", [1, 4])
def test_an_object_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path, swaps: int) -> None:
    old = _memory_of(tmp_path / "old.mp4", [f"old {i}" for i in range(50)])
    new = _memory_of(tmp_path / "new.mp4", [f"new {i}" for i in range(60)])
    fs = Changing()
    fs.pipe("/box/m.mp4", old)
    fs.content, fs.swaps = new, swaps
    with Memory.open("/box/m.mp4", fs=fs) as memory:
        assert {record.text.split()[0] for record in memory} == {"new"}
        assert memory.verify().ok


def test_an_object_that_never_stays_the_same_is_an_error(tmp_path: Path) -> None:
    content = _memory_of(tmp_path / "old.mp4", ["a"])
    fs = Changing()
    fs.pipe("/box/n.mp4", content)
    fs.content, fs.swaps = content, 1_000
    with pytest.raises(StorageError, match="changes faster than it can be read"):
        Memory.open("/box/n.mp4", fs=fs)


@pytest.mark.parametrize("version", ["etag", "none"])
def test_a_file_that_is_overwritten_while_it_is_sent_does_not_stay_mixed(
    root: Path, tmp_path: Path, version: str
) -> None:
    """The server reads the file in the middle of an upload: half old, half new."""
    rng = np.random.default_rng(3)
    for name in ("old", "new"):
        with Memory.create(tmp_path / f"{name}.mp4", "given") as memory:
            memory.add([f"{name} {i}" for i in range(900)], vectors=rng.normal(size=(900, 900)))
    old, new = ((tmp_path / f"{name}.mp4").read_bytes() for name in ("old", "new"))
    half = len(old) // 2
    (root / "m.mp4").write_bytes(old[:half] + new[half:])

    def write(content: bytes) -> None:
        (root / "m.mp4").write_bytes(content)

    with Web(root, version=version) as web:
        web.before_body = lambda: write(new)
        with Memory.open(web.url()) as memory:
            assert {record.text.split()[0] for record in memory} == {"new"}
            assert len(memory) == 900


def test_any_file_system_of_fsspec_is_read(tmp_path: Path, look: Look) -> None:
    fs = MemoryFileSystem()
    fs.pipe("/bucket/notes.mp4", _memory_of(tmp_path / "a.mp4", ["the wing lifts"]))
    with Memory.open("/bucket/notes.mp4", fs=fs) as memory:
        assert memory.search("wing", k=1)[0].text == "the wing lifts"
        with Memory.open(tmp_path / "a.mp4", "a") as writer:
            writer.add(["the engine hums"])
        fs.pipe("/bucket/notes.mp4", (tmp_path / "a.mp4").read_bytes())
        assert look(memory) == 2


def test_an_interrupted_upload_is_read_up_to_its_last_commit(root: Path, published: Path, look: Look) -> None:
    whole = published.read_bytes()
    with Memory.open(published, "a") as writer:
        writer.add([f"later {i}" for i in range(50)])
    longer = published.read_bytes()
    cut = longer[: len(whole) + (len(longer) - len(whole)) // 2]
    published.write_bytes(cut)
    with Web(root) as web:
        with pytest.warns(TornTailWarning, match="the last write never finished"):
            memory = Memory.open(web.url())
        assert len(memory) == 38
        assert memory.info().torn_bytes == len(cut) - len(whole)
        assert look(memory) == 38
        published.write_bytes(longer)  # the rest arrives
        assert look(memory) == 88
        published.write_bytes(cut)
        assert look(memory) == 38
        shutil.rmtree(root / "m.mp4.index")
        with pytest.warns(TornTailWarning), Memory.open(published, "a") as writer:
            writer.add(["instead"])  # cuts off what was torn
        assert look(memory) == 39
        assert memory.verify().ok
        memory.close()


def test_threads_that_open_at_once_fetch_once(root: Path, large: Path) -> None:
    counts: list[int] = []

    def count() -> None:
        with Memory.open(web.url()) as memory:
            counts.append(len(memory))

    with Web(root) as web:
        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts == [901] * 4
        assert web.total <= 1.1 * large.stat().st_size


def test_a_slow_server_is_asked_less_often(root: Path, published: Path) -> None:
    with Web(root, delay=0.3) as web, Memory.open(web.url()) as memory:
        remote = session_of(memory).remote
        assert remote is not None
        assert remote._due - time.monotonic() > 2.5
        assert web.requests == 1
