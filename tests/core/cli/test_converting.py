"""``memvid convert``, ``scan``, and the import of what Memvid wrote, as a shell sees them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from memvid_core import Memory
from memvid_core.journal import Journal
from memvid_core.video.qr.scan import scan as look
from tests.core.cli.running import memvid
from tests.core.memvid_v1.memvid_pairs import write_pair
from tests.core.parity_boxes import without_parity

SMALL = ("--set", "frame_size=256")


def contents(path: Path | str) -> list[tuple[str, str]]:
    with Memory.open(path) as memory:
        return [(record.id, record.text) for record in memory]


class TestConvert:
    def test_there_and_back(self, notes: Path) -> None:
        done = memvid("convert", notes, "shared.mp4", "--codec", "qr", *SMALL)
        assert done.code == 0, done.err
        assert done.out.startswith("shared.mp4: 5 records in 3 commits, qr, ")
        back = memvid("convert", "shared.mp4", "back.mp4", "--codec", "pcm", "--vector-dtype", "float16", "--json")
        assert back.code == 0, back.err
        told = {"memory": "shared.mp4", "target": "back.mp4", "codec": "pcm", "commits": 3, "records": 5, "lost": 0}
        assert back.json.items() >= told.items()
        assert contents("back.mp4") == contents(notes)
        histories = [memvid("history", path, "--json").json["commits"] for path in (notes, "back.mp4")]
        about = [[(commit["number"], commit["time"], commit["added"]) for commit in commits] for commits in histories]
        assert about[0] == about[1]

    def test_options_reach_the_codec(self, notes: Path) -> None:
        options = ("--preset", "compact", "--video-codec", "av1", "--set", "fps=24", "--vector-dtype", "none")
        assert memvid("convert", notes, "small.mp4", *options, "--drop-history").code == 0
        with av.open("small.mp4") as container:
            assert container.streams.video[0].codec_context.name in ("libdav1d", "av1")
        info = memvid("info", "small.mp4", "--json").json
        assert (info["vector_dtype"], info["commits"], info["deleted"]) == ("none", 3, 0)

    def test_plain_is_texts_for_a_phone(self, notes: Path) -> None:
        done = memvid("convert", notes, "phone.mp4", "--codec", "plain", "--set", "hold=2")
        assert done.code == 0, done.err
        assert done.out.startswith("phone.mp4: 4 texts as 4 symbols")
        texts = [text for _, text in contents(notes)]
        assert look("phone.mp4").texts == texts
        back = memvid("scan", "phone.mp4", "-o", "back.mp4", "--json")
        assert back.json["records"] == 4
        assert [text for _, text in contents("back.mp4")] == texts

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (("--set", "crf=99"), 2, "crf 99 is out of range"),
            (("--set", "frame_size=96"), 2, "frame_size 180 or more"),
            (("--set", "crf"), 2, "is not NAME=VALUE"),
            (("--set", "colour=red"), 2, "no option 'colour'"),
            (("--codec", "pcm", "--set", "crf=28"), 2, "pcm has no settings"),
            (("--codec", "plain", "--set", "parity=0.1"), 2, "plain does not take these options"),
            (("--codec", "gif"), 2, "gif"),
        ],
    )
    def test_wrong_settings(self, notes: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
        done = memvid("convert", notes, "b.mp4", *arguments)
        assert done.code == code
        assert said in " ".join(done.err.split())
        assert not Path("b.mp4").exists()

    def test_paths(self, notes: Path) -> None:
        assert memvid("convert", notes, notes).code == 5
        assert memvid("convert", "none.mp4", "b.mp4").code == 4
        assert memvid("convert", ".", "b.mp4").code == 6

    def test_damage(self, notes: Path) -> None:
        journal = Journal.open(notes)
        at = next(journal.replay(journal.start)).row_frames[0].offset + 100
        journal.close()
        data = notes.read_bytes()
        notes.write_bytes(without_parity(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :], at))
        refused = memvid("convert", notes, "b.mp4", "--codec", "pcm")
        assert refused.code == 7
        assert "--drop-damaged drops it" in refused.err
        done = memvid("convert", notes, "b.mp4", "--codec", "pcm", "--drop-damaged")
        assert done.code == 3
        assert "4 records lost" in done.err
        assert memvid("verify", "b.mp4").code == 0


class TestScan:
    def test_a_transcoded_video(self, notes: Path) -> None:
        memvid("convert", notes, "shared.mp4", *SMALL)
        with av.open("shared.mp4") as source, av.open("sent.mkv", "w") as sent:
            stream = sent.add_stream("libx264", rate=30, options={"crf": "28"})
            stream.width = stream.height = 320
            for frame in source.decode(video=0):
                picture = frame.reformat(320, 320, "yuv420p")
                sent.mux(stream.encode(picture))
            sent.mux(stream.encode(None))
        done = memvid("scan", "sent.mkv", "-o", "back.mp4")
        assert done.code == 0, done.err
        assert done.out.startswith("back.mp4: 5 records in 3 commits (")
        assert contents("back.mp4") == contents(notes)
        told = memvid("scan", "shared.mp4", "-o", "again.mp4", "--json").json
        assert told.items() >= {"whole": True, "records": 5, "missing_frames": [], "lost_records": 0}.items()

    def test_what_is_missing_is_named(self, notes: Path) -> None:
        memvid("convert", notes, "shared.mp4", *SMALL, "--preset", "compact")
        with av.open("shared.mp4") as source:
            pictures = [frame.to_image() for frame in source.decode(video=0)]
        Path("shots").mkdir()
        for number, picture in enumerate(pictures[:2] + pictures[4:]):  # without those of one frame
            picture.save(f"shots/{number}.png")
        done = memvid("scan", "shots", "-o", "back.mp4")
        assert done.code == 3
        assert done.err.startswith("1 frame not found: 1\n")
        assert Path("back.mp4").exists()
        assert memvid("verify", "back.mp4").code == 0

    def test_what_shows_no_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with av.open("grey.mp4", "w") as container:
            stream = container.add_stream("libx264", rate=30)
            stream.width = stream.height = 64
            frame = av.VideoFrame.from_ndarray(np.full((64, 64), 128, np.uint8), format="gray")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
            container.mux(stream.encode(None))
        done = memvid("scan", "grey.mp4", "-o", "back.mp4")
        assert done.code == 6
        assert "readable symbol of a memory" in done.err
        assert memvid("scan", "none.mp4", "-o", "back.mp4").code == 4
        assert not Path("back.mp4").exists()


class TestImport:
    def test_a_pair_of_memvids(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        write_pair(tmp_path, ["The wing lifts.", "The engine hums.", "The tail steers."], blank=[1])
        done = memvid("import", "old.mp4", "old_index.json", "-o", "new.mp4")
        assert done.code == 0, done.err
        assert done.out == "new.mp4: 3 records (2 read from 3 pictures, 1 from the JSON)\n"
        assert contents("new.mp4") == [("0", "The wing lifts."), ("1", "The engine hums."), ("2", "The tail steers.")]
        told = memvid("import", "old.mp4", "old_index.json", "old_index.faiss", "-o", "new.mp4", "--force", "--json")
        assert told.json["from_frames"] == ["0", "2"]
        assert told.json["from_index"] == ["1"]

    def test_lost_ones_are_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        write_pair(tmp_path, ["a", "b", "c"], blank=[1])
        done = memvid("import", "old.mp4", "-o", "new.mp4")
        assert done.code == 3
        assert "1 text in neither: 1" in done.err

    def test_what_cannot_be_taken_over(self, notes: Path, tmp_path: Path) -> None:
        done = memvid("import", notes, "-o", "new.mp4")
        assert done.code == 2
        assert "is already a memory" in " ".join(done.err.split())
        Path("index.json").write_text("{}")
        assert memvid("import", "index.json", "-o", "new.mp4").code == 2
        assert memvid("import", "old.mp4", "other.mkv", "-o", "new.mp4").code == 2
        assert memvid("import", "gone.mp4", "gone.json", "-o", "new.mp4").code == 4
        assert not Path("new.mp4").exists()
