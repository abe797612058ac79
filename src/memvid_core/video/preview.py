"""Preview pictures: ordinary pictures of H.264 for a memory's track, coded by libx264.

They need no parameter sets of their own: libx264 is set so that its slices refer to the sets of the data pictures, and
what it reports is compared with them.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.video.bitstream import START_CODE, BitWriter, escaped, parameter_sets, rbsp_of

__all__ = ["HELD", "coded_picture", "held_picture"]

HELD: Final = 5
"""The number of frames in which a picture stays on the screen after its own."""
_IDR, _SPS, _PPS = 5, 7, 8  # nal_unit_type
_FIRST_QUANTIZER, _LAST_QUANTIZER = 28, 51
_PER_HALF: Final = 10  # steps of the quantizer that about halve the size of a picture
_PICTURE_ID: Final = 2  # idr_pic_id; data pictures have 0 and 1
_SETTINGS: Final = (
    "stitchable=1:keyint=infinite:scenecut=0:bframes=0:ref=1:cabac=0:8x8dct=0:weightp=0:level=4.1:annexb=1:"
    "repeat-headers=1:aud=0:fullrange=on:threads=1:qp={}"
)


def coded_picture(gray: NDArray[np.uint8], chroma: NDArray[np.uint8] | None, limit: int) -> bytes | None:
    """Return one picture as an IDR slice (a NAL unit without start code), as fine as its size allows.

    Args:
        gray: (height, width) uint8 luma, both multiples of 16.
        chroma: (2, height / 2, width / 2) uint8 Cb and Cr, or None for gray.
        limit: The largest size in bytes.

    Returns:
        The slice; None if it cannot be coded in ``limit`` bytes, or libx264 is not there or codes otherwise.
    """
    height, width = gray.shape
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = gray
    if chroma is not None:
        planes[height:] = np.ascontiguousarray(chroma).reshape(-1, width)
    quantizer = _FIRST_QUANTIZER
    while quantizer <= _LAST_QUANTIZER:
        nal = _coded(planes, width, height, quantizer)
        if nal is None or len(nal) <= limit:
            return nal
        quantizer += max(1, int(_PER_HALF * math.log2(len(nal) / limit)))
    return None


def _coded(planes: NDArray[np.uint8], width: int, height: int, quantizer: int) -> bytes | None:
    import av

    try:
        context: Any = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuvj420p"
        context.time_base, context.thread_count, context.profile = Fraction(1, 1), 1, "Baseline"
        settings = _SETTINGS.format(quantizer)
        context.options = {"x264-params": settings, "preset": "veryfast", "tune": "zerolatency"}
        frame = av.VideoFrame.from_ndarray(planes, format="yuvj420p")
        frame.pts = 0
        packets = [*context.encode(frame), *context.encode(None)]
    except (av.FFmpegError, ValueError):
        return None
    units: dict[int, bytes] = {}
    for unit in b"".join(map(bytes, packets)).replace(START_CODE, START_CODE[1:]).split(START_CODE[1:]):
        if unit:
            units[unit[0] & 31] = unit
    own = parameter_sets(width // 16, height // 16).split(START_CODE)[1:]
    sps, pps, nal = units.get(_SPS, b""), units.get(_PPS, b""), units.get(_IDR, b"")
    fits = pps == own[1] and _same_sequence(sps, own[0])
    return _renumbered(nal) if fits and nal else None


def _same_sequence(sps: bytes, own: bytes) -> bool:
    """Return whether two sequence parameter sets are equal in everything that a slice depends on: up to the VUI."""
    return sps[1:2] == own[1:2] and _until_vui(sps) == _until_vui(own)


def _until_vui(sps: bytes) -> list[int]:
    """Return the values between the level and the VUI of a sequence parameter set of the Baseline profile."""
    rbsp = rbsp_of(sps)[4:]
    bits = "".join(f"{byte:08b}" for byte in rbsp)
    at, values = 0, []

    def ue() -> int:
        nonlocal at
        zeros = len(bits[at:]) - len(bits[at:].lstrip("0"))
        value = int(bits[at + zeros : at + 2 * zeros + 1] or "1", 2) - 1
        at += 2 * zeros + 1
        return value

    values = [ue() for _ in range(4)]  # id, log2_max_frame_num, pic_order_cnt_type 2, max_num_ref_frames
    at += 1
    values += [ue(), ue(), int(bits[at : at + 3] or "0", 2)]  # size in macroblocks, then three flags
    return values


def _renumbered(nal: bytes) -> bytes | None:
    """Return an IDR slice with ``idr_pic_id`` 2 instead of 0; None if it does not begin as expected."""
    rbsp = rbsp_of(nal)
    header = BitWriter().u(8, 0x65).ue(0).ue(7).ue(0).u(4, 0)
    bits = 8 * len(rbsp)
    value = int.from_bytes(rbsp, "big")
    rest = bits - header.length - 1
    if value >> rest != (header.value << 1) | 1:  # ue(0) is one bit
        return None
    value &= (1 << rest) - 1
    last = (value & -value).bit_length() - 1  # the stop bit; zeros follow it
    made = header.ue(_PICTURE_ID).u(rest - last, value >> last).align()
    return escaped(made.to_bytes())


@lru_cache(maxsize=64)
def held_picture(columns: int, rows: int, nth: int) -> bytes:
    """Return the ``nth`` picture after a preview picture, from 1, which shows the same: every macroblock is skipped.

    Example:
        >>> len(held_picture(16, 16, 1))
        6
    """
    bits = BitWriter().u(8, 0x41).ue(0).ue(5).ue(0)  # first_mb_in_slice, slice_type P, pic_parameter_set_id
    bits.u(4, nth).u(1, 0).u(1, 0).u(1, 0)  # frame_num; no override, no reordering, no marking
    bits.se(0).ue(1)  # slice_qp_delta, disable_deblocking_filter_idc
    return escaped(bits.ue(columns * rows).trailing().to_bytes())  # mb_skip_run
