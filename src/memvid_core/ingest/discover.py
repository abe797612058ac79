"""Finding the files in a list of files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from memvid_core.errors import IngestError, InvalidInputError
from memvid_core.ingest.patterns import IgnoreRules, Patterns
from memvid_core.ingest.readers.file_types import (
    BINARY_SUFFIXES,
    DOCUMENT_FORMATS,
    SNIFF_BYTES,
    format_of,
    looks_binary,
)
from memvid_core.ingest.readers.media import has_captions

__all__ = ["Found", "discover", "find"]

_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})


def discover(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    gitignore: bool = True,
    media: bool = False,
) -> Iterator[Path]:
    """Yield each file to read once; folders are walked in the order of names.

    Files in ``paths`` are always yielded. In folders, hidden names, ``__pycache__``, ``node_modules`` and unsupported
    binary files are skipped. Links to folders are followed, except loops. A folder that cannot be listed is yielded
    itself, so that reading it reports the error.

    Args:
        paths: Files and folders.
        include: Patterns such as ``"*.md"``, ``"guide/*"`` or ``"**/*.md"``. A file in a folder is taken if a pattern
            matches its name, or its path below the folder with ``/``.
        exclude: Patterns of files and folders to skip.
        gitignore: Skip what ``.gitignore`` files in the folders, and above them in their repository, name.
        media: Yield sound and video in folders, too, except for files with subtitles in the same folder.

    Raises:
        IngestError: A path does not exist. Raised before anything is yielded.
    """
    found = find(paths, include=include, exclude=exclude, gitignore=gitignore, media=media)
    return (file.path for file in found)


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
    gitignore: bool = True,
    media: bool = False,
    skipped: list[Path] | None = None,
    ignored: list[Path] | None = None,
    unused: list[str] | None = None,
) -> Iterator[Found]:
    """Yield the files of `discover` together with the folder in which each was found.

    Args:
        paths: Files and folders.
        include: As for `discover`.
        exclude: As for `discover`.
        gitignore: As for `discover`.
        media: As for `discover`.
        skipped: A list to which unsupported binary files, broken links, pipes and the like are added.
        ignored: A list to which files and folders that ``.gitignore`` names are added.
        unused: A list to which patterns of ``include`` that matched nothing are added at the end.

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
    wanted = None if include is None else Patterns(include)
    walk = _Walk(wanted, Patterns(exclude or ()), gitignore, media, skipped, ignored)
    return _all(walk, roots, wanted, unused)


def _all(walk: _Walk, roots: list[Path], wanted: Patterns | None, unused: list[str] | None) -> Iterator[Found]:
    yield from walk.all(roots)
    if wanted is not None and unused is not None:
        unused += wanted.unused


class _Walk:
    """Walk files and folders, taking each only once."""

    def __init__(
        self,
        include: Patterns | None,
        exclude: Patterns,
        gitignore: bool,
        media: bool,
        skipped: list[Path] | None,
        ignored: list[Path] | None,
    ) -> None:
        self._include = include
        self._exclude = exclude
        self._gitignore = gitignore
        self._media = media
        self._skipped = skipped
        self._ignored = ignored
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
        rules = IgnoreRules(root) if self._gitignore else None
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
            if rules is not None and ".gitignore" in names:
                rules.enter(path, below)
            for name in names:
                if self._entered(name, below + name) and not self._is_ignored(rules, path / name, below + name):
                    waiting.append((path / name, below + name))

    def _entered(self, name: str, relative: str) -> bool:
        if name.startswith(".") or name in _SKIPPED_FOLDERS:
            return False
        return not (self._exclude and self._exclude.match(relative))

    def _is_ignored(self, rules: IgnoreRules | None, path: Path, relative: str) -> bool:
        if rules is None or not rules.any or not rules.ignored(relative, folder=path.is_dir()):
            return False
        if self._ignored is not None:
            self._ignored.append(path)
        return True

    def _taken(self, path: Path, relative: str) -> bool:
        if not path.is_file():
            # A pipe, a socket, or a link to what is not there now, perhaps to files on a disk that is not mounted.
            if self._skipped is not None and os.path.lexists(path):
                self._skipped.append(path)
            return False
        if not (self._include is None or self._include.match(relative)):
            return False
        readable = _readable(path) or (self._media and format_of(path) == "media" and not has_captions(path))
        if not readable and self._skipped is not None:
            self._skipped.append(path)
        return readable


def _identity(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return str(path)
    # Not every file system numbers its files. The real path works too, but is a hundred times slower in deep folders.
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


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
