"""Other programs at the file of an open memory, and callers that err: an error says so, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from memvid_core import InvalidInputError, LockedError, Memory, StorageError
from memvid_core.catalog.catalog import Catalog
from memvid_core.engine import opening
from memvid_core.engine.indexed_journal import IndexedJournal
from memvid_core.journal import Journal
from tests import processes
from tests.core.embedders import embed


def filled(path: Path, *ids: str) -> Memory:
    memory = Memory.create(path, embed)
    for record_id in ids:
        memory.add(f"text of {record_id}", ids=record_id)
    return memory


def _unlink(path: Path, other: Path) -> None:
    path.unlink()


def _cut(path: Path, other: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _replace(path: Path, other: Path) -> None:
    os.replace(other, path)


def _overwrite(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


INTERFERENCE: list[Callable[[Path, Path], None]] = [_unlink, _cut, _replace, _overwrite]


@pytest.mark.parametrize("inside", [False, True], ids=["between commits", "inside exclusive"])
@pytest.mark.parametrize("interfere", INTERFERENCE)
def test_nothing_is_acknowledged_that_is_not_stored(
    tmp_path: Path, interfere: Callable[[Path, Path], None], inside: bool
) -> None:
    path, other = tmp_path / "m.mp4", tmp_path / "other.mp4"
    filled(other, "strange", "stranger", "strangest").close()
    with filled(path, "a", "b") as memory:
        if inside:
            with memory.exclusive():
                memory.add("held", ids="c")
                interfere(path, other)
                if interfere is not _overwrite:  # which nobody can see while the lock keeps others out
                    with pytest.raises(StorageError):
                        memory.add("lost", ids="lost")
        else:
            interfere(path, other)
            with pytest.raises(StorageError):
                memory.add("lost", ids="lost")
    if path.exists() and interfere in (_replace, _overwrite):
        with Memory.open(path, embedder=embed) as there:
            assert "lost" not in there


@pytest.mark.parametrize("timeout", [-1, -5.0, float("nan"), float("inf"), "3", True, None])
def test_a_timeout_is_a_number_of_seconds(tmp_path: Path, timeout: object) -> None:
    with filled(tmp_path / "m.mp4") as memory:
        if timeout is not None:
            with pytest.raises(InvalidInputError), memory.exclusive(timeout):  # type: ignore[arg-type]
                pass
        with pytest.raises(InvalidInputError):
            Memory.open(tmp_path / "m.mp4", timeout=timeout)  # type: ignore[arg-type]


async def test_a_coroutine_commits_inside_its_own_exclusive_block(tmp_path: Path) -> None:
    async with await Memory.acreate(tmp_path / "m.mp4", embed, timeout=0.5) as memory:
        with memory.exclusive():
            await memory.aadd("one", ids="1")
            await memory.aupdate("1", text="once more")
            assert await memory.adelete("1") == 1


def test_a_creation_that_is_interrupted_deletes_nothing_that_others_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.mp4"
    code = "import sys; from memvid_core import Memory; m = Memory.open(sys.argv[1], 'a', embedder='given')"
    code += "; m.add('x', vectors=[None])"

    def interrupted(*_: object, **__: object) -> None:
        processes.run(code, path).check_returncode()
        raise KeyboardInterrupt

    monkeypatch.setattr(opening, "IndexedJournal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Memory.create(path, embed)
    monkeypatch.undo()
    with Memory.open(path, embedder=embed) as memory:
        assert len(memory) == 1


def test_while_another_holds_the_lock_a_memory_without_an_index_opens_in_ram(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with filled(path, "a", "b") as writer, writer.exclusive():
        opened: list[int] = []

        def look() -> None:
            with Memory.open(path, embedder=embed, index_dir=tmp_path / "elsewhere", timeout=0.2) as reader:
                opened.append(len(reader))

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert opened == [2]
        with Memory.open(path, "a", embedder=embed, timeout=0) as other, pytest.raises(LockedError):
            other.add("no")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with filled(tmp_path / "m.mp4", "a") as memory, pytest.raises(StorageError, match="pipe"):
        memory.save(pipe)
    assert pipe.is_fifo()


@pytest.mark.parametrize("path", ["", None, 5, "ftp://example.org/m.mp4"])
def test_what_cannot_be_a_path_is_told(path: object) -> None:
    with pytest.raises(InvalidInputError):
        Memory.open(path)  # type: ignore[arg-type]


def test_a_path_is_no_memory_yet() -> None:
    with pytest.raises(InvalidInputError, match=r"Memory\.open"):
        Memory("notes.mp4")  # type: ignore[arg-type]


def test_a_file_that_only_had_vectorless_records_takes_the_built_in_embedder_and_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, "given") as memory:
        memory.add("a checkpoint", vectors=[None])
    for text in ("the wing lifts", "the engine hums"):
        with Memory.open(path, "a") as memory:
            memory.add(text)
            assert memory.search(text, k=1, mode="dense")[0].text == text
    shutil.rmtree(f"{path}.index")
    with Memory.open(path) as memory:
        assert memory.embedder is not None


@pytest.mark.parametrize("connection", [1, 2])
def test_an_index_that_another_process_replaces_while_it_is_opened(tmp_path: Path, connection: int) -> None:
    path = tmp_path / "m.mp4"
    filled(path, *"abc").close()
    opened: list[object] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        """Delete the index before a connection to it is opened, and begin another, as another process does."""
        if event == "sqlite3.connect" and str(arguments[0]).startswith(str(tmp_path)):
            opened.append(arguments[0])
            if len(opened) == connection:
                shutil.rmtree(f"{path}.index")
                catalog = Path(str(arguments[0]))
                catalog.parent.mkdir(parents=True)
                Catalog(catalog).close()

    sys.addaudithook(watch)  # for good, but only for files in this folder
    with Memory.open(path, "a", embedder=embed) as memory:
        assert [record.id for record in memory] == [*"abc"]
        memory.add("text of d", ids="d")
        assert [record.id for record in memory] == [*"abcd"]
        with Memory.open(path, embedder=embed) as other:
            assert [record.id for record in other] == [*"abcd"]
            assert other.search("text of d", k=1)[0].id == "d"
    assert len(opened) > connection


def test_verify_reads_the_file_that_another_object_has_compacted(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with filled(path, *"abc") as memory, Memory.open(path, embedder=embed) as reader:
        memory.delete("b")
        memory.add("text of d", ids="d")
        with Memory.open(path, "a", embedder=embed) as other:
            other.compact(keep_history=True)
        for one in (reader, memory):
            report = one.verify()
            assert report.ok, report
            assert report.records == 3


def test_verify_while_another_object_compacts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is replaced between the look at the index and the second opening of the file."""
    path, left = tmp_path / "m.mp4", [1]
    with filled(path, *"abc") as memory, Memory.open(path, "a", embedder=embed) as other:
        memory.delete("b")
        opened = IndexedJournal.journal_copy

        def later(indexed: IndexedJournal) -> Journal:
            while left:
                left.pop()
                other.compact(keep_history=True)
            return opened(indexed)

        monkeypatch.setattr(IndexedJournal, "journal_copy", later)
        report = memory.verify()
        assert report.ok, report
        assert (report.records, left) == (2, [])
