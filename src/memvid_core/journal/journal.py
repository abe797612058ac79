"""The journal: an append-only sequence of commits in a video."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

import msgspec
import xxhash

from memvid_core.errors import DamagedFrameError, NotAMemoryError, UnsupportedFormatError
from memvid_core.journal import frames, packing
from memvid_core.journal.entries import Batch, CommitFrame, Cursor, Entry, Header, Row, RowFrame
from memvid_core.journal.frames import Flag, FrameHeader, Kind
from memvid_core.model import Damage
from memvid_core.video import Fragment, FrameCodec, FramePosition, Position, TornTail, VideoFile

__all__ = ["Journal"]

_NO_CHAIN = bytes(16)

_rows_decoder = msgspec.msgpack.Decoder(Row)
_commit_decoder = msgspec.msgpack.Decoder(CommitFrame)


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

    def __init__(self, video: VideoFile, header: Header, start: Cursor) -> None:
        self.video = video
        self.header = header
        self.start = start
        self.cursor = start
        self.torn_bytes = 0
        self.unfinished: list[Damage] = []

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
        journal = cls(video, header, _at(video.start))
        try:
            body = msgspec.msgpack.encode(header)
            entry = journal._write([(FrameHeader(Kind.HEADER, 0, 0, 0, 0), body)], 0, header.created, 0, 0)
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
            found = next(video.walk(video.start), None)
            if not isinstance(found, Fragment) or not len(found):
                raise NotAMemoryError("the file is an MP4 whose first commit never finished; it holds nothing yet")
            (number, place), *_ = found.frames()
            header_frame, body = frames.parse(video.read(number, place), number)
            while header_frame.flags & Flag.MORE:
                number += 1
                header_frame, more = frames.parse(video.read(number, dict(found.frames())[number]), number)
                body = memoryview(bytes(body) + bytes(more))
            if header_frame.kind != Kind.HEADER:
                raise NotAMemoryError("the first frame of the video is not a memory's header")
            header = msgspec.msgpack.decode(body, type=Header)
            journal = cls(video, header, _at(video.start))
            commit = journal._commit_frame(found)
            start = _after(found, commit) if commit else _at(video.end)
        except (DamagedFrameError, msgspec.DecodeError) as exc:
            video.close()
            raise NotAMemoryError(f"the memory's header cannot be read: {exc}") from exc
        except BaseException:
            video.close()
            raise
        journal.start = journal.cursor = start
        return journal

    def again(self) -> Journal:
        """Another over the same open file, to replay without moving this one; closing either closes the file."""
        return Journal(self.video.again(), self.header, self.start)

    def holds(self, cursor: Cursor) -> bool:
        """Return whether the commit that ``cursor`` stands behind is in the file, by reading its COMMIT frame."""
        if cursor.offset > self.video.size():
            return False
        try:
            payload = self.video.read(cursor.last_frame, FramePosition(cursor.last_offset, cursor.last_size))
            header, body = frames.parse(payload, cursor.last_frame)
            return header.kind == Kind.COMMIT and _commit_decoder.decode(body).chain == cursor.chain
        except (DamagedFrameError, msgspec.DecodeError):
            return False

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
        number = self.cursor.commit + 1 if number is None else number
        row = self.cursor.row
        given = packing.bodies(batch, row, number, dtype=self.header.vectors, capacity=self.video.codec.capacity)
        entry = self._write(given, number, _now() if at is None else at, len(batch.rows), len(batch.tombstones))
        entry.vectors = batch.placed(row)
        entry.tombstones = list(batch.tombstones)
        entry.model = batch.model
        self.cursor = entry.cursor
        return entry

    def _write(self, given: Iterable[packing.Body], number: int, at: int, added: int, deleted: int) -> Entry:
        commit = CommitFrame(
            number=number,
            time=at,
            rows=self.cursor.row + added,
            added=added,
            deleted=deleted,
            frames=0,
            previous=self.cursor.chain,
            chain=b"",
        )
        payloads = packing.Payloads(given, commit, self.video.codec.capacity)
        fragment = self.video.append(payloads)
        offsets, sizes, first = fragment.offsets, fragment.sizes, fragment.first_frame
        placed = [
            RowFrame(first + i, int(offsets[i]), int(sizes[i]), head.kind, head.row, head.items)
            for i, head in payloads.with_rows
        ]
        return Entry(number, at, _after(fragment, payloads.commit), fragment.start, first, row_frames=placed)

    def replay(self, since: Cursor) -> Iterator[Entry]:
        """The commits after ``since``, oldest first, each decoded. ``cursor`` follows.

        What cannot be read is named in the entries' ``damage``. A commit whose COMMIT frame is damaged counts if a
        later one says that it came after it; at the end of the file it does not.
        """
        self.torn_bytes = 0
        self.unfinished = []
        self.cursor = since
        pending: list[Fragment] = []
        for found in self.video.walk(since.position):
            if isinstance(found, TornTail):
                self.torn_bytes = found.size
                break
            commit = self._commit_frame(found)
            if commit is None:
                pending.append(found)
                continue
            if commit.number <= self.cursor.commit:  # a copy of an older commit: nothing of ours writes one
                continue
            for fragment in pending:
                entry = self._uncommitted(fragment, commit)
                if entry is not None:
                    self.cursor = entry.cursor
                    yield entry
            pending.clear()
            entry = self._entry(found, commit)
            if commit.previous != self.cursor.chain:
                entry.damage.append(Damage(None, commit.number, 0, "it does not continue the commit before it"))
            self.cursor = entry.cursor
            yield entry
        for fragment in pending:
            reason = "a commit at the end whose COMMIT frame is damaged: it does not count"
            self.unfinished.append(Damage(fragment.first_frame + max(len(fragment) - 1, 0), None, 0, reason))

    def _uncommitted(self, fragment: Fragment, following: CommitFrame) -> Entry | None:
        """A fragment without a readable COMMIT frame, if ``following`` proves that its commit counted."""
        number = next((header.commit for _, header, _ in self._parts(fragment, [], []) if header.commit), None)
        if number is None or not self.cursor.commit < number < following.number:
            return None
        commit = CommitFrame(number, following.time, following.rows - following.added, 0, 0, 0, b"", following.previous)
        entry = self._entry(fragment, commit)
        entry.damage.append(
            Damage(None, number, 0, "its COMMIT frame is damaged; the commit after it proves that it counted")
        )
        return entry

    def _commit_frame(self, fragment: Fragment) -> CommitFrame | None:
        """The fragment's COMMIT frame, or None if it has no valid one."""
        if not len(fragment):
            return None
        number = fragment.first_frame + len(fragment) - 1
        try:
            place = FramePosition(int(fragment.offsets[-1]), int(fragment.sizes[-1]))
            header, body = frames.parse(self.video.read(number, place), number)
            commit = _commit_decoder.decode(body) if header.kind == Kind.COMMIT else None
        except (DamagedFrameError, msgspec.DecodeError):
            return None
        return commit if commit is not None and commit.frames == len(fragment) else None

    def _parts(
        self, fragment: Fragment, damage: list[tuple[int, str]], digests: list[bytes]
    ) -> Iterator[tuple[int, FrameHeader, memoryview]]:
        """Number, header and body of each readable frame; checksums go to ``digests``, the others to ``damage``."""
        for number, place in fragment.frames():
            try:
                payload = self.video.read(number, place)
                header, body = frames.parse(payload, number)
            except DamagedFrameError as exc:
                damage.append((number, str(exc)))
                continue
            digests.append(xxhash.xxh3_64_digest(payload))
            yield number, header, body

    def _entry(self, fragment: Fragment, commit: CommitFrame) -> Entry:
        entry = Entry(commit.number, commit.time, _after(fragment, commit), fragment.start, fragment.first_frame)
        if fragment.damage:
            entry.damage.append(Damage(None, commit.number, 0, fragment.damage))
        unread: list[tuple[int, str]] = []
        digests: list[bytes] = []
        for number, header, data, after_gap in self._bodies(fragment, entry, unread, digests):
            try:
                if after_gap and header.kind == Kind.MODEL:  # it opens a commit: this is the rest of one
                    raise DamagedFrameError(number, "the frame that it goes on from cannot be read")
                self._take(entry, number, header, data)
            except (DamagedFrameError, msgspec.DecodeError) as exc:
                unread.append((number, str(exc)))
            except UnsupportedFormatError as exc:
                if not after_gap:
                    raise
                unread.append((number, f"the frame that it goes on from cannot be read ({exc})"))
        lost = max(0, commit.added - len(entry.rows))
        for number, reason in unread:
            entry.damage.append(Damage(number, commit.number, lost, reason))
            lost = 0
        if not unread and commit.frames and packing.chain(commit, digests[:-1]) != commit.chain:
            entry.damage.append(Damage(None, commit.number, 0, "its chained checksum does not cover what it holds"))
        return entry

    def _bodies(
        self, fragment: Fragment, entry: Entry, unread: list[tuple[int, str]], digests: list[bytes]
    ) -> list[tuple[int, FrameHeader, bytes | memoryview, bool]]:
        """First frame, header and whole body of what the frames carry, and whether the frame before it is missing."""
        places = dict(fragment.frames())
        whole: list[tuple[int, FrameHeader, bytes | memoryview, bool]] = []
        open_body: tuple[int, FrameHeader, list[memoryview], bool] | None = None
        expected = fragment.first_frame
        for number, header, body in self._parts(fragment, unread, digests):
            continues = open_body is not None and number == expected and header.kind == open_body[1].kind
            if header.kind in (Kind.RECORDS, Kind.VECTORS):
                items = 0 if continues else header.items
                entry.row_frames.append(RowFrame(number, *places[number], header.kind, header.row, items))
            if open_body is None or not continues:
                open_body = (number, header, [], number != expected)
            open_body[2].append(body)
            expected = number + 1
            if not header.flags & Flag.MORE:
                first, head, bodies, after_gap = open_body
                whole.append((first, head, bodies[0] if len(bodies) == 1 else b"".join(bodies), after_gap))
                open_body = None
        return whole

    @staticmethod
    def _take(entry: Entry, number: int, header: FrameHeader, body: bytes | memoryview) -> None:
        """Decode one frame's content into ``entry``."""
        if header.kind == Kind.RECORDS:
            row = header.row
            for block in frames.decode_blocks(body, number):
                for raw in frames.decode_rows(body, block, number):
                    entry.rows.append(_rows_decoder.decode(raw))
                    entry.row_numbers.append(row)
                    row += 1
        elif header.kind == Kind.VECTORS:
            entry.vectors.append(frames.decode_vectors(header, body, number))
        elif header.kind == Kind.TOMBSTONES:
            entry.tombstones += frames.decode_tombstones(header, body, number).tolist()
        elif header.kind == Kind.MODEL:
            entry.model = bytes(body)

    def close(self) -> None:
        """Close the file."""
        self.video.close()


def _now() -> int:
    return time.time_ns() // 1000


def _at(position: Position) -> Cursor:
    return Cursor(*position, commit=-1, row=0, chain=_NO_CHAIN, last_frame=0, last_offset=0, last_size=0)


def _after(fragment: Fragment, commit: CommitFrame) -> Cursor:
    """The place after a commit."""
    frame = fragment.first_frame + len(fragment)
    last = (int(fragment.offsets[-1]), int(fragment.sizes[-1])) if len(fragment) else (0, 0)
    return Cursor(
        offset=fragment.end,
        frame=frame,
        fragment=fragment.sequence,
        commit=commit.number,
        row=commit.rows,
        chain=commit.chain,
        last_frame=frame - 1,
        last_offset=last[0],
        last_size=last[1],
    )
