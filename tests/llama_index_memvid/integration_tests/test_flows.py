"""What people do with LlamaIndex, done on a memory."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import (
    Document,
    MockEmbedding,
    PropertyGraphIndex,
    Settings,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,
)
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.graph_stores.types import EntityNode, Relation
from llama_index.core.indices.property_graph import VectorContextRetriever
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.memory import Memory as ChatMemory
from llama_index.core.memory import VectorMemoryBlock
from llama_index.core.node_parser import HierarchicalNodeParser, SentenceSplitter, get_leaf_nodes
from llama_index.core.objects import ObjectIndex
from llama_index.core.retrievers import (
    AutoMergingRetriever,
    QueryFusionRetriever,
    RecursiveRetriever,
    VectorIndexAutoRetriever,
    VectorIndexRetriever,
)
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import ImageNode, IndexNode, TextNode, TransformComponent
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.tools import FunctionTool
from llama_index.core.vector_stores.types import MetadataInfo, VectorStoreInfo

from llama_index_memvid import MemvidChatStore, MemvidEmbedding, MemvidVectorStore
from tests.llama_index_memvid.some_nodes import one

MODEL = MemvidEmbedding("memvid-hash-v1:128")
TEXTS = {
    "wing": "The wing lifts the aircraft because the air above it moves faster.",
    "engine": "The engine hums and turns the propeller.",
    "tail": "The tail keeps the aircraft from turning by itself.",
}
DOCUMENTS = [Document(doc_id=name, text=text, metadata={"part": name}) for name, text in TEXTS.items()]


class CannedLLM(MockLLM):
    """Says what it was told to say."""

    answer: str = ""

    def complete(self, prompt: Any, formatted: bool = False, **_: Any) -> Any:
        from llama_index.core.llms import CompletionResponse

        return CompletionResponse(text=self.answer)


@pytest.fixture(autouse=True)
def _no_model_from_the_network() -> None:
    Settings.llm, Settings.embed_model = MockLLM(), MODEL


def index_on(store: MemvidVectorStore, documents: list[Document] | None = None, **options: Any) -> VectorStoreIndex:
    context = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex.from_documents(DOCUMENTS if documents is None else documents, context, **options)


def best(retriever: Any, question: str) -> str:
    return str(retriever.retrieve(question)[0].node.metadata["part"])


# --- an index ---


@pytest.mark.parametrize("use_async", [False, True])
def test_from_documents_and_from_vector_store(store: MemvidVectorStore, use_async: bool) -> None:
    index = index_on(store, use_async=use_async)
    for fresh in (index, VectorStoreIndex.from_vector_store(store)):
        retriever = fresh.as_retriever(similarity_top_k=1)
        assert best(retriever, "what lifts an aircraft?") == "wing"
        assert best(retriever, "humming engine") == "engine"
    found = index.as_retriever(similarity_top_k=3).retrieve("aircraft")
    assert [round(one.get_score(), 6) for one in found] == sorted(round(one.get_score(), 6) for one in found)[::-1]
    assert {one.node.ref_doc_id for one in found} == set(TEXTS)


async def test_an_index_is_asked_and_filled_asynchronously(store: MemvidVectorStore) -> None:
    index = VectorStoreIndex.from_vector_store(store)
    for document in DOCUMENTS:
        await index.ainsert(document)
    found = await index.as_retriever(similarity_top_k=1).aretrieve("what lifts an aircraft?")
    assert found[0].node.metadata == {"part": "wing"}
    await index.adelete_ref_doc("wing")
    await index.adelete_nodes([found[0].node_id])
    assert {node.ref_doc_id for node in await store.aget_nodes()} == {"engine", "tail"}


@pytest.mark.parametrize("mode", ["default", "hybrid", "sparse", "text_search", "semantic_hybrid", "mmr", "svm"])
def test_a_query_engine_answers_in_every_mode(store: MemvidVectorStore, mode: str) -> None:
    engine = index_on(store).as_query_engine(vector_store_query_mode=mode, similarity_top_k=2, sparse_top_k=2)
    response = engine.query("what lifts the aircraft?")
    assert TEXTS["wing"] in str(response)
    assert response.source_nodes[0].node.metadata == {"part": "wing"}


@pytest.mark.parametrize("mode", [ChatMode.CONTEXT, ChatMode.CONDENSE_PLUS_CONTEXT])
def test_a_chat_engine_knows_the_documents_and_the_talk(store: MemvidVectorStore, mode: ChatMode) -> None:
    memory = ChatMemory.from_defaults("talk", chat_store=MemvidChatStore(memory=store.memory))
    engine = index_on(store).as_chat_engine(chat_mode=mode, memory=memory, similarity_top_k=1)
    first, second = "what lifts an aircraft?", "are you sure?"
    response = engine.chat(first)
    assert [found.node.metadata for found in response.source_nodes] == [{"part": "wing"}]
    assert first in engine.chat(second).response  # the mock says again what it was asked, and so what went before
    assert [message.role for message in memory.get_all()] == ["user", "assistant"] * 2
    assert [message.content for message in engine.chat_history[::2]] == [first, second]


async def test_a_chat_engine_talks_asynchronously(store: MemvidVectorStore) -> None:
    memory = ChatMemory.from_defaults("talk", chat_store=MemvidChatStore(memory=store.memory))
    engine = index_on(store).as_chat_engine(chat_mode=ChatMode.CONTEXT, memory=memory, similarity_top_k=1)
    response = await engine.achat("what lifts an aircraft?")
    assert [found.node.metadata for found in response.source_nodes] == [{"part": "wing"}]
    assert [message.role for message in await memory.aget_all()] == ["user", "assistant"]


def test_documents_are_updated_refreshed_and_deleted(store: MemvidVectorStore) -> None:
    index = index_on(store)
    index.update_ref_doc(Document(doc_id="wing", text="Feathers make a wing.", metadata={"part": "wing"}))
    assert sorted(node.get_content() for node in store.get_nodes()) == sorted(
        ["Feathers make a wing.", TEXTS["engine"], TEXTS["tail"]]
    )
    index.delete_ref_doc("engine")
    index.insert_nodes([TextNode(text="a loose node")])
    assert {node.ref_doc_id for node in store.get_nodes()} == {"wing", "tail", None}


def test_filters_document_ids_and_options_go_through(store: MemvidVectorStore) -> None:
    index = index_on(store)
    assert best(index.as_retriever(filters=one("part", "tail")), "wing") == "tail"
    assert best(index.as_retriever(doc_ids=["engine"]), "wing") == "engine"
    assert index.as_retriever(doc_ids=["unknown"]).retrieve("wing") == []
    options: dict[str, Any] = {"where": {"part": {"$in": ["tail", "engine"]}}}
    assert len(index.as_retriever(similarity_top_k=5, vector_store_kwargs=options).retrieve("wing")) == 2
    options = {"mmr_threshold": 0.1, "mmr_prefetch_k": 3}
    assert len(index.as_retriever(vector_store_query_mode="mmr", vector_store_kwargs=options).retrieve("wing")) == 2


def test_an_empty_index_finds_nothing(store: MemvidVectorStore) -> None:
    assert VectorStoreIndex.from_vector_store(store).as_retriever().retrieve("anything") == []


def test_the_auto_retriever_asks_with_filters(store: MemvidVectorStore) -> None:
    index = index_on(store)
    info = VectorStoreInfo(
        content_info="parts of an aircraft",
        metadata_info=[MetadataInfo(name="part", type="str", description="which part")],
    )

    def ask(spec: dict[str, Any], **options: Any) -> list[Any]:
        llm = CannedLLM(max_tokens=None)
        llm.answer = f"```json\n{json.dumps(spec)}\n```"
        return VectorIndexAutoRetriever(index, info, llm=llm, **options).retrieve("a question")

    tail = {"key": "part", "value": "tail", "operator": "=="}
    assert [found.node.metadata["part"] for found in ask({"query": "wing", "filters": [tail], "top_k": 5})] == ["tail"]
    nothing = {"key": "part", "value": ["wing", "engine"], "operator": "nin"}
    assert [found.node.metadata["part"] for found in ask({"query": "wing", "filters": [nothing]})] == ["tail"]
    empty = ask({"query": "", "filters": [tail]}, default_empty_query_vector=[0.0] * 128)
    assert [found.node.metadata["part"] for found in empty] == ["tail"]


def test_storage_is_persisted_and_loaded_again(tmp_path: Path) -> None:
    folder, path = tmp_path / "storage", tmp_path / "store.mp4"
    with MemvidVectorStore(path) as store:
        index = index_on(store)
        index.set_index_id("mine")
        index.storage_context.persist(str(folder))
        assert not any("store.mp4" in file.name for file in folder.iterdir())
    with MemvidVectorStore(path) as store:
        context = StorageContext.from_defaults(persist_dir=str(folder), vector_store=store)
        loaded = load_index_from_storage(context, index_id="mine")
        assert best(loaded.as_retriever(similarity_top_k=1), "what lifts an aircraft?") == "wing"


# --- ingestion ---


@pytest.mark.parametrize("strategy", list(DocstoreStrategy))
def test_the_pipeline_keeps_the_store_in_step(store: MemvidVectorStore, strategy: DocstoreStrategy) -> None:
    steps: list[TransformComponent] = [SentenceSplitter(chunk_size=64, chunk_overlap=0), MODEL]
    pipeline = IngestionPipeline(
        transformations=steps, docstore=SimpleDocumentStore(), docstore_strategy=strategy, vector_store=store
    )

    def parts() -> list[str]:
        return sorted(node.get_content() for node in store.get_nodes())

    pipeline.run(documents=[document.model_copy() for document in DOCUMENTS])
    assert parts() == sorted(TEXTS.values())
    assert pipeline.run(documents=[document.model_copy() for document in DOCUMENTS]) == []
    assert parts() == sorted(TEXTS.values())
    changed = Document(doc_id="wing", text="Feathers make a wing.", metadata={"part": "wing"})
    pipeline.run(documents=[changed, DOCUMENTS[1].model_copy()])
    expected = {
        DocstoreStrategy.UPSERTS: [changed.text, TEXTS["engine"], TEXTS["tail"]],
        DocstoreStrategy.UPSERTS_AND_DELETE: [changed.text, TEXTS["engine"]],
        DocstoreStrategy.DUPLICATES_ONLY: [changed.text, *TEXTS.values()],
    }
    assert parts() == sorted(expected[strategy])


async def test_the_pipeline_runs_asynchronously(store: MemvidVectorStore) -> None:
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(), MODEL],
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS,
        vector_store=store,
    )
    for _ in range(2):
        await pipeline.arun(documents=[document.model_copy() for document in DOCUMENTS])
    assert len(store.get_nodes()) == 3


# --- retrievers that go further ---


def test_the_auto_merging_retriever_finds_the_parent(store: MemvidVectorStore) -> None:
    text = " ".join(f"Sentence {i} of the long tale tells of wings and how they lift." for i in range(40))
    nodes = HierarchicalNodeParser.from_defaults(chunk_sizes=[256, 64]).get_nodes_from_documents([Document(text=text)])
    context = StorageContext.from_defaults(vector_store=store, docstore=SimpleDocumentStore())
    context.docstore.add_documents(nodes)
    index = VectorStoreIndex(get_leaf_nodes(nodes), storage_context=context)
    merging = AutoMergingRetriever(VectorIndexRetriever(index, similarity_top_k=30), context, simple_ratio_thresh=0.3)
    found = merging.retrieve("how do wings lift?")
    assert any(one.node.child_nodes for one in found)


def mixed() -> tuple[list[Any], TextNode]:
    details = TextNode(id_="details", text="Lift is half the density times the speed squared times the area.")
    nodes = [
        IndexNode(id_="pointer", text="the formula of lift", index_id="details", extra_info={"part": "formula"}),
        IndexNode(id_="held", text="a table of engines", index_id="table", obj=TextNode(id_="table", text="a table")),
        ImageNode(id_="picture", text="a picture of a tail", image_path="tail.png", metadata={"part": "picture"}),
        TextNode(id_="text", text="the propeller is made of wood", metadata={"part": "propeller"}),
    ]
    return nodes, details


@pytest.mark.parametrize(
    "made",
    [
        lambda index, k: VectorIndexRetriever(index, similarity_top_k=k),
        lambda index, k: VectorStoreIndex.from_vector_store(index.vector_store).as_retriever(similarity_top_k=k),
    ],
    ids=["VectorIndexRetriever", "from_vector_store"],
)
def test_the_recursive_retriever_follows_index_nodes(store: MemvidVectorStore, made: Callable[..., Any]) -> None:
    nodes, details = mixed()
    index = VectorStoreIndex(nodes, storage_context=StorageContext.from_defaults(vector_store=store))
    recursive = RecursiveRetriever("vector", retriever_dict={"vector": made(index, 1)}, node_dict={"details": details})
    assert [one.node for one in recursive.retrieve("formula of lift")] == [details]
    assert recursive.retrieve("what is the propeller made of?")[0].node.node_id == "text"
    assert recursive.retrieve("picture of a tail")[0].node.metadata == {"part": "picture"}
    found = made(index, 4).retrieve("a table of engines")
    assert found[0].node.node_id == "table"  # the retriever itself follows the node that is held
    kinds = {type(node) for node in store.get_nodes()}
    assert kinds == {IndexNode, ImageNode, TextNode}


def test_an_index_that_keeps_its_nodes_asks_about_all_of_them(store: MemvidVectorStore) -> None:
    """Else ``as_retriever()`` restricts a mixed index to image and index nodes, the only ones it has noted."""
    nodes, _ = mixed()
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex(nodes, storage_context=context, store_nodes_override=True)
    assert best(index.as_retriever(similarity_top_k=1), "what is the propeller made of?") == "propeller"


def test_retrievers_are_fused(store: MemvidVectorStore) -> None:
    index = index_on(store)
    modes = ("default", "sparse")
    retrievers = [index.as_retriever(vector_store_query_mode=mode, similarity_top_k=3) for mode in modes]
    fused = QueryFusionRetriever(retrievers, num_queries=1, use_async=False, mode=FUSION_MODES.RECIPROCAL_RANK)
    assert best(fused, "what lifts the aircraft?") == "wing"


def test_tools_are_found_by_what_they_do(store: MemvidVectorStore) -> None:
    def multiply(a: int, b: int) -> int:
        """Multiply two numbers."""
        return a * b

    def weather(city: str) -> str:
        """Tell the weather of a city."""
        return city

    tools = [FunctionTool.from_defaults(multiply), FunctionTool.from_defaults(weather)]
    context = StorageContext.from_defaults(vector_store=store)
    objects = ObjectIndex.from_objects(tools, index_cls=VectorStoreIndex, storage_context=context)
    (found,) = objects.as_retriever(similarity_top_k=1).retrieve("how is the weather in the city?")
    assert found.metadata.name == "weather"


def test_a_property_graph_keeps_its_vectors_there(store: MemvidVectorStore) -> None:
    index = PropertyGraphIndex(nodes=[], vector_store=store, embed_kg_nodes=True, kg_extractors=[])
    wing = EntityNode(name="wing", label="PART", properties={"lifts": "aircraft", "nested": "no"})
    plane = EntityNode(name="aircraft", label="THING")
    for entity in (wing, plane):
        entity.embedding = MODEL.get_text_embedding(str(entity))
    index.property_graph_store.upsert_nodes([wing, plane])
    index.property_graph_store.upsert_relations([Relation(label="LIFTS", source_id=wing.id, target_id=plane.id)])
    index._insert_nodes_to_vector_index([wing, plane])
    retriever = VectorContextRetriever(
        index.property_graph_store, vector_store=store, embed_model=MODEL, include_text=False, similarity_top_k=1
    )
    (found,) = retriever.retrieve("wing")
    assert found.text == "wing -> LIFTS -> aircraft"


# --- memory ---


async def test_vector_memory_block_takes_the_store(store: MemvidVectorStore) -> None:
    block = VectorMemoryBlock(vector_store=store, embed_model=MODEL, retrieval_context_window=2, similarity_top_k=8)
    memory = ChatMemory.from_defaults(
        "s", token_limit=60, token_flush_size=10, memory_blocks=[block], chat_store=MemvidChatStore()
    )
    await memory.aput(ChatMessage("My cat is called Ada."))
    for i in range(8):
        await memory.aput(ChatMessage(role="assistant", content=f"Number {i} is noted, and so are all others."))
        await memory.aput(ChatMessage(f"Now take down number {i + 1}, will you?"))
    assert all(node.metadata == {"session_id": "s"} for node in store.get_nodes())
    assert "Ada" in str((await memory.aget(input="What is the name of my cat?"))[0].content)


def test_any_embedding_model_will_do(store: MemvidVectorStore) -> None:
    index = index_on(store, embed_model=MockEmbedding(embed_dim=3))
    assert len(index.as_retriever(similarity_top_k=5).retrieve("anything")) == 3


def test_what_one_process_indexed_another_asks(tmp_path: Path) -> None:
    path = tmp_path / "store.mp4"
    with MemvidVectorStore(path) as store:
        index_on(store)
    code = f"""
        from llama_index.core import VectorStoreIndex
        from llama_index_memvid import MemvidEmbedding, MemvidVectorStore
        with MemvidVectorStore({str(path)!r}, mode="r") as store:
            index = VectorStoreIndex.from_vector_store(store, embed_model=MemvidEmbedding("memvid-hash-v1:128"))
            print(index.as_retriever(similarity_top_k=1).retrieve("what lifts an aircraft?")[0].node.metadata["part"])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("wing", 0), done.stderr
