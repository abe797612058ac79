"""Objects of a library: named bytes that are created once and never changed, in a folder."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from memvid_core.errors import (
    Action,
    DamagedLibraryError,
    Hint,
    InvalidInputError,
    MemoryExistsError,
    MemoryNotFoundError,
    ReadOnlyError,
    storage_errors,
)
from memvid_core.library.claims import CLAIMS, claim_file, is_held, remove_claim, renewed
from memvid_core.system.atomic_files import create_file, remove_left, write_file
from memvid_core.system.folders import paths_in, size_and_time
from memvid_core.system.permissions import OWNER_WRITES, pass_mode_on

__all__ = ["DESCRIPTION", "MANIFESTS", "LocalObjects", "Objects", "Stored", "check_name", "digest", "digest_of_file"]

DESCRIPTION: Final = "library.json"
"""What never changes in a library; the other files get its permissions."""
MANIFESTS: Final = "manifest"
"""The folder of the manifests, which a library has from the beginning."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,120}(/[A-Za-z0-9_.-]{1,120})?")
_LARGEST: Final = 1 << 30  # bytes of an object that is read into RAM
_PIECE: Final = 1 << 20
_FORBIDDEN: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_WRITING: Final = re.compile(r"\.(.+)\.[0-9a-f]{12}\.writing(\..+)?")  # an object that is being created


