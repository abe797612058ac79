"""Parts of documents that have only pictures: read by OCR where it is installed, and named where it is not."""

from __future__ import annotations

import base64
import binascii
import re
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.ocr import HOW_TO_GET, recognizer
from memvid_core.ingest.readers.remarks import warn, warn_of_pictures

__all__ = ["ELSEWHERE", "Picture", "described", "of_data_url", "read_pictures"]

Picture = Callable[[], bytes]
"""A function that returns the content of a picture; empty if the document only refers to it."""

ELSEWHERE = "they are in files of their own: give the paths of these"
_FOUND_NONE = "OCR found none either"
_MOST_PICTURES = 200  # of a part
_SECONDS = 100.0  # for the pictures of a part, after which no other is begun
_FILE_NAME = re.compile(r"[^\n]{0,250}\.(?:png|jpe?g|jfif|gif|bmp|tiff?|webp|svg|emf|wmf|heic)", re.IGNORECASE)
_DATA_URL = re.compile(r"data:image/[\w.+-]{1,40};base64,", re.IGNORECASE)


def described(text: str | None) -> str:
    """Return the description of a picture in brackets; empty if it is none, or only the name of its file.

    Example:
        >>> described(" A  wing "), described("scan 1.png"), described(None)
        ('[A wing]', '', '')
    """
    text = " ".join((text or "").split())
    return "" if not text or _FILE_NAME.fullmatch(text) else f"[{text}]"


def of_data_url(text: str) -> bytes:
    """Return the content of a picture in a ``data:`` URL; empty for other addresses."""
    found = _DATA_URL.match(text.strip()[:200])
    if found is None:
        return b""
    try:
        return base64.b64decode("".join(text.strip()[found.end() :].split()))
    except (binascii.Error, ValueError):
        return b""


def read_pictures(
    pictures: Sequence[Picture], metadata: dict[str, Any], parts: str = "", part: int | str = ""
) -> list[Section]:
    """Read the pictures of a part without text by OCR; a warning names what remains without text, and why.

    Args:
        pictures: Its pictures in order; without any, nothing is done.
        metadata: The metadata of the part.
        parts: The kind of the parts in words, such as ``"slides"``; empty for a whole document.
        part: The number or the name of the part.

    Returns:
        Its text with ``ocr`` in its metadata.
    """
    if not pictures:
        return []
    recognize = recognizer()
    if recognize is None:
        warn_of_pictures(parts, part, len(pictures), HOW_TO_GET)
        return []
    texts: list[str] = []
    why = ""
    end = time.monotonic() + _SECONDS
    for number, picture in enumerate(pictures):
        if number >= _MOST_PICTURES or time.monotonic() > end:
            warn(f"{len(pictures) - number:,} more pictures were not read")
            break
        try:
            content = picture()
            texts.append(recognize(content).strip() if content else "")
            why = why or ("" if content else ELSEWHERE)
        except IngestError as exc:
            if str(exc).startswith("refused: "):
                raise
            why = f"OCR failed: {exc}"
        except zlib.error as exc:
            why = f"OCR failed: damaged: {exc}"
    text = "\n\n".join(filter(None, texts))
    if not text:
        warn_of_pictures(parts, part, len(pictures), why or _FOUND_NONE)
        return []
    return [Section(text, {**metadata, "ocr": True})]
