"""Images as files."""

from __future__ import annotations

import io

from PIL import Image


def image_file(color: str, width: int = 320, height: int = 240, style: str = "PNG") -> bytes:
    """The bytes of an image of one color."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), color).save(out, style)
    return out.getvalue()
