"""Vacuum of a library: old versions, and the files that no version names, are deleted."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Container
from datetime import timedelta
from typing import Final

import msgspec

from memvid_core.errors import CommitConflictError, DamagedLibraryError, InvalidInputError, StorageError
from memvid_core.library.claims import CLAIMS, GRACE, UNKNOWN
from memvid_core.library.deletes import Doomed, read_doomed, write_doomed
from memvid_core.library.manifest import (
    DESCRIPTION,
    Manifest,
    commit_manifest,
    is_removed,
    manifest_name,
    read_manifest,
    remove_version,
    time_after,
    versions,
)
from memvid_core.library.objects import MANIFESTS, LocalObjects, Objects, Stored
from memvid_core.library.reports import VacuumReport
from memvid_core.library.state import Place
from memvid_core.library.waiting import TRIES, waits

__all__ = ["vacuumed"]

_SECOND: Final = 1_000_000  # microseconds; some stores count seconds
_AGREED: Final = 60 * _SECOND
Found = dict[tuple[str, str], dict[str, Stored]]
"""Files, by folder and by what belongs together."""

# What a library writes in each folder: the name that a manifest gives it, and the files that belong to it.
_PATTERNS: Final = {
    "shards": re.compile(r"\.?([0-9a-f]{32})\.mp4(\..*)?"),
    "models": re.compile(r"\.?([0-9a-f]{64})(\.[0-9a-f]{12}\.writing)?"),
    "deletes": re.compile(r"\.?([0-9a-f]{64})(\.[0-9a-f]{12}\.writing)?"),
    "vacuums": re.compile(r"\.?([0-9a-f]{64})(\.[0-9a-f]{12}\.writing)?"),
    CLAIMS: re.compile(r"([0-9a-f]{16})"),
    "manifest": re.compile(r"\.([0-9]{20})\.(?:json|committed)\.[0-9a-f]{12}\.writing"),
    "": re.compile(rf"\.({re.escape(DESCRIPTION)})\.[0-9a-f]{{12}}\.writing"),
}


def vacuumed(place: Place, older_than: timedelta, *, dry_run: bool) -> VacuumReport:
    """Delete what is not needed any more; see ``Library.vacuum``.

    The order makes it safe to be killed or suspended at any moment, and while others write:

    1. Files are listed, then claims, then manifests: a file in the list is claimed, or named, or nobody's.
    2. The list of what is deleted is committed as a version. A writer that had begun to commit before fails, begins
       again on this version, and finds its files in the list, if it was suspended for so long that its claim had ended.
       A writer that begins later makes files with new names.
    3. Versions are removed before their files.

    Raises:
        InvalidInputError: ``older_than`` is not a time.
        CommitConflictError: Others committed again and again meanwhile; nothing was deleted.
        StorageError: A folder of the library is a symbolic link.
    """
    given: object = older_than
    if not isinstance(given, timedelta) or given < timedelta(0):
        raise InvalidInputError(f"older_than is a timedelta that is not negative, not {older_than!r}")
    if links := _links(place.objects):
        raise StorageError(
            f"{links[0]} in {place.objects.name} is a symbolic link: another library may have its files there, and a "
            "vacuum would delete them. Move them back, or let a link lead to the whole folder of the library"
        )
    age = round(older_than.total_seconds() * 1e6)
    local = time.time_ns() // 1000
    now = local if dry_run else _now(place.objects)
    limit, own_limit = now - age, local - age
    working = min(limit, now - GRACE)
    found = _listed(place.objects)
    removed, kept = _divided(place, limit)
    named = _named(kept)
    doomed = {key for key, parts in found.items() if _newest(parts) < limit}
    doomed -= _claimed(place.objects, doomed, working, found)
    doomed |= _left(place, kept[0].vacuum if kept else "", found)
    doomed -= named
    if all(folder == "vacuums" for folder, _ in doomed):  # nothing new since the lists of earlier vacuums
        doomed = set()
    if doomed and not dry_run:
        doomed = _committed(place, kept, doomed, working, found)
    if not dry_run:
        for version in removed:  # the oldest first
            remove_version(place.objects, version)
    done, failed, size = [], [], 0
    for key, parts in found.items():
        for name, state in parts.items() if key in doomed else ():
            if dry_run or place.objects.remove(name):
                done.append(name)
                size += state.bytes
            else:
                failed.append(name)
    if not dry_run:
        _remove_copies(place.objects, named, own_limit, working)
    if not dry_run and place.cache_dir is not None:
        _clean(LocalObjects(place.cache_dir), place.description.id, named, own_limit)
    return VacuumReport(len(removed), tuple(done), size, tuple(failed))


def _links(objects: Objects) -> list[str]:
    """Return which folders of a library are symbolic links; an object store has none."""
    if not isinstance(objects, LocalObjects):
        return []
    return [folder for folder in _PATTERNS if folder and objects.path(folder).is_symlink()]


def _now(objects: Objects) -> int:
    """Return the time, in microseconds since 1970, by the clock that says when files were written.

    It is another machine's in an object store, and on a network drive. If both clocks agree within a minute, the own
    one is taken, which counts parts of a second.
    """
    name = uuid.uuid4().hex[:16]
    with objects.claim(f"{CLAIMS}/{name}"):
        before = time.time_ns() // 1000
        there = objects.listing(CLAIMS).get(name)
    own = time.time_ns() // 1000
    if there is None or there.modified >= UNKNOWN or before - _AGREED < there.modified < own + _AGREED:
        return own
    return there.modified + _SECOND


def _listed(objects: Objects) -> Found:
    """Return everything that a library writes, by folder and by what belongs together, in order."""
    found: Found = {}
    for folder, pattern in _PATTERNS.items():
        for name, state in sorted(objects.listing(folder).items()):
            if match := pattern.fullmatch(name):
                found.setdefault((folder, match[1]), {})[f"{folder}/{name}".lstrip("/")] = state
    return found


def _newest(parts: dict[str, Stored]) -> int:
    return max(state.modified for state in parts.values())


def _left(place: Place, vacuum: str, found: Container[tuple[str, str]]) -> Doomed:
    """Return what the last vacuum was to delete and has not, because it was killed, or is suspended.

    A claim does not keep it, since that vacuum may go on: a writer that goes on finds it in the newest list.
    """
    try:
        doomed = read_doomed(place.objects, vacuum)
    except DamagedLibraryError:  # verify() says so; what it listed is old, and listed again
        return set()
    return {key for key in doomed if key in found and key[0] != CLAIMS}


def _claimed(objects: Objects, doomed: Doomed, since: int, found: Found) -> Doomed:
    """Return which of some files belong to writers that are at work, whose claims count since a time, with the claims.

    The names of models and of deleted rows do not say whose they are, so those count that are newer than a claim. A
    vacuum that took them would commit a version, so that the writer would have to write them again, and so on.
    """
    claims = {
        name: state.modified
        for name, state in objects.listing(CLAIMS).items()
        if objects.is_claimed(f"{CLAIMS}/{name}", state.modified, since)
    }
    claimed = {(folder, key) for folder, key in doomed if folder in ("shards", CLAIMS) and key[:16] in claims}
    if claims:
        oldest = min(claims.values())
        unsigned = {key for key in doomed & found.keys() if key[0] in ("deletes", "models")}
        claimed |= {key for key in unsigned if _newest(found[key]) >= oldest}
    return claimed


def _committed(place: Place, kept: list[Manifest], doomed: Doomed, since: int, found: Found) -> Doomed:
    """Commit the list of deleted files, without those that others commit meanwhile; return it."""
    base = kept[0] if kept else read_manifest(place.objects, place.description, 0)
    for wait in waits():
        for number in versions(place.objects):
            manifest = _read(place, number) if number > base.version else None
            if manifest is not None:
                base = manifest
                doomed = doomed - _named([base])
        doomed = doomed - _claimed(place.objects, doomed, since, found) | _left(place, base.vacuum, found)
        doomed = doomed - _named([base])
        if not doomed:
            return doomed
        moment = time_after(base.time)
        changes = {"version": base.version + 1, "time": moment, "change": "vacuum", "added": 0, "deleted": 0}
        following = msgspec.structs.replace(base, **changes, vacuum=write_doomed(place.objects, doomed))
        if commit_manifest(place.objects, following):
            return doomed
        time.sleep(wait)
    raise CommitConflictError(f"others committed to {place.objects.name} {TRIES} times meanwhile; try again")


def _divided(place: Place, limit: int) -> tuple[list[int], list[Manifest]]:
    """Return the numbers of the versions that were replaced before a time, and the manifests of the others.

    When a manifest was written counts, and not the time in it, which is by the clock of the machine that wrote it.
    """
    for wait in waits():
        numbers = versions(place.objects)
        written = place.objects.listing(MANIFESTS)
        kept: list[Manifest] = []
        newest = limit
        while numbers and newest >= limit:
            number = numbers.pop()
            manifest = _read(place, number)
            if manifest is None:
                break
            kept.append(manifest)
            there = written.get(manifest_name(number).removeprefix(f"{MANIFESTS}/"))
            newest = limit if there is None else there.modified
        else:
            return numbers, kept
        time.sleep(wait)
    raise CommitConflictError(f"others removed versions of {place.objects.name} {TRIES} times meanwhile; try again")


def _read(place: Place, number: int) -> Manifest | None:
    """Return the manifest of a version; None if another vacuum has removed it meanwhile."""
    try:
        return read_manifest(place.objects, place.description, number)
    except DamagedLibraryError:
        if not is_removed(place.objects, number):
            raise
        return None


def _named(kept: list[Manifest]) -> Doomed:
    """Return what some manifests name, with the folder."""
    named = {("models", manifest.model) for manifest in kept} | {("vacuums", manifest.vacuum) for manifest in kept}
    for manifest in kept:
        for entry in manifest.shards:
            named |= {("shards", entry.name), ("deletes", entry.deletes)}
    return named


def _remove_copies(objects: Objects, named: Doomed, limit: int, since: int) -> None:
    """Delete the copies on this machine of shards that no version names, whoever deleted these."""
    found: dict[tuple[str, str], str] = {}
    for name, state in objects.copies().items():
        match = _PATTERNS["shards"].fullmatch(name)
        if match and state.modified < limit:
            found["shards", match[1]] = f"shards/{match[1]}.mp4"
    gone = set(found) - named
    for key in gone - _claimed(objects, gone, since, {}):
        objects.remove_copy(found[key])


def _clean(cache: LocalObjects, library: str, named: Doomed, limit: int) -> None:
    """Delete the indexes of shards that no version names; whoever needs one again makes it."""
    for name, state in cache.listing(library).items():
        if re.fullmatch("[0-9a-f]{32}", name) and ("shards", name) not in named and state.modified < limit:
            cache.remove(f"{library}/{name}")
