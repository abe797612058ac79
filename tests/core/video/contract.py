"""What every frame codec must do; a subclass gives one."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memvid_core.errors import CodecError, DamagedFrameError
from memvid_core.video import FrameCodec, VideoFile
from memvid_core.video.codec import Sample, recognize_codec
from memvid_core.video.mp4 import parse_sample_entry


def frames_of(samples: Sequence[Sample]) -> list[bytes]:
    """The coded pictures of each frame, one after the other: a key picture begins a frame."""
    frames: list[bytes] = []
    for data, key in samples:
        if key:
            frames.append(data)
        else:
            frames[-1] += data
    return frames


def coded_frames(codec: FrameCodec, payloads: list[bytes], first: int) -> list[bytes]:
    """The coded pictures of each frame, joined: a frame goes from one key picture to the next."""
    frames: list[bytes] = []
    for data, key in codec.encode(payloads, first):
        if key:
            frames.append(data)
        else:
            frames[-1] += data
    assert len(frames) >= len(payloads)  # a codec may add frames of redundancy behind them
    return frames[: len(payloads)]


class FrameCodecContract:
    """Tests every codec passes. ``codec`` makes a small one, ``examples`` says how many payload lists are tried."""

    codec: Callable[[], FrameCodec]
    examples = 50

    def make(self) -> FrameCodec:
        return type(self).codec()

    def test_payloads_come_back_exactly(self) -> None:
        codec = self.make()

        @settings(max_examples=self.examples)
        @given(
            payloads=st.lists(st.binary(max_size=codec.capacity), min_size=1, max_size=4),
            first=st.integers(0, 2**31),
        )
        def check(payloads: list[bytes], first: int) -> None:
            samples = codec.encode(payloads, first)
            frames = frames_of(samples)
            assert len(frames) == len(payloads)
            if codec.one_picture:
                assert len(samples) == len(payloads)
            for number, (coded, payload) in enumerate(zip(frames, payloads, strict=True), first):
                assert codec.decode(coded, number) == payload

        check()

    @pytest.mark.parametrize("fill", [b"\x00", b"\xff", b"\x00\x00\x01", b"\x00\x00\x03", b"\x00\x00\x00\x01\x65"])
    def test_a_full_payload_of_awkward_bytes_comes_back(self, fill: bytes) -> None:
        codec = self.make()
        payload = (fill * codec.capacity)[: codec.capacity]
        (coded,) = frames_of(codec.encode([payload], 5))
        assert codec.decode(coded, 5) == payload

    def test_a_payload_over_the_capacity_is_refused(self) -> None:
        codec = self.make()
        with pytest.raises(CodecError, match=str(codec.capacity)):
            codec.encode([bytes(codec.capacity + 1)], 0)

    def test_a_frame_read_under_another_number_is_damaged(self) -> None:
        codec = self.make()
        (coded,) = frames_of(codec.encode([b"mine"], 8))
        with pytest.raises(DamagedFrameError) as caught:
            codec.decode(coded, 10)
        assert caught.value.frame == 10

    @pytest.mark.parametrize("broken", [b"", b"\x00", b"\x00\x00\x00\x05hello", bytes(4000)])
    def test_bytes_that_are_no_picture_are_damaged(self, broken: bytes) -> None:
        with pytest.raises(DamagedFrameError):
            self.make().decode(broken, 3)

    def test_its_stream_is_recognized(self) -> None:
        codec = self.make()
        entry = parse_sample_entry(codec.init_segment())
        assert entry is not None
        found = recognize_codec(entry)
        assert found is not None
        assert (found.name, found.size, found.capacity) == (codec.name, codec.size, codec.capacity)

    def test_a_video_of_several_fragments_reads_back_and_reopens(self) -> None:
        codec, target = self.make(), io.BytesIO()
        batches = [[b"a", b"b" * (codec.capacity // 2)], [b""], [bytes(range(97)), b"last"]]
        with VideoFile.create(target, codec) as video:
            for batch in batches:
                video.append(batch)
        with VideoFile.open(target) as video:
            assert [payload for _, payload in video] == [payload for batch in batches for payload in batch]
