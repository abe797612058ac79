"""Which rows have ids that are met again in newer shards, however few ids are compared at once."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from memvid_core import Library, MemoryFileError, Record, ThreadExecutor
from memvid_core.library.executor import Questions
from memvid_core.library.remembered import Remembered
from memvid_core.library.replacing import replaced_rows
from memvid_core.library.shards import Asking, Shards
from tests.core.embedders import embed

SIZES = (7, 1, 5, 5, 2, 9, 4)


class Counting(ThreadExecutor):
    """Count how often each shard is asked for rows of ids."""

    def __init__(self) -> None:
        super().__init__(open_shards=2)
        self.asked: Counter[str] = Counter()

    def ask(self, call: str, questions: Questions, timeout: float | None = None) -> list[Any]:
        self.asked.update(ref.entry.name for ref, _ in questions if call == "rows_of")
        return super().ask(call, questions, timeout)


def made(path: Path, random: Random) -> list[list[str]]:
    """Make shards with ids that are met again; return the ids of each."""
    given = [[f"r{random.randrange(25)}" for _ in range(size)] for size in SIZES]
    with Library.create(path, embed) as library:
        for ids in given:
            library.add([f"text {one}" for one in ids], ids=ids)
    return given


@pytest.mark.parametrize("seed", range(3))
def test_every_row_whose_id_is_met_again_and_no_other(tmp_path: Path, seed: int) -> None:
    given = made(tmp_path / "library", Random(seed))
    with closing(Counting()) as executor, Library.open(tmp_path / "library", embedder=embed) as library:
        whole = [msgspec.structs.replace(one, deletes="", live=one.records) for one in library._state.shards.entries]
        shards = Shards(whole, library.path, executor)
        assert [entry.records for entry in whole] == [len({*ids}) for ids in given]
        for old in (0, 1, 3, 6, 7):
            expected = {
                (number, one)
                for number, ids in enumerate(given)
                for one in ids
                if any(one in later for later in given[max(number + 1, old) :])
            }
            for together in (1, 2, 6, 11, 1_000):
                executor.asked.clear()
                gone = replaced_rows(Asking(shards), Remembered(), old, "", together)
                rows = [(number, row) for number, found in gone.items() for row in found]
                asked = Asking(shards).ask("ids", {number: (found,) for number, found in gone.items()})
                assert {(number, one) for number, ids in asked.items() for one in ids} == expected
                assert len({*rows}) == len(expected)
                if together == 1_000:  # all at once: each shard is asked for what is met again in it
                    assert max(executor.asked.values(), default=0) <= 1


def test_a_shard_that_is_gone_is_named(tmp_path: Path) -> None:
    made(tmp_path / "library", Random(1))
    with closing(Counting()) as executor, Library.open(tmp_path / "library", embedder=embed) as library:
        shards = Shards(library._state.shards.entries, library.path, executor)
        for number, told in ((1, "rows"), (5, "ids")):
            path = Path(library.path, shards.entries[number].file)
            kept = path.read_bytes()
            path.unlink()
            with pytest.raises(MemoryFileError, match=f"^{told}: .*{path.name}"):
                replaced_rows(Asking(shards), Remembered(), 3, f"{told}: ")
            path.write_bytes(kept)


def test_a_build_replaces_across_its_shards(tmp_path: Path) -> None:
    some = [Record(f"r{number % 20}", f"text {number}", {}) for number in range(50)]
    with Library.create(tmp_path / "library", embed) as library:
        library.build(some[:20], rows_per_shard=7)
        library.build(some[20:], rows_per_shard=4)
        assert len(library) == 20
        assert sorted(int(record.text[5:]) for record in library) == list(range(30, 50))
