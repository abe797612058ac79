"""One flipped bit, at any byte of the file: verify, or opening, names it, and a compaction makes the byte anew."""

from __future__ import annotations

import random
import shutil
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from memvid_core import DamageWarning, Memory, MemvidError
from memvid_core.model import VerifyReport
from memvid_core.video import mp4
from tests.core.images import image_file

GOLDEN = Path(__file__).parent / "golden"
QR: dict[str, Any] = {"frame_size": 256, "preset": "compact"}


def made(path: Path, codec: str = "pcm", options: dict[str, Any] | None = None) -> Path:
    """A memory with commits of one record and of several, a deletion, and a commit after reopening."""
    rng = random.Random(1)
    with Memory.create(path, "given", codec, "float32", codec_options=options) as memory:
        for commit, count in enumerate((1, 4)):
            ids = [f"r{commit}-{i}" for i in range(count)]
            texts = [f"{record_id} {rng.randbytes(30).hex()}" for record_id in ids]
            memory.add(texts, ids=ids, vectors=[[commit + 1.0, float(i), 1.0] for i in range(count)])
        memory.delete("r0-0")
    with Memory.open(path, "a", embedder="given") as memory:
        memory.add("new", ids="r1-1", vectors=[[1.0, 2.0, 3.0]])
    return path


def compacted(path: Path, *, keep_history: bool) -> Path:
    with Memory.open(made(path), "a", embedder="given") as memory:
        memory.compact(keep_history=keep_history)
    return path


def fitted(path: Path) -> Path:
    with Memory.create(path) as memory:
        memory.add([f"a record about {word}" for word in ("wing", "engine", "tea")])
        memory.refit()
        memory.add("one more")
    return path


def large(path: Path) -> Path:
    """Pictures of many macroblocks, and a table of many pictures."""
    rng = random.Random(2)
    with Memory.create(path, "given", codec_options={"columns": 4, "rows": 4}) as memory:
        memory.add([rng.randbytes(3000).hex() for _ in range(30)], vectors=[[1.0, float(i)] for i in range(30)])
    return path


def film(path: Path) -> Path:
    """A title card, metadata in the head, and pictures of records."""
    with Memory.create(path, "given", codec_options={"columns": 8, "rows": 8}, film=True) as memory:
        memory.add(["a", "b"], vectors=[[1.0, 0.0], [0.0, 1.0]], pictures=[None, image_file("#336699")])
        memory.add("c", vectors=[[1.0, 1.0]], pictures=image_file("#996633"))
        memory.compact(keep_history=True)
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "golden": lambda path: Path(shutil.copy(GOLDEN / "format-1.mp4", path)),
    "commits": made,
    "compacted": lambda path: compacted(path, keep_history=False),
    "history": lambda path: compacted(path, keep_history=True),
    "fitted": fitted,
    "film": film,
    "format-2": lambda path: Path(shutil.copy(GOLDEN / "format-2.mp4", path)),
    "format-3": lambda path: Path(shutil.copy(GOLDEN / "format-3.mp4", path)),
    "large": large,
    "qr": lambda path: made(path, "qr", QR),
    "qr-parity": lambda path: made(path, "qr", {"frame_size": 256, "hold": 1}),
}


def verified(path: Path) -> VerifyReport:
    with Memory.open(path, embedder="given") as memory:
        return memory.verify()


def silent(path: Path, places: Iterable[int], rng: random.Random) -> list[tuple[int, int]]:
    """Flip a bit at each place; return place and bit of those that nothing names."""
    data, found = path.read_bytes(), []
    Path(f"{path}.index").touch()  # the index is made anew in RAM each time
    for place in places:
        bit = 1 << rng.randrange(8)
        path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        with warnings.catch_warnings(record=True) as named:
            warnings.simplefilter("always")
            try:
                if verified(path).ok and not named:
                    found.append((place, bit))
            except MemvidError:
                pass
    path.write_bytes(data)
    return found


