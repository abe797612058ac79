"""Import of files of Memvid v1: a video of QR codes, and a JSON file with the same texts.

Memvid (0.1) draws ``{"id", "text", "frame"}`` as one QR code per picture; more than 100 characters are stored as
``GZ:`` and the base64 of their gzip. With its defaults, its own reader cannot read the pictures, and its searches
return the copy in the JSON. This import takes each text from its picture if it can be read, as most can, else from the
JSON, and reports which. The ``.faiss`` file is not read: vectors are computed again.
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

_PATIENCE = 60  # consecutive unreadable pictures after which thorough searches stop
_SMALL = 1024  # pixels per side; symbols in larger pictures need no enlargement
_RECORDS_A_COMMIT = 4096
_LARGEST_INDEX = 1 << 30


class PairReport(msgspec.Struct, frozen=True, kw_only=True):
    """Report for each text, by its id, whether it was read from its picture or taken from the JSON.

    ``differing`` texts were read from the picture but differ in the JSON. ``lost`` texts were in neither, judging by
    gaps in the numbers. ``pictures`` is the number of pictures.
    """

    pictures: int
    from_frames: list[str]
    from_index: list[str]
    differing: list[str]
    lost: list[str]

    @property
    def records(self) -> int:
        """The number of records written."""
        return len(self.from_frames) + len(self.from_index)


@dataclass
class _Texts:
    """Hold texts by id, and their metadata from the JSON."""

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
    """Import a video and index of Memvid v1 into a memory; the ids are Memvid's numbers.

    Everything is read before anything is written.

    Args:
        video: The ``.mp4``, ``.mkv`` or ``.avi`` file; None to use only the JSON.
        index: The ``.json`` file; None to use only the pictures.
        memory: A memory open for writing.
        pair: The reader of symbols: ``zxing`` or ``zbar``.
        on_picture: Called with the number of pictures read so far.

    Raises:
        MemoryNotFoundError: A file is missing.
        IngestError: The JSON is not an index of Memvid; the message says why.
        NotAMemoryError: The video has no pictures, or none is readable and ``index`` is None.
    """
    known = _Texts() if index is None else _read_index(Path(index))
    seen, count = _Texts(), 0
    if video is not None:
        reader = get_pair(pair)
        for count, texts in enumerate(_texts_in(Path(video), reader), 1):
            for text in texts:
                _take(text, seen, count - 1)
            on_picture(count)
    if not seen.texts and not known.texts:
        what = (
            f"none of the {count} pictures of {video} has a readable text of Memvid" if video is not None else "no text"
        )
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
    content = read_json(path, _LARGEST_INDEX)
    entries = content.get("metadata") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise IngestError(f'{path}: not an index of Memvid: it has no list "metadata"')
    found = _Texts()
    for place, entry in enumerate(entries):
        number: Any = entry.get("id", place) if isinstance(entry, dict) else None
        if not _is_number(number) or not isinstance(entry.get("text"), str):
            raise IngestError(f'{path}: entry {place} of "metadata" has no "text", or an "id" that is not a number')
        found.texts[number] = entry["text"]
        found.metadata[number] = {
            key: value for key, value in entry.items() if key not in ("id", "text", "length") and value is not None
        }
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


# ------------------------------------------------------------------------------------------------------ the pictures


def _take(text: str, seen: _Texts, picture: int) -> None:
    """Record the text of a symbol, if it is one of Memvid."""
    if text.startswith("GZ:"):
        try:
            # A symbol holds less than 3 kB, which gzip expands to at most 3 MB.
            text = gzip.decompress(base64.b64decode(text[3:])).decode("utf-8")
        except (OSError, EOFError, zlib.error, binascii.Error, UnicodeDecodeError):
            return
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(entry, dict) and _is_number(entry.get("id")) and isinstance(entry.get("text"), str):
        seen.texts.setdefault(entry["id"], entry["text"])
        frame = entry.get("frame")
        seen.metadata.setdefault(entry["id"], {"frame": frame if _is_number(frame) else picture})


def _texts_in(path: Path, reader: SymbolPair) -> Iterator[list[str]]:
    """Yield the texts of the symbols in each picture."""
    failures = 0
    for picture in _pictures(path):
        found = reader.read(picture)
        if not found and failures < _PATIENCE and max(picture.shape) <= _SMALL:
            found = next(filter(None, (reader.read(larger, thorough=True) for larger in _enlarged(picture))), [])
            failures = 0 if found else failures + 1
        yield found


def _enlarged(picture: Gray) -> Iterator[Gray]:
    """Yield enlarged pictures: Memvid scales symbols down to 1.6 pixels per module, which is hard to read."""
    import av

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")
    for factor in (3, 5):
        larger = frame.reformat(width=factor * frame.width, height=factor * frame.height, interpolation="LANCZOS")
        yield np.asarray(larger.to_ndarray(), np.uint8)


def _pictures(path: Path) -> Iterator[Gray]:
    import av

    if not path.exists():
        raise MemoryNotFoundError(f"{path} does not exist")
    av.logging.set_level(av.logging.PANIC)
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as exc:
        raise NotAMemoryError(f"{path} is not a video that FFmpeg can read ({exc})") from exc
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
                continue  # a damaged picture; the JSON may have its text
            for frame in frames:
                yield np.asarray(frame.to_ndarray(format="gray"), np.uint8)
