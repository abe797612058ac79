"""Files of an index come from another state of the memory, of as many rows: whoever searches misses nothing."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from memvid_core import Hit, Memory
from memvid_core.catalog import column_files
from memvid_core.engine import evidence
from memvid_core.model import Index
from memvid_core.vectors.growing_file import load_arrays
from memvid_core.vectors.row_totals import UNPROVEN
from memvid_core.vectors.vector_index import VectorIndex
from tests.core.vectors.tuned import tune
from tests.core.vectors.vector_data import clustered

COMMON, OWN, DIMENSION = 2400, 1600, 16
ROWS = COMMON + OWN
STATES = ("a copy that went another way", "another memory")
EVERY: tuple[Index, ...] = ("quantized", "ivf", "exact", "sklearn")
PARTS: dict[str, tuple[list[str], tuple[Index, ...]]] = {
    "codes": (["vectors/codes-*", "vectors/quantizer-*"], ("quantized", "auto", "ivf")),
    "codes without parameters": (["vectors/codes-*"], ("quantized",)),
    "parameters": (["vectors/quantizer-*"], ("quantized",)),
    "signs": (["vectors/*.bits"], ("quantized",)),
    "levels": (["vectors/*.levels"], ("quantized",)),
    "checksums of codes": (["vectors/codes-*.sums"], ("quantized",)),
    "lists": (["vectors/*.lists", "vectors/*.centroids"], ("ivf",)),
    "lists without centroids": (["vectors/*.lists"], ("ivf",)),
    "centroids": (["vectors/*.centroids"], ("ivf",)),
    "codes and lists": (["vectors/codes-*", "vectors/quantizer-*", "vectors/ivf-*"], ("quantized", "ivf")),
    "vectors": (["vectors/vectors-*", "vectors/video-*"], ("exact",)),
    "all of vectors": (["vectors/*"], ("quantized", "sklearn")),
    "words": (["lexical/*"], ("auto",)),
    "columns": (["columns/*"], ("auto",)),
    "all but the catalog": (["vectors/*", "lexical/*", "columns/*"], EVERY),
    "all": (["vectors/*", "lexical/*", "columns/*", "catalog*"], ("auto", "ivf")),
}


def vectors_of(seed: int) -> NDArray[np.float32]:
    """Vectors, not of length 1, around topics that each seed has its own of."""
    random = np.random.default_rng(seed)
    turned = np.linalg.qr(random.standard_normal((DIMENSION, DIMENSION)))[0]
    made = (0.5 + 2 * random.random((ROWS, 1))) * (clustered(ROWS, DIMENSION, seed) @ turned)
    return made.astype(np.float32)


VECTORS = [vectors_of(seed) for seed in range(4)]
RECORDS = [
    [(f"{seed}-{row:04}", f"word{seed}x{row:04}", row * (seed + 3) % 7) for row in range(ROWS)] for seed in range(4)
]


def grown(path: Path, seed: int, start: int, stop: int) -> None:
    """Add records, whose texts are as long whatever the seed, so that their frames lie at the same places."""
    with Memory.open(path, "a", embedder="given", index="ivf") as memory:
        for first in range(start, stop, 800):
            ids, texts, kinds = zip(*RECORDS[seed][first : first + 800], strict=True)
            metadata = [{"kind": kind} for kind in kinds]
            memory.add(texts, ids=ids, vectors=VECTORS[seed][first : first + 800], metadata=metadata)
        memory.prepare()
        memory.search(VECTORS[0][0], k=1, where={"kind": 1})
        memory.search(RECORDS[0][0][1], k=1, mode="lexical")


def folder_of(path: Path) -> Path:
    """The folder of the index."""
    [catalog] = Path(f"{path}.index").glob("*/catalog.sqlite")
    return catalog.parent


@pytest.fixture(scope="module", params=[False, True], ids=["file", "video"])
def memories(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A memory, a copy that went another way, and another memory, all with as many rows, commits and bytes."""
    folder = tmp_path_factory.mktemp("memories")
    with pytest.MonkeyPatch.context() as patch:
        tune(patch, auto_floats=500 * DIMENSION, few_candidates=8, entries=400, scanned=1, asked=32, unlisted_rows=50)
        if request.param:
            tune(patch, settled_rows=1000, frame_rows=1)
        patch.setattr(column_files, "LEAST_ROWS", 100)
        here, there, other = (folder / f"{name}.mp4" for name in ("here", *STATES))
        for path in (here, other):
            Memory.create(path, "given").close()
        grown(here, 0, 0, COMMON)
        shutil.copy2(here, there)
        shutil.copytree(f"{here}.index", f"{there}.index")
        grown(here, 1, COMMON, ROWS)
        grown(there, 2, COMMON, ROWS)
        grown(other, 3, 0, ROWS)
        yield {"here": here, STATES[0]: there, STATES[1]: other}


