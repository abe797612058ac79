"""The retrievers and chains of LangChain that people put on a vector store, on ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.chains.query_constructor.schema import AttributeInfo
from langchain_classic.retrievers import (
    ContextualCompressionRetriever,
    EnsembleRetriever,
    MultiVectorRetriever,
    ParentDocumentRetriever,
    SelfQueryRetriever,
)
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.stores import InMemoryStore
from langchain_text_splitters import CharacterTextSplitter
from typing_extensions import override

from langchain_memvid import MemvidRetriever, MemvidTranslator, MemvidVectorStore

FILMS = [
    Document("A cosmonaut meets his dead wife above a thinking ocean", metadata={"title": "Solaris", "year": 1972}),
    Document("Three men walk into a forbidden zone", metadata={"title": "Stalker", "year": 1979}),
    Document("A clerk dreams himself out of the paperwork", metadata={"title": "Brazil", "year": 1985}),
]
FIELDS = [
    AttributeInfo(name="year", description="the year it came out", type="integer"),
    AttributeInfo(name="title", description="its title", type="string"),
]


@pytest.fixture
def films(tmp_path: Path) -> Iterator[MemvidVectorStore]:
    with MemvidVectorStore.from_documents(FILMS, path=tmp_path / "films.mp4") as store:
        yield store


def titles(found: list[Document]) -> list[str]:
    return [document.metadata["title"] for document in found]


def understood(query: str, condition: str, limit: int | None = None) -> str:
    """What a model answers to a self-query prompt."""
    bound = "" if limit is None else f', "limit": {limit}'
    return f'```json\n{{"query": "{query}", "filter": "{condition}"{bound}}}\n```'


SELF_QUERIES = [
    ("a thinking ocean", 'lt(\\"year\\", 1980)', None, ["Solaris", "Stalker"]),
    ("men", 'and(gt(\\"year\\", 1975), not(eq(\\"title\\", \\"Brazil\\")))', None, ["Stalker"]),
    ("clerk", "NO_FILTER", 1, ["Brazil"]),
    ("", 'in(\\"title\\", [\\"Brazil\\", \\"Stalker\\"])', None, ["Stalker", "Brazil"]),
    ("", 'or(like(\\"title\\", \\"azi\\"), lte(\\"year\\", 1972))', None, ["Solaris", "Brazil"]),
]


@pytest.mark.parametrize(("query", "condition", "limit", "expected"), SELF_QUERIES)
@pytest.mark.parametrize("search_type", ["similarity", "mmr"])
async def test_self_query(
    films: MemvidVectorStore, query: str, condition: str, limit: int | None, expected: list[str], search_type: str
) -> None:
    retriever = SelfQueryRetriever.from_llm(
        FakeListChatModel(responses=[understood(query, condition, limit)] * 2),
        films,
        "plots of films",
        FIELDS,
        structured_query_translator=MemvidTranslator(),
        enable_limit=True,
        search_type=search_type,
    )
    assert sorted(titles(retriever.invoke("whatever was asked"))) == sorted(expected)
    assert sorted(titles(await retriever.ainvoke("whatever was asked"))) == sorted(expected)


async def test_parent_document(films: MemvidVectorStore) -> None:
    films.delete()
    retriever = ParentDocumentRetriever(
        vectorstore=films,
        docstore=InMemoryStore(),
        child_splitter=CharacterTextSplitter(separator=" ", chunk_size=20, chunk_overlap=0),
    )
    retriever.add_documents(FILMS[:2], ids=["1", "2"])
    await retriever.aadd_documents(FILMS[2:], ids=["3"])
    assert len(films.memory) > len(FILMS)
    assert retriever.invoke("thinking ocean")[0] == FILMS[0]
    assert (await retriever.ainvoke("paperwork"))[0] == FILMS[2]


@pytest.mark.parametrize("search_type", ["similarity", "mmr", "similarity_score_threshold"])
async def test_multi_vector(films: MemvidVectorStore, search_type: Any) -> None:
    films.delete()
    options = {"k": 2, "score_threshold": 0.0} if search_type.endswith("threshold") else {"k": 2}
    retriever = MultiVectorRetriever(
        vectorstore=films, docstore=InMemoryStore(), search_type=search_type, search_kwargs=options
    )
    summaries = [("sea and grief", "1"), ("a walk", "2"), ("office and dreams", "3")]
    films.add_documents([Document(text, metadata={"doc_id": doc_id}) for text, doc_id in summaries])
    retriever.docstore.mset(list(zip("123", FILMS, strict=True)))
    assert titles(retriever.invoke("sea and grief"))[0] == "Solaris"
    assert titles(await retriever.ainvoke("office and dreams"))[0] == "Brazil"


async def test_ensemble(films: MemvidVectorStore) -> None:
    retriever = EnsembleRetriever(
        retrievers=[
            MemvidRetriever(vectorstore=films, retrieval_mode="lexical", k=3),
            films.as_retriever(search_kwargs={"retrieval_mode": "dense", "k": 3}),
        ],
        weights=[0.5, 0.5],
    )
    found = retriever.invoke("the clerk and his paperwork")
    assert titles(found)[0] == "Brazil"
    assert len(found) == len({document.id for document in found}) == 3
    assert titles(await retriever.ainvoke("a forbidden zone"))[0] == "Stalker"


class Newest(BaseDocumentCompressor):
    """The newest film alone."""

    @override
    def compress_documents(self, documents: Any, query: str, callbacks: Any = None) -> list[Document]:
        return sorted(documents, key=lambda document: -document.metadata["year"])[:1]


@pytest.mark.parametrize(
    "base", [lambda store: store.as_retriever(), lambda store: MemvidRetriever(vectorstore=store)], ids=["plain", "own"]
)
async def test_contextual_compression(films: MemvidVectorStore, base: Callable[[MemvidVectorStore], Any]) -> None:
    retriever = ContextualCompressionRetriever(base_compressor=Newest(), base_retriever=base(films))
    assert titles(retriever.invoke("a thinking ocean")) == titles(await retriever.ainvoke("a walk")) == ["Brazil"]
    assert titles(MemvidRetriever(vectorstore=films, reranker=Newest()).invoke("a thinking ocean")) == ["Brazil"]


async def test_a_chain_of_retriever_prompt_and_model(films: MemvidVectorStore) -> None:
    prompts: list[str] = []

    def joined(found: list[Document]) -> str:
        return "\n".join(document.page_content for document in found)

    def noted(prompt: Any) -> Any:
        prompts.append(prompt.to_string())
        return prompt

    chain = (
        {"context": MemvidRetriever(vectorstore=films, k=1) | joined, "question": RunnablePassthrough()}
        | ChatPromptTemplate.from_template("Of this:\n{context}\nanswer: {question}")
        | RunnableLambda(noted)
        | FakeListChatModel(responses=["Solaris.", "Stalker.", "Brazil.", "Solaris."])
        | StrOutputParser()
    )
    assert chain.invoke("Where is the thinking ocean?") == "Solaris."
    assert await chain.ainvoke("What is the forbidden zone?") == "Stalker."
    assert "".join(chain.stream("Who does the paperwork?")) == "Brazil."
    assert "".join([part async for part in chain.astream("Where is the thinking ocean?")]) == "Solaris."
    assert [FILMS[i].page_content in prompt for i, prompt in zip([0, 1, 2, 0], prompts, strict=True)] == [True] * 4
