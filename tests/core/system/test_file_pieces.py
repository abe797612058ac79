"""Many pieces of a file read with one call: the bytes that a plain read gives, whatever becomes of the file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from memvid_core.system import file_pieces
from memvid_core.system.file_pieces import FilePieces
from memvid_core.video.file import ByteFile

linux = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="files in memory are Linux's")
SIZE = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "file"
    made.write_bytes(np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8).tobytes())
    return made


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("count", [1, 7, 1024])
def test_pieces_are_what_a_read_gives(path: Path, mapped: bool, count: int) -> None:
    file = ByteFile(path, "r")
    offsets = np.random.default_rng(1).integers(0, SIZE - 1, count)
    data = path.read_bytes()
    for size in (1, 772, 3000):  # the last ones reach beyond the end, where there are zeros
        found = file.pieces(offsets, size, mapped=mapped)
        assert found.shape == (count, size)
        for offset, piece in zip(offsets.tolist(), found, strict=True):
            assert piece.tobytes() == data[offset : offset + size].ljust(size, b"\0")
    file.close()


@linux
def test_a_file_that_is_cut_while_it_is_mapped_kills_nobody(path: Path) -> None:
    with path.open("r+b") as other:
        pieces = FilePieces(other.fileno())
        offsets = np.array([0, SIZE - 4096])
        data = path.read_bytes()
        assert pieces.read(offsets, 4096) is not None
        other.truncate(SIZE // 2)
        assert pieces.read(offsets, 4096) is None
        found = pieces.read(offsets[:1], 4096)
        assert found is not None
        assert found[0].tobytes() == data[:4096]


@linux
def test_it_holds_no_lock_and_follows_growth(path: Path) -> None:
    from memvid_core.system.file_lock import system_lock

    with path.open("r+b") as own, path.open("r+b") as other:
        assert system_lock().try_lock(own.fileno())
        pieces = FilePieces(own.fileno())
        assert pieces.read(np.array([5]), 10) is not None
        assert not system_lock().try_lock(other.fileno())
        own.seek(SIZE)
        own.write(b"grown")
        own.flush()
        found = pieces.read(np.array([SIZE]), 5)
        assert found is not None
        assert found.tobytes() == b"grown"
        own.close()
        assert system_lock().try_lock(other.fileno())


@linux
def test_a_forked_child_writes_to_a_file_in_memory_of_its_own(path: Path) -> None:
    with path.open("rb") as file:
        pieces = FilePieces(file.fileno())
        mine = pieces.read(np.array([0]), 64)
        assert mine is not None
        before = mine.tobytes()
        child = os.fork()
        if not child:
            os._exit(0 if pieces.read(np.array([1000]), 64) is not None else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert mine.tobytes() == before


@linux
def test_where_the_system_refuses_pieces_are_read_one_by_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> int:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    monkeypatch.setattr(file_pieces, "_scratch", file_pieces._Scratch())
    file = ByteFile(path, "r")
    assert file.pieces(np.array([3]), 10, mapped=True).tobytes() == path.read_bytes()[3:13]
    file.close()
