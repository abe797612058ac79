"""Files of text that are read as a whole."""

from __future__ import annotations

from pathlib import Path

from memvid_core.errors import InvalidInputError
from memvid_core.ingest.readers import LARGEST_FILE

__all__ = ["check_file", "read_text"]


def check_file(path: Path) -> None:
    """Check that a path that is there is a file: a device or a pipe may have no end.

    Raises:
        InvalidInputError: It is something else.
    """
    if path.exists() and not path.is_file():
        raise InvalidInputError("not a file")


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, without a byte order mark.

    Raises:
        InvalidInputError: It is not a file, or has more than 1 GiB.
        OSError: The system refused.
        UnicodeDecodeError: It is not UTF-8.
    """
    check_file(path)
    if path.exists() and (size := path.stat().st_size) > LARGEST_FILE:
        raise InvalidInputError(f"{size:,} bytes, more than the limit of {LARGEST_FILE:,}: split it")
    return path.read_text(encoding="utf-8-sig")
