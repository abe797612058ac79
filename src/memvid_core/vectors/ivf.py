"""IVF search: rows lie in lists around centroids, and a query looks into few lists: fast among very many rows.

An inverted file (Jegou, Douze, Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011) over the codes
that the quantized search keeps of each row. Each row is in the lists of the two centroids nearest to it. A query scans
the signs of all centroids, orders the nearest by their levels, counts the signs in which the rows of the nearest lists
differ, weighs the levels of the best of these, and compares the best of those exactly. How many entries of lists it
takes is measured: rows are asked for as queries, also by a search that misses nothing, until what is found is the share
that is promised.

The quantized search is kept up to date as well: it answers what lists are no good for, and an index
that one process opens with lists another may open without.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.system.folders import matching
from memvid_core.vectors import settings
from memvid_core.vectors.centroids import EACH, Centroids, Lists, means
from memvid_core.vectors.codes import RamCodes
from memvid_core.vectors.exact import Rows, compare, kth_best
from memvid_core.vectors.growing_file import load_arrays, save_arrays
from memvid_core.vectors.matrix import Matrix
from memvid_core.vectors.quantized import Coded, QuantizedSearch, scan, weigh
from memvid_core.vectors.quantizer import BITS, Codes, Levels, Quantizer, Question

__all__ = ["IvfSearch"]

_LIST_ROWS: Final = 16  # rows a list holds on average when it is made, were each in one
_MANY_LISTS: Final = 1 << 15  # more are made only so that a list holds no more than four times that
_TRAINING_ROWS: Final = 8  # rows a centroid is the mean of
_REFIT_GROWTH: Final = 4  # rows grown by this factor since the centroids were fitted: fit again
_MEASURE_GROWTH: Final = 2  # rows grown by this factor since it was measured how many entries it takes: measure again
_BATCH_ROWS: Final = 8192
_SEED: Final = 0x6D656D76
_FILES: Final = re.compile(r"ivf-\d+-\d+\.(centroids|lists)")
_LEAST_LISTS: Final = 16  # that a query looks into
_TIES: Final = 8  # times as many rows as wanted that are as good as the last of them: copies, which lists do not part
_DEPTHS: Final = (10, 100)  # how many of the nearest rows are to be found, to measure
_STEP: Final = 2**0.5  # entries grow by this factor until enough is found
_SPARE: Final = 4  # times as many rows as are to be found are asked for, to know which these are
_EQUAL: Final = 1e-6  # a cosine that is less by this much is as good


class _InvertedFile:
    """Which centroids each row is nearest to, and the rows of each centroid.

    Args:
        quantizer: Whose levels the centroids are in.
        centroids: (n, width) int8.
        fitted_rows: How many rows there were when they were fitted.
        budgets: How many entries of lists are looked at, for each of the depths, and the number of rows it was measured
            with; None if it was not.
    """

    def __init__(
        self, quantizer: Quantizer, centroids: Levels, fitted_rows: int, budgets: NDArray[np.float64] | None = None
    ) -> None:
        self.quantizer = quantizer
        self.centroids = centroids
        self.fitted_rows = fitted_rows
        self.budgets = budgets
        self.known = 0  # rows that have lists
        self._codes = RamCodes(quantizer.width)
        self._codes.write(0, _signs(centroids), centroids)
        points = centroids * np.float32(quantizer.step)
        # A query's distance from a centroid, squared and halved, is its own part, and this, less the weighed levels.
        self._shift = np.vecdot(points, points) / 2 + points @ quantizer.offsets[: quantizer.width]
        self._nearest = np.empty((0, EACH), dtype=np.int32)  # a row without a vector has the number after the last
        self._lists = self._no_lists()

    @classmethod
    def fit(cls, coded: Coded) -> _InvertedFile:
        """Return centroids for rows of these codes: a sample of them, each replaced by the mean of its nearest rows."""
        rows = coded.rows
        count = max(min(rows // _LIST_ROWS, max(_MANY_LISTS, rows // (4 * _LIST_ROWS))), 1)
        random = np.random.default_rng(_SEED)
        some = coded.levels(np.sort(random.choice(rows, count, replace=False)))
        sample = coded.levels(np.sort(random.choice(rows, min(rows, count * _TRAINING_ROWS), replace=False)))
        moved = means(sample, Centroids(some).nearest(sample)[:, 0], some.astype(np.float32))
        return cls(coded.quantizer, np.rint(moved).astype(np.int8), rows)

    def _no_lists(self) -> Lists:
        none = np.empty((0, BITS // 64), dtype=np.uint64)
        return Lists(0, np.empty(0, dtype=np.int32), np.zeros(len(self.centroids) + 2, dtype=np.int64), none)

    @cached_property
    def _finder(self) -> Centroids:
        return Centroids(self.centroids)

    @property
    def nearest(self) -> NDArray[np.int32]:
        """(known, EACH) int32: the lists of each row."""
        return self._nearest[: self.known]

    @property
    def nbytes(self) -> int:
        """Bytes in RAM."""
        return self.centroids.nbytes + self._nearest.nbytes + self._lists.order.nbytes + self._lists.signs.nbytes

    def take(self, nearest: NDArray[np.int32]) -> None:
        """Take over what :attr:`nearest` was when it was saved."""
        self._nearest, self.known = nearest, len(nearest)

    def forget(self, first_row: int) -> None:
        """Forget the rows from ``first_row`` on, which are written again."""
        self.known = min(self.known, first_row)
        if self._lists.rows > self.known:
            self._lists = self._no_lists()

    def grow(self, coded: Coded) -> None:
        """Give the rows that have none their lists."""
        rows = coded.rows
        if rows > len(self._nearest):
            longer = np.empty((max(rows, 2 * self.known), EACH), dtype=np.int32)
            longer[: self.known] = self.nearest
            self._nearest = longer
        for start in range(self.known, rows, _BATCH_ROWS):
            some = coded.levels(np.arange(start, min(start + _BATCH_ROWS, rows)))
            nearest = self._nearest[start : start + len(some)]
            nearest[:] = self._finder.nearest(some)
            nearest[(some == self._without).all(axis=1)] = len(self.centroids)
            self.known = start + len(some)
        listed = self._lists.rows
        if self.known - listed > max(settings.DEFAULTS.unlisted_rows, listed >> 5):
            self._lists = Lists.of(self.nearest, len(self.centroids), coded.signs)

    @cached_property
    def _without(self) -> Levels:
        """The levels of a row without a vector."""
        return self.quantizer.encode(np.zeros((1, self.quantizer.directions.shape[1]), dtype=np.float32))[1]

    def budget(self, k: int) -> float:
        """Return how many entries of lists are to be looked at for the nearest k rows; infinite for all rows.

        As many lists as were measured, which have grown since.
        """
        if self.budgets is None:
            return math.inf
        *measured, rows = self.budgets.tolist()
        few, many = (entries * max(self.known / rows, 1.0) for entries in measured)
        if not math.isfinite(many):
            return float(few) if k <= _DEPTHS[0] else math.inf
        growth = math.log(many / few) / math.log(_DEPTHS[1] / _DEPTHS[0])
        return float(few * max(k / _DEPTHS[0], 1.0) ** growth)

    def look(
        self, question: Question, entries: float, picked: int, coded: Coded, mask: NDArray[np.bool_] | None
    ) -> tuple[Rows, NDArray[np.float32]]:
        """Return the best rows by their signs in the nearest lists, ascending, and their weighed levels.

        Args:
            question: The query.
            entries: How many entries of lists are looked at.
            picked: How many of them are weighed.
            coded: The codes of all rows that there are.
            mask: Which of them may be found; None for all.
        """
        lists, rows = self._lists, coded.rows
        asked = self._nearest_lists(question, entries)
        starts = lists.starts[asked]
        sizes = lists.starts[asked + 1] - starts
        ends = np.cumsum(sizes)
        at = np.repeat(starts - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)
        found = lists.order[at]
        if mask is not None or rows < lists.rows:
            allowed = found < rows if mask is None else _allowed(mask, found)
            at, found = at[allowed], found[allowed]
        if len(found) > EACH * picked:
            differing = np.bitwise_count(lists.signs.take(at, axis=0) ^ question.signs)
            distances = differing.view(np.uint32)[:, 0] * np.uint32(0x01010101) >> np.uint32(
                24
            )  # the sum of four bytes
            within = np.bincount(distances, minlength=BITS).cumsum()
            found = found[distances <= np.searchsorted(within, EACH * picked)]
            found = found if len(found) <= _TIES * EACH * picked else found[:0]
        if lists.rows < rows:
            wanted = np.zeros(len(self.centroids) + 1, dtype=np.bool_)
            wanted[asked] = True
            newest = np.flatnonzero(wanted[self._nearest[lists.rows : rows]].any(axis=1)) + lists.rows
            found = np.concatenate((found, newest if mask is None else newest[_allowed(mask, newest)]))
        near = np.unique(found).astype(np.int64)
        return near, weigh(coded.levels, near, question.weights)

    def _nearest_lists(self, question: Question, entries: float) -> Rows:
        """Return the numbers of the centroids nearest to a query, whose lists have so many entries together.

        None where the least number of lists has too many, as among copies of one vector, or rows unlike those that the
        centroids were fitted to.
        """
        count, sizes = len(self.centroids), np.diff(self._lists.starts)
        most = math.ceil(min(entries * count / max(len(self._lists.order), 1), count))
        distances = scan(self._codes.blocks(count), question.signs, count)
        stride = max(1, count >> 13)
        within = np.bincount(distances[::stride]).cumsum() * stride
        pool = min(settings.DEFAULTS.pool * most, within[-1])
        near = np.flatnonzero(distances <= np.searchsorted(within, pool))
        apart = self._shift[near] - weigh(self._codes.levels, near, question.weights)
        if EACH * most < len(near):
            first = np.argpartition(apart, EACH * most)[: EACH * most]
            near, apart = near[first], apart[first]
        near = near[np.argsort(apart)]
        filled = np.cumsum(sizes[near])
        count = max(int(np.searchsorted(filled, min(entries, filled[-1]))) + 1, min(_LEAST_LISTS, len(near)))
        return near[:count] if not _too_many(float(filled[count - 1]), self.known) else near[:0]


def _allowed(mask: NDArray[np.bool_], rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows a mask lets through; those after its end are hidden."""
    inside = rows < len(mask)
    inside[inside] = mask[rows[inside]]
    return inside


