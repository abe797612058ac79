"""Damage to the file of an open memory: what is known of it, the warning about it, and the refusal to drop records."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

from memvid_core.catalog.catalog import DamageRow
from memvid_core.engine.current_state import CurrentState
from memvid_core.engine.damage_evidence import damage_row
from memvid_core.errors import Action, DamageWarning, Hint, MemoryFileError, TornTailWarning
from memvid_core.system.telemetry import log, name_of

__all__ = ["check_whole", "known_damage", "lost_records", "warn_of_damage"]


def known_damage(current: CurrentState) -> list[DamageRow]:
    """Return the known damage to the file: to its head, which each open checks, and to the commits in the index."""
    return [*map(damage_row, current.journal.head_damage), *current.index.catalog.damage()]


def lost_records(current: CurrentState) -> int:
    """Return the number of records that are known to be lost."""
    catalog = current.index.catalog
    unindexed = [*catalog.damage("missing"), *catalog.damage("end")]
    return current.snapshot.lost + sum(damage.records for damage in unindexed)


def check_whole(current: CurrentState, drop_damaged: bool) -> None:
    """Check that a new file would lose no more records than the damage already has.

    Raises:
        MemoryFileError: The file is damaged, and ``drop_damaged`` is False.
    """
    damage = [] if drop_damaged else [found for found in known_damage(current) if not found.restored]
    if damage:
        raise MemoryFileError(
            f"{_described(damage, lost_records(current))}, and a new file would make that final",
            hint=Hint(Action.DROP_DAMAGED),
        )


def warn_of_damage(current: CurrentState) -> list[DamageRow]:
    """Warn of an unfinished write and of damage; return the damage."""
    journal = current.journal
    if journal.torn_bytes:
        name = name_of(journal.video.target)
        log(logging.WARNING, "torn", "%s ends with %d bytes of an unfinished write", name, journal.torn_bytes)
        kept = f" A copy of the {journal.torn_records} records in them is kept" if journal.torn_records else ""
        warnings.warn(
            f"the last write never finished: {journal.torn_bytes} bytes at the end of the file are ignored, "
            f"and cut at the next write.{kept}",
            TornTailWarning,
            stacklevel=5,
        )
    damage = known_damage(current)
    if damage:
        text = _described(damage, lost_records(current))
        log(logging.WARNING, "damage", "%s is damaged: %s", name_of(journal.video.target), text)
        action = Action.REPAIR if all(found.restored for found in damage) else Action.DROP_DAMAGED
        warnings.warn(DamageWarning(text, hint=Hint(action)), stacklevel=5)
    return damage


def _described(damage: Sequence[DamageRow], lost: int) -> str:
    """Describe damage in one sentence."""
    vectors, deletions = sum(d.vectors for d in damage), sum(d.deletions for d in damage)
    found = []
    if lost:
        found.append(f"{lost} records cannot be read, because their frames are damaged or missing")
    if vectors:
        found.append(f"the vectors of {vectors} records cannot be read")
    if deletions:
        found.append(f"{deletions} deletions cannot be read, so that what they deleted is back")
    if found:
        return " and ".join(found)
    places = "one place" if len(damage) == 1 else f"{len(damage)} places"
    reason = next((d.reason for d in damage if not d.restored), None)
    if reason is None:
        return f"the file is damaged in {places}, and no record is lost"
    return f"the file is damaged in {places} ({reason}); as far as can be known, no record is lost"
