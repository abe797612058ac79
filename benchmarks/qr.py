"""QR memories: size, speed and exactness in three codings, and the transcodes they survive.

    python benchmarks/qr.py [--records 1000] [--only sizes,transcodes,limits,pairs]

Records are 500 characters of the Python documentation that comes with every interpreter. Everything is read back from
the pictures alone: the index folder is deleted; a transcode is scanned and made a memory again, whose records count as
back when they have their text and a search finds them.
"""

from __future__ import annotations

import argparse
import pydoc_data.topics
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from memvid_core import CallableEmbedder, Memory, NotAMemoryError
from memvid_core.engine.memory_video import clear_cache
from memvid_core.memory import session_of
from memvid_core.rewriting.convert import recover
from memvid_core.video import VideoFile
from memvid_core.video.qr import symbols
from memvid_core.video.qr.scan import Scan, scan

Picture = NDArray[np.uint8]
console = Console(width=140)

# What is measured is texts in pictures; an embedder that learns would put its model into the file and its time on top.
EMBEDDER = CallableEmbedder(lambda texts: [[float(len(text)), 1.0] for text in texts], name="length")


def chunks(count: int) -> list[str]:
    text = " ".join(" ".join(pydoc_data.topics.topics.values()).split())
    text *= count * 500 // len(text) + 1
    return [f"{i:05d} " + text[i * 494 : (i + 1) * 494] for i in range(count)]


def table(title: str, *columns: str) -> Table:
    made = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right")
    return made


def build(folder: Path, texts: list[str], codec: str, **options: Any) -> tuple[Path, float]:
    path = folder / f"{codec}-{'-'.join(map(str, options.values()))}.mp4"
    start = time.perf_counter()
    with Memory.create(path, EMBEDDER, codec, "none", codec_options=options) as memory:
        memory.add(texts, ids=[str(i) for i in range(len(texts))])
    return path, time.perf_counter() - start


def exact_records(memory: Memory, texts: list[str]) -> set[int]:
    """Return the numbers of the records that exist with their text."""
    return {
        int(record.id)
        for record in memory.get([str(i) for i in range(len(texts))])
        if record.text == texts[int(record.id)]
    }


def sizes(folder: Path, texts: list[str]) -> None:
    raw = sum(len(text.encode()) for text in texts)
    title = f"{len(texts)} records, {raw:,} bytes of text"
    out = table(title, "memory", "file ÷ text", "records/s", "record ms", "exact from frames")
    runs: list[tuple[str, dict[str, Any]]] = [("pcm", {})]
    for video_codec in ("h264", "h265", "av1"):
        runs += [("qr", {"preset": preset, "video_codec": video_codec}) for preset in ("compact", "robust")]
    for codec, options in runs:
        path, seconds = build(folder, texts, codec, **options)
        shutil.rmtree(f"{path}.index", ignore_errors=True)
        times = []
        with Memory.open(path, embedder=EMBEDDER) as memory:
            for wanted in random.Random(1).choices(range(len(texts)), k=50):
                clear_cache(session_of(memory))
                start = time.perf_counter()
                memory.get(str(wanted))
                times.append(time.perf_counter() - start)
            exact = exact_records(memory, texts)
        out.add_row(
            " ".join([codec, *map(str, options.values())]),
            f"{path.stat().st_size / raw:.2f}",
            f"{len(texts) / seconds:,.0f}",
            f"{1e3 * statistics.median(times):.1f}",
            f"{len(exact)} of {len(texts)}",
        )
    console.print(out)


def pictures(path: Path) -> Iterable[Picture]:
    with av.open(str(path), "r") as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="gray"), np.uint8)