def _signs(levels: Levels) -> Codes:
    """(n, 4) uint64: which levels are above 0."""
    bits = np.zeros((len(levels), BITS), dtype=np.bool_)
    np.greater(levels, 0, out=bits[:, : levels.shape[1]])
    return np.packbits(bits, axis=1).view(np.uint64)


class IvfSearch:
    """An inverted file over the rows that a quantized search has codes of.

    Args:
        quantized: The search that keeps the codes, and answers for few rows, and for filters that let few through.
        folder: Where centroids and lists are saved; None for RAM only.
        writable: Whether they may be saved.
    """

    name = "ivf"

    def __init__(self, quantized: QuantizedSearch, folder: Path | None, *, writable: bool) -> None:
        self._quantized = quantized
        self._folder = folder
        self._writable = writable
        self._lock = threading.RLock()
        self._file: _InvertedFile | None = None
        self._rows = 0
        self._saved: tuple[str, int] | None = None  # under which name, and how many rows
        self._looked_for: Quantizer | None = None  # whose lists were looked for in the folder when it was seen first

    def extend(self, first_row: int, unit: Matrix) -> None:
        """Forget rows that are written again; new ones get their lists at the next search or flush."""
        self._quantized.extend(first_row, unit)
        with self._lock:
            if self._file is not None and 2 * first_row < self._file.fitted_rows:
                self._file = None  # what is written instead may be unlike
            elif self._file is not None:
                self._file.forget(first_row)
            if self._saved is not None and first_row < self._saved[1]:
                self._sweep(keep=None)

    def sync(self, rows: int, kept: int) -> None:
        """Forget rows that may be another's, and take what was saved, where it saves work."""
        self._quantized.sync(rows, kept)
        with self._lock:
            self._rows = rows
            if self._file is not None:
                self._file.forget(kept)
            quantizer = self._quantized.quantizer(rows)
            if quantizer is not None and quantizer is not self._looked_for:
                coded = self._quantized.coded(rows)
                if coded is not None:
                    self._load(coded)

    def _load(self, coded: Coded) -> None:
        """Take centroids and lists that belong to these codes; what is damaged can be made again."""
        self._looked_for = coded.quantizer
        for path in [] if self._folder is None else matching(self._folder, f"ivf-{coded.fit}-*.lists"):
            fitted, width = path.stem.rpartition("-")[2], coded.quantizer.width
            lists, centres = load_arrays(path), load_arrays(path.with_suffix(".centroids"))
            if not fitted.isdecimal() or lists is None or centres is None:
                continue
            nearest, centroids, budgets = lists.get("nearest"), centres.get("centroids"), lists.get("budgets")
            if nearest is None or centroids is None or len(nearest) > coded.rows:  # never committed
                continue
            if nearest.shape[1:] != (EACH,) or budgets is None or budgets.shape != (len(_DEPTHS) + 1,):
                continue  # an older version wrote them
            count = len(centroids)
            if count and centroids.shape[1:] == (width,) and ((nearest >= 0) & (nearest <= count)).all():
                self._file = _InvertedFile(coded.quantizer, centroids, int(fitted), budgets)
                self._file.take(nearest)
                self._saved = path.stem, len(nearest)
                return

    def _sweep(self, keep: str | None) -> None:
        """Remove saved centroids and lists, but for those of one name."""
        self._saved = None if keep is None else self._saved
        if self._folder is not None and self._writable:
            for path in matching(self._folder, "ivf-*"):
                if path.stem != keep and _FILES.fullmatch(path.name):
                    with contextlib.suppress(OSError):  # Windows refuses while another process has it open
                        path.unlink()

    def _grow(self, coded: Coded) -> _InvertedFile:
        """Return the inverted file, with all rows of these codes in it."""
        if self._file is None or self._file.quantizer is not coded.quantizer:
            self._load(coded)  # another process may have saved them meanwhile
        file = self._file
        if file is None or file.quantizer is not coded.quantizer or coded.rows >= _REFIT_GROWTH * file.fitted_rows:
            file = _InvertedFile.fit(coded)
        file.grow(coded)
        if file.budgets is None or coded.rows >= _MEASURE_GROWTH * file.budgets[-1]:
            file.budgets = self._measure(file, coded)
        self._file = file
        return file

    def candidates(self, queries: Matrix, k: int, rows: int, mask: NDArray[np.bool_] | None) -> list[Rows]:
        """Return the rows of the nearest lists whose levels are best; with a filter, of more lists or of none."""
        coded = self._quantized.coded(rows)
        passing = rows if mask is None else int(np.count_nonzero(mask))
        if coded is None or _too_many(settings.DEFAULTS.entries, passing):
            return self._quantized.candidates(queries, k, rows, mask)
        with self._lock:
            file = self._grow(coded)
        entries = file.budget(k)
        if _too_many(entries, passing):
            return self._quantized.candidates(queries, k, rows, mask)
        found = [_best(file, query, k, entries * rows / max(passing, 1), coded, mask) for query in queries]
        short = [at for at, near in enumerate(found) if len(near) < min(k, passing)]
        if short:
            better = self._quantized.candidates(queries[short], k, rows, mask)
            for at, near in zip(short, better, strict=True):
                found[at] = near
        return found

    def _measure(self, file: _InvertedFile, coded: Coded) -> NDArray[np.float64]:
        """Return how many entries must be looked at to find enough, and of how many rows that is true.

        The share that is found, less two standard errors, is at least what the settings promise. Infinite where it is
        not found in a share of the rows that takes as long as a scan of all.
        """
        store, rows = self._quantized.store, coded.rows
        asked = np.linspace(0, rows - 1, min(settings.DEFAULTS.asked, rows)).astype(np.int64)
        asked = asked[(file.nearest[asked] < len(file.centroids)).any(axis=1)]
        budgets = np.array([*(np.inf for _ in _DEPTHS), rows])
        entries = float(settings.DEFAULTS.entries)
        for place, k in enumerate(_DEPTHS):
            queries = store.read(asked)
            more = self._quantized.candidates(queries, _SPARE * (k + 1), rows, None)  # it misses others than the best
            least = [
                kth_best(compare(query, near, store), min(k + 1, len(near)))
                for query, near in zip(queries, more, strict=True)
            ]
            while len(asked) and entries <= EACH * rows and not _too_many(entries, rows):
                shares = np.array(
                    [
                        min(np.count_nonzero(compare(query, near, store) >= last - _EQUAL) / (k + 1), 1.0)
                        for query, last in zip(queries, least, strict=True)
                        for near in [_best(file, query, k + 1, entries, coded, None)]
                    ]
                )
                missed = (1.0 - shares) * (k + 1) / k  # each row finds itself
                if missed.mean() + 2 * missed.std() / len(missed) ** 0.5 <= 1.0 - settings.DEFAULTS.recall:
                    budgets[place] = entries
                    break
                entries *= _STEP
        return budgets

    def read(self, rows: Rows) -> Matrix:
        """Return some rows as the store has them."""
        return self._quantized.read(rows)

    def flush(self) -> None:
        """Save centroids and lists; lists come last, under their name at once, so all is found whole or not at all."""
        self._quantized.flush()
        with self._lock:
            coded = self._quantized.coded(self._rows)
            if coded is None or not coded.fit or self._folder is None or not self._writable:
                return
            file = self._grow(coded)
            name = f"ivf-{coded.fit}-{file.fitted_rows}"
            if self._saved == (name, self._rows):
                return
            lists = self._folder / f"{name}.lists"
            if self._saved is None or self._saved[0] != name:
                lists.unlink(missing_ok=True)
                save_arrays(lists.with_suffix(".centroids"), centroids=file.centroids)
            save_arrays(lists, nearest=file.nearest[: self._rows], budgets=np.asarray(file.budgets))
            self._saved = name, self._rows
            self._sweep(keep=name)

    def close(self) -> None:
        """Let go of centroids and lists."""
        self._quantized.close()
        self._file = None

    @property
    def nbytes(self) -> int:
        """Bytes of the saved centroids and lists, or of those in RAM, and of what belongs to them."""
        if self._folder is not None:
            mine = 0
            for path in matching(self._folder, "ivf-*"):
                with contextlib.suppress(OSError):  # another process deletes them
                    mine += path.stat().st_size
        else:
            mine = 0 if self._file is None else self._file.nbytes
        return mine + self._quantized.nbytes


def _too_many(entries: float, passing: int) -> bool:
    """Return whether a scan of all rows is as good as lists, where so many pass a filter: each needs more entries."""
    return entries * settings.DEFAULTS.scanned > passing


def _best(
    file: _InvertedFile, query: Matrix, k: int, entries: float, coded: Coded, mask: NDArray[np.bool_] | None
) -> Rows:
    """Return the rows to compare with a query, ascending; none where lists are no good."""
    near, sums = file.look(coded.quantizer.ask(query), entries, settings.DEFAULTS.picked + 8 * k, coded, mask)
    compared = settings.DEFAULTS.compared + 4 * k
    if len(near) > compared:
        near = near[sums >= kth_best(sums, compared)]
    return near if len(near) <= _TIES * compared else near[:0]
