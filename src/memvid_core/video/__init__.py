"""Payloads as pictures in an MP4 file; this package does not interpret the payloads."""

from memvid_core.video.codec import FrameCodec, codec_names, get_codec
from memvid_core.video.container import Fragment, FramePosition, Position, TornTail, VideoFile
from memvid_core.video.pcm import PcmCodec

__all__ = [
    "Fragment",
    "FrameCodec",
    "FramePosition",
    "PcmCodec",
    "Position",
    "TornTail",
    "VideoFile",
    "codec_names",
    "get_codec",
]
