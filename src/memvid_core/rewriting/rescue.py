"""Rescue: a sound memory out of whatever can still be read of a damaged one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

import memvid_core.video.qr  # noqa: F401 - registers its codec
from memvid_core.errors import MemoryExistsError, MemoryNotFoundError, MemvidError, NotAMemoryError
from memvid_core.model import Damage
from memvid_core.rewriting.restage import stage
from memvid_core.rewriting.transcode import Conversion, Replayed, copy
from memvid_core.system.atomic_files import appearing
from memvid_core.video import TornTail, VideoFile, get_codec

__all__ = ["RescueReport", "rescue"]

StrPath = str | os.PathLike[str]

_STAGED_BYTES = 1 << 30  # a file up to this size is also searched frame by frame, in memory


class RescueReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a rescue wrote, and what it did not find.

    ``records`` were written in ``commits``, deleted ones too, so that the past can be asked; ``lost`` records are known
    to have been there and cannot be read. ``damage`` names all that is wrong with the source. Where ``header_lost`` is
    true, nothing in the file says which embedder it had: open the rescued memory with that one.
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
        """Whether everything that was ever written is there."""
        return not self.lost and not self.damage


def rescue(source: StrPath, target: StrPath) -> RescueReport:
    """Write everything that can be read of a damaged memory into a new, sound one.

    It does not matter what is damaged: the head of the file, the header, commits at the end or in the middle, the order
    of its parts. Each record is exactly what was written, or is not there. The source is only read; the target appears
    when it is whole.

    Args:
        source: The damaged file.
        target: The file to make, with the codec ``pcm``.

    Raises:
        MemoryExistsError: The target is taken.
        MemoryNotFoundError: There is no source, or no folder for the target.
        NotAMemoryError: Nothing of a memory can be read in it.

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
    origin, made = Path(source), Path(target)
    if not made.parent.is_dir():
        raise MemoryNotFoundError(f"the folder {made.parent} does not exist; create it first")
    if os.path.lexists(made):
        raise MemoryExistsError(f"{made} exists; give another name")
    found, header_lost, head = _copied(origin, made)
    return RescueReport(
        path=os.fspath(target),
        records=found.records,
        commits=found.commits,
        lost=found.lost,
        source_bytes=origin.stat().st_size,
        bytes=found.bytes,
        header_lost=header_lost,
        damage=(*head, *found.damage),
    )


def _copied(source: Path, target: Path) -> tuple[Conversion, bool, list[Damage]]:
    """Copy commit by commit; where that loses anything, also look at every frame by itself, and take the better."""
    with appearing(target) as made:
        try:
            journal = Replayed.open(source)
        except NotAMemoryError:
            found, header_lost = _staged(source, made)
            return found, header_lost, []
        with journal.video:
            head, header_lost = journal.head_damage, journal.made_up
            found = _copy(journal, made)
        whole = not found.lost and not found.damage
        if whole or source.stat().st_size > _STAGED_BYTES:
            return found, header_lost, head
        other = made.with_name(made.name + ".frames")
        try:
            again, lost = _staged(source, other)
            if again.records > found.records:
                os.replace(other, made)
                found, header_lost = again, lost
        except MemvidError:
            pass  # the commits are all that there is
        finally:
            other.unlink(missing_ok=True)
        return found, header_lost, head


def _copy(journal: Replayed, target: Path) -> Conversion:
    journal.wanted, journal.everything = journal.header.vectors, True
    return copy(journal, target, get_codec("pcm"), drop_damaged=True)


def _staged(source: Path, target: Path) -> tuple[Conversion, bool]:
    """Write what the frames say that can be found anywhere in the file, in the order of their numbers."""
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
    journal = Replayed.open(staged.file)
    with journal.video:
        return _copy(journal, target), staged.header_made_up
