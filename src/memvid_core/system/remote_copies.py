"""RemoteCopy: a local copy of a remote memory, which follows the object and never mixes two versions of it.

The copy is an ordinary memory file, so that everything else reads it as such. Whether the object still continues it is
decided by the last COMMIT frame of the copy, whose checksum covers all commits before it: if the object has the same
bytes there, what follows is appended; otherwise the object was compacted or replaced, and a new copy takes the place of
the old one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from memvid_core.errors import (
    InvalidInputError,
    MemoryFileError,
    NotAMemoryError,
    StorageError,
    storage_errors,
)
from memvid_core.system.atomic_files import held, write_file
from memvid_core.system.folders import named, sync_folder
from memvid_core.system.progress import Advance, progress
from memvid_core.system.remote_cache import STATE, Entry, cache_folder
from memvid_core.system.remote_objects import Answer, ObjectChangedError, remote_object
from memvid_core.system.remote_streams import Stream
from memvid_core.system.remote_urls import check_url, file_name, key_of, shown_url

__all__ = ["LOOK_SECONDS", "RemoteCopy"]

LOOK_SECONDS: Final = 2.0
"""Seconds between two looks of an open memory at its object."""

_ROUNDS: Final = 6  # of fetching an object that changes meanwhile
_WAIT: Final = 30.0  # seconds for the lock on the copy
_SLOW: Final = 10  # a look that took t seconds is followed by a pause of at least ten times t
_SLOWEST: Final = 6.0
_CHUNK: Final = 1 << 20
_IN_RAM: Final = 8 << 20  # bytes of new commits that are held in RAM until they are complete
_SMALL: Final = 1 << 20  # bytes that come in one piece, so that they need no second look
_SHOWN: Final = 32 << 20  # bytes of a download from which on a progress bar is shown
_FETCHING: Final = ".fetching"
_LARGEST: Final = 1 << 62


Measure = Callable[[Path, tuple[int, ...] | None], tuple[int, ...]]
"""Finds the last commit of a file, from a known one on: byte offset, frame, fragment of its end, its COMMIT frame."""


class _Copied(NamedTuple):
    """What is known of the copy: its size and inode, and its last commit, as ``Measure`` returns it."""

    size: int
    inode: int
    last: tuple[int, ...]

    @property
    def end(self) -> int:
        """The byte offset after the last commit."""
        return self.last[0]

    @property
    def proof(self) -> int:
        """The byte offset of its COMMIT frame."""
        return self.last[3]


class _Result(Enum):
    """The result of one look at an object: the copy is level with it, may not be, or the object is another one."""

    LEVEL = auto()
    CHANGED = auto()
    OTHER = auto()


class RemoteCopy:
    """Keep a copy of one object.

    Args:
        url: The URL of a memory; with ``fs``, a path in that file system.
        storage_options: Options of the file system that fsspec makes for the URL, such as credentials.
        fs: The file system to read from, instead.
        last_commit: Finds the last commit of a file.
        show_progress: Whether to show a progress bar during a long download; None shows it on a terminal.

    Raises:
        InvalidInputError: The URL has another scheme, or the options do not fit it.
        MissingExtraError: A package is not installed.
    """

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None,
        fs: object,
        last_commit: Measure,
        *,
        show_progress: bool | None = None,
    ) -> None:
        if fs is None:
            check_url(url)
        elif storage_options:
            raise InvalidInputError("fs has its own options: pass either fs or storage_options")
        self.url = shown_url(url)
        """The object, for messages."""
        self._object, kind = remote_object(url, storage_options, fs)
        options = storage_options or getattr(fs, "storage_options", None) or {}
        key = key_of(url, kind, getattr(fs, "storage_args", ()), options)
        self._entry = Entry(key, cache_folder())
        self.path = self._entry.folder / file_name(url)
        """The copy."""
        self._last_commit = last_commit
        self._show_progress = show_progress
        self._thread = threading.Lock()
        self._copied: _Copied | None = None
        self._known: tuple[str, int, int] | None = None  # what the server says of the copy of this size and inode
        self._due = 0.0

    def update(self) -> None:
        """Bring the copy level with the object.

        Raises:
            MemoryNotFoundError: The object does not exist.
            NotAMemoryError: It is not a memory.
            StorageError: The object cannot be read.
        """
        with self._thread, storage_errors():
            self._entry.lock()
            try:
                self._follow()
            finally:
                self._entry.unlock()
            if self._entry.grew:
                self._entry.shrink_others()

    def look(self, *, at_once: bool = False) -> None:
        """Bring the copy level with the object, unless the last look was just now, or others are doing so.

        Args:
            at_once: Look even if the last look was just now.
        """
        if (time.monotonic() < self._due and not at_once) or not self._thread.acquire(blocking=False):
            return
        try:
            with storage_errors():
                if self._entry.try_lock():
                    try:
                        self._follow()
                    finally:
                        self._entry.unlock()
        finally:
            self._thread.release()

    def fetch_again(self) -> bool:
        """Fetch the object again because the copy is damaged; return False if it is known to be damaged itself."""
        with self._thread, storage_errors():
            self._entry.lock()
            try:
                here = self._here()
                if here is None or self._state().get("damaged") == [here.size, here.proof]:
                    return False
                before = _digest(self.path)
                self._follow(refetch=True)
                here = self._here()
                if here is not None and _digest(self.path) == before:
                    self._write_state(here, damaged=True)
                return True
            finally:
                self._entry.unlock()

    def close(self) -> None:
        """Allow others to delete the copy. Closing twice is allowed."""
        self._entry.close(keep=self.path.exists())

    # --- following ---

    def _follow(self, *, refetch: bool = False) -> None:
        """Bring the copy level with the object; what came in several pieces is looked at again."""
        began = time.monotonic()
        with suppress(OSError):
            for left in named(self._entry.folder, end=_FETCHING):
                left.unlink()
        for _ in range(_ROUNDS):
            try:
                result = self._round(None if refetch else self._here())
            except ObjectChangedError:
                continue
            refetch = result is _Result.OTHER
            if result is _Result.LEVEL:
                took = min(time.monotonic() - began, _SLOWEST)
                self._due = time.monotonic() + max(LOOK_SECONDS, _SLOW * took)
                return
        raise StorageError(f"{self.url} changes faster than it can be read; try again")

    def _round(self, here: _Copied | None) -> _Result:
        """Look once at the object, and take over what is new."""
        start = 0 if here is None else here.proof
        with self._object.read(start, self._proof(here)) as answer:
            if answer is None:
                return _Result.LEVEL
            if answer.total < start:
                return _Result.OTHER
            stream = Stream(answer.body)
            if here is None:
                here = self._take_whole(answer, stream, 0)
                result = _result(answer, answer.total)
            else:
                same = self._compared(stream, answer.start, min(here.end, answer.total))
                if same == here.end:
                    here, result = self._take_rest(here, answer, stream)
                elif answer.start:
                    return _Result.OTHER
                else:
                    here, result = self._take_whole(answer, stream, same), _result(answer, answer.total)
            self._known = None if answer.proof is None else (answer.proof, here.size, here.inode)
            return result

    def _proof(self, here: _Copied | None) -> str | None:
        """Return what the server said of the content of the copy, if the copy is still the same."""
        known = self._known
        return None if known is None or here is None or known[1:] != (here.size, here.inode) else known[0]

    def _compared(self, stream: Stream, start: int, stop: int) -> int:
        """Compare a stream with the copy; return the offset up to which both are equal, at most ``stop``."""
        with open(self.path, "rb") as file:
            file.seek(start)
            while start < stop:
                data = stream.read(min(_CHUNK, stop - start))
                own = file.read(len(data))
                if data != own:
                    equal = next(
                        (i for i, pair in enumerate(zip(data, own, strict=False)) if pair[0] != pair[1]), len(own)
                    )
                    stream.put_back(data[equal:])
                    return start + equal
                start += len(data)
        return start

    def _take_rest(self, here: _Copied, answer: Answer, stream: Stream) -> tuple[_Copied, _Result]:
        """Append what follows the last commit of the copy, when all of it is there."""
        end = here.end
        self._check_room(answer.total - end)
        with tempfile.SpooledTemporaryFile(_IN_RAM, dir=str(self._entry.folder), suffix=_FETCHING) as rest:
            with self._progress(answer.total - end) as advance:
                stream.copy_to(rest, answer.total - end, advance)
            stream.finish()
            if answer.total == end == here.size:
                return here, _Result.LEVEL
            torn = here.size - end  # the rest of an interrupted write, of which the object may have more now
            rest.seek(0)
            if torn and not (answer.total >= here.size and self._has_at(end, rest, torn)):
                rest.seek(0)
                with self._new_copy() as made:
                    self._copy_start(made, end)
                    shutil.copyfileobj(rest, made, _CHUNK)
                    return self._published(made, here), _result(answer, answer.total - end)
            if answer.total > here.size:
                with held(self.path, _WAIT), open(self.path, "r+b") as file:
                    file.seek(here.size)
                    shutil.copyfileobj(rest, file, _CHUNK)
                    _sync(file)
                here = self._measured(here)
                self._write_state(here)
        return here, _result(answer, answer.total - end)

    def _has_at(self, offset: int, rest: IO[bytes], size: int) -> bool:
        """Return whether the copy has the next ``size`` bytes of ``rest`` at ``offset``."""
        with open(self.path, "rb") as file:
            file.seek(offset)
            while size > 0:
                data = file.read(min(_CHUNK, size))
                if not data or rest.read(len(data)) != data:
                    return False
                size -= len(data)
        return True

    def _take_whole(self, answer: Answer, stream: Stream, same: int) -> _Copied:
        """Replace the copy by the object, of which the copy has the first ``same`` bytes."""
        self._check_room(answer.total)
        with self._new_copy() as made:
            self._copy_start(made, same)
            with self._progress(answer.total) as advance:
                first = stream.read(min(_CHUNK, answer.total - same))
                if not same and first[4:8] != b"ftyp" and b"moof" not in first:
                    what = "is not an MP4" if answer.total else "is empty"
                    raise NotAMemoryError(f"{self.url} {what}")
                stream.put_back(first)
                stream.copy_to(made, answer.total - same, advance)
            stream.finish()
            return self._published(made, None)

    def _copy_start(self, made: IO[bytes], size: int) -> None:
        """Write the first bytes of the copy to a new one."""
        if size:
            with open(self.path, "rb") as file:
                for at in range(0, size, _CHUNK):
                    made.write(file.read(min(_CHUNK, size - at)))

    @contextmanager
    def _new_copy(self) -> Iterator[IO[bytes]]:
        """Yield a new file, which is deleted unless it becomes the copy."""
        descriptor, name = tempfile.mkstemp(suffix=_FETCHING, dir=self._entry.folder)
        try:
            with open(descriptor, "wb") as made:
                self._made = Path(name)
                yield made
        finally:
            with suppress(OSError):
                os.unlink(name)

    def _published(self, made: IO[bytes], since: _Copied | None) -> _Copied:
        """Let a new file take the place of the copy, without the index of the old one."""
        _sync(made)
        made.close()
        self._measure(self._made, since)  # raises if it is not a memory
        (self._entry.folder / STATE).unlink(missing_ok=True)
        self._copied = None
        try:
            with held(self.path, _WAIT):
                os.replace(self._made, self.path)
        except OSError as exc:
            if isinstance(exc, MemoryFileError):
                raise
            raise StorageError(
                f"{self.url} was replaced, and its copy is open ({exc.strerror}); close the memory and open it again"
            ) from exc
        shutil.rmtree(self.path.with_name(self.path.name + ".index"), ignore_errors=True)
        with suppress(OSError, StorageError):
            sync_folder(self._entry.folder)
        here = self._measured(None)
        self._write_state(here)
        return here

    # --- the copy ---

    def _here(self) -> _Copied | None:
        """Return what is known of the copy; None if there is none that can be read."""
        try:
            there = os.stat(self.path)
        except OSError:
            return None
        since = self._copied
        if since is None or since.inode != there.st_ino or since.size > there.st_size:
            since = self._recorded(there)
            if not (self._entry.folder / STATE).exists():  # replaced by a process that was killed
                shutil.rmtree(self.path.with_name(self.path.name + ".index"), ignore_errors=True)
        elif since.size == there.st_size:
            return since
        try:
            here = self._measured(since)
        except MemoryFileError:
            return None
        if since is None:  # or the next process would delete the index again, and read the copy from its beginning
            self._write_state(here)
        return here

    def _measured(self, since: _Copied | None) -> _Copied:
        self._copied = self._measure(self.path, since)
        return self._copied

    def _measure(self, path: Path, since: _Copied | None) -> _Copied:
        """Find the end of the last commit in a file, and its COMMIT frame, from a known commit on.

        Raises:
            NotAMemoryError: It is not a memory.
        """
        there = os.stat(path)
        try:
            last = self._last_commit(path, None if since is None else since.last)
        except MemoryFileError as exc:
            raise type(exc)(str(exc).replace(str(path), self.url)) from exc
        return _Copied(there.st_size, there.st_ino, last)

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads((self._entry.folder / STATE).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return state if isinstance(state, dict) else {}

    def _recorded(self, there: os.stat_result) -> _Copied | None:
        """Return what another process has found out about the copy."""
        numbers = self._state().get("end")
        if not isinstance(numbers, list) or len(numbers) != 4:
            return None
        if not all(isinstance(number, int) and 0 <= number < _LARGEST for number in numbers):
            return None
        found = _Copied(numbers[0], there.st_ino, tuple(numbers))
        return found if found.proof < found.end <= there.st_size else None

    def _write_state(self, here: _Copied, *, damaged: bool = False) -> None:
        state: dict[str, Any] = {"url": self.url, "end": list(here.last)}
        if damaged:
            state["damaged"] = [here.size, here.proof]
        path = self._entry.folder / STATE
        write_file(path, json.dumps(state).encode(), durable=False)
        self._entry.grew = True

    def _check_room(self, size: int) -> None:
        free = shutil.disk_usage(self._entry.folder).free
        if size > free:
            raise StorageError(
                f"the copy of {self.url} needs {size} bytes in {self._entry.folder}, where {free} are free; set "
                "MEMVID_CACHE_DIR to another folder, or delete copies with memvid cache --clear"
            )

    @contextmanager
    def _progress(self, size: int) -> Iterator[Advance]:
        show = self._show_progress if size >= _SHOWN else False
        with progress(f"Fetching {self.url}", size, show=show) as advance:
            yield advance


def _digest(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()


def _result(answer: Answer, size: int) -> _Result:
    """Return whether an answer of which ``size`` bytes were new leaves the copy level with its object."""
    return _Result.CHANGED if answer.unsure and size > _SMALL else _Result.LEVEL


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
