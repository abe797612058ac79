"""The index and the metric of a store, and similarities that are right under each metric."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index_memvid import MemvidChatStore, MemvidVectorStore
from memvid_core import Index, IndexName, InvalidInputError, Ivf, Memory, Metric

ROWS = 3 * np.random.default_rng(0).standard_normal((30, 5))
QUERY = ROWS[4] + 0.1


def nodes() -> list[TextNode]:
    return [TextNode(id_=str(n), text=f"text {n}", embedding=row.tolist()) for n, row in enumerate(ROWS)]


def expected(metric: str) -> np.ndarray:
    if metric == "cosine":
        return ROWS @ QUERY / np.linalg.norm(ROWS, axis=1) / np.linalg.norm(QUERY)
    order = {"euclidean": 2, "manhattan": 1, "chebyshev": np.inf}[metric]
    return 1 / (1 + np.linalg.norm(ROWS - QUERY, ord=order, axis=1))


@pytest.mark.parametrize("metric", get_args(Metric))
def test_similarities(metric: Metric, tmp_path: Path) -> None:
    with MemvidVectorStore(tmp_path / "m.mp4", metric=metric, vector_dtype="float32") as store:
        store.add(nodes())
        right = expected(metric)
        best = np.argsort(-right)
        for mode in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.SEMANTIC_HYBRID, VectorStoreQueryMode.MMR):
            query = VectorStoreQuery(QUERY.tolist(), similarity_top_k=6, mode=mode, query_str="text", mmr_threshold=1.0)
            found = store.query(query)
            assert found.ids == [str(n) for n in best[:6]], mode
            assert found.similarities == pytest.approx(right[best[:6]].tolist(), abs=1e-5)
        hybrid = VectorStoreQuery(
            QUERY.tolist(), similarity_top_k=6, mode=VectorStoreQueryMode.HYBRID, query_str="text 4"
        )
        hybrid.output_fields = ["embedding"]
        found = store.query(hybrid)
        assert found.ids is not None
        assert found.ids[0] == "4"
        assert all(0 <= score <= 1 for score in found.similarities or ())


@pytest.mark.parametrize("index", [*get_args(IndexName), Ivf(0.9)])
def test_every_index(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    with MemvidVectorStore(path, index=index) as store:
        store.add(nodes())
        for one in (store, pickle.loads(pickle.dumps(store))):
            assert one.query(VectorStoreQuery(ROWS[3].tolist(), similarity_top_k=1)).ids == ["3"]
    with MemvidVectorStore.from_persist_path(path, index=index, mode="r") as store:
        assert store.query(VectorStoreQuery(ROWS[3].tolist(), similarity_top_k=1)).ids == ["3"]
    MemvidChatStore(tmp_path / "chat.mp4", index=index).close()


def test_what_goes_with_a_metric(tmp_path: Path) -> None:
    path = tmp_path / "m.mp4"
    MemvidVectorStore(path, metric="euclidean").close()
    with pytest.raises(InvalidInputError, match="cosine only"):
        MemvidVectorStore(path, index="quantized")
    with pytest.raises(InvalidInputError, match="'euclidean', not by 'manhattan'"):
        MemvidVectorStore(path, metric="manhattan")
    with Memory.create(":memory:", "given") as memory, pytest.raises(InvalidInputError, match="open memory"):
        MemvidVectorStore(memory=memory, index="exact")
