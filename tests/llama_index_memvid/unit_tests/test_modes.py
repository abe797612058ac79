"""Every query mode of LlamaIndex, against numbers that can be reckoned by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from llama_index.core.indices.query.embedding_utils import get_top_k_embeddings_learner, get_top_k_mmr_embeddings
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode, VectorStoreQueryResult

from llama_index_memvid import MemvidEmbedding, MemvidVectorStore
from memvid_core import DimensionError, InvalidInputError, Memory, QueryError
from tests.llama_index_memvid.conftest import MakeStore
from tests.llama_index_memvid.some_nodes import chunk, ids, node, one

Mode = VectorStoreQueryMode
EAST = [1.0, 0.0]


@pytest.fixture
def compass(store: MemvidVectorStore) -> MemvidVectorStore:
    store.add(
        [
            node("east", [1.0, 0.0], "the sun rises in the east", n=1),
            node("almost", [0.98, 0.199], "the morning sun", n=2),
            node("north-east", [1.0, 1.0], "a cold wind", n=3),
            node("north", [0.0, 1.0], "the pole star stands in the north", n=4),
            node("west", [-1.0, 0.0], "the sun sets in the west", n=5),
        ]
    )
    return store


def ask(store: MemvidVectorStore, mode: Mode | str, options: dict[str, Any] | None = None, **query: Any) -> Any:
    asked: dict[str, Any] = {"similarity_top_k": 5, "mode": mode, **query}
    return store.query(VectorStoreQuery(**asked), **(options or {}))


# --- by vector ---


def test_default_gives_cosines(compass: MemvidVectorStore) -> None:
    found = ask(compass, Mode.DEFAULT, query_embedding=[2.0, 0.0])
    assert found.ids == ["east", "almost", "north-east", "north", "west"]
    assert found.similarities == pytest.approx([1, 0.98, math.sqrt(0.5), 0, -1], abs=2e-3)
    assert all(isinstance(similarity, float) for similarity in found.similarities)


def test_a_mode_may_be_its_name(compass: MemvidVectorStore) -> None:
    assert ask(compass, "default", query_embedding=EAST, similarity_top_k=1).ids == ["east"]


@pytest.mark.parametrize("k", [0, 1, 5, 100])
def test_top_k(compass: MemvidVectorStore, k: int) -> None:
    for mode in Mode:
        found = ask(compass, mode, query_embedding=EAST, query_str="sun", similarity_top_k=k)
        assert len(found.ids) == len(found.nodes) == len(found.similarities) <= min(k, 5)


def test_ties_keep_the_order_they_were_added_in(store: MemvidVectorStore) -> None:
    names = [f"node {i}" for i in range(50)]
    store.add([node(name, [1.0, 0.0], "same words") for name in names[:20]])
    store.add([node(name, [1.0, 0.0], "same words") for name in names[20:]])
    for mode in (Mode.DEFAULT, Mode.SPARSE, Mode.HYBRID, Mode.SEMANTIC_HYBRID):
        assert ask(store, mode, query_embedding=EAST, query_str="words", similarity_top_k=50).ids == names


def test_node_ids_and_doc_ids_restrict(store: MemvidVectorStore) -> None:
    store.add([chunk("a", EAST, "d1"), chunk("b", EAST, "d1"), chunk("c", EAST, "d2"), node("d", EAST)])
    asked: dict[str, Any] = {"query_embedding": EAST}
    assert ids(store, node_ids=["d", "b", "not there"], **asked) == ["b", "d"]
    assert ids(store, node_ids=[], **asked) == ["a", "b", "c", "d"]  # what as_retriever() hands over
    assert ids(store, doc_ids=["d1", "not there"], **asked) == ["a", "b"]
    assert ids(store, doc_ids=[], **asked) == []
    assert ids(store, doc_ids=["d1"], node_ids=["b", "c"], **asked) == ["b"]
    assert ids(store, doc_ids=["d1"], filters=one("ref_doc_id", "d2"), **asked) == []


def test_a_filter_alone_lists_what_matches(compass: MemvidVectorStore) -> None:
    found = compass.query(VectorStoreQuery(filters=one("n", 3, operator_gte()), similarity_top_k=2))
    assert (found.ids, found.similarities) == (["north-east", "north"], [1.0, 1.0])
    assert compass.query(VectorStoreQuery(node_ids=["west"], similarity_top_k=2)).ids == ["west"]
    assert compass.query(VectorStoreQuery(filters=one("n", 99), query_str=" ")).ids == []


def operator_gte() -> Any:
    from llama_index.core.vector_stores.types import FilterOperator

    return FilterOperator.GTE


def test_where_is_asked_beside_the_filters(compass: MemvidVectorStore) -> None:
    found = ask(
        compass, Mode.DEFAULT, {"where": {"n": {"$between": [2, 4]}}}, query_embedding=EAST, filters=one("n", 4)
    )
    assert found.ids == ["north"]


# --- maximal marginal relevance ---


def carbonell_and_goldstein(query: Any, rows: Any, k: int, threshold: float) -> list[int]:
    """MMR as it was published: what counts is the nearest of all chosen ones (LlamaIndex looks at the last alone)."""
    units = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    relevance = units @ (np.array(query) / np.linalg.norm(query))
    chosen: list[int] = []
    while len(chosen) < k:
        nearest = (units @ units[chosen].T).max(axis=1) if chosen else np.zeros(len(units))
        gain = relevance if not chosen else threshold * relevance - (1 - threshold) * nearest
        chosen.append(int(np.argmax([-np.inf if i in chosen else gain[i] for i in range(len(units))])))
    return chosen


def test_mmr_chooses_as_it_was_published(store: MemvidVectorStore) -> None:
    random = np.random.default_rng(7)
    matrix = random.normal(size=(30, 6)).round(2).tolist()
    names = [str(i) for i in range(30)]
    store.add([node(name, row) for name, row in zip(names, matrix, strict=True)])
    for threshold in (0.1, 0.3, 0.5, 0.8, 1.0):
        for query in random.normal(size=(5, 6)).round(2).tolist():
            asked: dict[str, Any] = {"query_embedding": query, "mmr_threshold": threshold}
            found = ask(store, Mode.MMR, {"mmr_prefetch_k": 30}, similarity_top_k=8, **asked).ids
            assert found == [names[i] for i in carbonell_and_goldstein(query, matrix, 8, threshold)]
            options: dict[str, Any] = {"embedding_ids": names, "mmr_threshold": threshold}
            _, theirs = get_top_k_mmr_embeddings(query, matrix, similarity_top_k=2, **options)
            assert found[:2] == theirs  # of two, the last chosen is all that was chosen


def test_mmr_threshold_and_prefetch(compass: MemvidVectorStore) -> None:
    def found(threshold: float, k: int = 2, **options: Any) -> list[str]:
        given = {"mmr_threshold": threshold, **options}
        result: VectorStoreQueryResult = ask(compass, Mode.MMR, given, query_embedding=EAST, similarity_top_k=k)
        assert result.ids is not None
        return result.ids

    assert found(1.0) == ["east", "almost"]
    assert found(0.0) == ["east", "west"]
    assert found(0.0, mmr_prefetch_k=3) == ["east", "north-east"]
    assert found(0.0, mmr_prefetch_factor=1.5) == ["east", "north-east"]
    assert found(0.0, mmr_prefetch_factor=0.1) == ["east", "almost"]  # never fewer than asked for
    with pytest.raises(ValueError, match="not both"):
        found(0.5, mmr_prefetch_k=3, mmr_prefetch_factor=2)
    with pytest.raises(InvalidInputError, match="0 to 1"):
        found(1.5)
    for wrong in (-1, "x", True):
        with pytest.raises(QueryError, match="mmr_prefetch_k"):
            found(0.5, mmr_prefetch_k=wrong)
    for wrong_factor in (-1, "x", float("inf"), float("nan")):
        with pytest.raises(QueryError, match="mmr_prefetch_factor"):
            found(0.5, mmr_prefetch_factor=wrong_factor)


def test_the_threshold_of_a_call_goes_before_that_of_the_query(compass: MemvidVectorStore) -> None:
    asked: dict[str, Any] = {"query_embedding": EAST, "similarity_top_k": 2, "mmr_threshold": 0.0}
    assert ask(compass, Mode.MMR, {"mmr_threshold": 1.0}, **asked).ids == ["east", "almost"]
    assert ask(compass, Mode.MMR, {"mmr_threshold": None}, **asked).ids == ["east", "west"]
    with pytest.raises(ValueError, match="mmr_threshold"):
        ask(compass, Mode.MMR, {"mmr_threshold": 7}, **asked)


# --- by words, and by both ---


@pytest.mark.parametrize("mode", [Mode.SPARSE, Mode.TEXT_SEARCH])
def test_words_need_no_embedding(compass: MemvidVectorStore, mode: Mode) -> None:
    found = ask(compass, mode, query_str="north star")
    assert found.ids == ["north"]
    assert 0 < found.similarities[0] < 1
    assert ask(compass, mode, query_str="sun", filters=one("n", 5)).ids == ["west"]
    assert ask(compass, mode, query_str="unheard-of").ids == []


def test_hybrid_weighs_words_against_meaning(compass: MemvidVectorStore) -> None:
    def best(alpha: float | None) -> str:
        found = ask(compass, Mode.HYBRID, query_str="north star", query_embedding=EAST, alpha=alpha)
        assert all(0 <= score <= 1 for score in found.similarities)
        return str(found.ids[0])

    assert best(1.0) == "east"
    assert best(0.0) == "north"
    assert {*ask(compass, Mode.HYBRID, query_str="star", query_embedding=EAST).ids} >= {"north", "east"}


def test_hybrid_top_k_is_how_many_come_back(compass: MemvidVectorStore) -> None:
    asked: dict[str, Any] = {"query_str": "sun", "query_embedding": EAST}
    for mode in (Mode.HYBRID, Mode.SEMANTIC_HYBRID):
        whole = ask(compass, mode, **asked).ids
        assert ask(compass, mode, **asked, hybrid_top_k=2).ids == whole[:2]
        assert ask(compass, mode, **asked, similarity_top_k=1, sparse_top_k=4, hybrid_top_k=3).ids == whole[:3]
        assert ask(compass, mode, **asked, sparse_top_k=3, similarity_top_k=2).ids == whole[:2]


def test_semantic_hybrid_orders_by_meaning(compass: MemvidVectorStore) -> None:
    asked: dict[str, Any] = {"query_str": "north star", "query_embedding": [0.0, 1.0]}
    found = ask(compass, Mode.SEMANTIC_HYBRID, **asked)
    assert found.ids == ask(compass, Mode.DEFAULT, query_embedding=[0.0, 1.0]).ids
    assert found.similarities == pytest.approx([1, math.sqrt(0.5), 0.199, 0, 0], abs=2e-3)


# --- learners ---


@pytest.mark.parametrize("mode", [Mode.SVM, Mode.LOGISTIC_REGRESSION])
def test_learners_rank_as_llama_index_does(compass: MemvidVectorStore, mode: Mode) -> None:
    nodes = [found for found in compass.get_nodes() if found.metadata["n"] != 2]
    rows, names = [found.get_embedding() for found in nodes], [found.node_id for found in nodes]
    scores, expected = get_top_k_embeddings_learner([1.0, 0.1], rows, 3, names, query_mode=mode)
    found = ask(compass, mode, {"where": {"n": {"$ne": 2}}}, query_embedding=[1.0, 0.1], similarity_top_k=3)
    assert found.ids == expected
    assert found.similarities == pytest.approx(list(scores))
    assert all(type(similarity) is float for similarity in found.similarities)


def test_linear_regression_works_where_llama_index_crashes(compass: MemvidVectorStore) -> None:
    with pytest.raises(AttributeError):  # once this does not raise, our own way round can go
        get_top_k_embeddings_learner(EAST, [[1.0, 0.0]], 1, ["a"], query_mode=Mode.LINEAR_REGRESSION)
    assert ask(compass, Mode.LINEAR_REGRESSION, query_embedding=EAST, similarity_top_k=1).ids == ["east"]
    assert ask(compass, Mode.LINEAR_REGRESSION, query_embedding=EAST).ids[:2] == ["east", "almost"]


@pytest.mark.parametrize("mode", [Mode.SVM, Mode.LINEAR_REGRESSION, Mode.LOGISTIC_REGRESSION])
def test_learners_have_nothing_to_learn_from(compass: MemvidVectorStore, mode: Mode) -> None:
    assert ask(compass, mode, query_embedding=EAST, filters=one("n", 99)).ids == []
    with pytest.raises(DimensionError):
        ask(compass, mode, query_embedding=[1.0])


# --- a memory with an embedder of its own ---


def test_words_alone_are_embedded_where_the_memory_can(make_store: MakeStore) -> None:
    with make_store(embedder=MemvidEmbedding()) as store:
        model = store.embed_model
        assert model is not None
        texts = ["the wing lifts", "the engine hums"]
        store.add([node(text, model.get_text_embedding(text)) for text in texts])
        for mode in set(Mode) - {Mode.SPARSE, Mode.TEXT_SEARCH}:
            assert ask(store, mode, query_str="a lifting wing").ids[0] == "the wing lifts"


def test_a_store_over_a_memory_of_the_built_in_embedder_has_it() -> None:
    memory = Memory.create(":memory:")
    memory.add(["the wing lifts", "the engine hums"])
    store = MemvidVectorStore(memory=memory)
    assert store.embed_model is not None
    found = ask(store, Mode.DEFAULT, query_str="lifting wings", similarity_top_k=1)
    assert found.nodes[0].get_content() == "the wing lifts"


# --- what is refused ---


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode not in (Mode.SPARSE, Mode.TEXT_SEARCH)])
def test_a_query_without_an_embedding_is_refused(compass: MemvidVectorStore, mode: Mode) -> None:
    with pytest.raises(QueryError, match=r"query_embedding|query_str"):
        ask(compass, mode)
    with pytest.raises(QueryError, match="query_embedding"):
        ask(compass, mode, query_str="words")


@pytest.mark.parametrize("mode", [Mode.SPARSE, Mode.TEXT_SEARCH, Mode.HYBRID, Mode.SEMANTIC_HYBRID])
@pytest.mark.parametrize("words", [None, "", "  "])
def test_a_query_without_words_is_refused(compass: MemvidVectorStore, mode: Mode, words: str | None) -> None:
    with pytest.raises(QueryError, match="query_str"):
        ask(compass, mode, query_str=words, query_embedding=EAST)


def test_an_unknown_mode_is_refused(compass: MemvidVectorStore) -> None:
    with pytest.raises(ValueError, match="not supported"):
        ask(compass, "telepathy", query_embedding=EAST)


def test_an_unknown_option_is_refused(compass: MemvidVectorStore) -> None:
    with pytest.raises(TypeError, match="wehre"):
        ask(compass, Mode.DEFAULT, {"wehre": {}}, query_embedding=EAST)


@pytest.mark.parametrize("k", [-1, 1.5, None, True])
def test_a_number_that_is_none_is_refused(compass: MemvidVectorStore, k: Any) -> None:
    with pytest.raises(QueryError, match="similarity_top_k"):
        ask(compass, Mode.DEFAULT, query_embedding=EAST, similarity_top_k=k)
    if k is not None:
        with pytest.raises(QueryError, match="hybrid_top_k"):
            ask(compass, Mode.HYBRID, query_embedding=EAST, query_str="sun", hybrid_top_k=k)


def test_a_query_of_another_dimension_is_refused(compass: MemvidVectorStore) -> None:
    with pytest.raises(DimensionError):
        ask(compass, Mode.DEFAULT, query_embedding=[1.0, 0.0, 0.0])


def test_an_empty_store_answers_with_nothing(store: MemvidVectorStore) -> None:
    for mode in Mode:
        found = ask(store, mode, query_embedding=EAST, query_str="words")
        assert (found.nodes, found.ids, found.similarities) == ([], [], [])


# --- passages, and texts that occur several times ---


_TRAINED = (Mode.SVM, Mode.LINEAR_REGRESSION, Mode.LOGISTIC_REGRESSION)


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode not in _TRAINED])
def test_nodes_are_passages_and_texts_are_found_once(store: MemvidVectorStore, mode: Mode) -> None:
    found = "Spare flaps cost 40 euros each."
    text = "Orders are sent on Mondays. " * 20 + found + " Prices are net." * 20
    nodes = [node(name, EAST, text) for name in ("a", "b")]
    nodes[1].start_char_idx = 1_000
    store.add([*nodes, node("c", [0.9, 0.1], "flaps")])
    query: dict[str, Any] = {"query_str": "what do spare flaps cost?", "query_embedding": EAST}
    passages = [one for one in ask(store, mode, {"passage": 40}, **query).nodes if one.node_id != "c"]
    assert [one.text for one in passages] == [found, found]
    assert {one.start_char_idx for one in passages} == {text.index(found), 1_000 + text.index(found)}
    assert {one.end_char_idx - one.start_char_idx for one in passages} == {len(found)}
    assert {one.node_id for one in ask(store, mode, {"unique": True}, **query).nodes} == {"a", "c"}


def test_a_trained_classifier_has_no_passages(compass: MemvidVectorStore) -> None:
    with pytest.raises(QueryError, match="passage"):
        ask(compass, Mode.SVM, {"passage": 40}, query_embedding=EAST)
    with pytest.raises(QueryError, match="needs words"):
        ask(compass, Mode.DEFAULT, {"passage": 40}, query_embedding=EAST)


def test_misspelled_words_and_synonyms(compass: MemvidVectorStore) -> None:
    assert ask(compass, Mode.SPARSE, query_str="mornign").ids == ["almost"]
    assert ask(compass, Mode.SPARSE, {"fuzzy": False}, query_str="mornign").ids == []
    assert ask(compass, Mode.SPARSE, {"synonyms": {"dawn": "morning"}}, query_str="dawn").ids == ["almost"]


@pytest.mark.parametrize("mode", [Mode.DEFAULT, Mode.SPARSE, Mode.HYBRID])
def test_a_reranker_sorts_the_candidates(compass: MemvidVectorStore, mode: Mode) -> None:
    query: dict[str, Any] = {"query_str": "the sun", "query_embedding": EAST}
    found = ask(compass, mode, {"rerank": lambda question, texts: [len(text) for text in texts]}, **query)
    assert [len(one.text) for one in found.nodes] == sorted((len(one.text) for one in found.nodes), reverse=True)
    with pytest.raises(QueryError, match="mmr"):
        ask(compass, Mode.MMR, {"rerank": str}, **query)
