"""A file to which writers append lines and which others follow; lines of a killed process stay, in order."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["Log", "Tail"]


class Log:
    """Append JSON lines; each is one write, so lines of several processes do not mix."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)

    def write(self, *entry: Any) -> None:
        """Append one line."""
        os.write(self._file, (json.dumps(entry) + "\n").encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class Tail:
    """Read each line of a log once."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0

    def read(self) -> list[Any]:
        """Return the lines since the last call."""
        with open(self._path, "rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return [json.loads(line) for line in whole.splitlines()]
