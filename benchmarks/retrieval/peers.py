"""Other packages as search engines over the same texts and vectors: by words, by vectors, and by both.

Each gets the stemmer and stop words of the collection's language if it has them, and otherwise its defaults.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.retrieval.questions import Collection

__all__ = ["DISTRIBUTIONS", "Search", "Vectors", "by_both", "by_vectors", "by_words"]

DISTRIBUTIONS = ("bm25s", "tantivy", "scikit-learn", "chromadb", "lancedb", "llama-index-retrievers-bm25")
"""The packages whose versions a table names."""

Vectors = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Unit vectors of the texts and of the questions."""

Search = Callable[[int, int], list[int]]
"""A function of the number of a question and the number of hits: the numbers of the texts, best first."""

Engine = tuple[str, Callable[[], Any]]
"""The name of an engine, and a function that returns a context manager of its search."""

_STEMMED = {"en": "English", "de": "German", "fr": "French", "ru": "Russian"}
_CANDIDATES = 100  # of each half of a fusion, as many as a memory takes


def by_words(collection: Collection) -> Iterator[Engine]:
    """Yield the engines that search words."""
    yield "bm25s", lambda: _bm25s(collection)
    yield "tantivy", lambda: _tantivy(collection)
    yield "scikit-learn TF-IDF", lambda: _tfidf(collection)


def by_vectors(collection: Collection, name: str, vectors: Vectors) -> Iterator[Engine]:
    """Yield the engines that search vectors."""
    yield f"Chroma, {name}", lambda: _chroma(vectors)


def by_both(collection: Collection, name: str, vectors: Vectors) -> Iterator[Engine]:
    """Yield the engines that fuse words and vectors."""
    yield f"LanceDB hybrid, {name}", lambda: _lancedb(collection, vectors)
    yield f"LlamaIndex BM25 + vectors, {name}", lambda: _llama_index(collection, vectors)


def _plain(question: str) -> str:
    """Return the words of a question, without query syntax."""
    return " ".join(re.findall(r"\w+", question.lower()))


@contextmanager
def _bm25s(collection: Collection) -> Iterator[Search]:
    import bm25s

    stopwords = collection.language
    index = bm25s.BM25()
    index.index(bm25s.tokenize(collection.texts, stopwords=stopwords, show_progress=False), show_progress=False)

    def search(question: int, k: int) -> list[int]:
        tokens = bm25s.tokenize([collection.questions[question]], stopwords=stopwords, show_progress=False)
        numbers: list[int] = index.retrieve(tokens, k=k, show_progress=False)[0][0].tolist()
        return numbers

    yield search


@contextmanager
def _tantivy(collection: Collection) -> Iterator[Search]:
    import tantivy

    made = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
    if collection.language in _STEMMED:
        made = made.filter(tantivy.Filter.stemmer(_STEMMED[collection.language].lower()))
    schema = tantivy.SchemaBuilder().add_integer_field("row", stored=True)
    index = tantivy.Index(schema.add_text_field("text", tokenizer_name="own").build())
    index.register_tokenizer("own", made.build())
    writer = index.writer()
    for row, text in enumerate(collection.texts):
        writer.add_document(tantivy.Document(row=row, text=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher: Any = index.searcher()

    def search(question: int, k: int) -> list[int]:
        query = index.parse_query(_plain(collection.questions[question]), ["text"])
        return [searcher.doc(address)["row"][0] for _, address in searcher.search(query, k).hits]

    yield search


@contextmanager
def _tfidf(collection: Collection) -> Iterator[Search]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    stop = "english" if collection.language == "en" else None
    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words=stop)
    matrix = vectorizer.fit_transform(collection.texts)

    def search(question: int, k: int) -> list[int]:
        scores = (matrix @ vectorizer.transform([collection.questions[question]]).T).toarray().ravel()
        numbers: list[int] = np.argsort(-scores, kind="stable")[:k].tolist()
        return numbers

    yield search


@contextmanager
def _chroma(vectors: Vectors) -> Iterator[Search]:
    import chromadb

    texts, questions = vectors
    client = chromadb.EphemeralClient()
    store = client.create_collection(f"c{time.time_ns()}", metadata={"hnsw:space": "cosine"})
    for at in range(0, len(texts), 5_000):
        part = slice(at, at + 5_000)
        store.add(ids=[str(number) for number in range(len(texts))[part]], embeddings=texts[part])

    def search(question: int, k: int) -> list[int]:
        return [int(number) for number in store.query(questions[question : question + 1], n_results=k)["ids"][0]]

    yield search
    client.delete_collection(store.name)


@contextmanager
def _lancedb(collection: Collection, vectors: Vectors) -> Iterator[Search]:
    os.environ.setdefault("LANCE_LOG", "error")  # it warns of a future change at every search
    import lancedb
    import pyarrow as pa
    from lancedb.rerankers import RRFReranker

    texts, questions = vectors
    size = texts.shape[1]
    with tempfile.TemporaryDirectory() as folder:
        rows = pa.table(
            {
                "row": pa.array(range(len(texts))),
                "text": pa.array(collection.texts),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(texts.ravel()), size),
            }
        )
        table = lancedb.connect(str(Path(folder) / "peer")).create_table("texts", rows)
        stemmed = collection.language in _STEMMED
        language = _STEMMED.get(collection.language, "English")
        table.create_fts_index("text", language=language, stem=stemmed, remove_stop_words=stemmed)
        reranker = RRFReranker()

        def search(question: int, k: int) -> list[int]:
            asked = table.search(query_type="hybrid").vector(questions[question]).distance_type("cosine")
            asked = asked.text(_plain(collection.questions[question])).rerank(reranker).limit(_CANDIDATES)
            return asked.select(["row"]).to_arrow()["row"].to_pylist()[:k]  # type: ignore[no-any-return]

        yield search


@contextmanager
def _llama_index(collection: Collection, vectors: Vectors) -> Iterator[Search]:
    from llama_index.core import VectorStoreIndex
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.llms import MockLLM
    from llama_index.core.retrievers import QueryFusionRetriever
    from llama_index.core.schema import TextNode
    from llama_index.retrievers.bm25 import BM25Retriever

    texts, questions = vectors
    known = dict(zip(collection.questions, questions.tolist(), strict=True))

    class Given(BaseEmbedding):
        def _get_query_embedding(self, query: str) -> list[float]:
            found: list[float] = known[query]
            return found

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_query_embedding(query)

        def _get_text_embedding(self, text: str) -> list[float]:
            raise RuntimeError("every node has its vector")

    nodes = [
        TextNode(id_=str(number), text=text, embedding=vector)
        for number, (text, vector) in enumerate(zip(collection.texts, texts.tolist(), strict=True))
    ]
    near = VectorStoreIndex(nodes, embed_model=Given()).as_retriever(similarity_top_k=_CANDIDATES)
    words = BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=_CANDIDATES, **_stemming(collection.language))
    both = QueryFusionRetriever(
        [near, words],
        llm=MockLLM(),
        mode="reciprocal_rerank",  # type: ignore[arg-type]
        num_queries=1,
        similarity_top_k=_CANDIDATES,
        use_async=False,
    )

    def search(question: int, k: int) -> list[int]:
        return [int(found.node.node_id) for found in both.retrieve(collection.questions[question])][:k]

    yield search


def _stemming(language: str) -> dict[str, Any]:
    """Return the options of LlamaIndex's BM25 retriever for a language."""
    import Stemmer

    if language not in _STEMMED:
        return {"skip_stemming": True, "language": language}
    return {"stemmer": Stemmer.Stemmer(_STEMMED[language].lower()), "language": language}
