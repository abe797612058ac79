"""Frames whose first bytes are before the slice: the same payloads in less space."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, cast

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memvid_core.errors import DamagedFrameError
from memvid_core.model import FrameLocation
from memvid_core.vectors.video_places import look_up
from memvid_core.video import PcmCodec, bitstream
from memvid_core.video.bitstream import START_CODE, parameter_sets
from memvid_core.video.codec import Sample, seal
from memvid_core.video.headed import Headed, fits_better, head_of, is_headed
from tests.core.video.contract import FrameCodecContract


class _HeadedCodec(PcmCodec):
    """Codes each payload that takes less space then in this layout."""

    def encode(self, payloads: Iterable[bytes], first: int) -> list[Sample]:
        return super().encode([Headed(each) if fits_better(len(each)) else each for each in payloads], first)


class TestSmallHeadedPicture(FrameCodecContract):
    codec = staticmethod(lambda: _HeadedCodec(2, 2))


class TestDefaultHeadedPicture(FrameCodecContract):
    codec = staticmethod(_HeadedCodec)
    examples = 10


def _sizes() -> list[int]:
    return [size for size in range(98_292) if fits_better(size)]


@given(at=st.integers(0, len(_sizes()) - 1), number=st.integers(0, 2**31), zeros=st.lists(st.integers(0, 98_000)))
@example(at=0, number=0, zeros=[])
@example(at=len(_sizes()) - 1, number=1, zeros=[0, 33, 36, 40])
@settings(max_examples=60)
def test_a_payload_comes_back_and_takes_less_space(at: int, number: int, zeros: list[int]) -> None:
    payload = bytearray(random.Random(at).randbytes(_sizes()[at]))
    for place in zeros:
        payload[place : place + 4] = bytes(len(payload[place : place + 4]))
    codec = PcmCodec()
    [(coded, is_key)] = codec.encode([Headed(payload)], number)
    [(plain, _)] = codec.encode([bytes(payload)], number)
    assert is_key
    assert is_headed(coded)
    assert codec.decode(coded, number) == payload
    assert codec.decode_exactly(coded, number) == (bytes(payload), True)
    assert len(coded) < len(plain) - 50
    assert codec.find(b"x" * 99 + coded + plain[:100], number, number + 1) == [(number, 99, len(coded))]


def test_every_size_that_fits_comes_back() -> None:
    codec, noise = PcmCodec(3, 2), random.Random(1).randbytes(3 * 2 * 384)
    for size in filter(fits_better, range(codec.capacity + 1)):
        [(coded, _)] = codec.encode([Headed(noise[:size])], size)
        assert codec.decode(coded, size) == noise[:size]


@pytest.mark.parametrize("size", [0, 100, 226, 804, 900])
def test_the_size_of_the_picture_is_guessed(size: int) -> None:
    codec, payload = PcmCodec(), random.Random(2).randbytes(size)
    for number in (0, 1):
        [(coded, _)] = codec.encode([Headed(payload)], number)
        assert PcmCodec.guess(coded) == codec
    [(coded, _)] = PcmCodec(37, 29).encode([Headed(payload)], 0)
    before = bitstream._filler.cache_info().misses
    assert PcmCodec.guess(coded) is not None
    assert bitstream._filler.cache_info().misses - before < 60, "not the pictures of all 4,096 sizes"


@pytest.mark.parametrize("kind", [bytes, Headed])
@pytest.mark.parametrize("size", [60, 804])
def test_no_size_is_guessed_of_much_more_than_a_picture(
    monkeypatch: pytest.MonkeyPatch, kind: type[bytes], size: int
) -> None:
    [(coded, _)] = PcmCodec().encode([kind(size)], 1)
    read: list[int] = []

    def noted(whole: Callable[..., bytes]) -> Callable[..., bytes]:
        def call(nal: bytes, *where: int) -> bytes:
            read.append(len(nal))
            return whole(nal, *where)

        return call

    for name in ("rbsp_of", "_unescaped"):
        monkeypatch.setattr(bitstream, name, noted(getattr(bitstream, name)))
    assert PcmCodec.guess(coded + bytes(1 << 16)) is None
    assert sum(each > 1 << 15 for each in read) < 9, "not for each of 4,096 sizes"


def test_what_is_read_of_many_pictures_is_their_own_bytes() -> None:
    codec = PcmCodec()
    read: list[int] = []

    class Counted(bytes):
        def __getitem__(self, at: Any) -> Any:
            if isinstance(at, slice):
                read.append(len(range(len(self))[at]))
            return super().__getitem__(at)

    pictures = codec.encode([Headed(bytes([at % 251]) * 400) for at in range(50)], 0)
    coded = Counted(b"".join(picture + bytes(20_000) for picture, _ in pictures))
    assert len(codec.find(coded, 0, 50)) == 50
    assert sum(read) < len(coded)


def test_the_rows_of_a_matrix_begin_in_the_slice() -> None:
    for size in filter(lambda size: fits_better(size, matrix=True), range(4_000)):
        [(coded, _)] = PcmCodec().encode([Headed(bytes(size))], 0)
        assert len(head_of(coded)[0]) == 48


def test_players_show_the_rest_of_the_payload() -> None:
    payload = random.Random(2).randbytes(36 + 127 * 768)
    [(coded, _)] = PcmCodec().encode([Headed(payload)], 4)
    head, slice_at = head_of(coded)
    assert head == seal(payload, 4)[:48]
    context = av.CodecContext.create("h264", "r")
    context.extradata = parameter_sets(16, 16)
    stream = START_CODE + coded[4 : slice_at - 4] + START_CODE + coded[slice_at:]
    pictures = [*context.decode(av.Packet(stream)), *context.decode(None)]
    assert [(picture.width, picture.height) for picture in pictures] == [(256, 256)]
    luma = np.frombuffer(memoryview(pictures[0].planes[0]), np.uint8).reshape(-1, pictures[0].planes[0].line_size)
    rest = payload[36:]
    assert luma[:16, :16].tobytes() == rest[:256]
    assert luma[:16, 16:32].tobytes() == rest[384 : 384 + 256]


@pytest.mark.parametrize("size", [60, 36 + 768, 900])
def test_no_changed_bit_is_taken_for_the_payload(size: int) -> None:
    codec, payload = PcmCodec(2, 2), random.Random(3).randbytes(size)
    [(coded, _)] = codec.encode([Headed(payload)], 7)
    for at in range(len(coded)):
        damaged = bytes([*coded[:at], coded[at] ^ 0x10, *coded[at + 1 :]])
        with suppress(DamagedFrameError):  # damage to lengths, or after the payload, does not matter
            assert codec.decode(damaged, 7) == payload
            assert codec.decode_exactly(damaged, 7) == (payload, False)
    for cut in range(0, len(coded), 7):
        with suppress(DamagedFrameError):
            assert codec.decode(coded[:cut], 7) == payload
    with pytest.raises(DamagedFrameError):
        codec.decode(coded, 8)


def test_looking_up_the_rows_of_a_long_sample_keeps_no_more_memory_than_of_a_picture() -> None:
    payload = bytes(36) + random.Random(6).randbytes(127 * 768)
    [(coded, _)] = PcmCodec().encode([Headed(payload)], 4)
    found: list[bytes] = []

    class Video:
        kind = 3

        def read(self, offset: int, size: int) -> bytes:
            return coded + bytes(size - len(coded))

        def matrix(self, payload: bytes, number: int) -> None:
            found.append(payload)

    place = FrameLocation(4, 0, 1 << 25, 3, 0, 127)
    assert look_up(cast(Any, Video()), place, 384, "float16", 768) is None
    assert found == [payload]
    assert len(bitstream._scratch.zero) < 1 << 23
