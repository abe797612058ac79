"""``export --format vtt``: what players show with the video."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from memvid_core import Memory
from tests.core.cli.running import memvid
from tests.core.embedders import embed
from tests.core.images import image_file

CUE = re.compile(r"(\d\d):(\d\d):(\d\d)\.(\d{3}) --> (\d\d):(\d\d):(\d\d)\.(\d{3})\n((?:.+\n)+)")


def cues(text: str) -> list[tuple[float, float, str]]:
    head, _, rest = text.partition("\n\n")
    assert head == "WEBVTT"
    found = []
    for match in CUE.finditer(rest):
        h, m, s, ms, h2, m2, s2, ms2 = map(int, match.groups()[:8])
        found.append((h * 3600 + m * 60 + s + ms / 1000, h2 * 3600 + m2 * 60 + s2 + ms2 / 1000, match[9].strip()))
    assert len(found) == rest.count("-->")
    return found


def exported(path: Path, *options: str) -> str:
    target = path.with_suffix(".vtt")
    done = memvid("export", str(path), "-o", str(target), "-f", *options)
    assert done.code == 0, done
    return target.read_text(encoding="utf-8")


def test_a_cue_names_the_records_of_each_frame_while_it_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    with Memory.create(path, embed, film="Minutes <2026> & more", description="주간 회의") as memory:
        memory.add(
            [f"Note {i}. It says --> much " * 400 for i in range(30)], [{"source": f"{i}.txt"} for i in range(30)]
        )
        memory.add(
            ["A picture of a tree. In May."], [{"source": "나무.png"}], ids=["tree"], pictures=image_file("#00b000")
        )
        memory.add(["gone"], ids=["gone"])
        memory.delete("gone")
        memory.add([""], ids=["nothing"])
        seconds = memory.info().frames / 2
    found = cues(exported(path))
    assert found[0] == (0.0, 3.0, "Minutes &lt;2026&gt; &amp; more\n주간 회의")
    assert "gone" not in [text for *_, text in found]
    assert found[1][2] == "0.txt (+29)\nNote 0."
    start, end, text = found[2]
    assert text == "나무.png\nA picture of a tree."
    with av.open(str(path)) as container:
        frames = {float(frame.time): frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)}
    # A pixel may be green in a frame of data, too, whose empty part has one color, by chance a greenish one.
    green = np.array((0, 0xB0, 0))
    shown = [at for at, one in frames.items() if (np.abs(one[112:144, 112:144] - green) < 24).all()]
    assert start <= min(shown)
    assert max(shown) + 0.5 <= end
    assert found[-1][2] == "nothing"
    assert all(one[1] <= other[0] for one, other in pairwise(found))
    assert found[-1][1] <= seconds + 2.5
    only = cues(exported(path, "--where", json.dumps({"source": "나무.png"})))
    assert [text for *_, text in only[1:]] == ["나무.png\nA picture of a tree."]


def test_a_memory_without_a_film_has_captions_too_and_other_formats_are_as_before(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    with Memory.create(path, embed) as memory:
        memory.add(["Wings lift. They do.", "x"], [{"source": "a & <b>"}, None])
    assert cues(exported(path, "--format", "vtt")) == [(1.0, 4.0, "a &amp; &lt;b&gt; (+1)\nWings lift.")]
    assert memvid("export", str(path), "--format", "vtt", "--vectors").code == 2
    assert memvid("export", str(path), "--format", "vtt").out.startswith("WEBVTT\n\n")


@pytest.mark.parametrize("text", ["a\x00b\u2028c\r\n\r\nd", "-->", "WEBVTT\n\nNOTE x", "x" * 5000, "🎬 " * 500])
def test_no_text_breaks_the_captions(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.mp4"
    metadata: dict[str, Any] = {"source": text}
    with Memory.create(path, embed, film=True) as memory:
        memory.add([text], [metadata])
    [title, cue] = cues(exported(path))
    assert title[2] == "notes"
    assert len(cue[2].splitlines()) == 2
    assert all(len(line) <= 110 for line in cue[2].splitlines())


def test_build_begins_with_a_title_card_unless_told_not_to(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("Wings lift.")
    for option, title in (("--film", "m--film"), ("--no-film", None), (None, "mNone")):
        path = tmp_path / f"m{option}.mp4"
        done = memvid("build", str(tmp_path / "note.txt"), "-o", str(path), *([option] if option else []))
        assert done.code == 0
        with av.open(str(path)) as container:
            assert container.metadata.get("title") == title
    again = memvid("build", str(tmp_path / "note.txt"), "-o", str(path), "--force")
    assert again.code == 0
    with av.open(str(path)) as container:
        assert container.metadata["title"] == path.stem
