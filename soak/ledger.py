"""The possible contents of a memory after writers were killed, derived from their log of each call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from soak.model import check

__all__ = ["Ledger"]

Values = set[int | None]
"""The possible versions of a record; None if it does not exist."""


class _Begun(NamedTuple):
    """Describe a call that has begun: its place in the log, its effect, and its records before it."""

    at: int
    kind: str
    put: dict[str, int]
    gone: list[str]
    before: dict[str, Values]

    @property
    def ids(self) -> set[str]:
        """The records that the call changes."""
        return {*self.put, *self.gone}


class Ledger:
    """Track the possible values of each record.

    Ids belong to one writer each, so private calls are independent. ``clear`` affects all records; if the log does not
    show which of two calls came first, both outcomes are possible.
    """

    def __init__(self) -> None:
        self._values: dict[str, Values] = {}
        self.acknowledged = 0

    def take(self, entries: Iterable[list[Any]]) -> None:
        """Follow the log of one turn; calls that are unfinished at its end may or may not have taken effect."""
        self._open: dict[int, _Begun] = {}
        self._settled: dict[str, int] = {}
        self._unsure: set[str] = set()
        for at, (what, writer, _, *call) in enumerate(entries):
            if what == "begin":
                kind, put, gone = call
                self._begin(writer, _Begun(at, kind, put, gone, {}))
            else:
                self._end(writer, at, happened=what == "done")
        for begun in self._open.values():
            for record_id in begun.ids:
                self._may_be(record_id).add(begun.put.get(record_id))

    def _may_be(self, record_id: str) -> Values:
        return self._values.setdefault(record_id, {None})

    def _clearing(self) -> bool:
        return any(begun.kind == "clear" for begun in self._open.values())

    def _begin(self, writer: int, begun: _Begun) -> None:
        if begun.kind == "clear":
            for values in self._values.values():
                values.add(None)
            self._unsure.update(*(other.ids for other in self._open.values()))
        if self._clearing():
            self._unsure |= begun.ids
        before = {record_id: set(self._may_be(record_id)) for record_id in begun.ids}
        self._open[writer] = begun._replace(before=before)

    def _end(self, writer: int, at: int, *, happened: bool) -> None:
        begun = self._open.pop(writer)
        self.acknowledged += happened
        if not happened:
            self._unsure -= set() if self._clearing() else begun.ids
            return
        if begun.kind == "clear":
            self._cleared(begun)
        for record_id in begun.ids:
            new = begun.put.get(record_id)
            self._values[record_id] = {new, None} if record_id in self._unsure else {new}
            self._settled[record_id] = at
        if not self._clearing():
            self._unsure -= begun.ids

    def _cleared(self, clear: _Begun) -> None:
        in_flight = {record_id for begun in self._open.values() for record_id in begun.ids}
        for record_id, values in self._values.items():
            if self._settled.get(record_id, -1) > clear.at or record_id in in_flight:
                values.add(None)
            else:
                self._values[record_id] = {None}

    def compare(self, found: dict[str, int]) -> None:
        """Check the contents against the possible values, which they then replace.

        Raises:
            WrongAnswer: An acknowledged record is lost, a deleted one is back, or a commit is incomplete.
        """
        for record_id, values in self._values.items():
            version = found.get(record_id)
            check(version in values, f"{record_id} is {version} and must be one of {values}")
        strange = set(found) - set(self._values)
        check(not strange, f"records that nobody wrote: {sorted(strange)[:5]}")
        cleared = any(begun.kind == "clear" for begun in self._open.values())
        for begun in self._open.values():
            if not cleared and not begun.ids & self._unsure:
                self._check_whole(begun, found)
        self._values = {record_id: {version} for record_id, version in found.items()}

    @staticmethod
    def _check_whole(begun: _Begun, found: dict[str, int]) -> None:
        """Check that an unacknowledged commit took effect completely or not at all."""
        outcomes = {found.get(i) == begun.put.get(i) for i in begun.ids if begun.put.get(i) not in begun.before[i]}
        check(len(outcomes) < 2, f"a commit is incomplete: {begun.put} {begun.gone}")
