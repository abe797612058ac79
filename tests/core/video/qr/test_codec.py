"""The QR codec: exact in each video coding, checked as it writes, repaired from parity, refused when impossible."""

from __future__ import annotations

import io
import os
import random
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import xxhash

from memvid_core.errors import CodecError, DamagedFrameError, NotAMemoryError, UnsupportedFormatError
from memvid_core.video import Fragment, FramePosition, VideoFile, get_codec, mp4
from memvid_core.video.qr import groups, symbols
from memvid_core.video.qr.codec import QRCodec
from memvid_core.video.qr.encoders import VIDEO_CODECS, Decoder, Encoder, key_pictures
from tests.core.video.contract import FrameCodecContract


class TestContract(FrameCodecContract):
    codec = staticmethod(lambda: QRCodec(frame_size=200))
    examples = 15


def payloads_of(*sizes: int, seed: int = 0) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(size) for size in sizes]


def video_of(codec: QRCodec, *commits: list[bytes]) -> tuple[bytes, list[Fragment]]:
    file = io.BytesIO()
    video = VideoFile.create(file, codec)
    fragments = [video.append(payloads) for payloads in commits]
    return file.getvalue(), fragments


def read_all(data: bytes) -> list[tuple[int, bytes]]:
    return list(VideoFile.open(io.BytesIO(data)))


def blacken(data: bytes, place: FramePosition, symbol: int = 0) -> bytes:
    """The file with one key picture of a frame overwritten by zeros, all but its first bytes."""
    coded = data[place.offset : place.offset + place.size]
    start, picture = list(key_pictures("h264", coded))[symbol]
    at = place.offset + start
    return data[: at + 12] + bytes(len(picture) - 12) + data[at + len(picture) :]


@pytest.mark.parametrize("preset", ["compact", "robust"])
@pytest.mark.parametrize("video_codec", list(VIDEO_CODECS))
def test_payloads_come_back_exactly(video_codec: str, preset: str) -> None:
    codec = QRCodec(preset, video_codec=video_codec, frame_size=256)
    first = payloads_of(0, 1, 2, 61, codec.capacity - 1, codec.capacity)
    second = payloads_of(100)
    data, _ = video_of(codec, first, second, second)
    assert read_all(data) == list(enumerate([*first, *second, *second]))
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        times = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
        container.seek(0)
        shown = len(list(container.decode(stream)))
    assert times == list(range(len(times)))
    assert shown == len(times)


@pytest.mark.parametrize("video_codec", list(VIDEO_CODECS))
def test_every_held_picture_shows_the_same_symbol(video_codec: str) -> None:
    data, _ = video_of(QRCodec(video_codec=video_codec, frame_size=256, hold=4), payloads_of(300, 7), payloads_of(9))
    with av.open(io.BytesIO(data), "r") as container:
        pictures = [np.asarray(frame.to_ndarray(format="gray"), np.uint8) for frame in container.decode(video=0)]
    pair = symbols.get_pair("zxing")
    shown = [pair.read(picture) for picture in pictures]
    assert len(shown) % 4 == 0
    for start in range(0, len(shown), 4):
        assert len(shown[start]) == 1
        assert shown[start : start + 4] == [shown[start]] * 4
    assert len({texts[0] for texts in shown}) == len(shown) // 4


def test_the_default_is_robust_h264_and_found_by_name() -> None:
    codec = get_codec("qr")
    assert isinstance(codec, QRCodec)
    assert (codec.settings.video_codec, codec.settings.hold, codec.settings.parity) == ("h264", 3, 0.15)
    assert codec.capacity >= 3_000
    assert codec.size == (512, 512)


@pytest.mark.parametrize("pair", ["zxing", "zbar"])
def test_a_reopened_video_is_appended_to_with_the_same_settings(pair: str) -> None:
    codec = QRCodec("compact", frame_size=200, fps=24, hold=2, error_correction="M", pair=pair, crf=30, stream=77)
    data, _ = video_of(codec, [b"one"], [b"two", b"three"])
    file = io.BytesIO(data)
    video = VideoFile.open(file, "a")
    assert isinstance(video.codec, QRCodec)
    assert video.codec.settings == codec.settings
    assert [payload for _, payload in video] == [b"one", b"two", b"three"]
    video.append([b"four"])
    assert read_all(file.getvalue()) == [(0, b"one"), (1, b"two"), (2, b"three"), (3, b"four")]
    with av.open(io.BytesIO(file.getvalue()), "r") as container:
        assert container.streams.video[0].average_rate == 24
        assert len(list(container.decode(video=0))) == 8