def mixed(here: Path, there: Path, patterns: list[str], path: Path) -> None:
    """Copy a memory and its index, and put files of another index in place of its own."""
    shutil.copy2(here, path)
    shutil.copytree(f"{here}.index", f"{path}.index")
    into, of = folder_of(path), folder_of(there)
    for pattern in patterns:
        for found in into.glob(pattern):
            found.unlink()
        for found in of.glob(pattern):
            shutil.copy2(found, into / found.relative_to(of))


def check(memory: Memory, every: int = 4) -> None:
    """Every so many records answer for their vectors and words, alone, together, and among those of their kind."""
    common, own = range(0, COMMON, 97 * every), range(COMMON, ROWS, 29 * every)
    for seed, row in [*((0, row) for row in common), *((1, row) for row in own)]:
        (id, text, kind), vector = RECORDS[seed][row], VECTORS[seed][row]

        def see(what: str, hits: list[Hit], score: float | None = None, id: str = id) -> None:
            assert [hit.id for hit in hits] == [id], what
            assert score is None or hits[0].score == pytest.approx(score, abs=1e-3), what

        see("dense", memory.search(vector, k=1), 1.0)
        see("filtered", memory.search(vector, k=1, where={"kind": kind}), 1.0)
        if not row % 3:
            see("words", memory.search(text, k=1, mode="lexical"))
            see("hybrid", memory.search(text, k=1, mode="hybrid", embedding=vector))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("part", PARTS)
def test_files_of_another_state_hide_no_record(
    memories: dict[str, Path], tmp_path: Path, part: str, state: str, sized: Callable[[int, int], int]
) -> None:
    every = sized(4, 1)
    patterns, indexes = PARTS[part]
    for index in indexes:
        path = tmp_path / f"{index}.mp4"
        mixed(memories["here"], memories[state], patterns, path)
        with Memory.open(path, embedder="given", index=index) as memory:
            check(memory, every)
        with Memory.open(path, "a", embedder="given", index=index) as memory:  # and what is written next is found
            memory.add("one more", ids="more", vectors=-VECTORS[1][-1:])
        with Memory.open(path, embedder="given", index=index) as memory:
            check(memory, 2 * every)
            assert memory.search(-VECTORS[1][-1], k=1)[0].id == "more"


@pytest.mark.parametrize("index", ["auto", *EVERY])
def test_an_index_of_its_own_memory_is_used_as_it_is(memories: dict[str, Path], tmp_path: Path, index: Index) -> None:
    path = tmp_path / "own.mp4"
    mixed(memories["here"], memories["here"], ["vectors/*"], path)

    def files() -> dict[str, int]:
        found = [one for name in ("catalog*", "codes-*", "quantizer-*") for one in folder_of(path).rglob(name)]
        return {one.name: one.stat().st_ino for one in found if "-wal" not in one.name and "-shm" not in one.name}

    before = files()
    assert len(before) == 5
    with Memory.open(path, "a", embedder="given", index=index) as memory:
        check(memory)
        memory.add("one more", ids="more", vectors=-VECTORS[1][-1:])
        check(memory)
    assert files() == before


@pytest.mark.parametrize("noted", [True, False], ids=["noted", "of a version that noted nothing"])
def test_places_of_rows_of_other_lengths_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: bool
) -> None:
    tune(monkeypatch, settled_rows=100, frame_rows=1, auto_floats=1)
    rows = range(100)
    paths = [tmp_path / "here.mp4", tmp_path / "there.mp4"]
    with monkeypatch.context() as patch:
        if not noted:
            patch.setattr(VectorIndex, "derived", lambda *_: UNPROVEN)
        Memory.create(paths[0], "given").close()
        shutil.copy2(*paths)
        for path, vectors in zip(paths, VECTORS, strict=False):
            with Memory.open(path, "a", embedder="given") as memory:
                memory.add(["text"] * len(rows), ids=[str(row) for row in rows], vectors=vectors[: len(rows)])
    [place] = folder_of(paths[0]).glob("vectors/video-*.100")
    mine = load_arrays(place)
    [other] = folder_of(paths[1]).glob("vectors/video-*.100")
    theirs = load_arrays(other)
    assert mine is not None
    assert theirs is not None
    assert {name for name in mine if not np.array_equal(mine[name], theirs[name])} == {"squares"}
    for copied in (False, True) if noted else (True,):  # what is opened is noted
        if copied:
            shutil.copy2(other, place)
        with Memory.open(paths[0], embedder="given") as memory:
            index = memory._indexed.index
            for row in rows:
                [hit] = memory.search(VECTORS[0][row], k=1)
                assert hit.id == str(row)
                assert hit.score == pytest.approx(1.0, abs=1e-3)
            assert (memory._indexed.index is index) != copied, "it is made again if it is of another state"


