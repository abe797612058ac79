"""What Memvid's API says of pictures, in this project's words."""

from __future__ import annotations

from typing import Any

import memvid_core.video.qr  # noqa: F401 - registers its codec
from memvid_core.errors import CodecError
from memvid_core.video import FrameCodec, get_codec

__all__ = ["CODECS", "chosen_codec"]

CODECS = {"pcm": "pcm", "h264": "h264", "avc": "h264", "h265": "h265", "hevc": "h265", "av1": "av1"}
"""The names that ``video_codec`` takes: ``pcm``, the store, or the coding of a QR memory."""


def chosen_codec(
    video_codec: str, *, fps: int | None, frame_size: int | None, crf: int | None, preset: str
) -> tuple[str, dict[str, Any]]:
    """The codec's name and options for :meth:`Memory.create`.

    ``pcm`` has no quality to set, nor a size, nor a rate: what is given for them is checked as for H.264, so that a
    wrong setting is not found out only when the codec is changed, and then has no effect.

    Raises:
        CodecError: A setting that cannot work.

    Example:
        >>> chosen_codec("hevc", fps=30, frame_size=None, crf=None, preset="robust")
        ('qr', {'preset': 'robust', 'video_codec': 'h265', 'fps': 30})
    """
    coding = CODECS.get(str(video_codec).lower())
    if coding is None:
        raise CodecError(f"there is no video_codec {video_codec!r}; there are: {', '.join(CODECS)}")
    given = {"fps": fps, "frame_size": frame_size, "crf": crf}
    options: dict[str, Any] = {"preset": preset, "video_codec": "h264" if coding == "pcm" else coding}
    options |= {name: value for name, value in given.items() if value is not None}
    if coding == "pcm" and len(options) == 2 and preset == "robust":
        return "pcm", {}
    codec: FrameCodec = get_codec("qr", **options)
    return ("pcm", {}) if coding == "pcm" else (codec.name, options)