def test_an_appender_that_never_walked_continues_the_picture_times() -> None:
    data, _ = video_of(QRCodec(frame_size=200), payloads_of(200, 5), [b"x"])
    walked = VideoFile.open(io.BytesIO(data))
    assert len(list(walked)) == 3
    file = io.BytesIO(data)
    video = VideoFile.open(file, "a")
    video.resume(walked.end)
    video.append([b"y"])
    with av.open(io.BytesIO(file.getvalue()), "r") as container:
        times = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert times == list(range(len(times)))


def test_black_pictures_are_rebuilt_and_said_so() -> None:
    codec = QRCodec(frame_size=256, parity=0.2)
    payloads = payloads_of(500, 100, 0, 450)
    data, (fragment,) = video_of(codec, payloads)
    places = [place for _, place in fragment.frames()]
    damaged = blacken(blacken(data, places[0], 1), places[2])
    video = VideoFile.open(io.BytesIO(damaged))
    assert [video.read(number, place) for number, place in fragment.frames()] == payloads
    assert video.repaired == {0, 2}


def test_damage_beyond_the_parity_is_named_and_the_rest_read() -> None:
    payloads = payloads_of(100, 110, 120)
    data, (fragment,) = video_of(QRCodec(frame_size=256), payloads)
    places = list(fragment.frames())
    damaged = blacken(blacken(data, places[0][1]), places[1][1])
    video = VideoFile.open(io.BytesIO(damaged))
    for number in (0, 1):
        with pytest.raises(DamagedFrameError) as caught:
            video.read(*places[number])
        assert caught.value.frame == number
    assert video.read(*places[2]) == payloads[2]
    assert video.repaired == set()


@pytest.mark.parametrize("video_codec", list(VIDEO_CODECS))
def test_frames_are_found_by_their_symbols_when_the_boxes_are_damaged(video_codec: str) -> None:
    codec = QRCodec(video_codec=video_codec, frame_size=256)
    commits = payloads_of(10, 20), payloads_of(500, 5, 9, seed=1), payloads_of(8, seed=2)
    data, fragments = video_of(codec, *commits)
    start = fragments[1].start
    damaged = data[: start + 4] + b"lost" + data[start + 8 :]
    video = VideoFile.open(io.BytesIO(damaged))
    found = [found for found in video.walk(video.start) if isinstance(found, Fragment)]
    assert [fragment.damage is None for fragment in found] == [True, False, True]
    assert [fragment.first_frame for fragment in found] == [0, 2, 5]
    assert list(video) == list(enumerate(payload for payloads in commits for payload in payloads))


def test_a_damaged_key_flag_is_noticed() -> None:
    payloads = payloads_of(10, 20, 30)
    data, (fragment,) = video_of(QRCodec("compact", frame_size=200), payloads)
    flag = data.rindex(bytes((2, 0, 0, 0)), 0, int(fragment.offsets[0]))
    video = VideoFile.open(io.BytesIO(data[: flag + 1] + b"\1" + data[flag + 2 :]))
    (found,) = [found for found in video.walk(video.start) if isinstance(found, Fragment)]
    assert found.damage is not None
    assert [payload for _, payload in video.read_fragment(found)] == payloads


def test_a_frame_read_from_anothers_place_is_its_own_or_an_error() -> None:
    data, (first, second) = video_of(QRCodec("compact", frame_size=256), [b"one", b"two"], [b"three"])
    places = [place for fragment in (first, second) for _, place in fragment.frames()]
    video = VideoFile.open(io.BytesIO(data))
    assert video.read(0, places[1]) == b"one"  # looked for in the fragment
    with pytest.raises(DamagedFrameError):
        video.read(0, places[2])


