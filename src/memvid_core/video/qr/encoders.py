"""H.264, H.265 and AV1 through PyAV: grayscale pictures to MP4 samples and back.

The encoders are tuned for natural video; these settings are for pictures of hard-edged square modules:

* H.264 without its 8x8 transform codes a module that fills exactly one 4x4 transform block as a single coefficient.
That is a quarter of the size of a module that spans several blocks, and lossless even at crf 40.
* AV1 with screen-content tools codes the two gray levels as a palette.
* All pictures have the same quality (``qcomp=1``, ``ipratio=1``), so the size per symbol does not depend on a commit's
length.
"""

from __future__ import annotations

import io
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import CodecError
from memvid_core.video import mp4
from memvid_core.video.codec import Sample, SampleEntry

if TYPE_CHECKING:
    import av

__all__ = ["VIDEO_CODECS", "Decoder", "Encoder", "VideoCodec", "key_pictures", "luma", "scattered_key_pictures"]

Gray = NDArray[np.uint8]

_X26X_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


@dataclass(frozen=True)
class VideoCodec:
    """Describe a way to code pictures: its names in FFmpeg and MP4, and its quality range."""

    name: str
    encoder: str
    decoder: str
    format: str
    entries: tuple[bytes, ...]
    crf_max: int
    presets: tuple[str, ...]
    preset: str


VIDEO_CODECS = {
    codec.name: codec
    for codec in (
        VideoCodec("h264", "libx264", "h264", "h264", (b"avc1", b"avc3"), 51, _X26X_PRESETS, "veryfast"),
        VideoCodec("h265", "libx265", "hevc", "hevc", (b"hvc1", b"hev1"), 51, _X26X_PRESETS, "ultrafast"),
        VideoCodec("av1", "libsvtav1", "libdav1d", "obu", (b"av01",), 63, tuple(map(str, range(14))), "8"),
    )
}


