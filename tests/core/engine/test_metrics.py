"""Memories that compare by a distance, and the choice of an index: searches, scores, files, other processes."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from memvid_core import (
    DamageWarning,
    IndexName,
    InvalidInputError,
    Memory,
    Metric,
    UnsupportedFormatError,
    VectorError,
    rescue,
)
from memvid_core.journal import frames
from memvid_core.journal import header as journal_header
from memvid_core.journal.frames import Kind, metric_flags, metric_of
from tests import processes
from tests.core.vectors.tuned import tune

METRICS: tuple[Metric, ...] = get_args(Metric)
BY_DISTANCE = METRICS[1:]
INDEXES: tuple[IndexName, ...] = get_args(IndexName)
D = 6


def vectors(count: int, seed: int = 0) -> NDArray[np.float64]:
    return 3 * np.random.default_rng(seed).standard_normal((count, D))


def distances(metric: str, rows: Any, query: Any) -> NDArray[np.float64]:
    order = {"euclidean": 2, "manhattan": 1, "chebyshev": np.inf}[metric]
    return np.linalg.norm(np.asarray(rows, np.float64) - query, ord=order, axis=1)


def filled(path: Any, metric: Metric, count: int = 120, **options: Any) -> Memory:
    memory = Memory.create(path, "given", metric=metric, **options)
    names = [str(n) for n in range(count)]
    memory.add(
        [f"word{n % 7} and more" for n in range(count)], [{"n": n % 3} for n in range(count)], names, vectors(count)
    )
    return memory


@pytest.mark.parametrize("metric", BY_DISTANCE)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8"])
def test_scores_of_a_search_by_vector(tmp_path: Path, metric: Metric, dtype: Any) -> None:
    path, query = tmp_path / "m.mp4", vectors(1, seed=5)[0]
    filled(path, metric, vector_dtype=dtype).close()
    for again in range(2):
        for index in ("auto", "exact", "sklearn"):
            with Memory.open(path, index=index) as memory:
                hits = memory.search(query, k=200, where={"n": {"$ne": 1}}, with_vectors=True)
                assert memory.info().metric == metric
            wanted = distances(metric, [hit.vector for hit in hits], query)
            assert len(hits) == 80
            tolerance = 0.03 if dtype == "int8" else 3e-3 if dtype == "float16" else 1e-6
            told = np.array([hit.distance for hit in hits], np.float64)
            np.testing.assert_allclose(told, np.array(wanted), rtol=tolerance)
            np.testing.assert_allclose([hit.score for hit in hits], 1 / (1 + told), rtol=1e-6)
            assert [hit.distance for hit in hits] == sorted(hit.distance or 0.0 for hit in hits)
            assert all(hit.cosine is None and 0 <= hit.score <= 1 for hit in hits)
        if not again:  # and with an index made anew from the file
            for folder in tmp_path.glob("*.index"):
                shutil.rmtree(folder)


def test_a_hit_keeps_its_distance() -> None:
    with filled(":memory:", "euclidean") as memory:
        hit = memory.search(np.zeros(D), k=1)[0]
    assert hit.distance
    assert pickle.loads(pickle.dumps(hit)).distance == copy.copy(hit).distance == hit.distance
    with Memory.create(":memory:", "given") as memory:
        memory.add("text", vectors=[[1.0, 0.0]])
        plain = memory.search([1.0, 0.0], k=1)[0]
    assert (plain.distance, plain.cosine) == (None, 1.0)


@pytest.mark.parametrize("metric", BY_DISTANCE)
def test_all_that_changes_a_memory(tmp_path: Path, metric: Metric) -> None:
    path, data = tmp_path / "m.mp4", vectors(120)
    query = vectors(1, seed=9)[0]
    with filled(path, metric, vector_dtype="float32") as memory:
        memory.delete([str(n) for n in range(0, 120, 4)])
        memory.add(["new", "bare"], ids=["new", "bare"], vectors=[query + 1e-3, None])
        memory.add("zero", ids="zero", vectors=[np.zeros(D)])
        expected = {str(n): data[n] for n in range(120) if n % 4} | {"new": query + 1e-3, "zero": np.zeros(D)}

        def check(memory: Memory) -> None:
            ids = sorted(expected, key=lambda name: float(distances(metric, expected[name][None], query)[0]))
            assert [hit.id for hit in memory.search(query, k=200)] == ids
            assert [hit.id for hit in memory.search_many([query, query], k=9)[1]] == ids[:9]
            assert memory.search(np.zeros(D), k=1)[0].id == "zero"

        check(memory)
        memory.compact()
        check(memory)
        memory.save(tmp_path / "saved.mp4")
        with Memory.open(path, as_of=memory.history()[-1].number) as past:
            check(past)
    for name in ("m.mp4", "saved.mp4"):
        with Memory.open(tmp_path / name, index="sklearn") as memory:
            check(memory)
            assert memory.info().metric == metric


def test_two_processes_and_any_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each commit is made by a process with another index; all of them find it at once, and answer alike."""
    tune(monkeypatch, auto_floats=60 * D)
    for metric in METRICS:
        path, data = tmp_path / f"{metric}.mp4", vectors(400)
        filled(path, metric, 40).close()
        usable = INDEXES if metric == "cosine" else ("auto", "exact", "sklearn")
        readers = {name: Memory.open(path, index=name) for name in usable}
        done = 40
        for turn in range(2 * len(usable)):
            with Memory.open(path, "a", index=usable[turn % len(usable)]) as writer:
                names = [str(n) for n in range(done, done + 30)]
                writer.add(names, ids=names, vectors=data[done : done + 30])
                writer.delete([str(done - 1)])
            done += 30
            for name, reader in readers.items():
                assert reader.search(data[done - 5], k=1)[0].id == str(done - 5), (metric, name)
                assert [hit.id for hit in reader.search(data[7], k=6)] == [
                    hit.id for hit in readers["exact"].search(data[7], k=6)
                ], (metric, name)
        for reader in readers.values():
            reader.close()
    script = (
        "import sys, numpy as np; from memvid_core import Memory\n"
        "with Memory.open(sys.argv[1], 'a', index='sklearn') as memory:\n"
        f"    memory.add('other', ids='other', vectors=[np.full({D}, 50.0)])\n"
    )
    with Memory.open(tmp_path / "manhattan.mp4") as reader:
        reader.search(np.ones(D), k=1)
        processes.run(script, tmp_path / "manhattan.mp4").check_returncode()
        assert reader.search(np.full(D, 50.0), k=1)[0].id == "other"


