"""Translation of Memvid's codec settings to those of this project."""

from __future__ import annotations

from typing import Any

from memvid_core.errors import CodecError
from memvid_core.video.qr import QRCodec

__all__ = ["CODECS", "chosen_codec"]

CODECS = {"pcm": "pcm", "h264": "h264", "avc": "h264", "h265": "h265", "hevc": "h265", "av1": "av1"}
"""The values of ``video_codec``: ``pcm`` for storage, or the coding of a QR memory."""


def chosen_codec(
    video_codec: str, *, fps: int | None, frame_size: int | None, crf: int | None, preset: str
) -> tuple[str, dict[str, Any]]:
    """Return the name and options of a codec for :meth:`Memory.create`.

    ``pcm`` has no quality, size or rate. These settings are checked as for H.264 and then ignored, so that an invalid
    value is reported even before the codec is changed.

    Raises:
        CodecError: A setting is invalid.

    Example:
        >>> chosen_codec("hevc", fps=30, frame_size=None, crf=None, preset="robust")
        ('qr', {'preset': 'robust', 'video_codec': 'h265', 'fps': 30})
    """
    coding = CODECS.get(str(video_codec).lower())
    if coding is None:
        raise CodecError(f"unknown video_codec {video_codec!r}; use one of {', '.join(CODECS)}")
    given = {"fps": fps, "frame_size": frame_size, "crf": crf}
    options: dict[str, Any] = {"preset": preset, "video_codec": "h264" if coding == "pcm" else coding}
    options |= {name: value for name, value in given.items() if value is not None}
    if coding == "pcm" and len(options) == 2 and preset == "robust":
        return "pcm", {}
    codec = QRCodec(**options)
    return ("pcm", {}) if coding == "pcm" else (codec.name, options)
