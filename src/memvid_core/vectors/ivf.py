"""IVF search: rows lie in lists around centroids, and a query looks into few lists: fast among very many rows.

An inverted file (Jegou, Douze, Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011) over the codes
that the quantized search keeps of each row. Each row is in the lists of the two centroids nearest to it. A query scans
the signs of all centroids, orders the nearest by their levels, counts the signs in which the rows of the nearest lists
differ, weighs the levels of the best of these, and compares the best of those exactly. How many entries of lists it
takes is measured: rows are asked for as queries, also by a search that misses nothing, until what is found is the share
that is promised. What was measured is kept with the lists, so that each share is measured once.

The quantized search is kept up to date as well: it answers what lists are no good for, and an index
that one process opens with lists another may open without.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
from pathlib import Path
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.model import Ivf
from memvid_core.system.folders import named
from memvid_core.vectors import settings
from memvid_core.vectors.centroids import EACH
from memvid_core.vectors.coded import Coded
from memvid_core.vectors.codes import FileCodes
from memvid_core.vectors.exact import ExactSearch, Rows, SearchStrategy, compare, kth_best, near_best, slack_of
from memvid_core.vectors.growing_file import load_arrays, save_arrays
from memvid_core.vectors.inverted_file import DEPTHS, TIES, InvertedFile, too_many
from memvid_core.vectors.matrix import Matrix, RowStore
from memvid_core.vectors.quantized import QuantizedSearch
from memvid_core.vectors.quantizer import Levels, Quantizer
from memvid_core.vectors.recall_estimate import Line

__all__ = ["IvfSearch"]

_REFIT_GROWTH: Final = 4  # rows grown by this factor since the centroids were fitted: fit again
_MEASURE_GROWTH: Final = 2  # rows grown by this factor since it was measured how many entries it takes: measure again
_FILES: Final = re.compile(r"ivf-\d+-\d+\.(centroids|lists)")
_STEPS: Final = 2  # in which the number of entries doubles until enough is found
_SPARE: Final = 4  # times as many rows as are to be found are asked for, to know which these are
_EQUAL: Final = 1e-6  # a cosine that is less by this much is as good
_SCANNED: Final = 0.99  # what the quantized search finds, about
_WAIT: Final = 0.05  # seconds for which a search waits for lists that another thread makes
_WORD: Final = (1 << 64) - 1
_UNLIKELY: Final = 12.0  # deviations: the errors of near-copies go together, so that some rows tell little of others


class IvfSearch:
    """An inverted file over the rows that a quantized search has codes of.

    Args:
        quantized: The search that keeps the codes, and answers for few rows, and for filters that let few through.
        folder: Where centroids and lists are saved; None for RAM only.
        writable: Whether they may be saved.
        recall: Which share of the nearest rows is to be found.
    """

    name = "ivf"

    def __init__(self, quantized: QuantizedSearch, folder: Path | None, *, writable: bool, recall: float) -> None:
        self._quantized = quantized
        self._scan: SearchStrategy = quantized if recall <= _SCANNED else ExactSearch(quantized.store)
        self._missed = 1.0 - recall
        usual = 1.0 - Ivf().recall
        self._first_step = math.ceil(min(_STEPS * math.log2(usual / self._missed), 0)) if self._missed else 0
        self._folder = folder
        self._writable = writable
        self._lock = threading.RLock()
        self._file: InvertedFile | None = None
        self._budgets: tuple[InvertedFile, list[float]] | None = None  # of the depths that were asked for
        self._rows = 0
        # Under which name, how many rows, how much was measured, and of how many entries the order.
        self._saved: tuple[str, int, int, int] | None = None
        self._passed_over = 0  # of how many rows lists were in the folder where fewer were committed
        self._changed_at = 0  # when the folder had changed, when a search looked for lists
        self._looked_for: Quantizer | None = None  # whose lists were looked for in the folder when it was seen first

    def _searches(self) -> set[SearchStrategy]:
        return {self._quantized, self._scan}

    def extend(self, first_row: int, unit: Matrix) -> None:
        """Forget rows that are written again; new ones get their lists at the next search or flush."""
        for search in self._searches():
            search.extend(first_row, unit)
        with self._lock:
            if self._file is not None and 2 * first_row < self._file.fitted_rows:
                self._file = None  # what is written instead may be unlike
            elif self._file is not None:
                self._file.forget(first_row)
            saved = 0 if self._saved is None else self._saved[1]
            if first_row < max(saved, self._passed_over):
                self._sweep(keep=None)

    def sync(self, rows: int, kept: int) -> None:
        """Forget rows that may be another's, and take what was saved, where it saves work."""
        for search in self._searches():
            search.sync(rows, kept)
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
        codes = coded.codes
        if self._folder is None or not isinstance(codes, FileCodes):
            return
        for path in named(self._folder, f"ivf-{coded.fit}-", ".lists"):
            fitted, width = path.stem.rpartition("-")[2], coded.quantizer.width
            lists, centres = load_arrays(path), load_arrays(path.with_suffix(".centroids"))
            if not fitted.isdecimal() or lists is None or centres is None:
                continue
            nearest, centroids = lists.get("nearest"), centres.get("centroids")
            if nearest is None or centroids is None:
                continue
            if len(nearest) > coded.rows:  # of rows that this object does not know, or that are written again
                self._passed_over = max(self._passed_over, len(nearest))
                continue
            if nearest.shape[1:] != (EACH,) or nearest.dtype != np.int32 or centroids.dtype != np.int8:
                continue  # another version wrote them
            count, of = len(centroids), lists.get("of")
            if of is None or not np.array_equal(of, _identity(codes, len(nearest), centroids)):
                continue  # they are of other rows, or a version wrote them that did not say of which
            if count and centroids.shape[1:] == (width,) and ((nearest >= 0) & (nearest <= count)).all():
                self._file = InvertedFile(coded.quantizer, centroids, int(fitted))
                ordered = self._file.take(nearest, lists.get("order"))
                self._file.know(lists.get("missed"))
                self._saved = path.stem, len(nearest), len(self._file.missed), ordered
                return

    def _sweep(self, keep: str | None) -> None:
        """Remove saved centroids and lists, but for those of one name."""
        if keep is None:
            self._saved, self._passed_over = None, 0
        if self._folder is not None and self._writable:
            for path in named(self._folder, "ivf-"):
                if path.stem != keep and _FILES.fullmatch(path.name):
                    with contextlib.suppress(OSError):  # Windows refuses while another process has it open
                        path.unlink()

    def _grow(self, coded: Coded, k: int) -> tuple[InvertedFile, float]:
        """Return the inverted file, with all rows of these codes in it, and how many entries k rows take."""
        if self._file is None or self._file.quantizer is not coded.quantizer:
            self._load(coded)  # another process may have saved them meanwhile
        file = self._file
        if file is None or file.quantizer is not coded.quantizer or coded.rows >= _REFIT_GROWTH * file.fitted_rows:
            file = InvertedFile.fit(coded)
        file.grow(coded)
        if coded.rows >= _MEASURE_GROWTH * file.measured_rows:
            file.missed.clear()
            file.measured_rows, self._budgets = coded.rows, None
        if self._budgets is None or self._budgets[0] is not file:
            self._budgets = file, []
        budgets = self._budgets[1]
        while len(budgets) < len(DEPTHS) and k > (DEPTHS[len(budgets) - 1] if budgets else 0):
            budgets.append(self._measured(file, coded, len(budgets), budgets))
        self._file = file
        return file, self._budget(budgets, k) * max(file.known / file.measured_rows, 1.0)

    def _entries(self, step: int) -> float:
        return float(settings.DEFAULTS.entries * 2.0 ** (step / _STEPS))

    def _budget(self, budgets: list[float], k: int) -> float:
        """Return how many entries are to be looked at for the nearest k rows; infinite for all rows."""
        few, many = budgets[0], budgets[-1]
        if k <= DEPTHS[0] or not math.isfinite(many):
            return few if k <= DEPTHS[0] else math.inf
        growth = math.log(many / few) / math.log(DEPTHS[1] / DEPTHS[0])
        return float(few * (k / DEPTHS[0]) ** growth)

    def candidates(self, queries: Matrix, k: int, rows: int, mask: NDArray[np.bool_] | None) -> list[Rows]:
        """Return the rows of the nearest lists whose levels are best; with a filter, of more lists or of none."""
        coded = self._quantized.coded(rows)
        passing = rows if mask is None else int(np.count_nonzero(mask))
        if coded is None or too_many(self._entries(self._first_step), passing):
            return self._scan.candidates(queries, k, rows, mask)
        ready = self._ready(coded, k)
        if ready is None or too_many(ready[1], passing):
            return self._scan.candidates(queries, k, rows, mask)
        file, entries = ready
        store = self._quantized.store
        found = [_best(file, query, k, entries * rows / max(passing, 1), coded, mask, store) for query in queries]
        short = [at for at, near in enumerate(found) if len(near) < min(k, passing)]
        if short:
            better = self._scan.candidates(queries[short], k, rows, mask)
            for at, near in zip(short, better, strict=True):
                found[at] = near
        return found

    def _ready(self, coded: Coded, k: int) -> tuple[InvertedFile, float] | None:
        """Return what :meth:`_grow` does, as far as it can be had at once; None: no search of many rows makes lists."""
        few = coded.rows <= settings.DEFAULTS.listed_in_search
        if not self._lock.acquire(timeout=-1 if few else _WAIT):
            return None
        try:
            if few:
                return self._grow(coded, k)
            if (self._file is None or self._file.quantizer is not coded.quantizer) and self._changed():
                self._load(coded)
            file = self._file
            if file is None or file.quantizer is not coded.quantizer or not file.measured_rows:
                return None
            if coded.rows - file.known > settings.DEFAULTS.listed_in_search:
                return None
            file.grow(coded)
            enough = [at for at, missed in file.missed.items() if missed <= self._missed]
            budgets = [min((entries for of, entries in enough if of == depth), default=math.inf) for depth in DEPTHS]
            budgets[1] = max(budgets)
            return file, self._budget(budgets, k) * max(file.known / file.measured_rows, 1.0)
        finally:
            self._lock.release()

    def _changed(self) -> bool:
        """Return whether files were made or deleted in the folder since the last call."""
        if self._folder is None:
            return False
        with contextlib.suppress(OSError):
            before, self._changed_at = self._changed_at, self._folder.stat().st_mtime_ns
            return self._changed_at != before
        return False

    def prepare(self, rows: int) -> None:
        """Fit, fill and measure the lists of so many rows, which a search of many rows does not."""
        with self._lock:
            coded = self._quantized.coded(rows)
            if coded is not None and not too_many(self._entries(self._first_step), rows):
                self._grow(coded, DEPTHS[-1])

    def _measured(self, file: InvertedFile, coded: Coded, place: int, before: list[float]) -> float:
        """Return how many entries must be looked at for one of the depths; infinite where that takes as long as a scan.

        The share that is missed, and two standard errors, is at most what is allowed. The entries are those of as many
        rows as the file was measured with first; it looks at more when it has grown.

        Args:
            file: The file.
            coded: The codes.
            place: Which depth.
            before: What the depths before it take; it takes no less.
        """
        k, asked = DEPTHS[place], None
        step, growth = self._first_step, max(coded.rows / file.measured_rows, 1.0)
        while True:
            entries = self._entries(step)
            if entries * growth > EACH * coded.rows or too_many(entries * growth, coded.rows):
                return math.inf
            if entries >= max(before, default=0.0):
                if (k, entries) not in file.missed:
                    asked = self._asked(file, coded, k) if asked is None else asked
                    file.missed[k, entries] = self._missed_of(file, coded, k, entries * growth, asked)
                if file.missed[k, entries] <= self._missed:
                    return entries
            step += 1

    def _asked(self, file: InvertedFile, coded: Coded, k: int) -> list[tuple[Matrix, float]]:
        """Return some rows as queries, and how near the k-th nearest row is to each, apart from itself."""
        store, rows = self._quantized.store, coded.rows
        asked = np.linspace(0, rows - 1, min(settings.DEFAULTS.asked, rows)).astype(np.int64)
        asked = asked[(file.nearest[asked] < len(file.centroids)).any(axis=1)]
        queries = store.read(asked)
        more = self._scan.candidates(queries, _SPARE * (k + 1), rows, None)  # it misses others than the best
        return [
            (query, kth_best(compare(query, near, store), min(k + 1, len(near))))
            for query, near in zip(queries, more, strict=True)
        ]

    def _missed_of(
        self, file: InvertedFile, coded: Coded, k: int, entries: float, asked: list[tuple[Matrix, float]]
    ) -> float:
        """Return at most which share of the nearest k rows is missed: the mean, and two standard errors."""
        if not asked:
            return 1.0
        store = self._quantized.store
        missed = np.empty(len(asked))
        for at, (query, last) in enumerate(asked):
            near = _best(file, query, k + 1, entries, coded, None, store)
            found = np.count_nonzero(compare(query, near, store) >= last - _EQUAL)
            missed[at] = max(1.0 - found / (k + 1), 0.0) * (k + 1) / k  # each row finds itself
        return float(missed.mean() + 2 * missed.std() / len(missed) ** 0.5)

    def read(self, rows: Rows) -> Matrix:
        """Return some rows as the store has them."""
        return self._quantized.read(rows)

    def flush(self) -> None:
        """Save centroids and lists; lists come last, under their name at once, so all is found whole or not at all."""
        self._quantized.flush()
        with self._lock:
            coded = self._quantized.coded(self._rows)
            codes = None if coded is None else coded.codes
            if coded is None or not isinstance(codes, FileCodes) or self._folder is None or not self._writable:
                return
            file, _ = self._grow(coded, DEPTHS[-1])
            name = f"ivf-{coded.fit}-{file.fitted_rows}"
            order = (
                file.order if len(file.order) <= EACH * self._rows else file.order[:0]
            )  # no row that nobody committed
            state = name, self._rows, len(file.missed), len(order)
            if self._saved == state:
                return
            lists = self._folder / f"{name}.lists"
            if self._saved is None or self._saved[0] != name:
                lists.unlink(missing_ok=True)
                save_arrays(lists.with_suffix(".centroids"), centroids=file.centroids)
            save_arrays(
                lists,
                nearest=file.nearest[: self._rows],
                missed=file.known_missed(),
                order=order,
                of=_identity(codes, self._rows, file.centroids),
            )
            self._saved = state
            self._sweep(keep=name)

    def close(self) -> None:
        """Let go of centroids and lists."""
        for search in self._searches():
            search.close()
        self._file = self._budgets = None

    @property
    def nbytes(self) -> int:
        """Bytes of the saved centroids and lists, or of those in RAM, and of what belongs to them."""
        if self._folder is not None:
            mine = 0
            for path in named(self._folder, "ivf-"):
                with contextlib.suppress(OSError):  # another process deletes them
                    mine += path.stat().st_size
        else:
            mine = 0 if self._file is None else self._file.nbytes
        return mine + self._quantized.nbytes


