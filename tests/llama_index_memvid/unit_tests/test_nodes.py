"""Nodes come back whole, and what they are written as is a good record."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.schema import BaseNode, IndexNode, NodeRelationship, ObjectType, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery

from llama_index_memvid import MemvidVectorStore
from llama_index_memvid.nodes import to_columns, to_node
from memvid_core import InvalidInputError, Memory, MetadataError, Record
from tests.llama_index_memvid.some_nodes import META, node, whole_nodes

WHOLE = whole_nodes()


def through_a_record(one: BaseNode) -> BaseNode:
    ((text,), (metadata,), (node_id,), (vector,)) = to_columns([one])
    memory = Memory.create(":memory:", "given")
    memory.add([text], [metadata], [node_id], [vector])
    return to_node(memory.get(node_id), memory.get_vectors([node_id])[node_id])


@pytest.mark.parametrize("what", WHOLE)
def test_a_node_comes_back_whole(store: MemvidVectorStore, what: str) -> None:
    given_node = WHOLE[what]
    store.add([given_node])
    (found,) = store.get_nodes()
    assert type(found) is type(given_node)
    assert found == given_node
    assert found.hash == given_node.hash
    assert found.relationships == given_node.relationships
    assert found.get_content() == given_node.get_content()
    assert [kind.data for kind in resources(found)] == [kind.data for kind in resources(given_node)]


def resources(one: BaseNode) -> list[Any]:
    names = ("text_resource", "image_resource", "audio_resource", "video_resource")
    return [found for name in names if (found := getattr(one, name, None)) is not None]


def test_all_of_them_at_once_in_the_order_added(store: MemvidVectorStore) -> None:
    store.add(list(WHOLE.values()))
    assert store.get_nodes() == list(WHOLE.values())
    result = store.query(VectorStoreQuery(query_embedding=[1.0, 0.5], similarity_top_k=100))
    assert result.nodes is not None
    without = [one.model_copy(update={"embedding": None}) for one in WHOLE.values()]
    assert list(result.nodes) == without


def test_a_query_brings_embeddings_when_asked(store: MemvidVectorStore) -> None:
    store.add(list(WHOLE.values()))
    for mode in ("default", "mmr", "hybrid", "sparse", "svm"):
        asked: Any = {"query_embedding": [1.0, 0.5], "query_str": "text", "mode": mode, "similarity_top_k": 3}
        result = store.query(VectorStoreQuery(output_fields=["embedding"], **asked))
        assert result.nodes
        assert [one.embedding for one in result.nodes] == [[1.0, 0.5]] * len(result.nodes)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
METADATA = st.dictionaries(TEXTS.filter(lambda key: key != "llama_index"), VALUES, max_size=4)
INFOS = st.builds(
    RelatedNodeInfo,
    node_id=TEXTS,
    node_type=st.none() | st.sampled_from(ObjectType) | st.text(string.ascii_letters),
    metadata=METADATA,
    hash=st.none() | TEXTS,
)
NODES = st.builds(
    TextNode,
    id_=TEXTS,
    text=TEXTS,
    embedding=st.just([0.5, -2.0]),
    metadata=METADATA,
    relationships=st.dictionaries(st.sampled_from(NodeRelationship), INFOS | st.lists(INFOS, max_size=2), max_size=3),
    excluded_embed_metadata_keys=st.lists(TEXTS, max_size=2),
    start_char_idx=st.none() | st.integers(0, 9),
)


@given(NODES)
def test_any_node_comes_back_whole(one: TextNode) -> None:
    assert through_a_record(one) == one


def test_a_node_is_a_copy_of_its_own() -> None:
    store = MemvidVectorStore()
    store.add([WHOLE["relationships"]])
    (found,) = store.get_nodes()
    found.metadata["nested"]["deep"].append("changed")
    assert found.source_node is not None
    found.source_node.metadata["page"] = "changed"
    assert store.get_nodes() == [WHOLE["relationships"]]
    assert WHOLE["relationships"].metadata == META


def test_a_plain_node_is_a_record_with_nothing_added() -> None:
    store = MemvidVectorStore()
    store.add([WHOLE["metadata"]])
    assert store.memory.get("metadata") == Record("metadata", "text", META)


def test_what_belongs_to_a_node_is_under_one_key_and_not_written_twice() -> None:
    store = MemvidVectorStore()
    store.add([WHOLE["relationships"]])
    record = store.memory.get("related")
    assert {key: value for key, value in record.metadata.items() if key != "llama_index"} == META
    source = record.metadata["llama_index"]["relationships"]["source"]
    assert source == {"node_id": "doc-1", "node_type": "4", "metadata": None, "hash": "h" * 64}
    assert [found.id for found in store.memory.select({"llama_index.relationships.source.node_id": "doc-1"})] == [
        "related"
    ]


def test_a_record_of_any_writer_is_a_good_node() -> None:
    memory = Memory.create(":memory:")
    memory.add(["the wing lifts", "the engine hums"], [META, {"llama_index": "mine"}], ["a", "b"])
    store = MemvidVectorStore(memory=memory)
    first, second = store.get_nodes()
    assert (first.node_id, first.get_content(), first.metadata) == ("a", "the wing lifts", META)
    assert type(first) is TextNode
    assert len(first.get_embedding()) == 384
    assert (second.metadata, second.relationships) == ({"llama_index": "mine"}, {})


def test_a_record_without_a_vector_is_a_node_without_embedding() -> None:
    memory = Memory.create(":memory:")
    memory.add(["words alone"], ids=["a"], vectors=[None])
    (found,) = MemvidVectorStore(memory=memory).get_nodes()
    assert found.embedding is None


def test_a_class_that_is_not_known_becomes_a_text_node() -> None:
    class Mine(TextNode):
        extra: int = 0

        @classmethod
        def class_name(cls) -> str:
            return "Mine"

    store = MemvidVectorStore()
    store.add([Mine(id_="a", text="text", extra=3, extra_info={"k": 1}, embedding=[1.0])])
    (found,) = store.get_nodes()
    assert found == TextNode(id_="a", text="text", metadata={"k": 1}, embedding=[1.0])


def test_what_cannot_be_stored_is_refused_whole(store: MemvidVectorStore) -> None:
    good = node("good", [1.0])
    for bad in (
        node("bad", [1.0], llama_index={"class": "TextNode"}),
        node("bad", [1.0], when=object()),
        node("bad", [1.0], big=1 << 70),
        IndexNode(id_="bad", text="x", index_id="i", obj=lambda: None, embedding=[1.0]),
    ):
        with pytest.raises(MetadataError):
            store.add([good, bad])
    with pytest.raises(InvalidInputError, match="node 1 is of type str, not a node"):
        store.add([good, "text"])  # type: ignore[list-item]
    assert store.get_nodes() == []
