"""Objects of a library in a file system of fsspec: an object store such as S3, or the memory of this process."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary, finalize

from memvid_core.errors import (
    DamagedLibraryError,
    InvalidInputError,
    MemoryExistsError,
    MemoryNotFoundError,
    ReadOnlyError,
    StorageError,
    storage_errors,
)
from memvid_core.library.claims import UNKNOWN, renewed
from memvid_core.library.objects import LocalObjects, Objects, Stored, check_name
from memvid_core.system.atomic_files import write_file, writing_file
from memvid_core.system.remote_cache import STATE, Entry, cache_folder
from memvid_core.system.remote_failures import asked
from memvid_core.system.remote_objects import remote_object
from memvid_core.system.remote_urls import shown_url

__all__ = ["RemoteObjects", "objects_at"]

_CREATING: Final = frozenset({"s3", "s3a", "gs", "gcs", "memory"})
"""The file systems whose ``pipe_file(mode="create")`` fails if the name is taken."""
_MARK: Final = ".folder"  # an object that shows that a folder was made
_PIECE: Final = 1 << 20


def objects_at(path: str | os.PathLike[str], options: Mapping[str, Any] | None = None) -> Objects:
    """Return the objects at a path, or at a URL such as ``s3://bucket/library``.

    Args:
        path: The folder or its URL.
        options: Options of the file system that fsspec makes for the URL.

    Raises:
        InvalidInputError: The path is empty, or has options and is not a URL.
        MissingExtraError: The package for the URL is not installed.
    """
    given: object = path
    if isinstance(given, str) and "://" in given and not given.startswith("file://"):
        key = given.rstrip("/"), repr(sorted((options or {}).items()))
        found = _open.get(key)
        if found is None:
            found = _open[key] = RemoteObjects(given, options)
        return found
    if options:
        raise InvalidInputError(f"{path!r} is a local folder, which takes no storage_options")
    return LocalObjects.of(path)


_open: WeakValueDictionary[tuple[str, str], RemoteObjects] = WeakValueDictionary()
"""The libraries behind URLs that are open in this process, by URL and options: each has one folder in the cache."""


class RemoteObjects:
    """Objects behind a URL. Memories are copied to a local cache, where they are opened.

    A memory that is built is written in the cache, and copied to the store when it is sealed.

    Args:
        url: The URL of the folder.
        options: Options of the file system.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.url = url.rstrip("/")
        self.name = shown_url(self.url)
        self.options = dict(options or {})
        if {"?", "#"} & set(self.url):
            raise InvalidInputError(f"{self.name}: the URL of a library has no query and no fragment")
        if "//" in self.url.partition("://")[2] and "::" not in self.url:  # file systems disagree on what it names
            raise InvalidInputError(f"{self.name}: the URL of a library has no empty folder (//)")
        try:  # checks the URL and the options, and names what is not installed
            _, kind = remote_object(self.url, options, None)
            self._fs, self._root = _file_system(self.url, self.options)
        except ValueError as exc:
            if isinstance(exc, InvalidInputError):
                raise
            raise InvalidInputError(f"{self.name}: fsspec knows no file system of this kind") from exc
        put = getattr(self._fs, "_pipe_file", self._fs.pipe_file)  # older versions have no mode, and would overwrite
        self._creates = not _CREATING.isdisjoint(kind.split(",")) and "mode" in inspect.signature(put).parameters
        made = repr((self.url, sorted((key, str(value)) for key, value in self.options.items() if "secret" not in key)))
        key = None if "memory" in kind.split(",") else blake2b(made.encode(), digest_size=16).hexdigest()
        self._entry = Entry(key, cache_folder())
        finalize(self, self._entry.close)
        self._listed: dict[str, dict[str, Any]] = {}  # the objects whose names were listed last
        self._cache = LocalObjects(self._entry.folder)
        with suppress(OSError):  # for the list of what is in the cache
            write_file(self._entry.folder / STATE, json.dumps({"url": self.name}).encode(), durable=False)

    def _at(self, name: str) -> str:
        check_name(name)
        return f"{self._root}/{name}"

    def _shown(self, name: str) -> str:
        return f"{self.name}/{name}"

    # --- reading ---

    def read(self, name: str, limit: int = 1 << 30) -> bytes:
        """Return the bytes of an object."""
        try:
            wanted = partial(self._fs.cat_file, self._at(name), start=0, end=limit + 1)  # one request
            data: bytes = asked(self._shown(name), wanted)
        except MemoryNotFoundError as exc:
            raise DamagedLibraryError(name, f"is missing in {self.name}") from exc
        if len(data) > limit:
            raise DamagedLibraryError(name, f"is larger than {limit} bytes, so it is not what was written")
        return data

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects of a folder."""
        found = self._listed = {each["name"]: each for each in self._entries(folder)}
        if not found:
            raise DamagedLibraryError(folder, f"is missing in {self.name}; restore it from a copy")
        return sorted(name for name in found if not name.startswith("."))

    def stamp(self, name: str) -> object:
        """Return what differs if another object has the name now, as the last listing of names tells."""
        there = self._listed.get(name.rpartition("/")[2])
        return there and (there.get("size"), _time_of(there), there.get("ETag"))

    def listing(self, folder: str) -> dict[str, Stored]:
        """Return everything in a folder."""
        return {each["name"]: Stored(int(each.get("size") or 0), _time_of(each)) for each in self._entries(folder)}

    def _entries(self, folder: str) -> list[dict[str, Any]]:
        """Return what the file system says of the objects of a folder, with their names in it."""
        path = self._at(folder) if folder else self._root
        try:
            found = asked(self._shown(folder), partial(self._fs.ls, path, detail=True), "list")
        except MemoryNotFoundError:
            return []
        return [
            {**each, "name": each["name"].rstrip("/").rpartition("/")[2]}
            for each in found
            if each.get("type") == "file"
        ]

    def checksum(self, name: str) -> str:
        """Return the checksum of an object, all of which is read."""
        found = blake2b(digest_size=32)
        with self._pieces(name) as pieces:
            for piece in pieces:
                found.update(piece)
        return found.hexdigest()

    @contextmanager
    def _pieces(self, name: str) -> Iterator[Iterator[bytes]]:
        remote, _ = remote_object(f"{self.url}/{check_name(name)}", None, self._fs)
        try:
            with remote.read(0, None) as answer:
                yield iter(()) if answer is None else answer.body
        except MemoryNotFoundError as exc:
            raise MemoryNotFoundError(f"{name} is missing") from exc

    # --- memories ---

    def path(self, name: str) -> Path:
        """Return where a memory lies in the cache."""
        return self._cache.path(name)

    def prepare_memory(self, name: str) -> None:
        """Make the folder of a memory in the cache."""
        with storage_errors():
            self._entry.restore()
        self._cache.prepare_memory(name)

    def fetched(self, name: str, size: int, checksum: str) -> Path:
        """Return the local copy of a memory, which is fetched unless it is there."""
        path = self.path(name)
        with storage_errors():
            if path.exists() and path.stat().st_size == size:
                return path
            self._entry.restore()
            path.parent.mkdir(exist_ok=True)
            self._entry.grew = True
            found, read = blake2b(digest_size=32), 0
            with writing_file(path) as file, self._pieces(name) as pieces:
                for piece in pieces:
                    read += len(piece)
                    if read > size:
                        break
                    found.update(piece)
                    file.write(piece)
                if read != size:
                    raise DamagedLibraryError(name, f"has {read} bytes or more instead of {size}")
                if found.hexdigest() != checksum:
                    raise DamagedLibraryError(name, "is damaged: its checksum does not match")
        return path

    def publish(self, name: str) -> None:
        """Copy a memory from the cache to the store."""
        self._check_creates()
        self._entry.grew = True
        target = self._at(name)
        asked(self._shown(name), partial(self._fs.put_file, str(self.path(name)), target), "write")

    def remove_memory(self, name: str) -> None:
        """Delete a memory from the cache and from the store."""
        self._cache.remove_memory(name)
        self.remove(name)

    def copies(self) -> dict[str, Stored]:
        """Return what the cache has."""
        return self._cache.listing("shards")

    def remove_copy(self, name: str) -> None:
        """Delete a memory from the cache."""
        self._cache.remove_memory(name)

    # --- writing ---

    def _check_creates(self) -> None:
        if not self._creates:
            raise ReadOnlyError(f"{self.name} is read-only: its file system cannot create an object only if it is new")

    def prepare(self) -> None:
        """Check that a library can be made."""
        self._check_creates()

    def create(self, name: str, data: bytes) -> None:
        """Create an object, or fail if its name is taken."""
        self._check_creates()
        taken = False

        def put() -> None:
            nonlocal taken
            try:
                self._fs.pipe_file(self._at(name), data, mode="create")
            except Exception as exc:
                if not _is_taken(exc):
                    raise
                taken = True

        asked(self._shown(name), put, "write")
        if taken:
            raise MemoryExistsError(f"{self._shown(name)} exists")

    def check_exclusive(self, name: str, data: bytes) -> None:
        """Check that the store refuses to create an object that exists.

        Raises:
            StorageError: It does not, so that two writers could overwrite each other's versions.
        """
        try:
            self.create(name, data)
        except MemoryExistsError:
            return
        raise StorageError(
            f"{self.name} ignores If-None-Match, so writers could overwrite each other; use another store"
        )

    def exists(self, name: str) -> bool:
        """Return whether an object exists."""
        try:
            asked(self._shown(name), partial(self._fs.info, self._at(name)))
        except MemoryNotFoundError:
            return False
        return True

    def replace(self, name: str, data: bytes) -> None:
        """Write an object in the place of another one."""
        self._check_creates()
        asked(self._shown(name), partial(self._fs.pipe_file, self._at(name), data), "write")

    def remove(self, name: str) -> bool:
        """Delete an object."""
        with suppress(MemoryNotFoundError, StorageError):
            asked(self._shown(name), partial(self._fs.rm_file, self._at(name)), "delete")
        return not self.exists(name)

    @contextmanager
    def claim(self, name: str) -> Iterator[None]:
        """Write a small object, and write it again and again."""
        self.replace(name, b"")
        try:
            with renewed(partial(self.replace, name, b"")):
                yield
        finally:
            with suppress(MemoryNotFoundError, StorageError):
                asked(self._shown(name), partial(self._fs.rm_file, self._at(name)), "delete")

    def is_claimed(self, name: str, modified: int, since: int) -> bool:
        """Return whether the object was written since a time."""
        return modified >= since

    def make_folder(self, name: str) -> None:
        """Write an object that shows that a folder was made, since a store has no folders."""
        with suppress(MemoryExistsError):
            self.create(f"{name}/{_MARK}", b"")


def _file_system(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    import fsspec

    fs, root = fsspec.core.url_to_fs(url, **options, use_listings_cache=False)
    return fs, str(root).rstrip("/")


def _is_taken(exc: BaseException) -> bool:
    """Return whether an exception says that the name is taken."""
    chain: list[BaseException | None] = [exc, exc.__cause__, exc.__context__]
    for found in chain:
        response = getattr(found, "response", None)
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
        if isinstance(found, FileExistsError) or 412 in (status, getattr(found, "code", None)) or status == 409:
            return True
        if isinstance(found, OSError) and ("PreconditionFailed" in str(found) or "pre-conditions" in str(found)):
            return True
    return False


def _time_of(info: Mapping[str, Any]) -> int:
    """Return when an object was written, in microseconds since 1970; the future if the store does not say."""
    for name in ("LastModified", "last_modified", "updated", "mtime", "modified", "created"):
        found = info.get(name)
        if isinstance(found, str):
            with suppress(ValueError):
                found = datetime.fromisoformat(found.replace("Z", "+00:00"))
        if isinstance(found, datetime):
            zoned = found if found.tzinfo else found.replace(tzinfo=UTC)
            return int(zoned.timestamp() * 1_000_000)
        if isinstance(found, int | float):
            return int(found * 1_000_000)
    return UNKNOWN
