"""RowTotals: whether the files of vectors have the rows that a catalog counts, or those of another state."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple, Protocol

from memvid_core.errors import IndexStaleError

__all__ = ["UNPROVEN", "Derived", "RowTotals", "Summed", "total_in", "total_note"]

_MODULUS: Final = 1 << 64


class Derived(NamedTuple):
    """What identifies the files that are made of rows of vectors, in addition to the sum of the rows.

    Attributes:
        fit: Of the codes of these rows in the folder; 0 without codes there.
        codes: The sum of the checksums of the codes, and what made them.
        places: What the places of rows in the video add up to; 0 if that is not known.
    """

    fit: int = 0
    codes: int = 0
    places: int = 0


UNPROVEN: Final = Derived()
"""Nothing is known, as of the files that a version wrote which did not identify them."""


class Summed(Protocol):
    """Rows with checksums in files."""

    @property
    def settled(self) -> int:
        """How many rows, from the first, are read from a video; their checksums count by other bytes."""
        ...

    def total(self, start: int, stop: int) -> int:
        """Return the sum of the checksums of the rows from ``start`` to ``stop``, which need not be below 2**64.

        Raises:
            IndexStaleError: The files hold fewer rows.
        """
        ...


class RowTotals:
    """Compare the sum of all checksums of rows with the one that the catalog has.

    The checksum of a row tells that it is as it was written, and not by whom. Where files of another state are put next
    to a catalog, such as by a program that synchronizes folders and stops halfway, each row fits its checksum, and is
    the vector of another record. The sum of all is compared once before the first search, and after each commit for
    its rows.

    Args:
        rows: The rows.
    """

    def __init__(self, rows: Summed) -> None:
        self._rows = rows
        self._expected: tuple[int, int] | None = None  # rows, and the sum of their checksums
        self._known = 0, 0, 0  # of the rows read from the video, all rows, and their sum: what was found here

    def expect(self, rows: int, total: int | None) -> None:
        """Take note of what the catalog says of so many rows; None if it was written before there were totals."""
        self._expected = None if total is None else (rows, total)

    def forget(self, rows: int) -> None:
        """Take note that rows from this one on may be written again."""
        if self._known[1] > rows:
            self._known = 0, 0, 0
        if self._expected is not None and self._expected[0] > rows:
            self._expected = None

    def check(self) -> None:
        """Compare the sum with the expected one, unless that was done.

        Raises:
            IndexStaleError: The rows are others.
        """
        if self._expected is None:
            return
        rows, expected = self._expected
        settled, start, total = self._known
        if settled != self._rows.settled or start > rows:
            start = total = 0
        total = (total + self._rows.total(start, rows)) % _MODULUS
        if total != expected:
            raise IndexStaleError("the vectors are not those that the catalog counts; rebuild the index")
        self._known, self._expected = (self._rows.settled, rows, total), None

    def after(self, counted: int, total: int | None, rows: int) -> int:
        """Return the sum of the checksums of ``rows`` rows, below 2**64, for the catalog.

        Args:
            counted: Of how many rows the sum is known, as they lie now.
            total: That sum; None if it is not known.
            rows: The number of rows.
        """
        if total is None:
            counted = total = 0
        return (total + self._rows.total(counted, rows)) % _MODULUS


def total_note(rows: int, settled: int, total: int, derived: Derived = UNPROVEN) -> bytes:
    """Return what a catalog notes of some rows.

    Args:
        rows: How many.
        settled: How many of them are read from the video.
        total: The sum of their checksums.
        derived: What identifies the files that are made of them.
    """
    return " ".join(map(str, (rows, settled, total, *derived))).encode()


@lru_cache(maxsize=8)
def total_in(noted: bytes | None, rows: int, settled: int) -> tuple[int | None, Derived]:
    """Return a noted sum, and what identifies files that are made of the rows.

    Nothing is known if nothing was noted, or of fewer rows: a version without sums has written the others.

    Args:
        noted: What :func:`total_note` returned, in this version or the one before, which noted the sum alone.
        rows: How many rows the catalog counts.
        settled: How many of them it says are read from the video.

    Example:
        >>> total_in(total_note(3, 0, 17), 3, 0), total_in(total_note(3, 0, 17), 4, 0)[0]
        ((17, Derived(fit=0, codes=0, places=0)), None)
    """
    of_rows, of_settled, total, *derived = [int(part) for part in (noted or b"").split()] or (-1, -1, 0)
    if (of_rows, of_settled) != (rows, settled):
        return None, UNPROVEN
    return total, Derived(*derived) if len(derived) == len(UNPROVEN) else UNPROVEN
