"""The same memory in other pictures: from one codec to another, and back out of what became of a video.

:func:`convert` writes a memory anew through another codec, with every record, id, metadata, commit number and time.
:func:`recover` does so from pictures alone: a transcoded video, a folder of images, a filmed screen.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.embedding import Embedder, FittableEmbedder, as_embedder
from memvid_core.errors import (
    EmbedderMismatchError,
    InvalidInputError,
    MemoryExistsError,
    MemoryFileError,
    MemoryNotFoundError,
    NotAMemoryError,
    VectorError,
)
from memvid_core.journal import Batch, Cursor, Entry, Header, Journal
from memvid_core.journal.compaction import rewrite
from memvid_core.locking import WriterLock
from memvid_core.model import Damage
from memvid_core.opening import GIVEN
from memvid_core.progress import progress
from memvid_core.salvage import stage
from memvid_core.video import FrameCodec, get_codec
from memvid_core.video.file import sync_folder
from memvid_core.video.scan import Scan, ScanReport, Source, scan
from memvid_core.writing import VectorType

__all__ = ["Conversion", "Recovery", "convert", "recover"]

StrPath = str | os.PathLike[str]

_WRITING = ".converting"
_SHOW_PROGRESS_BYTES = 4 << 20
_FLOAT16_MAX = 65504.0
_encode_row = msgspec.msgpack.Encoder().encode


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: commits, records (deleted ones too, where history is kept), and the sizes of both files.

    ``lost`` counts the records that could not be read, and ``damage`` says why.
    """

    path: str
    codec: str
    vectors: str
    commits: int
    records: int
    lost: int
    bytes: int
    source_bytes: int
    damage: tuple[Damage, ...] = ()


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What pictures still gave: what the scan saw, the frames of the memory that are ``missing``, what was written.

    What comes after the last frame seen cannot be known to be missing.
    """

    scan: ScanReport
    stream: int
    missing: list[int]
    written: Conversion

    @property
    def whole(self) -> bool:
        """Whether everything up to the last frame seen is there."""
        return not (self.missing or self.written.lost or self.written.damage)


def convert(
    source: StrPath,
    target: StrPath,
    *,
    codec: str,
    codec_options: Mapping[str, Any] | None = None,
    vectors: VectorType | None = None,
    embedder: object = None,
    keep_history: bool = True,
    drop_damaged: bool = False,
    show_progress: bool | None = None,
) -> Conversion:
    """Write a memory anew in other pictures; records, ids, metadata and the commits' numbers and times stay the same.

    The target appears when it is whole, or not at all. The source is only read.

    Args:
        source: A memory.
        target: The file to make.
        codec: ``"pcm"``, the store, or ``"qr"``, for what must survive a re-encode.
        codec_options: Settings of the codec (``docs/qr.md``).
        vectors: How vectors are stored; None keeps what the source has, but for QR, where that is ``"int8"``.
            ``"none"`` leaves them out, and they are made again when the index is.
        embedder: What makes vectors that the source does not store; by default the built-in one.
        keep_history: Write every commit, and what was deleted, so that the past can be asked as before. Otherwise only
            what is live, in few large commits.
        drop_damaged: Go on where the source is damaged, with what can be read.
        show_progress: Whether to show a bar; None shows it on a terminal, for a file worth it.

    Raises:
        CodecError: Settings that cannot work.
        MemoryExistsError: The target is taken.
        MemoryFileError: The source is damaged, and ``drop_damaged`` is not set.
        EmbedderMismatchError: Vectors have to be made, and the embedder is not the one that wrote the memory.

    Example:
        >>> from memvid_core import Memory
        >>> with Memory.create("store.mp4") as memory:
        ...     ids = memory.add("the wing lifts", metadata={"page": 3}, ids="lift")
        >>> convert("store.mp4", "shared.mp4", codec="qr").records
        1
        >>> with Memory.open("shared.mp4") as memory:
        ...     memory.get("lift").metadata
        {'page': 3}
    """
    made_with = get_codec(codec, **(codec_options or {}))
    journal = _Replayed.open(source)
    try:
        with _beside(Path(target)) as beside:
            kind = vectors or ("int8" if codec == "qr" and journal.header.vectors != "none" else None)
            journal.prepare(kind or journal.header.vectors, embedder)
            size = journal.video.size()
            show = show_progress if show_progress is not None or size > _SHOW_PROGRESS_BYTES else False
            with progress("Converting", size, show=show) as advance:
                write = _copy if keep_history else _fold
                return write(journal, beside, made_with, drop_damaged=drop_damaged, advance=advance)
    finally:
        journal.close()


def recover(
    source: Source | Scan,
    target: StrPath,
    *,
    stream: int | None = None,
    pair: str = "zxing",
    vectors: VectorType | None = None,
    embedder: object = None,
) -> Recovery:
    """Write a memory from the symbols that pictures show.

    Every commit that can be read is written under its number and time; of one that is seen in part, the records that
    are there. The target appears when it is whole, or not at all.

    Args:
        source: A video, a folder of images, arrays, or a :class:`~memvid_core.video.scan.Scan` of them.
        target: The file to make, with the codec ``pcm``.
        stream: Which memory, where the pictures show several; a key of ``Scan.streams``.
        pair: Reader of symbols: ``zxing`` or ``zbar``.
        vectors: How vectors are stored; by default as in the memory that was shown.
        embedder: What makes vectors that the pictures do not have; by default the built-in one.

    Raises:
        NotAMemoryError: The pictures show no memory, or several and ``stream`` does not say which.
        MemoryExistsError: The target is taken.

    Example:
        >>> from memvid_core import Memory
        >>> with Memory.create("shown.mp4", codec="qr") as memory:
        ...     ids = memory.add("seen on a screen", ids="a")
        >>> recover("shown.mp4", "notes.mp4").whole
        True
    """
    _check_free(Path(target))
    found = source if isinstance(source, Scan) else scan(source, pair=pair)
    chosen = _stream(found, stream)
    missing = found.report.missing.get(chosen, [])
    file, numbers = stage(found.streams[chosen])
    journal = _Replayed.open(file)
    try:
        with _beside(Path(target)) as beside:
            journal.prepare(vectors or journal.header.vectors, embedder)
            written = _copy(journal, beside, get_codec("pcm"), drop_damaged=True)
    finally:
        journal.close()
    damage = [_seen(item, numbers, set(missing)) for item in written.damage]
    if 0 in missing:
        damage.insert(0, Damage(0, 0, 0, "what the memory says of itself was not seen: open it with its embedder"))
    written = msgspec.structs.replace(written, damage=tuple(damage))
    return Recovery(scan=found.report, stream=chosen, missing=missing, written=written)


def _seen(damage: Damage, numbers: Sequence[int], missing: Set[int]) -> Damage:
    """Damage by the frame numbers of the memory that was shown."""
    if damage.frame is None:
        return damage
    number = numbers[damage.frame]
    reason = f"frame {number} is in none of the pictures" if number in missing else damage.reason
    return msgspec.structs.replace(damage, frame=number, reason=reason)


def _stream(found: Scan, wanted: int | None) -> int:
    sizes = {stream: len(payloads) for stream, payloads in found.streams.items()}
    if not sizes:
        raise NotAMemoryError(f"the pictures show {len(found.texts)} plain texts and no memory; take Scan.texts")
    listed = ", ".join(f"{stream} ({frames} frames)" for stream, frames in sizes.items())
    if wanted is None and len(sizes) > 1:
        raise NotAMemoryError(f"the pictures show {len(sizes)} memories; say which stream: {listed}")
    if wanted is not None and wanted not in sizes:
        raise NotAMemoryError(f"the pictures show no stream {wanted}; there are: {listed}")
    return next(iter(sizes)) if wanted is None else wanted


# ---------------------------------------------------------------------------------------------------- what is read


class _Replayed(Journal):
    """A journal to read, whose commits come with vectors as the target is to have them."""

    wanted: str = ""
    embedder: Embedder | None = None

    def prepare(self, wanted: str, embedder: object) -> None:
        """Say how the target stores vectors, and what makes those that are not there.

        Raises:
            EmbedderMismatchError: They cannot be made with what is given.
        """
        if wanted not in get_args(VectorType):
            raise InvalidInputError(f"vectors is {wanted!r}: it is one of {', '.join(get_args(VectorType))}")
        recorded = self.header.embedder
        if wanted == "none" and recorded == GIVEN:
            raise InvalidInputError("this memory's vectors were given: no embedder could make them again, keep them")
        self.wanted = wanted
        if wanted == "none" or self.header.vectors != "none":
            return
        self.embedder = as_embedder(embedder)
        if self.embedder.name != recorded:
            raise EmbedderMismatchError(
                f"this memory stores no vectors and was written by {recorded!r}; to store them, give that embedder "
                f"and not {self.embedder.name!r}, or keep vectors='none'"
            )

    def replay(self, since: Cursor) -> Iterator[Entry]:
        """The commits after ``since``; see :meth:`Journal.replay`."""
        for entry in super().replay(since):
            if self.wanted == "none":
                entry.vectors = []
            elif self.embedder is not None:
                entry.vectors = self._embedded(entry, self.embedder)
            elif self.wanted == "float16":
                _check_float16(entry)
            yield entry

    @staticmethod
    def _embedded(entry: Entry, embedder: Embedder) -> list[tuple[NDArray[np.int64], NDArray[Any]]]:
        if entry.model is not None and isinstance(embedder, FittableEmbedder):
            embedder.load(entry.model)
        if not entry.rows:
            return []
        matrix = embedder.embed_documents([text for _, text, _ in entry.rows])
        return [(np.array(entry.row_numbers, np.int64), matrix)] if len(matrix) else []


def _check_float16(entry: Entry) -> None:
    for _, matrix in entry.vectors:
        if matrix.size and float(np.abs(matrix).max()) > _FLOAT16_MAX:
            raise VectorError("a component is larger than float16 holds (65504); convert with vectors='float32'")


# -------------------------------------------------------------------------------------------------- what is written


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A path to write to, whose file takes the target's name when the block ends well and is gone when it does not."""
    _check_free(target)
    lock = WriterLock(target)
    lock.acquire()
    beside = target.with_name(target.name + _WRITING)
    try:
        beside.unlink(missing_ok=True)  # left by a conversion that was killed
        yield beside
        _check_free(target)
        os.replace(beside, target)
        sync_folder(target.parent)
    finally:
        beside.unlink(missing_ok=True)
        lock.release()


