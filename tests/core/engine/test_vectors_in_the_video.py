"""A memory whose index reads its vectors from the file: whatever happens to the file, answers are right or refused."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memvid_core import Memory, MemvidError
from memvid_core.vectors.matrix import FileRows
from memvid_core.vectors.video_rows import VideoRows
from tests import processes
from tests.core.vectors.tuned import tune

ROWS, DIMENSION = 300, 48
VECTORS = np.random.default_rng(0).standard_normal((2 * ROWS, DIMENSION)).astype(np.float32)
_READER = """
import sys
from tests.core.engine import test_vectors_in_the_video as here
sys.exit(here.search_all(sys.argv[1], int(sys.argv[2])))
"""


def low_limits() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        tune(patch, settled_rows=40, frame_rows=1, auto_floats=1, few_candidates=8)
        yield patch


soon = pytest.fixture(autouse=True)(low_limits)


def search_all(path: str, rows: int) -> int:
    """In another process: how many rows are not found by their own vectors."""
    for _ in low_limits():
        with Memory.open(path) as memory:
            return sum(not found(memory, row) for row in range(rows))
    return rows


def filled(path: Path, rows: int = ROWS, **options: object) -> Memory:
    memory = Memory.create(path, "given", **options)  # type: ignore[arg-type]
    add(memory, 0, rows)
    return memory


def add(memory: Memory, first: int, stop: int) -> None:
    texts = [f"text {row}" for row in range(first, stop)]
    memory.add(texts, ids=[str(row) for row in range(first, stop)], vectors=VECTORS[first:stop])


def settled(memory: Memory) -> int:
    index = memory._indexed.index.vectors(again=True)
    assert index is not None
    return index.settled


def found(memory: Memory, row: int) -> bool:
    return memory.search(VECTORS[row].tolist(), k=1)[0].id == str(row)


def kept(path: Path) -> int:
    """Bytes of vectors in the index."""
    return sum(file.stat().st_size for file in Path(f"{path}.index").rglob("vectors-*") if file.suffix != ".sums")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.mp4"


def test_a_large_commit_is_never_copied(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = FileRows.write

    def noting(self: FileRows, first: int, unit: Any) -> Any:
        written.append(len(unit))
        return write(self, first, unit)

    monkeypatch.setattr(FileRows, "write", noting)
    with filled(path) as memory:
        assert (settled(memory), written) == (ROWS, [])
        add(memory, ROWS, ROWS + 1)
        assert (settled(memory), written) == (ROWS, [1])
        assert all(found(memory, row) for row in range(ROWS + 1))
    assert kept(path) == 2 * DIMENSION
    assert search_all(str(path), ROWS + 1) == 0
    with Memory.open(path) as memory:
        assert memory.verify().ok


@pytest.mark.parametrize("vectors", ["int8", "none"])
def test_what_does_not_lie_there_as_it_is_searched_is_kept(path: Path, vectors: str) -> None:
    if vectors == "none":
        memory = Memory.create(
            path, lambda texts: VECTORS[[int(text.split()[1]) for text in texts]], vector_dtype="none"
        )
        memory.add([f"text {row}" for row in range(ROWS)], ids=[str(row) for row in range(ROWS)])
    else:
        memory = filled(path, vector_dtype=vectors)
    with memory:
        assert settled(memory) == 0
        assert all(found(memory, row) for row in range(ROWS))
    assert kept(path) == (4 if vectors == "none" else 2) * DIMENSION * ROWS


def test_an_index_with_a_copy_is_taken_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as old:
        tune(old, settled_rows=1 << 30)
        filled(path).close()
    assert kept(path) == 2 * DIMENSION * ROWS
    with Memory.open(path, "a") as memory:
        assert all(found(memory, row) for row in range(ROWS))
        add(memory, ROWS, ROWS + 1)
        assert settled(memory) == ROWS + 1
    assert kept(path) == 0
    assert search_all(str(path), ROWS + 1) == 0


def test_a_commit_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled(path, 100) as memory:
        with monkeypatch.context() as broken:
            broken.setattr(VideoRows, "settle", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                add(memory, 100, 200)
        add(memory, 200, ROWS)
        rows = [int(record_id) for record_id in memory.ids()]
        assert all(found(memory, row) for row in rows)
        assert set(range(200, ROWS)) <= set(rows)
    assert search_all(str(path), 100) == 0


def test_it_is_compacted_while_it_is_searched_here_and_in_another_process(path: Path) -> None:
    with filled(path) as memory, Memory.open(path) as reader:
        stop, wrong = threading.Event(), []

        def search() -> None:
            row = 0
            while not stop.is_set():
                row = (row + 7) % ROWS
                if row % 3 and not found(reader, row):
                    wrong.append(row)

        thread = threading.Thread(target=search)
        thread.start()
        memory.delete([str(row) for row in range(0, ROWS, 3)])
        for first in range(ROWS, ROWS + 60, 20):
            add(memory, first, first + 20)
            memory.compact()
        stop.set()
        thread.join()
        assert not wrong
        assert settled(memory) > ROWS // 2
        left = [*(row for row in range(ROWS) if row % 3), *range(ROWS, ROWS + 60)]
        assert all(found(memory, row) for row in left)
        child = processes.run(_READER, path, ROWS)
        assert child.returncode == ROWS // 3  # those that were deleted


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning")
def test_a_changed_byte_is_a_loss_that_is_named(path: Path) -> None:
    with filled(path) as memory, Memory.open(path) as reader:
        places = memory._indexed.index.catalog.frames_after(3, -1)
        place = places[len(places) // 2]
        assert all(found(reader, row) for row in range(ROWS))
        with path.open("r+b") as file:
            file.seek(place.offset + place.size // 3)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 16]))
        lost = sum(not found_or_lost(reader, row) for row in range(ROWS))
        assert lost <= place.items
        assert not reader.verify().ok


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning")
@pytest.mark.skipif(os.name == "nt", reason="Windows cuts no file that is open")
@pytest.mark.parametrize("left", [0.0, 0.3, 0.9])
def test_a_file_that_is_cut_ends_no_process(path: Path, left: float) -> None:
    with filled(path) as memory, Memory.open(path) as reader:
        assert all(found(reader, row) for row in range(ROWS))
        os.truncate(path, int(path.stat().st_size * left))
        for one in (reader, memory):
            for row in range(0, ROWS, 11):
                found_or_lost(one, row)


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning", "ignore::memvid_core.TornTailWarning")
@pytest.mark.skipif(os.name == "nt", reason="Windows writes over no file that is open")
def test_a_copy_that_is_written_over_it_again_and_again_ends_no_search(path: Path) -> None:
    with filled(path), Memory.open(path) as reader:
        data = path.read_bytes()
        stop, wrong = threading.Event(), []

        def search() -> None:
            row = 0
            while not stop.is_set():
                row = (row + 7) % ROWS
                found_or_lost(reader, row)

        def watched() -> None:
            try:
                search()
            except BaseException as exc:
                wrong.append(exc)

        threads = [threading.Thread(target=watched) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            path.write_bytes(data)  # cut to nothing, and filled again
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong
    assert search_all(str(path), ROWS) == 0


def found_or_lost(memory: Memory, row: int) -> bool:
    """Whether a row is found; if not, it is told that something is lost, or refused to answer.

    Another thread may have repaired what was lost before it is asked for: then the row is found at once.
    """
    try:
        for _ in range(3):
            hits = memory.search(VECTORS[row].tolist(), k=1)
            right = bool(hits) and hits[0].id == str(row)
            if right or memory._indexed.index.catalog.damage() or not memory.verify().ok:
                return right
    except MemvidError:
        return False
    raise AssertionError(f"row {row} is not found, and nothing is lost")
