"""Record what ``memvid`` shows in a terminal: build, ls, search and watch at 80 and 40 columns.

    python scripts/terminal.py FOLDER --fonts FILE ...

Each screen is written as text and, with fonts (of which the first has letters of one width, and others may have more
letters), as a picture. A pseudo-terminal of the system runs the commands, and pyte is the screen. Needs Linux or macOS,
and ``pip install pyte pillow``.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = (80, 40)
ROWS = 48
SIZE = 16  # pixels
COLORS = {"default": (201, 205, 216), "green": (134, 205, 130), "cyan": (106, 190, 214), "red": (235, 110, 110)}
BACKGROUND = (13, 14, 19)
SECONDS = 300.0


def main() -> None:
    """Run the commands at each width, and write their screens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the screens are written")
    parser.add_argument("--fonts", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    # A shell without job control starts programs in the background with SIGINT ignored, which children inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for width in WIDTHS:
        with tempfile.TemporaryDirectory() as temporary:
            for name, screen in record(Path(temporary), width).items():
                target = options.folder / f"{name}-{width}"
                target.with_suffix(".txt").write_text("\n".join(lines(screen)) + "\n", encoding="utf-8")
                if options.fonts:
                    draw(screen, options.fonts).save(target.with_suffix(".png"))
                print(target)


def record(folder: Path, width: int) -> dict[str, pyte.Screen]:
    """Return the screens of the commands by name."""
    notes = folder / "문서와 메모"
    notes.mkdir()
    for number in range(3):
        text = "# 날개\n\n날개는 양력을 낸다. 아무것도 잊지 않는 기억은 한 편의 비디오이다.\n"
        (notes / f"아주 긴 이름을 가진 날개에 대한 문서 {number}.md").write_text(text, encoding="utf-8")
    (notes / "scan.docx").write_bytes(b"not a document")
    memvid = [sys.executable, "-m", "memvid_core.cli"]
    docs = os.path.relpath(ROOT / "docs", folder)
    (folder / "docs").symlink_to(docs)
    steps = {
        "build": ["build", "docs", str(notes.name), "-o", "notes.mp4"],
        "ls": ["ls", "notes.mp4"],
        "search": ["search", "notes.mp4", "날개는 왜 양력을 내는가?", "-k", "3"],
        "info": ["info", "notes.mp4"],
        "help": ["search", "--help"],
        "error": ["search", "nothing.mp4", "wing"],
    }
    screens: dict[str, pyte.Screen] = {}
    for name, arguments in steps.items():
        during, after = run([*memvid, *arguments], folder, width)
        screens[name] = after
        if name == "build" and during is not None:
            screens["progress"] = during

    def changed(screen: pyte.Screen) -> bool:
        shown = "".join("".join(lines(screen)).split())
        if "watching" in shown and not (notes / "new.md").exists():
            (notes / "new.md").write_text("A wing lifts.\n", encoding="utf-8")
        return "new.md;4records" in shown

    watch = [*memvid, "watch", notes.name, "watched.mp4", "--every", "0.2"]
    screens["watch"] = run(watch, folder, width, until=changed)[1]
    return screens


def run(
    command: list[str], folder: Path, width: int, until: Callable[[pyte.Screen], bool] | None = None
) -> tuple[pyte.Screen | None, pyte.Screen]:
    """Run a command in a terminal; return the last screen with a progress bar, and the last one."""
    screen, during = pyte.Screen(width, ROWS), None
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, width, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    environment = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    child = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # Linux: the other end is closed
                data = b""
            if not data:
                break
            stream.feed(data)
            if any("files" in line and "/" in line for line in lines(screen)[-3:]):
                during = copied(screen)
        if until is not None and until(screen):
            os.killpg(child.pid, signal.SIGINT)
            until = None
    else:
        child.kill()
        child.wait()
        sys.exit(f"{' '.join(command[1:])}: not done after {SECONDS:g} s\n" + "\n".join(lines(screen)))
    child.wait()
    os.close(ours)
    return during, screen


def copied(screen: pyte.Screen) -> pyte.Screen:
    """Return a screen with the same lines."""
    other = pyte.Screen(screen.columns, screen.lines)
    for row in range(screen.lines):
        for column in range(screen.columns):
            other.buffer[row][column] = screen.buffer[row][column]
    return other


def lines(screen: pyte.Screen) -> list[str]:
    """Return the lines of a screen up to the last that is not empty."""
    found = [line.rstrip() for line in screen.display]
    while found and not found[-1]:
        found.pop()
    return found


def draw(screen: pyte.Screen, fonts: list[Path]) -> Image.Image:
    """Return a picture of a screen; letters that the first font does not have are drawn with the second."""
    faces = [ImageFont.truetype(str(font), SIZE) for font in fonts]
    cell = faces[0].getlength("m")
    step = int(SIZE * 1.35)
    rows = len(lines(screen)) + 1
    picture = Image.new("RGB", (int(cell * (screen.columns + 2)), step * rows + SIZE), BACKGROUND)
    pen = ImageDraw.Draw(picture)
    for row in range(rows):
        for column in range(screen.columns):
            sign = screen.buffer[row][column]
            face = faces[-1] if sign.data > "\u2e80" else faces[0]
            color = COLORS.get(sign.fg, COLORS["default"])
            pen.text((cell * (column + 1), SIZE / 2 + step * row), sign.data, fill=color, font=face)
    pen.line([(cell * (screen.columns + 1), 0), (cell * (screen.columns + 1), picture.height)], fill=(58, 63, 78))
    return picture


if __name__ == "__main__":
    main()
