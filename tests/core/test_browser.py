"""A memory plays in a real browser at every moment of its life, and shows what it is."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from memvid_core import Memory
from memvid_core.serving.vtt import captions
from tests.core.embedders import embed
from tests.core.images import image_file
from tests.core.video.browsing import served, told

PAGE = """<body><video id="shown" muted src="memory.mp4"></video>
<script>
const say = (more) => fetch("/said", {method: "POST", body: JSON.stringify(
    {duration: shown.duration, width: shown.videoWidth, height: shown.videoHeight, ...more})});
shown.onerror = () => say({error: shown.error.message});
shown.onended = () => say({ended: shown.currentTime});
const play = () => { shown.playbackRate = 16; shown.play(); };
shown.addEventListener("canplaythrough", play, {once: true});  // it may come again at the end, and would start again
</script>"""

# Plays in steps, as a person who looks at it: what is on the screen, and what the caption says about it.
LOOKING = """<body><video id="shown" muted><track default kind="captions" src="memory.vtt"></video>
<script>
const say = (told) => fetch("/said", {method: "POST", body: JSON.stringify(told)});
shown.onerror = () => say({error: shown.error.message});
const canvas = document.createElement("canvas");
// "seeked" may come before the picture is on the screen: the picture says its time itself.
const onTheScreen = (at) => new Promise((resolve) => {
  const presented = (_, {mediaTime}) =>
    Math.floor(2 * at) === Math.round(2 * mediaTime) ? resolve() : shown.requestVideoFrameCallback(presented);
  shown.requestVideoFrameCallback(presented);
  shown.currentTime = at;
});
async function look() {
  const track = shown.textTracks[0], seen = [];
  track.mode = "showing";
  while (!track.cues?.length) await new Promise((resolve) => setTimeout(resolve, 10));
  [canvas.width, canvas.height] = [shown.videoWidth, shown.videoHeight];
  for (let at = 0.125; at < shown.duration; at += 0.5) {
    await onTheScreen(at);
    canvas.getContext("2d").drawImage(shown, 0, 0);
    const cue = [...track.cues].find(({startTime, endTime}) => startTime <= at && at < endTime);
    seen.push([at, cue?.text ?? "", canvas.toDataURL("image/png")]);
  }
  say({seen, title: document.title});
}
shown.addEventListener("canplaythrough", look, {once: true});
fetch("memory.mp4").then((answer) => answer.blob()).then((file) => { shown.src = URL.createObjectURL(file); });
</script>"""


@pytest.mark.long
def test_a_memory_appended_three_times_plays_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "memory.mp4"
    with Memory.create(path, embed, film=True) as memory:
        for i in range(3):
            memory.add([f"text {i} {j} " * 30 for j in range(400)])
        frames = memory.info().frames
    (tmp_path / "page.html").write_text(PAGE)
    with served(tmp_path) as root:
        seen = json.loads(told(f"{root}/page.html", tmp_path / "profile"))
    assert "error" not in seen, seen
    assert (seen["width"], seen["height"]) == (256, 256)
    assert seen["duration"] == frames / 2
    assert abs(seen["ended"] - seen["duration"]) < 0.05


def middle(shot: str) -> tuple[int, ...]:
    with Image.open(io.BytesIO(base64.b64decode(shot.partition(",")[2]))) as image:
        found: Any = image.convert("RGB").getpixel((128, 128))
    return tuple(found)


@pytest.mark.long
def test_the_picture_of_a_record_is_on_the_screen_while_its_caption_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "memory.mp4"
    with Memory.create(path, embed, film="Signals", description="What colors mean") as memory:
        memory.add([f"text {j} " * 30 for j in range(400)])
        memory.add(
            ["Red means stop.", "Nothing to see.", "Green means go."],
            [{"source": "red.png"}, None, {"source": "green.png"}],
            pictures=[image_file("#d00000"), None, image_file("#00b000")],
        )
        (tmp_path / "memory.vtt").write_bytes(b"".join(captions(memory, None)))
    (tmp_path / "page.html").write_text(LOOKING)
    with served(tmp_path) as root:
        told_it = json.loads(told(f"{root}/page.html", tmp_path / "profile"))
    assert "error" not in told_it, told_it
    looked = [(at, text, middle(shot)) for at, text, shot in told_it["seen"]]
    assert [text for at, text, _ in looked if at < 3] == ["Signals\nWhat colors mean"] * 6
    for said, color in (("Red means stop.", (208, 0, 0)), ("Green means go.", (0, 176, 0))):
        on = [seen for _, text, seen in looked if said in text]
        close = [seen for seen in on if max(abs(a - b) for a, b in zip(seen, color, strict=True)) < 24]
        assert len(close) == 6, (said, on)  # three seconds
    red = [at for at, _, seen in looked if seen[0] > 180 and seen[1] < 60]
    assert all("Red means stop." in text for at, text, _ in looked if at in red)
