"""A run of small commits leaves the catalog as the same commits do one by one."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memvid_core.catalog.catalog import Catalog, Changes, CommitContents, CommitRow
from memvid_core.errors import IndexStaleError
from memvid_core.model import FrameLocation


def commits(seed: int, count: int) -> list[CommitContents]:
    """Random commits: records with and without vectors, deletions, deletions of what is not live, and ids twice."""
    rng = random.Random(seed)
    made: list[CommitContents] = []
    row = number = 0
    for _ in range(count):
        number += rng.choice([1, 1, 1, 3])
        size = rng.choice([0, 1, 1, 2, 5])
        first, row = row, row + size
        there = [first + i for i in range(size) if rng.random() < 0.95]  # the others were damaged
        records = [
            (at, f"id{rng.randrange(12)}-{at % 5}", number, rng.random() < 0.8, rng.choice([None, '{"a":1}']))
            for at in there
        ]
        gone = [rng.randrange(row) for _ in range(rng.choice([0, 0, 1, 3]))] if row else []
        frames = [FrameLocation(number * 10 + i, first, 9, rng.choice([2, 3]), first, size) for i in range(2)]
        commit = CommitRow(number, 1000 + number, row, size, len(gone), 3, 100)
        made.append(CommitContents(commit, first, records, frames, gone))
    return made


def one_by_one(catalog: Catalog, run: Iterable[CommitContents]) -> None:
    for contents in run:
        catalog.add_records(contents.records)
        catalog.add_frames(contents.frames)
        catalog.bury(contents.tombstones, contents.commit.number)
        catalog.add_commit(contents.commit)
        catalog.bury_replaced(contents.first_row, contents.commit.rows, contents.commit.number)


def dump(catalog: Catalog) -> dict[str, list[tuple[object, ...]]]:
    with catalog.reading() as connection:
        tables = {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
            for table in ("records", "frames", "commits")
        }
        [(state,)] = connection.execute("SELECT value FROM state")
    return {**tables, "state": sorted(msgspec.msgpack.decode(state).items())}


def as_lists(changes: Changes) -> tuple[object, ...]:
    return changes.commit, changes.missing.tolist(), changes.sparse.tolist(), changes.dead.tolist()


@given(st.integers(0, 2**32), st.integers(1, 60), st.lists(st.integers(1, 25), min_size=1, max_size=8))
def test_a_run_leaves_what_its_commits_leave_one_by_one(seed: int, count: int, cuts: list[int]) -> None:
    given_commits = commits(seed, count)
    alone, together = Catalog(None), Catalog(None)
    with alone.transaction():
        one_by_one(alone, given_commits)
    left, turn = list(given_commits), 0
    while left:
        size = cuts[turn % len(cuts)]
        with together.transaction():
            if turn % 3 == 2:
                one_by_one(together, left[:size])
            else:
                together.add_run(left[:size])
        left, turn = left[size:], turn + 1
    assert dump(together) == dump(alone)
    last = given_commits[-1].commit.number
    for after in (-1, last // 2):
        assert as_lists(together.changes(after, last)) == as_lists(alone.changes(after, last))


def test_a_commit_that_is_there_already_is_refused() -> None:
    catalog = Catalog(None)
    given_commits = commits(1, 5)
    with catalog.transaction():
        catalog.add_run(given_commits)
    with pytest.raises(IndexStaleError, match="already"), catalog.transaction():
        catalog.add_run(given_commits[3:])
