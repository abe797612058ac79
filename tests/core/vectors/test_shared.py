"""Vector files under several hands: writers that take turns, readers beside them, and bytes that changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from memvid_core.catalog.catalog import CommitRow
from memvid_core.engine.index_folder import Change, IndexFolder
from memvid_core.errors import IndexStaleError, StorageError
from memvid_core.vectors.codes_for_others import CodesForOthers
from memvid_core.vectors.growing_file import row_sums
from memvid_core.vectors.matrix import normalized
from memvid_core.vectors.vector_index import VectorIndex
from tests.core.vectors.tuned import tune
from tests.processes import start

Matrix = NDArray[np.float32]
DIMENSION = 12


@pytest.fixture(autouse=True)
def codes_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes from 40 rows on, and scans of them; they are fitted again with every doubling."""
    tune(monkeypatch, auto_floats=40 * DIMENSION, few_candidates=8, refit_growth=2, unlisted_rows=16)


def row_vectors(first: int, count: int) -> Matrix:
    """The vectors of rows, each made of its number."""
    made = [np.random.default_rng(row).standard_normal(DIMENSION) for row in range(first, first + count)]
    return np.array(made, np.float32).reshape(count, DIMENSION)


def change(first: int, rows: NDArray[np.int64], matrix: Matrix, stop: int, number: int) -> Change:
    """A commit of rows [``first``, ``stop``), of which ``rows`` have vectors."""
    commit = CommitRow(number, 0, stop, stop - first, 0, 1, 0)
    return Change(commit, first, [], [], [(rows, matrix)] if len(rows) else [], [], None, str(stop).encode())


class Rolled(Exception):
    """The journal refused."""


class Model:
    """What was committed, and the folders that all reach it."""

    def __init__(self, root: Path, random: np.random.Generator, strategy: Any) -> None:
        self.root, self.random, self.strategy = root, random, strategy
        self.rows = self.vector_rows = self.number = 0
        self.truth = np.zeros((0, DIMENSION), np.float32)
        self.folders = [self.open() for _ in range(3)]

    def open(self) -> IndexFolder:
        strategy = self.strategy
        if strategy == "any":  # each process chooses for itself
            strategy = str(self.random.choice(["auto", "exact", "sklearn", "quantized", "ivf"]))
        return IndexFolder(self.root, "m-0", dtype="float32", strategy=strategy)

    def write(self, folder: IndexFolder, *, fail: bool) -> None:
        """One transaction of one to three commits; a failed one leaves its bytes in the files."""
        rows, truth, vector_rows = self.rows, self.truth, self.vector_rows
        try:
            with folder.transaction():
                for _ in range(int(self.random.integers(1, 4))):
                    count = int(self.random.choice([0, 1, 1, 2, 7, 40]))
                    stop = rows + count
                    has = self.random.random(count) < self.random.choice([0.0, 0.6, 1.0])
                    new = self.random.standard_normal((count, DIMENSION)).astype(np.float32)
                    new[~has] = 0
                    made = change(rows, np.flatnonzero(has) + rows, new[has], stop, self.number)
                    if made.vectors and self.random.random() < 0.5:
                        folder.stage_vectors(rows, stop, made.vectors)
                        made = made._replace(staged=True)
                    folder.apply(made)
                    self.number += 1
                    rows, truth = stop, np.concatenate((truth, new))
                    vector_rows = stop if made.vectors else vector_rows
                if fail:
                    raise Rolled
        except Rolled:
            return
        self.rows, self.truth, self.vector_rows = rows, truth, vector_rows

    def check(self, folder: IndexFolder) -> None:
        """Every stored byte of the rows that count is what was written, in every file."""
        index = folder.vectors(again=True)
        if index is None:
            assert not self.vector_rows
            return
        assert index.rows == self.vector_rows
        every = np.arange(index.rows)
        unit = normalized(self.truth[: index.rows], DIMENSION)
        assert (index.vectors(every) == unit).all()
        search: Any = index._search
        if isinstance(search, CodesForOthers):
            search._follow()
            coded = search._codes.coded(index.rows)
        else:
            coded = getattr(search, "_quantized", search).coded(index.rows)
        assert (coded is None) == (index.rows < (1 if index.strategy == "quantized" else 40))
        if coded is not None:
            signs, levels = coded.quantizer.encode(unit)
            flat = coded.signs.transpose(0, 2, 1).reshape(-1, 4)[: index.rows]
            # A projection on the border may round either way.
            assert int(np.bitwise_count(flat ^ signs).sum()) <= 1 + index.rows // 100
            assert np.abs(coded.levels(every).astype(int) - levels).max() <= 1
        dense = (self.truth != 0).any(axis=1)
        live = np.flatnonzero(dense[: index.rows])
        for row in self.random.permutation(live)[:5]:
            found, scores = index.search(self.truth[row], 1, dense)
            assert (found.tolist(), scores[0]) == ([row], pytest.approx(1.0, abs=1e-5))

    def step(self) -> None:
        at = int(self.random.integers(3))
        folder = self.folders[at]
        act = self.random.choice(["write", "write", "fail", "check", "check", "again", "sync"])
        if act in ("write", "fail"):
            self.write(folder, fail=act == "fail")
        elif act == "check":
            self.check(folder)
        elif act == "sync":
            folder.sync()
        else:
            folder.close()
            self.folders[at] = self.open()


