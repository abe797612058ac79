"""A screenshot of a paused frame in a real browser is read by zxing-cpp and zbarimg, at device pixel ratio 1 and 2."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memvid_core.video import VideoFile
from memvid_core.video.qr import symbols
from memvid_core.video.qr.codec import QRCodec
from memvid_core.video.qr.scan import scan
from tests.core.video.browsing import look, served
from tests.core.video.pictures import pictures_of

PAYLOADS = [random.Random(1).randbytes(1_200), b"second"]

PAGE = """<body style="margin:0;background:#fff">
<video id="shown" muted style="display:block" src="memory.mp4"></video>
<script>shown.currentTime = 0.15; shown.pause()</script>"""


@pytest.fixture
def codec() -> QRCodec:
    return QRCodec("robust")


@pytest.fixture
def address(codec: QRCodec, tmp_path: Path) -> Iterator[str]:
    """A page that shows a QR memory paused between its frames, served from this machine."""
    (tmp_path / "page.html").write_text(PAGE)
    with VideoFile.create(tmp_path / "memory.mp4", codec) as video:
        video.append(PAYLOADS)
    with served(tmp_path) as root:
        yield f"{root}/page.html"


def by_zxing(shot: Path) -> list[str]:
    return symbols.get_pair("zxing").read(pictures_of(shot)[0])


def by_zbar(shot: Path) -> list[str]:
    if sys.platform == "win32":  # where zbar comes without its programs
        return symbols.get_pair("zbar").read(pictures_of(shot)[0])
    command = ["zbarimg", "--quiet", "--raw", "--set", "disable", "--set", "qrcode.enable", str(shot)]
    done = subprocess.run(command, check=True, capture_output=True, encoding="ascii", timeout=60)
    return done.stdout.removesuffix("\n").split("\n")


@pytest.mark.parametrize("ratio", [1, 2])
def test_a_screenshot_of_a_paused_frame_is_read(codec: QRCodec, address: str, tmp_path: Path, ratio: int) -> None:
    shot = tmp_path / "shots" / "shot.png"
    shot.parent.mkdir()
    view = ("--hide-scrollbars", "--window-size=640,640", "--virtual-time-budget=4000")
    look(address, tmp_path / "profile", *view, f"--force-device-scale-factor={ratio}", f"--screenshot={shot}")
    (text,) = by_zxing(shot)
    # Which one of the commit's symbols is on screen at that moment is the player's choice.
    assert text in {symbols.to_base45(content) for content in codec.contents(PAYLOADS, 0)}
    assert by_zbar(shot) == [text]
    for pair in ("zxing", "zbar"):
        assert scan(shot, pair=pair).report.symbols == 1
