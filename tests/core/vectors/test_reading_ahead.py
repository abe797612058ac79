"""Rows that are read ahead after some searches: right whatever happens to the file, and no error before its time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from memvid_core.errors import IndexStaleError, OutOfMemoryError
from memvid_core.vectors.checked_rows import CheckedRows
from memvid_core.vectors.growing_file import GrowingFile, row_sums
from memvid_core.vectors.kept_rows import KeptRows
from tests.core.vectors.tuned import tune

ROWS, WIDTH = 5000, 256  # 1.3 MB: five pieces of what is read ahead at once
MANY = 100


@pytest.fixture
def rows() -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (ROWS, WIDTH), dtype=np.uint8)


@pytest.fixture
def checked(tmp_path: Path, rows: NDArray[np.uint8]) -> CheckedRows:
    file, sums = GrowingFile(tmp_path / "rows", writable=True), GrowingFile(tmp_path / "sums", writable=True)
    file.write(0, rows.data.cast("B"))
    sums.write(0, row_sums(rows, np.arange(ROWS)).data.cast("B"))
    made = CheckedRows(file, sums, WIDTH)
    made.sync(ROWS, 0)
    return made


def damage(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 1]))


def test_after_some_calls_rows_of_a_file_need_it_no_more(
    checked: CheckedRows, rows: NDArray[np.uint8], tmp_path: Path
) -> None:
    for _ in range(MANY):
        np.testing.assert_array_equal(checked.take(np.array([3, 1, 3])), rows[[3, 1, 3]])
    (tmp_path / "rows").write_bytes(b"")
    some = np.random.default_rng(1).integers(0, ROWS, 300)
    np.testing.assert_array_equal(checked.take(some), rows[some])


def test_a_call_or_two_read_what_is_asked(checked: CheckedRows, tmp_path: Path) -> None:
    checked.take(np.array([3]))
    checked.take(np.array([4]))
    damage(tmp_path / "rows", 17 * WIDTH)
    with pytest.raises(IndexStaleError, match="row 17 "):
        checked.take(np.arange(10, 20))


def test_a_damaged_row_of_a_file_is_named_when_it_is_asked_for(
    checked: CheckedRows, rows: NDArray[np.uint8], tmp_path: Path
) -> None:
    damage(tmp_path / "rows", 4000 * WIDTH)
    for _ in range(MANY):
        np.testing.assert_array_equal(checked.take(np.array([0])), rows[[0]])
    with pytest.raises(IndexStaleError, match="row 4000 "):
        checked.take(np.array([3999, 4000]))
    np.testing.assert_array_equal(checked.take(np.array([3999, 4001])), rows[[3999, 4001]])


def test_rows_that_were_written_again_are_read_again(
    checked: CheckedRows, rows: NDArray[np.uint8], tmp_path: Path
) -> None:
    for _ in range(MANY):
        checked.take(np.array([0]))
    new = rows[4990:] ^ 255
    with (tmp_path / "rows").open("r+b") as file:
        file.seek(4990 * WIDTH)
        file.write(new.tobytes())
    with (tmp_path / "sums").open("r+b") as file:
        file.seek(4990 * 8)
        file.write(row_sums(new, np.arange(4990, ROWS)).tobytes())
    checked.forget(4990)
    for _ in range(MANY):
        np.testing.assert_array_equal(checked.take(np.arange(4985, ROWS)), np.concatenate((rows[4985:4990], new)))


def _frames(rows: NDArray[np.uint8], damaged: int = -1) -> Callable[[int], NDArray[np.uint8]]:
    def read(at: int) -> NDArray[np.uint8]:
        if at == damaged:
            raise IndexStaleError("a frame is damaged")
        return rows[at * 100 : (at + 1) * 100]

    return read


@pytest.mark.parametrize("damaged", [-1, 20])
def test_after_some_searches_all_whole_frames_are_kept(rows: NDArray[np.uint8], damaged: int) -> None:
    kept, first = KeptRows(ROWS, WIDTH), np.arange(0, ROWS, 100)
    asked: list[int] = []

    def read(wanted: NDArray[np.int64]) -> NDArray[np.uint8]:
        asked.extend(wanted.tolist())
        return rows[wanted]

    for _ in range(MANY):
        kept.take(np.array([7]), read, lambda raw, numbers: None)
        kept.read_ahead(first, np.full(len(first), 100), _frames(rows, damaged))
    grown = KeptRows(ROWS + 10, WIDTH, kept)
    np.testing.assert_array_equal(grown.take(np.arange(ROWS), read, lambda raw, numbers: None), rows)
    assert asked == [7, *range(2000, 2100)] if damaged == 20 else [7]


def test_more_rows_than_the_process_may_hold_are_an_error_that_says_so() -> None:
    with pytest.raises(OutOfMemoryError, match="do not fit into memory"):
        KeptRows(1 << 40, 1 << 12)


class Searcher:
    """Who asks for room."""


def test_all_videos_of_a_process_share_the_room_for_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, kept_bytes=10 * WIDTH)
    one, other = Searcher(), Searcher()
    first = KeptRows.if_room(6, WIDTH, None, one)
    assert first is not None
    assert KeptRows.if_room(5, WIDTH, None, other) is None
    second = KeptRows.if_room(4, WIDTH, None, other)
    assert second is not None
    assert KeptRows.if_room(7, WIDTH, first, one) is None
    del second
    grown = KeptRows.if_room(10, WIDTH, first, one)  # the rows that it replaces are not counted twice
    assert grown is not None
    del first, grown
    assert KeptRows.if_room(11, WIDTH, None, one) is None
    assert KeptRows.if_room(10, WIDTH, None, one) is not None


@pytest.mark.parametrize("ending", ["room", "closed", "gone"])
def test_nothing_is_read_ahead_while_another_video_has_no_room(
    rows: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    tune(monkeypatch, kept_bytes=ROWS * WIDTH)
    searcher = Searcher()
    kept, first = KeptRows.if_room(ROWS, WIDTH, None, searcher), np.arange(0, ROWS, 100)
    assert kept is not None
    read: list[int] = []

    def noted(at: int) -> NDArray[np.uint8]:
        read.append(at)
        return _frames(rows)(at)

    def search() -> None:
        for _ in range(MANY):
            kept.take(np.array([7]), lambda wanted: rows[wanted], lambda raw, numbers: None)
            kept.read_ahead(first, np.full(len(first), 100), noted)

    other = Searcher()
    assert KeptRows.if_room(1, WIDTH, None, other) is None
    search()
    assert not read
    if ending == "room":
        tune(monkeypatch, kept_bytes=ROWS * WIDTH + WIDTH)
        assert KeptRows.if_room(1, WIDTH, None, other) is not None
    elif ending == "closed":
        KeptRows.leave(other)
    else:
        del other
    search()
    assert len(read) > 1


def test_rows_of_a_frame_that_could_not_be_read_ahead_are_read_when_they_are_asked_for() -> None:
    made = np.random.default_rng(3).integers(0, 256, (30, WIDTH), dtype=np.uint8)
    kept, first, items = KeptRows(30, WIDTH), np.arange(0, 30, 10), np.full(3, 10)

    def read(frame: int) -> NDArray[np.uint8]:
        if frame == 1:
            raise IndexStaleError("damaged")
        return made[10 * frame : 10 * frame + 10]

    asked: list[int] = []

    def gathered(missing: NDArray[np.int64]) -> NDArray[np.uint8]:
        asked.extend(missing.tolist())
        return made[missing]

    for _ in range(8):
        kept.take(np.array([0]), gathered, lambda raw, missing: None)
        kept.read_ahead(first, items, read)
    every = np.arange(30)
    assert np.array_equal(kept.take(every, gathered, lambda raw, missing: None), made)
    assert asked == [0, *range(10, 20)]
