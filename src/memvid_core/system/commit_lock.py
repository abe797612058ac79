"""CommitLock: the right to commit to one file, held for one commit, across threads, processes and containers.

The lock is the operating system's, on the memory file itself: whichever name or link leads to the file, there is one
lock, and a process that dies gives it back. A second lock, on a small file in the index folder, is a queue: whoever
waits takes a place there first, so a process that commits in a loop cannot take the lock again before others had it.
"""

from __future__ import annotations

import json
import os
import random
import socket
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Final

from memvid_core.errors import Action, Hint, LockedError, StorageError
from memvid_core.system.file_lock import SystemLock, system_lock

__all__ = ["CommitLock"]

_NEXT_PAUSES: Final = (50e-6, 2e-3)  # seconds between two tries of the one who is next: the first, and the longest
_QUEUE_PAUSES: Final = (200e-6, 10e-3)  # and of those behind it
_PATIENCE: Final = 0.02  # of the time waited so far: how long the next pause is
_NOTE_BYTES: Final = 256
_VOUCH_TRIES: Final = 32


class CommitLock:
    """Waits for the right to commit to one memory file, and names who holds it.

    Args:
        system: The operating system's lock.
    """

    def __init__(self, system: SystemLock | None = None) -> None:
        self._system = system_lock() if system is None else system
        self._note: Path | None = None
        self._queue = -1
        self._level = -1
        self._held = -1
        self._vouches = False
        self._queued = False  # in the queue, or about to be
        _open_locks.add(self)

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._held >= 0

    def holds(self, descriptor: int | None) -> bool:
        """Return whether this object holds the lock on an open file."""
        return self._held >= 0 and self._held == descriptor

    def queue_at(self, note: Path | None) -> None:
        """Say which file serves as queue and holds the name of the holder; None: there is none."""
        if note != self._note:
            self._close_files()
            self._note = note

    def acquire(self, descriptor: int, path: object, timeout: float) -> None:
        """Take the lock on an open file.

        Args:
            descriptor: The open file.
            path: Its path, for the message.
            timeout: How many seconds to wait; 0 tries once.

        Raises:
            LockedError: Somebody else held it all that time; the message names the process.
            StorageError: The file system has no locks.
        """
        deadline = time.monotonic() + timeout
        queue = self._open_queue()
        taken = False
        try:
            self._queued = queue >= 0
            if queue < 0 or self._wait(queue, deadline, *_QUEUE_PAUSES):
                taken = self._wait(descriptor, deadline, *_NEXT_PAUSES)
            self._held = descriptor if taken else -1
        except BaseException as exc:  # an interrupt may come between getting a lock and noting it
            self._held = -1
            with suppress(OSError):
                self._system.unlock(descriptor)
            if isinstance(exc, OSError):
                raise StorageError(
                    f"{path} cannot be locked for writing ({exc}): this file system has no locks; copy the file to a "
                    "local disk",
                    hint=Hint(Action.OPEN_FOR_READING),
                ) from exc
            raise
        finally:
            self._leave_queue()
        if not taken:
            waited = f" for {timeout:g} s" if timeout else ""
            raise LockedError(f"{path} is being written by {self._holder()}{waited}", hint=Hint(Action.WAIT))
        self._sign()

    def _wait(self, descriptor: int, deadline: float, shortest: float, longest: float) -> bool:
        """Try until the lock is free; the longer it has taken, the longer the pauses."""
        began = time.monotonic()
        while not self._system.try_lock(descriptor):
            now = time.monotonic()
            if now >= deadline:
                return False
            pause = min(max(shortest, _PATIENCE * (now - began)), longest, deadline - now)
            time.sleep(pause * random.uniform(0.5, 1.0))  # only so that waiters spread out
        return True

    def vouch(self) -> None:
        """Tell readers, until the lock is released, that the index in this folder has all that was committed before.

        A holder that keeps its index in another folder cannot say so, and readers of this one wait for the lock.
        """
        if self._held >= 0 and self._open_level() >= 0:
            with suppress(OSError):
                for _ in range(_VOUCH_TRIES):  # a reader that looks holds it for a moment
                    self._vouches = self._system.try_lock(self._level)
                    if self._vouches:
                        return

    def vouched(self) -> bool:
        """Return whether whoever holds the lock keeps the index in this folder level."""
        if self._vouches:
            return True
        if self._open_level() < 0:
            return False
        try:
            free = self._system.try_lock(self._level, shared=True)
            if free:
                self._system.unlock(self._level)
        except OSError:
            return False
        return not free

    def release(self) -> None:
        """Give the lock back; releasing twice is fine."""
        # What is given back is forgotten afterwards: an interrupt in between only means that it is given back twice.
        self._leave_queue()
        if self._vouches:
            with suppress(OSError):
                self._system.unlock(self._level)
            self._vouches = False
        if self._held >= 0:
            with suppress(OSError):  # closed meanwhile: then it is free
                self._system.unlock(self._held)
            self._held = -1

    def _leave_queue(self) -> None:
        if self._queued and self._queue >= 0:
            with suppress(OSError):
                self._system.unlock(self._queue)
        self._queued = False

    def moved(self, descriptor: int) -> None:
        """Hold the lock on another file instead, which the caller has locked and put in the place of the first."""
        held, self._held = self._held, descriptor
        with suppress(OSError):
            self._system.unlock(held)

    def take_new(self, descriptor: int) -> bool:
        """Lock a file that nobody else has opened yet; return whether that worked."""
        return self._system.try_lock(descriptor)

    # --- who holds it ---

    def _open_queue(self) -> int:
        """The descriptor of the queue's file, or -1 where there is none: then whoever tries first is next."""
        if self._queue < 0 and self._note is not None:
            self._queue = _opened(self._note)
        return self._queue

    def _open_level(self) -> int:
        if self._level < 0 and self._note is not None:
            self._level = _opened(self._note.with_name("level"))
        return self._level

    def _sign(self) -> None:
        """Note who holds the lock, for the message of others."""
        if self._queue >= 0:
            signature = f'{{"pid": {os.getpid()}, "host": {_host()}, "since": {time.time():.0f}}}'
            note = signature.encode().ljust(_NOTE_BYTES)[:_NOTE_BYTES]
            with suppress(OSError):  # on a full disk the lock still holds; only the message is poorer
                if hasattr(os, "pwrite"):
                    os.pwrite(self._queue, note, 0)
                else:
                    os.lseek(self._queue, 0, os.SEEK_SET)
                    os.write(self._queue, note)

    def _holder(self) -> str:
        try:
            os.lseek(self._queue, 0, os.SEEK_SET)
            owner = json.loads(os.read(self._queue, _NOTE_BYTES))
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(owner["since"])))
            who = f"process {int(owner['pid'])} on {str(owner['host'])[:64]} since {since}"
            return f"{who} (this process)" if owner["pid"] == os.getpid() else who
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return "another process"

    def close(self) -> None:
        """Give the lock back and close the queue's file; closing twice is fine."""
        self.release()
        self._close_files()

    def _close_files(self) -> None:
        self._vouches = False
        queue, self._queue = self._queue, -1  # forgotten first: a number that is closed twice may be another file's
        level, self._level = self._level, -1
        for descriptor in (queue, level):
            if descriptor >= 0:
                with suppress(OSError):
                    os.close(descriptor)

    def _forked(self) -> None:
        """In a forked child: the locks are the parent's, so forget them, and do not keep its files open."""
        self._held = -1
        self._close_files()

    def __del__(self) -> None:
        self.close()


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError:
        return -1


_open_locks: weakref.WeakSet[CommitLock] = weakref.WeakSet()
_hosts: list[str] = []


def _host() -> str:
    if not _hosts:
        _hosts.append(json.dumps(socket.gethostname()[:64]))
    return _hosts[0]


def _after_fork() -> None:
    for lock in list(_open_locks):
        lock._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
