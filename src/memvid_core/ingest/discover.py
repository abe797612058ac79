"""Which files a list of files and folders means."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from memvid_core.errors import IngestError, InvalidInputError
from memvid_core.ingest.languages import BINARY_SUFFIXES, DOCUMENT_FORMATS, SNIFF_BYTES, looks_binary

__all__ = ["discover"]

_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})


def discover(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
) -> Iterator[Path]:
    """Yield the files to read, each once, folders walked in the order of names.

    A file that is named itself is always yielded. In folders, hidden names, ``__pycache__``, ``node_modules`` and
    binary files that are no documents are skipped; links to folders are followed, loops are not. A folder that cannot
    be listed is yielded itself, so that reading it names it.

    Args:
        paths: Files and folders.
        include: Patterns such as ``"*.md"`` or ``"guide/*"``; a file in a folder is taken if its name, or its path
            below the folder with ``/``, matches one.
        exclude: Patterns of files and folders to leave out.

    Raises:
        IngestError: A path does not exist; before anything is yielded.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    roots = [Path(path) for path in paths]
    for patterns, name in ((include, "include"), (exclude, "exclude")):
        if isinstance(patterns, str):
            raise InvalidInputError(f"{name} is {patterns!r}: give a list of patterns")
    for root in roots:
        if not os.path.lexists(root):
            raise IngestError(f"{root}: no such file or folder")
    return _walk_all(roots, None if include is None else list(include), list(exclude or ()))


def _walk_all(roots: list[Path], include: list[str] | None, exclude: list[str]) -> Iterator[Path]:
    files: set[object] = set()
    folders: set[object] = set()
    for root in roots:
        for path in _walk(root, include, exclude, folders) if root.is_dir() else (root,):
            itself = _identity(path)
            if itself not in files:
                files.add(itself)
                yield path


def _walk(root: Path, include: list[str] | None, exclude: list[str], seen: set[object]) -> Iterator[Path]:
    # Every real folder is walked once: links that form loops end, and links among siblings do not multiply.
    waiting = [(root, "")]
    while waiting:
        path, relative = waiting.pop()
        if not path.is_dir():
            name = path.name
            if path.is_file() and (include is None or _matches(name, relative, include)) and _readable(path):
                yield path
            continue
        itself = _identity(path)
        if itself in seen:
            continue
        seen.add(itself)
        try:
            names = sorted(os.listdir(path), reverse=True)
        except OSError:
            yield path
            continue
        below = f"{relative}/" if relative else ""
        waiting.extend(
            (path / name, below + name)
            for name in names
            if not name.startswith(".") and name not in _SKIPPED_FOLDERS and not _matches(name, below + name, exclude)
        )


def _identity(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return str(path)
    # Not every file system numbers its files. The real path is the same answer, a hundred times slower in deep folders.
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def _matches(name: str, relative: str, patterns: list[str]) -> bool:
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
        return True  # reading it says why
