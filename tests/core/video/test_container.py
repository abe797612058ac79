"""VideoFile: fragments appended, found again, and told from damage and from writes that never finished."""

from __future__ import annotations

import errno
import io
import random
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core.errors import (
    ClosedError,
    DamagedFrameError,
    MemoryExistsError,
    MemoryNotFoundError,
    MemvidError,
    NotAMemoryError,
    ReadOnlyError,
    StorageError,
)
from memvid_core.video import Fragment, FramePosition, PcmCodec, TornTail, VideoFile

BATCHES = (3, 1, 1, 4)


def small_video() -> tuple[bytes, list[bytes], list[int]]:
    """A video of nine frames in four fragments, its payloads, and where its fragments end."""
    rng, target = random.Random(7), io.BytesIO()
    video = VideoFile.create(target, PcmCodec(2, 2))
    payloads: list[bytes] = []
    ends = [video.size()]
    for count in BATCHES:
        batch = [rng.randbytes(rng.randrange(1400)) for _ in range(count)]
        payloads += batch
        ends.append(video.append(batch).end)
    return target.getvalue(), payloads, ends


def read_all(data: bytes) -> tuple[dict[int, bytes], list[str]] | None:
    """What can be read by frame number, and what was said of the rest; None if the file is refused."""
    try:
        video = VideoFile.open(io.BytesIO(data))
    except MemvidError:
        return None
    payloads: dict[int, bytes] = {}
    said: list[str] = []
    for found in video.walk(video.start):
        if isinstance(found, TornTail):
            said.append("torn")
            continue
        if found.damage:
            said.append(found.damage)
        for number, place in found.frames():
            try:
                payloads[number] = video.read(number, place)
            except DamagedFrameError as exc:
                said.append(str(exc))
    return payloads, said


@pytest.mark.no_cover  # thousands of rounds
def test_one_wrong_byte_anywhere_is_said_and_costs_one_frame_at_most() -> None:
    data, payloads, _ = small_video()
    rng = random.Random(3)
    refused = 0
    for position in range(0, len(data), 3):
        broken = bytearray(data)
        broken[position] ^= rng.randrange(1, 256)
        result = read_all(bytes(broken))
        if result is None:
            refused += 1
            continue
        found, said = result
        assert all(payloads[number] == payload for number, payload in found.items()), position
        assert len(found) >= len(payloads) - 1, position
        assert said or len(found) == len(payloads), position
    assert refused < 100  # the head alone: no byte behind it keeps a file from opening


@pytest.mark.no_cover  # thousands of rounds
def test_cut_anywhere_the_whole_fragments_are_there() -> None:
    data, payloads, ends = small_video()
    frames_by_end = dict(zip(ends, [0, 3, 4, 5, 9], strict=True))
    for length in range(len(data) + 1):
        result = read_all(data[:length])
        if length < ends[0]:
            assert result is None
            continue
        assert result is not None
        found, said = result
        whole = max(end for end in ends if end <= length)
        assert found == dict(enumerate(payloads[: frames_by_end[whole]])), length
        assert said == ([] if length in ends else ["torn"]), length


@given(data=st.binary(max_size=300))
def test_bytes_that_are_no_video_are_refused(data: bytes) -> None:
    with pytest.raises(NotAMemoryError):
        VideoFile.open(io.BytesIO(data))


@given(data=st.binary(max_size=2000))
def test_a_head_followed_by_noise_never_fails_otherwise(data: bytes) -> None:
    head = PcmCodec(2, 2).init_segment()
    result = read_all(head + data)
    assert result is not None
    assert result[0] == {}


def test_a_torn_tail_is_cut_by_the_next_append(tmp_path: Path) -> None:
    data, payloads, ends = small_video()
    path = tmp_path / "v.mp4"
    path.write_bytes(data[: ends[2] + 100])
    with VideoFile.open(path, "a") as video:
        *whole, tail = video.walk(video.start)
        assert isinstance(tail, TornTail)
        assert (tail.start, tail.size, len(whole)) == (ends[2], 100, 2)
        video.append([b"after"])
        assert [payload for _, payload in video] == [*payloads[:4], b"after"]


def test_resume_appends_without_a_walk() -> None:
    data, payloads, _ = small_video()
    target = io.BytesIO(data)
    video = VideoFile.open(target)
    list(video.walk(video.start))
    end = video.end
    again = VideoFile.open(target, "a")
    again.resume(end)
    fragment = again.append([b"more"])
    assert (fragment.first_frame, fragment.sequence) == (9, 5)
    assert [payload for _, payload in again] == [*payloads, b"more"]


def test_any_frame_by_its_position() -> None:
    data, payloads, _ = small_video()
    video = VideoFile.open(io.BytesIO(data))
    places = dict(video.frames())
    assert [video.read(number, places[number]) for number in reversed(range(9))] == payloads[::-1]
    with pytest.raises(DamagedFrameError) as caught:
        video.read(4, FramePosition(places[4].offset, places[4].size + 10**6))
    assert caught.value.frame == 4


def test_a_path_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(MemoryNotFoundError, match="create"):
        VideoFile.open(tmp_path / "none.mp4")
    with pytest.raises(FileNotFoundError, match="folder"):
        VideoFile.create(tmp_path / "no" / "v.mp4", PcmCodec(2, 2))
    (tmp_path / "v.mp4").write_bytes(b"x")
    with pytest.raises(MemoryExistsError):
        VideoFile.create(tmp_path / "v.mp4", PcmCodec(2, 2))
    with pytest.raises(StorageError):
        VideoFile.open(tmp_path)
    with pytest.raises(NotAMemoryError, match="not an MP4"):
        VideoFile.open(tmp_path / "v.mp4")


