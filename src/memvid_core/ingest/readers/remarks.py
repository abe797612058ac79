"""Remarks on a file that is being read: warnings about what is left out, and the encoding of its text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from memvid_core.errors import IngestError, MissingExtraError

__all__ = ["Remarks", "collecting", "leaving_out", "lose", "note_encoding", "warn", "warn_of_pictures"]

_MOST = 20  # warnings about one file
_ORDINARY = frozenset({"ascii", "utf-8", "utf-8-sig"})


class Remarks:
    """Hold the remarks on one file.

    Attributes:
        lost: Which parts are damaged, and why.
        encoding: The encoding of its text if it is not UTF-8, else empty.
    """

    def __init__(self) -> None:
        self.lost: dict[str, None] = {}
        self.encoding = ""
        self._warnings: dict[str, None] = {}

    def add(self, message: str) -> None:
        """Add a warning; each counts once."""
        self._warnings[message] = None

    @property
    def warnings(self) -> list[str]:
        """Sentences for people, without the path, each once; of many, the first ones and how many others there are."""
        shown = list(self._warnings)[:_MOST]
        more = len(self._warnings) - len(shown)
        return [*shown, f"and {more:,} more like these"] if more else shown


_CURRENT: ContextVar[Remarks | None] = ContextVar("memvid_remarks", default=None)


@contextmanager
def collecting() -> Iterator[Remarks]:
    """Collect the remarks that are made in a ``with`` block."""
    remarks = Remarks()
    token = _CURRENT.set(remarks)
    try:
        yield remarks
    finally:
        _CURRENT.reset(token)


def warn(message: str) -> None:
    """Add a warning to the file that is being read, if remarks are collected."""
    remarks = _CURRENT.get()
    if remarks is not None:
        remarks.add(message)


def warn_of_pictures(number: int, part: str = "the file") -> None:
    """Warn that a part has pictures, which may be scans, and no text; do nothing if it has none."""
    if number:
        warn(f"{part} has no text, but {number:,} {'picture' if number == 1 else 'pictures'} (scans?)")


def lose(part: str, why: str) -> None:
    """Warn that a part of the file is damaged and was left out."""
    remarks = _CURRENT.get()
    if remarks is not None:
        remarks.lost[f"{part}: {why}"] = None
    warn(f"{part} was left out: {why}")


@contextmanager
def leaving_out(part: str) -> Iterator[None]:
    """Leave out a part of the file, with a warning, if a ``with`` block cannot read it.

    A file that is refused, such as a bomb, is refused as a whole.

    Args:
        part: The part in words.
    """
    try:
        yield
    except (MemoryError, MissingExtraError):
        raise
    except IngestError as exc:
        if str(exc).startswith("refused: "):
            raise
        lose(part, str(exc))
    except Exception as exc:  # parsers raise any exception on damaged input
        lose(part, f"damaged: {type(exc).__name__}: {exc}")


def note_encoding(name: str) -> None:
    """Note the encoding of the file that is being read."""
    remarks = _CURRENT.get()
    if remarks is not None and name.lower() not in _ORDINARY:
        remarks.encoding = name.lower()