def _check_free(target: Path) -> None:
    if not target.parent.is_dir():
        raise MemoryNotFoundError(f"the folder {target.parent} does not exist; create it first")
    if os.path.lexists(target):
        raise MemoryExistsError(f"{target} exists; give another name")


def _header(source: _Replayed, codec: FrameCodec, history_from: int) -> Header:
    # Another generation: an index that was made for the source is not taken for the target's.
    return msgspec.structs.replace(
        source.header,
        codec=codec.name,
        vectors=source.wanted,
        generation=source.header.generation + 1,
        history_from=history_from,
    )


def _copy(
    source: _Replayed,
    target: Path,
    codec: FrameCodec,
    *,
    drop_damaged: bool,
    advance: Callable[[int], None] = lambda done: None,
) -> Conversion:
    """Every commit of ``source`` with all it holds."""
    made = Journal.create_with(target, codec, _header(source, codec, source.header.history_from))
    rows = _Rows(keep_ids=drop_damaged)
    damage: list[Damage] = []
    commits = 0
    try:
        for entry in source.replay(source.start):
            _check_damage(entry.damage, drop_damaged)
            made.append(rows.batch(entry), number=entry.number, at=entry.time)
            damage += entry.damage
            commits += 1
            advance(entry.cursor.offset)
        _check_damage(source.unfinished, drop_damaged)
        damage += source.unfinished
        return Conversion(
            path=os.fspath(target).removesuffix(_WRITING),
            codec=codec.name,
            vectors=source.wanted,
            commits=commits,
            records=rows.written,
            lost=len(rows.lost),
            bytes=made.video.size(),
            source_bytes=source.video.size(),
            damage=tuple(damage),
        )
    finally:
        made.close()


