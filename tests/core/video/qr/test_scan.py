"""Scan: every payload from the pictures alone, whatever was done to the video; typed errors where there is nothing."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from memvid_core.errors import CodecError, MemoryExistsError, MemoryNotFoundError, NotAMemoryError
from memvid_core.video import VideoFile
from memvid_core.video.qr import groups
from memvid_core.video.qr.codec import QRCodec
from memvid_core.video.qr.plain_texts import write_plain
from memvid_core.video.qr.scan import scan
from tests.core.video.pictures import Picture, pictures_of, transcode
from tests.processes import start


def payloads_of(*sizes: int, seed: int = 0) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(size) for size in sizes]


def write_memory(path: Path, codec: QRCodec, *commits: Sequence[bytes]) -> None:
    with VideoFile.create(path, codec) as video:
        for payloads in commits:
            video.append(payloads)


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], list[Picture]]:
    """A robust memory of two commits, as payloads and as pictures."""
    path = tmp_path_factory.mktemp("qr") / "memory.mp4"
    first, second = payloads_of(3600, 20, 3000, 1100, 150), payloads_of(700, 150, seed=2)
    write_memory(path, QRCodec("robust"), first, second)
    return [*first, *second], pictures_of(path)


def bordered(picture: Picture) -> Picture:
    return np.pad(picture, ((150, 90), (30, 260)), constant_values=40)


def in_colour(picture: Picture) -> NDArray[np.uint8]:
    return np.stack([picture, picture // 2 + 60, picture], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        bordered,
        in_colour,
        lambda picture: np.rot90(picture).copy(),
        lambda picture: np.rot90(picture, 2).copy(),
        lambda picture: 255 - picture,
        lambda picture: picture // 3 + 70,
        lambda picture: picture[8:-8, 8:-8],
    ],
    ids=["bordered", "in-colour", "turned", "upside-down", "inverted", "faint", "cropped"],
)
def test_pictures_in_any_order_and_dress_are_read(
    memory: tuple[list[bytes], list[Picture]], change: Callable[[Picture], Picture]
) -> None:
    payloads, pictures = memory
    shown = [change(picture) for picture in pictures[1::3]]
    random.Random(4).shuffle(shown)
    assert list(scan(shown)) == list(enumerate(payloads))


def filmed(picture: Picture) -> Picture:
    """The picture as a camera held askew before a screen sees it."""
    graph = av.filter.Graph()
    nodes: list[Any] = [
        graph.add_buffer(width=512, height=512, format=av.VideoFormat("gray"), time_base=Fraction(1, 30))
    ]
    for name, setting in (
        ("scale", "1100:1100:flags=bicubic"),
        ("pad", "1500:1400:180:130:gray"),
        ("rotate", "7*PI/180:fillcolor=gray"),
        ("shear", "shx=0.05:shy=-0.04:fillcolor=gray"),
        ("gblur", "sigma=1.2"),
        ("noise", "alls=25:allf=t"),
        ("buffersink", None),
    ):
        node: Any = graph.add(name, setting)
        nodes[-1].link_to(node)
        nodes.append(node)
    graph.configure()
    frame = av.VideoFrame.from_ndarray(picture, format="gray")
    frame.pts = 0
    nodes[0].push(frame)
    return np.asarray(nodes[-1].pull().to_ndarray(format="gray"), np.uint8)


def test_a_filmed_screen_is_read() -> None:
    codec, payloads = QRCodec("compact"), payloads_of(1200, 700)
    assert list(scan(filmed(codec.draw(content)) for content in codec.contents(payloads, 0))) == list(
        enumerate(payloads)
    )


def test_the_second_pair_reads_a_scan_too(memory: tuple[list[bytes], list[Picture]]) -> None:
    payloads, pictures = memory
    assert list(scan(pictures[::3], pair="zbar")) == list(enumerate(payloads))


def test_a_folder_of_images_is_read_past_what_is_none(
    memory: tuple[list[bytes], list[Picture]], tmp_path: Path
) -> None:
    payloads, pictures = memory
    for number, picture in enumerate(pictures[::3]):
        frame = av.VideoFrame.from_ndarray(picture, format="gray")
        with av.open(str(tmp_path / f"shot {number}.png"), "w", format="image2") as container:
            stream: Any = container.add_stream("png", rate=1, options={"update": "1"})
            stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "gray"
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    (tmp_path / "note.txt").write_text("not an image")
    assert list(scan(tmp_path)) == list(enumerate(payloads))


def test_what_is_lost_is_counted_and_named() -> None:
    codec = QRCodec(frame_size=256, parity=0.2)
    payloads = payloads_of(100, 101, 102, 103, 104)
    pictures = [codec.draw(content) for content in codec.contents(payloads, 0)]
    blank = np.full_like(pictures[0], 255)
    result = scan([blank, *pictures[2:], pictures[-1]])
    assert len(pictures) == 7
    assert dict(result) == dict(enumerate(payloads))
    report = result.report
    assert (report.pictures, report.unread, report.repeated) == (7, 1, 1)
    assert (report.symbols, report.rebuilt, report.missing) == (5, 2, {codec.settings.stream: []})
    later = [codec.draw(content) for content in codec.contents([b"later"], 5)]
    result = scan([*pictures[3:], *later])
    assert dict(result) == {3: payloads[3], 4: payloads[4], 5: b"later"}
    assert result.report.missing == {codec.settings.stream: [0, 1, 2]}


def test_two_memories_in_one_recording_are_kept_apart() -> None:
    one, other = QRCodec(frame_size=200), QRCodec(frame_size=200)
    pictures = [codec.draw(codec.contents([name], 0)[0]) for codec, name in ((one, b"one"), (other, b"other"))]
    result = scan(pictures)
    assert result.streams == {one.settings.stream: {0: b"one"}, other.settings.stream: {0: b"other"}}
    with pytest.raises(NotAMemoryError, match="2 memories"):
        iter(result)


def test_two_symbols_in_one_picture_are_both_read() -> None:
    one, other = QRCodec(frame_size=200), QRCodec(frame_size=200)
    first, second = (codec.draw(codec.contents([name], 0)[0]) for codec, name in ((one, b"one"), (other, b"other")))
    for sheet in (np.hstack([first, second]), np.vstack([first, second])):
        result = scan([sheet])
        assert result.streams == {one.settings.stream: {0: b"one"}, other.settings.stream: {0: b"other"}}


def test_a_symbol_of_someone_else_is_passed_over() -> None:
    codec = QRCodec(frame_size=200)
    from memvid_core.video.qr import symbols

    poster = symbols.draw(symbols.get_pair("zxing").write("https://example.org", "M"), 200, 4)
    result = scan([poster, codec.draw(codec.contents([b"mine"], 0)[0])])
    assert list(result) == [(0, b"mine")]
    assert result.report.foreign == 1


def test_a_forged_symbol_that_claims_billions_costs_nothing() -> None:
    codec = QRCodec(frame_size=256, parity=0.2)
    contents = codec.contents([b"one", b"two"], 0)
    claims = [(1 << 31, 1, 200), (1 << 31, 65_535, 200), (1 << 23, 65_535, 10)]
    forged = [groups.Symbol(7, 0, count, count, blocks, parity, bytes(40)).pack() for count, blocks, parity in claims]
    result = scan(codec.draw(content) for content in contents + forged)
    assert result.streams[codec.settings.stream] == {0: b"one", 1: b"two"}
    assert result.report.foreign == 2  # the last one could be
    assert result.report.missing[codec.settings.stream] == []


def test_plain_texts_are_what_a_phone_shows_and_scan_puts_in_order(tmp_path: Path) -> None:
    path = tmp_path / "plain.mp4"
    texts = ["The cat sat on the mat.", "안녕하세요. 저는 기억입니다.", "Zeit für Kürbis. " * 150, ""]
    count = write_plain(path, texts, hold=2)
    assert count > len(texts)
    assert scan(path).texts == texts
    assert scan(path, pair="zbar").texts == texts
    first = scan([pictures_of(path)[0]])
    assert first.texts == texts[:1]
    with pytest.raises(NotAMemoryError, match="plain texts"):
        iter(first)
    with pytest.raises(MemoryExistsError):
        write_plain(path, texts)


def test_plain_settings_that_cannot_work_leave_no_file(tmp_path: Path) -> None:
    for options in ({"frame_size": 64}, {"hold": 0}, {"error_correction": "X"}, {"video_codec": "vp9"}):
        with pytest.raises(CodecError):
            write_plain(tmp_path / "plain.mp4", ["text"], **options)
    assert list(tmp_path.iterdir()) == []


KILLED = """if True:
    import os, signal, sys
    from memvid_core.video.qr.plain_texts import write_plain

    calls, sync = 0, os.fsync

    def killing(descriptor):
        global calls
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    os.fsync = killing
    write_plain(sys.argv[1], [f"text {number}" for number in range(70)], hold=1)
    print("done")
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_killed_plain_texts_leave_no_part_of_a_video_and_nothing_in_the_way(tmp_path: Path) -> None:
    path, killed_at, said = tmp_path / "plain.mp4", 1, ""
    while not said:
        said, _ = start(KILLED, path, killed_at).communicate()
        with suppress(MemoryExistsError):
            write_plain(path, ["again"], hold=1)
        assert scan(path).texts in (["again"], [f"text {number}" for number in range(70)])
        assert list(tmp_path.iterdir()) == [path]
        path.unlink()
        killed_at += 1
    assert killed_at > 4


