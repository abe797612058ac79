"""A damaged file beside an index that knows more: what the index still finds survives whatever is written again."""

from __future__ import annotations

import shutil
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from memvid_core import DamageWarning, Memory, MemoryFileError
from memvid_core.video import Fragment, VideoFile, mp4
from tests.core.embedders import embed

CODECS = ("pcm", "qr")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The place of a memory."""
    return tmp_path / "m.mp4"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)
        yield


def made(path: Path, codec: str = "pcm") -> dict[str, str]:
    """Five records in five commits, one deleted in a commit of its own, and one added after that; what is live."""
    with Memory.create(path, embed, codec=codec) as memory:
        for i in range(5):
            memory.add([f"text {i}"], ids=[f"r{i}"])
        memory.delete(["r0"])
        memory.add(["the last"], ids=["last"])
        memory.search("text", mode="lexical")
        return {record.id: record.text for record in memory}


def fragments(path: Path) -> list[Fragment]:
    """The fragments of a file."""
    with VideoFile.open(path) as video:
        return [found for found in video.walk(video.start) if isinstance(found, Fragment)]


def swallow(path: Path, first: int, last: int) -> None:
    """Let one fragment claim the bytes of those after it, up to another: no scan looks for frames inside a frame."""
    data, found = bytearray(path.read_bytes()), fragments(path)
    one, end = found[first], found[last].end - mp4.FOOTER_BYTES
    sizes = np.diff([*one.offsets.tolist(), end]).tolist()
    samples = [(bytes(data[at : at + size]), True) for at, size in zip(one.offsets.tolist(), sizes, strict=True)]
    new = b"".join(mp4.fragment(samples, one.sequence, one.first_frame, one.first_frame))
    data[one.start : found[last].end] = new
    path.write_bytes(data)


def live(memory: Memory) -> dict[str, str]:
    """What a memory holds, each record found by its vector and its word, too."""
    held = {record.id: record.text for record in memory}
    for record_id, text in held.items():
        assert memory.search(text, k=1, mode="dense")[0].id == record_id
        assert record_id in [hit.id for hit in memory.search(text, k=9, mode="lexical")]
    return held


def test_a_compaction_keeps_what_only_the_index_finds(path: Path) -> None:
    held = made(path)
    swallow(path, 3, 6)  # a record, two more, and the deletion
    with Memory.open(path, "a", embedder=embed) as memory:
        assert live(memory) == held
        with pytest.raises(MemoryFileError):
            memory.compact()
        memory.compact(drop_damaged=True)
        assert live(memory) == held
        assert memory.verify().ok
    shutil.rmtree(f"{path}.index")
    with Memory.open(path, embedder=embed) as memory:
        assert live(memory) == held


def test_saving_keeps_it_too(path: Path) -> None:
    held = made(path)
    swallow(path, 3, 6)
    with Memory.open(path, embedder=embed) as memory:
        memory.save(path.with_name("saved.mp4"), drop_damaged=True)
    with Memory.open(path.with_name("saved.mp4"), embedder=embed) as memory:
        assert live(memory) == held


@pytest.mark.parametrize("last", [6, 7])
def test_an_index_that_heals_knows_what_the_old_one_found(path: Path, last: int) -> None:
    held = made(path)
    swallow(path, 3, last)  # in the middle, or to the end of the file
    vectors = next(file for file in Path(f"{path}.index").rglob("*") if "vectors" in file.parent.name)
    vectors.write_bytes(b"\xff" * vectors.stat().st_size)
    with Memory.open(path, embedder=embed) as memory:
        assert live(memory) == held
        assert not memory.verify().ok
    with pytest.warns(DamageWarning):
        memory = Memory.open(path, embedder=embed)
    with memory:
        assert live(memory) == held


def test_without_the_index_the_loss_is_named(path: Path) -> None:
    held = made(path)
    swallow(path, 3, 6)
    shutil.rmtree(f"{path}.index")
    with pytest.warns(DamageWarning):
        memory = Memory.open(path, embedder=embed)
    with memory:
        assert memory.info().lost >= len(set(held) - set(live(memory))) > 0
        assert memory.info().damage


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("take", [0, 7], ids=["longer", "as long"])
@pytest.mark.parametrize("number", [0, 1, 3, 6])
def test_bytes_inserted_beside_an_index(path: Path, codec: str, take: int, number: int) -> None:
    held = made(path, codec)
    data, found = path.read_bytes(), fragments(path)
    at, stop = found[number].end, found[-1].end
    if take:  # as many bytes are missing before the last frame, so that the last commit is where it was
        stop = found[-1].start
        data = data[: stop - take] + data[stop:]
    path.write_bytes(data[:at] + b"\x01\x02\x03\x04\x05\x06\x07" + data[at:])
    with Memory.open(path, "a", embedder=embed) as memory:
        assert live(memory) == held
        assert set(memory.get_vectors(list(held))) == set(held)
        memory.add(["new"], ids=["new"])
    with Memory.open(path, embedder=embed) as memory:
        assert live(memory) == {**held, "new": "new"}


@pytest.mark.parametrize("place", [825 + 40, 1486 + 40], ids=["header", "commit"])
def test_a_damaged_head_is_told_though_the_index_is_level(path: Path, place: int) -> None:
    held = made(path)
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)
    for _ in range(2):
        with pytest.warns(DamageWarning, match="no record is lost"):
            memory = Memory.open(path, "a", embedder=embed)
        with memory:
            assert live(memory) == held
            assert not memory.info().ok
            with pytest.raises(MemoryFileError):
                memory.compact()
    with Memory.open(path, "a", embedder=embed) as memory:
        memory.compact(drop_damaged=True)
        assert live(memory) == held
        assert memory.info().ok
        assert memory.verify().ok


def test_a_copy_of_a_torn_tail_goes_when_the_memory_has_its_records(path: Path) -> None:
    with Memory.create(path, embed) as memory:
        memory.add(["kept"], ids=["kept"])
        memory.add(["torn"], metadata=[{"n": 1}], ids=["torn"])
    shutil.rmtree(f"{path}.index")
    path.write_bytes(path.read_bytes()[:-700])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with Memory.open(path, "a", embedder=embed) as memory:
            assert memory.info().torn_bytes == memory.verify().torn_bytes > 0
            memory.add(["more"])
            copy = str(path) + ".torn-1"
            assert memory.info().torn_copies == memory.verify().torn_copies == (copy,)
            memory.add(["torn"], ids=["torn"])  # without the metadata
            memory.compact()
            assert memory.info().torn_copies == (copy,)
            memory.add(["torn"], metadata=[{"n": 1}], ids=["torn"])
            memory.compact()
            assert memory.info().torn_copies == ()


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_record_whose_newer_rows_an_index_of_the_catalog_lost_is_found(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, "given") as memory:
        for text in "abcd":
            memory.add([text], ids=["x"], vectors=[[1.0, 2.0]])
    [catalog] = Path(f"{path}.index").rglob("catalog.sqlite")
    with closing(sqlite3.connect(catalog)) as connection:
        connection.execute("DROP INDEX records_hash")
        connection.execute(f"CREATE INDEX records_hash ON records (hash) WHERE row < {kept}")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_schema SET sql = 'CREATE INDEX records_hash ON records (hash)' WHERE name = 'records_hash'"
        )
        connection.commit()
    with Memory.open(path, embedder="given") as memory:
        assert memory.get("x").text == "d"
        assert memory.ids(where={"$id": "x"}) == ["x"]


QUESTIONS: dict[str, Callable[[Memory], object]] = {
    "count": len,
    "records": lambda memory: sorted(record.text for record in memory),
    "get": lambda memory: [memory.get(f"r{i}").text for i in range(8)],
    "filter": lambda memory: sorted(memory.ids(where={"n": {"$gte": 2}})),
    "ids": lambda memory: sorted(memory.ids(where={"$id": {"$in": [f"r{i}" for i in range(8)]}})),
    "dense": lambda memory: [memory.search(f"text {i}", k=1, mode="dense")[0].id for i in range(8)],
    "lexical": lambda memory: [memory.search(f"text {i}", k=1, mode="lexical")[0].id for i in range(8)],
    "ordered": lambda memory: [record.id for record in memory.select(order_by="n", descending=True)],
    "upsert": lambda memory: (memory.add(["new"], [{"n": 9}], ids=["r3"]), memory.get("r3").text, len(memory)),
    "delete": lambda memory: (memory.delete(["r3"]), len(memory), sorted(memory.ids())),
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("lost", [0, 3, 7])
def test_rows_that_the_table_of_a_catalog_lost_change_no_answer(tmp_path: Path, question: str, lost: int) -> None:
    """Opening does not count the rows: whoever reads one that is gone must notice."""
    path, ask = tmp_path / "m.mp4", QUESTIONS[question]
    with Memory.create(path, embed) as memory:
        for i in range(8):
            memory.add([f"text {i}"], [{"n": i}], ids=[f"r{i}"])
        memory.search("text", mode="lexical")
    twin = shutil.copyfile(path, tmp_path / "twin.mp4")
    with Memory.open(twin, "a", embedder=embed) as memory:
        right = ask(memory)
    [catalog] = Path(f"{path}.index").rglob("catalog.sqlite")
    with closing(sqlite3.connect(catalog)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        entries = connection.execute(
            "SELECT * FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'records'"
        ).fetchall()
        connection.execute("DELETE FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'records'")
        connection.commit()
    with closing(sqlite3.connect(catalog)) as connection:  # which knows of no index
        connection.execute("DELETE FROM records WHERE row = ?", (lost,))
        connection.execute("PRAGMA writable_schema = ON")
        connection.executemany("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", entries)
        connection.commit()
    with Memory.open(path, "a", embedder=embed) as memory:
        assert ask(memory) == right
