"""Pictures to look at, between pictures of data: players show them, and readers get every byte back."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from memvid_core.errors import DamagedFrameError
from memvid_core.video import PcmCodec, VideoFile
from memvid_core.video.preview import HELD, coded_picture, held_picture
from memvid_core.video.shown import Shown, coded_payload, coded_size, sample

CODEC = PcmCodec()
HEAD = bytes(range(28))


def gradient(size: int = 256) -> NDArray[np.uint8]:
    """A picture that is easily told from others."""
    return np.linspace(0, 255, size * size).reshape(size, size).astype(np.uint8)


def picture(limit: int = 8000) -> bytes:
    nal = coded_picture(gradient(), None, limit)
    assert nal is not None
    return nal


def shown(nal: bytes) -> list[bytes]:
    """The payloads of a picture and of the frames that hold it."""
    return [Shown(HEAD + each) for each in (nal, *(held_picture(16, 16, nth) for nth in range(1, HELD + 1)))]


def seen(file: io.BytesIO) -> list[NDArray[np.uint8]]:
    """The luma of every picture, as FFmpeg decodes them."""
    file.seek(0)
    with av.open(file, "r") as container:
        return [np.asarray(frame.to_ndarray(format="gray"), np.uint8) for frame in container.decode(video=0)]


def close(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return float(np.abs(one.astype(float) - other.astype(float)).mean()) < 6


@pytest.mark.parametrize("before", [0, 1])  # the parity of the frame number decides about the ids of its neighbors
def test_a_player_shows_pictures_between_data_and_a_reader_gets_every_byte(before: int) -> None:
    file, data = io.BytesIO(), np.random.default_rng(before).bytes(90_000)
    payloads = [b"x"] * before + [data, *shown(picture()), data, b"end", *shown(picture()), data]
    video = VideoFile.create(file, CODEC)
    video.append(payloads[:3])
    video.append(payloads[3:])
    assert [payload for _, payload in VideoFile.open(file)] == [bytes(payload) for payload in payloads]
    frames = seen(file)
    assert len(frames) == len(payloads)
    for payload, frame in zip(payloads, frames, strict=True):
        assert close(frame, gradient()) == isinstance(payload, Shown)


def test_every_changed_bit_of_a_picture_is_noticed() -> None:
    payload = Shown(HEAD + picture(1500))
    coded, _ = sample(payload, 7)
    assert coded_payload(coded, 7) == payload
    assert coded_size(coded + b"more", 4) == len(coded)
    with pytest.raises(DamagedFrameError):
        CODEC.decode(coded, 8)
    for at in range(len(coded)):
        changed = bytearray(coded)
        changed[at] ^= 1 << (at % 8)
        try:
            found = CODEC.decode(bytes(changed), 7)
        except DamagedFrameError:
            continue
        assert found == payload, at
    for size in range(0, len(coded), 13):
        with pytest.raises(DamagedFrameError):
            CODEC.decode(coded[:size], 7)


def test_pictures_are_found_without_boxes_and_restored_from_parity() -> None:
    payloads: Sequence[bytes] = [b"a" * 500, *shown(picture()), b"b" * 70_000, b"c"]
    samples = [coded for coded, _ in CODEC.encode(payloads, 100)]
    noise = random.Random(1).randbytes(999)
    found = CODEC.find(noise + b"".join(samples) + noise, 90, 200)
    sizes = list(map(len, samples))
    assert found == [(100 + i, len(noise) + sum(sizes[:i]), size) for i, size in enumerate(sizes)]
    file = io.BytesIO()
    fragment = VideoFile.create(file, CODEC).append(payloads, parity=True)
    broken = bytearray(file.getvalue())
    at = int(fragment.offsets[1]) + 200
    broken[at : at + 512] = bytes(512)
    whole = VideoFile.open(io.BytesIO(bytes(broken)))
    assert [payload for _, payload in whole] == [bytes(payload) for payload in payloads]
    assert 1 in whole.repaired


def test_a_picture_is_as_fine_as_its_size_allows() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (128, 192), np.uint8)
    coarse, fine = coded_picture(noise, None, 9000), coded_picture(noise, None, 18_000)
    assert coarse is not None
    assert fine is not None
    assert len(coarse) <= 9000 < len(fine) <= 18_000
    assert coded_picture(noise, None, 300) is None


def test_equal_pictures_are_equal_bytes() -> None:
    assert picture() == picture()
