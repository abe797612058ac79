"""Remarks on a file that is being read: warnings about what is left out, and the encoding of its text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Remarks", "collecting", "note_encoding", "warn"]

_MOST = 20  # warnings about one file
_ORDINARY = frozenset({"ascii", "utf-8", "utf-8-sig"})


class Remarks:
    """Hold the remarks on one file.

    Attributes:
        warnings: Sentences for people, without the path, each once.
        encoding: The encoding of its text if it is not UTF-8, else empty.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.encoding = ""


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
    if remarks is not None and len(remarks.warnings) < _MOST and message not in remarks.warnings:
        remarks.warnings.append(message)


def note_encoding(name: str) -> None:
    """Note the encoding of the file that is being read."""
    remarks = _CURRENT.get()
    if remarks is not None and name.lower() not in _ORDINARY:
        remarks.encoding = name.lower()
