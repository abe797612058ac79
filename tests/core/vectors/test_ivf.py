"""The inverted lists: their recall, when they are fitted, and lists that cannot be used."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memvid_core.errors import IndexStaleError, InvalidInputError, StorageError
from memvid_core.model import Ivf
from memvid_core.vectors import inverted_file
from memvid_core.vectors.centroids import Centroids, Lists
from memvid_core.vectors.coded import Coded
from memvid_core.vectors.growing_file import load_arrays, save_arrays
from memvid_core.vectors.quantized import QuantizedSearch
from memvid_core.vectors.vector_index import VectorIndex
from tests.core.vectors.tuned import tune
from tests.core.vectors.vector_data import clustered, recall


@pytest.fixture
def codes_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make codes, and so lists, from a thousand rows on."""
    tune(monkeypatch, auto_floats=48_000, entries=100, scanned=1)


@pytest.mark.usefixtures("codes_of_few")
@pytest.mark.parametrize("noise", [0.05, 0.35, 0.8])
def test_ivf_recall(tmp_path: Path, noise: float, sized: Callable[[int, int], int]) -> None:
    rows, more = sized(12_000, 30_000), sized(5000, 7000)
    data, queries = clustered(rows, 48, noise=noise), clustered(50, 48, seed=9, noise=noise)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    for first in range(0, rows, more):
        index.extend(first, data[first : first + more])
        index.sync(min(first + more, rows))  # the last 2000 rows are in no list
        assert recall(index, data[: first + more], queries, 10) >= 0.96
    index.flush()
    again = VectorIndex(48, folder=tmp_path, strategy="ivf", writable=False)
    again.sync(rows)
    for some in (index, again):
        assert recall(some, data, queries, 10) >= 0.97
        assert recall(some, data, queries, 100) >= 0.95
        assert recall(some, data, queries, 10, np.arange(rows) % 2 == 0) >= 0.97
        assert recall(some, data, queries, 10, np.arange(rows) % 300 == 0) >= 0.97


@pytest.mark.usefixtures("codes_of_few")
def test_levels_of_many_rows_are_not_kept_in_ram_and_tell_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(monkeypatch, asked=32, entries=800, picked=20, picked_to_read=20)
    data, queries = clustered(6000, 48), clustered(40, 48, seed=9)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    index.extend(0, data)
    index.flush()
    kept = index.search(queries, 10)[0]
    index.close()
    tune(monkeypatch, listed_bytes=6000 * 48 - 1)
    large = VectorIndex(48, folder=tmp_path, strategy="ivf", writable=False)
    large.sync(6000)
    for _ in range(3):
        assert np.array_equal(large.search(queries, 10)[0], kept)
    assert recall(large, data, queries, 10) >= 0.97
    (levels,) = tmp_path.glob("codes-*.levels")
    levels.write_bytes(bytes(levels.stat().st_size))
    with pytest.raises(IndexStaleError, match="is not what was written"):
        large.search(queries, 10)
    large.close()


@pytest.mark.usefixtures("codes_of_few")
def test_signs_that_are_damaged_are_found_by_the_first_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, asked=32, entries=800, picked=20, picked_to_read=20)
    data = clustered(6000, 48)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    index.extend(0, data)
    index.flush()
    index.close()
    (signs,) = tmp_path.glob("codes-*.bits")
    signs.write_bytes(bytes(signs.stat().st_size))
    for listed_bytes in (0, 1 << 30):
        tune(monkeypatch, listed_bytes=listed_bytes)
        reader = VectorIndex(48, folder=tmp_path, strategy="ivf", writable=False)
        reader.sync(6000)
        with pytest.raises(IndexStaleError, match="are not what was written"):
            reader.search(data[:1], 3)
        reader.close()


