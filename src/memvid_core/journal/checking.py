"""Checking: names the bytes of a journal that have changed although no checksum of a payload shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash

from memvid_core.journal.reading import readings
from memvid_core.model import Damage
from memvid_core.video import Fragment, VideoFile
from memvid_core.video.mp4 import FIRST_TIMESCALE, with_timescale

if TYPE_CHECKING:
    from memvid_core.journal.journal import Journal

__all__ = ["Checked", "head_checksum"]

_HEAD = "bits of the boxes at the beginning of the file have changed; they are not needed to read it"


def head_checksum(video: VideoFile) -> bytes:
    """Return the XXH3-64 of the boxes before the first fragment."""
    return xxhash.xxh3_64_digest(video.head())


class Checked:
    """Compare every byte that a replay reads, and the beginning of the file, with those that a writer makes.

    Nothing of what is found is lost, and a compaction writes the bytes again.

    Args:
        journal: The journal; its next replay is checked.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._check = journal.video.check_bytes()
        self._check.checksum_expected = bool(journal.header.head)

    def beginning(self) -> list[Damage]:
        """Return the changes of the head of the file and of commit 0, which a replay does not read."""
        video = self._journal.video
        for found in video.walk(video.start):
            if isinstance(found, Fragment):
                for _ in readings(video, found, 0):
                    pass
            break
        changed = [Damage(None, 0, 0, _HEAD, restored=True)] if self._head_changed() else []
        return changed + self.taken(0)

    def _head_changed(self) -> bool:
        video, checksum = self._journal.video, self._journal.header.head
        if video.head_damage is not None:  # named already
            return False
        if checksum:
            return head_checksum(video) != checksum
        written, there = with_timescale(video.codec.init_segment(), FIRST_TIMESCALE), video.head()
        # Heads of codecs with an encoder of their own depend on its version.
        return video.codec.one_picture and len(written) == len(there) and written != there

    def taken(self, commit: int | None) -> list[Damage]:
        """Return the changes that were found since the last call, in a commit or after the last one."""
        if not self._check.changed:
            return []
        changed, self._check.changed = self._check.changed, []
        return [Damage(frame, commit, 0, reason, restored=True) for frame, reason in changed]