def test_any_flipped_byte_gives_the_payload_or_a_typed_error() -> None:
    payloads = payloads_of(90, 200, 0)
    data, (fragment,) = video_of(QRCodec("compact", frame_size=200), payloads)
    rng = random.Random(3)
    for _ in range(60):
        damaged = bytearray(data)
        damaged[rng.randrange(fragment.start, len(data))] ^= rng.randrange(1, 256)
        video = VideoFile.open(io.BytesIO(bytes(damaged)))
        for number, place in list(video.frames()):
            try:
                payload = video.read(number, place)
            except DamagedFrameError:
                continue
            assert payload == payloads[number]


def test_the_writer_takes_larger_modules_when_small_ones_do_not_come_back() -> None:
    codec = QRCodec("compact", module=2, crf=51, frame_size=256, error_correction="L", stream=1)
    payloads = payloads_of(codec.capacity, 10)
    data, _ = video_of(codec, payloads)
    assert read_all(data) == list(enumerate(payloads))
    with av.open(io.BytesIO(data), "r") as container:
        picture = next(container.decode(video=0)).to_ndarray(format="gray")
    start = int(np.flatnonzero(picture.diagonal() < 128)[0])
    assert np.flatnonzero(picture[start + 1, start:] >= 128)[0] > 7 * codec.settings.module


