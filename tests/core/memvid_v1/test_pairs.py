"""Import of Memvid's pairs: text from the pictures where they can be read, else from the JSON; and which was which."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from memvid_core import IngestError, Memory, MemoryNotFoundError, NotAMemoryError
from memvid_core.memvid_v1 import MemvidRetriever, import_pair
from tests.core.ingest.mixed import WORDS
from tests.core.memvid_v1.memvid_pairs import DEFAULT_SIDE, write_pair

TEXTS = [f'Chunk {i}: 날개는 양력을 만든다, "wings" lift. ' + "It goes on for a while. " * (i % 4) for i in range(12)]


def taken(video: Path | None, index: Path | None) -> tuple[Any, dict[str, str], list[dict[str, Any]]]:
    with Memory.create(":memory:") as memory:
        report = import_pair(video, index, memory)
        return report, {record.id: record.text for record in memory}, [record.metadata for record in memory]


WANTED = {str(i): text for i, text in enumerate(TEXTS)}
ALL = list(WANTED)


@pytest.mark.parametrize(("name", "encoder"), [("old.mp4", "mpeg4"), ("old.mkv", "libx265"), ("old.mkv", "libx264")])
def test_every_text_from_its_picture(tmp_path: Path, name: str, encoder: str) -> None:
    video, index = write_pair(tmp_path, TEXTS, name=name, encoder=encoder)
    report, texts, metadata = taken(video, index)
    assert texts == WANTED
    assert (report.from_frames, report.from_index, report.differing, report.lost) == (ALL, [], [], [])
    assert (report.pictures, report.records) == (12, 12)
    assert metadata == [{"frame": i} for i in range(12)]


def test_which_was_which(tmp_path: Path) -> None:
    video, index = write_pair(tmp_path, TEXTS, blank=[2, 7, 11])
    report, texts, _ = taken(video, index)
    assert texts == WANTED
    assert report.from_index == ["2", "7", "11"]
    assert report.from_frames == [key for key in ALL if key not in report.from_index]


@pytest.mark.parametrize(("side", "readable"), [(DEFAULT_SIDE, True), (DEFAULT_SIDE // 2, False)])
def test_what_memvid_draws_at_its_defaults_and_at_half_that_size(tmp_path: Path, side: int, readable: bool) -> None:
    rng = random.Random(3)
    texts = [" ".join(rng.choices(WORDS, k=160))[:1024] for _ in range(4)]
    options: Any = {"crf": "28", "preset": "slower", "x265-params": "log-level=none:keyint=1:tune=stillimage"}
    video, index = write_pair(tmp_path, texts, name="old.mkv", encoder="libx265", side=side, version=35, **options)
    report, found, _ = taken(video, index)
    assert list(found.values()) == texts
    assert sorted(report.from_frames + report.from_index) == ["0", "1", "2", "3"]
    assert len(report.from_frames) >= 3 if readable else not report.from_frames


def test_pictures_alone(tmp_path: Path) -> None:
    video, _ = write_pair(tmp_path, TEXTS, blank=[4])
    report, texts, _ = taken(video, None)
    assert texts == {key: text for key, text in WANTED.items() if key != "4"}
    assert report.lost == ["4"]


def test_json_alone(tmp_path: Path) -> None:
    _, index = write_pair(tmp_path, TEXTS[:2])
    report, texts, _ = taken(None, index)
    assert texts == {"0": TEXTS[0], "1": TEXTS[1]}
    assert (report.pictures, report.from_index) == (0, ["0", "1"])


def test_the_picture_counts_where_the_json_differs(tmp_path: Path) -> None:
    video, index = write_pair(tmp_path, TEXTS[:3])
    told = json.loads(index.read_text(encoding="utf-8"))
    told["metadata"][1] |= {"text": "changed by hand", "author": "Ada"}
    index.write_text(json.dumps(told), encoding="utf-8")
    report, texts, metadata = taken(video, index)
    assert texts["1"] == TEXTS[1]
    assert report.differing == ["1"]
    assert metadata[1] == {"frame": 1, "author": "Ada"}


def test_it_is_searched_as_any_memory(tmp_path: Path) -> None:
    video, index = write_pair(tmp_path, ["The wing lifts.", "The engine hums."])
    with Memory.create(tmp_path / "new.mp4") as memory:
        import_pair(video, index, memory)
    with MemvidRetriever(tmp_path / "new.mp4", index) as retriever:
        assert retriever.search("engine", top_k=1)[0][0] == "The engine hums."
        assert retriever.get_chunk_by_id(0) == "The wing lifts."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", 'no list "metadata"'),
        ('{"metadata": {"0": "x"}}', 'no list "metadata"'),
        ('{"metadata": ["x"]}', "entry 0"),
        ('{"metadata": [{"id": 0, "text": "a"}, {"id": "one", "text": "b"}]}', "entry 1"),
        ('{"metadata": [{"id": -1, "text": "a"}]}', "entry 0"),
        ('{"metadata": [{"id": 0}]}', "entry 0"),
        ("[" * 100_000, "not JSON"),
        ("\udcff", "not JSON"),
    ],
)
def test_a_json_that_is_none_of_memvids(tmp_path: Path, text: str, message: str) -> None:
    index = tmp_path / "index.json"
    index.write_bytes(text.encode("utf-8", "surrogateescape"))
    with Memory.create(":memory:") as memory:
        with pytest.raises(IngestError, match=message):
            import_pair(None, index, memory)
        assert memory.history() == []


def test_what_is_not_there_or_says_nothing(tmp_path: Path) -> None:
    video, index = write_pair(tmp_path, TEXTS[:2], blank=[0, 1])
    with Memory.create(":memory:") as memory:
        with pytest.raises(NotAMemoryError, match="none of the 2 pictures"):
            import_pair(video, None, memory)
        with pytest.raises(MemoryNotFoundError):
            import_pair(tmp_path / "none.mp4", index, memory)
        with pytest.raises(MemoryNotFoundError):
            import_pair(video, tmp_path / "none.json", memory)
        with pytest.raises(NotAMemoryError, match="not a video that FFmpeg can read"):
            import_pair(index, index, memory)
        assert memory.history() == []