@pytest.mark.parametrize("kind", FILES)
def test_every_flipped_bit_is_named(
    kind: str, tmp_path: Path, effort: Callable[[int], int], sized: Callable[[int, int], int]
) -> None:
    path, rng = FILES[kind](tmp_path / "made.mp4"), random.Random(kind)
    assert verified(path).ok
    path = Path(shutil.copy(path, tmp_path / "flipped.mp4"))
    size = path.stat().st_size
    places = rng.sample(range(size), min(size, effort(sized(4, 6) if kind.startswith("qr") else sized(20, 30))))
    assert not silent(path, places, rng)


def test_every_byte_between_payloads_is_compared(tmp_path: Path) -> None:
    path, rng = Path(shutil.copy(made(tmp_path / "made.mp4"), tmp_path / "flipped.mp4")), random.Random(3)
    data = path.read_bytes()
    parity = data.index(mp4.PARITY_MARK) - 4
    start = data.rindex(b"moof", 0, parity) - 4
    boxes = range(start, start + mp4.MOOF_BYTES + 4 * mp4.ENTRY_BYTES + 8)
    after = range(parity - mp4.FOOTER_BYTES, parity + mp4.PARITY_BYTES)
    assert not silent(path, [*boxes, *after, *range(0, 700, 29)], rng)


def test_bytes_of_pictures_that_trade_places_are_noticed(tmp_path: Path) -> None:
    path, rng = made(tmp_path / "m.mp4", "qr", QR), random.Random(5)
    data = path.read_bytes()
    start = data.index(b"mdat", data.index(b"mdat") + 4) + 4  # of the second commit
    stop = data.index(b"moof", start) - mp4.FOOTER_BYTES - 64
    for distance in (8, 64, 512):
        first = rng.randrange(start, stop - distance - 8)
        one, other = slice(first, first + 8), slice(first + distance, first + distance + 8)
        swapped = bytearray(data)
        swapped[one], swapped[other] = data[other], data[one]
        assert swapped != data
        path.write_bytes(swapped)
        assert not verified(path).ok
        path.write_bytes(data)


def flipped(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("codec", ["pcm", "qr"])
def test_changed_boxes_are_repaired_without_dropping_anything(codec: str, tmp_path: Path) -> None:
    path = made(tmp_path / "m.mp4", codec, QR if codec == "qr" else None)
    data = path.read_bytes()
    places = [data.index(b"mvhd") + 20, data.index(b"mfhd") + 7, data.rindex(b"tfhd") + 15, data.rindex(b"mvid") + 5]
    for place in places:
        flipped(path, place)
    report = verified(path)
    assert {damage.commit for damage in report.damage} == {0, 4}
    assert all(damage.restored and not damage.records for damage in report.damage)
    with Memory.open(path, "a", embedder="given") as memory:
        before = list(memory)
        memory.save(tmp_path / "saved.mp4")
        memory.compact(keep_history=True)
        assert memory.verify().ok
        assert list(memory) == before
    assert verified(tmp_path / "saved.mp4").ok


def test_numbers_may_go_on_after_damage(tmp_path: Path) -> None:
    path = made(tmp_path / "m.mp4")
    at = path.read_bytes().rindex(b"moof")
    flipped(path, at)
    shutil.rmtree(f"{path}.index")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)
        memory = Memory.open(path, "a", embedder="given")
    with memory:
        memory.add("after", ids="after", vectors=[[1.0, 2.0, 3.0]])
        memory.add("more", ids="more", vectors=[[1.0, 2.0, 3.0]])
    flipped(path, at)
    assert verified(path).ok


def test_a_qr_memory_of_an_earlier_version_is_intact_and_takes_more(tmp_path: Path) -> None:
    path = Path(shutil.copy(GOLDEN / "qr-1.mp4", tmp_path / "m.mp4"))
    assert verified(path).ok
    flipped(path, path.read_bytes().rindex(b"tfhd") + 15)
    assert not verified(path).ok
    flipped(path, path.read_bytes().rindex(b"tfhd") + 15)
    with Memory.open(path, "a", embedder="given") as memory:
        memory.add("more", ids="more", vectors=[[1.0, 1.0, 0.0]])
        memory.add("and more", ids="again", vectors=[[1.0, 1.0, 1.0]])
        assert memory.verify().ok
        assert memory.ids() == ["wing", "engine", "more", "again"]
