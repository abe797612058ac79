"""Drawings for the film of a memory, made by Pillow (extra ``film``): its title card, its cover, and images that fit.

Latin letters are drawn with the font inside Pillow, so they look the same everywhere. For others, a font of the system
is looked for; signs that no font has are left out.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import InvalidInputError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["LEAST_SIDE", "can_draw", "cover", "fitted", "title_card"]

_BACK, _TITLE, _TEXT, _HINT = 24, 240, 205, 160  # levels of gray
_SIDE: Final = 256  # pixels, for which the sizes below are given
LEAST_SIDE: Final = 128
"""The least width and height of a picture that is drawn on, in pixels."""
_MARGIN, _TITLE_SIZE, _TEXT_SIZE, _HINT_SIZE = 16, 27, 15, 13
_MOST_TITLE_LINES, _MOST_LINES = 3, 4
_HINT_LINE: Final = "A memory: open it with memvid-core"
_COVER_SIDE, _COVER_BYTES = 128, 2000
_MOST_PIXELS: Final = 64_000_000  # of an image that is decoded
_LONGEST: Final = 400  # characters of a text that are drawn
_FONTS: Final = (  # files that Pillow looks for in the folders of the system
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansKR-Regular.otf",
    "NanumGothic.ttf",
    "malgun.ttf",
    "AppleSDGothicNeo.ttc",
    "UnDotum.ttf",
    "wqy-zenhei.ttc",
    "msyh.ttc",
    "meiryo.ttc",
    "arial.ttf",
    "Arial Unicode.ttf",
)


def can_draw() -> bool:
    """Return whether Pillow is installed."""
    return importlib.util.find_spec("PIL") is not None


def title_card(title: str, lines: Sequence[str], width: int, height: int) -> NDArray[np.uint8]:
    """Draw a title card.

    Args:
        title: The name of the memory, in up to three lines.
        lines: What else to say, in up to four lines.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.

    Returns:
        (height, width) uint8, levels of gray.
    """
    scale = min(width, height) / _SIDE
    image, draw = _canvas(width, height)
    margin, y = round(_MARGIN * scale), round(30 * scale)
    room = width - 2 * margin
    for text, size, level, most in (
        (title, _TITLE_SIZE, _TITLE, _MOST_TITLE_LINES),
        *((line, _TEXT_SIZE, _TEXT, 2) for line in lines[:_MOST_LINES]),
    ):
        shown, font = _with_font(text, round(size * scale))
        for line in _wrapped(draw, shown, font, room, most):
            draw.text((margin, y), line, fill=level, font=font)
            y += round(size * scale * 1.25)
            if y > height - round(54 * scale):
                break
        y += round(8 * scale) if level == _TITLE else round(3 * scale)
    _, font = _with_font(_HINT_LINE, round(_HINT_SIZE * scale))
    draw.text((margin, height - round(34 * scale)), _HINT_LINE, fill=_HINT, font=font)
    return np.asarray(image, np.uint8).copy()


def cover(title: str) -> bytes:
    """Draw a cover of 128 x 128 pixels, as a PNG of up to 2,000 bytes; empty if that is not possible."""
    image, draw = _canvas(_COVER_SIDE, _COVER_SIDE)
    shown, font = _with_font(title, 20)
    for i, line in enumerate(_wrapped(draw, shown, font, _COVER_SIDE - 20, 4)):
        draw.text((10, 12 + 25 * i), line, fill=_TITLE, font=font)
    buffer = io.BytesIO()
    image.quantize(4).save(buffer, "PNG", optimize=True)
    return buffer.getvalue() if buffer.tell() <= _COVER_BYTES else b""


def fitted(data: bytes, width: int, height: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Decode an image and fit it into a picture, centered on a dark background.

    Args:
        data: An image file of a format that Pillow reads.
        width: Of the picture, in pixels, a multiple of 16.
        height: Of the picture, in pixels, a multiple of 16.

    Returns:
        (height, width) uint8 luma and (2, height / 2, width / 2) uint8 Cb and Cr, both with the full range of values.

    Raises:
        InvalidInputError: It is not an image, has more than 64 million pixels, or is an EPS file, for which Pillow
            would start Ghostscript.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format == "EPS":
                raise InvalidInputError("an EPS picture is a program, which is not run; give a PNG or JPEG")
            if image.width * image.height > _MOST_PIXELS:
                size = f"{image.width}x{image.height}"
                raise InvalidInputError(
                    f"the image has {size} pixels, and at most {_MOST_PIXELS:,} are read; make it smaller"
                )
            image.draft("RGB", (2 * width, 2 * height))
            turned = ImageOps.exif_transpose(image).convert("RGBA")
    except InvalidInputError:
        raise
    except Exception as exc:  # each decoder of Pillow has errors of its own for what is damaged
        raise InvalidInputError(f"the picture is not an image that Pillow reads ({exc})") from exc
    turned.thumbnail((width, height), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (width, height), (_BACK,) * 3)
    canvas.paste(turned, ((width - turned.width) // 2, (height - turned.height) // 2), turned)
    y, *chroma = (np.asarray(plane, np.uint8) for plane in canvas.convert("YCbCr").split())
    quarters = [plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)).round() for plane in chroma]
    return y.copy(), np.stack(quarters).astype(np.uint8)


def _canvas(width: int, height: int) -> tuple[Image.Image, Any]:
    from PIL import Image, ImageDraw

    image = Image.new("L", (width, height), _BACK)
    return image, ImageDraw.Draw(image)


def _with_font(text: str, size: int) -> tuple[str, Any]:
    """Return what of a text can be drawn, in one line, and the font that draws most of it."""
    wanted = "".join(sign if sign.isprintable() else " " for sign in text[:_LONGEST])
    best, font = "", None
    for name in ("", *_FONTS):
        found = _font(name, size)
        if found is None:
            continue
        drawn = "".join(sign for sign in wanted if _has(name, sign))
        if font is None or len(drawn) > len(best):
            best, font = drawn, found
        if drawn == wanted:
            break
    return " ".join(best.split()), font


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> Any:
    """Return a font of the system, or, without a name, the one inside Pillow; None if it is not there."""
    from PIL import ImageFont

    try:
        return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _has(name: str, sign: str) -> bool:
    """Return whether a font has a glyph for a sign: another one than for a sign that does not exist."""
    font = _font(name, _TEXT_SIZE)
    return sign.isspace() or bytes(font.getmask(sign)) != bytes(font.getmask("\uffff"))


def _wrapped(draw: Any, text: str, font: Any, room: int, most: int) -> list[str]:
    """Return a text in up to ``most`` lines that fit; what is too much ends with an ellipsis."""
    lines: list[str] = []
    rest = text.strip()
    while rest and len(lines) < most:
        end = len(rest)
        while end > 1 and draw.textlength(rest[:end], font=font) > room:
            space = max(rest.rfind(sign, 0, end - 1) for sign in " -_/")
            end = space + 1 if space > 0 else end - 1
        lines.append(rest[:end].rstrip())
        rest = rest[end:].strip()
    if rest and lines:
        last = lines[-1]
        while last and draw.textlength(last + "...", font=font) > room:
            last = last[:-1]
        lines[-1] = last.rstrip() + "..."
    return lines
