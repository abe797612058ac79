"""DamageTable: the known damage of the memory file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from memvid_core.catalog.rows import DamageRow, row_sum
from memvid_core.catalog.tables import CHECKED, NAME, Tables
from memvid_core.errors import IndexStaleError

__all__ = ["DamageTable"]


class DamageTable(Tables):
    """The table of damage. The state contains the number of its rows."""

    def add_damage(self, kind: str, found: Iterable[DamageRow]) -> None:
        """Record damage of the file, so that every open can report it; call it inside a transaction.

        Args:
            kind: ``"commit"``, ``"end"`` (behind the last commit) or ``"missing"`` (no longer in the file).
            found: The damage.
        """
        rows = list(found)
        if not rows:
            return
        (last,) = self._writer.execute("SELECT coalesce(max(item), 0) FROM damage").fetchone()
        for item, damage in enumerate(rows, last + 1):
            row = (item, kind, *damage[:-1], int(damage.restored))
            self._writer.execute("INSERT INTO damage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, row_sum(*row)))
        self._count_damage()

    def clear_damage(self, kind: str) -> None:
        """Delete the recorded damage of a kind before a new check; call it inside a transaction."""
        self._writer.execute("DELETE FROM damage WHERE kind = ?", (kind,))
        self._count_damage()

    def _count_damage(self) -> None:
        self._count("damage", self._writer.execute("SELECT count(*) FROM damage").fetchone()[0])

    def damage(self, kind: str | None = None) -> list[DamageRow]:
        """Return the recorded damage of one kind or all kinds, in the order of recording."""
        if not self._counted("damage"):
            return []
        with self.snapshot() as connection, CHECKED:
            found = [_verified(row) for row in connection.execute("SELECT * FROM damage ORDER BY item")]
            if len(found) != self._counted("damage"):
                raise IndexStaleError(f"{NAME} has lost entries of damage; rebuild it")
            rows = [(of_kind, DamageRow(*values)) for _, of_kind, *values in found]
            return [row._replace(restored=bool(row.restored)) for of_kind, row in rows if kind in (None, of_kind)]


def _verified(found: tuple[Any, ...]) -> tuple[Any, ...]:
    """Verify a row by its last column, the checksum, and return the other columns.

    Raises:
        IndexStaleError: If it is damaged.
    """
    if row_sum(*found[:-1]) != found[-1]:
        raise IndexStaleError(f"an entry of damage in {NAME} is damaged; rebuild it")
    return found[:-1]
