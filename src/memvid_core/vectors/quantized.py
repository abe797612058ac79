"""Quantized search: sign bits choose, levels order, stored rows decide.

Every row is kept as 256 signs and up to 256 levels (``codes``). The Hamming distance of two rows' signs estimates the
angle between the vectors (Charikar, STOC 2002: a random hyperplane parts two vectors with probability angle / pi). A
query scans all signs, looks at the levels of the nearest thousands, compares the best hundred of those exactly, learns
from them how far distance, levels and cosine stray from each other *here*, and goes on until the number of rows that
it must expect to have missed is small. So the effort follows the data, not a constant.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import IndexStaleError
from memvid_core.vectors import settings
from memvid_core.vectors.among import Among
from memvid_core.vectors.coded import Coded
from memvid_core.vectors.codes import (
    BLOCK_ROWS,
    CodeStore,
    FileCodes,
    RamCodes,
    copy_codes,
    is_newest,
    load_codes,
    newest_codes,
    save_codes,
)
from memvid_core.vectors.exact import ExactSearch, Rows, compare, exact_candidates, kth_best, near_best, slack_of
from memvid_core.vectors.matrix import Matrix, RowStore
from memvid_core.vectors.quantizer import BITS, Quantizer
from memvid_core.vectors.recall_estimate import Line, enough, upper_tail
from memvid_core.vectors.row_totals import RowTotals
from memvid_core.vectors.scanning import flags_of, scan, weigh

__all__ = ["QuantizedSearch"]

_SAMPLE_ROWS: Final = 16384
_FIRST_PICK: Final = 1200  # rows whose levels are weighed, at least, plus 16 k; one in 100 of many rows
_MANY: Final = 500_000  # of more rows, one in 400 is weighed before the first estimate
_FIRST_LOOK: Final = 240  # rows compared before the first estimate, plus k
_LEAST_PICK: Final = 480  # the same in one of several indexes, which take their shares of both, and 4 k at least
_LEAST_LOOK: Final = 64
_UNWEIGHED: Final = 0.04  # rows that may be missed because their distance is too great, as a share of k
_UNCOMPARED: Final = 0.01  # and because the sum of their levels is too low
_SMALL: Final = 100_000  # so few rows are all compared when a quarter of them is not enough
_MOST_COMPARED: Final = 8192  # of more rows, so many are compared at most: there recall gives way to time
_OUT_OF_SIGHT: Final = 6.0  # deviations: a chance of one in a billion
_ROUNDS: Final = 4
_FAR: Final = 255  # distances saturate here; the mean is 128, so only rows beyond reach are affected


class QuantizedSearch:
    """Sign codes over a ``RowStore``; rows too few to need codes are searched exactly.

    Args:
        store: The rows.
        folder: Where codes are kept; None for RAM.
        writable: Whether codes may be written to the folder.
        least_rows: From how many rows on codes are made.
        kept_rows: From how many rows on they are kept in the folder, where others use them too. It must be the same
            for all that share the folder: codes that one writer does not extend would hide rows from another.
        most_bytes: Levels in the folder that take more are not kept in RAM, but read each time; None: all are kept.
    """

    name = "quantized"

    def __init__(
        self,
        store: RowStore,
        folder: Path | None,
        *,
        writable: bool,
        least_rows: int,
        kept_rows: int | None = None,
        most_bytes: int | None = None,
    ) -> None:
        self._store = store
        self._folder = folder
        self._writable = writable
        self._least_rows = max(least_rows, 1)
        self._kept_rows = max(kept_rows or 0, self._least_rows)
        self._most_bytes = most_bytes
        self._exact = ExactSearch(store)
        self._lock = threading.Lock()
        self._quantizer: Quantizer | None = None
        self._codes: CodeStore = RamCodes(min(store.dimension, BITS))
        self._coded = 0  # rows whose codes are known to be there
        self._rows = 0
        self._fit_number = 0  # of the codes in the folder that are in use
        self._newest = 0  # in the folder, when it was looked at last
        self._unusable = 0  # the newest in the folder, when none could be used
        self._totals: RowTotals | None = None  # of the codes in the folder that are in use
        self._proven = 0  # rows that these are known to be of
        self._noted: tuple[int, int] | None = None  # rows, and the fit of their codes, by the catalog; None without one
        self._refused = False  # codes in RAM could not be kept in the folder
        self._total = 0  # what identifies them
        self._own = 0, 0, 0  # rows, fit and total that were noted here last: what a catalog says of them needs no look

    def expect(self, rows: int, fit: int, total: int) -> None:
        """Take note of which codes a catalog says are those of so many rows; call it before :meth:`sync`."""
        with self._lock:
            self._noted, self._total = (rows, fit), total

    def noted(self, rows: int) -> tuple[int, int]:
        """Return the fit of the codes of so many rows in the folder, and what identifies them; (0, 0) if none are."""
        with self._lock:
            counted, fit = self._noted or (0, 0)
            if counted == rows and (fit == self._fit_number or self._proven < rows):
                return fit, self._total
            if self._totals is None or self._proven < rows:
                return 0, 0
            known = self._total if fit == self._fit_number and 0 < counted < rows else None
            self._own = rows, self._fit_number, self._totals.after(counted, known, rows)
            return self._own[1:]

    def extend(self, first_row: int, unit: Matrix) -> None:
        """Encode rows that were written; fit first, when there are enough or many more than at the last fit."""
        self._exact.extend(first_row, unit)
        rows = first_row + len(unit)
        with self._lock:
            self._coded, self._proven = min(self._coded, first_row), min(self._proven, first_row)
            if self._fit_number and (self._newest != self._fit_number or not self._prove(first_row)):
                self._leave()
            quantizer = self._quantizer
            if quantizer is None or self._makeshift(rows):
                if rows >= self._least_rows:
                    self._fit(rows, keep=True)
            elif (
                rows >= settings.DEFAULTS.refit_growth * quantizer.fitted_rows
                and quantizer.fitted_rows < settings.DEFAULTS.refit_until
            ):
                self._fit(rows, keep=True)
            else:
                self._codes.write(first_row, *quantizer.encode(unit))
                self._coded = self._proven = rows
            self._rows = rows

    def sync(self, rows: int, kept: int) -> None:
        """Take the newest codes there are; where none can be used, they are made in RAM, and kept by who writes next.

        Raises:
            IndexStaleError: The codes in use were cut off.
        """
        self._exact.sync(rows, kept)
        with self._lock:
            self._rows = rows
            self._coded, self._proven = min(self._coded, kept), min(self._proven, kept)
            if self._totals is not None:
                self._totals.forget(kept)
            if rows < self._least_rows:
                return
            if self._folder is not None and rows >= self._kept_rows:
                self._follow(self._folder, rows)
            elif self._fit_number:  # there were more rows, which nobody committed
                self._leave()
            if self._fit_number:
                self._codes.sync(rows, kept)
                self._coded = rows
            elif self._quantizer is not None:
                self._encode(self._codes, self._quantizer, self._coded, rows)
                self._coded = max(self._coded, rows)

    def _follow(self, folder: Path, rows: int) -> None:
        """Go on with the newest codes in the folder that can be used, if there are any."""
        newest = self._fit_number
        if not newest or not is_newest(folder, newest):
            newest = newest_codes(folder)
        while newest not in (self._fit_number, self._unusable) and self._identified(newest, rows):
            found = load_codes(
                folder, self._store.dimension, rows, writable=self._writable, most_bytes=self._most_bytes
            )
            seen, newest = newest, newest_codes(folder)
            if found is not None:
                self._use(*found)
                break
            if newest == seen:  # else a writer replaced them meanwhile
                self._unusable = newest
                self._leave()  # what is open is of a fit that was replaced
        self._newest = newest
        if self._fit_number and self._proven < rows and not self._identified(self._fit_number, rows):
            self._leave()

    def _leave(self) -> None:
        """Search no longer by the codes in the folder; others are made when they are needed."""
        if self._fit_number:
            self._fit_number, self._quantizer, self._totals = 0, None, None

    def _use(self, fit: int, quantizer: Quantizer, codes: FileCodes) -> None:
        """Search by codes in the folder, which may be of other rows."""
        self._fit_number, self._quantizer, self._codes = fit, quantizer, codes
        self._totals, self._proven = RowTotals(codes), 0

    def _identified(self, fit: int, rows: int) -> bool:
        """Return whether a catalog says what identifies the codes of so many rows, or there is no catalog to ask."""
        return self._noted is None or self._noted == (rows, fit)

    def _prove(self, rows: int) -> bool:
        """Return whether the codes in use are those of so many rows, which is compared once."""
        if self._proven >= rows:
            return True
        if self._totals is None or not self._identified(self._fit_number, rows):
            return False
        if self._noted is not None and self._own != (rows, self._fit_number, self._total):
            self._totals.expect(rows, self._total)
            try:
                self._totals.check()
            except IndexStaleError:
                self._unusable = self._fit_number
                return False
        self._proven = rows
        return True

    def _makeshift(self, rows: int) -> bool:
        """Return whether codes of so many rows are in RAM that belong into the folder."""
        return not self._fit_number and rows >= self._kept_rows and self._folder is not None and self._writable

    def _encode(self, codes: CodeStore, quantizer: Quantizer, start: int, stop: int) -> None:
        """Write the codes of rows of the store, which need not stay in RAM for that."""
        room = np.empty((max(min(BLOCK_ROWS, stop - start), 0), self._store.dimension), dtype=np.float32)
        for first in range(start, stop, BLOCK_ROWS):
            rows = room[: min(BLOCK_ROWS, stop - first)]
            self._store.copy_to(rows, first)
            codes.write(first, *quantizer.encode(rows))

    def _fit(self, rows: int, *, keep: bool) -> Quantizer:
        """Fit a quantizer to ``rows`` rows of the store and encode them all; ``keep`` them in the folder."""
        sample = np.arange(0, rows, max(1, rows // _SAMPLE_ROWS), dtype=np.int64)
        quantizer = Quantizer.fit(self._store.read(sample), rows)
        if keep and rows >= self._kept_rows and self._folder is not None and self._writable:
            self._keep(rows, quantizer, lambda codes: self._encode(codes, quantizer, 0, rows))
        else:
            made = RamCodes(quantizer.width)
            self._encode(made, quantizer, 0, rows)
            self._fit_number, self._codes, self._totals = 0, made, None
        self._quantizer, self._coded = quantizer, rows
        return quantizer

    def _keep(self, rows: int, quantizer: Quantizer, fill: Callable[[FileCodes], None]) -> None:
        """Write the codes of all rows to the folder, and go on with them."""
        assert self._folder is not None
        fit, kept = save_codes(self._folder, quantizer, fill, most_bytes=self._most_bytes)
        self._use(fit, quantizer, kept)
        self._newest, self._proven, self._refused = fit, rows, False

    @property
    def store(self) -> RowStore:
        """The rows."""
        return self._store

    def quantizer(self, rows: int) -> Quantizer | None:
        """Return the quantizer of the codes of the first ``rows`` rows; None for few rows, which have none."""
        return self._quantizer if rows >= self._least_rows else None

    def coded(self, rows: int) -> Coded | None:
        """Return the codes of the first ``rows`` rows; None where rows are so few that there are none."""
        with self._lock:
            if not self._least_rows <= rows <= self._rows:
                return None
            if self._fit_number and not self._prove(self._rows):
                self._leave()
            quantizer = self._quantizer or self._fit(self._rows, keep=False)
            fit, codes = self._fit_number, self._codes
        return Coded(fit, quantizer, rows, codes)

    def candidates(
        self, queries: Matrix, k: int, rows: int, mask: NDArray[np.bool_] | None, among: Among | None = None
    ) -> list[Rows]:
        """Return rows that hold each query's best k, but for about one in a hundred.

        Args:
            queries: (q, d), of unit length; one, if others search for the same.
            k: How many are wanted.
            rows: How many rows there are.
            mask: (rows,) bool, those that may be found; None for all.
            among: If others search for the same: then rows that are not among the best k of all may be left out.
        """
        coded = self.coded(rows)
        passing = rows if mask is None else int(np.count_nonzero(mask))
        if coded is None or passing <= max(settings.DEFAULTS.few_candidates, 32 * k, rows >> 8):
            if among is not None:
                return [self._exact.nearest(queries[0], k, rows, mask, among.reached(k))]
            return self._exact.candidates(queries, k, rows, mask)
        if passing == rows:
            mask = None
        hidden = None if mask is None else np.subtract(mask.view(np.uint8), 1, dtype=np.uint8)  # False: 255

        def one(at: int) -> Rows:
            question = coded.quantizer.ask(queries[at])
            distances = scan(coded.signs, question.signs, rows)
            if hidden is not None:
                np.bitwise_or(distances, hidden, out=distances)
            found = _nearest(distances, coded, question.weights, self._store, queries[at], k, passing, among)
            if found is None:
                wanted = None if mask is None else np.flatnonzero(mask)
                found = exact_candidates(queries[at], k, rows, wanted, self._store)
            return found

        return [one(at) for at in range(len(queries))]

    def read(self, rows: Rows) -> Matrix:
        """Return some rows as the store has them."""
        return self._exact.read(rows)

    def flush(self) -> None:
        """Force the codes to the disk; those that could only be made in RAM are kept from now on."""
        with self._lock:
            made, rows, quantizer = self._codes, self._coded, self._quantizer
            if self._makeshift(rows) and quantizer is not None:
                self._refused = True
                self._keep(rows, quantizer, lambda codes: copy_codes(made, rows, codes))
        self._codes.flush()

    @property
    def unsaved(self) -> bool:
        """Whether codes are in RAM that :meth:`flush` would keep in the folder, and was not asked to before."""
        return self._quantizer is not None and self._makeshift(self._coded) and not self._refused

    def close(self) -> None:
        """Close the codes."""
        self._exact.close()
        self._codes.close()
        self._quantizer, self._coded, self._rows = None, 0, 0

    @property
    def nbytes(self) -> int:
        """Bytes of the codes."""
        return self._codes.nbytes


def _nearest(
    distances: NDArray[np.uint8],
    coded: Coded,
    weights: Matrix,
    store: RowStore,
    query: Matrix,
    k: int,
    passing: int,
    among: Among | None,
) -> Rows | None:
    """Narrow all rows down: distances pick thousands, levels order them, stored rows decide.

    Each step is as wide as the rows compared so far show that it must be. None when comparing all rows would be no
    slower, or when distances tell nothing, as among copies of one vector.
    """
    stride = max(1, len(distances) >> 14)
    histogram = np.bincount(distances[::stride], minlength=_FAR + 1) * stride
    histogram[_FAR] = 0  # hidden rows, and those on the far side
    within = histogram.cumsum()
    small = passing <= _SMALL
    share = None if among is None else among.share
    picked, first, missed = _first_widths(passing, k, share)
    most = max(passing >> 2 if small else max(_MOST_COMPARED, picked), 8 * k)

    limit = int(np.searchsorted(within, picked))
    flags = flags_of(distances)
    rows = np.flatnonzero(np.less_equal(distances, limit, out=flags))
    if limit >= _FAR or len(rows) > 4 * most or len(rows) < min(4 * k, passing):
        return None
    sums = weigh(coded.levels, rows, weights)
    first = min(len(rows), first)
    chosen = np.argpartition(-sums, first - 1)[:first]
    open_ = np.ones(len(rows), dtype=np.bool_)
    open_[chosen] = False
    known_rows, known_sums = rows[chosen], sums[chosen]
    scores = compare(query, known_rows, store)
    fine = Line.through(known_sums, scores)
    coarse = Line.through(distances[rows].astype(np.float32), sums)
    if fine is None or coarse is None or (small and (fine.slope <= 0.0 or coarse.slope >= 0.0)):
        return None

    kth = _kth(scores, k, among)
    beyond = np.arange(limit + 1, _FAR)
    chances = upper_tail(coarse.then(fine).away(beyond, kth))
    wanted = limit + enough(histogram[limit + 1 : _FAR] * chances, _UNWEIGHED * missed)
    left_rows, left_sums = rows[open_], sums[open_]
    if wanted > limit:
        wanted = max(min(wanted, int(np.searchsorted(within, 4 * most)) - 1), limit)
        np.less_equal(distances, wanted, out=flags)
        flags[rows] = False
        new = np.flatnonzero(flags)
        left_rows = np.concatenate((left_rows, new))
        left_sums = np.concatenate((left_sums, weigh(coded.levels, new, weights)))

    for _ in range(_ROUNDS):
        away = fine.away(left_sums, kth)
        close = np.flatnonzero(away < _OUT_OF_SIGHT)
        close = close[np.argsort(away[close])]
        more = enough(upper_tail(away[close]), _UNCOMPARED * missed)
        if not more:
            break
        if len(known_rows) + more > most:
            if small:
                return None
            more = max(most - len(known_rows), 0)
        chosen = close[:more]
        chosen.sort()  # in order of rows, as they lie in the file
        known_rows = np.concatenate((known_rows, left_rows[chosen]))
        known_sums = np.concatenate((known_sums, left_sums[chosen]))
        scores = np.concatenate((scores, compare(query, left_rows[chosen], store)))
        left_rows, left_sums = np.delete(left_rows, chosen), np.delete(left_sums, chosen)
        kth = _kth(scores, k, among)
        again = Line.through(known_sums, scores)
        if again is None or len(known_rows) >= most:
            break
        fine = again
    if among is not None:
        return known_rows[scores >= np.float32(_kth(scores, k, among) - slack_of(store))]
    return known_rows[near_best(scores, k, slack_of(store))]


def _first_widths(passing: int, k: int, share: float | None) -> tuple[int, int, float]:
    """Return how many rows to weigh and to compare before anything is known, and the unit of how many may be missed.

    Args:
        passing: The number of rows here that pass the filter.
        k: The number of rows to find.
        share: Their part of the rows of several indexes, which together look at as many as one; None for one index.
    """
    whole = passing if share is None else int(passing / share)
    some = min(whole, _MANY) // 100 + max(whole - _MANY, 0) // 400
    picked, first = max(some, _FIRST_PICK) + 16 * k, _FIRST_LOOK + k
    if share is None:
        return picked, first, float(k)
    return max(int(share * picked), _LEAST_PICK, 4 * k), max(int(share * first), _LEAST_LOOK, k + k // 4), share * k


def _kth(scores: NDArray[np.float32], k: int, among: Among | None) -> float:
    """Return the k-th best score of all that is known, here and in other indexes."""
    return kth_best(scores, k) if among is None else among.found.kth(among.number, scores, k)
