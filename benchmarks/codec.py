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
from memvid_core.video import PcmCodec, VideoFile

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


def main() -> None:
    """Print both tables."""
    print(describe("memvid-core", "av", "numpy", "zstandard", "xxhash"))
    print("\n| picture | payload B | file / payload | encode MB/s | read in order MB/s | one frame us |")
    print("|---|---|---|---|---|---|")
    for columns in (8, 16, 32):
        print(frames(columns), flush=True)
    print("\n| content | raw B | file B | file / raw |\n|---|---|---|---|")
    print("\n".join(prose()))


if __name__ == "__main__":
    main()
