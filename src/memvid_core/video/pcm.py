"""PcmCodec: payload bytes stored unchanged in the samples of a Constrained Baseline H.264 picture.

I_PCM samples are neither transformed nor quantized, so nothing is lost. Every H.264 decoder must support I_PCM (ITU-T
H.264, 7.3.5), so the file plays everywhere. They are in the file as plain bytes, so pictures are read without a
decoder and compared with their checksums; libavcodec decodes those that do not match.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from memvid_core.errors import CodecError, DamagedFrameError
from memvid_core.video.bitstream import (
    MACROBLOCK_BYTES,
    START_CODE,
    filler_fits,
    parameter_sets,
    pcm_samples,
    pcm_starts,
    samples_as_written,
    samples_of,
    slice_nal,
    unescaped,
)
from memvid_core.video.codec import (
    ENVELOPE_BYTES,
    CodedPictures,
    FoundFrame,
    Sample,
    SampleEntry,
    register_codec,
    seal,
    sealed_for,
    unseal,
    unsealed,
)
from memvid_core.video.headed import HEAD_PATTERN, Headed, fits_better, head_of, headed_sample, is_headed, sealed_headed
from memvid_core.video.mp4 import init_segment
from memvid_core.video.shown import MARK, Shown, coded_payload, coded_size, is_shown, sample, sealed_shown

if TYPE_CHECKING:
    import av

__all__ = ["PcmCodec"]

# A line of a macroblock, 16 or 8 samples, is copied as one element, four times faster than byte by byte. Only the
# sizes of the types matter: NumPy copies between equal types bit by bit.
_RUN_16, _RUN_8 = np.dtype(np.complex128), np.dtype(np.uint64)

_PICTURE = re.compile(b"|".join((*map(re.escape, (*pcm_starts(), MARK)), HEAD_PATTERN)))
_LARGEST = 64 * 64 * MACROBLOCK_BYTES
_BUDGET, _BUDGET_A_BYTE, _TRY = 1 << 24, 64, 256  # limits the work of searching for pictures, in bytes


@dataclass(frozen=True)
class PcmCodec:
    """Code payloads as H.264 pictures with I_PCM macroblocks.

    Args:
        columns: Picture width in macroblocks of 16 pixels, 1 to 64.
        rows: Picture height in macroblocks, 1 to 64.

    Raises:
        CodecError: The picture is empty or larger than 1024x1024.

    Example:
        >>> codec = PcmCodec()
        >>> [(coded, _)] = codec.encode([b"exactly these bytes"], first=7)
        >>> codec.decode(coded, number=7)
        b'exactly these bytes'
    """

    columns: int = 16
    rows: int = 16
    _decoder: _Decoder = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (1 <= self.columns <= 64 and 1 <= self.rows <= 64):
            raise CodecError(f"a pcm picture must have 1 to 64 macroblocks per side, not {self.columns}x{self.rows}")
        object.__setattr__(self, "_decoder", _Decoder(self.columns, self.rows))

    @property
    def name(self) -> str:
        """The name ``pcm``."""
        return "pcm"

    @property
    def capacity(self) -> int:
        """The size of the largest payload of one frame, in bytes: 98,292 at the default size."""
        return self.columns * self.rows * MACROBLOCK_BYTES - ENVELOPE_BYTES

    @property
    def size(self) -> tuple[int, int]:
        """The width and height in pixels."""
        return self.columns * 16, self.rows * 16

    @property
    def one_picture(self) -> bool:
        """True: every frame is one picture."""
        return True

    @property
    def single_nal(self) -> bool:
        """True: every picture is one slice, without other NAL units."""
        return True

    def init_segment(self) -> bytes:
        """Return ``ftyp`` and ``moov`` as FFmpeg's muxer writes them for this stream."""
        return _init_segment(self.columns, self.rows)

    def encode(self, payloads: Iterable[bytes], first: int) -> list[Sample]:
        """Code each payload as one picture in AVC sample format (a four-byte length before each NAL unit).

        A payload of the class :class:`~memvid_core.video.shown.Shown` becomes the picture that it contains, one of the
        class :class:`~memvid_core.video.headed.Headed` is coded in the layout that this is about.
        """
        samples: list[Sample] = []
        for number, payload in enumerate(payloads, first):
            if len(payload) > self.capacity:
                raise CodecError(f"a payload of {len(payload)} bytes is too large for a frame of {self.capacity}")
            if isinstance(payload, Shown):
                samples.append(sample(payload, number))
                continue
            if isinstance(payload, Headed) and fits_better(len(payload)):
                samples.append(headed_sample(payload, number, self.columns, self.rows))
                continue
            # Alternate with the frame number, so that consecutive IDR pictures differ across commits too.
            nal = slice_nal(seal(payload, number), self.columns, self.rows, number & 1)
            samples.append((len(nal).to_bytes(4, "big") + nal, True))
        return samples

    def decode(self, coded: bytes, number: int) -> bytes:
        """Return the payload of frame ``number``, checked.

        Pictures are read as they lie in the file, in half the time of libavcodec. It decodes those that do not match
        their checksum then. If it fails because of damage after the payload, the payload is read directly.
        """
        if is_shown(coded):
            return coded_payload(coded, number)
        if is_headed(coded):
            return unseal(sealed_headed(coded) or b"", number)
        payload = unsealed(samples_of(coded, 4), number)
        if payload is not None:
            return payload
        try:
            return self._decoder.decode(coded, number)
        except DamagedFrameError:
            sealed = _sealed(coded, 4)
            if sealed is None:
                raise
            return unseal(sealed, number)

    def decode_exactly(self, coded: bytes, number: int) -> tuple[bytes, bool]:
        """Return the payload of frame ``number``, and whether every byte is the one that :meth:`encode` writes.

        Most pictures are compared as they lie, which takes less time than :meth:`decode`.
        """
        if is_shown(coded):
            found = coded_payload(coded, number)
            return found, sample(Shown(found), number)[0] == coded
        if is_headed(coded):
            found = self.decode(coded, number)
            return found, self.encode([Headed(found)], number)[0][0] == coded
        odd = number & 1
        start = pcm_starts()[odd]
        if coded.startswith(start, 4) and coded[:4] == (len(coded) - 4).to_bytes(4, "big"):
            plain = unescaped(coded, 4 + len(start))
            size = ENVELOPE_BYTES + int.from_bytes(plain[:4], "little")
            sealed = samples_as_written(plain, size, self.columns, self.rows, odd)
            payload = None if sealed is None else unsealed(sealed, number)
            if payload is not None:
                return payload, True
        payload = self.decode(coded, number)
        [(written, _)] = self.encode([payload], number)
        return payload, written == coded

    def find(self, coded: bytes, first: int, stop: int) -> list[FoundFrame]:
        """Find frames ``first`` to ``stop - 1`` anywhere in ``coded``, identified by their checksums."""
        found: list[FoundFrame] = []
        budget = _BUDGET + _BUDGET_A_BYTE * len(coded)
        number, end = first, 0
        for match in _PICTURE.finditer(coded):
            offset = match.start() - 4
            if offset < end or number >= stop or budget <= 0:
                continue
            sealed = _sealed(coded, match.start())
            if sealed is None:
                continue
            cost = _TRY + len(sealed) // 8
            numbers = range(number, min(stop, number + budget // cost + 1))
            known = sealed_for(sealed, numbers)
            budget -= 4 * len(sealed) + cost * (len(numbers) if known is None else known - number)
            if known is None:
                continue
            if is_shown(coded, match.start()) or is_headed(coded, match.start()):
                size = coded_size(coded, match.start())
            else:
                size = int.from_bytes(coded[offset : offset + 4], "big") + 4
            if not len(sealed) < size <= len(coded) - offset:
                size = min(len(coded) - offset, 2 * len(sealed) + 1024)
            found.append((known, offset, size))
            number, end = known + 1, offset + len(sealed)
        return found

    @classmethod
    def guess(cls, coded: bytes) -> PcmCodec | None:
        """Return the codec that coded a picture, determined from its bytes, or None if they are ambiguous."""
        nal, sealed = coded[4:], _sealed(coded, 4)
        if sealed is None:
            return None
        if is_headed(coded):
            head, slice_at = head_of(coded)
            nal, sealed = coded[slice_at:], sealed[len(head) :]
        sizes = [(16, 16), *((columns, rows) for columns in range(1, 65) for rows in range(1, 65))]
        return next((cls(c, r) for c, r in sizes if filler_fits(nal, len(sealed), c, r)), None)

    @classmethod
    def recognize(cls, entry: SampleEntry) -> PcmCodec | None:
        """Return the codec if the stream's parameter sets are those that this class writes for its picture size."""
        columns, rows = entry.width // 16, entry.height // 16
        if entry.coding != b"avc1" or not (1 <= columns <= 64 and 1 <= rows <= 64):
            return None
        own = parameter_sets(columns, rows).split(START_CODE)[1:]
        return cls(columns, rows) if all(nal in entry.configuration for nal in own) else None


def _sealed(coded: bytes, start: int) -> bytes | None:
    """Return the sealed payload in the slice that begins at ``start``, read without a decoder, or None."""
    if is_shown(coded, start):
        return sealed_shown(coded, start)
    if is_headed(coded, start):
        return sealed_headed(coded, start)
    head = pcm_samples(coded[start : start + 64], ENVELOPE_BYTES)
    if head is None:
        return None
    size = int.from_bytes(head[:4], "little") + ENVELOPE_BYTES
    if size > min(_LARGEST, len(coded) - start):
        return None
    return pcm_samples(coded[start : start + 64 + 2 * size], size)


@lru_cache(maxsize=8)
def _init_segment(columns: int, rows: int) -> bytes:
    import av

    stream = parameter_sets(columns, rows) + START_CODE + slice_nal(b"", columns, rows, 0)
    with av.open(io.BytesIO(stream), format="h264") as template:
        return init_segment(template.streams.video[0])


class _Decoder:
    """Hold one libavcodec context per thread: contexts are not thread-safe and take 0.2 ms to open."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns = columns
        self._rows = rows
        self._local = threading.local()

    def _context(self) -> av.VideoCodecContext:
        context: av.VideoCodecContext | None = getattr(self._local, "context", None)
        if context is None:
            import av

            av.logging.set_level(av.logging.PANIC)  # a damaged frame raises an error instead of printing to stderr
            context = av.CodecContext.create("h264", "r")
            context.extradata = parameter_sets(self._columns, self._rows)
            context.thread_count = 1
            context.options = {"flags": "low_delay"}
            self._local.context = context
        return context

    def decode(self, picture: bytes, number: int) -> bytes:
        import av

        context = self._context()
        try:
            pictures = context.decode(av.Packet(START_CODE + picture[4:]))
            if not pictures:
                pictures = context.decode(None)
                context.flush_buffers()
        except (av.FFmpegError, EOFError) as exc:
            self._local.context = None
            raise DamagedFrameError(number, f"libavcodec cannot decode it ({exc})") from exc
        if len(pictures) != 1 or (pictures[0].width, pictures[0].height) != (self._columns * 16, self._rows * 16):
            self._local.context = None
            raise DamagedFrameError(number, "it does not decode to one picture of the video's size")
        return unseal(self._samples(pictures[0]), number)

    def _samples(self, picture: av.VideoFrame) -> memoryview:
        """Return the picture's samples in macroblock order, as many as the payload's length needs."""
        y, cb, cr = (
            np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size) for plane in picture.planes
        )
        length = int.from_bytes(y[0, :4].tobytes(), "little") + ENVELOPE_BYTES
        columns = self._columns
        rows = min(-(-length // (columns * MACROBLOCK_BYTES)), self._rows)
        out = np.empty((rows, columns, MACROBLOCK_BYTES), np.uint8)
        for plane, side, start, run in ((y, 16, 0, _RUN_16), (cb, 8, 256, _RUN_8), (cr, 8, 320, _RUN_8)):
            lines = plane[: rows * side, : columns * side].view(run).reshape(rows, side, columns)
            out[:, :, start : start + side * side].view(run)[:] = lines.swapaxes(1, 2)
        return out.reshape(-1).data


def _guess(pictures: CodedPictures) -> PcmCodec | None:
    """Return the codec of the pictures; the picture size is determined from them."""
    coded = pictures.coded
    for i in reversed(range(len(coded))):  # the last picture of a commit is small, so its size is unambiguous
        codec = PcmCodec.guess(coded[i])
        if codec is None:
            continue
        try:
            codec.decode(coded[i], pictures.first + i)
        except DamagedFrameError:
            continue
        return codec
    return None


register_codec("pcm", PcmCodec, PcmCodec.recognize, _guess)