@pytest.mark.parametrize("strategy", ["auto", "ivf", "any"])
def test_folders_that_take_turns(
    tmp_path: Path, strategy: str, effort: Callable[[int], int], sized: Callable[[int, int], int]
) -> None:
    for seed in range(effort(sized(7, 12))):
        model = Model(tmp_path / str(seed), np.random.default_rng(seed), strategy)
        for _ in range(60):
            model.step()
        for folder in model.folders:
            model.check(folder)
            folder.close()


def test_rows_that_are_counted_are_never_written_again(tmp_path: Path) -> None:
    folder = IndexFolder(tmp_path, "m-0", dtype="float32")
    with folder.transaction():
        folder.apply(change(0, np.arange(5), row_vectors(0, 5), 5, 1))
    with pytest.raises(IndexStaleError, match="counts 5"), folder.transaction():
        folder.apply(change(3, np.arange(3, 5), row_vectors(3, 2), 5, 2))
    with pytest.raises(IndexStaleError, match="5 rows"):
        VectorIndex(DIMENSION, folder=tmp_path / "m-0" / "vectors", dtype="float32").extend(6, row_vectors(6, 1))
    folder.close()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("strategy", ["auto", "exact", "quantized", "ivf"])
def test_indexes_that_take_turns_without_a_catalog(tmp_path: Path, strategy: Any, dtype: Any) -> None:
    """Each knows only how many rows there are; what it knew of them before is another's by now."""
    random = np.random.default_rng(5)
    indexes = [VectorIndex(DIMENSION, folder=tmp_path, dtype=dtype, strategy=strategy) for _ in range(4)]
    truth = np.zeros((0, DIMENSION), np.float32)
    for turn in range(150):
        index = indexes[int(random.integers(4))]
        new = random.standard_normal((int(random.integers(1, 6)), DIMENSION)).astype(np.float32)
        index.extend(len(truth), new)
        if turn % 3 == 0:
            index.search(new[0], 3)  # and these rows are taken over by others, though it has seen them
            continue
        truth = np.concatenate((truth, new))
        reader = indexes[int(random.integers(4))]
        reader.sync(len(truth))
        assert np.allclose(reader.vectors(np.arange(len(truth))), normalized(truth, DIMENSION), atol=1e-3)
        for row in (*random.integers(0, len(truth), 3), len(truth) - 1):
            assert reader.search(truth[row], 1)[0].tolist() == [row]
    for index in indexes:
        index.close()


_PROCESS = """
import sys, warnings
warnings.simplefilter("error")
import numpy as np
from pathlib import Path
from memvid_core.vectors import settings
from memvid_core.engine.index_folder import IndexFolder
from tests.core.vectors.test_shared import DIMENSION, change, row_vectors

settings.DEFAULTS = settings.VectorSettings(auto_floats=40 * DIMENSION, few_candidates=8, refit_growth=2)
root, seed, turns = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
random = np.random.default_rng(seed)
folder = IndexFolder(root, "m-0", dtype="float32")
for turn in range(turns):
    try:
        with folder.transaction():
            first = int(folder.cursor or b"0")
            stop = first + int(random.integers(1, 6))
            # What fails writes other vectors, which nobody may ever find.
            failing = random.random() < 0.3
            matrix = row_vectors(first + 10**6 * failing, stop - first)
            folder.apply(change(first, np.arange(first, stop), matrix, stop, first))
            if failing:
                raise KeyError
    except KeyError:
        pass
    index = folder.vectors(again=True)
    if index is not None and index.rows:
        stored = index.vectors(np.arange(index.rows))
        wanted = row_vectors(0, index.rows)
        assert np.allclose(stored, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6)
        for row in {0, index.rows // 2, index.rows - 1}:
            assert index.search(wanted[row], 1)[0].tolist() == [row], (row, index.rows)
"""


def test_processes_that_take_turns(
    tmp_path: Path, effort: Callable[[int], int], sized: Callable[[int, int], int]
) -> None:
    running = [start(_PROCESS, tmp_path, seed, effort(sized(25, 40))) for seed in range(3)]
    errors = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], errors
    index = IndexFolder(tmp_path, "m-0", dtype="float32").vectors(again=True)
    assert index is not None
    assert index.rows > 120
    wanted = row_vectors(0, index.rows)
    for row in range(index.rows):
        assert index.search(wanted[row], 1)[0].tolist() == [row]


# ------------------------------------------------------------------------------------------------------------- damage


