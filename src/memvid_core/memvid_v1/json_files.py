"""JSON files that others wrote: their size, and what they would take in memory, is looked at before they are read."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Final

from memvid_core.errors import IngestError, MemoryNotFoundError

__all__ = ["read_json"]

_VALUE_BYTES: Final = 72  # minimum memory of a value in addition to its text
_FREE_BYTES: Final = 1 << 28
_MOST_RATIO: Final = 16  # of memory to file, beyond the free bytes: texts with numbers take 4 to 8


def read_json(path: Path, most_bytes: int) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        most_bytes: How large it may be.

    Raises:
        MemoryNotFoundError: It is missing.
        IngestError: It is not a regular file, not JSON, or takes more memory than a file of texts does.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise IngestError(f"{path} is a pipe or a device, not a file")
            if status.st_size > most_bytes:
                raise IngestError(f"{path}: larger than {most_bytes:,} bytes")
            data = file.read(status.st_size)
        if _memory_of(data) > max(_FREE_BYTES, _MOST_RATIO * len(data)):
            raise IngestError(f"{path}: not a file of texts: so many small values would fill the memory")
        return json.loads(data.decode("utf-8-sig"))
    except FileNotFoundError as exc:
        raise MemoryNotFoundError(f"{path} does not exist") from exc
    except (ValueError, RecursionError) as exc:
        raise IngestError(f"{path}: not JSON ({exc})") from exc
    except OSError as exc:
        raise IngestError(f"{path}: cannot be read: {exc.strerror or exc}") from exc


def _memory_of(data: bytes) -> int:
    """Return an upper estimate of the memory that the values of a JSON document take, in bytes."""
    return 4 * len(data) + _VALUE_BYTES * sum(map(data.count, (b",", b"[", b"{")))


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