# ------------------------------------------------------------------------------------------ hybrid, diversity, age


@pytest.mark.parametrize("metric", BY_DISTANCE)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_hybrid_does_not_depend_on_the_unit(metric: Metric, scale: float) -> None:
    def ranked(factor: float) -> list[str]:
        with Memory.create(":memory:", "given", metric=metric) as memory:
            memory.add(
                [f"word{n % 7} and more" for n in range(60)],
                ids=[str(n) for n in range(60)],
                vectors=vectors(60) * factor,
            )
            memory.add("word3 bare", ids="bare", vectors=[None])
            hits = memory.search("word3", k=30, mode="hybrid", embedding=vectors(1, seed=3)[0] * factor, alpha=0.5)
            assert all(0 <= hit.score <= 1 for hit in hits)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            assert "bare" in [hit.id for hit in hits]
            return [hit.id for hit in hits]

    assert ranked(scale) == ranked(1.0)


@pytest.mark.parametrize("metric", BY_DISTANCE)
def test_hybrid_ends_are_its_halves(metric: Metric) -> None:
    query = vectors(1, seed=3)[0]
    with filled(":memory:", metric) as memory:
        dense = [hit.id for hit in memory.search(query, k=20)]
        hybrid = memory.search("word3", k=20, mode="hybrid", embedding=query, alpha=1.0)
        assert [hit.id for hit in hybrid] == dense
        wanted = {hit.id: hit.distance for hit in memory.search(query, k=200)}
        assert all(hit.distance == wanted[hit.id] for hit in hybrid)
        rank = memory.search("word3", k=20, mode="hybrid", embedding=query, fusion="rank", alpha=1.0)
        assert [hit.id for hit in rank] == dense


@pytest.mark.parametrize("metric", BY_DISTANCE)
def test_diversity_by_the_same_distance(metric: Metric) -> None:
    rows = [[0.0, 0.0], [0.1, 0.0], [0.1, 0.1], [0.0, -1.5], [9.0, 9.0]]
    with Memory.create(":memory:", "given", metric=metric) as memory:
        memory.add(list("abcde"), ids=list("abcde"), vectors=rows)
        assert [hit.id for hit in memory.mmr([0.0, 0.0], k=3, lambda_mult=1.0)] == ["a", "b", "c"]
        assert [hit.id for hit in memory.mmr([0.0, 0.0], k=2, lambda_mult=0.3)] == ["a", "e"]
        memory.add("bare", ids="bare", vectors=[None])
        found = memory.mmr("bare b c d e", k=6, mode="lexical")
        assert {hit.id for hit in found} == {*"bcde", "bare"}


# ------------------------------------------------------------------------------------------------------ what is refused


def test_settings_that_do_not_go_together(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    for settings in ({"index": "ivf", "metric": "euclidean"}, {"index": "hnsw"}, {"metric": "l2"}):
        with pytest.raises(InvalidInputError):
            Memory.create(path, "given", **settings)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError):
            Memory.open(path, "a", create=True, **settings)  # type: ignore[arg-type]
        assert not list(tmp_path.iterdir())
    filled(path, "manhattan").close()
    for index in ("quantized", "ivf"):
        with pytest.raises(
            InvalidInputError, match=f"{index!r} compares by cosine only, and the metric is 'manhattan'"
        ):
            Memory.open(path, index=index)
    with pytest.raises(InvalidInputError, match="compares vectors by 'manhattan', not by 'cosine'"):
        Memory.open(path, "a", create=True, metric="cosine")
    with Memory.open(path, "a", create=True, metric="manhattan") as memory:
        assert len(memory) == 120
    with Memory.open(tmp_path / "new.mp4", "a", create=True, metric="chebyshev", index="exact") as memory:
        assert memory.info().metric == "chebyshev"
    for old in ({"ivf": True}, {"vectors": "x"}):
        with pytest.raises(TypeError):
            Memory.open(path, **old)


