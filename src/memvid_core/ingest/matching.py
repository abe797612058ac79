"""Matching the files that were found to the files that a memory knows, even after moves and renames."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NoReturn

from memvid_core.errors import Action, Hint, IngestError
from memvid_core.ingest.discover import Found
from memvid_core.ingest.ownership import KnownFile, known_files, near_path, path_key, real_path, token_of
from memvid_core.ingest.readers import escaped, source_name
from memvid_core.memory import Memory

__all__ = ["Matching", "keys_of"]

# This many files may be missing without confirmation if others remain.
_MANY = 10


def keys_of(found: Iterable[Found]) -> dict[str, Found]:
    """Return files by the canonical form of their paths."""
    roots: dict[Path, str] = {}
    named: dict[str, list[tuple[str, Found]]] = {}
    for file in found:
        if file.root not in roots:
            roots[file.root] = real_path(file.root)
        key = _join(roots[file.root], source_name(file.relative))
        named.setdefault(key, []).append((_join(roots[file.root], escaped(file.relative)), file))
    files: dict[str, Found] = {}
    for key, same in named.items():
        # Names with equal composed forms, which can exist together on Linux.
        files.update({key: same[0][1]} if len(same) == 1 else dict(same))
    return files


class Matching:
    """Match the files below some folders to the files known to a memory.

    Args:
        memory: The memory.
        roots: The folders and files that were given.
        files: The files found in them, as from `keys_of`.
        digests: The digest of each file found, by the same keys.
        skipped: Files in the folders that are there and were not read; their records are kept.
    """

    def __init__(
        self,
        memory: Memory,
        roots: list[str | os.PathLike[str]],
        files: dict[str, Found],
        digests: dict[str, str],
        skipped: Iterable[Path] = (),
    ) -> None:
        self._memory = memory
        self._roots = [(Path(root), real_path(root if Path(root).is_dir() else Path(root).parent)) for root in roots]
        self._files = files
        self._digests = digests
        self._skipped = {_join(real_path(path.parent), source_name(path.name)) for path in skipped}
        self._homes: dict[str, str | None] = {}
        self.known: dict[str, KnownFile] = {}
        self.unsaved: list[KnownFile] = []
        known = known_files(memory)
        self._taken = {file.token for file in known}
        self._place([file for file in known if file.token])
        self._adopt([file for file in known if not file.token])

    def file(self, key: str) -> KnownFile:
        """Return the known file for a file that was found, or a new entry."""
        known = self.known.get(key)
        if known is not None:
            return known
        found = self._files[key]
        root = real_path(found.root)
        home = next((str(path) for path in PurePosixPath(key).parents if str(path) in self._homes), root)
        prefix = self._homes.get(home)
        file = key[len(_join(home, "")) :]
        source = source_name(found.path) if prefix is None else f"{prefix}{file}"
        token = token_of(path_key(home), file, self._taken)
        self._taken.add(token)
        return KnownFile(token, path_key(home), near_path(self._memory, home), file, source, "")

    def gone(self, *, most: bool) -> list[KnownFile]:
        """Return the known files below the given folders that were not found.

        Args:
            most: Whether most files of a folder may be missing.

        Raises:
            IngestError: Most files of a folder are missing, and ``most`` is False.
        """
        # Files in a folder that could not be listed may still exist.
        unlisted = [PurePosixPath(key) for key, found in self._files.items() if found.path.is_dir()]
        still_there = set(self._digests.values())
        gone: dict[str, KnownFile] = {}
        for given, root in self._roots:
            if not given.is_dir():
                continue
            below = {key: file for key, file in self.known.items() if key.startswith(_join(root, ""))}
            lost = {
                key: file
                for key, file in below.items()
                if key not in self._files
                and self._skipped.isdisjoint((key, *map(str, PurePosixPath(key).parents)))
                and not any(PurePosixPath(key).is_relative_to(path) for path in unlisted)
            }
            # A moved file is found under its new name.
            missed = [key for key, file in lost.items() if file.digest not in still_there]
            if not most and (len(missed) > max(_MANY, len(below) // 2) or 1 < len(missed) == len(below)):
                _stop(str(given), len(missed), len(below))
            if not most:
                _stop_at_empty_folders(given, root, missed)
            gone |= lost
        return list(gone.values())

    def _place(self, files: list[KnownFile]) -> None:
        """Locate the files of a sync."""
        groups: dict[tuple[str, str | None], list[KnownFile]] = {}
        for file in files:
            groups.setdefault((file.root, file.near), []).append(file)
        paths = {root for _, root in self._roots}
        for path in [*paths, *self._files]:
            while (path := posixpath.dirname(path)) not in paths:
                paths.add(path)
        by_hash = {path_key(path): path for path in paths}
        for (root, near), group in groups.items():
            place = by_hash.get(root) or self._from_near(root, near, group)
            if place is not None:
                for file in group:
                    self._know(place, file)

    def _from_near(self, root: str, near: str | None, group: list[KnownFile]) -> str | None:
        """Return the folder by its path relative to the memory, if it is the same or was moved with the memory."""
        if near is None or self._memory.path == ":memory:":
            return None
        seen = os.path.normpath(os.path.join(real_path(Path(self._memory.path).parent), near))
        path = source_name(seen)
        same = sum(self._digests.get(_join(path, file.file)) == file.digest for file in group)
        return path if path_key(path) == root or same * 2 >= len(group) else None

    def _know(self, path: str, file: KnownFile) -> None:
        near = near_path(self._memory, path)
        if file.root != path_key(path) or (near is not None and near != file.near):
            file.root, file.near = path_key(path), near
            self.unsaved.append(file)
        self.known.setdefault(_join(path, file.file), file)
        self._homes.setdefault(path, file.prefix)

    def _adopt(self, files: list[KnownFile]) -> None:
        """Take over files whose records an earlier version wrote, which identified them only by the form of their path.

        An absolute path is proof. For a relative one, at least one file below the folder must be unchanged: another
        folder may have the same name.
        """
        for given, root in self._roots:
            spelled = PurePosixPath(source_name(given))
            group: list[tuple[str, KnownFile]] = []
            for file in files:
                source = PurePosixPath(file.source)
                if not file.token and (source.is_relative_to(spelled) if given.is_dir() else source == spelled):
                    name = str(source.relative_to(spelled)) if given.is_dir() else spelled.name
                    group.append((name, file))
            proved = given.is_absolute() or any(
                self._digests.get(_join(root, name)) == file.digest for name, file in group
            )
            for name, file in group if proved else ():
                file.root, file.near, file.file = path_key(root), near_path(self._memory, root), name
                file.token = token_of(file.root, name, self._taken)
                self._taken.add(file.token)
                self.unsaved.append(file)
                self._know(root, file)


def _stop_at_empty_folders(given: Path, root: str, missed: Iterable[str]) -> None:
    """Raise an error if a folder that had many files exists but is empty: a disk may have been mounted in it."""
    below: dict[str, int] = {}
    base = root.rstrip("/")  # the root of a drive ends with a slash, unlike the folder of what is in it
    for key in missed:
        place = posixpath.dirname(key)
        while len(place.rstrip("/")) > len(base):
            below[place] = below.get(place, 0) + 1
            place = posixpath.dirname(place)
    for place, number in below.items():
        if number > _MANY and os.path.isdir(place) and not os.listdir(place):
            _stop(str(given / place[len(_join(root, "")) :]), number, number)


def _stop(folder: str, missed: int, known: int) -> NoReturn:
    raise IngestError(
        f"{folder}: {missed:,} of the {known:,} known files in it are missing or left out; is its disk "
        "mounted, and is it the right folder? Nothing was changed",
        hint=Hint(Action.DROP_MOST),
    )


def _join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"