def test_evidence_of_another_memory_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "LEAST", 20)
    kept: list[Path] = []
    learned = []
    for name, words in (("here", 8), ("there", 80)):
        path = tmp_path / f"{name}.mp4"
        with Memory.create(path) as memory:
            memory.add([" ".join(f"word{row * at % 97}" for at in range(words)) for row in range(1, 41)])
            memory.prepare()
            learned.append(memory.search("word3 word6", explain=True))
        kept += Path(f"{path}.index").rglob("evidence")
    own = kept[0].read_bytes()
    assert own[:-1] != kept[1].read_bytes()[:-1]
    shutil.copy2(kept[1], kept[0])
    with Memory.open(tmp_path / "here.mp4") as memory:
        assert memory.search("word3 word6", explain=True) == learned[0]
    assert kept[0].read_bytes() == own


@pytest.mark.parametrize("memories", [False], indirect=True, ids=[""])
def test_codes_of_a_version_that_did_not_identify_them_are_made_again_once(
    memories: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "old.mp4"
    mixed(memories["here"], memories["here"], [], path)
    with Memory.open(path, "a", embedder="given") as memory:  # what that version noted
        index = memory._indexed.index
        noted = index.catalog.state("vector_total") or b""
        with index.transaction():
            index.catalog.set_state("vector_total", b" ".join(noted.split()[:3]))
    fits = []
    for _ in range(3):
        with Memory.open(path, embedder="given") as memory:
            check(memory)
        fits.append([(one.name, one.stat().st_ino) for one in folder_of(path).glob("vectors/codes-*")])
    assert fits[0] == fits[1] == fits[2]
    assert fits[0] != [(one.name, one.stat().st_ino) for one in folder_of(memories["here"]).glob("vectors/codes-*")]
    assert {name for name, _ in fits[0]} == {"codes-3.bits", "codes-3.levels", "codes-3.sums"}


@pytest.mark.parametrize("memories", [False], indirect=True, ids=[""])
def test_a_search_that_keeps_codes_makes_no_lists_of_many_rows(
    memories: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(monkeypatch, listed_in_search=100)
    path = tmp_path / "many.mp4"
    parts = ["vectors/codes-*", "vectors/quantizer-*", "vectors/ivf-*"]
    mixed(memories["here"], memories[STATES[0]], parts, path)
    for found in folder_of(path).glob("vectors/ivf-*"):
        found.unlink()
    with Memory.open(path, embedder="given", index="ivf") as memory:
        check(memory)
        assert not memory._indexed.index.unsaved, "the codes are kept"
        assert not [*folder_of(path).glob("vectors/ivf-*")], "that takes long, and writers would wait for it"
        memory.prepare()
        assert [*folder_of(path).glob("vectors/ivf-*")]


@pytest.mark.parametrize("memories", [False], indirect=True, ids=[""])
def test_a_search_answers_if_another_thread_closes_the_memory_while_codes_are_saved(
    memories: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "closed.mp4"
    mixed(memories["here"], memories[STATES[0]], ["vectors/codes-*", "vectors/quantizer-*"], path)
    memory = Memory.open(path, embedder="given", index="quantized", timeout=0)
    flush, closing = VectorIndex.flush, []

    def flush_and_close(index: VectorIndex, *, lists: bool = True) -> None:
        flush(index, lists=lists)
        closing.append(threading.Thread(target=memory.close))
        closing[0].start()
        closing[0].join()

    monkeypatch.setattr(VectorIndex, "flush", flush_and_close)
    [hit] = memory.search(VECTORS[1][ROWS - 1], k=1)
    assert hit.id == RECORDS[1][ROWS - 1][0]
    assert len(closing) == 1