def test_numbers_that_the_index_cannot_hold_are_refused_before_they_are_stored(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "m.mp4", "given", vector_dtype="float64", metric="euclidean") as memory:
        with pytest.raises(VectorError, match="float32"):
            memory.add("large", vectors=[[1e39, 0.0]])
        assert len(memory) == 0
    with Memory.create(":memory:", "given") as memory:  # by cosine, only the direction matters
        memory.add("large", vectors=[[1e39, 0.0]])


# ------------------------------------------------------------------------------------------------------------- the file


def test_a_memory_by_cosine_is_the_file_that_it_was(tmp_path: Path) -> None:
    with Memory.create(tmp_path / "m.mp4", "given") as memory:
        memory.add("text", vectors=[[1.0, 0.0]])
        header = memory._indexed.journal.header
    assert b"metric" not in msgspec.msgpack.encode(header)
    for payload in _payloads(tmp_path / "m.mp4"):
        assert not int.from_bytes(payload[6:8], "little") & frames.Flag.METRIC


def _payloads(path: Path) -> list[bytes]:
    from memvid_core.video import TornTail, VideoFile

    video = VideoFile.open(path, "r")
    try:
        return [
            video.read(number, place, found)
            for found in video.walk(video.start)
            if not isinstance(found, TornTail)
            for number, place in found.frames()
        ]
    finally:
        video.close()


@pytest.mark.parametrize("metric", BY_DISTANCE)
def test_a_reader_that_does_not_know_the_metric_refuses_the_file(
    tmp_path: Path, metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every commit of it, so also where the header is lost: an older reader would search by cosine."""
    path = tmp_path / "m.mp4"
    filled(path, metric).close()
    kinds = [payload[5] for payload in _payloads(path) if int.from_bytes(payload[6:8], "little") & frames.Flag.METRIC]
    assert kinds == [Kind.HEADER, Kind.COMMIT, Kind.COMMIT]
    monkeypatch.setattr(frames, "_WITH_METRIC", frozenset())  # as in the versions before
    with pytest.raises(UnsupportedFormatError, match="newer memvid-core"):
        Memory.open(path)


def test_a_metric_of_a_later_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.mp4"
    filled(path, "chebyshev").close()
    with monkeypatch.context() as patch:
        patch.setattr(frames, "_METRICS", METRICS[:3])
        with pytest.raises(UnsupportedFormatError, match="newer memvid-core"):
            Memory.open(path)
    assert metric_of(metric_flags("cosine")) == "cosine"
    assert metric_of(0x38) is None
    header = msgspec.msgpack.encode(
        {"memory_id": b"x", "codec": "pcm", "vectors": "none", "created": 0, "metric": "new"}
    )
    with pytest.raises(UnsupportedFormatError, match="'new'"):
        journal_header._decoded(header)


@pytest.mark.parametrize("copies", ["kept", "lost"])
def test_the_metric_outlives_the_header(tmp_path: Path, copies: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, query = tmp_path / "m.mp4", vectors(1, seed=5)[0]
    with filled(path, "manhattan", vector_dtype="float32") as memory:
        wanted = [hit.id for hit in memory.search(query, k=9)]
    monkeypatch.setattr(journal_header, "_header", lambda reading: None)
    if copies == "lost":
        monkeypatch.setattr(journal_header, "_copy", lambda reading: None)
    with pytest.warns(DamageWarning):
        memory = Memory.open(path, index_dir=tmp_path / "other")
    with memory:
        assert memory.info().metric == "manhattan"
        assert [hit.id for hit in memory.search(query, k=9)] == wanted


def test_a_rescued_memory_keeps_the_metric(tmp_path: Path) -> None:
    path, query = tmp_path / "m.mp4", vectors(1, seed=5)[0]
    with filled(path, "euclidean", vector_dtype="float32") as memory:
        wanted = [hit.id for hit in memory.search(query, k=9)]
    rescue(path, tmp_path / "rescued.mp4")
    with Memory.open(tmp_path / "rescued.mp4") as memory:
        assert memory.info().metric == "euclidean"
        assert [hit.id for hit in memory.search(query, k=9)] == wanted


async def test_the_async_face(tmp_path: Path) -> None:
    async with await Memory.acreate(tmp_path / "m.mp4", "given", metric="euclidean", index="sklearn") as memory:
        await memory.aadd("text", vectors=[[1.0, 0.0]])
    async with await Memory.aopen(tmp_path / "m.mp4", index="exact", metric="euclidean") as memory:
        assert (await memory.asearch([0.0, 0.0], k=1))[0].distance == 1.0
