"""Recover: the same memory out of any pictures, and of what they do not show what is left and named."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from memvid_core import HashingEmbedder, Memory, MemoryExistsError, MemoryNotFoundError, NotAMemoryError, Record
from memvid_core.rewriting.convert import convert, recover
from memvid_core.video.qr.scan import Scan, scan
from tests.core.embedders import embed
from tests.core.memories import SMALL, assert_same, lived
from tests.core.video.pictures import (
    Picture,
    as_is,
    at_24_of_30,
    blacked_out,
    cropped_and_bordered,
    dropped,
    pictures_of,
    transcode,
)

X264 = {"crf": "23", "preset": "veryfast"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Record], list[Picture]]:
    """The records of a robust memory of two commits, and its pictures."""
    rng = random.Random(3)
    path = tmp_path_factory.mktemp("written") / "memory.mp4"
    with Memory.create(path, codec="qr", vector_dtype="none") as memory:
        texts = [f"Record number{i}: 날개 " + "".join(rng.choices("abcdefgh     ", k=300)) for i in range(60)]
        memory.add(texts, [{"page": i, "of": "book"} for i in range(60)], [f"r{i}" for i in range(60)])
        memory.add("The last word is kumquat.", ids="last")
        return list(memory), pictures_of(path)


@pytest.mark.parametrize(
    ("encoder", "options", "how", "name", "change"),
    [
        ("libx264", X264, {}, "a.mp4", as_is),
        ("libx264", {"crf": "28", "preset": "veryfast"}, {}, "a.mkv", as_is),
        ("libx264", {"crf": "35", "preset": "veryfast"}, {}, "a.mov", as_is),
        ("libx265", {"crf": "28", "preset": "ultrafast", "x265-params": "log-level=none"}, {}, "a.mp4", as_is),
        ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}, {"bit_rate": 1_000_000}, "a.webm", as_is),
        ("libx264", X264, {"side": 384}, "a.mp4", as_is),
        ("libx264", X264, {"side": 768}, "a.mp4", as_is),
        ("libx264", X264, {"fps": 24}, "a.mp4", at_24_of_30),
        ("libx264", X264, {}, "a.mp4", dropped),
        ("libx264", X264, {}, "a.mp4", blacked_out),
        ("libx264", X264, {}, "a.mp4", cropped_and_bordered),
    ],
    ids=[
        *("h264-23", "h264-28", "h264-35", "h265-28", "vp9-1M", "x0.75", "x1.5", "24fps", "5%-dropped", "5%-black"),
        "cropped-with-border",
    ],
)
def test_a_transcoded_video_gives_every_record_back_to_search(
    written: tuple[list[Record], list[Picture]],
    tmp_path: Path,
    encoder: str,
    options: dict[str, str],
    how: dict[str, int],
    name: str,
    change: Callable[[list[Picture]], list[Picture]],
) -> None:
    records, pictures = written
    transcode(change(pictures), tmp_path / name, encoder, options, **how)
    done = recover(tmp_path / name, tmp_path / "back.mp4")
    assert done.whole
    assert (done.missing, done.written.records, done.written.lost) == ([], len(records), 0)
    with Memory.open(tmp_path / "back.mp4") as memory:
        assert list(memory) == records
        assert [commit.added for commit in memory.history()] == [60, 1]
        assert [memory.search(f"number{i}", k=1)[0].id for i in (0, 31, 59)] == ["r0", "r31", "r59"]
        assert memory.search("kumquat", k=1)[0].id == "last"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory with a past as symbols, its index gone."""
    home = tmp_path_factory.mktemp("shown")
    lived(home / "store.mp4", 5)
    convert(home / "store.mp4", home / "shown.mp4", codec="qr", codec_options={"frame_size": 256})
    return home / "shown.mp4"


@pytest.fixture(scope="module")
def found(shown: Path) -> Scan:
    return scan(shown)


def without(found: Scan, lost: Callable[[int], bool]) -> Scan:
    """What a scan would have found if some frames had not been seen."""
    ((stream, payloads),) = found.streams.items()
    kept = {number: payload for number, payload in payloads.items() if not lost(number)}
    report = scan_report(found)
    report.missing = {stream: [number for number in range(max(kept) + 1) if number not in kept]}
    return Scan({stream: kept}, [], report)


def scan_report(found: Scan) -> Any:
    return type(found.report)(**vars(found.report))


