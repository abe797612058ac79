"""QRCodec: payload bytes as QR symbols in H.264, H.265 or AV1, for a world that re-encodes, rescales and films screens.

A frame is as many symbols as its payload takes, each held for a few pictures; behind the last frame of a commit come
the commit's parity symbols. What is in a symbol is in ``parts``, how it is drawn in ``symbols``, how it is coded in
``encoders``.
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
    """How symbols are made and coded.

    Args:
        video_codec: ``h264``, ``h265`` or ``av1``.
        crf: Constant quality of the encoder; None for the one that was measured to be smallest and exact.
        encoder_preset: The encoder's name for its speed (``veryfast``; for AV1 a number); None for the one that suits.
        fps: Pictures a second.
        frame_size: Width and height of the picture, in pixels.
        module: Pixels a module, at least 2. Four fill a transform block of H.264, which is smallest and strongest.
        error_correction: ``L``, ``M``, ``Q`` or ``H``, the level inside a symbol.
        hold: Pictures that a symbol is shown for. Copies cost about 20 bytes each, and answer dropped pictures.
        parity: Share of a commit's symbols that may be lost, 0 to 0.5.
        symbols: Symbols that the largest payload takes.
        pair: Writer and reader of symbols: ``zxing`` or ``zbar``.
        stream: A number that tells this video's symbols from another's; drawn at random for a new video.

    Raises:
        CodecError: Settings that cannot work; the message has numbers that would.
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
                raise CodecError(f"{field.name} is {value!r}, and should be {' or '.join(k.__name__ for k in kinds)}")
        _ = self.encoder  # checks its own settings
        if self.module < 2:
            raise CodecError(f"module {self.module} is too small to be read: 2 pixels a module is the least, 4 is best")
        if self.error_correction not in tuple(symbols.ERROR_CORRECTION):
            raise CodecError(f"error_correction {self.error_correction!r} is none of L, M, Q, H")
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
        numbers = [f"frame_size {-(-modules * self.module // 2) * 2} or more at {self.module} pixels a module"]
        if self.frame_size // modules >= 2:
            numbers.append(f"module {self.frame_size // modules} or less at frame_size {self.frame_size}")
        return (
            f"no symbol worth writing (version {least} of level {level}, {modules} modules a side with its margin) fits"
            f" {self.frame_size} pixels at {self.module} a module; what works: {', or '.join(numbers)}"
        )

    def room(self, module: int) -> int:
        """Bytes that the largest symbol of ``module`` pixels a module carries; 0 if none fits."""
        version = symbols.version_that_fits(self.frame_size, module)
        return symbols.byte_capacity(version, self.error_correction) if version else 0

    @property
    def encoder(self) -> Encoder:
        """The encoder's part of the settings."""
        crf = _CRF.get(self.video_codec, 0) if self.crf is None else self.crf
        return Encoder(self.video_codec, self.frame_size, self.fps, crf, self.encoder_preset)


_GUESSED_SIDES = (512, 256, 384, 640, 768, 1024)  # pixels


PRESETS = {
    "compact": QRSettings(hold=1, parity=0.0),
    "robust": QRSettings(),
}
"""``compact``: exact as written, smallest. ``robust``: held for three pictures, 15 % of a commit may be lost."""


