"""H.264 syntax for pictures made of I_PCM macroblocks (ITU-T H.264, clause 7.3).

An I_PCM macroblock stores its 384 samples (256 Y, 64 Cb, 64 Cr of a 16x16 block, 4:2:0) as plain bytes, so every H.264
decoder returns them bit for bit. This module writes the parameter sets and the slices; it does not interpret the bytes.
"""

from __future__ import annotations

import re
import threading
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LARGEST_SLICE",
    "MACROBLOCK_BYTES",
    "START_CODE",
    "BitWriter",
    "escape_places",
    "escaped",
    "filler_fits",
    "parameter_sets",
    "pcm_samples",
    "pcm_starts",
    "rbsp_of",
    "samples_as_written",
    "samples_of",
    "slice_nal",
    "unescaped",
]

MACROBLOCK_BYTES = 384
LARGEST_SLICE = 64 * 64 * (MACROBLOCK_BYTES + 2) * 3 // 2
"""The bytes of the longest slice with samples, as if all of them were escaped."""
_SEARCHED = 1 << 12  # bytes up to which a pattern search is as fast as NumPy
_MANY = 256  # bytes that are left out one after the other in less time than by a mask
_SMALL = 1 << 13  # bytes up to which a slice is read by Python faster than by NumPy
_FEW = 8  # macroblocks up to which Python is faster than NumPy
_NEXT_PCM = b"\x0d\x00"  # mb_type ue(25) of every macroblock after the first, and its alignment
START_CODE = b"\x00\x00\x00\x01"

_PROFILE_CONSTRAINED_BASELINE = 66
_LEVEL_4_1 = 41  # 256x256 at 30 pictures a second of 96 KiB is 24 Mbit/s; level 4 stops at 20, 4.1 at 50 (Table A-1)
_MB_TYPE_I_PCM = 25
_MB_TYPE_INTRA16_DC = 3  # Intra_16x16, DC prediction, no coded coefficients (Table 7-11)
_EMULATION = re.compile(rb"\x00\x00(?=[\x00-\x03])")
_ESCAPED = b"\x00\x00\x03"