def _check_damage(damage: Sequence[Damage], allowed: bool) -> None:
    if damage and not allowed:
        first = damage[0]
        where = "the end" if first.commit is None else f"commit {first.commit}"
        raise MemoryFileError(
            f"{where} is damaged ({first.reason}); verify() names all of it, drop_damaged=True goes on without"
        )


class _Rows:
    """Commits as they are written again: rows that could not be read leave no gap.

    Args:
        keep_ids: Bury the earlier record of an id that comes again, where the tombstone may be among what is lost.
    """

    def __init__(self, *, keep_ids: bool) -> None:
        self.lost: list[int] = []
        self.written = 0
        self._next = 0
        self._places: dict[str, int] | None = {} if keep_ids else None
        self._ids: dict[int, str] = {}

    def batch(self, entry: Entry) -> Batch:
        """The content of a commit, for the rows that are next in the target."""
        numbers = np.array(entry.row_numbers, np.int64)
        present = set(entry.row_numbers)
        if len(present) < entry.cursor.row - self._next:
            self.lost += [row for row in range(self._next, entry.cursor.row) if row not in present]
        self._next = max(self._next, entry.cursor.row)
        tombstones = {place for row in entry.tombstones if (place := self._place(row)) is not None}
        tombstones |= self._replaced(entry, tombstones)
        matrices, places = [], []
        for rows, matrix in entry.vectors:
            at = np.minimum(np.searchsorted(numbers, rows), max(len(numbers) - 1, 0))
            kept = numbers[at] == rows if len(numbers) else np.zeros(len(rows), np.bool_)
            matrices.append(matrix[kept])
            places.append(at[kept])
        self.written += len(entry.rows)
        return Batch(
            [_encode_row(record) for record in entry.rows],
            np.concatenate(matrices) if matrices else None,
            np.concatenate(places) if places else None,
            sorted(tombstones),
            entry.model,
        )

    def _place(self, row: int) -> int | None:
        """The row in the target of a row of the source; None if it could not be read."""
        before = bisect_left(self.lost, row)
        return None if before < len(self.lost) and self.lost[before] == row else row - before

    def _replaced(self, entry: Entry, tombstones: set[int]) -> set[int]:
        if self._places is None:
            return set()
        for place in tombstones:
            record_id = self._ids.pop(place, None)
            if record_id is not None and self._places.get(record_id) == place:
                del self._places[record_id]
        buried = set()
        for place, (record_id, _, _) in enumerate(entry.rows, self.written):
            if record_id in self._places:
                buried.add(self._places[record_id])
                self._ids.pop(self._places[record_id], None)
            self._places[record_id] = place
            self._ids[place] = record_id
        return buried


def _fold(
    source: _Replayed,
    target: Path,
    codec: FrameCodec,
    *,
    drop_damaged: bool,
    advance: Callable[[int], None] = lambda done: None,
) -> Conversion:
    """What is live in ``source``, in few large commits."""
    total, last = 0, source.header.history_from
    tombstones: list[int] = []
    damage: list[Damage] = []
    reader = Journal.open(source.video.target, "r")
    try:
        for entry in reader.replay(reader.start):
            total, last = entry.cursor.row, entry.number
            tombstones += entry.tombstones
            damage += entry.damage
    finally:
        reader.close()
    live = np.ones(total, np.bool_)
    live[tombstones] = False
    header = _header(source, codec, last)
    made = rewrite(source, target, codec, header, live, drop_damaged=drop_damaged, advance=advance)
    try:
        return Conversion(
            path=os.fspath(target).removesuffix(_WRITING),
            codec=codec.name,
            vectors=source.wanted,
            commits=sum(1 for _ in made.replay(made.start)),
            records=made.cursor.row,
            lost=int(live.sum()) - made.cursor.row,
            bytes=made.video.size(),
            source_bytes=source.video.size(),
            damage=tuple(damage),
        )
    finally:
        made.close()