class QRCodec:
    """Payloads as QR symbols in a lossy video.

    Args:
        preset: ``robust`` or ``compact``.
        options: What to change in it; the names are those of ``QRSettings``.

    Raises:
        CodecError: An unknown option, or settings that cannot work.
        MissingExtraError: The libraries for symbols are not installed.

    Example:
        >>> codec = QRCodec("compact", frame_size=256)
        >>> coded = b"".join(sample for sample, _ in codec.encode([b"exactly these bytes"], first=7))
        >>> codec.decode(coded, number=7)
        b'exactly these bytes'
    """

    def __init__(self, preset: str = "robust", **options: Any) -> None:
        if preset not in PRESETS:
            raise CodecError(f"there is no preset called {preset!r}; there are: {', '.join(PRESETS)}")
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
        """``qr``."""
        return "qr"

    @property
    def capacity(self) -> int:
        """The largest payload of one frame, in bytes: 3,603 at the default settings."""
        return self.settings.symbols * (self.settings.room(self.settings.module) - groups.OVERHEAD)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.settings.frame_size, self.settings.frame_size

    @property
    def one_picture(self) -> bool:
        """False: a frame is as many pictures as its symbols take."""
        return False

    @property
    def single_nal(self) -> bool:
        """False: frames cannot be told apart by NAL units alone."""
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
        """``ftyp`` and ``moov``, with the settings in a ``uuid`` box of the sample entry, which players skip."""
        return self._head

    @classmethod
    def recognise(cls, entry: SampleEntry) -> Self | None:
        """The codec with the settings in the sample entry's box, if it has one."""
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
        """The coded pictures of each payload's symbols, then the parity symbols' as part of the last frame.

        Every key picture is decoded and read again; if one cannot be read, all are made anew with larger modules.

        Raises:
            CodecError: A payload is too large, or symbols of no size come back with this quality.
        """
        settings = self.settings
        payloads = list(payloads)
        for payload in payloads:
            if len(payload) > self.capacity:
                raise CodecError(f"a payload of {len(payload)} bytes does not fit a frame of {self.capacity}")
        if not payloads:
            return []
        module = settings.module
        while settings.room(module) >= _LEAST_ROOM:
            frames, extra = self._split(payloads, first, module)
            contents = [content for frame in frames for content in frame] + extra
            drawn = (self.draw(content, module) for content in contents)
            samples = self._encoder.encode(drawn, len(contents), settings.hold)
            if self._comes_back(samples, contents):
                starts = {0}
                for frame in frames[:-1]:
                    starts.add(max(starts) + len(frame) * settings.hold)
                return [(data, i in starts) for i, (data, _) in enumerate(samples)]
            module += 1
        raise CodecError(
            f"symbols of {settings.module} to {module - 1} pixels a module do not come back from {settings.video_codec}"
            f" at crf {self._encoder.crf}; use a lower crf (28 is safe) or a frame_size over {settings.frame_size}"
        )

    def _split(self, payloads: Sequence[bytes], first: int, module: int) -> tuple[list[list[bytes]], list[bytes]]:
        settings = self.settings
        room = settings.room(module)
        return groups.split(payloads, first, stream=settings.stream, room=room, share=settings.parity)

    def contents(self, payloads: Sequence[bytes], first: int) -> list[bytes]:
        """What the symbols of a commit with these payloads hold, in the order they are shown."""
        frames, extra = self._split(payloads, first, self.settings.module)
        return [content for frame in frames for content in frame] + extra

    def draw(self, content: bytes, module: int | None = None) -> Gray:
        """The picture that shows a symbol with ``content``: uint8 (height, width), 0 black and 255 white."""
        modules = self._pair.write(symbols.to_base45(content), self.settings.error_correction, _MASK)
        return symbols.draw(modules, self.settings.frame_size, module or self.settings.module)

    def _comes_back(self, samples: Sequence[Sample], contents: Sequence[bytes]) -> bool:
        hold = self.settings.hold
        if any(not key for _, key in samples[: len(contents) * hold : hold]):
            return False
        found = list(self._contents(b"".join(data for data, _ in samples)))
        return found == list(contents)

    def _contents(self, coded: bytes) -> Iterator[bytes | None]:
        """What the symbols of coded key pictures say; None where nothing can be read."""
        pictures = (picture for _, picture in key_pictures(self.settings.video_codec, coded))
        for picture in self._decoder.decode(pictures):
            modules = symbols.read_drawn(picture)
            text = None if modules is None else self._pair.read_clean(modules)
            if text is None:
                text = next(iter(self._pair.read(picture)), None)
            yield None if text is None else symbols.from_base45(text)

    def stream_in(self, coded: bytes) -> int | None:
        """The number of the video that coded pictures belong to, if this codec can read one of their symbols."""
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
            except UnsupportedFormatError:  # the head of the file is of this version: one symbol is not
                continue
            if symbol is not None and symbol.stream == self.settings.stream:
                yield symbol

    def decode(self, coded: bytes, number: int) -> bytes:
        """The payload of frame ``number``, as soon as all of its symbols are read."""
        found: dict[int, bytes] = {}
        for symbol in self._symbols(coded):
            if symbol.is_data:
                frame, part, count, body = symbol.part
                if frame == number:
                    found[part] = body
                    if len(found) == count:
                        return b"".join(found[i] for i in range(count))
        raise DamagedFrameError(number, f"only {len(found)} of its symbols can be read")

    def repair(self, frames: Sequence[bytes], first: int) -> dict[int, bytes]:
        """Every payload of a fragment that its symbols still give, parity included, by frame number."""
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
        """The frames from ``first`` to ``stop - 1`` whose symbols lie anywhere in ``coded``."""
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
    """The codec whose pictures these are; every coding and usual size is tried in turn."""
    if pictures.key_only and len(pictures.coded) > 1:
        return None
    coded = pictures.all_bytes()
    for video_codec in ("h264", "h265", "av1"):
        for side in _GUESSED_SIDES:
            stream = QRCodec(video_codec=video_codec, frame_size=side).stream_in(coded)
            if stream is not None:
                return QRCodec(video_codec=video_codec, frame_size=side, stream=stream)
    return None


register_codec("qr", QRCodec, QRCodec.recognise, _guess)