def test_symbols_that_no_size_saves_are_an_error_and_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = QRCodec("compact", frame_size=200)
    file = io.BytesIO()
    video = VideoFile.create(file, codec)
    monkeypatch.setattr(Decoder, "decode", lambda _, pictures: [np.zeros((200, 200), np.uint8) for _ in pictures])
    with pytest.raises(CodecError, match=r"4 to \d pixels per module are unreadable in h264 at crf 40; use a lower"):
        video.append([b"lost"])
    assert file.getvalue() == codec.init_segment()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "small"}, "compact, robust"),
        ({"colour": 1}, "no option 'colour'"),
        ({"video_codec": "vp9"}, "h264, h265, av1"),
        ({"crf": 52}, "0 to 51"),
        ({"crf": -1}, "0 to 51"),
        ({"video_codec": "av1", "crf": 64}, "0 to 63"),
        ({"crf": "28"}, "crf is '28'"),
        ({"fps": "30"}, "fps is '30'"),
        ({"hold": True}, "hold is True"),
        ({"encoder_preset": "placebo"}, "veryfast"),
        ({"fps": 0}, "1 to 240"),
        ({"frame_size": 511}, "even number"),
        ({"frame_size": 5000}, "64 to 4096"),
        ({"frame_size": 96}, "frame_size 180 or more at 4 pixels per module, or module 2 or less"),
        ({"module": 1}, "at least 2 pixels per module"),
        ({"module": 12}, "module 11 or less at frame_size 512"),
        ({"error_correction": "LM"}, "must be L, M, Q or H"),
        ({"hold": 0}, "1 to 1000"),
        ({"parity": 0.6}, r"0 to 0\.5"),
        ({"symbols": 0}, "1 to 255"),
        ({"stream": 1 << 32}, "32 bits"),
        ({"pair": "other"}, "zxing, zbar"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_numbers_that_would(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CodecError, match=message):
        QRCodec(**options)


@pytest.mark.parametrize("options", [{"frame_size": 180}, {"frame_size": 96, "module": 2}, {"module": 11}])
def test_the_numbers_that_would_work_do(options: dict[str, int]) -> None:
    codec = QRCodec("compact", **options)
    [(coded, _), *rest] = codec.encode([bytes(64)], 0)
    assert codec.decode(b"".join([coded, *(data for data, _ in rest)]), 0) == bytes(64)


def test_a_payload_beyond_the_capacity_is_refused() -> None:
    codec = QRCodec("compact", frame_size=200)
    with pytest.raises(CodecError, match=str(codec.capacity)):
        codec.encode([bytes(codec.capacity + 1)], 0)


def test_settings_of_another_version_are_refused() -> None:
    codec = QRCodec("compact", frame_size=200)
    with pytest.raises(UnsupportedFormatError):
        VideoFile.open(io.BytesIO(codec.init_segment().replace(b"h264", b"h26x")))


def test_a_head_without_our_box_is_no_memory() -> None:
    head = QRCodec("compact", frame_size=200).init_segment().replace(b"memvid-q", b"other-qq")
    with pytest.raises(NotAMemoryError):
        VideoFile.open(io.BytesIO(head))


def test_the_sample_entry_keeps_its_boxes_and_gains_one() -> None:
    head = QRCodec("compact", frame_size=200).init_segment()
    assert sum(box.end - box.start for box in mp4.boxes(head)) == len(head)
    entry = mp4.parse_sample_entry(head)
    assert entry is not None
    assert [box.type for box in mp4.boxes(entry.configuration)][-1] == b"uuid"
    with pytest.raises(ValueError, match="no video sample entry"):
        mp4.add_to_sample_entry(b"", b"free", b"")


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5])
@pytest.mark.parametrize("count", [1, 3, 40, 300, 700])
def test_the_stated_share_of_symbols_can_be_lost(count: int, share: float) -> None:
    payloads = payloads_of(*[1 + i % 7 for i in range(count)])
    frames, extra = groups.split(payloads, 5, stream=9, room=60, share=share)
    contents = [content for frame in frames for content in frame] + extra
    lost = int(len(contents) * share)
    for start in (0, (len(contents) - lost) // 2):  # in one burst, the worst there is
        left = contents[:start] + contents[start + lost :]
        read = [symbol for symbol in map(groups.parse, left) if symbol is not None]
        random.Random(count).shuffle(read)
        group = groups.Group(read[0])
        for symbol in read:
            group.add(symbol)
        group.rebuild()
        assert group.payloads() == dict(enumerate(payloads, 5))
        assert group.lost() == []


def test_a_symbol_with_any_bit_changed_is_no_symbol() -> None:
    frames, _ = groups.split([b"some bytes"], 1, stream=2, room=60, share=0)
    content = frames[0][0]
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        assert groups.parse(bytes(changed)) is None


def test_a_symbol_of_a_newer_version_is_refused() -> None:
    frames, _ = groups.split([b"x"], 1, stream=2, room=60, share=0)
    newer = bytearray(frames[0][0])
    newer[2] = 2  # after the magic bytes
    size = groups.OVERHEAD - 12  # of the head: a checksum of 4 bytes, a length of 2 and a part of 6 follow
    head, body = bytes(newer[:size]), bytes(newer[size + 4 :])
    check = xxhash.xxh3_64_intdigest(body, xxhash.xxh3_64_intdigest(head)) & 0xFFFFFFFF
    with pytest.raises(UnsupportedFormatError, match="version 2"):
        groups.parse(head + check.to_bytes(4, "little") + body)


if sys.platform == "linux":

    @pytest.mark.parametrize("video_codec", VIDEO_CODECS)
    def test_encoding_leaves_the_priority_as_it_was(video_codec: str) -> None:
        """As root, libsvtav1 makes itself and the caller real-time, and with that every process started later."""
        before, seen = os.sched_getscheduler(0), set[int]()

        def pictures() -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
            for _ in range(20):  # enough for threads
                for thread in Path("/proc/self/task").iterdir():
                    with suppress(ProcessLookupError):  # it has ended meanwhile
                        seen.add(os.sched_getscheduler(int(thread.name)))
                yield np.full((64, 64), 255, np.uint8)

        Encoder(video_codec, 64, 30, 30).init_segment()
        Encoder(video_codec, 64, 30, 30).encode(pictures(), 20, 1)
        assert seen == {before}
        assert os.sched_getscheduler(0) == before


def test_encoders_and_decoders_keep_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    for video_codec in VIDEO_CODECS:
        codec = QRCodec("compact", video_codec=video_codec, frame_size=200)
        data, (fragment,) = video_of(codec, [b"one"])
        place = FramePosition(int(fragment.offsets[0]), int(fragment.sizes[0]))
        broken = data[: place.offset + 40] + bytes(30) + data[place.offset + 70 :]
        with pytest.raises(DamagedFrameError):
            VideoFile.open(io.BytesIO(broken)).read(0, place)
    assert capfd.readouterr() == ("", "")


def test_a_phone_sees_a_symbol_with_its_margin() -> None:
    codec = QRCodec("compact")
    picture = codec.draw(codec.contents([bytes(1200)], 0)[0])
    assert picture.shape == (512, 512)
    margin = symbols.QUIET * codec.settings.module
    for edge in (picture[:margin], picture[-margin:], picture[:, :margin], picture[:, -margin:]):
        assert edge.min() == 255
