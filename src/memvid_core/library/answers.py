"""What one version of a library answers: hits, and records by id, by row and by filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.catalog.ordering import by_key
from memvid_core.engine.ranker import Ranker
from memvid_core.engine.search_request import SearchRequest
from memvid_core.errors import Action, Hint, IncompleteSearchError
from memvid_core.library.reports import LibraryHits
from memvid_core.library.shards import Asking, ShardsFailed
from memvid_core.library.state import State
from memvid_core.library.waiting import Deadline
from memvid_core.model import Record

__all__ = ["ids_at", "ranked", "records_at", "rows_of", "selected", "shards_of", "vectors_at", "vectors_of"]


def ranked(state: State, request: SearchRequest, deadline: Deadline) -> LibraryHits:
    """Return the hits of a version; the shards answer before the deadline.

    Raises:
        IncompleteSearchError: Not every shard answered.
    """
    asking = Asking(state.shards, deadline)
    while True:
        try:
            found = Ranker(state.corpus(asking)).search(request)
            break
        except ShardsFailed:  # the others are asked again, without it
            continue
    hits = LibraryHits(found, asking.report())
    if asking.failed:
        raise IncompleteSearchError(_incomplete(hits), hits, hits.report, hint=Hint(Action.ALLOW_PARTIAL))
    return hits


def rows_of(state: State, ids: list[str]) -> dict[str, int]:
    """Return the rows of ids.

    Raises:
        MemoryFileError: A shard does not answer, and not every id was found in the others.
    """
    asking = Asking(state.shards)
    answers = asking.ask_all("rows_of", ids)
    bases = asking.shards.bases
    rows = {one: int(bases[number]) + row for number, found in answers.items() for one, row in found.items()}
    if not rows.keys() >= set(ids):
        asking.check()
    return rows


def shards_of(state: State, ids: list[str]) -> dict[str, str]:
    """Return the files of the shards with the records of ids."""
    bases, entries = state.shards.bases, state.shards.entries
    rows = rows_of(state, ids)
    return {one: entries[int(np.searchsorted(bases, row, side="right")) - 1].file for one, row in rows.items()}


def records_at(state: State, rows: list[int]) -> list[Record]:
    """Return the records of rows."""
    found: list[Record] = _of_rows(state, "records", rows)
    return found


def ids_at(state: State, rows: list[int]) -> list[str]:
    """Return the ids of rows."""
    found: list[str] = _of_rows(state, "ids", rows)
    return found


def _of_rows(state: State, call: str, rows: list[int]) -> list[Any]:
    """Return the answers about rows, in their order."""
    asking = Asking(state.shards)
    found: dict[int, Any] = {}
    try:
        for places, answers in asking.of_rows(call, rows):
            found.update(zip(places.tolist(), answers, strict=True))
    except ShardsFailed:
        asking.check()
    return [found[place] for place in range(len(rows))]


def vectors_of(state: State, ids: list[str]) -> dict[str, NDArray[Any]]:
    """Return the stored vectors (d,) by id."""
    rows = rows_of(state, ids)
    found = vectors_at(state, list(rows.values()))
    return {name: found[row] for name, row in rows.items() if row in found}


def vectors_at(state: State, rows: list[int]) -> dict[int, NDArray[Any]]:
    """Return the stored vectors (d,) by row; rows without one are left out."""
    asking = Asking(state.shards)
    found: dict[int, NDArray[Any]] = {}
    bases = asking.shards.bases
    try:
        for places, vectors in asking.of_rows("stored_vectors", rows):
            for place in places.tolist():
                own = rows[place] - int(bases[np.searchsorted(bases, rows[place], side="right") - 1])
                if own in vectors:
                    found[rows[place]] = vectors[own]
    except ShardsFailed:
        asking.check()
    return found


def selected(
    state: State, where: Mapping[str, Any] | None, order_by: str | None, *, descending: bool, count: int | None = None
) -> list[int]:
    """Return the first ``count`` rows that match a filter, in an order."""
    asking = Asking(state.shards)
    arguments = (where, order_by, descending, count)
    answers = asking.ask("selected", dict.fromkeys(asking.matching(where), arguments))
    asking.check()
    bases = asking.shards.bases.tolist()
    ordered = sorted(answers.items(), reverse=descending and order_by is None)
    rows = [bases[number] + row for number, (found, _) in ordered for row in found]
    if order_by is not None:
        keys = {bases[number] + row: key for number, (_, found) in ordered for row, key in found.items()}
        rows = by_key(sorted(rows), keys, descending=descending)
    return rows[:count]


def _incomplete(hits: LibraryHits) -> str:
    report = hits.report
    [(name, reason), *others] = report.failed.items()
    more = f", and {len(others)} more" if others else ""
    return (
        f"{len(report.failed)} of {report.asked} shards with {report.rows_missing} records did not answer: {name} "
        f"({reason}){more}"
    )
