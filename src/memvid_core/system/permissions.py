"""Permissions: what users who share files leave to each other, and whose folders say nothing that they may not."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["OWNER_WRITES", "is_trusted", "pass_mode_on"]

_LIFE: Final = 5.0  # seconds for which the groups of a user are kept: they can change
_MOST_USERS: Final = 64

OWNER_WRITES: Final = 0o600
"""What the owner may do with files that a program adds to and deletes, also next to a file that nobody may write."""


def pass_mode_on(source: Path | None, target: Path, *, most: int = 0o7777, least: int = 0) -> None:
    """Give ``target`` the permissions of ``source``, and its owner and group, or only its group, if permitted.

    Whoever replaces the file of another user must not lock out those who share its group. If the group cannot be
    passed on, another group may not do more than everybody may.

    Args:
        source: A file; None changes nothing.
        target: A file, or a folder, which may be searched by those who may read it. A link is left alone, and so is a
            file with several names: what it leads to, or is elsewhere, may be no part of a memory.
        most: The permissions that are passed on.
        least: Permissions that ``target`` has in any case.
    """
    if source is None:
        return
    with suppress(OSError):
        there, here = os.stat(source), os.lstat(target)
        if stat.S_ISLNK(here.st_mode) or (stat.S_ISREG(here.st_mode) and here.st_nlink > 1):
            return
        if hasattr(os, "chown") and (there.st_uid, there.st_gid) != (here.st_uid, here.st_gid):
            try:
                os.chown(target, there.st_uid, there.st_gid, follow_symlinks=False)
            except OSError:  # only the superuser may give a file away
                with suppress(OSError):
                    os.chown(target, -1, there.st_gid, follow_symlinks=False)
            here = os.lstat(target)
        mode = stat.S_IMODE(there.st_mode) & most | least
        if here.st_gid != there.st_gid:
            mode &= ~0o070 | (mode & 0o007) << 3
        if stat.S_ISDIR(here.st_mode):
            mode |= (mode & 0o444) >> 2 | stat.S_IMODE(here.st_mode) & stat.S_ISGID
        if stat.S_IMODE(here.st_mode) != mode:
            os.chmod(target, mode)


def is_trusted(folder: Path, file: Path) -> bool:
    """Return whether who made a folder may change a file anyway, so that the folder says nothing that the file may not.

    In a folder that all may write, such as ``/tmp``, any user can make the folder that another one's program looks for.
    This user, the owner of the file and the superuser are trusted; so are all users whom the file's permissions let
    write it. On Windows, where folders inherit their permissions, every folder is. Of a link, who made it counts, too:
    it may lead to a folder of the superuser that all may write. Who is in which group is looked up once in five
    seconds.

    Args:
        folder: The folder, which exists, or a link to it.
        file: The file.

    Raises:
        OSError: One of them cannot be looked at.
    """
    if os.name != "posix":
        return True
    made, there, user = os.lstat(folder), os.stat(file), os.geteuid()
    if stat.S_ISLNK(made.st_mode) and not _may_write(os.stat(folder), there, user):
        return False
    return _may_write(made, there, user)


def _may_write(folder: os.stat_result, file: os.stat_result, user: int) -> bool:
    """Return whether the owner of a folder may write a file, or is ``user`` or the superuser."""
    if folder.st_uid in (0, user, file.st_uid) or file.st_mode & stat.S_IWOTH:
        return True
    return bool(file.st_mode & stat.S_IWGRP) and _is_member(folder, file.st_gid)


def _is_member(folder: os.stat_result, group: int) -> bool:
    """Return whether the owner of a folder is in a group; one whom the system does not know is, if the folder is."""
    known = _groups_of(folder.st_uid)
    return folder.st_gid == group if known is None else group in known


_groups: dict[int, tuple[float, frozenset[int] | None]] = {}
"""When the groups of users were looked up, and what they are: to ask a directory service may take a while."""


def _groups_of(user: int) -> frozenset[int] | None:
    """Return the groups of a user, as they were within the last seconds; None if the system does not know the user."""
    import pwd  # POSIX only

    now = time.monotonic()
    when, found = _groups.get(user, (-_LIFE, None))
    if now - when < _LIFE:
        return found
    try:
        owner = pwd.getpwuid(user)
        found = frozenset(os.getgrouplist(owner.pw_name, owner.pw_gid))
    except (KeyError, OSError):
        found = None
    if len(_groups) >= _MOST_USERS:
        _groups.clear()
    _groups[user] = now, found
    return found
