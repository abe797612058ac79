"""Every public search: what it finds, in what order, with what scores, under which filter."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from langchain_memvid import MemvidEmbeddings, MemvidRetriever, MemvidVectorStore
from memvid_core import DimensionError, EmbedderWarning, FilterError, InvalidInputError, Memory, QueryError, Recency
from tests.langchain_memvid.conftest import MakeStore
from tests.langchain_memvid.fakes import COMPASS, TableEmbeddings

NORTH = [0.0, 1.0]
COSINES = {name: x / math.hypot(x, y) for name, (x, y) in COMPASS.items()}

# Each public search as a function of a store, a question (the text "east" or its vector) and options.
BY_TEXT: dict[str, Callable[..., Any]] = {
    "similarity_search": lambda s, **o: s.similarity_search("east", **o),
    "similarity_search_with_score": lambda s, **o: s.similarity_search_with_score("east", **o),
    "with_relevance_scores": lambda s, **o: s.similarity_search_with_relevance_scores("east", **o),
    "mmr": lambda s, **o: s.max_marginal_relevance_search("east", **o),
    "mmr_with_score": lambda s, **o: s.max_marginal_relevance_search_with_score("east", **o),
    "search similarity": lambda s, **o: s.search("east", "similarity", **o),
    "search mmr": lambda s, **o: s.search("east", "mmr", **o),
    "search threshold": lambda s, **o: s.search("east", "similarity_score_threshold", **{"score_threshold": 0.0} | o),
    "retriever": lambda s, **o: s.as_retriever(search_kwargs=o).invoke("east"),
}
BY_VECTOR: dict[str, Callable[..., Any]] = {
    "similarity_search_by_vector": lambda s, **o: s.similarity_search_by_vector([1.0, 0.0], **o),
    "with_score_by_vector": lambda s, **o: s.similarity_search_with_score_by_vector([1.0, 0.0], **o),
    "mmr_by_vector": lambda s, **o: s.max_marginal_relevance_search_by_vector([1.0, 0.0], **o),
    "mmr_with_score_by_vector": lambda s, **o: s.max_marginal_relevance_search_with_score_by_vector([1.0, 0.0], **o),
}
ASYNC: dict[str, Callable[..., Any]] = {
    "similarity_search": lambda s, **o: s.asimilarity_search("east", **o),
    "similarity_search_with_score": lambda s, **o: s.asimilarity_search_with_score("east", **o),
    "with_relevance_scores": lambda s, **o: s.asimilarity_search_with_relevance_scores("east", **o),
    "mmr": lambda s, **o: s.amax_marginal_relevance_search("east", **o),
    "mmr_with_score": lambda s, **o: s.amax_marginal_relevance_search_with_score("east", **o),
    "search similarity": lambda s, **o: s.asearch("east", "similarity", **o),
    "search mmr": lambda s, **o: s.asearch("east", "mmr", **o),
    "search threshold": lambda s, **o: s.asearch("east", "similarity_score_threshold", **{"score_threshold": 0.0} | o),
    "retriever": lambda s, **o: s.as_retriever(search_kwargs=o).ainvoke("east"),
    "similarity_search_by_vector": lambda s, **o: s.asimilarity_search_by_vector([1.0, 0.0], **o),
    "with_score_by_vector": lambda s, **o: s.asimilarity_search_with_score_by_vector([1.0, 0.0], **o),
    "mmr_by_vector": lambda s, **o: s.amax_marginal_relevance_search_by_vector([1.0, 0.0], **o),
    "mmr_with_score_by_vector": lambda s, **o: s.amax_marginal_relevance_search_with_score_by_vector([1.0, 0.0], **o),
}
SYNC = BY_TEXT | BY_VECTOR


@pytest.fixture
def place() -> str:
    """RAM is enough to search in; one test below asks a file the same."""
    return ":memory:"


def ids(found: Any) -> list[str | None]:
    documents = [item[0] if isinstance(item, tuple) else item for item in found]
    assert all(isinstance(document, Document) for document in documents)
    return [document.id for document in documents]


def test_every_search_of_the_contract_is_our_own_and_so_is_its_async_twin() -> None:
    inherited = {"search", "asearch", "similarity_search_with_relevance_scores"}
    inherited |= {"asimilarity_search_with_relevance_scores"}
    contract = {name for name in vars(VectorStore) if "search" in name} - inherited
    own = {name for base in MemvidVectorStore.__mro__[:2] for name in vars(base)}
    assert contract - own == set()
    assert {f"a{name}" for name in own if "_search" in name and name[0] not in "_a"} <= own


# --- all of them alike ---


@pytest.mark.parametrize("name", SYNC)
def test_each_finds_the_nearest_first_with_id_and_metadata(compass: MemvidVectorStore, name: str) -> None:
    found = SYNC[name](compass, k=1)
    assert ids(found) == ["east"]
    document = found[0][0] if isinstance(found[0], tuple) else found[0]
    assert document == Document(id="east", page_content="east", metadata={"place": 0})


@pytest.mark.parametrize("name", SYNC)
async def test_each_gives_asynchronously_what_it_gives_synchronously(compass: MemvidVectorStore, name: str) -> None:
    options: dict[str, Any]
    for options in ({}, {"k": 2}, {"k": 9}, {"filter": {"place": {"$gt": 0}}}, {"filter": lambda d: d.id != "east"}):
        assert await ASYNC[name](compass, **options) == SYNC[name](compass, **options), options


def test_a_file_answers_as_ram_does(compass: MemvidVectorStore, tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    compass.dump(path)
    options: dict[str, Any]
    with MemvidVectorStore.load(path, TableEmbeddings(COMPASS), mode="r") as stored:
        for name, search in SYNC.items():
            for options in ({}, {"k": 9}, {"filter": {"place": {"$gt": 0}}}, {"filter": lambda d: d.id != "east"}):
                assert search(stored, **options) == search(compass, **options), name


@pytest.mark.parametrize("name", SYNC)
async def test_each_gives_four_by_default_and_no_more_than_there_are(compass: MemvidVectorStore, name: str) -> None:
    assert len(SYNC[name](compass)) == len(await ASYNC[name](compass)) == 4
    assert len(SYNC[name](compass, k=100)) == len(await ASYNC[name](compass, k=100)) == 5


@pytest.mark.parametrize("name", SYNC)
async def test_each_takes_k_0_and_an_empty_store(store: MemvidVectorStore, name: str) -> None:
    options: dict[str, Any]
    for options in ({}, {"k": 0}, {"filter": {"a": 1}}, {"filter": lambda document: True}):
        assert SYNC[name](store, **options) == await ASYNC[name](store, **options) == []
    store.add_texts(["east"])
    assert SYNC[name](store, k=0) == await ASYNC[name](store, k=0) == []
    store.delete()
    assert SYNC[name](store) == await ASYNC[name](store) == []


@pytest.mark.parametrize("name", SYNC)
async def test_each_refuses_what_it_does_not_know(compass: MemvidVectorStore, name: str) -> None:
    wrong: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"fliter": {"place": 1}}, TypeError),
        ({"filter": {"place": {"$gtee": 1}}}, FilterError),
        ({"filter": 5}, FilterError),
        ({"k": -1}, QueryError),
        ({"k": 1.5}, QueryError),
        ({"retrieval_mode": "fast"}, InvalidInputError),
    ]
    for options, error in wrong:
        with pytest.raises(error):
            SYNC[name](compass, **options)
        with pytest.raises(error):
            await ASYNC[name](compass, **options)


@pytest.mark.parametrize("name", SYNC)
async def test_each_takes_a_least_relevance(compass: MemvidVectorStore, name: str) -> None:
    options: dict[str, Any] = {"k": 5, "score_threshold": math.sqrt(0.5) - 1e-3}
    expected = {"east", "almost east", "north-east"}
    assert set(ids(SYNC[name](compass, **options))) == set(ids(await ASYNC[name](compass, **options))) == expected


@pytest.mark.parametrize("name", SYNC)
def test_each_finds_only_what_a_filter_lets_through(compass: MemvidVectorStore, name: str) -> None:
    seen: list[Document] = []

    def far(document: Document) -> bool:
        seen.append(document)
        return bool(document.metadata["place"] >= 3)

    assert ids(SYNC[name](compass, filter=far)) == ids(SYNC[name](compass, filter={"place": {"$gte": 3}}))
    assert ids(SYNC[name](compass, filter=far)) == ["north", "west"]
    assert ids(SYNC[name](compass, filter={"place": 9})) == []
    assert {document.id for document in seen} == set(COMPASS)


def test_a_query_vector_of_another_length_is_an_error(compass: MemvidVectorStore) -> None:
    with pytest.raises(DimensionError, match="3 components"):
        compass.similarity_search_by_vector([1.0, 0.0, 0.0])
    with pytest.raises(InvalidInputError, match="not finite"):
        compass.similarity_search_by_vector([math.nan, 0.0])


def test_an_unknown_search_type_is_an_error(compass: MemvidVectorStore) -> None:
    with pytest.raises(ValueError, match="search_type"):
        compass.search("east", "nearest")


# --- a query without words ---


async def test_a_blank_query_with_a_filter_lists_what_matches(compass: MemvidVectorStore) -> None:
    assert ids(compass.similarity_search(" ", k=2, filter={"place": {"$gt": 0}})) == ["almost east", "north-east"]
    assert ids(await compass.asimilarity_search("", filter=lambda d: d.metadata["place"] > 3)) == ["west"]
    assert compass.similarity_search_with_score("", k=1, filter={})[0][1] == 1.0
    assert compass.search("", "similarity_score_threshold", filter={"place": 4}, score_threshold=0.9)[0].id == "west"


async def test_a_blank_query_alone_lists_documents(compass: MemvidVectorStore) -> None:
    first = ["east", "almost east"]
    assert ids(compass.similarity_search("", k=2)) == first
    assert ids(await compass.asimilarity_search(" \n", k=2)) == first
    assert ids(compass.max_marginal_relevance_search("", k=2)) == first
    assert ids(compass.as_retriever(search_kwargs={"k": 2}).invoke("")) == first
    assert ids(MemvidRetriever(vectorstore=compass, k=2).invoke("")) == first


# --- scores ---


def test_scores_are_cosines_higher_is_better(compass: MemvidVectorStore) -> None:
    for found in (
        compass.similarity_search_with_score("east", k=5),
        compass.similarity_search_with_score_by_vector([2.0, 0.0], k=5),
        compass.max_marginal_relevance_search_with_score("east", k=5, lambda_mult=1.0),
    ):
        assert ids(found) == ["east", "almost east", "north-east", "north", "west"]
        assert [score for _, score in found] == pytest.approx([COSINES[d.page_content] for d, _ in found], abs=1e-3)


def test_relevances_lie_between_0_and_1_and_are_what_the_relevance_function_says(compass: MemvidVectorStore) -> None:
    relevances = {name: max(cosine, 0.0) for name, cosine in COSINES.items()}
    found = compass.similarity_search_with_relevance_scores("east", k=5)
    assert [score for _, score in found] == pytest.approx([relevances[d.page_content] for d, _ in found], abs=1e-3)
    function = compass._select_relevance_score_fn()
    scored = compass.similarity_search_with_score("east", k=5)
    assert [function(score) for _, score in scored] == pytest.approx([score for _, score in found])


def test_the_threshold_retriever_keeps_what_reaches_it(compass: MemvidVectorStore) -> None:
    retriever = compass.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.7, "k": 5}
    )
    assert ids(retriever.invoke("east")) == ["east", "almost east", "north-east"]


def test_equal_scores_stay_in_the_order_they_were_added(store: MemvidVectorStore) -> None:
    store.add_texts(["same"] * 5, ids=list("cabed"))
    assert ids(store.similarity_search("same", k=5)) == list("cabed")


# --- maximal marginal relevance ---


def test_lambda_1_is_the_plain_ranking_and_0_the_greatest_diversity(compass: MemvidVectorStore) -> None:
    def chosen(lambda_mult: float) -> list[str | None]:
        return ids(compass.max_marginal_relevance_search("east", k=3, lambda_mult=lambda_mult))

    assert chosen(1.0) == ["east", "almost east", "north-east"]
    assert chosen(0.0) == ["east", "west", "north"]
    assert chosen(0.5)[0] == "east"
    assert "almost east" not in chosen(0.3)


def test_fetch_k_bounds_the_candidates_and_never_cuts_k(compass: MemvidVectorStore) -> None:
    found = compass.max_marginal_relevance_search("east", k=2, fetch_k=2, lambda_mult=0.0)
    assert ids(found) == ["east", "almost east"]
    assert len(compass.max_marginal_relevance_search("east", k=4, fetch_k=1)) == 4


def test_mmr_keeps_the_order_of_choice(compass: MemvidVectorStore) -> None:
    found = compass.max_marginal_relevance_search_with_score_by_vector([1.0, 0.0], k=3, lambda_mult=0.0)
    assert ids(found) == ["east", "west", "north"]
    scores = [score for _, score in found]
    assert scores != sorted(scores, reverse=True)


def test_a_lambda_out_of_range_is_an_error(compass: MemvidVectorStore) -> None:
    with pytest.raises(InvalidInputError, match="lambda_mult"):
        compass.max_marginal_relevance_search("east", lambda_mult=1.5)


# --- how texts are searched for ---

LETTERS = ["the wing lifts the aircraft", "die Tragfläche hebt", "ERR-4711 in the log", "noise over the town"]


def test_the_built_in_embedder_searches_both_ways_by_default() -> None:
    store = MemvidVectorStore.from_texts(LETTERS)
    with Memory.create(":memory:") as memory:
        memory.add(LETTERS)
        for query in ("err-4711", "what does a wing lift?"):
            expected = [(hit.text, hit.score) for hit in memory.search(query, 4, mode="hybrid")]
            found = store.similarity_search_with_score(query)
            assert [(document.page_content, score) for document, score in found] == expected
    assert store._select_relevance_score_fn()(0.25) == 0.25


def test_any_other_embedder_searches_by_vector_by_default(make_store: MakeStore) -> None:
    store = make_store()
    store.add_texts(["east", "a text that says north"], vectors=[NORTH, [1.0, 0.0]])
    assert store.similarity_search("north", k=1)[0].page_content == "east"
    assert store.similarity_search("north", k=1, retrieval_mode="dense")[0].page_content == "east"
    assert store.similarity_search("north", k=1, retrieval_mode="lexical")[0].page_content == "a text that says north"


@pytest.mark.parametrize("mode", ["dense", "hybrid", "lexical"])
@pytest.mark.parametrize("search_type", ["similarity", "mmr", "similarity_score_threshold"])
async def test_the_mode_of_the_store_and_of_the_call_hold_for_every_search_type(
    make_store: MakeStore, mode: Any, search_type: str
) -> None:
    asked: list[Any] = []

    class Listening(Memory):
        def search(self, query: Any, k: Any = 5, where: Any = None, mode: Any = None, **options: Any) -> Any:
            asked.append(mode)
            return super().search(query, k, where, mode, **options)

        def mmr(self, query: Any, k: Any = 5, where: Any = None, mode: Any = None, **options: Any) -> Any:
            asked.append(mode)
            return super().mmr(query, k, where, mode, **options)

        async def asearch(self, query: Any, k: Any = 5, where: Any = None, mode: Any = None, **options: Any) -> Any:
            asked.append(mode)
            return await super().asearch(query, k, where, mode, **options)

        async def ammr(self, query: Any, k: Any = 5, where: Any = None, mode: Any = None, **options: Any) -> Any:
            asked.append(mode)
            return await super().ammr(query, k, where, mode, **options)

    other = "lexical" if mode != "lexical" else "dense"
    with Listening.create(":memory:", TableEmbeddings(COMPASS)) as memory:
        memory.add(list(COMPASS))
        store = MemvidVectorStore(memory=memory, retrieval_mode=mode)
        options: dict[str, Any] = {"score_threshold": 0.0} if search_type.endswith("threshold") else {}
        retriever = store.as_retriever(search_type=search_type, search_kwargs=options)
        for found in (
            store.search("north", search_type, **options),
            await store.asearch("north", search_type, **options),
            retriever.invoke("north"),
            await retriever.ainvoke("north"),
        ):
            assert found[0].page_content == "north"
        assert asked == [mode] * 4
        store.search("north", search_type, retrieval_mode=other, **options)
        await retriever.ainvoke("north", retrieval_mode=other)
        assert asked[4:] == [other] * 2


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
def test_other_modes_score_between_0_and_1_everywhere(compass: MemvidVectorStore, mode: Any) -> None:
    scored = compass.similarity_search_with_score("north", k=5, retrieval_mode=mode)
    relevant = compass.similarity_search_with_relevance_scores("north", k=5, retrieval_mode=mode)
    assert [document for document, _ in scored] == [document for document, _ in relevant]
    assert all(0 <= score <= 1 for _, score in [*scored, *relevant])
    least = max(relevance for _, relevance in relevant) * 0.9
    kept = compass.similarity_search_with_relevance_scores("north", k=5, retrieval_mode=mode, score_threshold=least)
    assert kept == [(document, relevance) for document, relevance in relevant if relevance >= least]


def test_a_vector_is_searched_for_by_vector_whatever_the_mode_of_the_store(make_store: MakeStore) -> None:
    store = make_store(retrieval_mode="lexical")
    store.add_texts(list(COMPASS), ids=list(COMPASS))
    assert ids(store.similarity_search_by_vector([0.0, 1.0], k=1)) == ["north"]
    with pytest.raises(QueryError, match="words"):
        store.similarity_search_by_vector([0.0, 1.0], retrieval_mode="lexical")


def test_alpha_weighs_the_two_halves(make_store: MakeStore) -> None:
    store = make_store()
    store.add_texts(["by vector", "says north"], ids=["vector", "words"], vectors=[NORTH, [1.0, 0.0]])
    for alpha, first in ((1.0, "vector"), (0.0, "words")):
        options: dict[str, Any] = {"retrieval_mode": "hybrid", "alpha": alpha}
        assert store.similarity_search("north", k=2, **options)[0].id == first
        assert store.max_marginal_relevance_search("north", k=2, **options)[0].id == first


def test_age_can_count_and_ranks_can_be_fused(make_store: MakeStore) -> None:
    store = make_store()
    store.add_texts(["north", "north"], [{"at": "2001-01-01"}, {"at": "2024-01-01"}], ids=["old", "new"])
    age = Recency("at", half_life=3600.0 * 24 * 365)
    assert ids(store.similarity_search("north")) == ["old", "new"]
    assert ids(store.similarity_search("north", recency=age)) == ["new", "old"]
    assert ids(store.max_marginal_relevance_search("north", lambda_mult=1.0, recency=age)) == ["new", "old"]
    assert ids(store.similarity_search("north", retrieval_mode="hybrid", fusion="rank")) == ["old", "new"]
    with pytest.raises(TypeError, match="alpah"):
        store.max_marginal_relevance_search("north", alpah=0.5)  # type: ignore[call-arg]
    store.add_texts(["north-east"], [{"at": "2025-01-01"}], ids=["aside"], vectors=[[1.0, 1.0]])
    recent = Recency("at", half_life=3600.0 * 24 * 365, weight=1.0)
    found = store.max_marginal_relevance_search("north", k=2, lambda_mult=0.8, recency=recent)
    assert ids(found)[0] == "aside"  # less like the question than the others, and newer


def test_without_the_embedder_that_wrote_it_a_file_is_searched_by_words(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    MemvidVectorStore.from_texts(LETTERS, TableEmbeddings(), path=path).close()
    with pytest.warns(EmbedderWarning, match="TableEmbeddings"):
        reopened = MemvidVectorStore(path=path)
    with reopened as store:
        assert store.embeddings is None
        assert store.similarity_search("err-4711", k=1)[0].page_content == LETTERS[2]
        with pytest.raises(QueryError, match="TableEmbeddings"):
            store.similarity_search("err-4711", retrieval_mode="dense")


# --- the embeddings property ---


def test_embeddings_is_what_was_given_or_a_view_of_the_cores_own() -> None:
    given = TableEmbeddings()
    assert MemvidVectorStore(given).embeddings is given
    built_in = MemvidVectorStore().embeddings
    assert isinstance(built_in, MemvidEmbeddings)
    assert MemvidVectorStore(built_in).embeddings.embedder.name == built_in.embedder.name  # type: ignore[union-attr]
    by_function = MemvidVectorStore(lambda texts: [[1.0, 0.0]] * len(texts)).embeddings
    assert by_function is not None
    assert by_function.embed_query("a") == [1.0, 0.0]


def test_as_retriever_is_tagged_with_what_it_searches() -> None:
    tags = MemvidVectorStore(TableEmbeddings()).as_retriever().tags
    assert tags == ["MemvidVectorStore", "TableEmbeddings"]