def harm(path: Path, kind: str, random: np.random.Generator) -> bool:
    """Change a file in one way; False when that leaves it as it was."""
    data = before = path.read_bytes()
    at = int(random.integers(len(data)))
    if kind == "flip":
        data = data[:at] + bytes([data[at] ^ (1 << int(random.integers(8)))]) + data[at + 1 :]
    elif kind == "zeros":
        at -= at % 512
        data = data[:at] + bytes(len(data[at : at + 512])) + data[at + 512 :]
    elif kind == "cut":
        data = data[:at]
    elif kind == "empty":
        data = b""
    elif kind == "swap":  # two blocks in each other's place
        size = 64
        other = int(random.integers(len(data)))
        at, other = sorted((at - at % size, other - other % size))
        one, two = data[at : at + size], data[other : other + size]
        if at == other or len(one) != len(two):
            return False
        data = data[:at] + two + data[at + size : other] + one + data[other + size :]
    else:  # a block twice
        data = data[:at] + data[at : at + 96] + data[at : at + 96] + data[at + 192 :]
        data = data[: len(before)]
    if data == before:
        return False
    status = path.stat()
    with path.open("r+b") as file:
        if kind in ("cut", "empty"):
            file.truncate(len(data))
        file.seek(0)
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**7))  # a clock tick later, however fast this is
    return True


@pytest.mark.parametrize("live", [False, True], ids=["closed", "live"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("strategy", ["auto", "exact", "ivf"])
def test_a_changed_byte_is_never_a_wrong_answer(
    tmp_path: Path,
    strategy: Any,
    dtype: Any,
    live: bool,
    effort: Callable[[int], int],
    sized: Callable[[int, int], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(11)
    data = random.standard_normal((400, DIMENSION)).astype(np.float32)
    masks = [None, random.random(400) < 0.5, random.random(400) < 0.01]

    def answers(index: VectorIndex) -> list[Any]:
        got = [index.search(data[:20], 5, mask) for mask in masks]
        one = [index.search(data[7], 5, mask) for mask in masks]
        return [part.tolist() for pair in (*got, *one) for part in pair] + [index.vectors(np.arange(400)).tolist()]

    def opened(folder: Path) -> VectorIndex:
        index = VectorIndex(DIMENSION, folder=folder, dtype=dtype, strategy=strategy)
        index.sync(400)
        return index

    def made(folder: Path) -> VectorIndex:
        index = VectorIndex(DIMENSION, folder=folder, dtype=dtype, strategy=strategy)
        index.extend(0, data)
        index.sync(400)
        index.flush()
        return index

    index = made(tmp_path / "right")
    right = answers(opened(tmp_path / "right"))
    assert answers(index) == right
    names = sorted(path.name for path in (tmp_path / "right").iterdir())
    noticed, turns = 0, effort(sized(24, 60))
    for turn in range(turns):
        with monkeypatch.context() as patch:
            if turn % 2:
                tune(patch, kept_bytes=1000)  # rows are read one by one
            folder = tmp_path / f"{turn}"
            if live:
                index = made(folder)
                assert answers(index) == right
            else:
                shutil.copytree(tmp_path / "right", folder)
            path = folder / names[turn % len(names)]
            kind = str(random.choice(["flip", "zeros", "cut", "empty", "swap", "twice"]))
            if not harm(path, kind, random):
                continue
            try:
                if not live:
                    index = opened(folder)
                got = answers(index)
            except (IndexStaleError, StorageError):
                noticed += 1
            else:  # what could be made again, or is not needed
                assert got == right, (path.name, kind)
            index.close()
    assert noticed > turns // 10  # live, most of the files are in memory already


def test_a_checksum_sees_every_bit_and_every_move() -> None:
    random = np.random.default_rng(0)
    rows, numbers = random.integers(0, 256, (9, 37), dtype=np.uint8), np.arange(9)
    sums = row_sums(rows, numbers)
    for at in range(37 * 8):
        changed = rows.copy()
        changed[:, at // 8] ^= 1 << (at % 8)
        assert (row_sums(changed, numbers) != sums).all()
    assert not set(row_sums(rows, numbers + 1).tolist()) & set(sums.tolist())
    assert len(set(row_sums(np.zeros((9, 37), np.uint8), numbers).tolist())) == 9
    assert (row_sums(np.zeros((9, 37), np.uint8), numbers) != 0).all()


def test_files_that_were_replaced_are_not_taken_for_the_old_ones(tmp_path: Path) -> None:
    index = VectorIndex(DIMENSION, folder=tmp_path / "index", dtype="float32")
    index.extend(0, row_vectors(0, 60))
    (tmp_path / "index").rename(tmp_path / "gone")
    VectorIndex(DIMENSION, folder=tmp_path / "index", dtype="float32").extend(0, row_vectors(100, 60))
    assert index.search(row_vectors(3, 1)[0], 1)[0].tolist() == [3]
    for call in (lambda: index.sync(60), lambda: index.extend(60, row_vectors(60, 1))):
        with pytest.raises(IndexStaleError, match="replaced"):
            call()
