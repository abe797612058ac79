"""Codes in the folder are used if a catalog identifies them; others are left aside, and replaced by who writes next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memvid_core.vectors.row_totals import UNPROVEN, Derived, total_in, total_note
from memvid_core.vectors.vector_index import VectorIndex
from tests.core.vectors.tuned import tune
from tests.core.vectors.vector_data import clustered, recall

ROWS, DIMENSION = 2000, 24
DATA, QUERIES = clustered(ROWS + 200, DIMENSION), clustered(30, DIMENSION, seed=2)


@pytest.fixture(autouse=True)
def codes_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, auto_floats=500 * DIMENSION, few_candidates=8)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[VectorIndex]:
    index = VectorIndex(DIMENSION, folder=tmp_path, strategy="quantized")
    index.sync(0, derived=UNPROVEN)
    index.extend(0, DATA[:ROWS], derived=UNPROVEN)
    yield index
    index.close()


def found(index: VectorIndex, rows: int) -> float:
    """The share of the nearest that is found."""
    return recall(index, DATA[:rows], QUERIES, 10)


@pytest.mark.parametrize("wrong", ["sum", "fit", "nothing", "other rows"])
@pytest.mark.parametrize("writable", [False, True])
def test_codes_that_are_not_identified_are_left_aside(
    tmp_path: Path, writer: VectorIndex, wrong: str, writable: bool
) -> None:
    noted = writer.derived(ROWS)
    derived = {
        "sum": noted._replace(codes=noted.codes + 1),
        "fit": noted._replace(fit=noted.fit + 1),
        "nothing": UNPROVEN,
        "other rows": total_in(total_note(ROWS - 1, 0, 0, noted), ROWS, 0)[1],
    }[wrong]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    index = VectorIndex(DIMENSION, folder=tmp_path, strategy="quantized", writable=writable)
    index.sync(ROWS, derived=derived)
    assert found(index, ROWS) >= 0.97
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert index.unsaved == writable
    if writable:
        index.extend(ROWS, DATA[ROWS:], derived=derived)
        again = index.derived(ROWS + 200)
        assert again.fit == noted.fit + 1
        reader = VectorIndex(DIMENSION, folder=tmp_path, strategy="quantized", writable=False)
        reader.sync(ROWS + 200, derived=again)
        assert found(reader, ROWS + 200) >= 0.97
        assert not reader.unsaved
        reader.close()
    index.close()


def test_codes_of_a_commit_that_failed_are_followed_by_those_of_another_process(
    tmp_path: Path, writer: VectorIndex
) -> None:
    noted = writer.derived(ROWS)
    writer.sync(ROWS, derived=noted)
    writer.extend(ROWS, DATA[ROWS:], derived=noted)
    writer.roll_back(ROWS)
    other = VectorIndex(DIMENSION, folder=tmp_path, strategy="quantized")
    other.sync(ROWS, derived=noted)
    other.extend(ROWS, DATA[ROWS:][::-1], derived=noted)
    again = other.derived(ROWS + 200)
    assert again.fit == noted.fit
    for index in (writer, other):
        index.sync(ROWS + 200, derived=again)
        for row in range(ROWS, ROWS + 200):
            assert index.search(DATA[2 * ROWS + 199 - row], 1)[0].tolist() == [row]
        assert index.derived(ROWS + 200) == again
    assert not list(tmp_path.glob("codes-2*"))
    other.close()


def test_a_fit_that_no_commit_identifies_is_not_used(
    tmp_path: Path, writer: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = writer.derived(ROWS)
    reader = VectorIndex(DIMENSION, folder=tmp_path, strategy="quantized")
    reader.sync(ROWS, derived=noted)
    assert found(reader, ROWS) >= 0.97
    with monkeypatch.context() as patch:
        tune(patch, refit_growth=1)
        writer.sync(ROWS, derived=noted)
        writer.extend(ROWS, DATA[ROWS:], derived=noted)  # fits again, and fails
    writer.roll_back(ROWS)
    assert writer.derived(ROWS + 200).fit == noted.fit + 1
    reader.sync(ROWS, derived=noted)
    assert found(reader, ROWS) >= 0.97
    reader.extend(ROWS, DATA[ROWS:], derived=noted)
    assert reader.derived(ROWS + 200).fit == noted.fit + 2
    writer.sync(ROWS + 200, derived=reader.derived(ROWS + 200))
    assert found(writer, ROWS + 200) >= 0.97
    assert writer.derived(ROWS + 200) == reader.derived(ROWS + 200)
    reader.close()


def test_what_a_catalog_notes_is_read_again() -> None:
    derived = Derived(3, (1 << 64) - 1, 7)
    assert total_in(total_note(5, 2, 9, derived), 5, 2) == (9, derived)
    assert total_in(b"5 2 9", 5, 2) == (9, UNPROVEN), "of the version before"
    assert total_in(b"5 2 9 1", 5, 2) == (9, UNPROVEN), "of a version that identifies other files"
    assert total_in(total_note(5, 2, 9, derived), 6, 2) == (None, UNPROVEN)
    assert total_in(None, 0, 0) == (None, UNPROVEN)
