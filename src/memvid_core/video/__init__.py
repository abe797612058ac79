"""Payloads as pictures in an MP4 file; this package does not interpret the payloads."""

from memvid_core.video.codec import FrameCodec, codec_names, get_codec
from memvid_core.video.container import VideoFile
from memvid_core.video.pcm import PcmCodec
from memvid_core.video.positions import Fragment, FramePosition, Position, TornTail

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
