"""CommitLock: the lock for one commit to a file, across threads, processes and containers.

It is an operating-system lock on the memory file itself. So there is one lock for all names and links of the file, and
it is released when a process dies. A second lock, on a small file in the index folder, is a queue: a waiting process
queues there first. A process that commits in a loop may take the lock again without queueing for 20 milliseconds: it
has read all commits, while every other process first reads those of the others. Then it queues behind them.
"""

from __future__ import annotations

import json
import math
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

# Between tries: least seconds, a share of the time waited so far, most seconds.
_NEXT_PAUSES: Final = (50e-6, 0.02, 2e-3)  # of the first in the queue
_QUEUE_PAUSES: Final = (200e-6, 0.15, 5e-3)  # of the others
_BURST: Final = 0.02  # seconds in which a process that commits in a loop need not queue again
_SOON: Final = 2e-3  # seconds after a commit in which the next one belongs to the same loop
_NOTE_BYTES: Final = 256
_VOUCH_TRIES: Final = 32


class CommitLock:
    """Wait for the lock of one memory file, and identify its holder.

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
        self._queued = False  # in the queue, or about to enter it
        self._began = self._ended = 0.0  # when it left the queue last, and when it released the lock
        _open_locks.add(self)

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._held >= 0

    def holds(self, descriptor: int | None) -> bool:
        """Return whether this object holds the lock of an open file."""
        return self._held >= 0 and self._held == descriptor

    def queue_at(self, note: Path | None) -> None:
        """Set the file that serves as queue and stores the name of the holder; None for no queue."""
        if note != self._note:
            self._close_files()
            self._note = note

    def acquire(self, descriptor: int, path: object, timeout: float) -> None:
        """Take the lock of an open file.

        Args:
            descriptor: The open file.
            path: Its path, for the message.
            timeout: How many seconds to wait; 0 tries once.

        Raises:
            LockedError: Another process held it all the time; the message names it.
            StorageError: The file system does not support locks.
        """
        now = time.monotonic()
        deadline = now + timeout
        queue = self._open_queue()
        taken = False
        try:
            if now - self._ended < _SOON and now - self._began < _BURST:
                taken = self._system.try_lock(descriptor)
            self._queued = queue >= 0 and not taken
            if not taken and (queue < 0 or self._wait(queue, deadline, *_QUEUE_PAUSES)):
                taken = self._wait(descriptor, deadline, *_NEXT_PAUSES)
                self._began = time.monotonic()
            self._held = descriptor if taken else -1
        except BaseException as exc:  # an interrupt may occur between taking the lock and recording it
            self._held = -1
            with suppress(OSError):
                self._system.unlock(descriptor)
            if isinstance(exc, OSError):
                raise StorageError(
                    f"{path} cannot be locked for writing ({exc}): its file system has no locks; copy it to a "
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

    def _wait(self, descriptor: int, deadline: float, shortest: float, share: float, longest: float) -> bool:
        """Try until the lock is free, with pauses that grow with the time waited."""
        began = time.monotonic()
        while not self._system.try_lock(descriptor):
            now = time.monotonic()
            if now >= deadline:
                return False
            pause = min(max(shortest, share * (now - began)), longest, deadline - now)
            time.sleep(pause * random.uniform(0.5, 1.0))  # the random factor spreads out the waiters
        return True

    def vouch(self) -> None:
        """Vouch for the index until the lock is released: it contains every earlier commit, so readers need not wait.

        A holder whose index is in another folder cannot vouch, and readers of this folder wait for the lock.
        """
        if self._held >= 0 and self._open_level() >= 0:
            with suppress(OSError):
                for _ in range(_VOUCH_TRIES):  # a reader that checks it holds it briefly
                    self._vouches = self._system.try_lock(self._level)
                    if self._vouches:
                        return

    def vouched(self) -> bool:
        """Return whether the holder of the lock vouches for the index in this folder."""
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
        """Release the lock. Releasing twice is allowed."""
        # State is cleared after unlocking: an interrupt in between only causes a second unlock.
        self._leave_queue()
        if self._vouches:
            with suppress(OSError):
                self._system.unlock(self._level)
            self._vouches = False
        if self._held >= 0:
            with suppress(OSError):  # if the file was closed, the lock is already free
                self._system.unlock(self._held)
            self._held = -1
            self._ended = time.monotonic()

    def _leave_queue(self) -> None:
        if self._queued and self._queue >= 0:
            with suppress(OSError):
                self._system.unlock(self._queue)
        self._queued = False

    def moved(self, descriptor: int) -> None:
        """Hold the lock of another file instead, which the caller has locked and renamed to the first one's path."""
        held, self._held = self._held, descriptor
        with suppress(OSError):
            self._system.unlock(held)

    def keep_others_waiting(self) -> None:
        """Enter the queue while holding the lock, before the locked file is closed, as Windows wants to replace it."""
        queue = self._open_queue()
        if queue >= 0:
            with suppress(OSError):
                self._queued = self._system.try_lock(queue)

    def take_again(self, descriptor: int) -> None:
        """Take the lock of a file that was opened in place of the closed one; wait for whoever was faster."""
        self._held = -1  # freed when its file was closed; another file may have its number now
        self._wait(descriptor, math.inf, *_NEXT_PAUSES)
        self._held = descriptor
        self._leave_queue()

    def take_new(self, descriptor: int) -> bool:
        """Lock a file that only this process has open; return whether that worked."""
        return self._system.try_lock(descriptor)

    # --- the holder ---

    def _open_queue(self) -> int:
        """Return the descriptor of the queue's file, or -1 if there is none; then the first to try is next."""
        if self._queue < 0 and self._note is not None:
            self._queue = _opened(self._note)
        return self._queue

    def _open_level(self) -> int:
        if self._level < 0 and self._note is not None:
            self._level = _opened(self._note.with_name("level"))
        return self._level

    def _sign(self) -> None:
        """Store the name of the holder for the messages of other processes."""
        if self._queue >= 0:
            signature = f'{{"pid": {os.getpid()}, "host": {_host()}, "since": {time.time():.0f}}}'
            note = signature.encode().ljust(_NOTE_BYTES)[:_NOTE_BYTES]
            with suppress(OSError):  # on a full disk the lock still works without the name
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
        """Release the lock and close the queue's file. Closing twice is allowed."""
        self.release()
        self._close_files()

    def _close_files(self) -> None:
        self._vouches = False
        queue, self._queue = (
            self._queue,
            -1,
        )  # cleared first: a descriptor must not be closed twice
        level, self._level = self._level, -1
        for descriptor in (queue, level):
            if descriptor >= 0:
                with suppress(OSError):
                    os.close(descriptor)

    def _forked(self) -> None:
        """Forget the parent's locks in a forked child and close its files."""
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