def test_an_mp4_of_another_kind_is_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "other.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode())
    with pytest.raises(NotAMemoryError):
        VideoFile.open(path)


def test_closed_and_read_only_say_so(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    VideoFile.create(path, PcmCodec(2, 2)).close()
    reader = VideoFile.open(path)
    with pytest.raises(ReadOnlyError):
        reader.append([b"x"])
    reader.close()
    reader.close()
    with pytest.raises(ClosedError):
        reader.size()


class FullDisk(io.BytesIO):
    """A disk with room for so many bytes more."""

    def __init__(self, data: bytes, room: int) -> None:
        super().__init__(data)
        self.limit = len(data) + room

    def write(self, data: Any) -> int:
        """Take what fits, and fail where nothing does, as the system does."""
        room = self.limit - self.tell()
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(memoryview(data)[:room])


@pytest.mark.parametrize("room", [0, 1, 50, 700])
def test_a_full_disk_leaves_the_file_as_it_was(room: int) -> None:
    data, payloads, _ = small_video()
    disk: BinaryIO = FullDisk(data, room)
    video = VideoFile.open(disk, "a")
    list(video.walk(video.start))
    with pytest.raises(StorageError, match="disk is full"):
        video.append([bytes(1000)])
    assert disk.getvalue() == data  # type: ignore[attr-defined]
    assert [payload for _, payload in video] == payloads


def test_a_file_that_takes_a_few_bytes_at_a_time_gets_them_all() -> None:
    class Slow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(memoryview(data)[:7])

    target = Slow()
    video = VideoFile.create(target, PcmCodec(2, 2))
    video.append([b"one", bytes(range(256))])
    assert [payload for _, payload in VideoFile.open(io.BytesIO(target.getvalue()))] == [b"one", bytes(range(256))]


@pytest.mark.parametrize("sizes", [[3], [300] * 40, [70_000] * 12])
def test_few_writes_and_many_give_the_same_file(sizes: list[int]) -> None:
    class Counting(io.BytesIO):
        writes = 0

        def write(self, data: Any) -> int:
            self.writes += 1
            return super().write(data)

    target = Counting()
    video = VideoFile.create(target, PcmCodec())
    before = target.writes
    payloads = [random.Random(i).randbytes(size) for i, size in enumerate(sizes)]
    fragment = video.append(payloads)
    assert target.writes - before <= 1 + fragment.end // (1 << 18)
    assert [video.read(number, place) for number, place in fragment.frames()] == payloads
    assert [payload for _, payload in VideoFile.open(io.BytesIO(target.getvalue()))] == payloads


def test_whether_the_path_still_names_what_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    video = VideoFile.create(path, PcmCodec(2, 2))
    seen = video.stamp()
    assert video.unchanged(seen)
    assert not video.unchanged(None)
    video.append([b"one"])
    assert not video.unchanged(seen)
    seen = video.stamp()
    other = shutil.copy2(path, tmp_path / "other.mp4")  # the same content and time, and still another file
    path.rename(tmp_path / "moved.mp4")
    assert not video.unchanged(seen)
    assert video.gone()
    assert not video.replaced()
    Path(other).rename(path)
    assert not video.unchanged(seen)
    assert video.replaced()
    video.close()
    in_ram = VideoFile.create(io.BytesIO(), PcmCodec(2, 2))
    assert in_ram.unchanged(in_ram.stamp())
    assert not in_ram.unchanged(None)


def test_two_over_one_file_object_do_not_move_it_under_each_other() -> None:
    data, payloads, _ = small_video()

    class Shared(io.BytesIO):
        other: Callable[[], None] | None = None

        def seek(self, offset: int, whence: int = 0, /) -> int:
            position = super().seek(offset, whence)
            if self.other is not None:  # another thread comes between seek and read
                thread, self.other = threading.Thread(target=self.other), None
                thread.start()
                thread.join(timeout=0.2)
                waiting.append(thread)
            return position

    waiting: list[threading.Thread] = []
    read: list[bytes] = []
    target = Shared(data)
    video, other = VideoFile.open(target), VideoFile.open(target)
    places = dict(video.frames())
    target.other = lambda: read.append(other.read(7, places[7]))
    assert video.read(2, places[2]) == payloads[2]
    for thread in waiting:
        thread.join()
    assert read == [payloads[7]]


def test_ffmpeg_and_pyav_see_one_continuous_video(tmp_path: Path) -> None:
    data, _, _ = small_video()
    path = tmp_path / "v.mp4"
    path.write_bytes(data)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.codec_context.profile) == (32, 32, "Constrained Baseline")
        pictures = [frame.pts or 0 for frame in container.decode(stream)]
    assert pictures == [pictures[0] + i * (pictures[1] - pictures[0]) for i in range(9)]
    ffmpeg = shutil.which("ffmpeg")
    assert ffmpeg, "the test command installs ffmpeg"
    command = [ffmpeg, "-v", "error", "-xerror", "-err_detect", "explode", "-i", str(path), "-f", "null", "-"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_fragment_knows_its_place() -> None:
    video = VideoFile.create(io.BytesIO(), PcmCodec(2, 2))
    first, second = video.append([b"a", b"b"]), video.append([b"c"])
    assert (first.sequence, first.first_frame, len(first)) == (1, 0, 2)
    assert (second.sequence, second.first_frame, second.start) == (2, 2, first.end)
    assert all(isinstance(found, Fragment) and found.damage is None for found in video.walk(video.start))
