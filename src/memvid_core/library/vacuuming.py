"""Vacuum of a library: old versions, and the files that no version names, are deleted."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby
from typing import Final

from memvid_core.errors import InvalidInputError
from memvid_core.library.manifest import DESCRIPTION, Manifest, read_manifest, remove_version, versions
from memvid_core.library.objects import LocalObjects, Objects, Stored
from memvid_core.library.reports import VacuumReport
from memvid_core.library.state import Place

__all__ = ["vacuumed"]

# What a library writes in each folder: the name that a manifest gives it, and what stands beside it.
_PATTERNS: Final = {
    "shards": re.compile(r"\.?([0-9a-f]{32})\.mp4(\..*)?"),
    "models": re.compile(r"\.?([0-9a-f]{64})(\.[0-9a-f]{12}\.writing)?"),
    "deletes": re.compile(r"\.?([0-9a-f]{64})(\.[0-9a-f]{12}\.writing)?"),
    "manifest": re.compile(r"\.([0-9]{20})\.json\.[0-9a-f]{12}\.writing"),
    "": re.compile(rf"\.({re.escape(DESCRIPTION)})\.[0-9a-f]{{12}}\.writing"),
}


def vacuumed(place: Place, older_than: timedelta, *, dry_run: bool) -> VacuumReport:
    """Delete what is not needed any more; see ``Library.vacuum``.

    The order makes it safe to be killed, and beside writers: files are listed before the manifests are read, so that a
    file which is named meanwhile is either in a manifest or new; versions are removed before their files.

    Raises:
        InvalidInputError: ``older_than`` is no time.
    """
    given: object = older_than
    if not isinstance(given, timedelta) or given < timedelta(0):
        raise InvalidInputError(f"older_than is a timedelta that is not negative, not {older_than!r}")
    limit = (time.time_ns() - round(older_than.total_seconds() * 1e9)) // 1000
    old = list(_old(place.objects, limit))
    removed, kept = _divided(place, limit)
    named = _named(kept)
    files = [(name, size) for name, key, size in old if key not in named]
    if not dry_run:
        for version in removed:  # the oldest first
            remove_version(place.objects, version)
    done, failed, size = [], [], 0
    for name, bytes_of in files:
        if dry_run or place.objects.remove(name):
            done.append(name)
            size += bytes_of
        else:
            failed.append(name)
    if not dry_run and place.cache_dir is not None:
        _clean(LocalObjects(place.cache_dir), place.description.id, named, limit)
    return VacuumReport(len(removed), tuple(done), size, tuple(failed))


def _old(objects: Objects, limit: int) -> Iterator[tuple[str, tuple[str, str], int]]:
    """Yield everything that was not written or marked as in use since a time: name, what it belongs to, and size."""
    for folder, pattern in _PATTERNS.items():
        found = [
            (match[1], name, state)
            for name, state in objects.listing(folder).items()
            if (match := pattern.fullmatch(name))
        ]
        for key, group in groupby(sorted(found), lambda one: one[0]):
            parts = list(group)
            if _newest(state for _, _, state in parts) < limit:
                for _, name, state in parts:
                    yield f"{folder}/{name}".lstrip("/"), (folder, key), state.bytes


def _newest(states: Iterator[Stored]) -> int:
    return max(state.modified for state in states)


def _divided(place: Place, limit: int) -> tuple[list[int], list[Manifest]]:
    """Return the numbers of the versions that were replaced before a time, and the manifests of the others."""
    numbers = versions(place.objects)
    kept: list[Manifest] = []
    while numbers and not (kept and kept[-1].time < limit):
        kept.append(read_manifest(place.objects, place.description, numbers.pop()))
    return numbers, kept


def _named(kept: list[Manifest]) -> set[tuple[str, str]]:
    """Return what some manifests name, with the folder."""
    named = {("models", manifest.model) for manifest in kept}
    for manifest in kept:
        for entry in manifest.shards:
            named |= {("shards", entry.name), ("deletes", entry.deletes)}
    return named


def _clean(cache: LocalObjects, library: str, named: set[tuple[str, str]], limit: int) -> None:
    """Delete the indexes of shards that no version names; whoever needs one again makes it."""
    for name, state in cache.listing(library).items():
        if re.fullmatch("[0-9a-f]{32}", name) and ("shards", name) not in named and state.modified < limit:
            cache.remove(f"{library}/{name}")
