"""Ways to answer the questions of a collection: a memory in each mode, and its peers on the same texts and vectors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.retrieval.peers import Search, Vectors, by_both, by_vectors, by_words
from benchmarks.retrieval.questions import DEPTH, Collection
from memvid_core import CallableEmbedder, HashingEmbedder, Memory
from memvid_core.engine.search_request import Mode

__all__ = ["Answers", "answers"]

MODES: tuple[Mode, Mode] = ("dense", "hybrid")


class Answers(NamedTuple):
    """Hold an engine's result for each question, and its median processor time in milliseconds."""

    engine: str
    found: list[list[int]]
    milliseconds: float


def answers(collection: Collection, vectors: dict[str, Vectors]) -> Iterator[Answers]:
    """Ask every engine every question.

    Args:
        collection: The texts and questions.
        vectors: Unit vectors of texts and of questions, by the name of their embedder, in addition to the built-in one.
    """
    for name, opened in by_words(collection):
        with opened() as search:
            yield _asked(name, search, collection)
    embedder = HashingEmbedder()
    embedder.fit(collection.texts)
    own = embedder.embed_documents(collection.texts), embedder.embed_documents(collection.questions)
    for name, given in {"built-in": own, **vectors}.items():
        with closing(_memory(collection, None if given is own else given)) as memory:
            if given is own:
                yield _asked("memvid lexical", _search(memory, collection, None, "lexical"), collection)
            for mode in MODES:
                search = _search(memory, collection, None if given is own else given, mode)
                yield _asked(f"memvid {mode}, {name}", search, collection)
        for engine, opened in (*by_vectors(collection, name, given), *by_both(collection, name, given)):
            with opened() as search:
                yield _asked(engine, search, collection)


def _asked(engine: str, search: Search, collection: Collection) -> Answers:
    """Ask every question.

    The processor's time counts the work of all threads, and not that of other programs on the machine.
    """
    search(0, DEPTH)
    found, times = [], []
    for question in range(len(collection.questions)):
        left_out = collection.left_out[question] if collection.left_out else set()
        started = time.process_time()
        numbers = search(question, DEPTH + len(left_out))
        times.append(time.process_time() - started)
        found.append([number for number in numbers if number not in left_out][:DEPTH])
    return Answers(engine, found, float(np.median(times)) * 1e3)


def _memory(collection: Collection, given: Vectors | None) -> Memory:
    embedder = None if given is None else CallableEmbedder(_not_asked, name="model", dimension=given[0].shape[1])
    memory = Memory.create(":memory:", embedder)
    ids = [str(number) for number in range(len(collection.texts))]
    memory.add(collection.texts, ids=ids, vectors=None if given is None else given[0])
    return memory


def _search(memory: Memory, collection: Collection, given: Vectors | None, mode: Mode) -> Search:
    def search(question: int, k: int) -> list[int]:
        vector = None if given is None else given[1][question]
        return [int(hit.id) for hit in memory.search(collection.questions[question], k, mode=mode, embedding=vector)]

    return search


def _not_asked(texts: list[str]) -> NDArray[np.float32]:
    raise RuntimeError(f"{len(texts)} texts have no vector")
