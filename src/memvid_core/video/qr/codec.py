"""QRCodec: payloads as QR symbols in H.264, H.265 or AV1 video that survives re-encoding, rescaling and filming.

A frame has as many symbols as its payload needs; each is shown for a few pictures. The parity symbols of a commit
follow its last frame. ``groups`` defines the contents of symbols, ``symbols`` draws them, ``encoders`` codes the
pictures.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import msgspec

from memvid_core.errors import CodecError, DamagedFrameError, UnsupportedFormatError
from memvid_core.video import mp4
from memvid_core.video.codec import CodedPictures, FoundFrame, Sample, SampleEntry, register_codec
from memvid_core.video.qr import groups, symbols
from memvid_core.video.qr.encoders import VIDEO_CODECS, Decoder, Encoder, Gray, key_pictures, scattered_key_pictures

__all__ = ["PRESETS", "QRCodec", "QRSettings"]

_BOX = b"uuid"
_BOX_ID = bytes.fromhex("6d656d7669642d71724331f08d5c9a01")
_MASK = 3
_LEAST_ROOM = 64 + groups.OVERHEAD
_KINDS: dict[str, tuple[type, ...]] = {
    "crf": (int, type(None)),
    "encoder_preset": (str, type(None)),
    "parity": (float, int),
}
_CRF = {"h264": 40, "h265": 48, "av1": 35}


@dataclass(frozen=True)
class QRSettings:
    """Set how symbols are made and coded.

    Args:
        video_codec: ``h264``, ``h265`` or ``av1``.
        crf: The constant quality of the encoder; None selects the measured value that gives the smallest exact video.
        encoder_preset: The encoder's name for its speed (``veryfast``; for AV1 a number); None selects a suitable one.
        fps: Pictures per second.
        frame_size: Width and height of the picture, in pixels.
        module: Pixels per module, at least 2. Four fill a transform block of H.264, the smallest and most robust
            choice.
        error_correction: The level inside a symbol: ``L``, ``M``, ``Q`` or ``H``.
        hold: The number of pictures that show a symbol. Copies take about 20 bytes each and compensate dropped
            pictures.
        parity: The share of a commit's symbols that may be lost, 0 to 0.5.
        symbols: The number of symbols of the largest payload.
        pair: The writer and reader of symbols: ``zxing`` or ``zbar``.
        stream: A number that distinguishes this video's symbols from others; random for a new video.

    Raises:
        CodecError: The settings are invalid; the message suggests valid values.
    """

    video_codec: str = "h264"
    crf: int | None = None
    encoder_preset: str | None = None
    fps: int = 30
    frame_size: int = 512
    module: int = 4
    error_correction: str = "L"
    hold: int = 3
    parity: float = 0.15
    symbols: int = 3
    pair: str = "zxing"
    stream: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kinds = getattr(self, field.name), _KINDS.get(field.name, (type(field.default),))
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise CodecError(f"{field.name} is {value!r}, but must be {' or '.join(k.__name__ for k in kinds)}")
        _ = self.encoder  # checks its own settings
        if self.module < 2:
            raise CodecError(f"module {self.module} is too small to be read: use at least 2 pixels per module, best 4")
        if self.error_correction not in tuple(symbols.ERROR_CORRECTION):
            raise CodecError(f"error_correction {self.error_correction!r} must be L, M, Q or H")
        if not 1 <= self.hold <= 1000:
            raise CodecError(f"hold {self.hold} is out of range: 1 to 1000 pictures")
        if not 0 <= self.parity <= 0.5:
            raise CodecError(f"parity {self.parity} is out of range: 0 to 0.5 of the symbols may be lost")
        if not 1 <= self.symbols <= 255:
            raise CodecError(f"symbols {self.symbols} is out of range: 1 to 255 carry a payload")
        if not 0 <= self.stream < 1 << 32:
            raise CodecError(f"stream {self.stream} is out of range: it has 32 bits")
        if self.room(self.module) < _LEAST_ROOM:
            raise CodecError(self._too_small())

    def _too_small(self) -> str:
        level = self.error_correction
        least = next(v for v in range(1, 41) if symbols.byte_capacity(v, level) >= _LEAST_ROOM)
        modules = symbols.side_of(least) + 2 * symbols.QUIET
        numbers = [f"frame_size {-(-modules * self.module // 2) * 2} or more at {self.module} pixels per module"]
        if self.frame_size // modules >= 2:
            numbers.append(f"module {self.frame_size // modules} or less at frame_size {self.frame_size}")
        return (
            f"no useful symbol (version {least} of level {level}, {modules} modules per side with margin) fits"
            f" {self.frame_size} pixels at {self.module} per module; use {', or '.join(numbers)}"
        )

    def room(self, module: int) -> int:
        """Return the bytes that the largest symbol at ``module`` pixels per module carries; 0 if none fits."""
        version = symbols.version_that_fits(self.frame_size, module)
        return symbols.byte_capacity(version, self.error_correction) if version else 0

    @property
    def encoder(self) -> Encoder:
        """The settings of the encoder."""
        crf = _CRF.get(self.video_codec, 0) if self.crf is None else self.crf
        return Encoder(self.video_codec, self.frame_size, self.fps, crf, self.encoder_preset)


_GUESSED_SIDES = (512, 256, 384, 640, 768, 1024)  # pixels


PRESETS = {
    "compact": QRSettings(hold=1, parity=0.0),
    "robust": QRSettings(),
}
"""``compact``: smallest, exact as written. ``robust``: three pictures per symbol, 15 % of a commit may be lost."""


class QRCodec:
    """Code payloads as QR symbols in a lossy video.

    Args:
        preset: ``robust`` or ``compact``.
        options: Settings that differ from the preset; the names are those of ``QRSettings``.

    Raises:
        CodecError: An option is unknown, or the settings are invalid.
        MissingExtraError: The libraries for QR symbols are not installed.

    Example:
        >>> codec = QRCodec("compact", frame_size=256)
        >>> coded = b"".join(sample for sample, _ in codec.encode([b"exactly these bytes"], first=7))
        >>> codec.decode(coded, number=7)
        b'exactly these bytes'
    """

    def __init__(self, preset: str = "robust", **options: Any) -> None:
        if preset not in PRESETS:
            raise CodecError(f"unknown preset {preset!r}; use one of {', '.join(PRESETS)}")
        known = [field.name for field in fields(QRSettings)]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise CodecError(f"qr has no option {unknown[0]!r}; its options are: preset, {', '.join(known)}")
        self._set_up(replace(PRESETS[preset], **{"stream": secrets.randbits(32), **options}))

    def _set_up(self, settings: QRSettings, entry: SampleEntry | None = None) -> None:
        self.settings = settings
        self._entry = entry
        self._pair = symbols.get_pair(settings.pair)
        self._encoder = settings.encoder

    def __repr__(self) -> str:
        return f"QRCodec({self.settings!r})"

    @property
    def name(self) -> str:
        """The name ``qr``."""
        return "qr"

    @property
    def capacity(self) -> int:
        """The size of the largest payload of one frame, in bytes: 3,603 at the default settings."""
        return self.settings.symbols * (self.settings.room(self.settings.module) - groups.OVERHEAD)

    @property
    def size(self) -> tuple[int, int]:
        """The width and height in pixels."""
        return self.settings.frame_size, self.settings.frame_size

    @property
    def one_picture(self) -> bool:
        """False: a frame has as many pictures as its symbols need."""
        return False

    @property
    def single_nal(self) -> bool:
        """False: NAL units alone do not identify frames."""
        return False

    @cached_property
    def _head(self) -> bytes:
        content = _BOX_ID + msgspec.msgpack.encode(self.settings)
        return mp4.add_to_sample_entry(self._encoder.init_segment(), _BOX, content)

    @cached_property
    def _decoder(self) -> Decoder:
        entry = self._entry or mp4.parse_sample_entry(self._head)
        assert entry is not None
        return Decoder(self.settings.video_codec, entry)

    def init_segment(self) -> bytes:
        """Return ``ftyp`` and ``moov``, with the settings in a ``uuid`` box of the sample entry, which players skip."""
        return self._head

    @classmethod
    def recognize(cls, entry: SampleEntry) -> Self | None:
        """Return the codec with the settings in the sample entry's box, or None if it has none."""
        data = entry.configuration
        for box in mp4.boxes(data):
            content = data[box.content : box.end]
            if box.type == _BOX and content.startswith(_BOX_ID):
                try:
                    settings = msgspec.msgpack.decode(content[len(_BOX_ID) :], type=QRSettings)
                    expected = VIDEO_CODECS[settings.video_codec].entries
                except (msgspec.DecodeError, CodecError, KeyError) as exc:
                    raise UnsupportedFormatError(f"this QR memory's settings cannot be read ({exc})") from exc
                if entry.coding not in expected:
                    return None
                codec = cls.__new__(cls)
                codec._set_up(settings, entry)
                return codec
        return None

    def encode(self, payloads: Iterable[bytes], first: int) -> list[Sample]:
        """Return the coded pictures of each payload's symbols; the parity symbols belong to the last frame.

        Every key picture is decoded and read again. If one is unreadable, all are encoded again with larger modules.

        Raises:
            CodecError: A payload is too large, or symbols are unreadable in every size at this quality.
        """
        settings = self.settings
        payloads = list(payloads)
        for payload in payloads:
            if len(payload) > self.capacity:
                raise CodecError(f"a payload of {len(payload)} bytes is too large for a frame of {self.capacity}")
        if not payloads:
            return []
        module = settings.module
        while settings.room(module) >= _LEAST_ROOM:
            frames, extra = self._split(payloads, first, module)
            contents = [content for frame in frames for content in frame] + extra
            drawn = (self.draw(content, module) for content in contents)
            samples = self._encoder.encode(drawn, len(contents), settings.hold)
            if self._is_readable(samples, contents):
                starts = {0}
                for frame in frames[:-1]:
                    starts.add(max(starts) + len(frame) * settings.hold)
                return [(data, i in starts) for i, (data, _) in enumerate(samples)]
            module += 1
        raise CodecError(
            f"symbols of {settings.module} to {module - 1} pixels per module are unreadable in {settings.video_codec}"
            f" at crf {self._encoder.crf}; use a lower crf (28 is safe) or a frame_size over {settings.frame_size}"
        )

    def _split(self, payloads: Sequence[bytes], first: int, module: int) -> tuple[list[list[bytes]], list[bytes]]:
        settings = self.settings
        room = settings.room(module)
        return groups.split(payloads, first, stream=settings.stream, room=room, share=settings.parity)

    def contents(self, payloads: Sequence[bytes], first: int) -> list[bytes]:
        """Return the contents of the symbols of a commit with these payloads, in the order they are shown."""
        frames, extra = self._split(payloads, first, self.settings.module)
        return [content for frame in frames for content in frame] + extra

    def draw(self, content: bytes, module: int | None = None) -> Gray:
        """Draw a symbol with ``content``: uint8 (height, width), 0 black and 255 white."""
        modules = self._pair.write(symbols.to_base45(content), self.settings.error_correction, _MASK)
        return symbols.draw(modules, self.settings.frame_size, module or self.settings.module)

    def _is_readable(self, samples: Sequence[Sample], contents: Sequence[bytes]) -> bool:
        hold = self.settings.hold
        if any(not key for _, key in samples[: len(contents) * hold : hold]):
            return False
        found = list(self._contents(b"".join(data for data, _ in samples)))
        return found == list(contents)

    def _contents(self, coded: bytes) -> Iterator[bytes | None]:
        """Yield the contents of the symbols in coded key pictures; None for an unreadable picture."""
        pictures = (picture for _, picture in key_pictures(self.settings.video_codec, coded))
        for picture in self._decoder.decode(pictures):
            modules = symbols.read_drawn(picture)
            text = None if modules is None else self._pair.read_clean(modules)
            if text is None:
                text = next(iter(self._pair.read(picture)), None)
            yield None if text is None else symbols.from_base45(text)

    def stream_in(self, coded: bytes) -> int | None:
        """Return the number of the video that coded pictures belong to, or None if no symbol can be read."""
        for content in self._contents(coded):
            with suppress(UnsupportedFormatError):
                symbol = None if content is None else groups.parse(content)
                if symbol is not None:
                    return symbol.stream
        return None

    def _symbols(self, coded: bytes) -> Iterator[groups.Symbol]:
        for content in self._contents(coded):
            try:
                symbol = None if content is None else groups.parse(content)
            except UnsupportedFormatError:  # the file's head has this version, so the symbol does not belong to it
                continue
            if symbol is not None and symbol.stream == self.settings.stream:
                yield symbol

    def decode(self, coded: bytes, number: int) -> bytes:
        """Return the payload of frame ``number`` as soon as all of its symbols are read."""
        found: dict[int, bytes] = {}
        for symbol in self._symbols(coded):
            if symbol.is_data:
                frame, part, count, body = symbol.part
                if frame == number:
                    found[part] = body
                    if len(found) == count:
                        return b"".join(found[i] for i in range(count))
        raise DamagedFrameError(number, f"only {len(found)} of its symbols can be read")

    def decode_exactly(self, coded: bytes, number: int) -> tuple[bytes, bool]:
        """Return the payload, and True: encoders differ, so only the parity of the fragment covers every byte."""
        return self.decode(coded, number), True

    def repair(self, frames: Sequence[bytes], first: int) -> dict[int, bytes]:
        """Return every payload of a fragment that its symbols, including parity, contain, by frame number."""
        found: dict[int, groups.Group] = {}
        for coded in frames:
            for symbol in self._symbols(coded):
                if symbol.group in found:
                    found[symbol.group].add(symbol)
                else:
                    found[symbol.group] = groups.Group(symbol)
        if first not in found:
            return {}
        found[first].rebuild()
        return found[first].payloads()

    def find(self, coded: bytes, first: int, stop: int) -> list[FoundFrame]:
        """Find frames ``first`` to ``stop - 1`` by their symbols, anywhere in ``coded``."""
        starts: dict[int, int] = {}
        end, budget = len(coded), 64 * len(coded)
        tail = 0
        for offset, picture in scattered_key_pictures(self.settings.video_codec, coded):
            if offset < tail or budget < 0:
                continue
            budget -= len(picture) + 256
            for symbol in self._symbols(picture):
                tail = offset + len(picture)
                if symbol.is_data and first <= symbol.part[0] < stop:
                    starts.setdefault(symbol.part[0], offset)
        found: list[FoundFrame] = []
        for number, offset in sorted(starts.items(), key=lambda item: item[1], reverse=True):
            found.append((number, offset, end - offset))
            end = offset
        found.sort()
        return found


def _guess(pictures: CodedPictures) -> QRCodec | None:
    """Return the codec of the pictures, by trying every coding and common size."""
    if pictures.key_only and len(pictures.coded) > 1:
        return None
    coded = pictures.all_bytes()
    for video_codec in ("h264", "h265", "av1"):
        for side in _GUESSED_SIDES:
            stream = QRCodec(video_codec=video_codec, frame_size=side).stream_in(coded)
            if stream is not None:
                return QRCodec(video_codec=video_codec, frame_size=side, stream=stream)
    return None


register_codec("qr", QRCodec, QRCodec.recognize, _guess)
