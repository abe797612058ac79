"""A screenshot of a paused frame in a real browser is read by both readers, at device pixel ratio 1 and 2."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from memvid_core.video import QRCodec, VideoFile
from memvid_core.video.scan import scan
from tests.core.video.browsing import look, served

PAGE = """<body style="margin:0;background:#fff">
<video id="shown" muted style="display:block" src="memory.mp4"></video>
<script>shown.currentTime = 0.15; shown.pause()</script>"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A page that shows a QR memory paused between its frames, served from this machine."""
    (tmp_path / "page.html").write_text(PAGE)
    with VideoFile.create(tmp_path / "memory.mp4", QRCodec("robust")) as video:
        video.append([random.Random(1).randbytes(1_200), b"second"])
    with served(tmp_path) as root:
        yield f"{root}/page.html"


@pytest.mark.parametrize("ratio", [1, 2])
def test_a_screenshot_of_a_paused_frame_is_read(address: str, tmp_path: Path, ratio: int) -> None:
    shot = tmp_path / "shots" / "shot.png"
    shot.parent.mkdir()
    view = ("--hide-scrollbars", "--window-size=640,640", "--virtual-time-budget=4000")
    look(address, tmp_path / "profile", *view, f"--force-device-scale-factor={ratio}", f"--screenshot={shot}")
    for pair in ("zxing", "zbar"):
        result = scan(shot, pair=pair)
        # Parity of a small commit repeats it: any one of its three symbols may be the one on screen.
        assert result.report.symbols == 1
        assert len(result.streams) == 1
