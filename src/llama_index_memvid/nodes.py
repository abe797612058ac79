"""Conversion of nodes to records of the core, and back.

A record's text and metadata are those of the node. Other fields of the node (class, relationships, excluded keys,
positions, images) are stored under the key ``llama_index``. A plain ``TextNode`` does not need that key: a record of
another framework, the core or the command line is a valid node, and a node's record is a valid document.
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

from memvid_core import Hit, InvalidInputError, MetadataError, Record, VectorError

__all__ = ["REF_DOC", "hit_node", "to_columns", "to_node"]

_KEY: Final = "llama_index"
REF_DOC: Final = f"{_KEY}.relationships.source.node_id"
"""The metadata path of the id of a node's source document."""

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
    """Return texts, metadata, ids and vectors of nodes, as ``Memory.add`` takes them.

    Raises:
        InvalidInputError: An item is not a node.
        VectorError: A node has no embedding.
        MetadataError: A node's metadata has the reserved key, or a field of it cannot be stored.
    """
    texts: list[str] = []
    metadata: list[dict[str, Any]] = []
    ids: list[str] = []
    vectors: list[list[float]] = []
    for place, node in enumerate(nodes):
        if not isinstance(node, BaseNode):
            raise InvalidInputError(
                f"node {place} is of type {type(node).__name__}, not a node: wrap its text in a TextNode"
            )
        if node.embedding is None:
            raise VectorError(
                f"node {place} ({node.node_id!r}) has no embedding: add it through an index, or set node.embedding"
            )
        texts.append(_text(node))
        metadata.append(_metadata(node))
        ids.append(node.node_id)
        vectors.append(node.embedding)
    return texts, metadata, ids, vectors


def to_node(record: Record, embedding: Any = None) -> BaseNode:
    """Convert a record to an independent node: changing it does not change the memory.

    Args:
        record: Any record.
        embedding: Its vector (d,), or None for a node without one.
    """
    metadata = dict(record.metadata)
    payload = metadata.pop(_KEY, None)
    if not isinstance(payload, dict) or "class" not in payload:  # another writer uses the same key
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


def hit_node(hit: Hit, embedding: Any = None) -> BaseNode:
    """Convert a hit to a node; its text is the passage of the hit, if that has one, with its place in the document."""
    node = to_node(hit.record, embedding)
    if hit.passage is None:
        return node
    node.set_content(hit.passage.text)
    if isinstance(node, TextNode):
        first = node.start_char_idx or 0
        node.start_char_idx, node.end_char_idx = first + hit.passage.start, first + hit.passage.end
    return node


def _text(node: BaseNode) -> str:
    return node.text if isinstance(node, TextNode) else node.get_content(metadata_mode=MetadataMode.NONE)


def _metadata(node: BaseNode) -> dict[str, Any]:
    """Return the node's metadata, with its other fields under the reserved key."""
    if _KEY in node.metadata:
        raise MetadataError(
            f"node {node.node_id!r}: the metadata key {_KEY!r} is reserved for the other fields of a node"
        )
    if type(node) is TextNode:  # ten times faster than Pydantic, for the most common class
        payload = {name: value for name, default in _DEFAULTS.items() if (value := getattr(node, name)) != default}
    else:
        payload = _dumped(node)
    if node.relationships:
        payload["relationships"] = dict(_packed(node))
    if not payload and type(node) is TextNode:
        return node.metadata
    return {**node.metadata, _KEY: {"class": node.class_name(), **payload}}


def _dumped(node: BaseNode) -> dict[str, Any]:
    """Return the fields in which a node of another class differs from a default one."""
    try:
        payload = node.model_dump(mode="json", exclude=_KEPT_APART, exclude_defaults=True)
    except ValueError as exc:
        raise MetadataError(f"node {node.node_id!r} cannot be stored: {exc}") from exc
    del payload["class_name"]
    for name in _RESOURCES:
        resource = getattr(node, name, None)
        if resource is not None:
            kept = {key: value for key, value in payload[name].items() if value is not None}
            if resource.data is not None:  # Pydantic omits it; it is base64
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
    if info.metadata:  # usually equal to the node's metadata, which is not stored twice
        packed["metadata"] = None if info.metadata == metadata else info.metadata
    if info.hash is not None:
        packed["hash"] = info.hash
    return packed


_KINDS: Final = {kind.name.lower(): kind for kind in NodeRelationship}
_TYPES: Final[dict[Any, ObjectType]] = {str(kind.value): kind for kind in ObjectType}


def _unpacked(packed: dict[str, Any], metadata: dict[str, Any]) -> dict[NodeRelationship, RelatedNodeType]:
    """Build the relationships from their stored form, whose dicts may be changed."""
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
