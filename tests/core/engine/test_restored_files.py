"""A file that was damaged and is whole again: the index reports no damage that is gone, and finds every record."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest

from memvid_core import DamageWarning, Memory, MemvidError
from memvid_core.engine.damage_evidence import unreadable_bytes
from memvid_core.engine.index_updater import IndexUpdater
from memvid_core.journal import Batch, Journal

ROWS, DIMENSION = 40, 16
VECTORS = np.random.default_rng(3).standard_normal((ROWS + 2, DIMENSION)).astype(np.float32)


def cut(data: bytes, at: int) -> bytes:
    return data[:at]


def zeroed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def add(memory: Memory, first: int, stop: int) -> None:
    texts = [f"text {row} of the record" for row in range(first, stop)]
    memory.add(texts, ids=[str(row) for row in range(first, stop)], vectors=VECTORS[first:stop])


@pytest.fixture(scope="module", params=["pcm", "qr"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "m.mp4"
    with Memory.create(path, "given", codec=request.param) as memory:
        add(memory, 0, ROWS // 2)
        add(memory, ROWS // 2, ROWS)
        memory.delete(["1"])
    return path


def assert_whole(path: Path, rows: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DamageWarning)
        with Memory.open(path) as memory:
            assert_all_there(memory, rows)
            assert memory.verify().ok
            assert memory.info().damage == ()


def assert_all_there(memory: Memory, rows: int) -> None:
    info = memory.info()
    assert (info.records, info.lost) == (rows - 1, 0)
    ids = [str(row) for row in range(rows) if row != 1]
    assert [memory.search(VECTORS[int(name)].tolist(), k=1)[0].id for name in ids] == ids
    assert all(record is not None for record in memory.get(ids))
    assert "7" in [hit.id for hit in memory.search("text 7", k=5, mode="lexical")]


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning", "ignore::memvid_core.TornTailWarning")
@pytest.mark.parametrize("damaged", [cut, zeroed, flipped])
def test_reader_that_saw_the_damage_finds_everything_afterwards(
    whole: Path, tmp_path: Path, damaged: Callable[[bytes, int], bytes]
) -> None:
    data = whole.read_bytes()
    for at in np.linspace(600, len(data) - 1, 8).astype(int).tolist():
        path = tmp_path / f"{at}.mp4"
        shutil.copy(whole, path)
        with Memory.open(path) as reader:
            path.write_bytes(damaged(data, at))
            for row in (3, 30):
                with suppress(MemvidError):
                    reader.search(VECTORS[row].tolist(), k=1)
            path.write_bytes(data)
            assert_all_there(reader, ROWS)
        assert_whole(path, ROWS)


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning", "ignore::memvid_core.TornTailWarning")
@pytest.mark.parametrize("damaged", [cut, zeroed, flipped])
def test_index_that_was_made_of_the_damaged_file_is_rebuilt(
    whole: Path, tmp_path: Path, damaged: Callable[[bytes, int], bytes]
) -> None:
    data = whole.read_bytes()
    for at in np.linspace(600, len(data) - 1, 8).astype(int).tolist():
        path = tmp_path / f"{at}.mp4"
        path.write_bytes(damaged(data, at))
        with suppress(MemvidError):
            Memory.open(path).close()
        path.write_bytes(data)
        assert_whole(path, ROWS)


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning", "ignore::memvid_core.TornTailWarning")
def test_commits_after_the_damage_stay_when_the_damaged_bytes_are_back(whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    for at in np.linspace(600, len(data) - 1_300, 8).astype(int).tolist():  # not in the last commit
        path = tmp_path / f"{at}.mp4"
        path.write_bytes(zeroed(data, at))
        with Memory.open(path, "a") as memory:
            add(memory, ROWS, ROWS + 1)
            with path.open("r+b") as file:
                file.seek(at)
                file.write(data[at : at + 512])
            add(memory, ROWS + 1, ROWS + 2)
            assert_all_there(memory, ROWS + 2)
        with Memory.open(path) as memory:  # that a commit was written after a damaged one may still be reported
            assert_all_there(memory, ROWS + 2)


@pytest.fixture
def deleted(tmp_path: Path) -> tuple[bytes, int]:
    """The bytes of a memory whose last commit is a deletion, and where that begins."""
    with Memory.create(tmp_path / "m.mp4", "given") as memory:
        add(memory, 0, ROWS)
        start = (tmp_path / "m.mp4").stat().st_size
        memory.delete(["1"])
    return (tmp_path / "m.mp4").read_bytes(), start


def is_unreadable(memory: Memory) -> bool:
    return any("no frame can be read" in damage.reason for damage in memory.info().damage)


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning")
@pytest.mark.parametrize("indexed", [True, False])
def test_a_last_commit_that_comes_back_hides_no_later_one(
    deleted: tuple[bytes, int], tmp_path: Path, indexed: bool
) -> None:
    (data, start), unreadable = deleted, 0
    for at in range(start, len(data) - 500, 60):
        path = tmp_path / f"{at}.mp4"
        path.write_bytes(zeroed(data, at))
        with Memory.open(path, "a") as memory:
            lost = is_unreadable(memory)
            add(memory, ROWS, ROWS + 1)
        with path.open("r+b") as file:
            file.seek(at)
            file.write(data[at : at + 512])
        if not indexed:
            shutil.rmtree(f"{path}.index")
        with Memory.open(path) as memory:
            if lost or indexed:  # otherwise the later commit is taken for a copy, which is reported
                assert_all_there(memory, ROWS + 1)
            assert memory.info().records >= ROWS - 1
        unreadable += lost
    assert unreadable


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning", "ignore::memvid_core.TornTailWarning")
def test_zeros_up_to_the_end_are_named_after_the_next_commit(tmp_path: Path) -> None:
    path, cases = tmp_path / "m.mp4", 0
    with Memory.create(path, "given") as memory:
        add(memory, 0, 1)
        start = path.stat().st_size
        add(memory, 1, 4)
    data = path.read_bytes()
    for at in range(start, len(data), 40):
        path = tmp_path / f"{at}.mp4"
        path.write_bytes(data[:at] + bytes(len(data) - at))
        with Memory.open(path, "a") as memory:
            named = memory.info().damage
            add(memory, 4, 5)
        with Memory.open(path) as memory:
            assert bool(memory.info().damage) >= bool(named)
            assert "4" in memory.ids()
        cases += bool(named)
    assert cases


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning")
def test_an_unreadable_commit_is_named_after_later_ones(deleted: tuple[bytes, int], tmp_path: Path) -> None:
    data, start = deleted
    path, before = tmp_path / "broken.mp4", tmp_path / "before"
    path.write_bytes(zeroed(data, start + 100))
    with Memory.open(path, "a") as memory:
        add(memory, ROWS, ROWS + 1)
        assert is_unreadable(memory)
    shutil.copytree(f"{path}.index", before)
    with Memory.open(path, "a") as memory:
        add(memory, ROWS + 1, ROWS + 2)
    shutil.rmtree(f"{path}.index")
    shutil.copytree(before, f"{path}.index")  # as if the process had been killed before the index was updated
    for _ in range(2):
        with Memory.open(path) as memory:
            assert is_unreadable(memory)
            assert memory.info().records == ROWS + 2


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning")
def test_damage_that_is_restored_while_it_is_recorded_is_forgotten(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, recorded = whole.read_bytes(), 0
    for at in np.linspace(800, len(data) - 1_300, 8).astype(int).tolist():
        path = tmp_path / f"{at}.mp4"
        path.write_bytes(zeroed(data, at))

        def restored_first(journal: Journal, start: int, stop: int, path: Path = path) -> bytes:
            nonlocal recorded
            recorded += 1
            path.write_bytes(data)
            return unreadable_bytes(journal, start, stop)

        with monkeypatch.context() as patched:
            patched.setattr("memvid_core.engine.indexing.unreadable_bytes", restored_first)
            Memory.open(path).close()
        path.write_bytes(data)
        assert_whole(path, ROWS)
    assert recorded


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning")
def test_vectors_of_another_dimension_are_no_damage_that_was_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are damage only because of an earlier commit, and the index is not built again at each opening."""
    path = tmp_path / "m.mp4"
    discarded: list[IndexUpdater] = []
    journal = Journal.create(path, vectors="float16", embedder="given")
    for name, dimension in (("a", 4), ("b", 8), ("c", 4)):
        row = msgspec.msgpack.encode((name, name, {}))
        journal.append(Batch([row], np.ones((1, dimension), np.float16), np.arange(1)))
    journal.close()
    monkeypatch.setattr(IndexUpdater, "discard_index", lambda updater: discarded.append(updater))
    for _ in range(2):
        with Memory.open(path) as memory:
            assert [damage.vectors for damage in memory.info().damage] == [1]
            assert memory.ids() == ["a", "b", "c"]
    assert discarded == []