class BitWriter:
    """Write bits, most significant first (clause 7.2), with the Exp-Golomb codes of clause 9.1."""

    def __init__(self) -> None:
        self.value = 0
        """The bits written so far, as a number."""
        self.length = 0
        """The number of bits."""

    def u(self, bits: int, value: int) -> Self:
        """Write ``value`` as ``bits`` plain bits, u(n)."""
        self.value = (self.value << bits) | value
        self.length += bits
        return self

    def ue(self, value: int) -> Self:
        """Write ``value`` as an unsigned Exp-Golomb code, ue(v)."""
        return self.u(2 * (value + 1).bit_length() - 1, value + 1)

    def se(self, value: int) -> Self:
        """Write ``value`` as a signed Exp-Golomb code, se(v)."""
        return self.ue(2 * value - 1 if value > 0 else -2 * value)

    def align(self) -> Self:
        """Write zero bits up to a byte boundary (pcm_alignment_zero_bit)."""
        return self.u(-self.length % 8, 0)

    def trailing(self) -> Self:
        """Write rbsp_trailing_bits: the stop bit, then alignment."""
        return self.u(1, 1).align()

    def to_bytes(self) -> bytes:
        """Return the bits written so far; they must end on a byte boundary."""
        return self.value.to_bytes(self.length // 8, "big")


def escaped(rbsp: bytes) -> bytes:
    """Apply emulation prevention (clause 7.4.1): no start code may appear inside a NAL unit.

    Most large pictures have nothing to escape; NumPy detects this ten times faster than a pattern search.
    """
    if len(rbsp) < _SEARCHED:
        return _EMULATION.sub(b"\x00\x00\x03", rbsp)
    data = np.frombuffer(rbsp, np.uint8)
    zeros = np.flatnonzero((data[:-2] | data[1:-1]) == 0)
    return _EMULATION.sub(b"\x00\x00\x03", rbsp) if (data[zeros + 2] <= 3).any() else rbsp


def rbsp_of(nal: bytes) -> bytes:
    """Return a NAL unit without emulation prevention.

    Example:
        >>> rbsp_of(escaped(bytes(4))).hex()
        '00000000'
    """
    return nal.replace(_ESCAPED, b"\x00\x00")


def parameter_sets(columns: int, rows: int) -> bytes:
    """Return the SPS and PPS, each after a start code, for pictures of ``columns`` x ``rows`` macroblocks.

    They set Constrained Baseline, level 4.1, picture order count type 2 (decoding order is output order), full-range
    samples, and a bitstream restriction that lets a decoder output each picture immediately (clause E.2.1,
    max_num_reorder_frames).

    Example:
        >>> parameter_sets(16, 16)[:5].hex()
        '0000000167'
    """
    sps = BitWriter().u(8, 0x67).u(8, _PROFILE_CONSTRAINED_BASELINE).u(8, 0xC0).u(8, _LEVEL_4_1)
    sps.ue(0)  # seq_parameter_set_id
    sps.ue(0)  # log2_max_frame_num_minus4
    sps.ue(2)  # pic_order_cnt_type
    sps.ue(1).u(1, 0)  # max_num_ref_frames, gaps_in_frame_num_value_allowed_flag
    sps.ue(columns - 1).ue(rows - 1)
    sps.u(1, 1).u(1, 1).u(1, 0)  # frame_mbs_only_flag, direct_8x8_inference_flag, frame_cropping_flag
    sps.u(1, 1)  # vui_parameters_present_flag
    sps.u(1, 0).u(1, 0)  # aspect_ratio_info, overscan_info
    sps.u(1, 1).u(3, 5).u(1, 1).u(1, 0)  # video_signal_type: unspecified format, full range, no color description
    sps.u(1, 0).u(1, 0).u(1, 0).u(1, 0).u(1, 0)  # chroma_loc, timing, NAL HRD, VCL HRD, pic_struct
    sps.u(1, 1)  # bitstream_restriction_flag
    sps.u(1, 1).ue(0).ue(0).ue(16).ue(16).ue(0).ue(1)  # no reordering, one buffered picture
    pps = BitWriter().u(8, 0x68).ue(0).ue(0)
    pps.u(1, 0).u(1, 0).ue(0)  # CAVLC, no field order, one slice group
    pps.ue(0).ue(0).u(1, 0).u(2, 0)  # reference counts, no weighted prediction
    pps.se(0).se(0).se(0)  # initial QP, QS, chroma offset
    pps.u(1, 1).u(1, 0).u(1, 0)  # deblocking_filter_control, constrained_intra_pred, redundant_pic_cnt
    return b"".join(START_CODE + escaped(w.trailing().to_bytes()) for w in (sps, pps))


def _slice_header(idr_pic_id: int) -> BitWriter:
    """Return the NAL header and slice header of an IDR slice."""
    bits = BitWriter().u(8, 0x65)
    bits.ue(0).ue(7).ue(0)  # first_mb_in_slice, slice_type I for the whole picture, pic_parameter_set_id
    bits.u(4, 0).ue(idr_pic_id)  # frame_num; consecutive IDR pictures must differ in idr_pic_id (7.4.3)
    bits.u(1, 0).u(1, 0)  # no_output_of_prior_pics_flag, long_term_reference_flag
    return bits.se(0).ue(1)  # slice_qp_delta, disable_deblocking_filter_idc: samples must not be filtered


@lru_cache(maxsize=2)
def _pcm_start(idr_pic_id: int) -> bytes:
    """Return the beginning of an IDR slice, up to the first sample of its first macroblock."""
    return _slice_header(idr_pic_id).ue(_MB_TYPE_I_PCM).align().to_bytes()


@lru_cache(maxsize=1024)
def _filler(columns: int, rows: int, used: int, idr_pic_id: int) -> bytes:
    """Return the macroblocks from ``used`` on as Intra_16x16 DC without residual, then the trailing bits.

    Each takes about one byte. The coeff_token of the DC block for zero coefficients depends on nC, the mean of the
    neighbors' coefficient counts; an I_PCM neighbor counts as 16 (clause 9.2.1).
    """
    bits = BitWriter() if used else _slice_header(idr_pic_id)
    for address in range(used, columns * rows):
        left = address % columns > 0 and address - 1 < used
        above = address >= columns and address - columns < used
        if address % columns and address >= columns:
            n_c = (16 * left + 16 * above + 1) >> 1
        else:
            n_c = 16 * (left or above)
        bits.ue(_MB_TYPE_INTRA16_DC).ue(0).se(0)  # mb_type, intra_chroma_pred_mode DC, mb_qp_delta
        if n_c >= 8:
            bits.u(6, 0b000011)
        else:
            bits.u(1, 1)
    return bits.trailing().to_bytes()


@lru_cache(maxsize=1024)
def _tail(columns: int, rows: int, size: int, idr_pic_id: int) -> bytes:
    """Return the padding and the macroblocks after a payload of ``size`` bytes."""
    used = -(-size // MACROBLOCK_BYTES)
    return b"\x80" * (used * MACROBLOCK_BYTES - size) + _filler(columns, rows, used, idr_pic_id)


def slice_nal(payload: bytes, columns: int, rows: int, idr_pic_id: int) -> bytes:
    """Return one IDR picture as a NAL unit, without start code or length; its first samples are ``payload``.

    Args:
        payload: At most ``columns * rows * 384`` bytes, padded with gray to whole macroblocks.
        columns: Picture width in macroblocks of 16 pixels.
        rows: Picture height in macroblocks.
        idr_pic_id: 0 or 1; must differ from that of the previous picture.

    Example:
        >>> slice_nal(b"hello", 1, 1, 0)[5:10]
        b'hello'
    """
    used = -(-len(payload) // MACROBLOCK_BYTES)
    filler = _filler(columns, rows, used, idr_pic_id)
    if not used:
        return escaped(filler)
    if used <= _FEW:
        padded = payload + b"\x80" * (used * MACROBLOCK_BYTES - len(payload))
        blocks = [padded[i : i + MACROBLOCK_BYTES] for i in range(0, len(padded), MACROBLOCK_BYTES)]
        return escaped(b"".join((_pcm_start(idr_pic_id), _NEXT_PCM.join(blocks), filler)))
    coded = np.full((used, MACROBLOCK_BYTES + 2), 0x80, np.uint8)  # mid-gray padding: zeros would need escaping
    coded[:, 0], coded[:, 1] = _NEXT_PCM
    whole = len(payload) // MACROBLOCK_BYTES
    data = np.frombuffer(payload, np.uint8)
    coded[:whole, 2:] = data[: whole * MACROBLOCK_BYTES].reshape(whole, MACROBLOCK_BYTES)
    if whole < used:
        coded[whole, 2 : 2 + len(payload) - whole * MACROBLOCK_BYTES] = data[whole * MACROBLOCK_BYTES :]
    return escaped(b"".join((_pcm_start(idr_pic_id), coded.reshape(-1)[2:].tobytes(), filler)))


@lru_cache(maxsize=1)
def pcm_starts() -> tuple[bytes, bytes]:
    """Return the first bytes of a slice that begins with an I_PCM macroblock, for each ``idr_pic_id``."""
    return _pcm_start(0), _pcm_start(1)


def pcm_samples(nal: bytes, size: int) -> bytes | None:
    """Return the first ``size`` samples of a slice that :func:`slice_nal` made, or None if there are fewer.

    Reads the bytes directly, without a decoder, so damage after the samples does not matter.

    Example:
        >>> pcm_samples(slice_nal(b"hello", 1, 1, 0), 5)
        b'hello'
    """
    start = next((start for start in pcm_starts() if nal.startswith(start)), None)
    if start is None or size < 0:
        return None
    used = -(-size // MACROBLOCK_BYTES)
    wanted = used * (MACROBLOCK_BYTES + 2) - 2
    coded = _unescaped(nal, len(start), wanted)
    if len(coded) < wanted - (used * MACROBLOCK_BYTES - size):
        return None
    coded = coded[:wanted].ljust(wanted, b"\x80")
    lines = np.frombuffer(_NEXT_PCM + coded, np.uint8).reshape(used, MACROBLOCK_BYTES + 2)
    return lines[:, 2:].tobytes()[:size]


def samples_of(coded: bytes, start: int = 0) -> bytes | memoryview:
    """Return all samples of a slice that :func:`slice_nal` made, and some bytes after them; empty for other data.

    Args:
        coded: Bytes that contain the slice, up to its end.
        start: Where it begins.

    Returns:
        The samples; those of a large slice are valid until this thread's next call.

    Example:
        >>> samples_of(slice_nal(b"hello", 1, 1, 0))[:5]
        b'hello'
        >>> bytes(samples_of(slice_nal(b"hello" * 2_000, 8, 8, 0))[:10_000]) == b"hello" * 2_000
        True
    """
    begin = next((start + len(each) for each in pcm_starts() if coded.startswith(each, start)), None)
    if begin is None:
        return b""
    if len(coded) - begin > _SMALL:
        size = min(len(coded) - begin, LARGEST_SLICE)  # what is longer is damage, and its memory would be kept
        return _large_samples(np.frombuffer(coded, np.uint8, size, begin))
    plain, step = coded[begin:].replace(_ESCAPED, b"\x00\x00"), MACROBLOCK_BYTES + 2
    return b"".join([plain[at : at + MACROBLOCK_BYTES] for at in range(0, len(plain), step)])


class _Scratch(threading.local):
    """Memory that a thread keeps: what is allocated for each picture is cleared by the operating system each time."""

    def __init__(self) -> None:
        self.zero = np.empty(0, np.bool_)
        self.plain = self.samples = np.empty(0, np.uint8)

    def of(self, size: int) -> Self:
        """Return the memory, for at least ``size`` bytes."""
        if len(self.plain) < size:
            self.zero = np.empty(2 * size, np.bool_)
            self.plain, self.samples = np.empty(size, np.uint8), np.empty(size, np.uint8)
        return self


_scratch = _Scratch()


def escape_places(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the places of all emulation prevention bytes, ascending (n,); in large data, three times as fast as bytes.

    Args:
        data: (m,) uint8, any part of a NAL unit.

    Example:
        >>> escape_places(np.frombuffer(escaped(bytes(6)), np.uint8)).tolist()
        [2, 5]
    """
    last = max(len(data) - 1, 1)
    kept = _scratch.of(len(data) + 1)
    zero, both = kept.zero[:last], kept.zero[last : 2 * last - 1]
    np.equal(data[:last], 0, out=zero[: len(data)])
    np.logical_and(zero[:-1], zero[1:], out=both)
    places = both.nonzero()[0] + 2
    found: NDArray[np.int64] = places[data[places] == 3]
    return found


def _large_samples(plain: NDArray[np.uint8]) -> memoryview:
    """Return the samples of all whole macroblocks, valid until this thread's next call."""
    places, kept = escape_places(plain), _scratch.of(len(plain))
    if len(places):
        plain = _without(plain, places, kept.plain)
    step = MACROBLOCK_BYTES + 2
    count = (len(plain) + 2) // step
    samples = kept.samples[: count * MACROBLOCK_BYTES].reshape(count, MACROBLOCK_BYTES)
    if count:
        samples[0] = plain[:MACROBLOCK_BYTES]
        samples[1:] = plain[MACROBLOCK_BYTES : count * step - 2].reshape(count - 1, step)[:, 2:]
    return samples.reshape(-1).data


def _without(data: NDArray[np.uint8], places: NDArray[np.int64], out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Copy all bytes but those at some places, ascending, to the beginning of ``out``; return that part of it."""
    if len(places) > _MANY:
        kept = np.ones(len(data), np.bool_)
        kept[places] = False
        return data[kept]
    begin = done = 0
    for place in (*places.tolist(), len(data)):
        out[done : done + place - begin] = data[begin:place]
        begin, done = place + 1, done + place - begin
    return out[:done]


def unescaped(coded: bytes, start: int) -> bytes:
    """Return the bytes from ``start`` on without emulation prevention bytes; in large slices only near ``start``.

    A payload begins with numbers, many of which are zero. In what follows, emulation prevention is rare.
    """
    if len(coded) <= _SEARCHED:
        return coded[start:].replace(_ESCAPED, b"\x00\x00")
    cut = start + MACROBLOCK_BYTES
    return coded[start:cut].replace(_ESCAPED, b"\x00\x00") + coded[cut:]


def samples_as_written(samples: bytes, size: int, columns: int, rows: int, idr_pic_id: int) -> bytes | None:
    """Return the samples of a slice, or None if a byte after its payload differs from what :func:`slice_nal` writes.

    Args:
        samples: The slice from its first sample on, without emulation prevention bytes.
        size: The size of the payload in bytes, at least 1; it comes first in what is returned.
        columns: Picture width in macroblocks.
        rows: Picture height in macroblocks.
        idr_pic_id: 0 or 1.

    Example:
        >>> samples = unescaped(slice_nal(b"hello", 1, 1, 0), 5)
        >>> samples_as_written(samples, 5, 1, 1, 0)[:5], samples_as_written(samples[:-1], 5, 1, 1, 0)
        (b'hello', None)
    """
    if size <= MACROBLOCK_BYTES:
        return samples if samples[size:] == _tail(columns, rows, size, idr_pic_id) else None
    used = -(-size // MACROBLOCK_BYTES)
    if used > columns * rows:
        return None
    step, stop = MACROBLOCK_BYTES + 2, used * (MACROBLOCK_BYTES + 2) - 2
    if samples[size + 2 * used - 2 :] != _tail(columns, rows, size, idr_pic_id):
        return None
    if used <= _FEW:
        between = used - 1
        first, second = samples[MACROBLOCK_BYTES:stop:step], samples[MACROBLOCK_BYTES + 1 : stop : step]
        if first != _NEXT_PCM[:1] * between or second != _NEXT_PCM[1:] * between:
            return None
        return b"".join([samples[i : i + MACROBLOCK_BYTES] for i in range(0, stop, step)])
    lines = np.frombuffer(_NEXT_PCM + samples[:stop], np.uint8).reshape(used, step)
    if (lines[:, 0] != _NEXT_PCM[0]).any() or lines[:, 1].any():
        return None
    return lines[:, 2:].tobytes()


def filler_fits(nal: bytes, size: int, columns: int, rows: int) -> bool:
    """Return whether a slice with ``size`` payload samples ends like a picture of ``columns`` x ``rows``."""
    used = -(-size // MACROBLOCK_BYTES)
    if len(nal) > 2 * (used * (MACROBLOCK_BYTES + 2) + 2 * columns * rows + MACROBLOCK_BYTES):
        return False  # with all bytes escaped it would be shorter; thousands of sizes are tried
    if not used:  # eight bits per macroblock after the header of the slice
        plain, macroblocks = rbsp_of(nal), columns * rows
        likely = macroblocks <= len(plain) <= macroblocks + len(_pcm_start(0)) + 1
        return likely and any(plain == _filler(columns, rows, 0, odd) for odd in (0, 1))
    if not 0 < used <= columns * rows:
        return False
    start = len(_pcm_start(0) if nal.startswith(_pcm_start(0)) else _pcm_start(1))
    coded = _unescaped(nal, start, len(nal))[used * (MACROBLOCK_BYTES + 2) - 2 :]
    macroblocks = columns * rows - used
    # Eight bits per macroblock, and five more next to an I_PCM macroblock; at most one row of them is.
    if not macroblocks <= len(coded) <= macroblocks + (5 * (columns + 2)) // 8 + 2:
        return False
    return coded == _filler(columns, rows, used, 0)


def _unescaped(nal: bytes, start: int, size: int) -> bytes:
    """Return at least ``size`` bytes after ``start``, if available, without emulation prevention bytes."""
    stop = start + size + size // 2 + 3  # every third byte may be an emulation prevention byte
    return nal[start:stop].replace(_ESCAPED, b"\x00\x00")
