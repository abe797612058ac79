"""Finding the files in a list of files and folders."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from memvid_core.errors import IngestError, InvalidInputError
from memvid_core.ingest.readers.file_types import BINARY_SUFFIXES, DOCUMENT_FORMATS, SNIFF_BYTES, looks_binary

__all__ = ["Found", "discover", "find"]

_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})


def discover(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
) -> Iterator[Path]:
    """Yield each file to read once; folders are walked in the order of names.

    Files in ``paths`` are always yielded. In folders, hidden names, ``__pycache__``, ``node_modules`` and unsupported
    binary files are skipped. Links to folders are followed, except loops. A folder that cannot be listed is yielded
    itself, so that reading it reports the error.

    Args:
        paths: Files and folders.
        include: Patterns such as ``"*.md"`` or ``"guide/*"``. A file in a folder is taken if a pattern matches its
            name, or its path below the folder with ``/``.
        exclude: Patterns of files and folders to skip.

    Raises:
        IngestError: A path does not exist. Raised before anything is yielded.
    """
    return (found.path for found in find(paths, include=include, exclude=exclude))


class Found(NamedTuple):
    """Describe a file to read: its path, the given folder that contains it, and its path below it with ``/``."""

    path: Path
    root: Path
    relative: str


def find(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    skipped: list[Path] | None = None,
) -> Iterator[Found]:
    """Yield the files of `discover` together with the folder in which each was found.

    Args:
        paths: Files and folders.
        include: As for `discover`.
        exclude: As for `discover`.
        skipped: A list to which unsupported binary files are added.

    Raises:
        IngestError: A path does not exist. Raised before anything is yielded.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    roots = [Path(path) for path in paths]
    for patterns, name in ((include, "include"), (exclude, "exclude")):
        if isinstance(patterns, str):
            raise InvalidInputError(f"{name} must be a list of patterns, not {patterns!r}")
    for root in roots:
        if not os.path.lexists(root):
            raise IngestError(f"{root}: no such file or folder")
    walk = _Walk(None if include is None else list(map(_nfc, include)), list(map(_nfc, exclude or ())), skipped)
    return walk.all(roots)


class _Walk:
    """Walk files and folders, taking each only once."""

    def __init__(self, include: list[str] | None, exclude: list[str], skipped: list[Path] | None) -> None:
        self._include = include
        self._exclude = exclude
        self._skipped = skipped
        self._files: set[object] = set()
        self._folders: set[object] = set()

    def all(self, roots: list[Path]) -> Iterator[Found]:
        for root in roots:
            for found in self._below(root) if root.is_dir() else (Found(root, root.parent, root.name),):
                itself = _identity(found.path)
                if itself not in self._files:
                    self._files.add(itself)
                    yield found

    def _below(self, root: Path) -> Iterator[Found]:
        # Every real folder is walked once, so that loops of links end and links between siblings do not multiply
        # files.
        waiting = [(root, "")]
        while waiting:
            path, relative = waiting.pop()
            if not path.is_dir():
                if self._taken(path, relative):
                    yield Found(path, root, relative)
                continue
            itself = _identity(path)
            if itself in self._folders:
                continue
            self._folders.add(itself)
            try:
                names = sorted(os.listdir(path), reverse=True)
            except OSError:
                yield Found(path, root, relative)
                continue
            below = f"{relative}/" if relative else ""
            waiting.extend((path / name, below + name) for name in names if self._entered(name, below + name))

    def _entered(self, name: str, relative: str) -> bool:
        if name.startswith(".") or name in _SKIPPED_FOLDERS:
            return False
        return not _matches(name, relative, self._exclude)

    def _taken(self, path: Path, relative: str) -> bool:
        if not path.is_file() or not (self._include is None or _matches(path.name, relative, self._include)):
            return False
        readable = _readable(path)
        if not readable and self._skipped is not None:
            self._skipped.append(path)
        return readable


def _nfc(text: str) -> str:
    # macOS stores names as they were typed, often decomposed; both forms look the same.
    return unicodedata.normalize("NFC", text)


def _identity(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return str(path)
    # Not every file system numbers its files. The real path works too, but is a hundred times slower in deep folders.
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def _matches(name: str, relative: str, patterns: list[str]) -> bool:
    if not patterns:
        return False
    name, relative = _nfc(name), _nfc(relative)
    return any(fnmatchcase(name, pattern) or fnmatchcase(relative, pattern.rstrip("/")) for pattern in patterns)


def _readable(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in DOCUMENT_FORMATS:
        return True
    if suffix in BINARY_SUFFIXES:
        return False
    try:
        with path.open("rb") as file:
            return not looks_binary(file.read(SNIFF_BYTES))
    except OSError:
        return True  # reading it reports the error
