"""Import of what Memvid wrote: a video of QR codes, and a JSON file with the same texts.

Memvid (0.1) draws ``{"id", "text", "frame"}`` as one QR code a picture, and where that is longer than 100 characters as
``GZ:`` and the base64 of its gzip. At its defaults its own reader cannot read the pictures, and what a search there
gives is the JSON's copy. Here each text is taken from its picture where that can be read, which most can, else from the
JSON, and the report says which was which. The ``.faiss`` file beside them is not read: vectors are made anew.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import IngestError, MemoryNotFoundError, NotAMemoryError
from memvid_core.memory import Memory
from memvid_core.memvid_v1.json_files import read_json
from memvid_core.video.qr.symbols import SymbolPair, get_pair

__all__ = ["PairReport", "import_pair"]

StrPath = str | os.PathLike[str]
Gray = NDArray[np.uint8]

_PATIENCE = 60  # pictures in a row that are searched thoroughly in vain before that is given up
_SMALL = 1024  # pixels a side; in a larger picture a symbol has modules enough as it is
_RECORDS_A_COMMIT = 4096
_LARGEST_INDEX = 1 << 30


class PairReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each text, by its id: read from its picture, or taken from the JSON.

    ``differing`` were read from the picture, and the JSON has another text. ``lost`` were in neither, as far as numbers
    between others tell. ``pictures`` is how many there were.
    """

    pictures: int
    from_frames: list[str]
    from_index: list[str]
    differing: list[str]
    lost: list[str]

    @property
    def records(self) -> int:
        """How many were written."""
        return len(self.from_frames) + len(self.from_index)


@dataclass
class _Texts:
    """Texts by id, and what else the JSON says of them."""

    texts: dict[int, str] = field(default_factory=dict)
    metadata: dict[int, dict[str, Any]] = field(default_factory=dict)


def import_pair(
    video: StrPath | None,
    index: StrPath | None,
    memory: Memory,
    *,
    pair: str = "zxing",
    on_picture: Callable[[int], None] = lambda done: None,
) -> PairReport:
    """Take a pair that Memvid wrote into a memory; ids are Memvid's numbers.

    Nothing is written before all is read.

    Args:
        video: The ``.mp4``, ``.mkv`` or ``.avi``; None to go by the JSON alone.
        index: The ``.json``; None to go by the pictures alone.
        memory: Open for writing.
        pair: Reader of symbols: ``zxing`` or ``zbar``.
        on_picture: Called with how many pictures were read.

    Raises:
        MemoryNotFoundError: A file is missing.
        IngestError: The JSON is none of Memvid's; the message says what is wrong.
        NotAMemoryError: The video has no pictures, or none can be read and there is no JSON.
    """
    known = _Texts() if index is None else _read_index(Path(index))
    seen, count = _Texts(), 0
    if video is not None:
        reader = get_pair(pair)
        for count, said in enumerate(_said(Path(video), reader), 1):
            for text in said:
                _take(text, seen, count - 1)
            on_picture(count)
    if not seen.texts and not known.texts:
        what = f"none of the {count} pictures of {video} shows a text of Memvid" if video is not None else "no text"
        raise NotAMemoryError(f"{what}; give its JSON file too" if index is None else f"{what}, and {index} has none")
    numbers = sorted(seen.texts.keys() | known.texts.keys())
    for start in range(0, len(numbers), _RECORDS_A_COMMIT):
        some = numbers[start : start + _RECORDS_A_COMMIT]
        memory.add(
            [seen.texts.get(number, known.texts.get(number, "")) for number in some],
            [known.metadata.get(number) or seen.metadata.get(number) or {} for number in some],
            [str(number) for number in some],
        )
    both = seen.texts.keys() & known.texts.keys()
    gaps = range(max(numbers) + 1) if max(numbers) < len(numbers) + 2 * count + 2 else range(0)
    return PairReport(
        pictures=count,
        from_frames=[str(number) for number in numbers if number in seen.texts],
        from_index=[str(number) for number in numbers if number not in seen.texts],
        differing=[str(number) for number in sorted(both) if seen.texts[number] != known.texts[number]],
        lost=[str(number) for number in gaps if number not in seen.texts and number not in known.texts],
    )


# ---------------------------------------------------------------------------------------------------- the JSON file


def _read_index(path: Path) -> _Texts:
    told = read_json(path, _LARGEST_INDEX)
    entries = told.get("metadata") if isinstance(told, dict) else None
    if not isinstance(entries, list):
        raise IngestError(f'{path}: none of Memvid\'s indexes: it has no list "metadata"')
    found = _Texts()
    for place, entry in enumerate(entries):
        number: Any = entry.get("id", place) if isinstance(entry, dict) else None
        if not _is_number(number) or not isinstance(entry.get("text"), str):
            raise IngestError(f'{path}: entry {place} of "metadata" has no "text", or an "id" that is no number')
        found.texts[number] = entry["text"]
        found.metadata[number] = {
            key: value for key, value in entry.items() if key not in ("id", "text", "length") and value is not None
        }
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


# ------------------------------------------------------------------------------------------------------ the pictures


def _take(said: str, seen: _Texts, picture: int) -> None:
    """Note what a symbol says, if it is a text of Memvid."""
    if said.startswith("GZ:"):
        try:
            # A symbol has room for less than 3 kB, which gzip cannot make more than 3 MB of.
            said = gzip.decompress(base64.b64decode(said[3:])).decode("utf-8")
        except (OSError, EOFError, zlib.error, binascii.Error, UnicodeDecodeError):
            return
    try:
        told = json.loads(said)
    except (ValueError, RecursionError):
        return
    if isinstance(told, dict) and _is_number(told.get("id")) and isinstance(told.get("text"), str):
        seen.texts.setdefault(told["id"], told["text"])
        frame = told.get("frame")
        seen.metadata.setdefault(told["id"], {"frame": frame if _is_number(frame) else picture})


def _said(path: Path, reader: SymbolPair) -> Iterator[list[str]]:
    """What the symbols of each picture say."""
    vain = 0
    for picture in _pictures(path):
        found = reader.read(picture)
        if not found and vain < _PATIENCE and max(picture.shape) <= _SMALL:
            found = next(filter(None, (reader.read(larger, thorough=True) for larger in _enlarged(picture))), [])
            vain = 0 if found else vain + 1
        yield found


def _enlarged(picture: Gray) -> Iterator[Gray]:
    """Memvid scales a symbol down to 1.6 pixels a module: smoothly scaled up again, most of them can be read."""
    import av

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")
    for factor in (3, 5):
        larger = frame.reformat(width=factor * frame.width, height=factor * frame.height, interpolation="LANCZOS")
        yield np.asarray(larger.to_ndarray(), np.uint8)


def _pictures(path: Path) -> Iterator[Gray]:
    import av

    if not path.exists():
        raise MemoryNotFoundError(f"there is no {path}")
    av.logging.set_level(av.logging.PANIC)
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as exc:
        raise NotAMemoryError(f"{path} is no video that FFmpeg reads ({exc})") from exc
    with container:
        if not container.streams.video:
            raise NotAMemoryError(f"{path} has no pictures")
        packets = container.demux(container.streams.video[0])
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except av.FFmpegError:
                continue  # a damaged picture: its text may be in the JSON
            for frame in frames:
                yield np.asarray(frame.to_ndarray(format="gray"), np.uint8)
