"""Verifying a library: every object is read and compared with its checksum."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import pairwise

from memvid_core.errors import CommitConflictError, MemoryNotFoundError, MemvidError
from memvid_core.library.deletes import read_checked, read_deletes, read_doomed
from memvid_core.library.executor import Failure, ShardRef
from memvid_core.library.manifest import (
    Manifest,
    ShardEntry,
    is_removed,
    manifest_name,
    missing_version,
    numbers,
    read_manifest,
    versions,
)
from memvid_core.library.reports import LibraryDamage, LibraryReport
from memvid_core.library.state import LARGEST_MODEL, Place
from memvid_core.library.waiting import TRIES
from memvid_core.memory import Memory

__all__ = ["verified"]


def verified(place: Place) -> LibraryReport:
    """Read every object of a library, and return a report; see :meth:`memvid_core.library.Library.verify`.

    Raises:
        CommitConflictError: Vacuums removed versions again and again meanwhile.
    """
    for _ in range(TRIES):
        kept = versions(place.objects)
        report = _verified(place, kept)
        if not report.damage or set(kept) <= set(versions(place.objects)):
            return report
    raise CommitConflictError(f"others removed versions of {place.objects.name} {TRIES} times meanwhile; try again")


def _verified(place: Place, kept: list[int]) -> LibraryReport:
    """Return a report of the versions with some numbers."""
    damage: list[LibraryDamage] = []
    manifests: list[Manifest] = []
    for number in kept:
        try:
            manifests.append(read_manifest(place.objects, place.description, number))
        except MemvidError as exc:
            damage.append(LibraryDamage(manifest_name(number), 0, str(exc)))
    known = numbers(place.objects)
    for number in set(known).difference(kept):
        if not is_removed(place.objects, number):
            damage.append(LibraryDamage(manifest_name(number), 0, "is damaged"))
    for before, after in pairwise(known):  # the versions before the oldest one are not missed
        if after - before > 1:
            more = f", and all up to version {after - 1}" if after - before > 2 else ""
            damage.append(LibraryDamage(manifest_name(before + 1), 0, f"is missing{more}"))
    if (gone := missing_version(place.objects)) is not None:
        damage.append(LibraryDamage(manifest_name(gone), 0, "is missing, and so is all that it committed"))
    newest = manifests[-1] if manifests else None
    counted = {} if newest is None else {entry.name: entry for entry in newest.shards}
    entries = {entry.name: entry for manifest in manifests for entry in manifest.shards} | counted
    for entry in entries.values():
        damage += _shard_damage(place, entry, entry.live if entry.name in counted else 0)
    damage += _other_damage(place, manifests)
    return LibraryReport(
        versions=len(kept),
        shards=len(entries),
        records=0 if newest is None else newest.records,
        bytes=sum(entry.bytes for entry in entries.values()),
        damage=tuple(damage),
        orphans=tuple(orphans(place, entries)),
    )


def orphans(place: Place, entries: dict[str, ShardEntry]) -> Iterator[str]:
    """Yield the files of shards that no version names: the leftovers of interrupted builds."""
    for name in sorted(place.objects.listing("shards")):
        stem, _, suffix = name.partition(".")
        if suffix == "mp4" and stem not in entries:
            yield f"shards/{name}"


def _shard_damage(place: Place, entry: ShardEntry, records: int) -> Iterator[LibraryDamage]:
    """Yield what is wrong with the file of a shard."""
    try:
        checksum = place.objects.checksum(entry.file)
    except MemoryNotFoundError:
        yield LibraryDamage(entry.file, records, "is missing")
        return
    except MemvidError as exc:
        yield LibraryDamage(entry.file, records, str(exc))
        return
    if checksum != entry.checksum:
        yield LibraryDamage(entry.file, records, _reason(place, entry))


def _reason(place: Place, entry: ShardEntry) -> str:
    """Return what is wrong with a file whose bytes have changed."""
    [ref] = place.shards([entry]).refs
    if ref.options is not None or "://" in ref.library:  # the copy is whole, or would not have been taken
        return "is damaged: its checksum is another"
    answer = place.executor.ask("check", [(ref, ())])[0]
    if isinstance(answer, Failure):
        return answer.reason
    return f"has changed: {_found(place, ref)}"


def _found(place: Place, ref: ShardRef) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Memory.open(place.objects.path(ref.entry.file), embedder="given", index_dir=ref.index_dir) as memory:
                report = memory.verify()
    except MemvidError as exc:
        return str(exc)
    if report.damage:
        return "; ".join(damage.reason for damage in report.damage)
    return "parity restores it, so nothing is lost" if report.repaired else "its checksum is another"


def _other_damage(place: Place, manifests: list[Manifest]) -> Iterator[LibraryDamage]:
    """Yield the faults of models, of deleted rows, and of the lists of vacuums."""
    seen: set[str] = set()
    for manifest in reversed(manifests):
        if manifest.vacuum and manifest.vacuum not in seen:
            seen.add(manifest.vacuum)
            try:
                read_doomed(place.objects, manifest.vacuum)
            except MemvidError as exc:
                yield LibraryDamage(f"vacuums/{manifest.vacuum}", 0, str(exc))
        if manifest.model and manifest.model not in seen:
            seen.add(manifest.model)
            try:
                read_checked(place.objects, "models", manifest.model, LARGEST_MODEL)
            except MemvidError as exc:
                yield LibraryDamage(f"models/{manifest.model}", manifest.records, str(exc))
        for entry in manifest.shards:
            if entry.deletes and entry.deletes not in seen:
                seen.add(entry.deletes)
                try:
                    read_deletes(place.objects, entry)
                except MemvidError as exc:
                    yield LibraryDamage(f"deletes/{entry.deletes}", entry.live, str(exc))
