"""Draw the README's picture: a memory is built, played and searched, for real.

    python scripts/picture.py                 # writes docs/assets/demo.gif
    python scripts/picture.py --font FILE     # with another monospaced font than DejaVu Sans Mono

Everything shown is real output of commands and of a decoder: ``memvid`` runs in a temporary folder with a copy
of ``docs/`` and ``src/``, and the player's pictures are decoded from the memory that it wrote. Needs Pillow
(``pip install "memvid-core[qr]"``).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "docs" / "assets" / "demo.gif"

BUILD = ["memvid", "build", "docs", "src", "-o", "notes.mp4"]
SEARCH = ["memvid", "search", "notes.mp4", "recover a video after YouTube", "-k", "2"]

WIDTH, HEIGHT, MARGIN = 960, 400, 18
SIZE, LINE = 15, 21  # the font and the line, in pixels
SCREEN = 240  # the player's picture, in pixels
COLUMNS = 74

BACKGROUND, PANEL, EDGE = (22, 24, 31), (13, 14, 19), (58, 63, 78)
# The colors of the command's output, by SGR code.
COLORS = {"": (201, 205, 216), "1": (255, 255, 255), "2": (128, 134, 150), "32": (134, 205, 130), "36": (106, 190, 214)}
PROMPT, MARKED = (134, 205, 130), (240, 190, 90)

Span = tuple[str, tuple[int, int, int]]
Line = list[Span]


def run(command: list[str], folder: Path) -> list[Line]:
    """Run a ``memvid`` command in a folder and return what it prints, in colors."""
    program = shutil.which(command[0], path=str(Path(sys.executable).parent)) or command[0]
    environment = {**os.environ, "PYTHONUTF8": "1", "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}
    done = subprocess.run(
        [program, *command[1:]], cwd=folder, env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    return [colored(line) for line in done.stdout.rstrip().splitlines()]


def colored(line: str) -> Line:
    """Split a line at its SGR sequences into texts and their colors."""
    spans, color = [], COLORS[""]
    for number, part in enumerate(re.split(r"\x1b\[([\d;]*)m", line)):
        if number % 2:
            color = MARKED if part == "1;33" else COLORS.get(part, COLORS[""])
        elif part:
            spans.append((part, color))
    return spans


def decoded(memory: Path, limit: int = 24) -> list[Image.Image]:
    """Decode the first pictures of a memory, as any player does."""
    with av.open(str(memory)) as container:
        frames = islice(container.decode(video=0), limit)
        return [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in frames]


@dataclass
class Film:
    """The animation as it grows: a terminal on the left, a player on the right."""

    font: ImageFont.FreeTypeFont
    terminal: list[Line] = field(default_factory=list)
    screen: Image.Image | None = None
    progress: float = 0.0
    caption: str = ""
    images: list[Image.Image] = field(default_factory=list)
    milliseconds: list[int] = field(default_factory=list)

    def show(self, milliseconds: int) -> None:
        """Add one image of the present state."""
        image = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
        draw = ImageDraw.Draw(image)
        y = MARGIN
        for line in self.terminal:
            x = float(MARGIN)
            for text, color in line:
                draw.text((x, y), text, fill=color, font=self.font)
                x += draw.textlength(text, font=self.font)
            y += LINE
        self._player(image, draw)
        self.images.append(image)
        self.milliseconds.append(milliseconds)

    def _player(self, image: Image.Image, draw: ImageDraw.ImageDraw) -> None:
        left, top = WIDTH - SCREEN - MARGIN, MARGIN + 4
        draw.rectangle((left, top, left + SCREEN - 1, top + SCREEN - 1), fill=PANEL, outline=EDGE)
        if self.screen:
            image.paste(self.screen, (left, top))
        bar = top + SCREEN + 12
        draw.rectangle((left, bar, left + SCREEN - 1, bar + 5), fill=PANEL)
        draw.rectangle((left, bar, left + round((SCREEN - 1) * self.progress), bar + 5), fill=PROMPT)
        draw.multiline_text((left, bar + 16), self.caption, fill=COLORS["2"], font=self.font, spacing=5)

    def type(self, command: list[str]) -> None:
        """Type a command, some letters at a time."""
        text = " ".join(f'"{word}"' if " " in word else word for word in command)
        self.terminal.append([])
        for end in [*range(0, len(text), 6), len(text)]:
            self.terminal[-1] = [("$ ", PROMPT), (text[:end], COLORS["1"]), ("▌", COLORS["2"])]
            self.show(90)
        self.terminal[-1].pop()

    def play(self, pictures: list[Image.Image], frames: int, size: int) -> None:
        """Play the memory; each picture is a part of the file's bytes."""
        self.caption = f"notes.mp4, {size / 1e6:.1f} MB\n{frames} frames of H.264"
        for number, picture in enumerate(pictures, 1):
            self.screen = picture.resize((SCREEN // 2, SCREEN // 2), Image.Resampling.NEAREST)
            self.screen = self.screen.resize((SCREEN, SCREEN), Image.Resampling.NEAREST)
            self.progress = number / len(pictures)
            self.show(110)

    def save(self, path: Path) -> None:
        """Write the animation as a GIF of one palette."""
        strip = Image.new("RGB", (WIDTH, HEIGHT * 2))
        strip.paste(self.images[-1], (0, 0))
        strip.paste(self.images[len(self.images) // 2], (0, HEIGHT))
        palette = strip.quantize(48, method=Image.Quantize.MEDIANCUT)
        indexed = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in self.images]
        path.parent.mkdir(parents=True, exist_ok=True)
        indexed[0].save(
            path, save_all=True, append_images=indexed[1:], duration=self.milliseconds, loop=0, optimize=False
        )


def film(font: ImageFont.FreeTypeFont, folder: Path) -> Film:
    """Build, play and search a memory in a folder, and film it."""
    for name in ("docs", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.gif", "__pycache__"))
    made = Film(font)
    made.type(BUILD)
    printed = run(BUILD, folder)
    made.terminal += printed
    made.show(1200)
    memory = folder / "notes.mp4"
    with av.open(str(memory)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    made.terminal.append([])
    made.play(decoded(memory), frames, memory.stat().st_size)
    made.type(SEARCH)
    made.terminal += run(SEARCH, folder)
    made.show(6000)
    return made


def main() -> None:
    """Parse the command line and write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    parser.add_argument("--font", default="DejaVuSansMono.ttf", help="a monospaced TrueType font, by file or name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = film(ImageFont.truetype(arguments.font, SIZE), Path(folder))
    made.save(arguments.output)
    size = arguments.output.stat().st_size
    print(f"{arguments.output}: {len(made.images)} images, {sum(made.milliseconds) / 1000:.1f} s, {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