@pytest.mark.usefixtures("codes_of_few")
@pytest.mark.parametrize("harm", ["", "gone", "short", "odd", "negative", "beyond", "wide", "square"])
def test_the_saved_order_of_entries_saves_sorting_and_is_made_again_where_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    tune(monkeypatch, asked=32, unlisted_rows=100)
    data, queries = clustered(3000, 48), clustered(40, 48, seed=9)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    index.extend(0, data[:2950])
    index.sync(2950)
    index.flush()
    index.extend(2950, data[2950:])  # these lie in no list yet
    index.sync(3000)
    expected = index.search(queries, 10)[0]
    index.flush()
    index.close()
    (lists,) = tmp_path.glob("ivf-*.lists")
    arrays = dict(load_arrays(lists) or {})
    order = arrays["order"]
    assert order.shape == (2 * 2950,)
    changed = {
        "gone": np.empty(0, dtype=np.int32),
        "short": order[:-2000],
        "odd": order[:-1],
        "negative": order - 1,
        "beyond": order + 50,
        "wide": order.astype(np.int64),
        "square": order.reshape(-1, 2),
    }
    save_arrays(lists, **arrays | {"order": changed.get(harm, order)})
    sorted_rows: list[int] = []
    made: Any = Lists.of.__func__  # type: ignore[attr-defined]

    def of(cls: type[Lists], *arguments: Any) -> Lists:
        if len(arguments) < 4:
            sorted_rows.append(len(arguments[0]))
        found: Lists = made(cls, *arguments)
        return found

    monkeypatch.setattr(Lists, "of", classmethod(of))
    reader = VectorIndex(48, folder=tmp_path, strategy="ivf", writable=False)
    reader.sync(3000)
    assert np.array_equal(reader.search(queries, 10)[0], expected)
    assert bool(sorted_rows) == bool(harm)
    reader.close()
    writer = VectorIndex(48, folder=tmp_path, strategy="ivf")
    writer.sync(3000)
    writer.flush()
    writer.close()
    saved = load_arrays(lists)
    assert saved is not None
    expected_rows = 3000 if harm else 2950
    assert np.array_equal(np.sort(saved["order"]), np.arange(expected_rows).repeat(2))


@pytest.mark.usefixtures("codes_of_few")
def test_ivf_search_among_copies_and_rows_without_a_vector() -> None:
    random = np.random.default_rng(0)
    kinds = random.standard_normal((3, 48), dtype=np.float32)
    data = kinds[random.integers(0, 3, 9000)]
    data[::2] = 0.0
    index = VectorIndex(48, strategy="ivf")
    index.extend(0, data)
    rows, _ = index.search(kinds[1], 15)
    assert rows.tolist() == np.flatnonzero((data == kinds[1]).all(axis=1))[:15].tolist()


@pytest.mark.usefixtures("codes_of_few")
def test_the_recall_that_is_stated_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, queries = clustered(5000, 48, noise=0.8), clustered(200, 48, seed=9, noise=0.8)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf", dtype="float32")
    index.extend(0, data)
    index.sync(5000)
    index.flush()
    index.close()
    monkeypatch.setattr(inverted_file.InvertedFile, "fit", None)  # another recall needs no other lists
    entries, shares = [], []
    for promised in (0.5, 0.8, 0.98, 0.995, 1.0):
        index = VectorIndex(48, folder=tmp_path, strategy=Ivf(promised), dtype="float32")
        index.sync(5000)
        shares.append(recall(index, data, queries, 10))
        assert shares[-1] >= promised - 0.005
        budgets = index._search._budgets[1]  # type: ignore[attr-defined]
        entries.append(budgets[0])
        index.flush()
        index.close()
        with monkeypatch.context() as patch:
            tune(patch, asked=0)  # a reader takes what the writer has measured
            reader = VectorIndex(48, folder=tmp_path, strategy=Ivf(promised), dtype="float32", writable=False)
            reader.sync(5000)
            assert recall(reader, data, queries, 10) == shares[-1]
            assert reader._search._budgets[1] == budgets[:1]  # type: ignore[attr-defined]
    assert entries == sorted(set(entries))
    assert shares[-1] == 1.0


@pytest.mark.usefixtures("codes_of_few")
def test_a_recall_that_lists_do_not_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, scanned=1000)
    data = np.random.default_rng(0).standard_normal((9000, 48), dtype=np.float32)
    queries = np.random.default_rng(1).standard_normal((50, 48), dtype=np.float32)
    found = []
    for stated in (0.9, 0.99, 0.999):
        index = VectorIndex(48, strategy=Ivf(stated))
        index.extend(0, data)
        found.append(recall(index, data, queries, 10))
    assert found[0] == found[1] >= 0.99  # the quantized search answers
    assert found[2] == 1.0  # the exact one


