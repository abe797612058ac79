"""Memories and libraries as arguments: files, folders, and URLs, which commands that read accept as well."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from memvid_core.system.remote_urls import is_url, shown_url

__all__ = ["Place", "RemotePath", "as_on_disk", "given_path", "is_library", "memory_place"]

_Base: Any = type(Path())


class RemotePath(_Base):  # type: ignore[misc]  # a Path of this system, whose class is not known here
    """The URL of a memory in the place of a path.

    As a text, it is without user, password and query.

    Args:
        url: The URL.
    """

    url: str

    def __new__(cls, url: str) -> Self:
        """Make the path from the visible parts of the URL."""
        made: Self = super().__new__(cls, shown_url(url))
        made.url = url
        return made

    def __init__(self, url: str) -> None:
        if sys.version_info >= (3, 12):
            super().__init__(shown_url(url))

    def __str__(self) -> str:
        return shown_url(self.url)

    def __fspath__(self) -> str:
        return str(self)

    def exists(self, *, follow_symlinks: bool = True) -> bool:  # as Path's
        """Return True: whether there is such an object is seen when it is opened."""
        return True

    def is_file(self, **_options: Any) -> bool:
        """Return True."""
        return True

    def is_dir(self, **_options: Any) -> bool:
        """Return False."""
        return False


if TYPE_CHECKING:
    Place = Path
else:
    Place = str  # typer would make a Path of what is annotated as one, which drops a slash of a URL


def memory_place(text: str) -> Path:
    """Parse the path or the URL of a memory."""
    return RemotePath(text) if is_url(text) else as_on_disk(Path(text))


def as_on_disk(path: Path) -> Path:
    """Return a path with its names as the disk has them: composed and decomposed names look the same.

    A part that has no such file, or is a pattern, stays as it is.
    """
    if str(path).isascii() or os.path.lexists(path):
        return path
    found = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        found /= part if os.path.lexists(found / part) else _name_in(found, part)
    return found


def _name_in(folder: Path, name: str) -> str:
    composed = unicodedata.normalize("NFC", name)
    try:
        return next((known for known in os.listdir(folder) if unicodedata.normalize("NFC", known) == composed), name)
    except OSError:
        return name


def given_path(path: Path) -> str | Path:
    """Return the argument of ``Memory.open`` for a path."""
    return path.url if isinstance(path, RemotePath) else path


def is_library(path: Path) -> bool:
    """Return whether an argument names a library: a folder with ``library.json``, or a URL that ends in a slash."""
    if isinstance(path, RemotePath):
        return path.url.endswith("/")
    return (path / "library.json").is_file()
