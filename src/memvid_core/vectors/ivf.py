"""IVF search: rows lie in lists around centroids, and a query looks into few lists: fast among very many rows.

An inverted file (Jegou, Douze, Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011) over the codes
that the quantized search keeps of each row. A query scans the signs of all centroids, orders the nearest by their
levels, weighs the levels of the rows in their lists, learns from these how far rows stray from their centroids *here*,
and looks into further lists until the number of rows that it must expect to have missed is small. A row gets its list
through groups of centroids, so that it is compared with a few hundred of them and not with all.

The quantized search is kept up to date as well: it answers what lists are no good for, and an index
that one process opens with lists another may open without.
"""

from __future__ import annotations

import contextlib
import re
import threading
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memvid_core.system.folders import matching
from memvid_core.vectors import settings
from memvid_core.vectors.codes import RamCodes
from memvid_core.vectors.exact import Rows, kth_best
from memvid_core.vectors.growing_file import load_arrays, save_arrays
from memvid_core.vectors.matrix import Matrix
from memvid_core.vectors.quantized import Coded, QuantizedSearch, scan, weigh
from memvid_core.vectors.quantizer import BITS, Codes, Levels, Quantizer, Question
from memvid_core.vectors.recall_estimate import enough, upper_tail

__all__ = ["IvfSearch"]

_LIST_ROWS: Final = 16  # rows a list holds on average when it is made
_MANY_LISTS: Final = 1 << 15  # more are made only so that a list holds no more than four times that
_TRAINING_ROWS: Final = 8  # rows a centroid is the mean of
_REFIT_GROWTH: Final = 4  # rows grown by this factor since the centroids were fitted: fit again
_GROUPS_ASKED: Final = 6  # groups of centroids that a row is compared with
_MISSED: Final = 0.06  # rows that may be missed, as a share of k, by the estimate
_MOST_ROWS: Final = 8192  # of lists, that are weighed at most, besides the first: there recall gives way to time
_TOO_MANY_ROWS: Final = 1 << 16  # so it is when the first lists hold more than these, as among copies of one vector
_BATCH_ROWS: Final = 8192
_SEED: Final = 0x6D656D76
_FILES: Final = re.compile(r"ivf-\d+-\d+\.(centroids|lists)")


def _nearest(rows: Matrix, points: Matrix) -> NDArray[np.int32]:
    """Return the point nearest to each row, by comparing all: (n,) int32."""
    found, halves = np.empty(len(rows), dtype=np.int32), np.vecdot(points, points) / 2
    for start in range(0, len(rows), _BATCH_ROWS):
        some = rows[start : start + _BATCH_ROWS]
        found[start : start + len(some)] = (some @ points.T - halves).argmax(axis=1)
    return found


def _means(levels: Levels, nearest: NDArray[np.int32], points: Matrix) -> Matrix:
    """Return each point replaced by the mean of the rows nearest to it, if there are any."""
    order = np.argsort(nearest, kind="stable")
    numbers, firsts, counts = np.unique(nearest[order], return_index=True, return_counts=True)
    moved = points.copy()
    moved[numbers] = np.add.reduceat(levels[order], firsts, axis=0, dtype=np.int32) / counts[:, None]
    return moved


class _Centroids:
    """Points among the levels, and which of them each row is nearest to; they lie in groups, to compare with few.

    Args:
        levels: (n, width) int8, n >= 1.
    """

    def __init__(self, levels: Levels) -> None:
        self._points = levels.astype(np.float32)
        self._halves = np.vecdot(self._points, self._points) / 2
        count = len(levels)
        groups = self._points[np.linspace(0, count - 1, max(round(count**0.5), 1)).astype(np.int64)]
        self._groups = _means(levels, _nearest(self._points, groups), groups)
        group = _nearest(self._points, self._groups)
        borders = np.cumsum(np.bincount(group, minlength=len(groups)))[:-1]
        self._members = np.split(np.argsort(group, kind="stable"), borders)

    def nearest(self, levels: Levels) -> NDArray[np.int32]:
        """Return the number of the centroid nearest to each row; a few rows get another that is nearly as near."""
        found = np.zeros(len(levels), dtype=np.int32)
        for start in range(0, len(levels), _BATCH_ROWS):
            self._find(levels[start : start + _BATCH_ROWS].astype(np.float32), found[start : start + _BATCH_ROWS])
        return found

    def _find(self, rows: Matrix, found: NDArray[np.int32]) -> None:
        asked = min(_GROUPS_ASKED, len(self._groups))
        inner = rows @ self._groups.T - np.vecdot(self._groups, self._groups) / 2
        groups = np.argpartition(-inner, asked - 1, axis=1)[:, :asked].reshape(-1)
        order = np.argsort(groups, kind="stable")
        borders = np.searchsorted(groups[order], np.arange(len(self._groups) + 1))
        best = np.full(len(rows), -np.inf, dtype=np.float32)
        for group, members in enumerate(self._members):
            some = order[borders[group] : borders[group + 1]] // asked
            if len(some) and len(members):
                inner = rows[some] @ self._points[members].T - self._halves[members]
                first = inner.argmax(axis=1)
                scores = inner[np.arange(len(some)), first]
                better = scores > best[some]
                best[some[better]] = scores[better]
                found[some[better]] = members[first[better]]