@pytest.mark.usefixtures("codes_of_few")
def test_lists_that_were_saved_without_what_was_measured_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(monkeypatch, asked=32)
    data = clustered(2000, 48)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    index.extend(0, data)
    index.sync(2000)
    index.flush()
    index.close()
    lists = tmp_path / "ivf-1-2000.lists"
    arrays = load_arrays(lists)
    assert arrays is not None
    nearest, measured = arrays["nearest"], arrays["missed"]
    assert len(measured) > 1
    monkeypatch.setattr(inverted_file.InvertedFile, "fit", None)
    older = [{"budgets": np.array([100.0, 400.0, 2000.0])}, {}]
    wrong = [measured[:, :2], measured[:0], measured * np.nan, measured + np.array([0, 10_000, 0])]
    wrong += [measured * np.where(np.arange(len(measured)) > 0, entries, 1)[:, None] for entries in (0, -1)]
    for kept in (*older, *({"missed": np.ascontiguousarray(some)} for some in wrong)):
        save_arrays(lists, nearest=nearest, of=arrays["of"], **kept)
        index = VectorIndex(48, folder=tmp_path, strategy="ivf")
        index.sync(2000)
        assert recall(index, data, clustered(30, 48, seed=2), 10) >= 0.97
        index.flush()
        index.close()
        again = load_arrays(lists)
        assert again is not None
        assert np.array_equal(again["missed"], measured)


@pytest.mark.usefixtures("codes_of_few")
def test_a_search_of_many_rows_makes_no_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, asked=32, listed_in_search=500)
    data, queries = clustered(9000, 48), clustered(200, 48, seed=2)
    index = VectorIndex(48, folder=tmp_path, strategy=Ivf(0.95))
    index.extend(0, data[:4000])
    index.sync(4000)
    reader = VectorIndex(48, folder=tmp_path, strategy=Ivf(0.9))
    reader.sync(4000)
    with monkeypatch.context() as patch:
        for made in ("fit", "grow"):
            patch.setattr(inverted_file.InvertedFile, made, None)
        for asked in (index, reader):
            assert recall(asked, data[:4000], queries, 10) >= 0.98  # the quantized search answers
    index.prepare()
    index.flush()
    with monkeypatch.context() as patch:
        patch.setattr(inverted_file.InvertedFile, "fit", None)
        tune(patch, asked=0)  # nothing is measured
        patch.setattr(QuantizedSearch, "candidates", None)
        for asked in (index, reader):  # the reader finds them, and takes what is enough for more than it promises
            assert recall(asked, data[:4000], queries, 10) >= 0.9
    index.extend(4000, data[4000:4400])
    with monkeypatch.context() as patch:
        patch.setattr(QuantizedSearch, "candidates", None)
        assert recall(index, data[:4400], queries, 10) >= 0.9  # a few rows more are put into the lists
    index.extend(4400, data[4400:])
    with monkeypatch.context() as patch:
        patch.setattr(inverted_file.InvertedFile, "grow", None)
        assert recall(index, data, queries, 10) >= 0.98
    index.prepare()
    monkeypatch.setattr(QuantizedSearch, "candidates", None)
    assert recall(index, data, queries, 10) >= 0.93


@pytest.mark.usefixtures("codes_of_few")
def test_a_search_does_not_wait_for_lists_that_are_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, asked=32, listed_in_search=500)
    data = clustered(4000, 48)
    index = VectorIndex(48, strategy="ivf")
    index.extend(0, data)
    fitting, searched = threading.Event(), threading.Event()
    fit = inverted_file.InvertedFile.fit

    def slow(coded: Coded) -> inverted_file.InvertedFile:
        fitting.set()
        assert searched.wait(60)
        return fit(coded)

    monkeypatch.setattr(inverted_file.InvertedFile, "fit", slow)
    with ThreadPoolExecutor(1) as pool:
        prepared = pool.submit(index.prepare)
        assert fitting.wait(60)
        assert recall(index, data, data[::100], 10) >= 0.98
        searched.set()
        prepared.result()


