"""State: one version of a library, and how the next one is committed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from memvid_core.engine.embedders import existing_embedder
from memvid_core.engine.evidence import enough
from memvid_core.errors import (
    CommitConflictError,
    DamagedLibraryError,
    DimensionError,
    IncompleteSearchError,
    MemoryFileError,
    StorageError,
)
from memvid_core.library.building import Built, claimed
from memvid_core.library.corpus import LibraryCorpus, Vectors, learned_evidence, totals_of
from memvid_core.library.deletes import read_checked, read_deletes, read_doomed, write_checked, write_deletes
from memvid_core.library.executor import Executor
from memvid_core.library.manifest import (
    Description,
    Manifest,
    ShardEntry,
    check_same,
    commit_manifest,
    manifest_name,
    newest_version,
    read_manifest,
    time_after,
)
from memvid_core.library.objects import Objects
from memvid_core.library.remembered import Remembered
from memvid_core.library.replacing import replaced_rows
from memvid_core.library.shards import Asking, Shards, ShardsFailed
from memvid_core.library.waiting import TRIES, pause, waits
from memvid_core.model import Embedder, Index, is_fittable

__all__ = ["LARGEST_MODEL", "Change", "Place", "State", "committed", "on_newest", "open_state", "replaced"]

T = TypeVar("T")

LARGEST_MODEL: Final = 1 << 28  # bytes
_NOTHING_DONE: Final = "nothing was committed: "


@dataclass(frozen=True)
class Place:
    """Where a library lies, and who opens its shards.

    Attributes:
        objects: Its objects.
        description: Its description.
        executor: Who asks its shards.
        cache_dir: The folder of the indexes; None for the folders of the shards.
        embedder: The embedder that was given; None for the recorded one.
        index: How vectors are searched.
        remembered: What its small shards are known to have.
    """

    objects: Objects
    description: Description
    executor: Executor
    cache_dir: Path | None = None
    embedder: object = None
    index: Index = "auto"
    remembered: Remembered = field(default_factory=Remembered)

    def shards(self, entries: Sequence[ShardEntry]) -> Shards:
        """Return the shards of some entries."""
        objects, executor = self.objects, self.executor
        return Shards(entries, objects.name, executor, self._index_dir, objects.options, self.index)

    def _index_dir(self, entry: ShardEntry) -> str | None:
        return None if self.cache_dir is None else str(self.cache_dir / self.description.id / entry.name)


@dataclass(frozen=True)
class State:
    """One version of a library, for any number of searches.

    Attributes:
        manifest: The manifest.
        shards: Its shards.
        vectors: The embedder in the state of this version.
        stamp: What differs if another manifest has its name now; None if that is not known.
    """

    manifest: Manifest
    shards: Shards
    vectors: Vectors
    stamp: object = None

    def corpus(self, asking: Asking) -> LibraryCorpus:
        """Return what a search ranks."""
        return LibraryCorpus(asking, self.vectors, self.manifest.totals, self.manifest.evidence)


def open_state(place: Place, version: int | None = None, known: State | None = None) -> State:
    """Read a version of a library.

    Args:
        place: The library.
        version: The number; None for the newest version.
        known: Another version that is open, whose embedder is used again if it is the same.

    Raises:
        CommitConflictError: A vacuum removed the newest version again and again, while it was read.
    """
    if version is not None:
        return _opened(place, version, known)
    for wait in waits():
        number = newest_version(place.objects)
        try:
            return _opened(place, number, known)
        except MemoryFileError:
            if newest_version(place.objects) <= number:  # no vacuum removes the newest version
                raise
        time.sleep(wait)
    raise CommitConflictError(_unsettled(place, "opened"))


def _unsettled(place: Place, done: str) -> str:
    return (
        f"vacuums deleted files of {place.objects.name} {TRIES} times while they were {done}; try again, and give "
        "vacuum() an older_than that is longer than a change or a search takes"
    )


def _opened(place: Place, number: int, known: State | None) -> State:
    stamp = place.objects.stamp(manifest_name(number))
    if known is not None and known.manifest.version == number and known.stamp == stamp:
        return known
    if known is not None and number < known.manifest.version:
        raise DamagedLibraryError(
            manifest_name(known.manifest.version),
            f"is missing, and so is all that it committed; restore it, or open the library again at version {number}",
        )
    if known is not None and known.manifest.version == number:
        check_same(place.objects, place.description, known.manifest)
        return replace(known, stamp=stamp)
    manifest = read_manifest(place.objects, place.description, number)
    if known is not None and known.manifest.model == manifest.model:
        embedder = known.vectors.embedder
    else:
        embedder = _embedder(place, manifest)
    metric, recorded = place.description.metric, place.description.embedder
    return State(
        manifest, place.shards(manifest.shards), Vectors(embedder, recorded, metric, manifest.dimension), stamp
    )


def _embedder(place: Place, manifest: Manifest) -> Embedder | None:
    """Return the embedder of a version.

    Raises:
        EmbedderMismatchError: Another embedder was given than the one that wrote the library.
        DamagedLibraryError: Its state is missing or damaged.
    """
    embedder = existing_embedder(place.embedder, place.description.embedder)
    if manifest.model and is_fittable(embedder):
        embedder.load(read_checked(place.objects, "models", manifest.model, LARGEST_MODEL))
    return embedder


def on_newest(place: Place, state: State, work: Callable[[State], T]) -> tuple[State, T]:
    """Do something with a version; if files of it were deleted, which only a vacuum does, again with the newest one.

    Returns:
        The version that it was done with, and the result.

    Raises:
        CommitConflictError: Files were deleted again and again.
        MemoryFileError: A file of the newest version cannot be read.
    """
    for _ in range(TRIES):
        try:
            return state, work(state)
        except MemoryFileError as exc:
            newest = open_state(place, known=state)
            gone = replaced(state, newest)
            if isinstance(exc, IncompleteSearchError):  # also of shards that are late
                gone &= exc.report.failed.keys()
            if not gone:
                raise
            state = newest
    raise CommitConflictError(_unsettled(place, "read"))


def replaced(state: State, newer: State) -> set[str]:
    """Return the files of the shards of a version that a newer one does not name, or names with other deleted rows."""
    named = {(entry.name, entry.deletes) for entry in newer.manifest.shards}
    return {entry.file for entry in state.manifest.shards if (entry.name, entry.deletes) not in named}


@dataclass
class Change:
    """What the next version changes.

    Attributes:
        kind: ``"build"``, ``"add"``, ``"delete"`` or ``"compact"``.
        built: New shards.
        embedder: The embedder that made the vectors of the new shards.
        base_model: The model of the version that the new shards were made for.
        vacuum: What that version says of the last vacuum.
        deleted: Returns the rows to delete in a version, by the number of their shard.
        merged: The shards whose records are in the new shard, or in none if they have no records: for each name, the
            rows (n,) that were written to it, in order.
    """

    kind: str
    built: Built = field(default_factory=Built)
    embedder: Embedder | None = None
    base_model: str = ""
    vacuum: str = ""
    deleted: Callable[[State], Mapping[int, Sequence[int]]] = lambda _: {}
    merged: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)


def committed(place: Place, change: Change, known: State | None = None) -> tuple[State, bool]:
    """Commit a change on the newest version; again on a newer one, if others were faster.

    Args:
        place: The library.
        change: The change.
        known: A version that is open.

    Returns:
        The version, and whether it is a new one.

    Raises:
        CommitConflictError: Others were faster again and again, or changed what this change needs.
        MemoryFileError: A shard does not answer, so that the version cannot be computed.
    """
    with ExitStack() as held:
        for tried in range(TRIES):
            if tried == 1 and not change.built.entries:  # who writes shards has a claim already
                held.enter_context(claimed(place.objects))
            started = time.monotonic()
            try:
                before, known = known, open_state(place, known=known)
                state = known
                manifest = _tried(place, state, change, again=state is before)
            except _Outdated:
                pause(tried, time.monotonic() - started)
                continue
            except BaseException:
                change.built.discard(place.objects)
                raise
            if manifest is None:
                return state, False
            if commit_manifest(place.objects, manifest):  # from here on the files count, whatever fails
                vectors = _vectors(state, change, manifest)
                return State(manifest, place.shards(manifest.shards), vectors), True
            pause(tried, time.monotonic() - started)
    change.built.discard(place.objects)
    raise CommitConflictError(f"others committed to {place.objects.name} {TRIES} times while this was tried; try again")


class _Outdated(Exception):  # never leaves this module
    """A file of a version cannot be read, and there is a newer version."""


def _tried(place: Place, state: State, change: Change, *, again: bool) -> Manifest | None:
    """Return the manifest of the next version; None if nothing changes.

    Args:
        place: The library.
        state: Its newest version.
        change: The change.
        again: Whether that was read earlier.

    Raises:
        _Outdated: A vacuum may have deleted a file that was read; it committed a newer version before.
    """
    try:
        if again:
            check_same(place.objects, place.description, state.manifest)
        _check_there(place, state, change)
        return _next(place, state, change)
    except CommitConflictError:
        raise
    except MemoryFileError as exc:
        if newest_version(place.objects) > state.manifest.version:
            raise _Outdated from exc
        raise


def _vectors(state: State, change: Change, manifest: Manifest) -> Vectors:
    """Return what is known of the vectors of the next version."""
    embedder = state.vectors.embedder if state.manifest.shards or change.embedder is None else change.embedder
    return Vectors(embedder, state.vectors.recorded, state.vectors.metric, manifest.dimension)


def _check_there(place: Place, state: State, change: Change) -> None:
    """Check that no vacuum has deleted the new files, or is about to.

    A vacuum commits the list of what it deletes, as a version, before it deletes anything. So if this version is the
    next one after ``state``, no vacuum came between; and what those before it delete is gone or in the newest list.

    Raises:
        StorageError: One of them is gone, or will be.
    """
    gone = {entry.name for entry in change.built.entries if not place.objects.exists(entry.file)}
    if change.built.entries and state.manifest.vacuum != change.vacuum:
        doomed = read_doomed(place.objects, state.manifest.vacuum)
        gone |= {entry.name for entry in change.built.entries if ("shards", entry.name) in doomed}
    if gone:
        raise StorageError(
            f"{min(gone)}.mp4, which was to be committed, was deleted by a vacuum, because this writer was suspended "
            "for too long; try again"
        )


def _next(place: Place, state: State, change: Change) -> Manifest | None:
    """Return the manifest of the next version; None if nothing changes."""
    base, built = state.manifest, change.built
    if built.entries and base.shards and base.model != change.base_model:
        raise CommitConflictError("another process has fitted the embedder of this library meanwhile; try again")
    if built.dimension is not None and base.dimension not in (None, built.dimension):
        raise DimensionError(
            f"vectors have {built.dimension} components, and this library's have {base.dimension}; "
            "use the embedder that wrote it"
        )
    asking = Asking(place.shards((*base.shards, *built.entries)))
    gone: dict[int, set[int]] = defaultdict(set)
    for number, rows in change.deleted(state).items():
        gone[number].update(rows)
    if built.entries and not built.generated and not change.merged:
        for number, rows in replaced_rows(asking, place.remembered, len(base.shards), _NOTHING_DONE).items():
            gone[number].update(rows)
    gone[len(base.shards)].update(_deleted_meanwhile(place, base, change.merged))
    if not built.entries and not change.merged and not any(gone.values()):
        return None
    entries = _with_deletes(place, asking, gone)
    kept = _in_order(entries[: len(base.shards)], entries[len(base.shards) :], change.merged)
    deleted = sum(before.live - after.live for before, after in zip(asking.shards.entries, entries, strict=True))
    return _with_statistics(
        place,
        msgspec.structs.replace(
            base,
            version=base.version + 1,
            time=time_after(base.time),
            change=change.kind,
            added=0 if change.kind == "compact" else sum(entry.records for entry in built.entries),
            deleted=0 if change.kind == "compact" else deleted,
            shards=tuple(kept),
            dimension=base.dimension if built.dimension is None else built.dimension,
            model=_model(place, base, change),
        ),
        state,
        change,
    )


def _deleted_meanwhile(place: Place, base: Manifest, merged: Mapping[str, NDArray[np.int64]]) -> list[int]:
    """Return the rows of a merged shard whose records were deleted or replaced while it was written.

    Raises:
        CommitConflictError: A shard that was merged is not there any more.
    """
    entries = {entry.name: entry for entry in base.shards}
    found: list[int] = []
    start = 0
    for name, rows in merged.items():
        if name not in entries:
            raise CommitConflictError(f"another process has replaced {name} meanwhile, which was to be merged")
        found += (start + np.flatnonzero(np.isin(rows, read_deletes(place.objects, entries[name])))).tolist()
        start += len(rows)
    return found


def _in_order(old: list[ShardEntry], new: list[ShardEntry], merged: Mapping[str, Any]) -> list[ShardEntry]:
    """Return the entries of the next version: a merged shard is where the first of those was that it replaces."""
    kept: list[ShardEntry] = []
    for entry in old:
        if entry.name not in merged:
            kept.append(entry)
        else:
            kept, new = kept + new, []
    return kept + new


def _model(place: Place, base: Manifest, change: Change) -> str:
    """Return the name of the model of the next version, which is written if it is new."""
    embedder = change.embedder
    if base.shards or not change.built.entries or not is_fittable(embedder) or not embedder.fitted:
        return base.model
    return write_checked(place.objects, "models", embedder.dump())


def _with_deletes(place: Place, asking: Asking, gone: Mapping[int, set[int]]) -> list[ShardEntry]:
    """Return the entries of all shards with more rows deleted."""
    entries = list(asking.shards.entries)
    changed = [number for number, rows in sorted(gone.items()) if rows]
    for number in changed:
        rows: NDArray[np.int64] = np.array(sorted(gone[number]), np.int64)
        rows = np.union1d(read_deletes(place.objects, entries[number]), rows)
        entries[number] = msgspec.structs.replace(entries[number], deletes=write_deletes(place.objects, rows))
    again = Asking(place.shards([entries[number] for number in changed]))
    answers = again.ask_all("totals")
    again.check(_NOTHING_DONE)
    for place_of, number in enumerate(changed):
        live, tokens = answers[place_of]
        entries[number] = msgspec.structs.replace(entries[number], live=live, tokens=tokens)
    return entries


def _with_statistics(place: Place, manifest: Manifest, state: State, change: Change) -> Manifest:
    """Return a manifest with the word statistics and the evidence of its shards."""
    asking = Asking(place.shards(manifest.shards))
    vectors = _vectors(state, change, manifest)
    try:
        totals = totals_of(asking, place.remembered)
        known = manifest.evidence
        if not enough(totals.rows):
            known = None
        elif known is None or known.records.bit_length() != totals.rows.bit_length():
            known = learned_evidence(asking, vectors, totals)
    except ShardsFailed:
        asking.check(_NOTHING_DONE)
        raise
    return msgspec.structs.replace(manifest, totals=totals, evidence=known)
