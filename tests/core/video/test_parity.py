"""Parity: one damaged sector of a commit costs nothing, wherever it lies, and is reported."""

from __future__ import annotations

import io
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memvid_core import DamageWarning, Memory
from memvid_core.journal import Journal
from memvid_core.video import mp4
from memvid_core.video.file import ByteFile
from memvid_core.video.parity import parity_of, patches, restore
from memvid_core.video.positions import Fragment

ROWS, DIMENSION = 400, 256
VECTORS = np.random.default_rng(1).standard_normal((ROWS + 1, DIMENSION)).astype(np.float32)
IDS = [str(row) for row in range(ROWS)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_that_is_smaller_than_the_parity_is_among_the_patches(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([700, 2000, 150_000]))
    content = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=4)))
    bounds = zip([0, *cuts], [*cuts, size], strict=True)
    parity = parity_of([content[start:stop] for start, stop in bounds])
    box = mp4.parity_box(size, parity)
    length = data.draw(st.integers(1, len(parity) - 64))
    at = data.draw(st.integers(0, size - length))
    damaged = bytearray(content)
    if data.draw(st.booleans()):
        damaged[at : at + length] = bytes(length)
    damaged[at] ^= 1
    damaged[at + length - 1] ^= 2
    file = ByteFile(io.BytesIO(b"before" + bytes(damaged) + box), "r")
    values = mp4.parse_parity(box[: mp4.PARITY_BYTES])
    assert values is not None
    found = patches(file, 6, values, 6 + at, 6 + at + length)
    assert any(patch.read(file, 6, size) == content for patch in found)


@pytest.fixture(scope="module")
def bulk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A memory with one large commit after a small one, and the offset of the large one."""
    path = tmp_path_factory.mktemp("bulk") / "m.mp4"
    with Memory.create(path, "given") as memory:
        memory.add(["the first"], ids=["first"], vectors=VECTORS[ROWS:])
        start = memory.info().bytes
        texts = [f"text {row} {np.random.default_rng(row).bytes(60).hex()}" for row in range(ROWS)]
        memory.add(texts, ids=IDS, vectors=VECTORS[:ROWS])
    return path, start


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning", "ignore::memvid_core.TornTailWarning")
@pytest.mark.parametrize("index", ["kept", "deleted"])
def test_one_zeroed_sector_of_the_last_commit_costs_nothing_and_is_reported(
    bulk: tuple[Path, int], tmp_path: Path, index: str
) -> None:
    whole, start = bulk
    data = whole.read_bytes()
    for number, at in enumerate(np.linspace(start, len(data) - 1, 24).astype(int).tolist()):
        path = tmp_path / f"{number}.mp4"
        size = 512 if number % 2 else 4096
        first = at - at % 512
        path.write_bytes(data[:first] + bytes(len(data[first : first + size])) + data[first + size :])
        if index == "kept":
            shutil.copytree(f"{whole}.index", f"{path}.index")
        with Memory.open(path) as memory:
            assert_complete(memory)
            report = memory.verify()
            assert report.torn_bytes or not report.ok
            if index == "deleted":
                assert memory.info().damage or report.torn_bytes


def assert_complete(memory: Memory) -> None:
    assert memory.info().lost == 0
    assert all(record is not None for record in memory.get(["first", *IDS]))
    assert [memory.search(VECTORS[row].tolist(), k=1)[0].id for row in range(0, ROWS, 40)] == IDS[::40]
    assert len(memory.get_vectors(IDS)) == ROWS


@pytest.mark.filterwarnings("ignore::memvid_core.DamageWarning")
def test_a_restored_commit_is_resumed_and_compacted_like_any_other(bulk: tuple[Path, int], tmp_path: Path) -> None:
    whole, start = bulk
    data, path = bytearray(whole.read_bytes()), tmp_path / "m.mp4"
    data[start + 5 : start + 400] = bytes(395)  # its boxes, and the beginning of its first frame
    data[-6000:-5950] = bytes(50)
    data[-6000:-5950] = whole.read_bytes()[-6000:-5950]
    path.write_bytes(data)
    Memory.open(path).close()
    journal = Journal.open(path)
    with Memory.open(path, "a") as memory:
        assert journal.resume(memory._indexed.cursor)
        memory.add(["another"], ids=["another"], vectors=VECTORS[:1])
        assert_complete(memory)
        memory.compact(drop_damaged=True)
        assert memory.verify().ok
        assert_complete(memory)
    journal.close()


def test_a_single_record_has_no_parity(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "m.mp4", "given") as memory:
        memory.add(["one"], vectors=VECTORS[:1])
        assert b"mvpa" not in (tmp_path / "m.mp4").read_bytes()
        memory.add(["two", "three"], vectors=VECTORS[:2])
        assert (tmp_path / "m.mp4").read_bytes().count(b"mvpa") == 1


def test_no_other_frame_is_restored_in_place_of_one_that_the_fragment_does_not_have(bulk: tuple[Path, int]) -> None:
    path, _ = bulk
    with closing(Journal.open(path, "r")) as journal, closing(ByteFile(path, "r")) as file:
        for fragment in journal.video.walk(journal.video.start):
            assert isinstance(fragment, Fragment)
            first, codec = fragment.first_frame, journal.video.codec
            for number in (first - 1, first - len(fragment), first + len(fragment), 10**9):
                assert restore(file, codec, fragment, number) == {}


@pytest.mark.parametrize("index", ["kept", "deleted"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.995])
def test_what_parity_restored_is_repaired_by_a_compaction(
    bulk: tuple[Path, int], tmp_path: Path, index: str, share: float
) -> None:
    whole, start = bulk
    path = tmp_path / "m.mp4"
    data = bytearray(whole.read_bytes())
    at = start + int(share * (len(data) - start)) // 512 * 512
    data[at : at + 512] = bytes(len(data[at : at + 512]))
    path.write_bytes(data)
    if index == "kept":
        with pytest.warns(DamageWarning), Memory.open(path):
            pass  # makes an index that records the damage
    with pytest.warns(DamageWarning, match=r"no record is lost; compact\(\) repairs it"):
        memory = Memory.open(path, "a")
    with memory:
        memory.save(tmp_path / "saved.mp4")
        memory.compact()
        assert memory.verify().ok
        assert_complete(memory)
    for repaired in (path, tmp_path / "saved.mp4"):
        with Memory.open(repaired) as memory:
            assert_complete(memory)
            assert not memory.info().damage


@pytest.mark.filterwarnings("ignore::memvid_core.MemvidWarning")
@pytest.mark.parametrize("missing", [1, 17, 100, 512])
def test_bytes_that_are_missing_from_the_parity_cost_no_record(tmp_path: Path, missing: int) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, "given") as memory:
        for name in "abc":
            ids = [f"{name}{row}" for row in range(4)]
            memory.add([f"text {name}" for name in ids], ids=ids, vectors=VECTORS[:4])
    data = path.read_bytes()
    first = data.index(mp4.PARITY_MARK) - 8
    for at in range(first, data.index(b"moof", first) - 4 - missing, 40):
        shutil.rmtree(f"{path}.index", ignore_errors=True)
        path.write_bytes(data[:at] + data[at + missing :])
        with Memory.open(path) as memory:
            assert len(memory) == 12
            assert memory.info().lost == 0
