"""Vectors that are read from the video: the same answers as from a copy of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memvid_core.catalog.catalog import CommitRow
from memvid_core.engine.index_folder import Change, IndexFolder
from memvid_core.errors import IndexStaleError, StorageError
from memvid_core.journal import Batch, Journal
from memvid_core.journal.video_vectors import VectorPictures
from memvid_core.vectors.video_rows import VideoRows
from tests.core.vectors.tuned import tune


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are looked up in the video from forty on, and searched by codes."""
    tune(monkeypatch, settled_rows=40, frame_rows=1, auto_floats=1, few_candidates=8, refit_growth=1000)


class Both:
    """One journal, indexed with a copy of its vectors and without."""

    def __init__(self, root: Path, dtype: Any, columns: int = 16) -> None:
        self.journal = Journal.create(
            root / "m.mp4", "pcm", {"columns": columns, "rows": columns}, vectors=dtype, embedder=""
        )
        pictures = VectorPictures.of(self.journal.video)
        assert pictures is not None
        self.root, self.dtype, self.pictures = root, dtype, pictures
        self.plain = IndexFolder(root / "plain", "m-0", dtype=dtype)
        self.lean = self.open()
        self.has = np.zeros(0, np.bool_)

    def open(self) -> IndexFolder:
        return IndexFolder(self.root / "lean", "m-0", dtype=self.dtype, pictures=self.pictures)

    def commit(self, matrix: Any, has: Any, *, fail: bool = False) -> None:
        first = self.journal.cursor.row
        rows = [msgspec.msgpack.encode((str(first + at), "", {})) for at in range(len(has))]
        places = np.flatnonzero(has)
        batch = Batch(rows, matrix[has] if len(places) else None, places if len(places) else None)
        entry = self.journal.append(batch)
        commit = CommitRow(entry.number, 0, entry.cursor.row, len(has), 0, 1, 0)
        frames = list(entry.row_frames)
        change = Change(commit, first, [], frames, entry.vectors, [], None, str(entry.number).encode())
        if fail:
            self._fail(change)
        for folder in (self.plain, self.lean):
            with folder.transaction():
                folder.apply(change)
        self.has = np.concatenate((self.has, has))

    def _fail(self, change: Change) -> None:
        """The journal refused: what was written of the index is rolled back."""
        try:
            with self.lean.transaction():
                self.lean.apply(change)
                raise KeyError
        except KeyError:
            pass

    def compare(self, folder: IndexFolder, queries: Any, masks: list[Any]) -> int:
        plain, lean = self.plain.vectors(again=True), folder.vectors(again=True)
        if plain is None:
            assert lean is None
            return 0
        assert lean is not None
        assert lean.rows == plain.rows
        every = np.arange(plain.rows)
        apart = 3e-3 if self.dtype == "float16" else 1e-6
        np.testing.assert_allclose(lean.vectors(every), plain.vectors(every), atol=apart)
        for mask in masks:
            allowed = self.has & mask
            for query in queries:
                (rows, scores), (same, wanted) = lean.search(query, 7, allowed), plain.search(query, 7, allowed)
                np.testing.assert_allclose(scores, wanted, atol=apart)
                # Rows change places only where their scores are nearly equal.
                assert all(
                    row == other or abs(score - want) <= apart
                    for row, other, score, want in zip(rows, same, scores, wanted, strict=True)
                )
        store = lean._store
        np.testing.assert_array_equal(
            np.concatenate([store.block(at, min(at + 33, lean.rows)) for at in range(0, lean.rows, 33)]),
            lean.vectors(every),
        )
        return lean.settled

    def close(self) -> None:
        self.plain.close()
        self.lean.close()
        self.journal.close()