@pytest.mark.parametrize("given", [0, 0.0, -0.1, 1.01, float("nan"), float("inf"), True, "0.9", None])
def test_a_recall_that_is_none(given: object) -> None:
    with pytest.raises(InvalidInputError, match="above 0 and up to 1"):
        VectorIndex(48, strategy=Ivf(given))  # type: ignore[arg-type]


@pytest.mark.usefixtures("codes_of_few")
def test_rows_whose_neighbors_are_in_no_near_list_are_all_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, scanned=20)
    data = np.random.default_rng(0).standard_normal((9000, 48), dtype=np.float32)
    queries = np.random.default_rng(1).standard_normal((50, 48), dtype=np.float32)
    index = VectorIndex(48, strategy="ivf")
    index.extend(0, data)
    assert recall(index, data, queries, 10) >= 0.98
    assert not np.isfinite(index._search._budgets[1]).any()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("codes_of_few")
def test_ivf_rows_written_again_get_new_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, asked=64)
    data = clustered(4500, 48)
    index = VectorIndex(48, strategy="ivf")
    index.extend(0, data)
    index.search(data[0], 1)
    index.extend(1500, -data[1500:])
    rows, _ = index.search(-data[1500::30], 1)
    assert np.mean(rows[:, 0] == np.arange(1500, 4500, 30)) >= 0.98


@pytest.mark.usefixtures("codes_of_few")
@pytest.mark.parametrize("known", [True, False])
def test_ivf_rows_of_saved_lists_that_are_written_again_get_new_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    tune(monkeypatch, asked=64, unlisted_rows=100)
    data, new = clustered(3000, 48), clustered(1000, 48, seed=5)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    index.extend(0, data)
    index.sync(3000)
    index.flush()
    index.close()
    writer = VectorIndex(48, folder=tmp_path, strategy="ivf")
    writer.sync(3000 if known else 2000)  # then it passes over lists of more rows, as after a roll back
    if known:
        writer.search(data[0], 1)
    writer.extend(2000, new)
    writer.sync(3000)
    for _ in range(2):
        rows, _ = writer.search(new[::10], 1)
        assert np.mean(rows[:, 0] == np.arange(2000, 3000, 10)) >= 0.98
        writer.flush()
        writer.close()
        writer = VectorIndex(48, folder=tmp_path, strategy="ivf", writable=False)
        writer.sync(3000)
    writer.close()


@pytest.mark.usefixtures("codes_of_few")
@pytest.mark.parametrize("fewer", [5000, 8200])
def test_a_search_of_older_rows_leaves_lists_of_all_rows_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fewer: int
) -> None:
    tune(monkeypatch, asked=32, picked=20, entries=200)
    data = clustered(9000, 48)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    index.extend(0, data)
    index.sync(9000)
    index.flush()
    index.close()
    reader = VectorIndex(48, folder=tmp_path, strategy="ivf", writable=False)
    reader.sync(9000)
    older = np.ones(fewer, dtype=np.bool_)
    rows, _ = reader.search(data[:fewer:50], 1, older)
    assert np.mean(rows[:, 0] == np.arange(0, fewer, 50)) >= 0.97
    rows, _ = reader.search(data[fewer::10], 1)
    assert np.mean(rows[:, 0] == np.arange(fewer, 9000, 10)) >= 0.97
    reader.close()


@pytest.mark.usefixtures("codes_of_few")
def test_ivf_rows_without_a_vector_are_in_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, asked=32)
    data = clustered(4000, 48)
    data[::2] = 0.0
    index = VectorIndex(48, strategy="ivf")
    index.extend(0, data)
    index.search(data[1], 1)
    file = index._search._file  # type: ignore[attr-defined]
    assert (file.nearest[::2] == len(file.centroids)).all()
    assert (file.nearest[1::2] < len(file.centroids)).all()