def transcode(
    shown: Iterable[Picture],
    path: Path,
    encoder: str,
    options: dict[str, str],
    side: int | None = None,
    fps: int = 30,
    bit_rate: int = 0,
) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(encoder, rate=fps, options=options)
        stream.pix_fmt = "yuv420p"
        if bit_rate:
            stream.bit_rate = bit_rate
        for i, picture in enumerate(shown):
            height, width = (side, side) if side else picture.shape
            if not i:
                stream.width, stream.height = width, height
            gray = av.VideoFrame.from_ndarray(picture, format="gray")
            frame = gray.reformat(width=width, height=height, format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def at_rate(fps: int) -> Callable[[list[Picture]], list[Picture]]:
    return lambda shown: [shown[round(i * 30 / fps)] for i in range(len(shown) * fps // 30)]


def lossy(share: float, black: bool, burst: bool = False) -> Callable[[list[Picture]], list[Picture]]:
    def change(shown: list[Picture]) -> list[Picture]:
        count = round(share * len(shown))
        start = (len(shown) - count) // 2
        hit = set(range(start, start + count)) if burst else set(random.Random(1).sample(range(len(shown)), count))
        if black:
            return [picture * (i not in hit) for i, picture in enumerate(shown)]
        return [picture for i, picture in enumerate(shown) if i not in hit]

    return change


def as_is(shown: list[Picture]) -> list[Picture]:
    return shown


X264 = ("libx264", {"preset": "veryfast", "crf": "23"})
Run = tuple[str, str, dict[str, str], dict[str, int], Callable[[list[Picture]], list[Picture]]]

SURVIVED: list[Run] = [
    ("H.264 crf 23", "libx264", {"crf": "23"}, {}, as_is),
    ("H.264 crf 28", "libx264", {"crf": "28"}, {}, as_is),
    ("H.264 crf 35", "libx264", {"crf": "35"}, {}, as_is),
    ("H.265 crf 28", "libx265", {"crf": "28", "preset": "veryfast", "x265-params": "log-level=none"}, {}, as_is),
    ("VP9 1 Mbit/s", "libvpx-vp9", {"deadline": "good", "cpu-used": "4"}, {"bit_rate": 1_000_000}, as_is),
    ("× 0.75", *X264, {"side": 384}, as_is),
    ("× 1.5", *X264, {"side": 768}, as_is),
    ("30 → 24 fps", *X264, {"fps": 24}, at_rate(24)),
    ("5 % dropped at random", *X264, {}, lossy(0.05, False)),
    ("5 % black at random", *X264, {}, lossy(0.05, True)),
    ("5 % black in a row", *X264, {}, lossy(0.05, True, True)),
]

BEYOND: list[Run] = [
    ("H.264 crf 51", "libx264", {"crf": "51", "preset": "veryfast"}, {}, as_is),
    ("H.265 crf 45", "libx265", {"crf": "45", "preset": "veryfast", "x265-params": "log-level=none"}, {}, as_is),
    ("H.264 300 kbit/s", "libx264", {"preset": "veryfast"}, {"bit_rate": 300_000}, as_is),
    ("VP9 250 kbit/s", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "6"}, {"bit_rate": 250_000}, as_is),
    ("MPEG-4 1 Mbit/s", "mpeg4", {}, {"bit_rate": 1_000_000}, as_is),
    ("× 0.5", *X264, {"side": 256}, as_is),
    ("× 0.4", *X264, {"side": 204}, as_is),
    ("× 0.3", *X264, {"side": 154}, as_is),
    ("× 0.5, then H.264 crf 35", "libx264", {"preset": "veryfast", "crf": "35"}, {"side": 256}, as_is),
    ("30 → 10 fps", *X264, {"fps": 10}, at_rate(10)),
    ("30 → 5 fps", *X264, {"fps": 5}, at_rate(5)),
    ("14 % black in a row", *X264, {}, lossy(0.14, True, True)),
    ("20 % black in a row", *X264, {}, lossy(0.20, True, True)),
    ("50 % dropped at random", *X264, {}, lossy(0.50, False)),
]


def records_back(found: Scan, path: Path, texts: list[str]) -> int:
    """Return how many records are recovered, each with its text and found by a search for its number."""
    recover(found, path, embedder=EMBEDDER)
    with Memory.open(path, embedder=EMBEDDER) as memory:
        exact = exact_records(memory, texts)
        back = sum(str(i) in [hit.id for hit in memory.search(f"{i:05d}", k=3, mode="lexical")] for i in exact)
    path.unlink()
    shutil.rmtree(f"{path}.index", ignore_errors=True)
    return back


def transcodes(folder: Path, texts: list[str], runs: list[Run], title: str) -> None:
    path, _ = build(folder, texts, "qr", preset="robust")
    with VideoFile.open(path) as video:
        wanted = dict(video)
    shown = list(pictures(path))
    columns = ("records back", "frames back", "symbols rebuilt", "file ÷ source", "scan pictures/s")
    out = table(title, "transcode", *columns)
    for name, encoder, options, how, change in runs:
        changed = change(shown)
        made = transcode(changed, folder / ("t.webm" if "vpx" in encoder else "t.mp4"), encoder, options, **how)
        start = time.perf_counter()
        try:
            result = scan(made)
        except NotAMemoryError:
            out.add_row(
                name,
                f"0 of {len(texts)}",
                f"0 of {len(wanted)}",
                "-",
                f"{made.stat().st_size / path.stat().st_size:.2f}",
                "-",
            )
            continue
        seconds = time.perf_counter() - start
        back = sum(payload == wanted.get(number) for number, payload in result)
        out.add_row(
            name,
            f"{records_back(result, folder / 'back.mp4', texts)} of {len(texts)}",
            f"{back} of {len(wanted)}",
            str(result.report.rebuilt),
            f"{made.stat().st_size / path.stat().st_size:.2f}",
            f"{len(changed) / seconds:,.0f}",
        )
    console.print(out)


def pairs() -> None:
    text = symbols.to_base45(random.Random(1).randbytes(symbols.byte_capacity(25)))
    out = table("one symbol of version 25, 1,234 bytes", "pair", "write ms", "read ms")
    for name in ("zxing", "zbar"):
        pair = symbols.get_pair(name)
        modules = pair.write(text, "L", 3)
        writing, reading = [], []
        for _ in range(5):
            start = time.perf_counter()
            pair.write(text, "L", 3)
            middle = time.perf_counter()
            pair.read_clean(modules)
            writing.append(middle - start)
            reading.append(time.perf_counter() - middle)
        out.add_row(name, f"{1e3 * min(writing):.2f}", f"{1e3 * min(reading):.2f}")
    console.print(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--only", default="sizes,transcodes,limits,pairs")
    arguments = parser.parse_args()
    texts = chunks(arguments.records)
    wanted = arguments.only.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, run in enumerate(wanted):
            own = folder / str(number)
            own.mkdir()
            if run == "sizes":
                sizes(own, texts)
            elif run == "transcodes":
                transcodes(own, texts, SURVIVED, f"robust memory of {len(texts)} records, transcoded")
            elif run == "limits":
                transcodes(own, texts, BEYOND, "and beyond")
            else:
                pairs()


if __name__ == "__main__":
    main()
