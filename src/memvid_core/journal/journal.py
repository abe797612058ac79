"""The journal: an append-only sequence of commits in a video."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec

from memvid_core.errors import MemoryFileError, NotAMemoryError, ReadOnlyError
from memvid_core.journal import frames, packing
from memvid_core.journal.checking import head_checksum
from memvid_core.journal.contents import Contents
from memvid_core.journal.entries import Batch, CommitFrame, Cursor, Entry, Header
from memvid_core.journal.frames import FrameHeader, Kind
from memvid_core.journal.header import after, open_head, start_at
from memvid_core.journal.known import Known
from memvid_core.journal.reading import LAST_TIME
from memvid_core.journal.replaying import Replay
from memvid_core.model import Damage, FrameLocation
from memvid_core.video import FrameCodec, FramePosition, Position, TornTail, VideoFile, get_codec
from memvid_core.video.film import Film, pictures_after, shows_pictures

__all__ = ["Journal"]


class Journal:
    """Append commits to a ``VideoFile``, and replay them from it.

    A commit is one fragment. It counts as soon as its last frame, COMMIT, is completely on disk.

    Example:
        >>> import io
        >>> journal = Journal.create(io.BytesIO(), vectors="none", embedder="")
        >>> entry = journal.append(Batch(rows=[msgspec.msgpack.encode(("a", "hello", {}))]))
        >>> entry.number, [row for entry in journal.replay(journal.start) for row in entry.rows]
        (1, [('a', 'hello', {})])
    """

    def __init__(self, video: VideoFile, header: Header, start: Cursor, damage: Sequence[Damage] = ()) -> None:
        self.video = video
        video.checksums = bool(header.head)
        self.header = header
        self.start = start
        self.cursor = start
        self.head_damage = list(damage)
        """The damage of the file's head and of commit 0. It loses no records."""
        self.made_up = False
        """Whether the header and all its copies are lost, so that ``header`` was reconstructed from the frames."""
        self.torn_bytes = 0
        """The size in bytes of an interrupted write at the end of the file."""
        self.torn_records = 0
        """The number of readable records in it. They do not count; they are copied before they are removed."""
        self.unfinished: list[Damage] = []
        self.hidden = 0  # fragments at the end that may be commits, but of which nothing can be read
        self.contents: Contents | None = None
        """What the last replay knows of the commits that it has read, such as the dimension of their vectors."""
        self.known: Known | None = None
        """The knowledge of an index about this file, for a replay of damaged parts."""
        self._aside: TornTail | None = None  # a torn tail to copy before the next append removes it
        self._last = (-1, 0)  # number and time of the last known commit

    @classmethod
    def create(
        cls,
        target: str | os.PathLike[str] | BinaryIO,
        codec: str = "pcm",
        settings: Mapping[str, Any] | None = None,
        *,
        vectors: str,
        embedder: str,
        dimension: int | None = None,
        metric: str = "cosine",
        description: str = "",
        film: Film | None = None,
    ) -> Self:
        """Create a journal with commit 0, which contains only the header, and the title card of ``film``.

        Raises:
            CodecError: The codec is unknown, or one of its settings is invalid.
        """
        header = Header(
            memory_id=uuid.uuid4().bytes,
            codec=codec,
            vectors=vectors,
            created=_now(),
            dimension=dimension,
            metric=metric,
            embedder=embedder,
            description=description,
            format_version=frames.FORMAT_VERSION if codec == "pcm" else frames.FIRST_VERSION,
            pictures=film is not None and bool(film.card),
        )
        return cls.create_with(target, get_codec(codec, **(settings or {})), header, film)

    @classmethod
    def create_with(
        cls, target: str | os.PathLike[str] | BinaryIO, codec: FrameCodec, header: Header, film: Film | None = None
    ) -> Self:
        """Create a journal with a given header, as for a compaction or a conversion.

        Only a header that allows pictures allows a title card.
        """
        video = VideoFile.create(target, codec, b"" if film is None else film.about)
        header = msgspec.structs.replace(header, head=head_checksum(video))
        journal = cls(video, header, start_at(video.start))
        try:
            body = msgspec.msgpack.encode(header)
            card = [film.card, *pictures_after(codec)] if film is not None and film.card and journal.shows else []
            first = FrameHeader(Kind.HEADER, frames.metric_flags(header.metric), len(card), 0, 0)
            entry = journal._write([*packing.picture_bodies(card, 0, 0, 0), (first, body)], 0, header.created, 0, 0)
        except BaseException:
            left = video.target
            video.close()
            if isinstance(left, Path):  # without a header it is useless, and would block the next attempt
                left.unlink(missing_ok=True)
            raise
        journal.start = journal.cursor = entry.cursor
        return journal

    @classmethod
    def open(cls, target: str | os.PathLike[str] | BinaryIO, mode: str = "r") -> Self:
        """Open an existing journal at its start; ``replay`` or ``resume`` moves it to its end.

        Raises:
            NotAMemoryError: If the video contains no memory.
            UnsupportedFormatError: If a newer version wrote it.
        """
        video = VideoFile.open(target, mode)
        try:
            opening = open_head(video)
            if opening is None and video.guess_codec():
                opening = open_head(video)
            if opening is None:
                raise NotAMemoryError(
                    "the first commit of the file never finished; it contains no records, so create it again"
                )
        except BaseException:
            video.close()
            raise
        journal = cls(video, opening.header, opening.start, opening.damage)
        journal.made_up = opening.made_up
        return journal

    def again(self) -> Journal:
        """Return another journal on the same open file, to replay it separately; closing either closes the file."""
        made = Journal(self.video.again(), self.header, self.start, self.head_damage)
        made.made_up = self.made_up
        return made

    @property
    def shows(self) -> bool:
        """Whether records may have pictures in this file: its header allows them, and its codec can show them."""
        allowed = self.header.pictures or self.header.format_version == frames.PICTURE_VERSION
        return allowed and shows_pictures(self.video.codec)

    def holds(self, cursor: Cursor) -> bool:
        """Return whether the commit before ``cursor`` is in the file, by reading one of its frames.

        The cursor locates the COMMIT frame, or another frame if that is damaged.
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
        """Move to ``cursor`` without a replay; return False if the commit before it is not in the file."""
        if not self.holds(cursor):
            return False
        self.cursor = cursor
        self.video.resume(cursor.position)
        return True

    def append(self, batch: Batch, *, number: int | None = None, at: int | None = None) -> Entry:
        """Write one commit, durable on return.

        Args:
            batch: Its contents.
            number: Its number, by default the next one (a compaction keeps the numbers of merged commits).
            at: Its time in microseconds since 1970, by default now.

        Returns:
            The commit, with ``row_frames`` and ``vectors`` but without rows.

        Raises:
            ReadOnlyError: If the header is lost.
            StorageError: If the file cannot be written; it is unchanged.
        """
        if self.made_up:
            raise ReadOnlyError(
                "the memory's header is lost, so it can be read but not written; "
                "use memvid rescue to write its records to a new memory"
            )
        if number is None:  # not that of a commit whose bytes may come back
            number = self.cursor.commit + self.hidden + 1
        row = self.cursor.row
        codec = self.video.codec
        held = pictures_after(codec) if batch.pictures else ()
        given = packing.bodies(batch, row, number, dtype=self.header.vectors, capacity=codec.capacity, held=held)
        entry = self._write(given, number, self._time() if at is None else at, len(batch.rows), len(batch.tombstones))
        entry.vectors = batch.placed(row)
        entry.tombstones = list(batch.tombstones)
        entry.model = batch.model
        self.cursor, self.hidden = entry.cursor, 0
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
        header = self.header
        payloads = packing.Payloads(given, commit, self.video.codec.capacity, header.metric, header.format_version)
        fragment = self.video.append(payloads, parity=added > 1)  # damage to a single record loses no other
        offsets, sizes, first = fragment.offsets, fragment.sizes, fragment.first_frame
        placed = [
            FrameLocation(first + i, int(offsets[i]), int(sizes[i]), head.kind, head.row, head.items)
            for i, head in payloads.with_rows.items()
        ]
        self._last = (number, at)
        return Entry(number, at, after(fragment, payloads.commit), fragment.start, first, row_frames=placed)

    def _time(self) -> int:
        """Return the current time, but not before the last commit, because ``as_of`` finds commits by time."""
        if self._last[0] != self.cursor.commit:
            self._last = (self.cursor.commit, 0)
            self.holds(self.cursor)
        return max(_now(), self._last[1])

    def replay(self, since: Cursor, *, acknowledged: int = 0, contents: Contents | None = None) -> Iterator[Entry]:
        """Yield the commits after ``since``, oldest first, decoded, and move ``cursor`` after each.

        The ``damage`` of an entry lists what cannot be read. A partly unreadable commit counts if a later commit or
        ``acknowledged`` proves that it was written completely. At the end of the file it counts if only its COMMIT
        frame is damaged, or if no block of it looks unwritten. ``unfinished`` lists commits that do not count, and
        damage after the last commit.

        Args:
            since: The position to start from.
            acknowledged: The byte offset up to which commits are known, such as by an index, to be durable.
            contents: What another replay knows of the commits before these.
        """
        return Replay(self, since, acknowledged, contents).entries()

    def last_time(self) -> int:
        """Return the time of the last commit that was replayed or written, in microseconds since 1970, or 0."""
        return self._last[1]

    def seen(self, number: int, at: int) -> None:
        """Record a commit's time, so that no later commit gets an earlier time."""
        self._last = (number, max(at, self._last[1] if number > self._last[0] else 0))

    def drop_tail(self, tail: TornTail | None) -> None:
        """Set the torn tail that the next append copies and then removes; None for no tail."""
        self._aside = tail

    def keep_tail(self) -> None:
        """Make the next append start after all existing bytes."""
        self._aside = None
        end = self.video.end
        frame, fragment = max(end.frame, self.cursor.frame), max(end.fragment, self.cursor.fragment)
        self.video.resume(Position(self.video.size(), frame, fragment))

    def missing(self, known: Cursor) -> Damage | None:
        """Return what the file lacks of the commits up to ``known``, after a replay; None if nothing is missing.

        Args:
            known: The position after a durable commit, as recorded by an index.
        """
        commits, rows = known.commit - self.cursor.commit, max(0, known.row - self.cursor.row)
        if commits < 0 or not (commits or rows):
            return None
        if not commits:
            return Damage(None, known.commit, rows, "rows of its commits were written and can no longer be located")
        gone = max(0, known.offset - self.video.size())
        reason = (
            f"commits {self.cursor.commit + 1} to {known.commit} were written and are no longer in the file "
            "(if an older copy was restored on purpose, delete the index folder)"
        )
        return Damage(None, known.commit, rows, f"{reason}; it is {gone} bytes shorter than it was" if gone else reason)

    def close(self) -> None:
        """Close the file."""
        self.video.close()


def _now() -> int:
    """Return the time in microseconds, within what a commit may have: the clock may be wrong."""
    return min(max(0, time.time_ns() // 1000), LAST_TIME)