@dataclass(frozen=True)
class Encoder:
    """Hold the settings of one stream.

    Args:
        video_codec: ``h264``, ``h265`` or ``av1``.
        side: Width and height of the picture, in pixels; even.
        fps: Pictures per second.
        crf: Constant quality, 0 (best) to 51 (63 for AV1).
        preset: The encoder's name for its speed; None selects a suitable one.

    Raises:
        CodecError: The encoder does not support a setting.
    """

    video_codec: str
    side: int
    fps: int
    crf: int
    preset: str | None = None

    def __post_init__(self) -> None:
        codec = VIDEO_CODECS.get(self.video_codec)
        if codec is None:
            raise CodecError(f"unknown video_codec {self.video_codec!r}; use one of {', '.join(VIDEO_CODECS)}")
        if not 0 <= self.crf <= codec.crf_max:
            raise CodecError(f"crf {self.crf} is out of range: {self.video_codec} takes 0 to {codec.crf_max}")
        if self.preset is not None and self.preset not in codec.presets:
            raise CodecError(
                f"{self.video_codec} has no preset {self.preset!r}; its presets are: {', '.join(codec.presets)}"
            )
        if not 1 <= self.fps <= 240:
            raise CodecError(f"fps {self.fps} is out of range: 1 to 240 pictures per second")
        if not 64 <= self.side <= 4096 or self.side % 2:
            raise CodecError(f"frame_size {self.side} cannot be coded: use an even number from 64 to 4096")

    @property
    def codec(self) -> VideoCodec:
        """The description of the codec."""
        return VIDEO_CODECS[self.video_codec]

    def _options(self, hold: int, threads: int) -> dict[str, str]:
        options = {"crf": str(self.crf), "preset": self.preset or self.codec.preset}
        if self.video_codec == "h264":
            options |= {"aq-mode": "0", "forced-idr": "1"}
            options["x264-params"] = (
                "8x8dct=0:partitions=i4x4:no-deblock=1:psy=0:qcomp=1:ipratio=1:mbtree=0:scenecut=0:bframes=0"
                ":rc-lookahead=0:sync-lookahead=0:slices=1:weightp=0"
            )
        elif self.video_codec == "h265":
            options |= {"forced-idr": "1"}
            options["x265-params"] = (
                "log-level=none:info=0:ctu=16:min-cu-size=8:aq-mode=0:psy-rd=0:psy-rdoq=0:qcomp=1:ipratio=1:cutree=0"
                f":scenecut=0:bframes=0:rc-lookahead=0:open-gop=0:deblock=0:sao=0:wpp=0:slices=1:frame-threads={threads}"
                f":pools={threads if threads > 1 else 'none'}"
            )
        else:
            options["svtav1-params"] = f"scm=1:pred-struct=1:lp={threads}:scd=0"
            options["g"] = str(hold)
        return options

    def _open(self, hold: int, pictures: int) -> Any:
        import av

        _quiet()
        threads = min(4, os.cpu_count() or 1) if pictures > 8 else 1
        context: Any = av.CodecContext.create(self.codec.encoder, "w")
        context.width = context.height = self.side
        context.pix_fmt = "yuv420p"
        context.time_base, context.framerate = Fraction(1, self.fps), Fraction(self.fps)
        context.color_range = 2  # full: 0 is black and 255 is white
        context.max_b_frames = 0
        context.gop_size = hold if self.video_codec == "av1" else 1 << 20
        context.thread_count = threads
        context.thread_type = "FRAME"  # PyAV's default makes x264 split pictures into one slice per thread
        context.flags |= av.codec.context.Flags.global_header | av.codec.context.Flags.closed_gop
        context.options = self._options(hold, threads)
        with _ordinary_priority():
            context.open()
        return context

    def encode(self, pictures: Iterable[Gray], count: int, hold: int) -> list[Sample]:
        """Return MP4 samples: each of ``count`` pictures as a key picture, then ``hold - 1`` copies of it.

        Pictures are drawn one by one: those of a commit of twenty thousand records take a gigabyte.

        A commit never ends with a key picture of H.264: a decoder takes two consecutive ones with the same
        ``idr_pic_id`` for one picture (7.4.1.2.4), and the encoder of the next commit starts counting from 0.
        """
        if self.video_codec != "h264":
            return self._run(pictures, count, hold)
        copies = _copies(self, max(hold, 2))
        samples: list[Sample] = []
        for key in self._run(pictures, count, 1):
            samples += [key, *copies[: hold - 1]]
        return samples + list(copies[:1]) if hold == 1 else samples

    def _run(self, pictures: Iterable[Gray], count: int, hold: int) -> list[Sample]:
        context = self._open(hold, count * hold)
        packets: list[Any] = []
        time = 0
        for picture in pictures:
            frame = self._frame(picture)
            for copy in range(hold):
                frame.pts = time
                frame.pict_type = 1 if copy == 0 else 0  # I, or chosen by the encoder
                packets += context.encode(frame)
                time += 1
        packets += context.encode(None)
        return [(self._sample(bytes(packet)), bool(packet.is_keyframe)) for packet in packets]

    def _frame(self, picture: Gray) -> av.VideoFrame:
        import av

        frame = av.VideoFrame(self.side, self.side, "yuv420p")
        contents: tuple[Gray | int, ...] = (picture, 128, 128)
        for plane, content in zip(frame.planes, contents, strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            rows[:, : plane.width] = content
        frame.color_range = 2
        return frame

    def _sample(self, packet: bytes) -> bytes:
        """Convert a packet to an MP4 sample: NAL units after their lengths, or OBUs without temporal delimiters."""
        if self.video_codec == "av1":
            return b"".join(packet[start:end] for kind, start, end, _ in _obus(packet) if kind != 2)
        units = [unit.rstrip(b"\0") for unit in packet.split(b"\0\0\1")[1:]]
        coded = [unit for unit in units if _is_slice(self.video_codec, unit[0])]
        return b"".join(len(unit).to_bytes(4, "big") + unit for unit in coded)

    def init_segment(self) -> bytes:
        """Return ``ftyp`` and ``moov`` for a stream of these settings, made once per process."""
        return _init_segment(self)

    def _make_init_segment(self) -> bytes:
        import av

        white = np.full((self.side, self.side), 255, np.uint8)
        context = self._open(2, 1)
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
            stream: Any = container.add_stream(self.codec.encoder, rate=self.fps, options=self._options(2, 1))
            stream.width = stream.height = self.side
            stream.pix_fmt = "yuv420p"
            stream.codec_context.color_range = 2
            stream.codec_context.max_b_frames = 0
            stream.codec_context.gop_size = context.gop_size
            stream.codec_context.thread_count = 1
            stream.codec_context.flags |= av.codec.context.Flags.closed_gop
            with _ordinary_priority():
                container.start_encoding()
            frame = self._frame(white)
            frame.pts = 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        buffer.seek(0)
        with av.open(buffer) as written:
            head = mp4.init_segment(written.streams.video[0], self.fps)
        return head.replace(b"hev1", b"hvc1")  # the name that Apple plays, for parameter sets that are only in the head


@lru_cache(maxsize=64)
def _init_segment(encoder: Encoder) -> bytes:
    return encoder._make_init_segment()


@lru_cache(maxsize=8)
def _copies(encoder: Encoder, hold: int) -> tuple[Sample, ...]:
    """Return the H.264 pictures that repeat any key picture: all their macroblocks are skipped."""
    white = np.full((encoder.side, encoder.side), 255, np.uint8)
    return tuple(encoder._run([white], 1, hold)[1:])


def _threads() -> set[int]:
    """Return the threads of this process on Linux; an empty set elsewhere."""
    try:
        return {int(thread) for thread in os.listdir("/proc/self/task")}
    except OSError:
        return set()


@contextmanager
def _ordinary_priority() -> Iterator[None]:
    """Restore thread priorities that libsvtav1 changes when it is opened as root, the usual user in containers.

    It gives its threads, and the thread that opened it, the highest real-time priority (SCHED_FIFO, 99). These, and all
    processes started later, would keep other processes from running.
    """
    if sys.platform != "linux":
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    before = _threads()
    try:
        yield
    finally:
        for thread in (0, *(_threads() - before)):
            with suppress(OSError):  # a thread may have ended
                if os.sched_getscheduler(thread) == os.SCHED_FIFO:
                    os.sched_setscheduler(thread, policy, parameters)


def _quiet() -> None:
    import av

    os.environ.setdefault("SVT_LOG", "0")  # otherwise libsvtav1 prints its settings, bypassing FFmpeg's log
    av.logging.set_level(av.logging.PANIC)


def _is_slice(video_codec: str, first: int) -> bool:
    """Return whether a NAL unit with this first byte is a coded slice (H.264 table 7-1, H.265 table 7-1)."""
    return (first & 31) in (1, 5) if video_codec == "h264" else first >> 1 & 63 < 32


def _is_key(video_codec: str, first: int) -> bool:
    return (first & 31) == 5 if video_codec == "h264" else 16 <= (first >> 1 & 63) <= 21


def _obus(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield type, start, end and content start of each OBU (AV1 5.3); stop at invalid data."""
    start = 0
    while start < len(data):
        header = data[start]
        at = start + 1 + (header >> 2 & 1)
        size = shift = 0
        while header & 2 and at < len(data) and shift < 56:
            size |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if not data[at - 1] & 128:
                break
        end = at + size
        if header & 0x81 or not header & 2 or end > len(data):
            return
        yield header >> 3 & 15, start, end, at
        start = end


def key_pictures(video_codec: str, coded: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of the key pictures in consecutive samples; stop at invalid data."""
    if video_codec == "av1":
        head = b""
        for kind, start, end, content in _obus(coded):
            if kind == 1:
                head = coded[start:end]
            # OBU_FRAME: show_existing_frame 0, frame_type 0 (KEY_FRAME), in 5.9.2
            elif kind == 6 and content < end and coded[content] & 0xE0 == 0:
                yield start - len(head), head + coded[start:end]
        return
    start = 0
    while start + 5 <= len(coded):
        end = start + 4 + int.from_bytes(coded[start : start + 4], "big")
        if end > len(coded) or end < start + 5:
            return
        if _is_key(video_codec, coded[start + 4]):
            yield start, coded[start:end]
        start = end


_KEY_NAL = {"h264": re.compile(rb"\x00...[\x05\x25\x45\x65]", re.DOTALL)}
_KEY_NAL["h265"] = re.compile(rb"\x00...[\x20-\x2b]", re.DOTALL)


def scattered_key_pictures(video_codec: str, coded: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of possible key pictures anywhere in ``coded``, parts of which are damaged.

    AV1 pictures have no start marks; for AV1, the consecutive pictures from the first ``mdat`` on are returned.
    """
    if video_codec not in _KEY_NAL:
        start = coded.find(b"mdat") + 4
        start = start if start > 4 else 0
        yield from ((start + offset, picture) for offset, picture in key_pictures(video_codec, coded[start:]))
        return
    at = 0
    while (match := _KEY_NAL[video_codec].search(coded, at)) is not None:
        start, at = match.start(), match.start() + 1
        end = start + 4 + int.from_bytes(coded[start : start + 4], "big")
        if start + 5 <= end <= len(coded):
            yield start, coded[start:end]


def luma(frame: av.VideoFrame) -> Gray:
    """Return the luma plane of a decoded picture as an array (height, width)."""
    plane = frame.planes[0]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


class Decoder:
    """Hold one libavcodec context per thread for one stream."""

    def __init__(self, video_codec: str, entry: SampleEntry) -> None:
        self._codec = VIDEO_CODECS[video_codec]
        wanted = {"h264": b"avcC", "h265": b"hvcC", "av1": b"av1C"}[video_codec]
        data = entry.configuration
        self._extradata = next((data[box.content : box.end] for box in mp4.boxes(data) if box.type == wanted), b"")
        self._local = threading.local()

    def _context(self) -> Any:
        context: Any = getattr(self._local, "context", None)
        if context is None:
            import av

            _quiet()
            context = av.CodecContext.create(self._codec.decoder, "r")
            context.extradata = self._extradata
            context.thread_count = 1
            if self._codec.name != "av1":
                context.options = {"flags": "low_delay"}
            self._local.context = context
        return context

    def decode(self, pictures: Iterable[bytes]) -> Iterator[Gray]:
        """Yield the luma planes of coded key pictures; skip those that cannot be decoded.

        An array is valid until the next one is requested.
        """
        import av

        context = self._context()
        for coded in pictures:
            try:
                decoded = context.decode(av.Packet(coded))
                if not decoded:
                    decoded = context.decode(None)
                    context.flush_buffers()
            except (av.FFmpegError, EOFError):
                self._local.context = None
                context = self._context()
                continue
            for frame in decoded:
                yield luma(frame)
