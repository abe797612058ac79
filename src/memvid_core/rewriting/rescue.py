"""Rescuing a damaged memory: writing everything readable to a new, intact memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

import memvid_core.video.qr  # noqa: F401 - registers its codec
from memvid_core.errors import MemoryExistsError, MemoryNotFoundError, MemvidError, NotAMemoryError, storage_errors
from memvid_core.journal import Journal
from memvid_core.model import Damage
from memvid_core.rewriting.restage import stage
from memvid_core.rewriting.transcode import Conversion, TargetVectors, copy
from memvid_core.system.atomic_files import appearing, remove_left
from memvid_core.video import TornTail, VideoFile, get_codec

__all__ = ["RescueReport", "rescue"]

StrPath = str | os.PathLike[str]

_STAGED_BYTES = 1 << 30  # files up to this size are also searched frame by frame, in memory


class RescueReport(msgspec.Struct, frozen=True, kw_only=True):
    """Report the records that a rescue wrote, and the losses.

    ``records`` were written in ``commits``, including deleted ones, so that earlier states stay available. ``lost``
    records are known to be unreadable. ``damage`` lists all damage of the source. If ``header_lost`` is true, the file
    does not name its embedder: open the rescued memory with that embedder.
    """

    path: str
    records: int
    commits: int
    lost: int
    source_bytes: int
    bytes: int
    header_lost: bool
    damage: tuple[Damage, ...]

    @property
    def whole(self) -> bool:
        """Whether everything that was ever written was rescued."""
        return not self.lost and not self.damage


def rescue(source: StrPath, target: StrPath) -> RescueReport:
    """Write all readable content of a damaged memory to a new, intact one.

    Any part may be damaged: the head of the file, the header, commits at the end or in the middle, the order of its
        parts. Each record is either rescued exactly or missing. The source is only read; the target appears when it is
        complete.

    Args:
        source: The damaged file.
        target: The file to create, with the codec ``pcm``.

    Raises:
        MemoryExistsError: The target exists.
        MemoryNotFoundError: The source, or the folder of the target, does not exist.
        NotAMemoryError: The source has no readable content of a memory.
        StorageError: The system refused a read or a write.

    Example:
        >>> from memvid_core import Memory
        >>> with Memory.create("m.mp4") as memory:
        ...     ids = memory.add("still there", ids="a")
        >>> with open("m.mp4", "r+b") as file:
        ...     count = file.write(bytes(1000))  # the head is gone
        >>> report = rescue("m.mp4", "rescued.mp4")
        >>> report.records, report.lost, report.whole
        (1, 0, False)
    """
    with storage_errors():
        origin, made = Path(source), Path(target)
        if not made.parent.is_dir():
            raise MemoryNotFoundError(f"the folder {made.parent} does not exist; create it first")
        if os.path.lexists(made):
            remove_left(made)  # a process may have been killed at the very end
            raise MemoryExistsError(f"{made} exists; give another name")
        try:
            size = origin.stat().st_size
        except FileNotFoundError as exc:
            raise MemoryNotFoundError(f"{origin} does not exist") from exc
        found, header_lost, head = _copied(origin, made)
        return RescueReport(
            path=os.fspath(target),
            records=found.records,
            commits=found.commits,
            lost=found.lost,
            source_bytes=size,
            bytes=found.bytes,
            header_lost=header_lost,
            damage=(*head, *found.damage),
        )


def _copied(source: Path, target: Path) -> tuple[Conversion, bool, list[Damage]]:
    """Copy commit by commit; if that loses anything, also search frame by frame, and keep the better result."""
    with appearing(target) as made:
        try:
            journal = Journal.open(source)
        except NotAMemoryError:
            found, header_lost = _staged(source, made)
            return found, header_lost, []
        with journal.video:
            head, header_lost = journal.head_damage, journal.made_up
            found = _copy(journal, made)
        whole = not found.lost and not found.damage
        if whole or source.stat().st_size > _STAGED_BYTES:
            return found, header_lost, head
        with suppress(MemvidError), appearing(target) as other:  # of its own: what a killed process leaves is deleted
            again, lost = _staged(source, other)
            if again.records > found.records:
                os.replace(other, made)
                found, header_lost = again, lost
            else:
                other.unlink()
        return found, header_lost, head


def _copy(journal: Journal, target: Path) -> Conversion:
    vectors = TargetVectors(journal.header.vectors)
    return copy(journal, target, get_codec("pcm"), vectors, drop_damaged=True, everything=True)


def _staged(source: Path, target: Path) -> tuple[Conversion, bool]:
    """Write the content of all frames that can be found in the file, in the order of their numbers."""
    payloads: dict[int, bytes] = {}
    with VideoFile.open(source) as video:
        for found in video.walk(video.start):
            fragment: Any = found.fragment if isinstance(found, TornTail) else found
            for number, place in () if fragment is None else fragment.frames():
                try:
                    payloads.setdefault(number, video.read(number, place, fragment))
                except MemvidError:
                    continue
    staged = stage(payloads)
    journal = Journal.open(staged.file)
    with journal.video:
        return _copy(journal, target), staged.header_made_up
