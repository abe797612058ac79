"""Inspection: info, history, earlier states, saving a copy and verifying a memory."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from memvid_core.engine.damage_evidence import damage_of
from memvid_core.engine.film import film_again
from memvid_core.engine.index_place import known_in
from memvid_core.engine.indexed_journal import IndexedJournal
from memvid_core.engine.snapshot import Snapshot
from memvid_core.engine.torn_copies import copies_beside
from memvid_core.errors import InvalidInputError, StorageError
from memvid_core.journal import Entry, Journal
from memvid_core.journal.checking import Checked
from memvid_core.journal.copying import copy_journal
from memvid_core.model import Commit, Damage, MemoryInfo, VerifyReport
from memvid_core.system.atomic_files import replacing
from memvid_core.system.progress import progress

__all__ = ["history", "info", "past_snapshot", "save", "verify"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOW_PROGRESS_BYTES = 32 << 20
_TRIES = 10


def _when(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def info(indexed: IndexedJournal, snapshot: Snapshot, path: str) -> MemoryInfo:
    """Return the properties and sizes of a memory; see :meth:`memvid_core.Memory.info`."""
    header, records = indexed.journal.header, snapshot.record_count
    size = indexed.journal.video.size()
    return MemoryInfo(
        path=path,
        format_version=header.format_version,
        codec=header.codec,
        records=records,
        deleted=snapshot.rows - records - snapshot.lost,
        lost=indexed.lost,
        commits=snapshot.commit,
        frames=indexed.cursor.frame,
        bytes=size,
        index_bytes=indexed.index.nbytes(),
        dimension=indexed.dimension,
        vector_dtype=header.vectors,
        metric=header.metric,
        embedder=header.embedder,
        created=_when(header.created),
        modified=_when(snapshot.time or header.created),
        description=header.description,
        damage=tuple(damage_of(row) for row in indexed.damage()),
        torn_bytes=indexed.journal.torn_bytes if size > indexed.cursor.offset else 0,
        torn_copies=tuple(map(str, copies_beside(indexed))),
        index_in_ram=indexed.place.why_in_ram if indexed.index.folder is None else "",
    )


def history(indexed: IndexedJournal, snapshot: Snapshot, after: int = 0) -> list[Commit]:
    """Return the commits after number ``after`` up to a snapshot, oldest first."""
    return [
        Commit(row.number, _when(row.time), row.added, row.deleted, row.frames, row.bytes)
        for row in snapshot.epoch.index.catalog.commits(after or -1)
        if row.number <= snapshot.commit
    ]


def past_snapshot(indexed: IndexedJournal, as_of: int | datetime) -> Snapshot:
    """Return the state after the last commit at or before a number or a time.

    Raises:
        InvalidInputError: ``as_of`` is neither, or is not between the oldest commit in the file and the last one.
    """
    if isinstance(as_of, bool) or not isinstance(as_of, int | datetime):
        raise InvalidInputError(
            f"as_of is the number of a commit or a datetime, not a value of type {type(as_of).__name__}; "
            "datetime.fromisoformat() makes one of a text"
        )
    catalog, header = indexed.index.catalog, indexed.journal.header
    if isinstance(as_of, datetime):
        try:
            moment = as_of if as_of.tzinfo is not None else as_of.astimezone()
        except (
            ValueError,
            OverflowError,
            OSError,
        ) as exc:  # local time is unknown for distant dates
            raise InvalidInputError(
                f"as_of {as_of.isoformat()} has no time zone, and local time is unknown: {exc}"
            ) from exc
        found = catalog.commit_at((moment - _EPOCH) // timedelta(microseconds=1))
        number = 0 if found is None else found.number
        if found is None and _when(header.created) > moment:
            raise InvalidInputError(
                f"this memory was made at {_when(header.created).isoformat()}, after {as_of.isoformat()}"
            )
    else:
        number = as_of
        if not 0 <= number <= indexed.snapshot.commit:
            raise InvalidInputError(f"there are commits 0 to {indexed.snapshot.commit}, and not {number}")
    if number < header.history_from:
        raise InvalidInputError(
            f"a compaction removed the history: it is available from commit {header.history_from} on"
        )
    return indexed.view_at(number) or indexed.empty_view(header.created)


def save(indexed: IndexedJournal, snapshot: Snapshot, path: str | os.PathLike[str], *, drop_damaged: bool) -> None:
    """Write the records of a snapshot to a new memory at ``path``, completely or not at all."""
    indexed.check_whole(drop_damaged)
    target, own = Path(path), indexed.journal.video.target
    if isinstance(own, Path) and target.exists() and target.samefile(own):
        raise InvalidInputError(f"{target} is this memory's own file, and up to date; give another path")
    source = snapshot.epoch.journal.again()  # not from the path, where a compaction may have put another file
    source.known = known_in(snapshot.epoch.index, snapshot.commit, snapshot.rows)
    header = msgspec.structs.replace(
        source.header,
        memory_id=uuid.uuid4().bytes,
        epoch=0,
        history_from=snapshot.commit,
        dimension=indexed.dimension,
    )
    with replacing(target, like=own if isinstance(own, Path) else None, timeout=indexed.timeout) as made:
        total = source.video.size()
        with progress("Saving", total, show=None if total > _SHOW_PROGRESS_BYTES else False) as advance:
            copy_journal(
                source,
                made,
                source.video.codec,
                header,
                snapshot.live,
                film=film_again(snapshot, target),
                upto=snapshot.commit,
                drop_damaged=drop_damaged,
                acknowledged=indexed.cursor.offset,
                advance=advance,
            ).close()


def verify(indexed: IndexedJournal) -> VerifyReport:
    """Read every frame and check every checksum, every link between commits, and every byte between payloads."""
    journal = _newest(indexed)
    try:
        commits = frames = records = 0
        damage: list[Damage] = list(journal.head_damage)
        total, known = journal.video.size(), indexed.cursor
        journal.known = known_in(indexed.index, known.commit, known.row)
        checked = Checked(journal)
        damage += checked.beginning()
        with progress("Verifying", total, show=None if total > _SHOW_PROGRESS_BYTES else False) as advance:
            for entry in _every_entry(indexed, journal, known.offset):
                commits += 1
                frames = entry.cursor.frame
                records += len(entry.rows)
                damage += entry.damage
                damage += checked.taken(entry.number)
                advance(entry.cursor.offset)
        damage += journal.unfinished
        damage += checked.taken(None)
        missing = journal.missing(known)
        if missing is None:
            damage += [damage_of(row) for row in indexed.index.catalog.damage("missing")]
        else:
            damage.append(missing)
        repaired = tuple(sorted(journal.video.repaired))
        copies = tuple(map(str, copies_beside(indexed)))
        size, torn = journal.video.size(), journal.torn_bytes
        return VerifyReport(commits, frames, records, size, torn, tuple(damage), repaired, copies)
    finally:
        journal.close()


def _newest(indexed: IndexedJournal) -> Journal:
    """Open the file that the index is of a second time; others may just have replaced it."""
    for _ in range(_TRIES):
        indexed.refresh()
        journal = indexed.journal_copy()
        if journal.header.epoch == indexed.journal.header.epoch:
            return journal
        journal.close()
    raise StorageError("others replaced the file of the memory again and again; try again")


def _every_entry(indexed: IndexedJournal, journal: Journal, acknowledged: int) -> Iterator[Entry]:
    """Replay a journal; continue an incomplete end while no process writes, because it may be a commit."""
    yield from journal.replay(journal.start, acknowledged=acknowledged)
    if journal.torn_bytes or journal.unfinished:
        with indexed.settled():
            yield from journal.replay(journal.cursor, acknowledged=acknowledged)
