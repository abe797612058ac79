"""Reading a memory's frames from its pictures: a transcoded video, a recorded screen, a folder of images.

Only the pictures of the container are used: no frame numbers, times, rates or sizes. Each symbol states its place, and
    missing symbols are rebuilt from the parity symbols of their commit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import MemoryNotFoundError, NotAMemoryError
from memvid_core.video.qr import groups, plain_texts, symbols
from memvid_core.video.qr.encoders import luma

__all__ = ["Scan", "ScanReport", "scan"]

Gray = NDArray[np.uint8]
Source = str | os.PathLike[str] | Iterable[NDArray[Any]]

_PATIENCE = 300  # pictures that are searched thoroughly until the first symbol is found

_GAPS_PER_FRAME = 64  # the maximum length of a gap, per frame seen


@dataclass
class ScanReport:
    """Count the results of a scan.

    ``pictures`` counts all pictures; ``repeated`` those equal to the last one read, and ``unread`` those without a
    readable symbol. ``symbols`` counts distinct symbols of memories, ``foreign`` other symbols, ``rebuilt`` rebuilt
    symbols. ``missing`` lists missing frames by stream; commits after the last one seen cannot be detected as missing.
    """

    pictures: int = 0
    repeated: int = 0
    unread: int = 0
    symbols: int = 0
    foreign: int = 0
    rebuilt: int = 0
    missing: dict[int, list[int]] = field(default_factory=dict)


@dataclass
class Scan:
    """Hold the payloads by frame number of each stream, the plain texts, and the report.

    Iterating yields frame number and payload, in order, if there is exactly one stream.
    """

    streams: dict[int, dict[int, bytes]]
    texts: list[str]
    report: ScanReport

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and payload of each frame.

        Raises:
            NotAMemoryError: The pictures show several memories, or only plain texts.
        """
        if len(self.streams) != 1:
            what = f"{len(self.streams)} memories; take one of streams" if self.streams else "plain texts; take texts"
            raise NotAMemoryError(f"the pictures show {what}")
        (payloads,) = self.streams.values()
        return iter(sorted(payloads.items()))


def scan(source: Source, *, pair: str = "zxing") -> Scan:
    """Read every frame payload that the pictures of ``source`` contain.

    Args:
        source: A video in any container and coding that FFmpeg reads, a folder of images in the order of their names,
            or arrays (height, width) or (height, width, 3) of uint8.
        pair: The reader of symbols: ``zxing`` or ``zbar``.

    Raises:
        MemoryNotFoundError: The file does not exist.
        NotAMemoryError: The source has no pictures, or no readable symbol of a memory.
        MissingExtraError: The reader's libraries are not installed.

    Example:
        >>> from memvid_core.video.qr.codec import QRCodec
        >>> from memvid_core.video.qr.encoders import Decoder
        >>> codec = QRCodec("robust", frame_size=256)
        >>> shown = [codec.draw(content) for content in codec.contents([b"one", b"two"], first=0)]
        >>> list(scan(shown[1:]))
        [(0, b'one'), (1, b'two')]
    """
    reader = _Reader(symbols.get_pair(pair))
    for picture in _pictures(source):
        reader.look(picture)
    return reader.result(source)


