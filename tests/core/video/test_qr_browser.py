"""A screenshot of a paused frame in a real browser is read by both readers, at device pixel ratio 1 and 2."""

from __future__ import annotations

import functools
import http.server
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from memvid_core.video import QRCodec, VideoFile
from memvid_core.video.scan import scan

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
QUIETLY = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=640,640",
    "--virtual-time-budget=4000",
)
PAGE = """<body style="margin:0;background:#fff">
<video id="shown" muted style="display:block" src="memory.mp4"></video>
<script>shown.currentTime = 0.15; shown.pause()</script>"""


def browser() -> str:
    found = os.environ.get("MEMVID_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    found = found or next((place for place in PLACES if Path(place).exists()), None)
    assert found, "this test needs Chromium, Chrome or Edge; MEMVID_BROWSER names one elsewhere"
    return found


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A page that shows a QR memory paused between its frames, served from this machine."""
    (tmp_path / "page.html").write_text(PAGE)
    with VideoFile.create(tmp_path / "memory.mp4", QRCodec("robust")) as video:
        video.append([random.Random(1).randbytes(1_200), b"second"])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/page.html"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("ratio", [1, 2])
def test_a_screenshot_of_a_paused_frame_is_read(address: str, tmp_path: Path, ratio: int) -> None:
    shot = tmp_path / "shots" / "shot.png"
    shot.parent.mkdir()
    profile = tmp_path / "profile"
    own = [f"--user-data-dir={profile}", f"--force-device-scale-factor={ratio}", f"--screenshot={shot}", address]
    subprocess.run([browser(), *QUIETLY, *own], check=True, capture_output=True, timeout=120)
    for pair in ("zxing", "zbar"):
        result = scan(shot, pair=pair)
        # Parity of a small commit repeats it: any one of its three symbols may be the one on screen.
        assert result.report.symbols == 1
        assert len(result.streams) == 1
