"""Replay: read the commits of a journal in order, and decide which of them count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from memvid_core.journal.contents import Contents, chain_fits
from memvid_core.journal.entries import CommitFrame, Cursor, Entry
from memvid_core.journal.frames import Kind
from memvid_core.journal.header import NO_CHAIN, after
from memvid_core.journal.packing import chain
from memvid_core.journal.reading import Reading, readings
from memvid_core.model import Damage
from memvid_core.video import Fragment, TornTail

if TYPE_CHECKING:
    from memvid_core.journal.journal import Journal

__all__ = ["Replay"]

_ROWS_A_BYTE = 4  # the maximum number of rows per byte of the file


class Replay:
    """Read a journal once.

    A commit that is complete and matches its chained checksum counts at once. Any other waits: it counts as soon as a
    frame of a later commit is read, because that was written only after this one was durable. A later commit with the
    same number replaces it: it was interrupted and written again. A commit that still waits at the end of the file is
    judged by its readable parts.

    Args:
        journal: The journal to read; its ``cursor`` and what it tells of its end are updated.
        since: The position to start from.
        acknowledged: The byte offset up to which commits are known to be durable.
        contents: What another replay knows of earlier commits.
    """

    def __init__(self, journal: Journal, since: Cursor, acknowledged: int, contents: Contents | None = None) -> None:
        self._journal = journal
        self._since = since
        self._acknowledged = acknowledged
        size = journal.video.size()
        self._most_rows = _ROWS_A_BYTE * size
        self._contents = contents or Contents(journal.header.vectors, journal.header.dimension, size)
        journal.contents = self._contents
        self._waiting: list[Reading] = []
        self._loose_damage: list[Damage] = []  # damage outside of commits, reported with the next entry

    def entries(self) -> Iterator[Entry]:
        """Yield the commits that count."""
        journal = self._journal
        journal.torn_bytes, journal.torn_records, journal.unfinished, journal.hidden = 0, 0, [], 0
        journal.cursor = self._since
        journal.drop_tail(None)
        for found in journal.video.walk(self._since.position):
            if isinstance(found, TornTail):
                yield from self._tail(found)
                break
            for reading in readings(journal.video, found, self._most_rows):
                yield from self._step(reading)
        yield from self._end()

    def _step(self, reading: Reading) -> Iterator[Entry]:
        cursor, number = self._journal.cursor, reading.number
        if number is None:
            self._waiting.append(reading)
            return
        if number <= cursor.commit:
            if number:
                self._report(f"a copy of commit {number}, or of a part of it, is ignored", reading.fragment)
            return
        yield from self._settle(number, reading.commit)
        if reading.commit is not None and chain_fits(reading, reading.commit):
            yield self._taken(reading, reading.commit, fits=True)
        else:
            self._waiting.append(reading)

    def _settle(self, number: int, following: CommitFrame | None) -> Iterator[Entry]:
        """Decide about the waiting commits after a frame of commit ``number`` was read."""
        waiting, self._waiting = self._waiting, []
        for reading in waiting:
            if reading.number is None:
                self._report(reading.fragment.damage or "a fragment without a readable frame", reading.fragment)
            elif reading.number < number:
                yield self._taken(reading, reading.commit or self._rebuilt(reading, following))
            else:
                self._report(f"commit {number} was interrupted here, and written again", reading.fragment)

    def _report(self, reason: str, fragment: Fragment) -> None:
        frame = fragment.first_frame if len(fragment) else None
        self._loose_damage.append(Damage(frame, None, 0, reason))

    def _rebuilt(self, reading: Reading, following: CommitFrame | None = None) -> CommitFrame:
        """Reconstruct a damaged COMMIT frame from the commit's other frames and the next commit."""
        cursor, number = self._journal.cursor, reading.number
        assert number is not None
        begin, stop = reading.rows() or (cursor.row, cursor.row)
        begin, stop = max(begin, cursor.row), max(stop, cursor.row)
        if number == cursor.commit + 1:
            begin = cursor.row
        next_begin = None if following is None else following.rows - following.added
        if next_begin is not None and following is not None:
            stop = min(stop, max(next_begin, begin))
            if following.number == number + 1:
                stop = max(next_begin, begin)
        known = self._journal.known
        if known is not None and known.commit == number:
            stop = max(stop, known.rows)
        if stop > self._most_rows:
            begin = stop = cursor.row
        deletions = [piece.header.items for piece in reading.pieces if piece.header.kind == Kind.TOMBSTONES]
        made = CommitFrame(
            number=number,
            time=self._journal.last_time() if following is None else following.time,
            rows=stop,
            added=stop - begin,
            deleted=min(max(deletions, default=0), stop),
            frames=0,
            previous=cursor.chain,
            chain=NO_CHAIN,
        )
        linked = chain(made, reading.digests)
        if following is not None and following.number == number + 1:
            linked = following.previous
        return CommitFrame(number, made.time, stop, made.added, made.deleted, 0, cursor.chain, linked)

    def _taken(self, reading: Reading, commit: CommitFrame, *, fits: bool = False, torn: bool = False) -> Entry:
        """Return the entry of a commit that counts, and move the journal's cursor after it.

        Args:
            reading: The frames of the commit.
            commit: Its COMMIT frame.
            fits: Whether its chained checksum is known to match.
            torn: Whether the file ends before the end of the commit: later commits may be missing.
        """
        journal, before = self._journal, self._journal.cursor
        begin = commit.rows - commit.added
        damage, self._loose_damage = self._loose_damage, []
        deleted: list[int] = []
        gap = begin > before.row
        if journal.known is not None and (
            gap or reading.commit is None or not (fits or chain_fits(reading, reading.commit))
        ):
            reading, begin = self._completed(reading, begin, commit)
            deleted = journal.known.deleted(before.commit, commit.number, commit.rows)
        if gap:
            damage.append(Damage(None, before.commit + 1, max(0, begin - before.row), self._between(before, commit)))
        elif begin < before.row or (commit.previous != before.chain and before.chain != NO_CHAIN):
            damage.append(Damage(None, commit.number, 0, "it does not continue the previous commit"))
        begin = max(begin, before.row)
        rows = max(commit.rows, before.row)
        if rows != commit.rows:
            commit = CommitFrame(
                commit.number, commit.time, rows, 0, commit.deleted, commit.frames, commit.previous, commit.chain
            )
        cursor = self._cursor(reading, commit)
        entry = self._contents.entry(reading, commit, cursor, begin, deleted)
        if reading.commit is None:
            damage.append(Damage(None, commit.number, 0, "its COMMIT frame is damaged, and was reconstructed"))
        elif not fits and not reading.unread and commit.frames and not chain_fits(reading, reading.commit):
            damage.append(Damage(None, commit.number, 0, "its chained checksum does not match its contents"))
        if reading.fragment.damage:
            whole = fits or (reading.commit is not None and chain_fits(reading, reading.commit))
            damage.append(Damage(None, commit.number, 0, reading.fragment.damage, restored=whole and not torn))
        for number in reading.restored:
            reason = f"frame {number} is damaged, and was restored from parity"
            damage.append(Damage(number, commit.number, 0, reason, restored=True))
        entry.damage[:0] = damage
        journal.cursor = cursor
        journal.seen(commit.number, commit.time)
        return entry

    def _completed(self, reading: Reading, begin: int, commit: CommitFrame) -> tuple[Reading, int]:
        """Add frames that only an index locates, also of lost commits before; return the reading and its first row."""
        journal = self._journal
        assert journal.known is not None
        present = {piece.number for piece in reading.pieces}
        pieces = journal.known.pieces(journal.video, journal.cursor.row, commit.rows, present)
        if not pieces:
            return reading, begin
        numbers = {piece.number for piece in pieces}
        unread = [(number, reason) for number, reason in reading.unread if number not in numbers]
        both = sorted([*reading.pieces, *pieces], key=lambda piece: piece.number)
        first = min(begin, *(piece.header.row for piece in pieces))
        return replace(reading, pieces=both, unread=unread), journal.cursor.row if first < begin else begin

    @staticmethod
    def _between(before: Cursor, commit: CommitFrame) -> str:
        first, last = before.commit + 1, commit.number - 1
        if last < first:
            return f"rows are missing between commits {before.commit} and {commit.number}"
        return f"commit {first} cannot be read" if first == last else f"commits {first} to {last} cannot be read"

    @staticmethod
    def _cursor(reading: Reading, commit: CommitFrame) -> Cursor:
        """Return the position after a commit, which locates one of its readable frames."""
        fragment = reading.fragment
        last = fragment.first_frame + len(fragment) - 1
        if reading.commit is not None and last not in reading.restored:
            return after(fragment, commit)
        intact = [piece for piece in reading.pieces if piece.number not in reading.restored]
        if not intact:
            return after(fragment, commit)
        piece = intact[-1]
        return Cursor(
            offset=fragment.end,
            frame=fragment.first_frame + len(fragment),
            fragment=fragment.sequence,
            commit=commit.number,
            row=commit.rows,
            chain=commit.chain,
            last_frame=piece.number,
            last_offset=piece.place.offset,
            last_size=piece.place.size,
        )

    # --- the end of the file ---

    def _tail(self, tail: TornTail) -> Iterator[Entry]:
        """Handle the torn tail of an interrupted write or of a truncated file.

        A commit counts from its last byte on, or if an index knows that it was durable.
        """
        journal = self._journal
        known = self._acknowledged > tail.start and not self._has_all()
        if tail.fragment is not None:
            for reading in readings(journal.video, tail.fragment, self._most_rows):
                number, commit = reading.number, reading.commit
                if number is None or number <= journal.cursor.commit:
                    continue
                if not known:  # even if all of its frames are there: its writer had not finished, and may take it back
                    begin, stop = reading.rows() or (0, 0)
                    if stop > begin:
                        journal.drop_tail(tail)
                        journal.torn_records += min(stop - begin, self._most_rows)
                    continue
                yield from self._settle(number, commit)
                entry = self._taken(reading, commit or self._rebuilt(reading), torn=True)
                journal.keep_tail()
                yield entry
                return
        if known:
            reason = f"the last {tail.size} bytes of the file contain a durable commit that cannot be read any more"
            journal.unfinished.append(Damage(None, journal.cursor.commit + 1, 0, reason))
            journal.keep_tail()
        else:
            journal.torn_bytes = tail.size
            if tail.fragment is not None:  # its frames do not count, with or without their redundancy
                journal.video.repaired.difference_update(number for number, _ in tail.fragment.frames())

    def _has_all(self) -> bool:
        """Return whether the commits up to here are all that an index knows, so that what follows is a rest."""
        known = self._journal.known
        return known is not None and 0 <= known.commit <= self._journal.cursor.commit

    def _end(self) -> Iterator[Entry]:
        """Decide about the commits that still wait at the end of the file."""
        waiting, self._waiting = self._waiting, []
        counting = max((i for i, reading in enumerate(waiting) if self._counts(reading)), default=-1)
        for i, reading in enumerate(waiting):
            number = reading.number
            if number is None or i > counting:
                if number is None:
                    self._journal.hidden += 1
                    reason = reading.fragment.damage or "the end of the file contains a commit that cannot be read"
                    self._report(reason, reading.fragment)
                else:
                    stop = reading.commit.rows if reading.commit else (reading.rows() or (0, 0))[1]
                    added = max(0, min(stop, self._most_rows) - self._journal.cursor.row)
                    reason = f"commit {number} was not written completely, and does not count"
                    self._loose_damage.append(Damage(reading.fragment.first_frame, number, added, reason))
            else:
                following = waiting[i + 1].commit if i < counting else None
                yield self._taken(reading, reading.commit or self._rebuilt(reading, following))
        yield from self._known_only()
        self._journal.unfinished[:0] = self._loose_damage
        self._loose_damage = []

    def _known_only(self) -> Iterator[Entry]:
        """Yield a commit after the last one that counts, if only the index locates its frames: it was durable."""
        journal = self._journal
        if journal.known is None or journal.known.rows <= journal.cursor.row:
            return
        pieces = journal.known.pieces(journal.video, journal.cursor.row, journal.known.rows)
        if not pieces:
            return
        journal.keep_tail()
        journal.torn_bytes = journal.torn_records = 0
        end, last = journal.video.end, pieces[-1]
        none = np.zeros(0, np.int64)
        at = Fragment(end.offset, end.offset, end.fragment, max(end.frame, last.number + 1), none, none)
        rows = max(piece.header.row + piece.header.items for piece in pieces)
        number = max(last.header.commit, journal.cursor.commit + 1)  # a commit with its number may be back
        made = CommitFrame(number, journal.last_time(), rows, rows - journal.cursor.row, 0, 0, NO_CHAIN, NO_CHAIN)
        yield self._taken(Reading(at, pieces), made)

    def _counts(self, reading: Reading) -> bool:
        """Return whether a partly unreadable commit at the end of the file counts."""
        fragment = reading.fragment
        if reading.number is None:
            return False
        if self._acknowledged >= fragment.end or (reading.whole and fragment.footed):
            return True
        return (fragment.footed or reading.commit is not None) and not self._journal.video.unwritten(fragment)