class _Reader:
    """Collect symbols from a sequence of pictures."""

    def __init__(self, pair: symbols.SymbolPair) -> None:
        self._pair = pair
        self._groups: dict[tuple[int, int], groups.Group] = {}
        self._plain = plain_texts.PlainTexts()
        self._texts: set[str] = set()
        self._last: Gray | None = None
        self._contrast = 0
        self._report = ScanReport()

    def look(self, picture: Gray) -> None:
        """Read the symbols of one picture."""
        report = self._report
        report.pictures += 1
        if self._is_repeated(picture):
            report.repeated += 1
            return
        found = self._read(picture)
        if not found:
            report.unread += 1
            return
        self._last = picture[::2, ::2].copy()
        self._contrast = max(8, int(np.ptp(self._last)) * 3 // 8)
        for text in found:
            if text not in self._texts:
                self._texts.add(text)
                self._take(text)

    def _is_repeated(self, picture: Gray) -> bool:
        """Return whether the picture differs from the last one read only by coding noise."""
        small = picture[::2, ::2]
        if self._last is None or small.shape != self._last.shape:
            return False
        changed = np.abs(small.astype(np.int16) - self._last) > self._contrast
        return int(np.count_nonzero(changed)) <= small.size >> 14

    def _read(self, picture: Gray) -> list[str]:
        modules = symbols.read_drawn(picture)
        text = None if modules is None else self._pair.read_clean(modules)
        if text is not None:
            return [text]
        found = self._pair.read(picture)
        report = self._report
        if found or not (report.symbols or report.pictures <= _PATIENCE or report.pictures % 30 == 0):
            return found
        return self._pair.read(_twice(picture), thorough=True) or self._pair.read(picture, thorough=True)

    def _take(self, text: str) -> None:
        if self._plain.add(text):
            return
        content = symbols.from_base45(text)
        symbol = None if content is None else groups.parse(content)
        if symbol is None:
            self._report.foreign += 1
            return
        self._report.symbols += 1
        key = symbol.stream, symbol.group
        if key in self._groups:
            self._groups[key].add(symbol)
        else:
            self._groups[key] = groups.Group(symbol)

    def result(self, source: Source) -> Scan:
        """Return the result of all pictures."""
        report = self._report
        if not self._groups and not self._plain:
            where = f" of {source}" if isinstance(source, str | os.PathLike) else ""
            raise NotAMemoryError(f"none of the {report.pictures} pictures{where} has a readable symbol of a memory")
        streams: dict[int, dict[int, bytes]] = {}
        for (stream, _), group in sorted(self._groups.items()):
            report.rebuilt += group.rebuild()
            streams.setdefault(stream, {}).update(group.payloads())
            report.missing.setdefault(stream, []).extend(group.lost())
        for stream, payloads in streams.items():
            known = payloads.keys() | set(report.missing[stream])
            # A forged symbol may state any number, so the length of gaps is limited by the number of frames seen.
            end = min(max(known, default=-1) + 1, _GAPS_PER_FRAME * (len(known) + 1))
            report.missing[stream] = sorted(set(range(end)) - payloads.keys() | known - payloads.keys())
        return Scan(streams, self._plain.texts(), report)


def _twice(picture: Gray) -> Gray:
    """Return the picture at twice its size, in which small modules are easier to read."""
    import av

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")
    larger = frame.reformat(width=2 * frame.width, height=2 * frame.height, interpolation="BICUBIC")
    return np.asarray(larger.to_ndarray(), np.uint8)


def _pictures(source: Source) -> Iterator[Gray]:
    if not isinstance(source, str | os.PathLike):
        yield from map(_gray, source)
        return
    path = Path(source)
    if not path.exists():
        raise MemoryNotFoundError(f"{path} does not exist")
    if not path.is_dir():
        yield from _video(path)
        return
    files = sorted((file for file in path.iterdir() if file.is_file()), key=_natural)
    if not files:
        raise NotAMemoryError(f"the folder {path} has no files")
    readable = False
    for file in files:
        try:
            for picture in _video(file):
                readable = True
                yield picture
        except NotAMemoryError:
            continue  # a file in the folder that is not an image
    if not readable:
        raise NotAMemoryError(f"none of the {len(files)} files in {path} is an image")


def _natural(file: Path) -> list[tuple[int, str]]:
    return [(int(piece), "") if piece.isdigit() else (0, piece) for piece in re.split(r"(\d+)", file.name)]


def _gray(picture: NDArray[Any]) -> Gray:
    picture = np.asarray(picture)
    shaped = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (3, 4))
    if picture.dtype != np.uint8 or not shaped or not picture.size:
        raise NotAMemoryError(
            f"an array of shape {picture.shape} and type {picture.dtype} is not a picture: use (height, width) or"
            " (height, width, 3), uint8"
        )
    if picture.ndim == 2:
        return np.asarray(picture, np.uint8)
    # Symbols are black and white, so the weights of the colors do not matter.
    return np.asarray(picture[:, :, :3].mean(axis=2), np.uint8)


def _video(path: Path) -> Iterator[Gray]:
    """Yield the luma of each picture of a video or image; skip damaged ones."""
    import av

    av.logging.set_level(av.logging.PANIC)
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as exc:
        raise NotAMemoryError(f"{path} is not a video or image that FFmpeg can read ({exc})") from exc
    with container:
        if not container.streams.video:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise NotAMemoryError(f"{path} has no pictures, only {kinds}")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                yield _luma(frame)


def _luma(frame: Any) -> Gray:
    if frame.format.name.startswith(("yuv4", "yuvj", "nv12", "gray")) and frame.format.components[0].bits == 8:
        return luma(frame)
    return _gray(frame.to_ndarray(format="gray"))
