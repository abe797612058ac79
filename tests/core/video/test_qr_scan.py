"""Scan: every payload from the pictures alone, whatever was done to the video; typed errors where there is nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from memvid_core.errors import CodecError, MemoryExistsError, MemoryNotFoundError, NotAMemoryError
from memvid_core.video import QRCodec, VideoFile
from memvid_core.video.plain import write_plain
from memvid_core.video.scan import scan

Picture = NDArray[np.uint8]
Change = Callable[[list[Picture]], list[Picture]]


def payloads_of(*sizes: int, seed: int = 0) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(size) for size in sizes]


def write_memory(path: Path, codec: QRCodec, *commits: Sequence[bytes]) -> None:
    with VideoFile.create(path, codec) as video:
        for payloads in commits:
            video.append(payloads)


def pictures_of(path: Path) -> list[Picture]:
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="gray"), np.uint8) for frame in container.decode(video=0)]


def transcode(
    pictures: Iterable[Picture],
    path: Path,
    encoder: str,
    options: dict[str, str],
    *,
    side: int | None = None,
    fps: int = 30,
    bit_rate: int = 0,
) -> None:
    """The pictures as another program would code them: limited range, its own key pictures, B-frames and lookahead."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(encoder, rate=fps, options=options)
        stream.pix_fmt = "yuv420p"
        if bit_rate:
            stream.bit_rate = bit_rate
        for time, picture in enumerate(pictures):
            height, width = (side, side) if side else picture.shape
            if not time:
                stream.width, stream.height = width, height
            frame = av.VideoFrame.from_ndarray(picture, format="gray")
            frame = frame.reformat(width=width, height=height, format="yuv420p")
            frame.pts, frame.time_base = time, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def as_is(pictures: list[Picture]) -> list[Picture]:
    return pictures


def at_24_of_30(pictures: list[Picture]) -> list[Picture]:
    return [pictures[round(i * 30 / 24)] for i in range(len(pictures) * 24 // 30)]


def dropped(pictures: list[Picture]) -> list[Picture]:
    rng = random.Random(1)
    gone = set(rng.sample(range(len(pictures)), max(1, len(pictures) // 20)))
    return [picture for i, picture in enumerate(pictures) if i not in gone]


def blacked_out(pictures: list[Picture]) -> list[Picture]:
    """One picture in twenty, all in one place, which is the worst."""
    start, count = len(pictures) // 3, max(1, len(pictures) // 20)
    return [picture * (not start <= i < start + count) for i, picture in enumerate(pictures)]


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], list[Picture]]:
    """A robust memory of two commits, as payloads and as pictures."""
    path = tmp_path_factory.mktemp("qr") / "memory.mp4"
    first, second = payloads_of(3600, 20, 3000, 1100, 150), payloads_of(700, 150, seed=2)
    write_memory(path, QRCodec("robust"), first, second)
    return [*first, *second], pictures_of(path)


@pytest.mark.parametrize(
    ("encoder", "options", "side", "fps", "bit_rate", "name", "change"),
    [
        ("libx264", {"crf": "23", "preset": "veryfast"}, None, 30, 0, "a.mp4", as_is),
        ("libx264", {"crf": "28", "preset": "veryfast"}, None, 30, 0, "a.mkv", as_is),
        ("libx264", {"crf": "35", "preset": "veryfast"}, None, 30, 0, "a.mov", as_is),
        ("libx265", {"crf": "28", "preset": "ultrafast", "x265-params": "log-level=none"}, None, 30, 0, "a.mp4", as_is),
        ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}, None, 30, 1_000_000, "a.webm", as_is),
        ("libx264", {"crf": "23", "preset": "veryfast"}, 384, 30, 0, "a.mp4", as_is),
        ("libx264", {"crf": "23", "preset": "veryfast"}, 768, 30, 0, "a.mp4", as_is),
        ("libx264", {"crf": "23", "preset": "veryfast"}, None, 24, 0, "a.mp4", at_24_of_30),
        ("libx264", {"crf": "23", "preset": "veryfast"}, None, 30, 0, "a.mp4", dropped),
        ("libx264", {"crf": "23", "preset": "veryfast"}, None, 30, 0, "a.mp4", blacked_out),
    ],
    ids=["h264-23", "h264-28", "h264-35", "h265-28", "vp9-1M", "x0.75", "x1.5", "24fps", "5%-dropped", "5%-black"],
)
def test_a_transcoded_memory_comes_back_whole(
    memory: tuple[list[bytes], list[Picture]],
    tmp_path: Path,
    encoder: str,
    options: dict[str, str],
    side: int | None,
    fps: int,
    bit_rate: int,
    name: str,
    change: Change,
) -> None:
    payloads, pictures = memory
    path = tmp_path / name
    transcode(change(pictures), path, encoder, options, side=side, fps=fps, bit_rate=bit_rate)
    result = scan(path)
    assert list(result) == list(enumerate(payloads))
    assert sum(map(len, result.report.missing.values())) == 0


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


def test_a_symbol_of_someone_else_is_passed_over() -> None:
    codec = QRCodec(frame_size=200)
    from memvid_core.video import symbols

    poster = symbols.draw(symbols.get_pair("zxing").write("https://example.org", "M"), 200, 4)
    result = scan([poster, codec.draw(codec.contents([b"mine"], 0)[0])])
    assert list(result) == [(0, b"mine")]
    assert result.report.foreign == 1


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


def test_an_audio_file_says_what_it_carries(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(NotAMemoryError, match="no pictures: it carries audio"):
        scan(path)


def test_sources_that_are_no_memory_are_typed_errors(tmp_path: Path) -> None:
    with pytest.raises(MemoryNotFoundError):
        scan(tmp_path / "nowhere.mp4")
    with pytest.raises(NotAMemoryError, match="no files"):
        scan(tmp_path)
    text = tmp_path / "note.txt"
    text.write_text("no video")
    with pytest.raises(NotAMemoryError, match="no video or image"):
        scan(text)
    with pytest.raises(NotAMemoryError, match="is an image"):
        scan(tmp_path)
    with pytest.raises(NotAMemoryError, match="3 pictures"):
        scan([np.zeros((40, 40), np.uint8)] * 3)
    with pytest.raises(NotAMemoryError, match="is no picture"):
        scan([np.zeros((4, 4, 4, 4), np.uint8)])
    noise = tmp_path / "noise.mp4"
    pictures = [np.random.default_rng(i).integers(0, 256, (64, 64), dtype=np.uint8) for i in range(5)]
    transcode(pictures, noise, "libx264", {})
    with pytest.raises(NotAMemoryError, match=r"in the 5 pictures of .*noise\.mp4"):
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
