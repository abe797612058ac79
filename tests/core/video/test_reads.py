"""How many bytes of a file are read: an opening reads little of a large one, a walk reads all of it once."""

from __future__ import annotations

import io
import random

import pytest

from memvid_core.video import Fragment, PcmCodec, VideoFile
from memvid_core.video.positions import Position


class Counting(io.BytesIO):
    """A file that counts the bytes that are read from it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


@pytest.fixture(scope="module")
def large() -> tuple[bytes, Position]:
    """A video of 4 MB in sixteen fragments, and where the last one begins."""
    rng, target = random.Random(3), io.BytesIO()
    video = VideoFile.create(target, PcmCodec(16, 16))
    last = video.end
    for _ in range(16):
        last = video.end
        video.append([rng.randbytes(rng.randrange(20_000, 60_000)) for _ in range(6)])
    return target.getvalue(), last


def test_an_opening_reads_little_of_a_large_file(large: tuple[bytes, Position]) -> None:
    data, last = large
    file = Counting(data)
    video = VideoFile.open(file)
    assert file.count <= 4096 < len(data) // 500
    assert [found.first_frame for found in video.walk(last) if isinstance(found, Fragment)] == [90]
    assert file.count <= len(data) - last.offset + (1 << 16)


def test_a_walk_reads_the_file_about_once_in_large_pieces(large: tuple[bytes, Position]) -> None:
    data, _ = large
    file = Counting(data)
    video = VideoFile.open(file)
    assert sum(len(found) for found in video.walk(video.start) if isinstance(found, Fragment)) == 96
    assert file.count <= 1.5 * len(data)
