"""Plain mode: texts as symbols that a phone can read without this package.

Each symbol contains a text and its position, such as ``[3/120 7f3a91c2]``, by which ``scan`` orders the texts. There is
no redundancy across symbols: unreadable texts are lost. Plain mode is for sentences, not for memories.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from memvid_core.errors import CodecError
from memvid_core.video import mp4
from memvid_core.video.file import appearing_file
from memvid_core.video.qr import symbols
from memvid_core.video.qr.encoders import Decoder, Encoder, Gray, key_pictures

__all__ = ["PlainTexts", "write_plain"]

_TAIL = re.compile(r"\n\[(\d+)/(\d+)(?: (\d+)/(\d+))? ([0-9a-f]{8})\]\Z")
_TAIL_BYTES = 48
_AT_ONCE = 64


def write_plain(
    path: str | os.PathLike[str],
    texts: Iterable[str],
    *,
    video_codec: str = "h264",
    frame_size: int = 512,
    hold: int = 30,
    error_correction: str = "M",
    pair: str = "zxing",
) -> int:
    """Write a video that shows each text as a symbol for ``hold`` pictures at 30 per second, as large as possible.

    A text that is too long for one symbol is split at white space. The file appears when it is complete, or not at all.

    Returns:
        The number of symbols.

    Raises:
        CodecError: The settings are invalid, or a symbol cannot be read from the video.
        MemoryExistsError: The path exists.
        MemoryNotFoundError: The folder does not exist.
        StorageError: The file cannot be written.
    """
    level = error_correction
    version = symbols.version_that_fits(frame_size, 3)
    if level not in tuple(symbols.ERROR_CORRECTION) or hold < 1:
        raise CodecError(f"error_correction {level!r} must be L, M, Q or H, and hold {hold} at least 1")
    room = symbols.utf8_capacity(version, level) - _TAIL_BYTES if version else 0
    if room < 64:
        raise CodecError(f"frame_size {frame_size} is too small for a text at 3 pixels per module; use 512")
    encoder = Encoder(video_codec, frame_size, 30, {"h264": 40, "h265": 40}.get(video_codec, 35))
    reader = symbols.get_pair(pair)
    shown = list(_with_tails([_pieces(text, room) for text in texts]))
    head = encoder.init_segment()
    entry = mp4.parse_sample_entry(head)
    assert entry is not None
    decoder = Decoder(video_codec, entry)
    with appearing_file(path) as file:
        file.write(0, [head])
        offset, picture = len(head), 0
        for start in range(0, len(shown), _AT_ONCE):
            some = shown[start : start + _AT_ONCE]
            drawn = (_draw(reader.write(text, level), frame_size) for text in some)
            samples = encoder.encode(drawn, len(some), hold)
            coded = b"".join(data for data, _ in samples)
            seen = decoder.decode(image for _, image in key_pictures(video_codec, coded))
            if [next(iter(reader.read(image)), None) for image in seen] != some:
                raise CodecError(f"texts are unreadable in {video_codec} at frame_size {frame_size}; use a larger one")
            fragment = mp4.fragment(samples, start // _AT_ONCE + 1, picture, picture)
            file.write(offset, fragment)
            offset += sum(map(len, fragment))
            picture += len(samples)
    return len(shown)


def _draw(modules: Gray, side: int) -> Gray:
    module = side // (len(modules) + 2 * symbols.QUIET)
    return symbols.draw(modules, side, module - module % 4 if module > 4 else module)


def _pieces(text: str, room: int) -> list[str]:
    """Split ``text`` into pieces of at most ``room`` bytes of UTF-8, after white space if possible."""
    pieces = []
    while len(text.encode()) > room:
        whole = text.encode()[:room].decode("utf-8", "ignore")
        cut = max(whole.rfind(space) for space in " \n\t") + 1
        cut = cut if cut > len(whole) // 2 else len(whole)
        pieces.append(text[:cut])
        text = text[cut:]
    return [*pieces, text]


def _with_tails(texts: Sequence[Sequence[str]]) -> Iterable[str]:
    video = secrets.token_hex(4)
    for number, pieces in enumerate(texts, 1):
        for part, piece in enumerate(pieces, 1):
            middle = f" {part}/{len(pieces)}" if len(pieces) > 1 else ""
            yield f"{piece}\n[{number}/{len(texts)}{middle} {video}]"


class PlainTexts:
    """Collect plain texts from symbols and restore their order."""

    def __init__(self) -> None:
        self._pieces: dict[tuple[str, int], dict[int, str]] = {}
        self._counts: dict[tuple[str, int], int] = {}

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, text: str) -> bool:
        """Add the text of a symbol; return False if it is not a plain text of this package."""
        tail = _TAIL.search(text)
        if tail is None:
            return False
        number, _, part, count, video = tail.groups()
        key = video, int(number)
        self._pieces.setdefault(key, {})[int(part or 1)] = text[: tail.start()]
        self._counts[key] = int(count or 1)
        return True

    def texts(self) -> list[str]:
        """Return the complete texts, in order."""
        order: dict[str, Any] = {}
        for video, _ in self._pieces:
            order.setdefault(video, len(order))
        return [
            "".join(self._pieces[key][part] for part in range(1, self._counts[key] + 1))
            for key in sorted(self._pieces, key=lambda key: (order[key[0]], key[1]))
            if all(part in self._pieces[key] for part in range(1, self._counts[key] + 1))
        ]
