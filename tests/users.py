"""Processes of other users: only the superuser can start them, as tests in a container do; others lose no rights."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import run

OWNER, GUEST, STRANGER = 64_001, 64_002, 64_003
GROUP = 64_100
"""Of the owner and the guest."""
SUPERUSER = hasattr(os, "geteuid") and os.geteuid() == 0
others = pytest.mark.skipif(not SUPERUSER, reason="only the superuser can become another user")
posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such permissions")

_WARM = """
import os, sys, tempfile
from memvid_core import Library, Memory, Record
with tempfile.TemporaryDirectory() as folder:  # imports what may not be readable for the other user
    with Memory.create(f"{folder}/m.mp4") as memory:
        memory.add(["a wing", "b"])
        memory.search("wing"), memory.search("wing", mode="lexical")
        memory.compact()
        memory.delete(memory.ids())
    with Library.create(f"{folder}/library") as library:
        library.add(["a wing", "b"])
        library.search("wing")
        library.compact()
"""
_BECOME = """
os.umask(int(sys.argv[1], 8))
if os.geteuid() == 0:
    groups = [64100] if int(sys.argv[2]) != 64003 else []
    os.setgroups(groups)
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
path = sys.argv[3]
"""


@contextmanager
def shared_folder(mode: int, user: int = 0, group: int = 0) -> Iterator[Path]:
    """A folder that other users can reach, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="memvid-users-"))
    try:
        folder.chmod(mode)
        if SUPERUSER:
            os.chown(folder, user, group)
            folder.chmod(mode)
        yield folder
    finally:
        shutil.rmtree(folder)


def as_user(user: int, code: str, path: Path, *, umask: int = 0o022) -> str:
    """Run code as another user with a path as ``path``; return what it prints, or the class of its exception."""
    body = "\n".join(f"    {line}" for line in code.strip().splitlines())
    caught = "except Exception as exc:\n    print(type(exc).__name__, exc)"
    done = run(f"{_WARM}{_BECOME}\ntry:\n{body}\n{caught}", f"{umask:o}", user, path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