class TestRecover:
    def test_a_transcoded_and_rescaled_video(self, shown: Path, tmp_path: Path) -> None:
        filmed = tmp_path / "filmed.mkv"
        transcode(pictures_of(shown), filmed, "libx264", {"crf": "28"}, side=384, fps=25)
        done = recover(filmed, tmp_path / "back.mp4")
        assert done.whole
        assert not done.missing
        assert done.scan.pictures == done.scan.repeated + done.scan.symbols
        assert_same(shown, tmp_path / "back.mp4")

    def test_a_folder_of_images(self, shown: Path, tmp_path: Path) -> None:
        folder = tmp_path / "images"
        folder.mkdir()
        (folder / "read me.txt").write_text("screenshots")
        for number, picture in enumerate(pictures_of(shown)[::3]):
            av.VideoFrame.from_ndarray(picture, format="gray").to_image().save(folder / f"shot {number}.png")
        assert recover(folder, tmp_path / "back.mp4").whole
        assert_same(shown, tmp_path / "back.mp4")

    def test_arrays(self, shown: Path, tmp_path: Path) -> None:
        assert recover(pictures_of(shown), tmp_path / "back.mp4").whole

    def test_any_one_frame_may_be_missing_and_is_named(self, shown: Path, found: Scan, tmp_path: Path) -> None:
        with Memory.open(shown) as memory:
            wanted = {record.id: record.text for record in memory}
            history = {commit.number: commit.time for commit in memory.history()}
        last = max(number for number, _ in found)
        for gone in range(last + 1):
            target = tmp_path / f"{gone}.mp4"
            done = recover(without(found, gone.__eq__), target)
            assert done.missing == ([gone] if gone < last else [])  # what comes after the last one seen is not known
            assert not done.whole
            with Memory.open(target, embedder=HashingEmbedder()) as memory:
                assert memory.verify().ok
                kept = {record.id: record.text for record in memory}
                assert len(kept) == len(memory)  # no id twice, whatever tombstone was lost
                missing = wanted.keys() - kept.keys()
                assert len(missing) <= done.written.lost
                told = memory.history()[:-1] if gone == last else memory.history()
                assert all(history[commit.number] <= commit.time for commit in told)

    @pytest.mark.parametrize("kept", [0.4, 0.8, 1.0])
    def test_a_video_cut_off_in_a_commit_gives_what_was_shown_of_it(self, tmp_path: Path, kept: float) -> None:
        texts = {str(i): f"record {i} " + "".join(random.Random(i).choices("abcdefghij ", k=300)) for i in range(80)}
        with Memory.create(tmp_path / "a.mp4", embed, "qr", "float32", codec_options=SMALL) as memory:
            memory.add("first", ids="first")
            memory.add(list(texts.values()), ids=list(texts))
        found = scan(tmp_path / "a.mp4")
        last = max(number for number, _ in found)  # a COMMIT frame: at 1.0 it alone is gone
        done = recover(without(found, lambda number: number >= kept * last), tmp_path / "back.mp4")
        assert not done.whole
        assert "its end was not seen" in done.written.damage[-1].reason
        with Memory.open(tmp_path / "back.mp4", embedder=embed) as memory:
            assert memory.verify().ok
            back = {record.id: record.text for record in memory}
            assert back.pop("first") == "first"
            assert back.items() <= texts.items()
            assert len(back) + done.written.lost <= len(texts)
            assert len(back) == len(texts) if kept == 1.0 else len(back) > 0
            assert memory.search(texts["0"], k=1)[0].id == "0"
            assert [commit.added for commit in memory.history()] == [1, len(back)]

    def test_nothing_but_the_last_commits(self, found: Scan, tmp_path: Path) -> None:
        half = max(number for number, _ in found) // 2
        done = recover(without(found, lambda number: number < half), tmp_path / "back.mp4")
        assert done.written.damage[0].reason.startswith("the header was not seen")
        assert done.written.lost > 0
        with Memory.open(tmp_path / "back.mp4", embedder=HashingEmbedder()) as memory:
            assert len(memory) > 0
            assert memory.verify().ok
            assert memory.search("wing", k=1)

    def test_a_claim_of_more_frames_than_there_are_takes_no_memory(self, found: Scan, tmp_path: Path) -> None:
        ((stream, payloads),) = found.streams.items()
        far = dict(payloads)
        far[(1 << 32) - 1] = far.pop(max(far))  # a COMMIT frame four billion frames away
        report = scan_report(found)
        report.missing = {stream: []}
        done = recover(Scan({stream: far}, [], report), tmp_path / "back.mp4")
        assert done.written.records > 0

    def test_several_memories_in_one_video(self, shown: Path, tmp_path: Path) -> None:
        with Memory.create(tmp_path / "other.mp4", codec="qr", codec_options=SMALL) as memory:
            memory.add("another memory", ids="x")
        both = pictures_of(shown) + pictures_of(tmp_path / "other.mp4")
        found = scan(both)
        with pytest.raises(NotAMemoryError, match="2 memories; choose a stream"):
            recover(found, tmp_path / "back.mp4")
        with pytest.raises(NotAMemoryError, match="unknown stream 1; the pictures show"):
            recover(found, tmp_path / "back.mp4", stream=1)
        found.streams[7] = {}  # one of whose symbols was seen, and none of whose frames is whole
        with pytest.raises(NotAMemoryError, match="2 memories; choose a stream"):
            recover(found, tmp_path / "back.mp4")
        small = min(filter(found.streams.get, found.streams), key=lambda stream: len(found.streams[stream]))
        assert recover(found, tmp_path / "back.mp4", stream=small).stream == small
        with Memory.open(tmp_path / "back.mp4") as memory:
            assert [record.id for record in memory] == ["x"]

    def test_what_shows_no_memory(self, shown: Path, tmp_path: Path) -> None:
        target = tmp_path / "back.mp4"
        with pytest.raises(NotAMemoryError, match="readable symbol of a memory"):
            recover([np.full((64, 64), 255, np.uint8)] * 3, target)
        with av.open(str(tmp_path / "sound.wav"), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=8000)
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            sound.sample_rate = 8000
            container.mux(stream.encode(sound))
            container.mux(stream.encode(None))
        with pytest.raises(NotAMemoryError, match="no pictures, only audio"):
            recover(tmp_path / "sound.wav", target)
        with pytest.raises(NotAMemoryError, match="2 plain texts"):
            recover(Scan({}, ["a", "b"], scan_report(scan(shown))), target)
        with pytest.raises(NotAMemoryError, match="no complete frame"):
            recover(Scan({7: {}}, [], scan_report(scan(shown))), target)
        with pytest.raises(MemoryNotFoundError):
            recover(tmp_path / "none.mp4", target)
        with pytest.raises(MemoryExistsError):
            recover(shown, shown)
        assert not target.exists()