class Stored(NamedTuple):
    """What a listing says of an object: its size, and when it was written, in microseconds since 1970."""

    bytes: int
    modified: int


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

    def listing(self, folder: str) -> dict[str, Stored]:
        """Return everything in a folder by name, also what is being written; the index of a memory is one object.

        The folder ``""`` is the library itself, without its folders. A folder that does not exist is empty.
        """
        ...

    def exists(self, name: str) -> bool:
        """Return whether an object exists."""
        ...

    def stamp(self, name: str) -> object:
        """Return what differs if another object has the name now, as the last listing tells; None if there is none."""
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Write an object in the place of another one, completely or not at all."""
        ...

    def remove(self, name: str) -> bool:
        """Delete an object; return whether it is gone."""
        ...

    def make_folder(self, name: str) -> None:
        """Create a folder, unless it exists."""
        ...

    @property
    def name(self) -> str:
        """The path or the URL of the library, for messages and for who opens it again."""
        ...

    @property
    def options(self) -> dict[str, Any]:
        """The options of the file system."""
        ...

    def prepare(self) -> None:
        """Check that a library can be made here, and make its folder.

        Raises:
            MemoryNotFoundError: The folder of the folder does not exist.
            ReadOnlyError: Nothing can be created safely.
        """
        ...

    def check_exclusive(self, name: str, data: bytes) -> None:
        """Check that an object that exists cannot be created."""
        ...

    def path(self, name: str) -> Path:
        """Return where a memory is to be written on this machine."""
        ...

    def prepare_memory(self, name: str) -> None:
        """Make the folder in which a memory is to be written on this machine."""
        ...

    def publish(self, name: str) -> None:
        """Put a memory that is written where all can read it."""
        ...

    def fetched(self, name: str, size: int, checksum: str) -> Path:
        """Return where a memory can be opened.

        Raises:
            MemoryNotFoundError: It does not exist.
            DamagedLibraryError: It has another size, or was read and has another checksum.
        """
        ...

    def checksum(self, name: str) -> str:
        """Return the checksum of an object, all of which is read.

        Raises:
            MemoryNotFoundError: It does not exist.
        """
        ...

    def remove_memory(self, name: str) -> None:
        """Delete a memory that no manifest names, with its index."""
        ...

    def copies(self) -> dict[str, Stored]:
        """Return the copies of memories on this machine, as :meth:`listing` does for ``"shards"``."""
        ...

    def remove_copy(self, name: str) -> None:
        """Delete the copy of a memory on this machine, with its index."""
        ...

    def claim(self, name: str) -> AbstractContextManager[None]:
        """Show with an object, during the block, that a writer is at work."""
        ...

    def is_claimed(self, name: str, modified: int, since: int) -> bool:
        """Return whether a writer is at work.

        Args:
            name: The name of its claim.
            modified: When the claim was written or renewed, in microseconds since 1970.
            since: The earliest such time at which a writer counts, where the file system has no locks.
        """
        ...


def check_name(name: str) -> str:
    """Check that a name does not lead out of the library, and return it.

    Raises:
        DamagedLibraryError: It does.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise DamagedLibraryError(repr(name), "is not the name of an object")
    return name


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
        self.name = str(root)
        self.options: dict[str, Any] = {}

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
            raise InvalidInputError(f"{name} is a URL: give it as a str, and a local folder without file://")
        if "\0" in name:
            raise InvalidInputError(f"{path!r} cannot be a path: it holds a null character")
        return cls(Path(os.path.realpath(name)))

    def path(self, name: str) -> Path:
        """Return the path of an object.

        Raises:
            DamagedLibraryError: The name leads out of the library.
        """
        return self.root / check_name(name)

    def prepare_memory(self, name: str) -> None:
        """Make the folder of a memory."""
        with self._writing():
            self._make(self.path(name).parent)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say of a write that the system does not permit what can be done.

        Raises:
            ReadOnlyError: The system does not permit it.
            StorageError: The system refuses it for another reason.
        """
        with storage_errors():
            try:
                yield
            except OSError as exc:
                if os.name == "nt" or exc.errno not in _FORBIDDEN:  # Windows forbids what others have open
                    raise
                raise ReadOnlyError(
                    f"{self.root}: no permission to write {exc.filename or 'it'}", hint=Hint(Action.OPEN_FOR_READING)
                ) from exc

    def _make(self, folder: Path) -> None:
        """Create a folder of the library, unless it exists, for all who may write the library."""
        try:
            folder.mkdir()
        except FileExistsError:
            return
        self._share(folder)

    def _share(self, *paths: Path) -> None:
        """Give new files and folders the permissions of the library: its other writers need them, too."""
        if os.name != "nt":
            for path in paths:
                pass_mode_on(self._like, path, least=OWNER_WRITES)

    @property
    def _like(self) -> Path:
        return self.root / DESCRIPTION

    def prepare(self) -> None:
        """Make the folder of the library."""
        with self._writing():
            if not self.root.parent.is_dir():
                raise MemoryNotFoundError(f"the folder {self.root.parent} does not exist; create it first")
            self.root.mkdir(exist_ok=True)

    def check_exclusive(self, name: str, data: bytes) -> None:
        """Check nothing: a folder is exclusive."""

    def publish(self, name: str) -> None:
        """Give a memory and its index, which are where they belong, the permissions of the library."""
        path = self.path(name)
        index = path.with_name(f"{path.name}.index")
        self._share(path, index, *paths_in(index))

    def fetched(self, name: str, size: int, checksum: str) -> Path:
        """Return the path of a memory after comparing its size."""
        path = self.path(name)
        try:
            found = path.stat().st_size
        except FileNotFoundError as exc:
            hint = "if vacuum() deleted it, refresh() opens the newest version"
            raise MemoryNotFoundError(f"{name} is missing; {hint}") from exc
        if found != size:
            raise DamagedLibraryError(name, f"has {found} bytes instead of {size}")
        return path

    def checksum(self, name: str) -> str:
        """Return the checksum of a file."""
        path = self.path(name)
        if not path.is_file():
            raise MemoryNotFoundError(f"{name} is missing")
        return digest_of_file(path)

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
            except PermissionError as exc:
                raise ReadOnlyError(f"{path}: no permission to read it") from exc
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

    def listing(self, folder: str) -> dict[str, Stored]:
        """Return everything in a folder."""
        found: dict[str, Stored] = {}
        with storage_errors():
            try:
                with os.scandir(self.path(folder) if folder else self.root) as entries:
                    for entry in entries:
                        with suppress(FileNotFoundError):  # deleted meanwhile
                            if not entry.is_dir(follow_symlinks=False):
                                state = entry.stat(follow_symlinks=False)
                                found[entry.name] = Stored(state.st_size, state.st_mtime_ns // 1000)
                            elif folder:
                                found[entry.name] = Stored(*size_and_time(Path(entry.path)))
            except FileNotFoundError:
                return {}
        return found

    def exists(self, name: str) -> bool:
        """Return whether a file exists."""
        return self.path(name).exists()

    def stamp(self, name: str) -> object:
        """Return what differs if another file has the name now."""
        with storage_errors(), suppress(FileNotFoundError):
            there = self.path(name).stat()
            return there.st_ino, there.st_size, there.st_mtime_ns
        return None

    def replace(self, name: str, data: bytes) -> None:
        """Write a file in the place of another one."""
        with self._writing():
            write_file(self.path(name), data, like=self._like)

    def remove(self, name: str) -> bool:
        """Delete a file, or the folder of an index."""
        path = self.path(name)
        if made := _WRITING.fullmatch(path.name):
            remove_left(path.with_name(made[1]))  # unless a process is writing it
        elif name.startswith(f"{CLAIMS}/"):
            remove_claim(path)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):  # Windows does not delete a file that is being read
                path.unlink(missing_ok=True)
        return not os.path.lexists(path)

    def make_folder(self, name: str) -> None:
        """Create a folder."""
        with self._writing():
            self._make(self.path(name))

    def create(self, name: str, data: bytes) -> None:
        """Create an object."""
        target = self.path(name)
        with self._writing():
            if not name.startswith(f"{MANIFESTS}/"):  # this folder goes first when a library is removed
                self._make(target.parent)
            try:
                create_file(target, data, like=self._like, lock=self._like)
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

    def copies(self) -> dict[str, Stored]:
        """Return nothing: the memories are opened where they are."""
        return {}

    def remove_copy(self, name: str) -> None:
        """Do nothing: there are no copies."""

    @contextmanager
    def claim(self, name: str) -> Iterator[None]:
        """Hold a lock on a file, and renew the time of the file, which counts where the file system has no locks."""
        path = self.path(name)
        with self._writing():
            self._make(path.parent)
            file = claim_file(path)
            self._share(path)
        try:
            with renewed(partial(os.utime, path)):
                yield
        finally:
            file.close()
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def is_claimed(self, name: str, modified: int, since: int) -> bool:
        """Return whether a process holds the lock on the file."""
        return is_held(self.path(name), modified, since)