@pytest.mark.usefixtures("codes_of_few")
def test_ivf_lists_are_fitted_once_and_again_when_there_are_many_more_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(monkeypatch, refit_until=1000, asked=32)  # the codes stay what they are
    data = clustered(6000, 48)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    for first, last, fitted in ((0, 1200, 1200), (1200, 2700, 1200), (2700, 6000, 6000)):
        index.extend(first, data[first:last])
        index.sync(last)
        index.flush()
        assert [path.name for path in tmp_path.glob("*.lists")] == [f"ivf-1-{fitted}.lists"]
    index.close()
    monkeypatch.setattr(inverted_file.InvertedFile, "fit", None)  # who opens it takes what is there
    again = VectorIndex(48, folder=tmp_path, strategy="ivf", writable=False)
    again.sync(6000)
    assert recall(again, data, clustered(30, 48, seed=2), 10) >= 0.97


@pytest.mark.usefixtures("codes_of_few")
@pytest.mark.parametrize(
    "harm",
    [
        *("no lists", "no centroids", "torn lists", "torn centroids", "wild lists", "too long", "other names"),
        *("older lists", "floats", "wide centroids"),
    ],
)
def test_lists_that_cannot_be_used_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    tune(monkeypatch, asked=32)
    data = clustered(2000, 48)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    index.extend(0, data)
    index.sync(2000)
    index.flush()
    index.close()
    lists, centroids = tmp_path / "ivf-1-2000.lists", tmp_path / "ivf-1-2000.centroids"
    of = (load_arrays(lists) or {})["of"]
    if harm.startswith("no "):
        (lists if harm == "no lists" else centroids).unlink()
    elif harm.startswith("torn "):
        path = lists if harm == "torn lists" else centroids
        path.write_bytes(path.read_bytes()[:-5])
    elif harm == "wild lists":
        save_arrays(lists, of=of, nearest=np.full((2000, 2), 10**6, dtype=np.int32))
    elif harm == "too long":
        save_arrays(lists, of=of, nearest=np.zeros((4000, 2), dtype=np.int32))
    elif harm == "older lists":
        save_arrays(lists, of=of, nearest=np.zeros(2000, dtype=np.int32))
    elif harm in ("floats", "wide centroids"):
        path, name, dtype = (lists, "nearest", np.float64) if harm == "floats" else (centroids, "centroids", np.int64)
        whole = dict(load_arrays(path) or {})
        save_arrays(path, **whole | {name: whole[name].astype(dtype)})
    else:
        lists.rename(tmp_path / "ivf-1-many.lists")
    names = sorted(path.name for path in tmp_path.iterdir())
    for writable in (False, True):
        index = VectorIndex(48, folder=tmp_path, strategy="ivf", writable=writable)
        index.sync(2000)
        assert recall(index, data, clustered(30, 48, seed=2), 10) >= 0.97
        index.flush()
        if not writable:
            assert sorted(path.name for path in tmp_path.iterdir()) == names
    arrays = load_arrays(lists)
    assert arrays is not None
    assert len(arrays["nearest"]) == 2000


@pytest.mark.usefixtures("codes_of_few")
def test_a_disk_that_is_full_when_lists_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tune(monkeypatch, asked=32)
    data = clustered(3000, 48)
    index = VectorIndex(48, folder=tmp_path, strategy="ivf")
    index.extend(0, data)
    index.sync(3000)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(StorageError, match="No space left"):
            index.flush()
    assert not list(tmp_path.glob(".*"))
    assert recall(index, data, data[::100], 10) >= 0.97
    index.flush()
    assert list(tmp_path.glob("*.lists"))


def test_centroids_nearest_to_rows() -> None:
    random = np.random.default_rng(0)
    points = random.integers(-40, 41, (30, 20))
    rows = (points[random.integers(0, 30, 3000)] + random.integers(-4, 5, (3000, 20))).astype(np.int8)
    for count in (1, 2, 700):
        levels = rows[:count]
        found = Centroids(levels).nearest(rows)
        distances = np.square(rows[:, None].astype(np.int32) - levels).sum(axis=2)
        least = np.sort(distances, axis=1)[:, :2]
        if count == 1:
            assert (found == [0, 1]).all()
            continue
        assert (found[:, 0] != found[:, 1]).all()
        reached = np.take_along_axis(distances, found.astype(np.int64), axis=1)
        assert np.mean(reached[:, 0] == least[:, 0]) >= 0.99
        assert np.mean(reached[:, 1] == least[:, 1]) >= 0.9
