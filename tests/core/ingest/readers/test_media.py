"""Sound and video are read by a function that transcribes them."""

from __future__ import annotations

import math
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from memvid_core import Memory
from memvid_core.errors import IngestError
from memvid_core.ingest import Chunker, discover, load_chunks, read_document, read_many
from memvid_core.ingest.sync import sync


class Said(NamedTuple):
    """What faster-whisper returns has these attributes, and others."""

    id: int
    start: float
    end: float
    text: str


def sound(path: Path, seconds: int = 1) -> Path:
    with wave.open(str(path), "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(1)
        made.setframerate(8000)
        made.writeframes(bytes(8000 * seconds))
    return path


def one_by_one(_: Path) -> Iterator[Said]:
    yield Said(0, 0.0, 2.5, " A wing lifts.")
    yield Said(1, 2.5, 4.0, " An engine hums. ")
    yield Said(2, 9.0, 11.0, "")
    yield Said(3, 9.0, 11.0, "It is late.")


@pytest.mark.parametrize(
    "transcribe",
    [
        one_by_one,
        lambda path: [(0.0, 2.5, "A wing lifts."), (2.5, 4, "An engine hums."), (9, 11, "It is late.")],
        lambda path: [{"id": n, **vars_of} for n, vars_of in enumerate(found._asdict() for found in one_by_one(path))],
    ],
)
def test_segments_give_chunks_their_times(tmp_path: Path, transcribe: Any) -> None:
    path = sound(tmp_path / "talk.wav")
    chunks = load_chunks(path, Chunker(35, overlap=0), transcribe=transcribe)
    assert [(chunk.text, chunk.metadata["time_start"], chunk.metadata["time_end"]) for chunk in chunks] == [
        ("A wing lifts.\nAn engine hums.", 0.0, 4.0),
        ("It is late.", 9.0, 11.0),
    ]
    assert read_document(path, transcribe=transcribe).format == "media"


def test_a_text_without_times(tmp_path: Path) -> None:
    (chunk,) = load_chunks(sound(tmp_path / "talk.mp3"), transcribe=lambda path: f"Words of {path.name}.")
    assert chunk.text == "Words of talk.mp3."
    assert "time_start" not in chunk.metadata


def test_without_a_function_the_ways_are_told(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match=r"talk\.mp4: sound or video: .*\.vtt.*transcribe="):
        read_document(sound(tmp_path / "talk.mp4"))


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        (None, "TypeError"),
        ([(0, 1)], r"segment \(0, 1\)"),
        ([(2, 1, "a")], "segment"),
        ([(-1, 1, "a")], "segment"),
        ([(0, math.nan, "a")], "segment"),
        ([(0, math.inf, "a")], "segment"),
        ([{"start": 0, "end": 1}], "segment"),
        (["a"], "segment 'a'"),
        ([(0, 1, b"a")], "segment"),
    ],
)
def test_what_is_no_transcript_is_named(tmp_path: Path, returned: Any, why: str) -> None:
    with pytest.raises(IngestError, match=rf"a\.wav: .*{why}"):
        read_document(sound(tmp_path / "a.wav"), transcribe=lambda path: returned)


def test_a_function_that_fails_is_named_and_the_others_are_read_in_order(tmp_path: Path) -> None:
    def fails(path: Path) -> str:
        if path.stem == "b":
            raise ConnectionError("the server is gone")
        return f"Words of {path.stem}."

    (tmp_path / "note.txt").write_text("A note.")
    files = [sound(tmp_path / f"{name}.wav") for name in "abc"]
    results = list(read_many([files[0], tmp_path / "note.txt", files[1], files[2]], transcribe=fails))
    assert [result.path.name for result in results] == ["a.wav", "note.txt", "b.wav", "c.wav"]
    assert [[chunk.text for chunk in result.chunks] for result in results] == [
        ["Words of a."], ["A note."], [], ["Words of c."],
    ]  # fmt: skip
    assert "b.wav: transcribe failed: ConnectionError: the server is gone" in str(results[2].error)


def test_folders(tmp_path: Path) -> None:
    for name in ("a.wav", "b.mp4", "c.mkv"):
        sound(tmp_path / name)
    (tmp_path / "c.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nSubtitles.\n")
    (tmp_path / "d.bin").write_bytes(bytes(9))
    assert [path.name for path in discover(tmp_path)] == ["c.vtt"]
    assert [path.name for path in discover(tmp_path, media=True)] == ["a.wav", "b.mp4", "c.vtt"]


def test_sync_reads_them_once_and_keeps_them_when_it_has_no_function(tmp_path: Path) -> None:
    folder = tmp_path / "talks"
    folder.mkdir()
    calls: list[str] = []

    def transcribe(path: Path) -> str:
        calls.append(path.name)
        return f"Words of {path.stem}."

    sound(folder / "a.wav")
    (folder / "note.txt").write_text("A note.")
    with Memory.create(folder / "memory.mp4") as memory:
        assert [Path(source).name for source in sync(memory, folder, transcribe=transcribe).added] == [
            "a.wav",
            "note.txt",
        ]
        sync(memory, folder, transcribe=transcribe)
        assert calls == ["a.wav"]  # not memory.mp4, and not twice
        report = sync(memory, folder)
        assert (report.removed, [path.rpartition("/")[2] for path in report.skipped]) == ([], ["a.wav"])
        assert {record.text for record in memory} == {"Words of a.", "A note."}
        sound(folder / "a.wav", seconds=2)
        assert len(sync(memory, folder, transcribe=transcribe).changed) == 1
        (folder / "a.wav").unlink()
        assert len(sync(memory, folder).removed) == 1
