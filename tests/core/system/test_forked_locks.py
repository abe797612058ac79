"""A forked child that outlives a killed process holds none of its locks."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from memvid_core import Memory
from memvid_core.library import Library
from memvid_core.library.objects import LocalObjects
from memvid_core.system.atomic_files import replacing, write_file, writing_file
from memvid_core.system.remote_cache import Entry
from memvid_core.system.unfinished import being_made
from tests.core.embedders import embed
from tests.processes import FORKS, start

VICTIM = """if True:
    import os, signal, sys
    from pathlib import Path
    from tests.core.system.test_forked_locks import LOCKED

    def fork():
        if os.fork() == 0:
            print(os.getpid(), flush=True)
        while True:
            signal.pause()

    LOCKED[sys.argv[1]][0](Path(sys.argv[2]), fork)
"""
_KEY = "0123456789abcdef"


def _commit(folder: Path, then: Callable[[], None]) -> None:
    with Memory.open(folder / "m.mp4", "a", embedder=embed, timeout=1, create=True) as memory, memory.exclusive():
        memory.add("a text")
        then()


def _save(folder: Path, then: Callable[[], None]) -> None:
    with replacing(folder / "m.mp4", timeout=1):
        then()


def _write(folder: Path, then: Callable[[], None]) -> None:
    with writing_file(folder / "note") as file:
        file.write(b"half")
        then()


def _nothing_left(folder: Path, _: Callable[[], None]) -> None:
    write_file(folder / "note", b"whole")
    assert [path.name for path in folder.glob("*note*")] == ["note"]
    assert not list(folder.glob(".*"))


def _make(folder: Path, then: Callable[[], None]) -> None:
    with being_made(folder / "new.mp4", b"task"):
        then()


def _build(folder: Path, then: Callable[[], None]) -> None:
    (folder / "library").mkdir(exist_ok=True)
    with LocalObjects(folder / "library").claim("writing/0123456789abcdef"):
        then()


def _unclaimed(folder: Path, _: Callable[[], None]) -> None:
    with Library.create(folder / "library", embed) as library:
        assert library.vacuum(timedelta(0)).files == ("writing/0123456789abcdef",)


def _fetch(folder: Path, then: Callable[[], None]) -> None:
    entry = Entry(_KEY, folder)
    assert entry.try_lock()
    then()
    entry.unlock()
    entry.close(keep=False)
    assert not entry.folder.exists()


LOCKED = {
    "a commit": (_commit, _commit),
    "saving over a memory": (_save, _commit),
    "writing a file": (_write, _nothing_left),
    "making a file": (_make, _make),
    "building a library": (_build, _unclaimed),
    "fetching a copy": (_fetch, _fetch),
}
"""What a process does when it is killed, and what another one can do then."""


@pytest.mark.skipif(not FORKS, reason="no forks on Windows")
@pytest.mark.parametrize("what", LOCKED)
def test_a_fork_that_outlives_a_killed_process_holds_no_lock_of_it(what: str, tmp_path: Path) -> None:
    _commit(tmp_path, lambda: None)
    with start(VICTIM, what, tmp_path) as victim:
        child = int(victim.stdout.readline())
        try:
            victim.kill()
            victim.wait()
            LOCKED[what][1](tmp_path, lambda: None)
        finally:
            os.kill(child, signal.SIGKILL)
