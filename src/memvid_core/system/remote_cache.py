"""The cache of remote memories: a private folder of the user, with one entry for each object."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from memvid_core.errors import InvalidInputError, MemvidError, ReadOnlyError, StorageError
from memvid_core.system.file_lock import still_named, system_lock, unshared
from memvid_core.system.folders import bytes_in

__all__ = ["CachedCopy", "Entry", "cache_folder", "cache_limit", "cached_copies", "clear_cache", "shrink_cache"]

_PAUSE: Final = 0.02  # seconds between two tries of a lock
_LOCK: Final = "lock"
_USED: Final = "used"
STATE: Final = "state.json"
_KEY: Final = re.compile("[0-9a-f]{32}")  # the name of an entry
_SHRINKING: Final = "shrinking.lock"
_LIMIT: Final = 10 * 10**9
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", re.IGNORECASE | re.ASCII)
_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def cache_folder() -> Path:
    """Return the folder of the cache: ``MEMVID_CACHE_DIR``, or ``memvid`` in the system's folder for caches.

    Raises:
        StorageError: The system knows no home folder.
    """
    given = os.environ.get("MEMVID_CACHE_DIR")
    if given:
        return Path(given).expanduser().absolute()
    try:
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA")
            return (Path(base) if base else Path.home() / "AppData" / "Local") / "memvid" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "memvid"
        base = os.environ.get("XDG_CACHE_HOME")
        return (Path(base) if base and os.path.isabs(base) else Path.home() / ".cache") / "memvid"
    except RuntimeError as exc:
        raise StorageError(f"there is no home folder for the cache ({exc}); set MEMVID_CACHE_DIR to a folder") from exc


def cache_limit() -> int | None:
    """Return the bytes that the cache may have: ``MEMVID_CACHE_LIMIT``, 10 GB by default; None if it has no limit.

    Raises:
        InvalidInputError: ``MEMVID_CACHE_LIMIT`` is neither a size nor ``none``.
    """
    given = os.environ.get("MEMVID_CACHE_LIMIT", "").strip()
    if not given:
        return _LIMIT
    if given.lower() == "none":
        return None
    size = _SIZE.fullmatch(given)
    if size is None:
        raise InvalidInputError(f"MEMVID_CACHE_LIMIT is {given!r}: set it to a size such as 20GB, or to none")
    return int(float(size[1]) * _UNITS[size[2].lower()])


class Entry:
    """The folder of one object in the cache, or a temporary one if the cache cannot be written.

    While it is open, other processes do not delete it.

    Args:
        key: The name of the object in the cache; None for a temporary folder.
        root: The cache.
    """

    def __init__(self, key: str | None, root: Path) -> None:
        cache_limit()  # raises before anything is fetched
        self.temporary = key is None
        """Whether the folder is deleted when it is closed."""
        self.grew = False
        """Whether something was added to it."""
        if key is not None:
            try:
                self.folder = root / "remote" / key
                self._used = self._opened()
            except OSError:
                self.temporary = True
        if self.temporary:
            self.folder = Path(tempfile.mkdtemp(prefix="memvid-"))
            self._used = self._opened()
        self._process = os.getpid()
        self._lock: io.FileIO | None = None

    def _opened(self) -> io.FileIO:
        """Create the folder, for this user alone, and mark it as used."""
        while True:
            _make_private(self.folder)
            file = unshared(_open(self.folder / _USED))
            try:
                number = file.fileno()
                if system_lock().try_lock(number, shared=True) and still_named(self.folder / _USED, number):
                    self._touch()
                    return file
            except BaseException:
                file.close()
                raise
            file.close()  # another process is deleting the entry
            time.sleep(_PAUSE)

    def restore(self) -> None:
        """Make the folder again, if another program has deleted it while it was open."""
        if not (self.folder / _USED).exists():
            self._used.close()
            self._used = self._opened()

    def _touch(self) -> None:
        """Record that it is used now."""
        with suppress(OSError):
            os.utime(self.folder / _USED)

    def try_lock(self) -> bool:
        """Take the right to change the copy, if no other process or thread has it; return whether it was taken."""
        file = unshared(_open(self.folder / _LOCK))
        try:
            taken = system_lock().try_lock(file.fileno())
        except BaseException:
            file.close()
            raise
        if taken:
            self._lock = file
        else:
            file.close()
        return taken

    def lock(self) -> None:
        """Wait for the right to change the copy, as long as another process changes it."""
        while not self.try_lock():
            time.sleep(_PAUSE)

    def unlock(self) -> None:
        """Give that right back."""
        if self._lock is not None:
            self._lock.close()

    def close(self, *, keep: bool = True) -> None:
        """Allow others to delete the entry. Closing twice is allowed.

        Args:
            keep: Whether it holds anything of use; otherwise it is deleted, unless others have it open.
        """
        if self._used.closed:
            return
        if self._process == os.getpid():
            self._touch()
        self._used.close()
        if self._process != os.getpid():
            return
        if self.temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif not keep:
            _delete(self.folder, really=True)
        elif self.grew:
            self.shrink_others()

    def shrink_others(self) -> None:
        """Delete other entries if the cache is too large; without a word if that fails."""
        if not self.temporary:
            with suppress(OSError, MemvidError):
                shrink_cache(keep=self.folder)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)


def _make_private(folder: Path) -> None:
    """Create a folder and those above it, readable by this user alone.

    Raises:
        OSError: It cannot be created, or belongs to another user.
    """
    missing = [folder]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for path in reversed(missing):
        with suppress(FileExistsError):
            path.mkdir(0o700)
    if os.name == "posix":
        there = os.lstat(folder)
        if there.st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to another user")
        if there.st_mode & 0o077:
            os.chmod(folder, 0o700)


@dataclass(frozen=True)
class CachedCopy:
    """Describe one copy in the cache.

    Attributes:
        url: The object, without query and credentials; ``""`` if it was not fetched completely.
        folder: The folder of the copy and its index.
        bytes: The size of both.
        used: When it was last opened, closed or changed.
        in_use: Whether a process has it open.
    """

    url: str
    folder: Path
    bytes: int
    used: datetime
    in_use: bool


def cached_copies() -> list[CachedCopy]:
    """Return the copies in the cache, the most recently used first."""
    found = []
    for folder in _folders():
        with suppress(OSError):
            size = bytes_in(folder)
            used, url = folder.stat().st_mtime, ""
            with suppress(OSError):
                used = (folder / _USED).stat().st_mtime
            with suppress(OSError, ValueError, RecursionError):
                state = json.loads((folder / STATE).read_text("utf-8"))
                url = state["url"] if isinstance(state, dict) and isinstance(state.get("url"), str) else ""
                used = max(used, (folder / STATE).stat().st_mtime)
            moment = datetime.fromtimestamp(used, UTC)
            found.append(CachedCopy(url, folder, size, moment, in_use=not _delete(folder, really=False)))
    return sorted(found, key=lambda copy: copy.used, reverse=True)


def clear_cache(url: str | None = None) -> list[CachedCopy]:
    """Delete the copies that no process has open; return those that were deleted.

    Args:
        url: Only the copies of this object, as :func:`cached_copies` shows it; None deletes all.
    """
    chosen = [copy for copy in cached_copies() if url is None or copy.url == url]
    return [copy for copy in chosen if _delete(copy.folder, really=True)]


def shrink_cache(limit: int | None = None, *, keep: Path | None = None) -> list[CachedCopy]:
    """Delete the copies that were not used for longest until the cache is within its limit; return those deleted.

    Copies that a process has open stay. Does nothing while another process does the same.

    Args:
        limit: The bytes that may stay; None is :func:`cache_limit`.
        keep: The folder of a copy that stays.
    """
    limit = cache_limit() if limit is None else limit
    if limit is None or not _folders():
        return []
    descriptor = _open(cache_folder() / _SHRINKING)
    try:
        if not system_lock().try_lock(descriptor):
            return []
        copies = cached_copies()
        total, deleted = sum(copy.bytes for copy in copies), []
        for copy in reversed(copies):
            if total <= limit:
                break
            if copy.folder != keep and _delete(copy.folder, really=True):
                total -= copy.bytes
                deleted.append(copy)
        return deleted
    finally:
        os.close(descriptor)


def _folders() -> list[Path]:
    """Return the entries; a folder of another name is not the cache's, and neither listed nor deleted.

    Raises:
        ReadOnlyError: The cache belongs to another user.
    """
    root = cache_folder() / "remote"
    try:
        found = list(root.iterdir()) if root.is_dir() else []
        return sorted(path for path in found if _KEY.fullmatch(path.name) and path.is_dir() and not path.is_symlink())
    except PermissionError as exc:
        raise ReadOnlyError(
            f"{root}: no permission to read this cache, which is another user's; set MEMVID_CACHE_DIR to a folder "
            "of your own"
        ) from exc


def _delete(folder: Path, *, really: bool) -> bool:
    """Delete an entry, unless it is in use; return whether it was, or could be."""
    try:
        descriptor = _open(folder / _USED)
    except OSError:
        return False
    try:
        if not system_lock().try_lock(descriptor) or not still_named(folder / _USED, descriptor):
            return False
        if really:
            for path in folder.iterdir():
                if path.name != _USED:
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            if os.name == "posix":  # Windows cannot delete the file that is locked
                shutil.rmtree(folder, ignore_errors=True)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
