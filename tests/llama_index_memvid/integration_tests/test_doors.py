"""One file, three doors: what one framework, the core or the command line wrote, the others read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import FilterOperator, VectorStoreQuery, VectorStoreQueryMode

from langchain_memvid import MemvidEmbeddings
from langchain_memvid import MemvidVectorStore as LangChainStore
from langchain_memvid.agents import MemvidStore, create_memory_tools
from llama_index_memvid import MemvidEmbedding
from llama_index_memvid import MemvidVectorStore as LlamaIndexStore
from memvid_core import Memory
from tests.llama_index_memvid.some_nodes import META, one

WING, ENGINE, TAIL = "The wing lifts the aircraft.", "The engine hums.", "The tail steers."
MODEL = MemvidEmbedding()


def embedded(node_id: str, text: str, metadata: dict[str, Any], **fields: Any) -> TextNode:
    vector = MODEL.get_text_embedding(text)
    return TextNode(id_=node_id, text=text, metadata=metadata, embedding=vector, **fields)


def test_a_document_of_langchain_is_a_good_node(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    with LangChainStore(path=path) as written:
        written.add_documents([Document(WING, id="wing", metadata=META), Document(ENGINE, id="engine")])
    with LlamaIndexStore(path) as store:
        (node,) = store.get_nodes(["wing"])
        assert (type(node), node.node_id, node.get_content(), node.metadata) == (TextNode, "wing", WING, META)
        index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
        for mode in ("default", "hybrid", "sparse", "mmr"):
            retriever = index.as_retriever(vector_store_query_mode=mode, similarity_top_k=1)
            assert retriever.retrieve("a wing that lifts")[0].node.node_id == "wing"
        assert index.as_retriever(filters=one("page", 3)).retrieve("engine")[0].node.node_id == "wing"
        store.delete_nodes(["engine"])
    with LangChainStore(path=path) as written:
        assert list(written.store) == ["wing"]


def test_a_node_is_a_good_document_and_a_good_record(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="file", metadata=META, hash="h")}
    with LlamaIndexStore(path) as written:
        written.add([embedded("wing", WING, META), embedded("engine", ENGINE, META, relationships=source)])
    with LangChainStore(MemvidEmbeddings(), path=path) as store:
        plain, chunk = store.get_by_ids(["wing", "engine"])
        assert plain == Document(WING, id="wing", metadata=META)
        assert (chunk.id, chunk.page_content) == ("engine", ENGINE)
        assert {key: value for key, value in chunk.metadata.items() if key != "llama_index"} == META
        for mode in ("dense", "hybrid", "lexical"):
            (found,) = store.similarity_search("a wing that lifts", k=1, retrieval_mode=mode)
            assert found.id == "wing"
        assert [found.id for found in store.similarity_search("x y", filter={"page": 3})] == ["wing", "engine"]
        store.add_documents([Document(TAIL, id="tail", metadata={"page": 4})])
    with Memory.open(path) as memory:
        assert [record.text for record in memory] == [WING, ENGINE, TAIL]
        assert memory.get("wing").metadata == META
        assert [hit.id for hit in memory.search("hums", mode="lexical")] == ["engine"]
    with LlamaIndexStore(path) as written:
        assert [node.ref_doc_id for node in written.get_nodes()] == [None, "file", None]
        assert written.get_nodes(["engine"])[0].relationships == source


def test_a_node_that_went_through_langchain_is_still_whole(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    node = embedded("a", WING, META, relationships={NodeRelationship.NEXT: RelatedNodeInfo(node_id="b")})
    with LlamaIndexStore(path, vector_dtype="float64") as written:
        written.add([node])
    with LangChainStore(MemvidEmbeddings(), path=path) as store:
        store.dump(tmp_path / "copy.mp4")
    with LlamaIndexStore(tmp_path / "copy.mp4") as copied:
        assert copied.get_nodes() == [node]


def test_a_record_of_the_core_and_of_the_command_line_is_both(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    with Memory.create(path) as memory:
        memory.add([WING, ENGINE], [META, None], ["wing", "engine"])
    with LangChainStore(path=path, mode="r") as documents, LlamaIndexStore(path, mode="r") as nodes:
        assert documents.get_by_ids(["wing"]) == [Document(WING, id="wing", metadata=META)]
        (node,) = nodes.get_nodes(["wing"])
        assert (node.node_id, node.get_content(), node.metadata) == ("wing", WING, META)
        query = VectorStoreQuery(query_str="a lifting wing", mode=VectorStoreQueryMode.HYBRID)
        assert nodes.query(query).ids == [documents.similarity_search("a lifting wing", k=1)[0].id] == ["wing"]


def test_all_three_add_to_one_file_and_all_three_find_all(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    with LangChainStore(path=path) as documents:
        documents.add_documents([Document(WING, id="wing", metadata={"by": "langchain"})])
    with LlamaIndexStore(path) as nodes:
        model = nodes.embed_model
        assert model is not None
        index = VectorStoreIndex.from_vector_store(nodes, embed_model=model)
        index.insert_nodes([TextNode(id_="engine", text=ENGINE, metadata={"by": "llama-index"})])
    with Memory.open(path, "a") as memory:
        memory.add([TAIL], [{"by": "core"}], ["tail"])
    asked = {"wing": "what lifts the aircraft?", "engine": "what hums?", "tail": "what steers?"}
    with (
        LangChainStore(path=path, mode="r") as documents,
        LlamaIndexStore(path, mode="r") as nodes,
        Memory.open(path) as memory,
    ):
        retriever = VectorStoreIndex.from_vector_store(nodes, embed_model=nodes.embed_model).as_retriever(
            similarity_top_k=1
        )
        for name, question in asked.items():
            assert documents.similarity_search(question, k=1)[0].id == name
            assert retriever.retrieve(question)[0].node.node_id == name
            assert memory.search(question, k=1)[0].id == name
        everything = [(record.id, record.text, record.metadata) for record in memory]
        assert [(n.node_id, n.get_content(), n.metadata) for n in nodes.get_nodes()] == everything
        found = documents.get_by_ids([record_id for record_id, _, _ in everything])
        assert [(d.id, d.page_content, d.metadata) for d in found] == everything
        assert json.loads(json.dumps(everything)) == [list(entry) for entry in everything]


def test_an_agent_s_facts_are_good_documents_and_nodes_and_the_other_way_round(tmp_path: Path) -> None:
    path = tmp_path / "agent.mp4"
    fact = {"text": "Ada drinks tea.", "sure": True, "nested": {"since": [2019]}}
    with MemvidStore(path, index={"fields": ["text"]}) as written:
        written.put(("users", "ada"), "drink", fact)
        item = written.get(("users", "ada"), "drink")
    name = 'item["users","ada","drink"]'
    with LangChainStore(path=path) as documents:
        (document,) = documents.similarity_search("what does Ada drink?", k=1, filter={"sure": True})
        assert (document.id, document.page_content) == (name, "Ada drinks tea.")
        assert {key: value for key, value in document.metadata.items() if key != "langgraph"} == fact
        documents.add_documents([Document(WING, id="wing", metadata={"sure": True})])
    with LlamaIndexStore(path) as nodes:
        index = VectorStoreIndex.from_vector_store(nodes, embed_model=nodes.embed_model)
        found = index.as_retriever(similarity_top_k=1, filters=one("nested.since", 2019, FilterOperator.CONTAINS))
        node = found.retrieve("what does Ada drink?")[0].node
        assert (node.node_id, node.get_content(), node.metadata) == (name, "Ada drinks tea.", document.metadata)
        index.insert_nodes([node, TextNode(id_="engine", text=ENGINE)])  # written again as it was read
    with Memory.open(path, "a") as memory:
        search = create_memory_tools(memory)[1]
        for question, answer in (("what lifts?", WING), ("what hums?", ENGINE), ("Ada's tea", "Ada drinks tea.")):
            assert answer in search.invoke({"query": question, "k": 1})
        agent = MemvidStore(memory=memory, index={"fields": ["text"]})
        assert agent.search(()) == [item]
        assert [found.key for found in agent.search((), query="what lifts?")] == ["drink"]
        agent.delete(("users", "ada"), "drink")
        assert [record.id for record in memory] == ["wing", "engine"]