def test_an_audio_file_says_what_it_carries(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(NotAMemoryError, match="no pictures, only audio"):
        scan(path)


def test_sources_that_are_no_memory_are_typed_errors(tmp_path: Path) -> None:
    with pytest.raises(MemoryNotFoundError):
        scan(tmp_path / "nowhere.mp4")
    with pytest.raises(NotAMemoryError, match="no files"):
        scan(tmp_path)
    text = tmp_path / "note.txt"
    text.write_text("no video")
    with pytest.raises(NotAMemoryError, match="not a video or image"):
        scan(text)
    with pytest.raises(NotAMemoryError, match="is an image"):
        scan(tmp_path)
    with pytest.raises(NotAMemoryError, match="3 pictures"):
        scan([np.zeros((40, 40), np.uint8)] * 3)
    with pytest.raises(NotAMemoryError, match="is not a picture"):
        scan([np.zeros((4, 4, 4, 4), np.uint8)])
    with pytest.raises(NotAMemoryError, match="is not a picture"):
        scan([np.zeros((0, 16), np.uint8)])
    noise = tmp_path / "noise.mp4"
    pictures = [np.random.default_rng(i).integers(0, 256, (64, 64), dtype=np.uint8) for i in range(5)]
    transcode(pictures, noise, "libx264", {})
    with pytest.raises(NotAMemoryError, match=r"none of the 5 pictures of .*noise\.mp4"):
        scan(noise)


def test_a_video_cut_short_still_gives_what_is_there(memory: tuple[list[bytes], list[Picture]], tmp_path: Path) -> None:
    payloads, pictures = memory
    whole = tmp_path / "whole.mkv"
    transcode(pictures, whole, "libx264", {"crf": "23", "preset": "veryfast", "g": "6"})
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    found = dict(scan(cut))
    assert found
    assert all(payloads[number] == payload for number, payload in found.items())