class _Lists(NamedTuple):
    """Rows list after list, and where each list begins; rows after them are found by their centroid.

    Attributes:
        order: (n,) int32, the rows from 0 to n - 1.
        starts: (centroids + 2,) int64; the last list is of rows without a vector.
    """

    order: NDArray[np.int32]
    starts: NDArray[np.int64]


class _InvertedFile:
    """Which centroid each row is nearest to, and the rows of each centroid.

    Args:
        quantizer: Whose levels the centroids are in.
        centroids: (n, width) int8.
        fitted_rows: How many rows there were when they were fitted.
    """

    def __init__(self, quantizer: Quantizer, centroids: Levels, fitted_rows: int) -> None:
        self.quantizer = quantizer
        self.centroids = centroids
        self.fitted_rows = fitted_rows
        self.known = 0  # rows that have a list
        self._codes = RamCodes(quantizer.width)
        self._codes.write(0, _signs(centroids), centroids)
        points = centroids * np.float32(quantizer.step)
        # A query's distance from a centroid, squared and halved, is its own part, and this, less the weighed levels.
        self._shift = np.vecdot(points, points) / 2 + points @ quantizer.offsets[: quantizer.width]
        self._nearest = np.empty(0, dtype=np.int32)  # by row; a row without a vector has the number after the last
        self._lists = _Lists(np.empty(0, dtype=np.int32), np.zeros(len(centroids) + 2, dtype=np.int64))

    @classmethod
    def fit(cls, coded: Coded) -> _InvertedFile:
        """Return centroids for rows of these codes: a sample of them, each replaced by the mean of its nearest rows."""
        rows = coded.rows
        count = max(min(rows // _LIST_ROWS, max(_MANY_LISTS, rows // (4 * _LIST_ROWS))), 1)
        random = np.random.default_rng(_SEED)
        some = coded.levels(np.sort(random.choice(rows, count, replace=False)))
        sample = coded.levels(np.sort(random.choice(rows, min(rows, count * _TRAINING_ROWS), replace=False)))
        means = _means(sample, _Centroids(some).nearest(sample), some.astype(np.float32))
        return cls(coded.quantizer, np.rint(means).astype(np.int8), rows)

    @cached_property
    def _finder(self) -> _Centroids:
        return _Centroids(self.centroids)

    @property
    def nearest(self) -> NDArray[np.int32]:
        """(known,) int32: the list of each row."""
        return self._nearest[: self.known]

    def take(self, nearest: NDArray[np.int32]) -> None:
        """Take over what :attr:`nearest` was when it was saved."""
        self._nearest, self.known = nearest, len(nearest)

    def forget(self, first_row: int) -> None:
        """Forget the rows from ``first_row`` on, which are written again."""
        self.known = min(self.known, first_row)
        if len(self._lists.order) > self.known:
            self._lists = _Lists(self._lists.order[:0], np.zeros_like(self._lists.starts))

    def grow(self, coded: Coded) -> None:
        """Give the rows that have none a list."""
        rows = coded.rows
        if rows > len(self._nearest):
            longer = np.empty(max(rows, 2 * self.known), dtype=np.int32)
            longer[: self.known] = self.nearest
            self._nearest = longer
        for start in range(self.known, rows, _BATCH_ROWS):
            new = np.arange(start, min(start + _BATCH_ROWS, rows))
            some = coded.levels(new)
            nearest = self._nearest[start : start + len(some)]
            nearest[:] = self._finder.nearest(some)
            nearest[(some == self._without).all(axis=1)] = len(self.centroids)
            self.known = start + len(some)
        listed = len(self._lists.order)
        if self.known - listed > max(settings.DEFAULTS.unlisted_rows, listed >> 5):
            starts = np.zeros_like(self._lists.starts)
            np.cumsum(np.bincount(self.nearest, minlength=len(starts) - 1), out=starts[1:])
            self._lists = _Lists(np.argsort(self.nearest, kind="stable").astype(np.int32), starts)

    @cached_property
    def _without(self) -> Levels:
        """The levels of a row without a vector."""
        return self.quantizer.encode(np.zeros((1, self.quantizer.directions.shape[1]), dtype=np.float32))[1]

    def look(
        self, question: Question, k: int, coded: Coded, mask: NDArray[np.bool_] | None, passing: int
    ) -> tuple[Rows, NDArray[np.float32]]:
        """Return the rows in the lists that hold a query's best k, but for about 1 %, and their weighed levels.

        Args:
            question: The query.
            k: At least 1.
            coded: The codes of all rows that there are.
            mask: Which of them may be found; None for all.
            passing: How many these are.
        """
        lists, rows, share = self._lists, coded.rows, passing / coded.rows
        nearest = self._nearest

        def weighed(asked: Rows) -> tuple[Rows, NDArray[np.float32]]:
            """Return the rows of some lists: those in order of their lists, and the newest."""
            starts = lists.starts[asked]
            sizes = lists.starts[asked + 1] - starts
            ends = np.cumsum(sizes)
            at = np.repeat(starts - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)
            wanted = np.zeros(len(self.centroids) + 1, dtype=np.bool_)
            wanted[asked] = True
            newest = np.flatnonzero(wanted[nearest[len(lists.order) : rows]]) + len(lists.order)
            found = np.concatenate((lists.order[at], newest))
            found = found if rows >= len(lists.order) else found[found < rows]
            found = found if mask is None else found[mask[found]]
            return found, weigh(coded.levels, found, question.weights)

        probes = int((settings.DEFAULTS.probes + k) / share)
        near, inner = self._nearest_lists(question, probes)
        sizes = lists.starts[near + 1] - lists.starts[near]
        if sizes[:probes].sum() > _TOO_MANY_ROWS:
            return near[:0], inner[:0]
        found, sums = weighed(near[:probes])
        if len(found) < k or probes >= len(near):
            return found, sums
        of_list = np.zeros(len(self.centroids) + 1, dtype=np.float32)
        of_list[near] = inner
        astray = sums - of_list[nearest[found]]
        sigma = max(float(np.sqrt(np.vecdot(astray, astray) / len(astray))), 1e-6)
        away = (kth_best(sums, k) - inner[probes:]).astype(np.float64) / sigma
        chances = sizes[probes:] * share * upper_tail(away)
        order = np.argsort(-chances)
        most = int(np.searchsorted(np.cumsum(sizes[probes:][order]) * share, _MOST_ROWS))
        more, more_sums = weighed(near[probes:][order[: min(enough(chances[order], _MISSED * k), most)]])
        return np.concatenate((found, more)), np.concatenate((sums, more_sums))

    def _nearest_lists(self, question: Question, probes: int) -> tuple[Rows, NDArray[np.float32]]:
        """Numbers of centroids near a query, the nearest ``probes`` first, and their weighed levels."""
        count = len(self.centroids)
        distances = scan(self._codes.blocks(count), question.signs, count)
        stride = max(1, count >> 13)
        within = np.bincount(distances[::stride]).cumsum() * stride
        near = np.flatnonzero(distances <= np.searchsorted(within, min(settings.DEFAULTS.weighed * probes, within[-1])))
        inner = weigh(self._codes.levels, near, question.weights)
        if probes < len(near):
            order = np.argpartition(self._shift[near] - inner, probes)
            near, inner = near[order], inner[order]
        return near, inner


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
            if self._file is not None:
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
            nearest, centroids = lists.get("nearest"), centres.get("centroids")
            if nearest is None or centroids is None or len(nearest) > coded.rows:  # never committed
                continue
            count = len(centroids)
            if count and centroids.shape[1:] == (width,) and ((nearest >= 0) & (nearest <= count)).all():
                self._file = _InvertedFile(coded.quantizer, centroids, int(fitted))
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
        self._file = file
        return file

    def candidates(self, queries: Matrix, k: int, rows: int, mask: NDArray[np.bool_] | None) -> list[Rows]:
        """Return the rows of the nearest lists whose levels are best; with a filter, of more lists or of none."""
        coded = self._quantized.coded(rows)
        passing = rows if mask is None else int(np.count_nonzero(mask))
        if coded is None or (settings.DEFAULTS.probes + k) * rows > settings.DEFAULTS.most_probes * passing:
            return self._quantized.candidates(queries, k, rows, mask)
        with self._lock:
            file = self._grow(coded)
        compared = settings.DEFAULTS.compared + 4 * k
        found = []
        for query in queries:
            near, sums = file.look(coded.quantizer.ask(query), k, coded, mask, passing)
            if len(near) > compared:
                near = near[np.argpartition(-sums, compared - 1)[:compared]]
            found.append(np.sort(near))
        short = [at for at, near in enumerate(found) if len(near) < min(k, passing)]
        if short:
            better = self._quantized.candidates(queries[short], k, rows, mask)
            for at, near in zip(short, better, strict=True):
                found[at] = near
        return found

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
            save_arrays(lists, nearest=file.nearest[: self._rows])
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
            mine = 0 if self._file is None else self._file.centroids.nbytes + 8 * self._file.known
        return mine + self._quantized.nbytes
