"""What must survive: a killed writer, a wrong byte, a file cut anywhere, a full disk, an index that is not its own."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memvid_core import (
    DamageWarning,
    Memory,
    MemoryFileError,
    MemvidError,
    NotAMemoryError,
    StorageError,
    TornTailWarning,
)
from memvid_core.catalog.catalog import Catalog
from memvid_core.engine.index_folder import IndexFolder
from memvid_core.video.file import ByteFile
from memvid_core.video.mp4 import FOOTER_BYTES
from tests.core.embedders import embed
from tests.core.parity_boxes import without_parity
from tests.processes import run

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL and fork are POSIX; Windows has neither")


@needs_fork
@pytest.mark.parametrize("seed", range(4))
def test_a_writer_killed_at_random_moments_loses_nothing_it_acknowledged(
    tmp_path: Path, root: Path, seed: int, effort: Callable[[int], int], sized: Callable[[int, int], int]
) -> None:
    rounds = effort(sized(20, 50))
    program = "import sys; from tests.core.kill_harness import main; main(sys.argv[1], *map(int, sys.argv[2:]))"
    done = run(program, tmp_path, rounds, seed)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["rounds"] == rounds
    assert result["acknowledged"] >= rounds


def written(path: Path) -> dict[str, str]:
    """A memory of four commits, and its texts by id."""
    texts = {f"{i}": f"record {i}: " + random.Random(i).randbytes(120).hex() for i in range(12)}
    with Memory.create(path, embed) as memory:
        for start in range(0, 12, 3):
            ids = [str(i) for i in range(start, start + 3)]
            memory.add([texts[record_id] for record_id in ids], ids=ids)
    return texts


def test_a_wrong_byte_anywhere_is_detected_or_harmless(
    tmp_path: Path, effort: Callable[[int], int], sized: Callable[[int, int], int]
) -> None:
    path = tmp_path / "m.mp4"
    texts = written(path)
    whole, rng = path.read_bytes(), random.Random(11)
    positions = rng.sample(range(len(whole)), min(effort(sized(80, 500)), len(whole)))
    refused = damaged = harmless = 0
    for position in positions:
        broken = bytearray(whole)
        broken[position] ^= rng.randrange(1, 256)
        path.write_bytes(broken)
        shutil.rmtree(f"{path}.index", ignore_errors=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TornTailWarning)
                warnings.simplefilter("ignore", DamageWarning)
                memory = Memory.open(path, embedder=embed)
        except MemvidError:
            refused += 1
            continue
        with memory:
            found = {record.id: record.text for record in memory}
            report = memory.verify()
        assert all(texts[record_id] == text for record_id, text in found.items()), position
        assert found == texts or not report.ok, position
        assert len(found) >= 9, position
        damaged += not report.ok
        harmless += report.ok
    assert damaged > refused
    assert refused + damaged + harmless == len(positions)


@pytest.mark.no_cover  # thousands of rounds
def test_cut_anywhere_it_opens_to_the_last_commit_that_is_complete(
    tmp_path: Path, effort: Callable[[int], int]
) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed, codec_options={"columns": 2, "rows": 2}) as memory:
        sizes = [(memory.info().bytes, 0)]
        for i in range(3):
            memory.add(f"text {i}", ids=str(i))
            sizes.append((memory.info().bytes, i + 1))
    whole = path.read_bytes()
    shutil.rmtree(f"{path}.index")
    Path(f"{path}.index").touch()  # in the way of the folder: the index is made anew in RAM each time, which is quick
    around = {size + off for size, _ in sizes for off in range(-40, 41)} & set(range(len(whole) + 1))
    for length in sorted({*range(0, len(whole), max(1, 9 // effort(1))), *around}):  # every one near a commit's end
        path.write_bytes(whole[:length])
        reached = [(size, count) for size, count in sizes if size <= length]
        if not reached:
            with pytest.raises(NotAMemoryError):
                Memory.open(path, embedder=embed)
            continue
        size, count = reached[-1]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with Memory.open(path, embedder=embed) as memory:
                assert [record.id for record in memory] == [str(i) for i in range(count)], length
        torn = [str(warning.message) for warning in caught if issubclass(warning.category, TornTailWarning)]
        assert len(torn) == (length > size), length
        assert all(f"{length - size} bytes" in message for message in torn)


def test_after_a_torn_tail_the_next_write_makes_the_file_clean(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    written(path)
    path.write_bytes(path.read_bytes()[:-1000])  # the parity, the footer, and a part of the frames
    shutil.rmtree(f"{path}.index")  # which would prove that the write was finished
    with pytest.warns(TornTailWarning):
        reader = Memory.open(path, embedder=embed)
    with reader:
        assert reader.verify().torn_bytes > 0
        assert len(reader) == 9
    with pytest.warns(TornTailWarning):
        writer = Memory.open(path, "a", embedder=embed)
    with writer:
        writer.add("after", ids="after")
        assert writer.verify().ok
        assert len(writer) == 10


def test_a_damaged_frame_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    texts = written(path)
    with Memory.open(path, embedder=embed) as memory:
        place = memory._indexed.index.frame_table(2).find(4)
        assert place is not None
    data = bytearray(path.read_bytes())
    data[place.offset + 200] ^= 0xFF
    path.write_bytes(without_parity(data, place.offset))
    with Memory.open(path, embedder=embed) as memory:
        with pytest.raises(MemoryFileError, match=f"frame {place.frame} is damaged"):
            memory.get("4")
        assert memory.get("7").text == texts["7"]
        report = memory.verify()
        lost = [(item.frame, item.commit, item.records) for item in report.damage if item.records]
        assert lost == [(place.frame, 2, 3)]
    with Memory.open(path, "a", embedder=embed) as writer:
        with pytest.raises(MemoryFileError, match="drop_damaged"):
            writer.compact()
        shutil.rmtree(f"{path}.index")
    with pytest.warns(DamageWarning, match="3 records cannot be read"):
        writer = Memory.open(path, "a", embedder=embed)
    with writer:
        assert len(writer) == 9
        writer.compact(drop_damaged=True)
        assert writer.verify().ok
        assert {record.id: record.text for record in writer} == {k: v for k, v in texts.items() if k not in "345"}


class Full:
    """A file on a disk with so much room left: as the system does, it takes what fits and fails only the next time."""

    def __init__(self, file: Any, room: int | None) -> None:
        self._file = file
        self._room = room  # None: all but the last half of a footer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        if self._room is None:
            if data[-FOOTER_BYTES:][4:8] != b"free":
                return int(self._file.write(data))
            self._room = len(data) - FOOTER_BYTES // 2
        if not self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken: int = self._file.write(data[: self._room])
        self._room -= taken
        return taken


@pytest.mark.parametrize("room", [0, 40, 900, None])
def test_a_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int | None) -> None:
    path = tmp_path / "m.mp4"
    texts = written(path)
    size = path.stat().st_size
    with Memory.open(path, "a", embedder=embed) as memory:
        full = Full(memory._indexed.journal.video._file._file, room)
        monkeypatch.setattr(ByteFile, "_handle", lambda file: full)
        with pytest.raises(StorageError, match="disk is full"):
            memory.add("one more", ids="more")
        monkeypatch.undo()
        assert path.stat().st_size == size
        assert {record.id: record.text for record in memory} == texts
        memory.add("now it fits", ids="fits")
        assert memory.verify().ok


def test_a_large_commit_that_fails_leaves_no_trace_in_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.mp4"
    lost = [f"lost {i}" for i in range(5000)]
    kept = [f"kept {i}" for i in range(4500)]
    with Memory.create(path, embed) as memory:
        memory.add("before", ids="before")
        full = Full(memory._indexed.journal.video._file._file, 10_000)
        monkeypatch.setattr(ByteFile, "_handle", lambda file: full)
        with pytest.raises(StorageError, match="disk is full"):
            memory.add(lost)
        monkeypatch.undo()
        assert memory.search("lost 7", k=3, mode="dense")[0].id == "before"
        memory.add("without a vector", ids="bare", vectors=[None])
        memory.add(kept, ids=kept)
        for text in ("kept 0", "kept 4499", "before"):
            assert memory.search(text, k=1, mode="dense")[0].text == text
        assert len(memory) == 4502
    with Memory.open(path, embedder=embed) as memory:
        assert memory.search("kept 2222", k=1, mode="dense")[0].id == "kept 2222"
        assert all("lost" not in hit.text for hit in memory.search("lost 7", k=50, mode="dense"))


def test_records_in_a_damaged_frame_are_told_of_where_the_index_has_to_be_rebuilt(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed) as memory:
        memory.add([f"lost {i}" for i in range(100)])
        memory.add(["kept", "deleted"], ids=["kept", "deleted"])
        memory.delete("deleted")
        place = memory._indexed.index.frame_table(2).find(0)
        assert place is not None
        info = memory.info()
        assert (info.records, info.deleted, info.lost) == (101, 1, 0)
    data = bytearray(path.read_bytes())
    data[place.offset + 200] ^= 1
    path.write_bytes(without_parity(data, place.offset))
    shutil.rmtree(f"{path}.index")
    for mode in ("r", "a"):  # each time it is opened, not only when the index is built
        with pytest.warns(DamageWarning, match="100 records cannot be read"):
            memory = Memory.open(path, mode, embedder=embed)
        with memory:
            info = memory.info()
            assert (info.records, info.deleted, info.lost) == (1, 1, 100)
            assert [record.text for record in memory] == ["kept"]
    with pytest.warns(DamageWarning):
        memory = Memory.open(path, "a", embedder=embed)
    with memory:
        memory.compact(drop_damaged=True)
        assert memory.info().lost == 0
    with Memory.open(path, embedder=embed) as memory:
        assert [record.text for record in memory] == ["kept"]


class TestIndexFolder:
    def test_of_another_memory_is_not_taken(self, tmp_path: Path) -> None:
        first, second = tmp_path / "a.mp4", tmp_path / "b.mp4"
        written(first)
        with Memory.create(second, embed) as memory:
            memory.add("only this", ids="only")
        shutil.rmtree(f"{second}.index")
        shutil.copytree(f"{first}.index", f"{second}.index")
        with Memory.open(second, embedder=embed) as memory:
            assert [record.id for record in memory] == ["only"]

    def test_newer_than_the_file_is_rebuilt(self, tmp_path: Path) -> None:
        path = tmp_path / "m.mp4"
        written(path)
        old = path.read_bytes()
        with Memory.open(path, "a", embedder=embed) as memory:
            memory.add("later", ids="later")
        path.write_bytes(old)
        with pytest.warns(DamageWarning, match="1 records cannot be read"):  # it was there, and the index proves it
            memory = Memory.open(path, embedder=embed)
        with memory:
            assert (len(memory), memory.info().lost) == (12, 1)
            assert "later" not in memory
            assert {hit.id for hit in memory.search("later", k=12, mode="dense")} == {str(i) for i in range(12)}

    def test_older_than_the_file_takes_the_rest(self, tmp_path: Path) -> None:
        path, kept = tmp_path / "m.mp4", tmp_path / "kept"
        written(path)
        shutil.copytree(f"{path}.index", kept)
        with Memory.open(path, "a", embedder=embed) as memory:
            memory.add("later", ids="later")
        shutil.rmtree(f"{path}.index")
        shutil.copytree(kept, f"{path}.index")
        with Memory.open(path, embedder=embed) as memory:
            assert len(memory) == 13
            assert memory.search("later", k=1, mode="dense")[0].id == "later"

    @pytest.mark.parametrize("name", ["catalog.sqlite", "vectors"])
    @pytest.mark.parametrize("how", ["noise", "cut", "gone"])
    def test_damaged_is_rebuilt(self, tmp_path: Path, name: str, how: str) -> None:
        path = tmp_path / "m.mp4"
        texts = written(path)
        (folder,) = Path(f"{path}.index").iterdir()
        target = folder / name
        files = [target] if target.is_file() else [file for file in target.rglob("*") if file.is_file()]
        assert files
        for file in files:
            if how == "gone":
                file.unlink()
            elif how == "cut":
                file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
            elif name == "catalog.sqlite":
                file.write_bytes(random.Random(1).randbytes(5000))
        with Memory.open(path, embedder=embed) as memory:
            assert {record.id: record.text for record in memory} == texts
            assert memory.search(texts["5"], k=1, mode="dense")[0].id == "5"

    @pytest.mark.parametrize("version", [0, 999])
    def test_of_another_version_is_rebuilt(self, tmp_path: Path, version: int) -> None:
        path = tmp_path / "m.mp4"
        texts = written(path)
        (folder,) = Path(f"{path}.index").iterdir()
        connection = sqlite3.connect(folder / "catalog.sqlite")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.close()
        with Memory.open(path, embedder=embed) as memory:
            assert {record.id: record.text for record in memory} == texts

    @pytest.mark.parametrize("rebooted", [False, True])
    def test_not_synced_before_a_power_cut_is_rebuilt(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rebooted: bool
    ) -> None:
        path = tmp_path / "m.mp4"
        texts = written(path)
        (folder,) = Path(f"{path}.index").iterdir()
        catalog = Catalog(folder / "catalog.sqlite")
        with catalog.transaction():
            catalog.set_state("synced", None)  # as if the writer had been killed
        catalog.close()
        rows = max((folder / "vectors").rglob("*"), key=lambda file: file.stat().st_size)
        rows.write_bytes(bytes(rows.stat().st_size))  # what a power cut leaves of a file that was never synced
        if rebooted:
            monkeypatch.setattr("memvid_core.engine.index_folder.boot_id", lambda: b"another run")
        with Memory.open(path, "a", embedder=embed) as memory:
            found = memory.search(texts["5"], k=1, mode="dense")
            assert found[0].score > 0.9  # if it is not seen at the open, the checksum of the row does not fit

    def test_that_cannot_be_written_is_kept_in_ram(self, tmp_path: Path) -> None:
        path = tmp_path / "m.mp4"
        texts = written(path)
        shutil.rmtree(f"{path}.index")
        Path(f"{path}.index").write_text("a file is in the way")
        with Memory.open(path, embedder=embed) as memory:
            assert {record.id: record.text for record in memory} == texts

    @pytest.mark.parametrize("method", ["__init__", "apply", "stage_vectors"])
    @pytest.mark.parametrize("error", [sqlite3.OperationalError, StorageError])
    def test_that_has_no_room_is_kept_in_ram(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, error: type[Exception]
    ) -> None:
        path = tmp_path / "m.mp4"
        texts = written(path)
        shutil.rmtree(f"{path}.index")
        original = getattr(IndexFolder, method)

        def full(index: IndexFolder, *arguments: Any, **options: Any) -> Any:
            folder = arguments[0] if method == "__init__" else index.folder
            if folder is not None:
                raise error("database or disk is full")
            return original(index, *arguments, **options)

        monkeypatch.setattr(IndexFolder, method, full)
        for mode in ("r", "a"):
            with Memory.open(path, mode, embedder=embed) as memory:
                assert {record.id: record.text for record in memory} == texts
                assert memory.search(texts["5"], k=1, mode="dense")[0].id == "5"
                assert memory.search(texts["5"], k=1, mode="lexical")[0].id == "5"

    def test_elsewhere_if_asked(self, tmp_path: Path) -> None:
        path, index = tmp_path / "m.mp4", tmp_path / "other" / "place"
        with Memory.create(path, embed, index_dir=index) as memory:
            memory.add("a")
        assert index.is_dir()
        assert not Path(f"{path}.index").exists()
