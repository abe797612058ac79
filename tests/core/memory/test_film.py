"""The film of a memory: a title card, pictures of records, title, comment and cover."""

from __future__ import annotations

import io
import shutil
import struct
import sys
from pathlib import Path
from typing import Any, cast

import av
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from memvid_core import DamageWarning, Memory, convert, rescue
from memvid_core.errors import CodecError, InvalidInputError, MemvidError, UnsupportedFormatError
from memvid_core.journal import Journal
from memvid_core.journal.entries import CommitFrame
from memvid_core.journal.frames import Flag, FrameHeader, Kind, encode_blocks, encode_rows, join_blocks, pack, parse
from memvid_core.journal.packing import Payloads
from memvid_core.video.drawing import title_card
from memvid_core.video.preview import HELD
from tests.core.embedders import embed
from tests.core.images import image_file

GOLDEN = Path(__file__).parents[1] / "golden"
COLORS = {"red": (208, 0, 0), "green": (0, 176, 0), "blue": (16, 16, 224)}


def seen(path: Path) -> list[NDArray[np.uint8]]:
    """Every picture of the video, (height, width, 3)."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def named(frames: list[NDArray[np.uint8]]) -> list[str]:
    """The colors that are shown, each once for the frames that hold it."""
    found = []
    for frame in frames:
        middle = frame[frame.shape[0] // 2, frame.shape[1] // 2].astype(int)
        flat = frame[96:160, 96:160].reshape(-1, 3).std(axis=0).max() < 4
        found.append(next((n for n, c in COLORS.items() if flat and np.abs(middle - c).max() < 24), ""))
    return [name for i, name in enumerate(found) if name and found[i : i + 1 + HELD] == [name] * (1 + HELD)]


def rgb(name: str) -> bytes:
    return image_file("#{:02x}{:02x}{:02x}".format(*COLORS[name]))


def colorful(path: Path, **settings: Any) -> Memory:
    """A memory with a film: red and blue have pictures in one commit with others, green in its own."""
    memory = Memory.create(path, embed, film="Colors", description="What they mean", **settings)
    memory.add([f"plain {i}" for i in range(50)], ids=[f"p{i}" for i in range(50)])
    memory.add(
        ["stop", "x", "water", "y"], ids=["red", "x", "blue", "y"], pictures=[rgb("red"), None, rgb("blue"), None]
    )
    memory.add("go", ids="green", pictures=rgb("green"))
    return memory


def test_it_begins_with_a_title_card_and_says_what_it_is_in_players(tmp_path: Path) -> None:
    path, plain = tmp_path / "notes.mp4", tmp_path / "plain.mp4"
    about = "Minutes and decisions of the team"
    Memory.create(path, embed, film=True, description=about).close()
    Memory.create(plain, embed, description=about).close()
    assert path.stat().st_size - plain.stat().st_size <= 4000 + 900  # the card, and the metadata in the head
    with av.open(str(path)) as container:
        assert container.metadata["title"] == "notes"
        assert container.metadata["comment"].startswith(about)
        cover = next(stream for stream in container.streams if stream.codec_context.name == "png")
        packet = next(container.demux(cover))
        with Image.open(io.BytesIO(bytes(packet))) as image:
            assert image.size == (128, 128)
            assert len(bytes(packet)) <= 2000
    frames = seen(path)
    with Memory.open(path, embedder=embed) as memory:
        made = memory.info().created.date().isoformat()
    wanted = title_card("notes", [about, f"made {made}"], 256, 256)
    assert len(frames) == 1 + HELD + 2
    for frame in frames[: 1 + HELD]:  # three seconds
        assert np.abs(frame[:, :, 1].astype(int) - wanted).mean() < 3
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 2


def test_pictures_stay_with_their_records(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with colorful(path) as memory:
        before = path.stat().st_size
        assert named(seen(path)) == ["red", "blue", "green"]
        assert memory.verify().ok
        memory.update("blue", text="deep water")  # it is written again, with its picture
        assert named(seen(path))[3:] == ["blue"]
        memory.delete("red")
        memory.save(tmp_path / "saved.mp4")
        memory.compact()
        assert memory.verify().ok
        assert len(memory) == 54
    assert path.stat().st_size < before
    for each in (path, tmp_path / "saved.mp4"):
        frames = seen(each)
        assert named(frames) == ["green", "blue"]
        counts = title_card("Colors", ["What they mean", "54 records, 5 commits"], 256, 256)
        top = np.abs(frames[0][:120, :, 1].astype(int) - counts[:120])
        assert top.mean() < 4
        with av.open(str(each)) as container:
            assert container.metadata["title"] == "Colors"
        with Memory.open(each, embedder=embed) as again:
            assert again.info().format_version == 3
            assert [record.id for record in again.search("water", mode="lexical")] == ["blue"]


def test_a_card_that_cannot_be_drawn_again_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, whole, lost = (tmp_path / f"{name}.mp4" for name in ("m", "whole", "lost"))
    colorful(path).close()
    shutil.copy(path, whole)
    card, data = seen(path)[0], path.read_bytes()
    start, end = data.index(b"udta"), data.index(b"moof") - 4
    lost.write_bytes(data[:start] + bytes(end - start) + data[end:])  # the head is lost, and with it the title
    monkeypatch.setitem(sys.modules, "PIL", None)
    with Memory.open(path, "a", embedder=embed) as memory:
        memory.delete("red")
        memory.save(tmp_path / "saved.mp4")
        memory.compact()
        assert memory.verify().ok
    with pytest.warns(DamageWarning), Memory.open(lost, "a", embedder=embed) as memory:
        memory.compact(drop_damaged=True)
    monkeypatch.undo()
    for each, wanted in ((path, ["blue", "green"]), (tmp_path / "saved.mp4", ["blue", "green"]), (lost, list(COLORS))):
        frames = seen(each)
        assert sorted(named(frames)) == sorted(wanted)
        assert [(frame == card).all() for frame in frames[: 1 + HELD]] == [True] * (1 + HELD)
        with av.open(str(each)) as container, av.open(str(whole)) as before:
            said = {} if each == lost else before.metadata
            assert [container.metadata.get(key) for key in ("title", "comment")] == [
                said.get(key) for key in ("title", "comment")
            ]
            assert len(container.streams) == (1 if each == lost else len(before.streams))  # the cover


def test_rewriting_keeps_what_the_file_says_about_itself(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    colorful(path).close()
    card = seen(path)[0]
    convert(path, tmp_path / "all.mp4", codec="pcm")
    convert(path, tmp_path / "live.mp4", codec="pcm", keep_history=False, vector_dtype="none", embedder=embed)
    rescue(path, tmp_path / "rescued.mp4")
    for name in ("all", "live", "rescued"):
        frames = seen(tmp_path / f"{name}.mp4")
        assert [(frame == card).all() for frame in frames[: 1 + HELD]] == [True] * (1 + HELD)
        assert named(frames) == ["red", "blue", "green"]
        with av.open(str(tmp_path / f"{name}.mp4")) as container:
            assert container.metadata["title"] == "Colors"
        with Memory.open(tmp_path / f"{name}.mp4", embedder=embed) as memory:
            assert memory.verify().ok
    convert(
        path, tmp_path / "smaller.mp4", codec="pcm", codec_options={"columns": 8, "rows": 8}
    )  # other pictures have no place
    assert named(seen(tmp_path / "smaller.mp4")) == []


def test_the_built_in_embedder_learns_without_losing_pictures(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, film=True) as memory:
        memory.add(["a red flag"], ids=["flag"], pictures=[rgb("red")])
        memory.add([f"words about thing {i % 50} and {i % 7}" for i in range(300)])
        memory.refit()
        memory.compact()
    assert named(seen(path)) == ["red"]


def test_it_costs_a_five_hundredth_of_a_memory_of_three_megabytes(tmp_path: Path) -> None:
    sizes = []
    for film in (False, True):
        rng = np.random.default_rng(1)
        with Memory.create(tmp_path / f"{film}.mp4", "given", film=film) as memory:
            memory.add([rng.bytes(200).hex() for _ in range(4000)], vectors=rng.standard_normal((4000, 384)))
            sizes.append(memory.info().bytes)
    assert sizes[0] > 3_000_000
    assert sizes[1] - sizes[0] < sizes[0] / 500


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


def unknown_flags() -> bytes:
    """An image for which Pillow raises an error that none of its documentation names."""
    made = io.BytesIO()
    Image.new("RGB", (4, 4)).save(made, "DDS")
    return made.getvalue()[:80] + bytes(4) + made.getvalue()[84:]


def test_pictures_that_cannot_be_taken_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(bomb, "PNG")
    with Memory.create(tmp_path / "m.mp4", embed, film=True) as memory:
        size = (tmp_path / "m.mp4").stat().st_size
        refused: list[tuple[Any, str]] = [
            ([rgb("red")] * 2, "as many as texts: 2 pictures, 1 texts"),
            (b"no image", "picture 0: the picture is not an image"),
            (rgb("red")[:200], "picture 0: the picture is not an image"),
            (bomb.getvalue(), "9000x9000 pixels"),
            (tmp_path / "nowhere.png", "cannot be read"),
            (tmp_path, "not a regular file"),
            ("a\0b", "cannot be read"),
            (["\ud800.png"], "cannot be read"),
            (5, "not of type int"),
            ([5], "not an object of type int"),
            ([[rgb("red")]], "not an object of type list"),
            ([bytearray(rgb("red"))], "not an object of type bytearray"),
            (EPS, "EPS"),
            (unknown_flags(), "picture 0: the picture is not an image"),
        ]
        for pictures, said in refused:
            with pytest.raises(InvalidInputError, match=said):
                memory.add("text", pictures=cast(Any, pictures))
        assert (tmp_path / "m.mp4").stat().st_size == size
        memory.add(["a", "b"], pictures=[None, None])
    with Memory.create(tmp_path / "no.mp4", embed) as memory, pytest.raises(InvalidInputError, match="film=True"):
        memory.add("text", pictures=rgb("red"))
    with pytest.raises(CodecError, match="128x128"):
        Memory.create(tmp_path / "small.mp4", embed, film=True, codec_options={"columns": 4, "rows": 4})
    assert not (tmp_path / "small.mp4").exists()


@pytest.mark.parametrize(
    ("style", "width", "height"),
    [("PNG", 1, 1), ("JPEG", 3000, 20), ("GIF", 5, 900), ("BMP", 256, 256), ("WEBP", 31, 33)],
)
def test_images_of_any_shape_fit(tmp_path: Path, style: str, width: int, height: int) -> None:
    path = tmp_path / "m.mp4"
    with Memory.create(path, embed, film=True) as memory:
        before = path.stat().st_size
        memory.add("text", pictures=image_file("#d00000", width, height, style))
        assert path.stat().st_size - before <= 9000 + 3 * 700 + 500
        assert memory.verify().ok


def test_a_memory_of_the_first_version_stays_one(tmp_path: Path) -> None:
    path = Path(shutil.copy(GOLDEN / "format-1.mp4", tmp_path / "m.mp4"))
    with Memory.open(path, "a", embedder=embed) as memory:
        memory.add("And one more.", ids="more")
        with pytest.raises(InvalidInputError, match="film=True"):
            memory.add("text", pictures=rgb("red"))
        memory.compact()
        memory.add("And another.", ids="other")
        assert memory.info().format_version == 1
        versions = set()
        journal = memory._indexed.journal_copy()
        for number, place in journal.video.frames():
            payload = journal.video.read(number, place)
            versions.add(payload[4])
        journal.close()
        assert versions == {1}
        assert memory.verify().ok


def test_damage_to_pictures_is_reported_and_loses_no_record(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with colorful(path) as memory:
        ids = [record.id for record in memory]
        journal = memory._indexed.journal_copy()
        pictures = [
            (number, place)
            for number, place in journal.video.frames()
            if parse(journal.video.read(number, place), number)[0].kind == Kind.PICTURE
        ]
        journal.close()
    data = path.read_bytes()
    for number, place in (pictures[0], pictures[3], pictures[-1]):
        broken = bytearray(data)
        broken[place.offset + 75] ^= 8
        path.write_bytes(broken)
        shutil.rmtree(f"{path}.index", ignore_errors=True)
        with pytest.warns(DamageWarning):
            opened = Memory.open(path, "a", embedder=embed)
        with opened as memory:
            assert [record.id for record in memory] == ids
            report = memory.verify()
            assert [(item.frame, item.records) for item in report.damage] == [(number, 0)]
            assert memory.info().lost == 0
            with pytest.raises(MemvidError):
                memory.compact()
            memory.compact(drop_damaged=True)
            assert memory.verify().ok
            assert [record.id for record in memory] == ids


def test_a_lost_head_or_title_card_costs_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    colorful(path).close()
    data = path.read_bytes()
    for stop in (600, 1500, data.index(b"mdat") + 3000):
        path.write_bytes(bytes(stop) + data[stop:])
        shutil.rmtree(f"{path}.index", ignore_errors=True)
        with pytest.warns(DamageWarning):
            memory = Memory.open(path, embedder=embed)
        with memory:
            assert len(memory) == 55
            assert not memory.verify().ok


def test_frames_of_later_features_are_skipped_or_refused_but_never_dropped(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with colorful(path) as memory:
        cursor = memory._indexed.cursor
    with Journal.open(path, "a").video as video:
        for found in video.walk(video.start):
            last = found
        assert last is not None
        blob = FrameHeader(Kind.BLOBS, Flag.SKIPPABLE, 1, cursor.row, cursor.commit + 1)
        commit = CommitFrame(cursor.commit + 1, 1 << 50, cursor.row, 0, 0, 0, cursor.chain, b"")
        video.append(Payloads([(blob, b"an image, as it is")], commit, video.codec.capacity, version=2))
    with Memory.open(path, "a", embedder=embed) as memory:
        assert len(memory) == 55
        assert memory.verify().ok
        for rewrite in (memory.compact, lambda: memory.save(tmp_path / "s.mp4")):
            with pytest.raises(UnsupportedFormatError, match="kind 6"):
                rewrite()
    (payload,) = pack(FrameHeader(Kind.HEADER, Flag.ENCRYPTED, 0, 0, 0), msgspec.msgpack.encode({}), 1000, 2)
    with pytest.raises(UnsupportedFormatError, match="encrypted"):
        parse(payload, 0)
    assert struct.unpack_from("<B", payload, 4) == (2,)


def test_a_picture_frame_without_a_picture_is_none(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with colorful(path) as memory:
        cursor = memory._indexed.cursor
    with Journal.open(path, "a").video as video:
        for _ in video.walk(video.start):
            pass
        empty = FrameHeader(Kind.PICTURE, 0, 1, cursor.row, cursor.commit + 1)
        records = FrameHeader(Kind.RECORDS, 0, 1, cursor.row, cursor.commit + 1)
        body = join_blocks(list(encode_blocks(encode_rows([("empty", "text", {})]), 1 << 15)))
        commit = CommitFrame(cursor.commit + 1, 1 << 50, cursor.row + 1, 1, 0, 0, cursor.chain, b"")
        payloads = Payloads([(empty, b""), (records, body)], commit, video.codec.capacity, version=2)
        video.append(bytes(payload) for payload in payloads)
    with Memory.open(path, "a", embedder=embed) as memory:
        assert memory.get("empty").text == "text"
        memory.save(tmp_path / "s.mp4")
        memory.compact()
        assert len(memory) == 56
        assert memory.verify().ok


@pytest.mark.parametrize("version", [1, 2, 3])
def test_old_files_show_pictures_if_their_version_says_so(tmp_path: Path, version: int) -> None:
    path = Path(shutil.copy(GOLDEN / f"format-{version}.mp4", tmp_path))
    with Memory.open(path, "a", embedder=embed) as memory:
        assert memory._session.indexed.journal.shows is (version > 1)
