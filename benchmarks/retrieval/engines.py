"""Ways to answer the questions of a collection: a memory in each mode, and its peers on the same texts and vectors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.retrieval.questions import DEPTH, Collection
from memvid_core import CallableEmbedder, HashingEmbedder, Memory

__all__ = ["Answers", "answers"]

Vectors = tuple[NDArray[np.float32], NDArray[np.float32]]
Search = Callable[[int], list[int]]


class Answers(NamedTuple):
    """Hold an engine's result for each question, and its median time in milliseconds."""

    engine: str
    found: list[list[int]]
    milliseconds: float


def answers(collection: Collection, vectors: dict[str, Vectors]) -> Iterator[Answers]:
    """Ask every engine every question.

    Args:
        collection: The texts and questions.
        vectors: Unit vectors of texts and of questions, by the name of their embedder, in addition to the built-in one.
    """
    yield from _memory(collection, "built-in", None)
    for name, (texts, questions) in vectors.items():
        yield from _memory(collection, name, (texts, questions))
    yield _asked("bm25s", _bm25s(collection), collection)
    yield _asked("scikit-learn TF-IDF", _tfidf(collection), collection)
    embedder = HashingEmbedder()
    embedder.fit(collection.texts)
    own = embedder.embed_documents(collection.texts), embedder.embed_documents(collection.questions)
    for name, given in {"built-in": own, **vectors}.items():
        yield _asked(f"Chroma, {name}", _chroma(given), collection)


def _asked(engine: str, search: Search, collection: Collection) -> Answers:
    search(0)
    found, times = [], []
    for question in range(len(collection.questions)):
        started = time.perf_counter()
        found.append(search(question))
        times.append(time.perf_counter() - started)
    return Answers(engine, found, float(np.median(times)) * 1e3)


def _memory(collection: Collection, name: str, given: Vectors | None) -> Iterator[Answers]:
    embedder = None if given is None else CallableEmbedder(_not_asked, name=name, dimension=given[0].shape[1])
    with closing(Memory.create(":memory:", embedder)) as memory:
        ids = [str(number) for number in range(len(collection.texts))]
        memory.add(collection.texts, ids=ids, vectors=None if given is None else given[0])
        for mode in ("lexical", "dense", "hybrid"):
            if given is not None and mode == "lexical":
                continue  # it looks at no vector

            def search(question: int, mode: Any = mode) -> list[int]:
                vector = None if given is None or mode == "lexical" else given[1][question]
                hits = memory.search(collection.questions[question], k=DEPTH, mode=mode, embedding=vector)
                return [int(hit.id) for hit in hits]

            yield _asked("memvid lexical" if mode == "lexical" else f"memvid {mode}, {name}", search, collection)


def _not_asked(texts: list[str]) -> NDArray[np.float32]:
    raise RuntimeError(f"{len(texts)} texts have no vector")


def _bm25s(collection: Collection) -> Search:
    import bm25s

    index = bm25s.BM25()
    index.index(bm25s.tokenize(collection.texts, stopwords="en", show_progress=False), show_progress=False)

    def search(question: int) -> list[int]:
        tokens = bm25s.tokenize([collection.questions[question]], stopwords="en", show_progress=False)
        numbers: list[int] = index.retrieve(tokens, k=DEPTH, show_progress=False)[0][0].tolist()
        return numbers

    return search


def _tfidf(collection: Collection) -> Search:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english")
    matrix = vectorizer.fit_transform(collection.texts)

    def search(question: int) -> list[int]:
        scores = (matrix @ vectorizer.transform([collection.questions[question]]).T).toarray().ravel()
        numbers: list[int] = np.argsort(-scores, kind="stable")[:DEPTH].tolist()
        return numbers

    return search


def _chroma(given: Vectors) -> Search:
    import chromadb

    texts, questions = given
    store = chromadb.EphemeralClient().create_collection(f"c{time.time_ns()}", metadata={"hnsw:space": "cosine"})
    for at in range(0, len(texts), 5_000):
        part = slice(at, at + 5_000)
        store.add(ids=[str(number) for number in range(len(texts))[part]], embeddings=texts[part])

    def search(question: int) -> list[int]:
        return [int(number) for number in store.query(questions[question : question + 1], n_results=DEPTH)["ids"][0]]

    return search