def _identity(codes: FileCodes, rows: int, centroids: Levels) -> NDArray[np.uint64]:
    """Return what lists of so many rows are made of: (2,) uint64, of their codes in the folder and of centroids."""
    parts = codes.total(0, rows) & _WORD, xxhash.xxh3_64_intdigest(np.ascontiguousarray(centroids).tobytes())
    return np.array(parts, dtype=np.uint64)


def _best(
    file: InvertedFile,
    query: Matrix,
    k: int,
    entries: float,
    coded: Coded,
    mask: NDArray[np.bool_] | None,
    store: RowStore,
) -> Rows:
    """Return the rows to compare with a query; none where lists are no good.

    Those with the best levels are compared here, and tell which of the others are likely to be as near.
    """
    picked = settings.DEFAULTS.picked if coded.codes.keeps_levels else settings.DEFAULTS.picked_to_read
    near, sums = file.look(coded.quantizer.ask(query), entries, picked + 8 * k, coded, mask)
    compared, first = settings.DEFAULTS.compared + 4 * k, settings.DEFAULTS.compared_first + 4 * k
    if len(near) > compared:
        within = sums >= kth_best(sums, compared)
        near, sums = near[within], sums[within]
    if len(near) > TIES * compared:
        return near[:0]
    if len(near) < 2 * first:
        return near
    within = sums >= kth_best(sums, first)
    known = near[within]
    scores = compare(query, known, store)
    line = Line.through(sums[within], scores)
    if line is None or line.slope <= 0.0:
        return near
    others = near[~within]
    likely = line.away(sums[~within], kth_best(scores, k)) < _UNLIKELY
    return np.concatenate((known[near_best(scores, k, slack_of(store))], others[likely]))
