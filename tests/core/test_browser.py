"""A memory plays in a real browser at every moment of its life."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memvid_core import Memory
from tests.core.embedders import embed
from tests.core.video.browsing import served, told

PAGE = """<body><video id="shown" muted src="memory.mp4"></video>
<script>
const say = (more) => fetch("/said", {method: "POST", body: JSON.stringify(
    {duration: shown.duration, width: shown.videoWidth, height: shown.videoHeight, ...more})});
shown.onerror = () => say({error: shown.error.message});
shown.onended = () => say({ended: shown.currentTime});
const play = () => { shown.playbackRate = 4; shown.play(); };
shown.addEventListener("canplaythrough", play, {once: true});  // it may come again at the end, and would start again
</script>"""


@pytest.mark.long
def test_a_memory_appended_three_times_plays_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "memory.mp4"
    with Memory.create(path, embed) as memory:
        for i in range(3):
            memory.add([f"text {i} {j} " * 30 for j in range(400)])
        frames = memory.info().frames
    (tmp_path / "page.html").write_text(PAGE)
    with served(tmp_path) as root:
        seen = json.loads(told(f"{root}/page.html", tmp_path / "profile"))
    assert "error" not in seen, seen
    assert (seen["width"], seen["height"]) == (256, 256)
    assert abs(seen["duration"] - frames / 30) < 0.05
    assert abs(seen["ended"] - seen["duration"]) < 0.05
