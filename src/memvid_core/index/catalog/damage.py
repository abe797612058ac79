"""DamageTable: what is known to be wrong in the file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from memvid_core.index.catalog.rows import DamageRow, row_sum
from memvid_core.index.catalog.tables import CHECKED, NAME, Tables
from memvid_core.index.stale import IndexStaleError

__all__ = ["DamageTable"]


class DamageTable(Tables):
    """The table of damage; the state has the number of its rows."""

    def add_damage(self, kind: str, found: Iterable[DamageRow]) -> None:
        """Take what is wrong in the file, so that every open can tell it; call it inside a transaction.

        Args:
            kind: ``"commit"``, ``"end"`` (behind the last commit) or ``"missing"`` (no longer in the file).
            found: What is wrong.
        """
        rows = list(found)
        if not rows:
            return
        (last,) = self._writer.execute("SELECT coalesce(max(item), 0) FROM damage").fetchone()
        for item, damage in enumerate(rows, last + 1):
            row = (item, kind, *damage)
            self._writer.execute("INSERT INTO damage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, row_sum(*row)))
        self._count_damage()

    def clear_damage(self, kind: str) -> None:
        """Forget the damage of a kind, which is looked for again; call it inside a transaction."""
        self._writer.execute("DELETE FROM damage WHERE kind = ?", (kind,))
        self._count_damage()

    def _count_damage(self) -> None:
        self._count("damage", self._writer.execute("SELECT count(*) FROM damage").fetchone()[0])

    def damage(self, kind: str | None = None) -> list[DamageRow]:
        """Return what is wrong in the file, of one kind or all, in the order noted."""
        with self.snapshot() as connection, CHECKED:
            found = [_verified(row) for row in connection.execute("SELECT * FROM damage ORDER BY item")]
            if len(found) != self._counted("damage"):
                raise IndexStaleError(f"{NAME} has lost what it knew of damage")
            return [DamageRow(*values) for _, of_kind, *values in found if kind in (None, of_kind)]


def _verified(found: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what was read of a row without its last column, the checksum.

    Raises:
        IndexStaleError: It is not what was written.
    """
    if row_sum(*found[:-1]) != found[-1]:
        raise IndexStaleError(f"what {NAME} knows of damage is damaged itself")
    return found[:-1]
