"""The codec alone: the size of a frame, and the speed of writing and reading.

python -m benchmarks.codec
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.data import CHUNK, chunks
from benchmarks.machine import describe
from memvid_core import Memory
from memvid_core.video import Fragment, PcmCodec, VideoFile
from memvid_core.video.bitstream import MACROBLOCK_BYTES
from memvid_core.video.codec import ENVELOPE_BYTES
from memvid_core.video.headed import head_of, is_headed
from memvid_core.video.shown import is_shown

FRAMES = 300


def frames(columns: int) -> str:
    """Return one row of the table for square pictures of ``columns`` macroblocks a side."""
    codec = PcmCodec(columns, columns)
    payloads = [os.urandom(codec.capacity) for _ in range(FRAMES)]
    total = FRAMES * codec.capacity
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        started = time.perf_counter()
        samples = codec.encode(payloads, 0)
        encoding = time.perf_counter() - started
        with VideoFile.create(path, codec) as video:
            fragment = video.append(payloads)
            started = time.perf_counter()
            assert all(payload == payloads[number] for number, payload in video)
            reading = time.perf_counter() - started
            places = dict(fragment.frames())
            order = np.random.default_rng(1).permutation(FRAMES).tolist()
            single = []
            for number in order:
                started = time.perf_counter()
                video.read(number, places[number])
                single.append(time.perf_counter() - started)
        size = path.stat().st_size
    assert len(samples) == FRAMES
    return (
        f"| {columns * 16} x {columns * 16} | {codec.capacity:,} | {size / total:.4f} | {total / encoding / 1e6:.0f} | "
        f"{total / reading / 1e6:.0f} | {np.median(single) * 1e6:.0f} |"
    )


def prose() -> list[str]:
    """Measure the size of records: English prose in 500-character chunks, in reading order."""
    english = [chunk for chunk in chunks() if chunk.isascii()]
    raw = sum(len(chunk.encode()) for chunk in english)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, vectors in (("records alone", None), ("with 384-d float16 vectors", "float16")):
            path = Path(folder) / f"{vectors}.mp4"
            made = np.random.default_rng(2).standard_normal((len(english), 384)).astype(np.float32)
            with Memory.create(path, "given") as memory:
                memory.add(english, vectors=[None] * len(english) if vectors is None else made)
            size = path.stat().st_size
            with VideoFile.open(path) as video:
                carried = sum(len(payload) for _, payload in video)
            rows.append(f"| {len(english):,} chunks of {CHUNK}, {name} | {raw:,} | {size:,} | {size / raw:.3f} |")
            rows.append(f"| the same, against its frames' payloads | {carried:,} | {size:,} | {size / carried:.4f} |")
        path = Path(folder) / "ten.mp4"
        ten = (english * (10_000 // len(english) + 1))[:10_000]
        made = np.random.default_rng(3).standard_normal((10_000, 384)).astype(np.float32)
        distinct = [f"{chunk[: CHUNK - 10]} {i:09d}" for i, chunk in enumerate(ten)]
        with Memory.create(path, "given") as memory:
            memory.add(distinct, vectors=made)
            size = path.stat().st_size
            grown: list[int] = []
            for i in range(50):
                memory.add(f"{english[i]}", {"page": i}, vectors=made[i : i + 1])
                grown.append(path.stat().st_size - size - sum(grown))
        raw = sum(len(chunk.encode()) for chunk in distinct)
        rows.append(f"| 10,000 chunks of {CHUNK}, with 384-d float16 vectors | {raw:,} | {size:,} | {size / raw:.3f} |")
        rows.append(f"| one record more (median of 50) | {CHUNK} | {int(np.median(grown)):,} | |")
    return rows


def overhead(records: int, film: bool) -> str:
    """Return one row of the table of what a memory in one commit takes beyond its frames' payloads."""
    english = [chunk for chunk in chunks() if chunk.isascii()]
    texts = [f"{english[i % len(english)][: CHUNK - 10]} {i:09d}" for i in range(records)]
    made = np.random.default_rng(3).standard_normal((records, 384)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.mp4"
        with Memory.create(path, "given", film=film) as memory:
            memory.add(texts, vectors=made)
        size = path.stat().st_size
        with VideoFile.open(path) as video:
            carried = starts = padding = filler = boxes = 0
            head, parity, shown = video.head_size, 0, 0
            for fragment in video.walk(video.start):
                assert isinstance(fragment, Fragment)
                parity += fragment.end - fragment.start - fragment.covered if fragment.covered else 0
                boxes += (fragment.covered or fragment.end - fragment.start) - int(fragment.sizes.sum())
                for number, place in fragment.frames():
                    payload, coded = video.read(number, place), video.coded(place.offset, place.size)
                    carried += len(payload)
                    if is_shown(coded):
                        shown += place.size - len(payload)
                        continue
                    in_slice = len(payload) + ENVELOPE_BYTES - (len(head_of(coded)[0]) if is_headed(coded) else 0)
                    used = -(-in_slice // MACROBLOCK_BYTES)
                    starts += 2 * used
                    padding += used * MACROBLOCK_BYTES - in_slice
                    filler += place.size - used * (MACROBLOCK_BYTES + 2) + in_slice - len(payload)
    assert size == carried + starts + padding + filler + shown + parity + boxes + head
    parts = (starts, padding, filler + shown, parity, boxes + head)
    return (
        f"| {records:,}{', title card' if film else ''} | {size:,} | {size / carried:.4f} | "
        + " | ".join(f"{100 * part / carried:.3f} %" for part in parts)
        + " |"
    )


def main() -> None:
    """Print the tables."""
    print(describe("memvid-core", "av", "numpy", "zstandard", "xxhash"))
    print("\n| picture | payload B | file / payload | encode MB/s | read in order MB/s | one frame us |")
    print("|---|---|---|---|---|---|")
    for columns in (8, 16, 32):
        print(frames(columns), flush=True)
    print("\n| content | raw B | file B | file / raw |\n|---|---|---|---|")
    print("\n".join(prose()), flush=True)
    print("\n| records | file B | file / payload | macroblocks | padding | filler, envelope | parity | boxes |")
    print("|---|---|---|---|---|---|---|---|")
    for records in (3_200, 10_000):
        for film in (False, True):
            print(overhead(records, film), flush=True)


if __name__ == "__main__":
    main()
