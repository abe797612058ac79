"""Files of every kind: documents, images, recordings and videos, with a model and without."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from memvid_core import InvalidInputError, Memory
from memvid_core.agent import SyncMemoryService, audio_reader, image_reader, video_reader
from memvid_core.agent.captions import Speech, clock, read_captions, read_transcription

ME: dict[str, Any] = {"user_id": "me"}
SRT = "1\n00:00:01,000 --> 00:00:02,000\nAda: The ferry sails\n\n2\n00:01:02,500 --> 00:01:04,000\nat noon.\n"
VTT = """WEBVTT

NOTE not said

intro
00:01.000 --> 00:02.000 align:start
<v Ada>When is the <i>office</i> party?

00:02.000 --> 00:03.000
<v Bob>At six &amp; on Friday.
"""


@pytest.fixture
def memory():
    with Memory.create(":memory:") as made:
        yield made


@pytest.fixture
def service(memory):
    return SyncMemoryService(memory)


def texts(memorized):
    return [turn.text for turn in memorized.turns]


def image(path, **exif):
    picture = Image.new("RGB", (64, 48), "navy")
    about = picture.getexif()
    about[271], about[272] = "Leica", "M6"
    about.get_ifd(0x8769)[36867] = "2026:05:08 14:03:00"
    about.get_ifd(0x8825).update({1: "N", 2: (45.0, 4.0, 12.0), 3: "W", 4: (7.0, 40.0, 48.0)})
    picture.save(path, exif=about)
    return path


def video(path, colors, seconds=2):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for color in colors:
            picture = np.full((48, 64, 3), color, np.uint8)
            for _ in range(4 * seconds):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_document_is_found_by_its_headings_and_replaced_when_it_changes(service, memory, tmp_path):
    path = tmp_path / "ferry.md"
    path.write_text("# Ferry\n\n## Times\n\nIt sails at noon.\n", encoding="utf-8")
    first = service.memorize(resource_url=path, modality="document", user={**ME, "session_id": "s"})
    assert (first.resource.modality, first.resource.url) == ("document", str(path.resolve()))
    assert "sails at noon" in service.recall("When does the ferry sail?", **ME).text
    commits = len(memory.history())
    assert texts(service.memorize(resource_url=path, modality="document", user=ME)) == []
    assert len(memory.history()) == commits
    path.write_text("# Ferry\n\n## Times\n\nIt sails at one.\n", encoding="utf-8")
    service.memorize(resource_url=path, modality="document", user=ME)
    found = service.recall("When does the ferry sail?", **ME).text
    assert "at one" in found
    assert "at noon" not in found


def test_files_of_one_name_are_two(service, memory, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.txt").write_text("same", encoding="utf-8")
        service.memorize(resource_url=tmp_path / folder / "x.txt", modality="document", user=ME)
    assert len(memory.select({"agent.kind": "resource"})) == 2


def test_a_document_is_nobody_s_words(memory, tmp_path):
    service = SyncMemoryService(memory, memorize_config={"extract": "rules"})
    (tmp_path / "note.txt").write_text("I live in Turin.", encoding="utf-8")
    memorized = service.memorize(resource_url=tmp_path / "note.txt", modality="document", user=ME)
    assert memorized.items == []
    assert memorized.turns[0].role == "document"


def test_an_image_tells_what_its_file_says(service, tmp_path):
    memorized = service.memorize(resource_url=image(tmp_path / "boat.jpg"), modality="image", user=ME)
    (turn,) = memorized.turns
    facts = "JPEG, 64 x 48 pixels, taken on 2026-05-08 at 14:03, with Leica M6, at 45.0700, -7.6800"
    assert turn.text == f"Image boat.jpg: {facts}"
    assert turn.created_at.startswith("2026-05-08T14:03")


def test_a_model_describes_an_image_once(memory, tmp_path):
    seen = []

    def describe(data):
        seen.append(data)
        return f"A red boat ({len(seen)})"

    service = SyncMemoryService(memory, readers={"image": image_reader(describe)})
    path = image(tmp_path / "boat.png")
    for _ in range(2):
        service.memorize(resource_url=path, modality="image", user=ME)
    assert seen == [path.read_bytes()]
    assert "A red boat (1)" in service.recall("boat", **ME).text
    nothing: Any = lambda data: None  # noqa: E731
    bad = SyncMemoryService(memory, readers={"image": image_reader(nothing)})
    with pytest.raises(InvalidInputError, match="describe must return a text"):
        bad.memorize(resource_url=image(tmp_path / "other.png"), modality="image", user=ME)


def test_captions_become_sentences_with_speaker_and_time(service, tmp_path):
    (tmp_path / "talk.srt").write_text(SRT, encoding="utf-8")
    (tmp_path / "talk.vtt").write_bytes(VTT.replace("\n", "\r\n").encode("utf-8-sig"))
    first = service.memorize(resource_url=tmp_path / "talk.srt", modality="audio", user=ME)
    assert [(turn.who, turn.text) for turn in first.turns] == [("Ada", "[0:00:01] The ferry sails at noon.")]
    second = service.memorize(resource_url=tmp_path / "talk.vtt", modality="video", user=ME)
    assert [(turn.who, turn.text) for turn in second.turns] == [
        ("Ada", "[0:00:01] When is the office party?"),
        ("Bob", "[0:00:02] At six & on Friday."),
    ]
    assert "At six" in service.recall("When is the office party?", **ME).text


def test_a_recording_has_a_transcript_of_its_name_or_is_transcribed(memory, tmp_path):
    (tmp_path / "talk.mp3").write_bytes(b"sound")
    plain = SyncMemoryService(memory)
    with pytest.raises(InvalidInputError, match=r"talk\.mp3: it has no transcript: put talk\.srt"):
        plain.memorize(resource_url=tmp_path / "talk.mp3", modality="audio", user=ME)
    segments = [{"start": 0, "text": "At noon.", "speaker": "Ada"}, {"start": 61.5, "text": "Thanks."}]
    service = SyncMemoryService(memory, readers={"audio": audio_reader(lambda path: {"segments": segments})})
    memorized = service.memorize(resource_url=tmp_path / "talk.mp3", modality="audio", user=ME)
    said = [("Ada", "[0:00:00] At noon."), ("talk.mp3", "[0:01:01] Thanks.")]
    assert [(turn.who, turn.text) for turn in memorized.turns] == said
    (tmp_path / "call.mp3").write_bytes(b"other")
    (tmp_path / "call.txt").write_text("Ada: Hello.\nBob: Hi.", encoding="utf-8")
    memorized = plain.memorize(resource_url=tmp_path / "call.mp3", modality="audio", user=ME)
    assert [(turn.who, turn.text) for turn in memorized.turns] == [("Ada", "Hello."), ("Bob", "Hi.")]


def test_a_video_is_read_at_its_scenes_not_in_its_middle(memory, tmp_path):
    path = video(tmp_path / "day.mp4", [(255, 0, 0), (0, 0, 255), (255, 255, 255)])

    def describe(data):
        (tmp_path / "frame.png").write_bytes(data)
        with Image.open(tmp_path / "frame.png") as frame:
            red, _, blue = np.asarray(frame.convert("RGB"))[20, 30].tolist()
        return "white" if red > 150 < blue else "red" if red > blue else "blue"

    service = SyncMemoryService(memory, readers={"video": video_reader(describe)})
    memorized = service.memorize(resource_url=path, modality="video", user=ME)
    assert texts(memorized) == [
        "Video day.mp4: 0:00:06 long, 64 x 48 pixels; 3 scenes, at 0:00:00, 0:00:02, 0:00:04",
        "[0:00:00] red",
        "[0:00:02] blue",
        "[0:00:04] white",
    ]
    (tmp_path / "day.srt").write_text(SRT, encoding="utf-8")
    without = SyncMemoryService(memory).memorize(resource_url=path, modality="video", user={"user_id": "b"})
    assert [text.partition("]")[0] for text in texts(without)[1:]] == ["[0:00:01"]


@pytest.mark.parametrize("modality", ["document", "image", "audio", "video", "conversation"])
def test_bad_files_are_named(service, memory, tmp_path, modality):
    empty, missing = tmp_path / "empty.srt", tmp_path / "missing.srt"
    empty.write_bytes(b"")
    for path in (empty, missing):
        with pytest.raises(InvalidInputError, match=path.stem):
            service.memorize(resource_url=path, modality=modality, user=ME)
    junk = tmp_path / ("junk.pdf" if modality == "document" else "junk.mp4")
    junk.write_bytes(b"\x00\xff" * 100)
    with pytest.raises(InvalidInputError, match="junk"):
        service.memorize(resource_url=junk, modality=modality, user=ME)
    assert len(memory) == 0


def test_a_transcription_that_is_none_is_named():
    with pytest.raises(InvalidInputError, match="segment 1"):
        read_transcription([{"start": 0, "text": "a"}, {"text": "b"}])
    with pytest.raises(InvalidInputError, match="a text or a list"):
        read_transcription(7)
    assert read_transcription("one\n\ntwo") == [Speech(0.0, "one"), Speech(0.0, "two")]
    assert clock(-1) == "0:00:00"
    with pytest.raises(InvalidInputError, match="no caption"):
        read_captions("hello")
    assert len(read_captions("00:01.0 --> 00:02.0\nHi.\n\n00:02.0 --> 00:03.0\nHi.\n")) == 1
