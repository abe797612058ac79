"""Nodes as records of the core, and records as nodes.

A record's text is the node's text and its metadata the node's metadata; what else a node has (class, relationships,
excluded keys, positions, images) goes under the one key ``llama_index``. A plain ``TextNode`` needs no such key, so a
record that another framework, the core or the command line wrote is a good node, and a node's record a good document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    RelatedNodeType,
    TextNode,
)

from memvid_core import InvalidInputError, MetadataError, Record, VectorError

__all__ = ["REF_DOC", "to_columns", "to_node"]

_KEY: Final = "llama_index"
REF_DOC: Final = f"{_KEY}.relationships.source.node_id"
"""Where a filter finds the id of the document that a node comes from."""

_CLASSES: Final[dict[str, type[BaseNode]]] = {
    cls.class_name(): cls for cls in (TextNode, ImageNode, IndexNode, Node, Document, ImageDocument)
}
_KEPT_APART: Final = {"id_", "embedding", "metadata", "text", "relationships"}
_DEFAULTS: Final = {
    name: field.get_default(call_default_factory=True)
    for name, field in TextNode.model_fields.items()
    if name not in _KEPT_APART
}
_RESOURCES: Final = ("text_resource", "image_resource", "audio_resource", "video_resource")

Columns = tuple[list[str], list[dict[str, Any]], list[str], list[list[float]]]


def to_columns(nodes: Sequence[BaseNode]) -> Columns:
    """Texts, metadata, ids and vectors of nodes, as ``Memory.add`` takes them.

    Raises:
        InvalidInputError: Something is no node.
        VectorError: A node has no embedding.
        MetadataError: A node's metadata has the reserved key, or its object cannot be stored.
    """
    texts: list[str] = []
    metadata: list[dict[str, Any]] = []
    ids: list[str] = []
    vectors: list[list[float]] = []
    for place, node in enumerate(nodes):
        if not isinstance(node, BaseNode):
            raise InvalidInputError(
                f"node {place} is of type {type(node).__name__}, not a node: put its text into a TextNode"
            )
        if node.embedding is None:
            raise VectorError(
                f"node {place} ({node.node_id!r}) has no embedding: add it through an index, or set its embedding first"
            )
        texts.append(_text(node))
        metadata.append(_metadata(node))
        ids.append(node.node_id)
        vectors.append(node.embedding)
    return texts, metadata, ids, vectors


def to_node(record: Record, embedding: Any = None) -> BaseNode:
    """The record as a node of its own: changing it changes nothing in the memory.

    Args:
        record: Any record.
        embedding: Its vector (d,), where it is wanted.
    """
    metadata = dict(record.metadata)
    payload = metadata.pop(_KEY, None)
    if not isinstance(payload, dict) or "class" not in payload:  # another writer's own key of that name
        metadata, payload = record.metadata, {"class": "TextNode"}
    fields: dict[str, Any] = {**payload, "id_": record.id, "metadata": metadata}
    cls = _CLASSES.get(fields.pop("class"), TextNode)
    if embedding is not None:
        fields["embedding"] = embedding.tolist()
    if "relationships" in fields:
        fields["relationships"] = _unpacked(fields["relationships"], metadata)
    if issubclass(cls, TextNode):
        return cls.from_dict(fields, text=record.text) if cls is IndexNode else cls(text=record.text, **fields)
    if "text_resource" in fields:
        fields["text_resource"]["text"] = record.text
    return cls(**fields)


def _text(node: BaseNode) -> str:
    return node.text if isinstance(node, TextNode) else node.get_content(metadata_mode=MetadataMode.NONE)


def _metadata(node: BaseNode) -> dict[str, Any]:
    """The node's metadata, with what else it has under the reserved key."""
    if _KEY in node.metadata:
        raise MetadataError(f"node {node.node_id!r}: the metadata key {_KEY!r} is reserved for what else a node has")
    if type(node) is TextNode:  # ten times as fast as Pydantic, and nearly all there is
        payload = {name: value for name, default in _DEFAULTS.items() if (value := getattr(node, name)) != default}
    else:
        payload = _dumped(node)
    if node.relationships:
        payload["relationships"] = dict(_packed(node))
    if not payload and type(node) is TextNode:
        return node.metadata
    return {**node.metadata, _KEY: {"class": node.class_name(), **payload}}


def _dumped(node: BaseNode) -> dict[str, Any]:
    """What a node of another class has beyond a default one."""
    try:
        payload = node.model_dump(mode="json", exclude=_KEPT_APART, exclude_defaults=True)
    except ValueError as exc:
        raise MetadataError(f"node {node.node_id!r} cannot be stored: {exc}") from exc
    del payload["class_name"]
    for name in _RESOURCES:
        resource = getattr(node, name, None)
        if resource is not None:
            kept = {key: value for key, value in payload[name].items() if value is not None}
            if resource.data is not None:  # Pydantic leaves it out; it is base64
                kept["data"] = resource.data.decode("ascii")
            payload[name] = kept
    if isinstance(node, Node) and node.text_resource is not None:
        del payload["text_resource"]["text"]
    return payload


def _packed(node: BaseNode) -> Iterator[tuple[str, Any]]:
    for kind, related in node.relationships.items():
        infos = related if isinstance(related, list) else [related]
        packed = [_packed_info(info, node.metadata) for info in infos]
        yield kind.name.lower(), packed if isinstance(related, list) else packed[0]


def _packed_info(info: RelatedNodeInfo, metadata: dict[str, Any]) -> dict[str, Any]:
    packed: dict[str, Any] = {"node_id": info.node_id}
    if info.node_type is not None:
        kind = info.node_type
        packed["node_type"] = str(kind.value) if isinstance(kind, ObjectType) else kind
    if info.metadata:  # nearly always the node's own, which is not written twice
        packed["metadata"] = None if info.metadata == metadata else info.metadata
    if info.hash is not None:
        packed["hash"] = info.hash
    return packed


_KINDS: Final = {kind.name.lower(): kind for kind in NodeRelationship}
_TYPES: Final[dict[Any, ObjectType]] = {str(kind.value): kind for kind in ObjectType}


def _unpacked(packed: dict[str, Any], metadata: dict[str, Any]) -> dict[NodeRelationship, RelatedNodeType]:
    """The relationships, made of what was read: those dicts are nobody else's."""
    return {
        _KINDS[name]: [_unpacked_info(info, metadata) for info in related]
        if type(related) is list
        else _unpacked_info(related, metadata)
        for name, related in packed.items()
    }


def _unpacked_info(packed: dict[str, Any], metadata: dict[str, Any]) -> RelatedNodeInfo:
    kind = packed.get("node_type")
    if kind in _TYPES:
        packed["node_type"] = _TYPES[kind]
    if "metadata" in packed and packed["metadata"] is None:
        packed["metadata"] = dict(metadata)
    return RelatedNodeInfo(**packed)
