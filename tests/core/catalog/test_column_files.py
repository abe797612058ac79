"""Columns of metadata in files: never another answer than the catalog's, whatever happens to the files."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from memvid_core import Memory
from memvid_core.catalog import column_files
from memvid_core.catalog.metadata_columns import MetadataColumns
from memvid_core.errors import IndexStaleError
from tests.core.embedders import embed
from tests.processes import start

ROWS = 60


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_files, "LEAST_ROWS", 20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A memory with a column in a file."""
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed) as memory:
        fill(memory, 0, ROWS)
        assert ask(memory) == expected(ROWS)
    [_] = files(path)
    return path


def fill(memory: Memory, start: int, stop: int, users: int = 3) -> None:
    """Add records of some users, in two commits."""
    for first, end in ((start, (start + stop) // 2), ((start + stop) // 2, stop)):
        numbers = range(first, end)
        memory.add(
            [f"text {i}" for i in numbers],
            [{"user": f"u{i % users}", "page": i} if i % 7 else {} for i in numbers],
            ids=[f"r{i}" for i in numbers],
        )


def expected(rows: int, user: int = 1, users: int = 3) -> list[str]:
    """The ids of a user's records."""
    return sorted(f"r{i}" for i in range(rows) if i % 7 and i % users == user)


def ask(memory: Memory, **where: object) -> list[str]:
    """The ids of the records that match a filter."""
    hits = memory.search("text", k=10 * ROWS, where=where or {"user": "u1"}, mode="dense")
    return sorted(hit.id for hit in hits)


def asked(path: Path, **where: object) -> list[str]:
    """The same of a memory that is opened for it."""
    with Memory.open(path, embedder=embed) as memory:
        return ask(memory, **where)


def files(path: Path) -> list[Path]:
    """The files of columns of a memory."""
    return sorted(Path(f"{path}.index").glob("*/columns/*"))


def catalogs(path: Path) -> list[Path]:
    """The catalogs of a memory."""
    return sorted(Path(f"{path}.index").glob("*/catalog.sqlite"))


def spoil_metadata(path: Path, below: int = 1 << 40) -> None:
    """Change metadata in the catalog without its checksums, of the first rows or of all."""
    [catalog] = catalogs(path)
    with closing(sqlite3.connect(catalog)) as connection, connection:
        connection.execute("""UPDATE records SET metadata = '{"user":"u1","page":1}' WHERE row < ?""", (below,))


def test_a_column_in_a_file_answers_without_the_metadata_of_the_catalog(path: Path) -> None:
    spoil_metadata(path)
    assert asked(path) == expected(ROWS)  # from the file
    assert asked(path, page=4) == ["r4"]  # another path: the damage is noticed, and the index rebuilt
    assert asked(path) == expected(ROWS)


@pytest.mark.parametrize("damage", ["flipped", "cut", "zeros", "empty", "longer"])
def test_a_damaged_file_is_read_from_the_catalog_again(path: Path, damage: str) -> None:
    [file] = files(path)
    whole = file.read_bytes()
    with Memory.open(path, embedder=embed) as memory:
        catalog, folder = memory._indexed.index.catalog, memory._indexed.index.folder
        mask = memory._indexed.index.mask({"user": "u1"}, ROWS).tolist()
        for data in damaged(whole, damage):
            file.write_bytes(data)
            columns = column_files.ColumnFiles(catalog, folder)
            assert columns.mask({"user": "u1"}, ROWS).tolist() == mask
            assert columns.unsaved  # it was not taken in
    file.write_bytes(whole[:-1])
    assert asked(path) == expected(ROWS)
    assert file.read_bytes() == whole  # and written again


def damaged(whole: bytes, damage: str) -> Iterator[bytes]:
    """Damaged variants of a file."""
    if damage == "flipped":
        for at in range(len(whole)):
            yield whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
    elif damage == "cut":
        yield from (whole[:size] for size in range(0, len(whole), 3))
    elif damage == "zeros":
        for at in range(0, len(whole) - 16, 16):
            if any(whole[at : at + 16]):
                yield whole[:at] + bytes(16) + whole[at + 16 :]
    elif damage == "empty":
        yield b""
    else:
        yield whole + b"\0"


def test_rows_that_are_newer_than_the_file_are_read_from_the_catalog(path: Path) -> None:
    [file] = files(path)
    old = file.read_bytes()
    with Memory.open(path, "a", embedder=embed) as memory:
        fill(memory, ROWS, 2 * ROWS)
        memory.delete(["r1"])
    wanted = [name for name in expected(2 * ROWS) if name != "r1"]
    assert asked(path) == wanted
    assert file.read_bytes() != old
    file.write_bytes(old)  # of an earlier state: right for its rows
    assert asked(path) == wanted
    with Memory.open(path, embedder=embed, as_of=1) as past:
        assert ask(past) == expected(ROWS // 2)


def test_new_rows_with_damaged_metadata_are_noticed(path: Path) -> None:
    [file] = files(path)
    old = file.read_bytes()
    with Memory.open(path, "a", embedder=embed) as memory:
        fill(memory, ROWS, 2 * ROWS)
    file.write_bytes(old)
    spoil_metadata(path)
    assert asked(path) == expected(2 * ROWS)


def test_damage_is_noticed_if_new_rows_make_a_column_of_a_file_too_large(path: Path) -> None:
    [file] = files(path)
    old = file.read_bytes()
    with Memory.open(path, "a", embedder=embed) as memory:
        fill(memory, ROWS, 2 * ROWS, users=5)
    file.write_bytes(old)
    spoil_metadata(path, below=ROWS)
    with Memory.open(path, embedder=embed) as memory:
        catalog, folder = memory._indexed.index.catalog, memory._indexed.index.folder
        columns = column_files.ColumnFiles(catalog, folder)
        columns._columns = MetadataColumns(max_distinct=4, rows_of=catalog.rows_of)
        assert columns.mask({"user": "u1"}, ROWS).sum() == len(expected(ROWS))  # from the file
        with pytest.raises(IndexStaleError, match="metadata"):
            columns.mask({"user": "u1"}, 2 * ROWS)  # from the catalog


@pytest.mark.parametrize("renamed", [False, True], ids=["of another memory", "of a copy that went on apart"])
def test_a_file_of_another_memory_is_not_used(path: Path, tmp_path: Path, renamed: bool) -> None:
    other = tmp_path / "other.mp4"
    if renamed:
        shutil.copy(path, other)
        for memory_path, users in ((path, 3), (other, 5)):
            with Memory.open(memory_path, "a", embedder=embed) as memory:
                fill(memory, ROWS, 2 * ROWS, users)
    else:
        with Memory.create(other, embed) as memory:
            fill(memory, 0, ROWS, users=5)
    wanted = asked(path), asked(other)
    assert wanted[0] != wanted[1]
    [mine], [theirs] = files(path), files(other)
    one, two = mine.read_bytes(), theirs.read_bytes()
    mine.write_bytes(two)
    theirs.write_bytes(one)
    assert (asked(path), asked(other)) == wanted


def test_a_file_of_another_path_is_not_used(path: Path) -> None:
    assert asked(path, page={"$gte": 0}) == sorted(f"r{i}" for i in range(ROWS) if i % 7)
    one, two = files(path)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert asked(path) == expected(ROWS)
    assert asked(path, page=4) == ["r4"]


def test_the_index_is_rebuilt_and_compacted_without_old_columns(path: Path) -> None:
    shutil.rmtree(f"{path}.index")
    assert asked(path) == expected(ROWS)
    with Memory.open(path, "a", embedder=embed) as memory:
        memory.delete([f"r{i}" for i in range(0, ROWS, 2)])
        memory.compact()
        left = [name for name in expected(ROWS) if int(name[1:]) % 2]
        assert ask(memory) == left
    assert asked(path) == left


def test_files_that_cannot_be_written_are_left_out(path: Path) -> None:
    [file] = files(path)
    shutil.rmtree(file.parent)
    file.parent.write_bytes(b"")
    assert asked(path) == expected(ROWS)
    assert asked(path) == expected(ROWS)


READER = """
import sys
from memvid_core import Memory
from memvid_core.catalog import column_files
from tests.core.embedders import embed
column_files.LEAST_ROWS = 20
with Memory.open(sys.argv[1], embedder=embed) as memory:
    while True:
        total = len(memory)
        found = [hit.id for hit in memory.search("text", k=9999, where={"user": "u1"}, mode="dense")]
        for rows in range(total, 100_000, 30):
            wanted = {f"r{i}" for i in range(rows) if i % 7 and i % 3 == 1}
            if set(found) == wanted:
                break
            assert len(wanted) <= len(found), "a filter missed records"
        if total >= 600:
            break
"""


def test_a_reader_follows_while_a_writer_saves_columns(path: Path) -> None:
    readers = [start(READER, path) for _ in range(2)]
    with Memory.open(path, "a", embedder=embed) as memory:
        for first in range(ROWS, 600, ROWS):
            fill(memory, first, first + ROWS)
            assert ask(memory) == expected(first + ROWS)
    for reader in readers:
        _, errors = reader.communicate(timeout=60)
        assert reader.returncode == 0, errors
    assert asked(path) == expected(600)
