"""The index and the metric of a store, and scores that are right under each metric."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from langchain_memvid import MemvidRetriever, MemvidVectorStore
from langchain_memvid.agents import MemvidSaver, MemvidStore
from memvid_core import Index, IndexName, InvalidInputError, Ivf, Memory, Metric

METRICS: tuple[Metric, ...] = get_args(Metric)
TEXTS = [f"text {n}" for n in range(40)]


class Places(Embeddings):
    """Each text at a place of its own; not of length 1."""

    def embed_query(self, text: str) -> list[float]:
        return (3 * np.random.default_rng(abs(hash(text)) % 2**32).standard_normal(5)).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


def expected(metric: str, query: str) -> dict[str, float]:
    """The score of each text for a question."""
    rows, asked = np.array(Places().embed_documents(TEXTS)), np.array(Places().embed_query(query))
    if metric == "cosine":
        scores = rows @ asked / np.linalg.norm(rows, axis=1) / np.linalg.norm(asked)
    else:
        order = {"euclidean": 2, "manhattan": 1, "chebyshev": np.inf}[metric]
        scores = 1 / (1 + np.linalg.norm(rows - asked, ord=order, axis=1))
    return dict(zip(TEXTS, scores.tolist(), strict=True))


@pytest.mark.parametrize("metric", METRICS)
async def test_scores_and_thresholds(metric: Metric, tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with MemvidVectorStore.from_texts(TEXTS, Places(), path=path, metric=metric, vector_dtype="float32") as store:
        right = expected(metric, "a question")
        best = sorted(right, key=lambda text: -right[text])
        scored = store.similarity_search_with_score("a question", k=10)
        assert [document.page_content for document, _ in scored] == best[:10]
        assert [score for _, score in scored] == pytest.approx([right[text] for text in best[:10]], abs=1e-5)
        assert scored == await store.asimilarity_search_with_score("a question", k=10)
        relevant = store.similarity_search_with_relevance_scores("a question", k=40)
        relevance = store._select_relevance_score_fn()
        for document, score in relevant:
            assert 0 <= score <= 1
            assert score == pytest.approx(max(right[document.page_content], 0.0), abs=1e-5)
            assert relevance(right[document.page_content]) == pytest.approx(score, abs=1e-5)
        least = (right[best[4]] + right[best[5]]) / 2
        kept = store.similarity_search("a question", k=40, score_threshold=least)
        assert [document.page_content for document in kept] == best[:5]
        by_vector = store.similarity_search_with_score_by_vector(Places().embed_query("a question"), k=10)
        assert by_vector == scored
        diverse = store.max_marginal_relevance_search_with_score("a question", k=3, lambda_mult=1.0)
        assert [(one.page_content, score) for one, score in diverse] == [
            (one.page_content, score) for one, score in scored[:3]
        ]
        retriever = store.as_retriever(
            search_type="similarity_score_threshold", search_kwargs={"score_threshold": least, "k": 40}
        )
        assert [document.page_content for document in retriever.invoke("a question")] == best[:5]


@pytest.mark.parametrize("index", [*get_args(IndexName), Ivf(0.9)])
def test_every_index_everywhere(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with MemvidVectorStore.from_texts(TEXTS, Places(), path=path, index=index) as store:
        assert store.similarity_search("text 7", k=1)[0].page_content == "text 7"
        again = pickle.loads(pickle.dumps(store))
        assert again.similarity_search("text 8", k=1)[0].page_content == "text 8"
        again.close()
    with MemvidRetriever(path=path, embedding=Places(), index=index, k=1) as retriever:
        assert retriever.invoke("text 9")[0].page_content == "text 9"
    facts: Any = {"embed": Places(), "dims": 5}
    with MemvidStore(tmp_path / "facts.mp4", index=facts, vector_index=index) as store:
        store.put(("a",), "k", {"text": "tea"})
        assert store.search(("a",), query="tea")[0].key == "k"
        with pickle.loads(pickle.dumps(store)) as copied:
            assert copied.get(("a",), "k").value == {"text": "tea"}
    MemvidSaver(tmp_path / "threads.mp4", index=index).close()


def test_what_goes_with_a_metric(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    MemvidVectorStore(Places(), path=path, metric="euclidean").close()
    for options in ({"index": "ivf"}, {"metric": "cosine"}, {"index": "tree"}, {"index": Ivf(1.5)}):
        with pytest.raises(InvalidInputError):
            MemvidVectorStore(Places(), path=path, **options)
    with pytest.raises(TypeError):
        MemvidVectorStore(Places(), path=path, ivf=True)  # type: ignore[call-arg]
    with Memory.open(path, "a", embedder=Places()) as memory:
        for given in ({"index": "exact"}, {"metric": "euclidean"}):
            with pytest.raises(InvalidInputError, match="open memory"):
                MemvidVectorStore(memory=memory, **given)  # type: ignore[arg-type]
            with pytest.raises(InvalidInputError, match="open memory"):
                MemvidSaver(memory=memory, **given)  # type: ignore[arg-type]
        store = MemvidVectorStore(memory=memory)
        store.add_texts(TEXTS)
        right = expected("euclidean", "text 3")
        assert store.similarity_search_with_score("text 3", k=1)[0][1] == pytest.approx(right["text 3"], abs=1e-2)
    with MemvidStore(tmp_path / "f.mp4", index={"embed": Places(), "dims": 5}, metric="manhattan") as facts:
        facts.put(("a",), "k", {"text": "tea"}, index=["text"])
        assert facts.search(("a",), query="tea")[0].score == pytest.approx(1.0, abs=1e-2)
