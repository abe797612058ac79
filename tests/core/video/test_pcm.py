"""The PCM codec: exact, standard, and cheap."""

from __future__ import annotations

import random
import threading
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memvid_core.errors import CodecError, DamagedFrameError
from memvid_core.video import PcmCodec, bitstream, get_codec
from memvid_core.video.bitstream import samples_of
from tests.core.video.contract import FrameCodecContract


class TestSmallPicture(FrameCodecContract):
    codec = staticmethod(lambda: PcmCodec(2, 2))


class TestNarrowPicture(FrameCodecContract):
    codec = staticmethod(lambda: PcmCodec(1, 5))


class TestDefaultPicture(FrameCodecContract):
    codec = staticmethod(PcmCodec)
    examples = 10


def test_every_payload_size_around_the_macroblock_edges_comes_back() -> None:
    codec = PcmCodec(3, 2)
    noise = random.Random(1).randbytes(codec.capacity)
    for size in [*range(5), *range(360, 400), *range(740, 790), codec.capacity - 1, codec.capacity]:
        (sample, _), *_ = codec.encode([noise[:size]], size)
        assert codec.decode(sample, size) == noise[:size]
        assert codec._decoder.decode(sample, size) == noise[:size]


@given(payload=st.binary(max_size=9000), number=st.integers(0, 2**31), kind=st.integers(0, 3))
def test_libavcodec_decodes_what_is_read_as_it_lies(payload: bytes, number: int, kind: int) -> None:
    payload = [payload, bytes(len(payload)), payload.replace(b"\x01", b"\0\0\3"), b"\0\0\1" * (len(payload) // 3)][kind]
    codec = PcmCodec()
    (sample, _), *_ = codec.encode([payload], number)
    assert codec.decode(sample, number) == codec._decoder.decode(sample, number) == payload


def test_a_small_picture_that_is_not_as_it_was_written_is_refused() -> None:
    codec = PcmCodec()
    (sample, _), *_ = codec.encode([b"exactly these bytes"], 7)
    for at in range(len(sample)):
        damaged = bytes([*sample[:at], sample[at] ^ 0x10, *sample[at + 1 :]])
        with suppress(DamagedFrameError):  # or what is behind it is damaged
            assert codec.decode(damaged, 7) == b"exactly these bytes"
    with pytest.raises(DamagedFrameError):
        codec.decode(sample, 8)
    with pytest.raises(DamagedFrameError):
        codec.decode(b"", 7)


def test_a_full_frame_costs_less_than_one_per_cent() -> None:
    codec = PcmCodec()
    payload = random.Random(2).randbytes(codec.capacity)
    (sample, _), *_ = codec.encode([payload], 0)
    assert len(sample) / len(payload) <= 1.0055


def test_an_empty_frame_costs_a_byte_a_macroblock() -> None:
    (sample, _), *_ = PcmCodec().encode([b""], 0)
    assert len(sample) < 256 + 400


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (65, 1), (1, 65), (-1, 4)])
def test_a_picture_size_that_cannot_be_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(CodecError):
        PcmCodec(*size)


def test_an_unknown_codec_is_named_beside_the_known_ones() -> None:
    with pytest.raises(CodecError, match=r"vhs.*pcm"):
        get_codec("vhs")


def test_threads_share_one_codec() -> None:
    codec = PcmCodec(4, 4)
    payloads = [random.Random(i).randbytes(3000) for i in range(40)]
    samples = codec.encode(payloads, 0)
    wrong: list[int] = []

    def read() -> None:
        wrong.extend(i for i, (data, _) in enumerate(samples) if codec.decode(data, i) != payloads[i])

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@given(seed=st.integers(0, 2**32), size=st.integers(8_000, 98_292), zeros=st.lists(st.integers(0, 98_000), max_size=3))
@example(seed=0, size=98_292, zeros=[])
@example(seed=1, size=90_000, zeros=[360])  # around the end of the first macroblock
@example(seed=2, size=90_000, zeros=[368, 371, 744])
@settings(max_examples=30)
def test_libavcodec_decodes_what_is_read_of_large_pictures(seed: int, size: int, zeros: list[int]) -> None:
    noise = bytearray(random.Random(seed).randbytes(size))
    for at in zeros:  # each is escaped once
        noise[at : at + 4] = bytes(len(noise[at : at + 4]))
    codec, number = PcmCodec(), seed & 1
    [(coded, _)] = codec.encode([bytes(noise)], number)
    assert codec.decode(coded, number) == codec._decoder.decode(coded, number) == noise
    for cut in (coded[:-1], coded[: len(coded) // 2], coded[:10_000], b"\0" + coded):
        with suppress(DamagedFrameError):
            assert codec.decode(cut, number) == noise
    with pytest.raises(DamagedFrameError):
        codec.decode(coded, number + 2)


def test_libavcodec_decodes_only_pictures_that_do_not_match(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = PcmCodec()
    decoded: list[int] = []

    def decode(self: object, picture: bytes, number: int) -> bytes:
        decoded.append(number)
        raise DamagedFrameError(number, "not as it was written")

    monkeypatch.setattr(type(codec._decoder), "decode", decode)
    noise = random.Random(3).randbytes(90_000)
    payloads = [noise, bytes(400) + noise + bytes(400), bytes(90_000), b"\0\0\1" * 30_000, b"small"]
    pictures = [coded for coded, _ in codec.encode(payloads, first=0)]
    assert [codec.decode(coded, number) for number, coded in enumerate(pictures)] == payloads
    assert not decoded
    with pytest.raises(DamagedFrameError):
        codec.decode(pictures[0], 7)
    assert decoded == [7]


def test_no_more_of_a_picture_is_read_than_its_samples_take() -> None:
    noise = random.Random(5).randbytes(90_000)
    codec = PcmCodec()
    [(coded, _)] = codec.encode([noise], first=2)
    longer = coded + bytes(1 << 25)
    assert codec.decode(longer, 2) == noise
    assert len(samples_of(longer, 4)) < 1 << 22
    assert len(bitstream._scratch.plain) < 1 << 22
