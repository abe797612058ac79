"""The journal: an append-only sequence of commits in a video."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from memvid_core.errors import MemoryFileError, NotAMemoryError, ReadOnlyError
from memvid_core.journal import frames, packing
from memvid_core.journal.entries import Batch, CommitFrame, Cursor, Entry, Header
from memvid_core.journal.frames import FrameHeader, Kind
from memvid_core.journal.head import after, open_head, start_at
from memvid_core.journal.known import Known
from memvid_core.journal.replaying import Replay
from memvid_core.model import Damage, FrameLocation
from memvid_core.video import FrameCodec, FramePosition, Position, TornTail, VideoFile

__all__ = ["Journal"]


class Journal:
    """Commits appended to, and replayed from, a ``VideoFile``.

    A commit is one fragment and counts from the moment its last frame, COMMIT, is whole on disk.

    Example:
        >>> import io
        >>> from memvid_core.video import PcmCodec
        >>> journal = Journal.create(io.BytesIO(), PcmCodec(), vectors="none", embedder="")
        >>> entry = journal.append(Batch(rows=[msgspec.msgpack.encode(("a", "hello", {}))]))
        >>> entry.number, [row for entry in journal.replay(journal.start) for row in entry.rows]
        (1, [('a', 'hello', {})])
    """

    def __init__(self, video: VideoFile, header: Header, start: Cursor, damage: Sequence[Damage] = ()) -> None:
        self.video = video
        self.header = header
        self.start = start
        self.cursor = start
        self.head_damage = list(damage)
        """What is wrong with the head of the file and with commit 0. No record is lost by it."""
        self.made_up = False
        """Whether the header is lost with all copies, and ``header`` says what could be told from the frames."""
        self.torn_bytes = 0
        """How many bytes at the end of the file are of a write that never finished."""
        self.torn_records = 0
        """How many records in them can be read. They do not count; a copy is put aside before they are cut."""
        self.unfinished: list[Damage] = []
        self.known: Known | None = None
        """What an index says of this file: a replay looks there for what it does not find."""
        self._aside: TornTail | None = None  # what the next append cuts, and is worth keeping
        self._last = (-1, 0)  # number and time of the last commit that was seen

    @classmethod
    def create(
        cls,
        target: str | os.PathLike[str] | BinaryIO,
        codec: FrameCodec,
        *,
        vectors: str,
        embedder: str,
        dimension: int | None = None,
        metric: str = "cosine",
        description: str = "",
    ) -> Self:
        """A new journal with commit 0, which holds the header alone."""
        header = Header(
            memory_id=uuid.uuid4().bytes,
            codec=codec.name,
            vectors=vectors,
            created=_now(),
            dimension=dimension,
            metric=metric,
            embedder=embedder,
            description=description,
        )
        return cls.create_with(target, codec, header)

    @classmethod
    def create_with(cls, target: str | os.PathLike[str] | BinaryIO, codec: FrameCodec, header: Header) -> Self:
        """A new journal with a given header, as a compaction or a conversion writes it."""
        video = VideoFile.create(target, codec)
        journal = cls(video, header, start_at(video.start))
        try:
            body = msgspec.msgpack.encode(header)
            first = FrameHeader(Kind.HEADER, frames.metric_flags(header.metric), 0, 0, 0)
            entry = journal._write([(first, body)], 0, header.created, 0, 0)
        except BaseException:
            left = video.target
            video.close()
            if isinstance(left, Path):  # without a header it is nothing, and in the way of the next try
                left.unlink(missing_ok=True)
            raise
        journal.start = journal.cursor = entry.cursor
        return journal

    @classmethod
    def open(cls, target: str | os.PathLike[str] | BinaryIO, mode: str = "r") -> Self:
        """An existing journal, standing at its start: ``replay`` or ``resume`` brings it to its end.

        Raises:
            NotAMemoryError: The video carries no memory.
            UnsupportedFormatError: A newer version wrote it.
        """
        video = VideoFile.open(target, mode)
        try:
            opening = open_head(video)
            if opening is None and video.guess_codec():
                opening = open_head(video)
            if opening is None:
                raise NotAMemoryError("the file is an MP4 whose first commit never finished; it holds nothing yet")
        except BaseException:
            video.close()
            raise
        journal = cls(video, opening.header, opening.start, opening.damage)
        journal.made_up = opening.made_up
        return journal

    def again(self) -> Journal:
        """Another over the same open file, to replay without moving this one; closing either closes the file."""
        made = Journal(self.video.again(), self.header, self.start, self.head_damage)
        made.made_up = self.made_up
        return made

    def holds(self, cursor: Cursor) -> bool:
        """Return whether the commit that ``cursor`` stands behind is in the file, by reading one of its frames.

        That is its COMMIT frame, or where this is damaged, another of its frames.
        """
        if cursor.commit <= 0:
            return cursor == self.start
        if cursor.offset > self.video.size():
            return False
        try:
            payload = self.video.intact(cursor.last_frame, FramePosition(cursor.last_offset, cursor.last_size))
            header, body = frames.parse(payload, cursor.last_frame)
            if header.kind != Kind.COMMIT:
                return header.commit == cursor.commit
            commit = msgspec.msgpack.decode(body, type=CommitFrame)
        except (MemoryFileError, msgspec.DecodeError, RecursionError):
            return False
        self._last = (commit.number, commit.time)
        return commit.chain == cursor.chain

    def resume(self, cursor: Cursor) -> bool:
        """Go to ``cursor`` without a replay, if the commit before it is still there; return False if it is not."""
        if not self.holds(cursor):
            return False
        self.cursor = cursor
        self.video.resume(cursor.position)
        return True

    def append(self, batch: Batch, *, number: int | None = None, at: int | None = None) -> Entry:
        """Write one commit, durable on return.

        Args:
            batch: What it holds.
            number: Its number, if it is not the next one (a compaction keeps the numbers of what it folds).
            at: Its time in microseconds since 1970, if it is not now.

        Returns:
            The commit, with ``row_frames`` and ``vectors`` filled; its rows are the caller's own.

        Raises:
            StorageError: The system refused; the file is as before.
        """
        if self.made_up:
            raise ReadOnlyError(
                "the memory's header is lost, and what it said is not known: it can be read, but not written; "
                "memvid rescue makes a sound memory of it"
            )
        number = self.cursor.commit + 1 if number is None else number
        row = self.cursor.row
        given = packing.bodies(batch, row, number, dtype=self.header.vectors, capacity=self.video.codec.capacity)
        entry = self._write(given, number, self._time() if at is None else at, len(batch.rows), len(batch.tombstones))
        entry.vectors = batch.placed(row)
        entry.tombstones = list(batch.tombstones)
        entry.model = batch.model
        self.cursor = entry.cursor
        return entry

    def _write(self, given: Iterable[packing.Body], number: int, at: int, added: int, deleted: int) -> Entry:
        if self._aside is not None:
            self.video.set_aside(self._aside, self.start.offset)
            self._aside = None
        fragments = self.video.end.fragment
        commit = CommitFrame(
            number=number,
            time=at,
            rows=self.cursor.row + added,
            added=added,
            deleted=deleted,
            frames=0,
            previous=self.cursor.chain,
            chain=b"",
            copy=msgspec.msgpack.encode(self.header) if fragments and not fragments & (fragments - 1) else b"",
        )
        payloads = packing.Payloads(given, commit, self.video.codec.capacity, self.header.metric)
        fragment = self.video.append(payloads)
        offsets, sizes, first = fragment.offsets, fragment.sizes, fragment.first_frame
        placed = [
            FrameLocation(first + i, int(offsets[i]), int(sizes[i]), head.kind, head.row, head.items)
            for i, head in payloads.with_rows
        ]
        self._last = (number, at)
        return Entry(number, at, after(fragment, payloads.commit), fragment.start, first, row_frames=placed)

    def _time(self) -> int:
        """Now, but never before the last commit: the past is looked up by time."""
        if self._last[0] != self.cursor.commit:
            self._last = (self.cursor.commit, 0)
            self.holds(self.cursor)
        return max(_now(), self._last[1])

    def replay(self, since: Cursor, *, acknowledged: int = 0) -> Iterator[Entry]:
        """The commits after ``since``, oldest first, each decoded. ``cursor`` follows.

        What cannot be read is named in the entries' ``damage``. A commit of which something cannot be read counts if a
        later one proves that it was written whole, or ``acknowledged`` does. At the end of the file, where nothing
        does, it counts if only its COMMIT frame is damaged, or if no block of it looks as if it was never written. What
        does not count is named in ``unfinished``, with what is damaged behind the last commit.

        Args:
            since: Where to begin.
            acknowledged: The byte offset up to which somebody, such as an index, knows that commits were durable.
        """
        return Replay(self, since, acknowledged).entries()

    def last_time(self) -> int:
        """The time of the last commit that was replayed or written, in microseconds since 1970; 0 if none was."""
        return self._last[1]

    def seen(self, number: int, at: int) -> None:
        """Note a commit's time: no later one is earlier."""
        self._last = (number, max(at, self._last[1] if number > self._last[0] else 0))

    def drop_tail(self, tail: TornTail | None) -> None:
        """Say which torn tail the next append cuts, after a copy of it was put aside; None if there is none."""
        self._aside = tail

    def keep_tail(self) -> None:
        """Let the next append go behind all bytes that are there."""
        self._aside = None
        end = self.video.end
        frame, fragment = max(end.frame, self.cursor.frame), max(end.fragment, self.cursor.fragment)
        self.video.resume(Position(self.video.size(), frame, fragment))

    def missing(self, known: Cursor) -> Damage | None:
        """What the file lacks of the commits up to ``known``, after a replay; None if it has them.

        Args:
            known: The place behind a commit that was durable, as an index noted it.
        """
        commits, rows = known.commit - self.cursor.commit, max(0, known.row - self.cursor.row)
        if commits < 0 or not (commits or rows):
            return None
        if not commits:
            return Damage(None, known.commit, rows, "rows of its commits were written and cannot be told of any more")
        gone = max(0, known.offset - self.video.size())
        reason = (
            f"commits {self.cursor.commit + 1} to {known.commit} were written and are no longer in the file "
            "(where an older copy was put back on purpose, delete the index folder)"
        )
        return Damage(None, known.commit, rows, f"{reason}; it is {gone} bytes shorter than it was" if gone else reason)

    def close(self) -> None:
        """Close the file."""
        self.video.close()


def _now() -> int:
    return time.time_ns() // 1000
