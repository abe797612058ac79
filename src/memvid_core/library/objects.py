"""Objects of a library: named bytes that are created once and never changed, in a folder."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from memvid_core.errors import (
    DamagedLibraryError,
    InvalidInputError,
    MemoryExistsError,
    MemoryNotFoundError,
    storage_errors,
)
from memvid_core.system.atomic_files import create_file

__all__ = ["LocalObjects", "Objects", "digest", "digest_of_file"]

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}(/[A-Za-z0-9_.-]{1,80})?")
_LARGEST: Final = 1 << 30  # bytes of an object that is read into RAM
_PIECE: Final = 1 << 20


class Objects(Protocol):
    """Named bytes that are created once and never changed. A name is ``"name"`` or ``"folder/name"``."""

    def read(self, name: str, limit: int = _LARGEST) -> bytes:
        """Return the bytes of an object.

        Raises:
            DamagedLibraryError: It does not exist, or is larger than ``limit``.
        """
        ...

    def create(self, name: str, data: bytes) -> None:
        """Create an object, durable and complete, or not at all.

        Raises:
            MemoryExistsError: The name is taken: another one has created it first.
        """
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects of a folder, sorted, without the folder.

        Raises:
            DamagedLibraryError: The folder does not exist.
        """
        ...

    def make_folder(self, name: str) -> None:
        """Create a folder, unless it exists."""
        ...

    def path(self, name: str) -> Path:
        """Return where a memory lies or is to be written."""
        ...

    def remove_memory(self, name: str) -> None:
        """Delete a memory that no manifest names, with its index."""
        ...


def digest(data: bytes) -> str:
    """Return the BLAKE2b-256 checksum of bytes, in hexadecimal digits.

    Source: RFC 7693.
    """
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the checksum of a file, in hexadecimal digits; see :func:`digest`."""
    found = hashlib.blake2b(digest_size=32)
    with storage_errors(), path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest()


class LocalObjects:
    """Objects in a folder of the local file system.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> LocalObjects:
        """Return the objects at a path.

        Raises:
            InvalidInputError: The path is a URL, or no path.
        """
        given: object = path
        if not isinstance(given, str | os.PathLike) or not os.fspath(given):
            raise InvalidInputError(f"a path is a str or a PathLike that names a folder, not {given!r}")
        name = os.path.expanduser(os.fsdecode(path))
        if "://" in name:
            raise InvalidInputError(f"{name} is a URL, and a library is a local folder: copy it to this machine first")
        if "\0" in name:
            raise InvalidInputError(f"{path!r} cannot be a path: it holds a null character")
        return cls(Path(os.path.realpath(name)))

    def path(self, name: str) -> Path:
        """Return the path of an object.

        Raises:
            DamagedLibraryError: The name leads out of the library.
        """
        if not _NAME.fullmatch(name) or ".." in name:
            raise DamagedLibraryError(repr(name), "is no name of an object")
        return self.root / name

    def read(self, name: str, limit: int = _LARGEST) -> bytes:
        """Return the bytes of an object."""
        path = self.path(name)
        with storage_errors():
            try:
                if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
                    raise DamagedLibraryError(name, f"is not a file in {self.root}")
                with path.open("rb") as file:
                    data = file.read(limit + 1)
            except (FileNotFoundError, NotADirectoryError) as exc:
                raise DamagedLibraryError(name, f"is missing in {self.root}") from exc
        if len(data) > limit:
            raise DamagedLibraryError(name, f"is larger than {limit} bytes, so it is not what was written")
        return data

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects of a folder."""
        with storage_errors():
            try:
                return sorted(name for name in os.listdir(self.path(folder)) if not name.startswith("."))
            except FileNotFoundError as exc:
                raise DamagedLibraryError(folder, f"is missing in {self.root}; restore it from a copy") from exc

    def make_folder(self, name: str) -> None:
        """Create a folder."""
        with storage_errors():
            self.path(name).mkdir(exist_ok=True)

    def create(self, name: str, data: bytes) -> None:
        """Create an object."""
        target = self.path(name)
        with storage_errors():
            target.parent.mkdir(exist_ok=True)
            try:
                create_file(target, data, lock=self.root / "library.json")
            except FileExistsError as exc:
                raise MemoryExistsError(f"{target} exists") from exc
            except FileNotFoundError as exc:
                raise MemoryNotFoundError(f"the folder {target.parent} does not exist") from exc

    def remove_memory(self, name: str) -> None:
        """Delete a memory and its index."""
        path = self.path(name)
        with suppress(OSError):
            path.unlink(missing_ok=True)
        shutil.rmtree(path.with_name(path.name + ".index"), ignore_errors=True)
