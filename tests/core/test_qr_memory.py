"""A memory in QR symbols: exact from its pictures alone, and what was rebuilt from parity is told."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from memvid_core import Memory
from memvid_core.video import Fragment, VideoFile
from memvid_core.video.qr.encoders import VIDEO_CODECS, key_pictures
from tests.core.cli.running import memvid


@pytest.mark.parametrize("video_codec", list(VIDEO_CODECS))
def test_every_record_comes_from_the_file_alone(tmp_path: Path, video_codec: str) -> None:
    rng = random.Random(2)
    texts = [f"number{i} 날개 " + "".join(rng.choices("abcdefghij ", k=480)) for i in range(24)]
    with Memory.create(tmp_path / "m.mp4", codec="qr", codec_options={"video_codec": video_codec}) as memory:
        memory.add(texts, [{"page": i} for i in range(24)], map(str, range(24)))
    data = (tmp_path / "m.mp4").read_bytes()
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    (tmp_path / "alone.mp4").write_bytes(data)
    with Memory.open(tmp_path / "alone.mp4") as memory:
        found = [(record.id, record.text, record.metadata) for record in memory]
        assert found == [(str(i), text, {"page": i}) for i, text in enumerate(texts)]
        assert memory.search("number17", k=1)[0].id == "17"
        assert memory.verify().repaired == ()


def blackened(path: Path, commit: int) -> int:
    """Zeros over the first symbol of a commit; the number of its frame."""
    with VideoFile.open(path) as video:
        fragments = [found for found in video.walk(video.start) if isinstance(found, Fragment)]
    data = bytearray(path.read_bytes())
    number, place = next(iter(fragments[commit].frames()))
    start, picture = next(key_pictures("h264", bytes(data[place.offset : place.offset + place.size])))
    at = place.offset + start
    data[at + 12 : at + len(picture)] = bytes(len(picture) - 12)
    path.write_bytes(data)
    return number


def test_verify_reports_what_was_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("m.mp4")
    with Memory.create(path, codec="qr", codec_options={"frame_size": 256}) as memory:
        memory.add(["one", "two"], ids=["a", "b"])
        memory.add(["three"], ids=["c"])
    hit = blackened(path, 1)
    with Memory.open(path) as memory:
        report = memory.verify()
        assert not report.ok
        assert report.repaired == (hit,)
        assert all(damage.restored for damage in report.damage)
        assert [record.text for record in memory] == ["one", "two", "three"]
    done = memvid("verify", path)
    assert done.code == 1
    assert f"1 frame rebuilt from parity: {hit}" in done.out
    assert "memvid compact --keep-history m.mp4" in done.err
    assert memvid("verify", path, "--json").json["repaired"] == [hit]
    assert memvid("compact", "--keep-history", path).code == 0
    with Memory.open(path) as memory:
        assert memory.verify().repaired == ()
        assert [record.text for record in memory] == ["one", "two", "three"]