def made(random: np.random.Generator, count: int, dimension: int, zeros: float) -> Any:
    """Vectors with numbers that the video has to escape, if ``zeros`` is above 0."""
    matrix = random.standard_normal((count, dimension)).astype(np.float32)
    matrix[random.random((count, dimension)) < zeros] = 0
    matrix[:, 0] += 1
    return matrix


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from([3, 7, 48, 100, 192, 384, 385, 770, 1536]),
    st.sampled_from(["float16", "float32"]),
    st.lists(st.tuples(st.integers(0, 120), st.sampled_from([1.0, 1.0, 0.9, 0.0])), min_size=2, max_size=6),
    st.sampled_from([0.0, 0.02, 0.5, 0.95]),
    st.integers(0, 2**32 - 1),
)
def test_answers_are_the_same_without_a_copy(
    tmp_path_factory: pytest.TempPathFactory, dimension: int, dtype: Any, commits: Any, zeros: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch, closing(Both(tmp_path_factory.mktemp("m"), dtype)) as both:
        tune(patch, auto_floats=60 * dimension, kept_bytes=int(random.choice([0, 4_000, 1 << 28])))
        drive(both, random, dimension, commits, zeros)


def drive(both: Both, random: np.random.Generator, dimension: int, commits: Any, zeros: float) -> None:
    """Commits, some rolled back at first, and questions after each."""
    queries = made(random, 3, dimension, 0.0)
    for count, share in commits:
        matrix = made(random, count, dimension, zeros)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True) if random.random() < 0.5 else 1
        both.commit(matrix, random.random(count) < share, fail=random.random() < 0.3)
        rows = len(both.has)
        masks = [np.ones(rows, np.bool_), random.random(rows) < 0.7, random.random(rows) < 0.05]
        both.compare(both.lean, queries, masks)
        if random.random() < 0.3:
            both.lean.sync()
        if random.random() < 0.3:
            both.lean.close()
            both.lean = both.open()
    other = both.open()
    both.compare(other, queries, masks)
    other.close()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_copy_goes_and_readers_follow(tmp_path: Path, dtype: Any) -> None:
    random = np.random.default_rng(0)
    both, queries = Both(tmp_path, dtype), made(random, 4, 96, 0)
    reader = both.open()

    def every() -> list[Any]:
        return [np.ones(len(both.has), np.bool_)]

    before = 0
    for turn in range(12):
        both.commit(made(random, 150, 96, 0.01), np.ones(150, np.bool_))
        if turn % 3:
            settled = both.compare(reader, queries, every())
            assert settled >= before
            before = settled
        if turn % 4 == 0:
            both.lean.sync()
    both.lean.sync()
    assert both.compare(reader, queries, every()) == 1800
    folder = tmp_path / "lean" / "m-0" / "vectors"
    kept = {path.name: path.stat().st_size for path in folder.iterdir() if path.name.startswith(("vectors", "video"))}
    assert sorted(kept) == sorted(
        [
            f"vectors-96.{dtype}.1800",
            f"vectors-96.{dtype}.1800.sums",
            f"video-96.{dtype}.1800",
            f"video-96.{dtype}.sums",
        ]
    )
    assert sum(kept.values()) < 1800 * 24
    reader.close()
    both.close()


@pytest.mark.parametrize("share", ["listed", "small frames"])
def test_what_cannot_be_read_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: str) -> None:
    random = np.random.default_rng(1)
    both, queries = Both(tmp_path, "float32"), made(random, 4, 24, 0)
    if share == "small frames":
        tune(monkeypatch, frame_rows=16)
    for turn in range(60):
        has = np.ones(5 if share == "small frames" else 20, np.bool_)
        if share == "listed" and turn >= 30:
            has[7] = False
        both.commit(made(random, len(has), 24, 0.1), has)
    both.lean.sync()
    settled = both.compare(both.lean, queries, [np.ones(len(both.has), np.bool_)])
    assert settled == (0 if share == "small frames" else 600)
    both.close()


def test_a_changed_byte_of_the_video_is_noticed(tmp_path: Path, effort: Callable[[int], int]) -> None:
    random = np.random.default_rng(2)
    both = Both(tmp_path, "float16")
    both.commit(made(random, 300, 48, 0.02), np.ones(300, np.bool_))
    both.lean.sync()
    lean = both.lean.vectors(again=True)
    assert lean is not None
    assert lean.settled == 300
    right = lean.vectors(np.arange(300))
    path = tmp_path / "m.mp4"
    data = path.read_bytes()
    noticed = 0
    for _ in range(effort(300)):
        at = int(random.integers(len(data)))
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes([data[at] ^ (1 << int(random.integers(8)))]))
        assert (lean.vectors(np.arange(300)) == right).all()  # rows that were read before stay what they were
        assert isinstance(lean._store, VideoRows)
        lean._store._kept = None  # as in a process that has read none
        for read in (lambda: lean.vectors(np.arange(300)), lambda: lean._store.block(0, 300)):
            try:
                assert (read() == right).all()
            except (IndexStaleError, StorageError):
                noticed += 1
        with path.open("r+b") as file:
            file.seek(at)
            file.write(data[at : at + 1])
        assert (lean.vectors(np.arange(300)) == right).all()
    assert noticed > effort(300)
    both.close()


def test_a_damaged_place_is_noticed(tmp_path: Path) -> None:
    both = Both(tmp_path, "float16")
    both.commit(made(np.random.default_rng(3), 300, 48, 0.02), np.ones(300, np.bool_))
    both.lean.sync()
    both.lean.close()
    (places,) = (tmp_path / "lean").rglob("video-48.float16.300")
    data = bytearray(places.read_bytes())
    data[len(data) // 2] ^= 1
    places.write_bytes(data)
    both.lean = both.open()
    with pytest.raises(IndexStaleError, match="damaged"):
        both.lean.vectors(again=True)
    without = IndexFolder(tmp_path / "lean", "m-0", dtype="float16")
    with pytest.raises(IndexStaleError, match="video"):
        without.vectors(again=True)
    without.close()
    both.close()
