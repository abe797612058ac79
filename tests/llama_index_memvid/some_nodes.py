"""Nodes for tests, and a short way to ask for them."""

from __future__ import annotations

from typing import Any

from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from pydantic import AnyUrl

from llama_index_memvid import MemvidVectorStore

META = {"page": 3, "tags": ["a", "b"], "nested": {"deep": [1, {"x": None}]}, "score": 0.5, "ok": True, "none": None}


def whole_nodes() -> dict[str, BaseNode]:
    """A node of every kind, by what is special about it."""
    own = RelatedNodeInfo(node_id="doc-1", node_type=ObjectType.DOCUMENT, metadata=dict(META), hash="h" * 64)
    other = RelatedNodeInfo(node_id="n-0", node_type=ObjectType.TEXT, metadata={"else": 1})
    vector = [1.0, 0.5]
    inner = TextNode(id_="inner", text="inside", metadata={"k": 1})
    return {
        "plain": TextNode(id_="plain", text="text", embedding=vector),
        "metadata": TextNode(id_="metadata", text="text", embedding=vector, metadata=META),
        "empty text": TextNode(id_="empty", text="", embedding=vector),
        "text of many scripts": TextNode(id_="🦜\x00'", text="한국어 \x00 naïve 🦜", embedding=vector),
        "relationships": TextNode(
            id_="related",
            text="text",
            embedding=vector,
            metadata=META,
            relationships={
                NodeRelationship.SOURCE: own,
                NodeRelationship.PREVIOUS: other,
                NodeRelationship.NEXT: RelatedNodeInfo(node_id="n-2", node_type="custom"),
                NodeRelationship.PARENT: RelatedNodeInfo(node_id="n-3"),
                NodeRelationship.CHILD: [RelatedNodeInfo(node_id="n-4"), own],
            },
        ),
        "templates": TextNode(
            id_="templates",
            text="text",
            embedding=vector,
            metadata={"a": 1, "b": 2},
            excluded_embed_metadata_keys=["a"],
            excluded_llm_metadata_keys=["b"],
            metadata_template="{key} is {value}",
            metadata_separator="; ",
            text_template="{content} ({metadata_str})",
            start_char_idx=0,
            end_char_idx=4,
            mimetype="text/markdown",
        ),
        "index": IndexNode(id_="index", text="text", embedding=vector, index_id="other", extra_info={"a": 1}),
        "index of a node": IndexNode(id_="index-obj", text="text", embedding=vector, index_id="inner", obj=inner),
        "image": ImageNode(id_="image", text="a cat", embedding=vector, image="aGVsbG8=", text_embedding=[0.5]),
        "image by path": ImageNode(id_="image-path", embedding=vector, image_path="cat.png", metadata={"a": 1}),
        "image by url": ImageNode(id_="image-url", embedding=vector, image_url="https://example.com/cat.png"),
        "document": Document(
            id_="document", text="text", embedding=vector, metadata=META, relationships={NodeRelationship.SOURCE: own}
        ),
        "document without text": Document(id_="bare", embedding=vector),
        "image document": ImageDocument(id_="picture", image=b"hello", embedding=vector),
        "multimodal": Node(
            id_="multimodal",
            embedding=vector,
            text_resource=MediaResource(text="words", mimetype="text/plain"),
            audio_resource=MediaResource(data=b"\x00\x01binary", mimetype="audio/wav"),
            video_resource=MediaResource(url=AnyUrl("https://example.com/film.mp4")),
        ),
    }


def node(node_id: str, embedding: list[float], text: str = "", **metadata: Any) -> TextNode:
    """A node in a line."""
    return TextNode(id_=node_id, text=text or node_id, embedding=embedding, metadata=metadata)


def chunk(node_id: str, embedding: list[float], source: str, **metadata: Any) -> TextNode:
    """A node that comes from a document."""
    made = node(node_id, embedding, **metadata)
    made.relationships = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    return made


def one(key: str, value: Any = None, operator: FilterOperator = FilterOperator.EQ) -> MetadataFilters:
    """A single filter."""
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])


def group(condition: FilterCondition, *filters: Any) -> MetadataFilters:
    """Several filters; ``one`` filters are taken out of their groups."""
    return MetadataFilters(filters=list(filters), condition=condition)


def ids(store: MemvidVectorStore, filters: MetadataFilters | None = None, **query: Any) -> list[str]:
    """The ids that a query finds, best first."""
    query = {"query_embedding": [1.0, 1.0], "similarity_top_k": 100, **query}
    found = store.query(VectorStoreQuery(filters=filters, **query))
    assert found.ids is not None
    assert found.nodes is not None
    assert found.similarities is not None
    assert [one.node_id for one in found.nodes] == found.ids
    assert len(found.similarities) == len(found.ids)
    return found.ids
