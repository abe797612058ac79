"""Remarks on a file that is being read: warnings about what is left out, and the encoding of its text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from memvid_core.errors import IngestError, MissingExtraError

__all__ = [
    "Remarks",
    "collecting",
    "inside",
    "leaving_out",
    "lose",
    "note_encoding",
    "ranges",
    "warn",
    "warn_of_pictures",
]

_MOST = 20  # warnings about one file
_NAMED = 20  # parts in one warning
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
        self.inside: list[str] = []
        self._warnings: dict[str, None] = {}
        self._pictures: dict[tuple[str, str], list[int | str]] = {}

    def add_pictures(self, parts: str, part: int | str, why: str) -> None:
        """Add a part that has pictures, and no text; parts of one kind are named together."""
        self._pictures.setdefault(("".join(self.inside) + parts, why), []).append(part)

    def add(self, message: str) -> None:
        """Add a warning; each counts once."""
        self._warnings["".join(self.inside) + message] = None

    @property
    def warnings(self) -> list[str]:
        """Sentences for people, without the path, each once; of many, the first ones and how many others there are."""
        pictures = [
            f"{parts} without text, but with pictures (scans?): {_named(found)}; {why}"
            for (parts, why), found in self._pictures.items()
        ]
        all_of_them = list(dict.fromkeys([*pictures, *self._warnings]))
        shown = all_of_them[:_MOST]
        more = len(all_of_them) - len(shown)
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


def warn_of_pictures(parts: str, part: int | str, number: int, why: str) -> None:
    """Warn that a part has pictures, which may be scans, and no text.

    Args:
        parts: The kind of its parts in words, such as ``"slides"``; empty for a whole document.
        part: Its number or name.
        number: How many pictures it has.
        why: Why they were not read.
    """
    remarks = _CURRENT.get()
    if remarks is not None and parts:
        remarks.add_pictures(parts, part, why)
    elif number:
        warn(f"no text, but {number:,} {'picture' if number == 1 else 'pictures'} (scans?): {why}")


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Put the name of a file that another one contains before the warnings of a ``with`` block."""
    remarks = _CURRENT.get()
    if remarks is None:
        yield
        return
    remarks.inside.append(f"{name}: ")
    try:
        yield
    finally:
        remarks.inside.pop()


def ranges(numbers: list[int]) -> str:
    """Return numbers of parts in words.

    Example:
        >>> ranges([1, 2, 3, 7])
        '1-3, 7'
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    shown = [f"{first}" if first == last else f"{first}-{last}" for first, last in found[:_NAMED]]
    return ", ".join(shown) + (" …" if len(found) > _NAMED else "")


def _named(parts: list[int | str]) -> str:
    numbers = [part for part in parts if isinstance(part, int)]
    if len(numbers) == len(parts):
        return ranges(numbers)
    return ", ".join(repr(part) for part in parts[:_NAMED]) + (" …" if len(parts) > _NAMED else "")


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
