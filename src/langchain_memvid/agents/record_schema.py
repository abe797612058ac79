"""The schema of LangGraph records in a memory: ids, the reserved metadata key, and binary values as text.

Each LangGraph record has, under the metadata key ``langgraph``, a dict whose ``kind`` is one of: an item of the store,
another indexed field of an item, a checkpoint, a channel's value, or a pending write. The record's id is the kind and a
JSON list of identifying parts, such as ``item["users","ada","drink"]``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final, Literal

from langchain_memvid.opening import IN_RAM, StrPath, is_path, open_memory
from langchain_memvid.sharing import KIND, META
from memvid_core import InvalidInputError, Memory

__all__ = ["BLOB", "CHECKPOINT", "CREATED", "EXPIRES", "FIELD", "FIELDS", "IN_RAM", "ITEM", "KIND", "META", "WRITE"]
__all__ += ["checked_memory", "from_text", "is_id_of", "memory_of", "meta_of", "parse_id", "record_id", "to_text"]

CREATED, EXPIRES, FIELDS = (f"{META}.{name}" for name in ("created_at", "expires", "fields"))
ITEM, FIELD, CHECKPOINT, BLOB, WRITE = "item", "field", "checkpoint", "blob", "write"

# Each byte is two of these sixteen characters. None is a word character, so a word search never finds a blob. Bytes
# stay aligned, so repetitions remain: a compressed checkpoint is smaller than in base64.
_DIGITS: Final = "!#$%&()*+,-./:;<"
_PAIRS: Final = [high + low for high in _DIGITS for low in _DIGITS]
_BYTES: Final = {ord(digit): f"{value:x}" for value, digit in enumerate(_DIGITS)}


def record_id(kind: str, *parts: str | float) -> str:
    """Return the id of the record of a kind that these parts identify.

    Raises:
        InvalidInputError: A part is neither a text nor a number.

    Example:
        >>> record_id(ITEM, "users", "ada", "drink")
        'item["users","ada","drink"]'
    """
    try:
        return kind + json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidInputError(f"names of threads, checkpoints and tasks are texts: {exc}") from exc


def is_id_of(kind: str, identifier: str) -> bool:
    """Return whether :func:`record_id` made an id for this kind.

    The parts of a split document inherit its metadata but not its id. So LangGraph's records are recognized by metadata
    and id together.
    """
    return identifier.startswith(f"{kind}[")


def parse_id(kind: str, identifier: str) -> list[Any]:
    """Return the parts from which :func:`record_id` made an id."""
    parts: list[Any] = json.loads(identifier[len(kind) :])
    return parts


def to_text(data: bytes | bytearray) -> str:
    """Encode bytes as text without any word characters.

    Example:
        >>> from_text(to_text(b"tea")) == b"tea", to_text(b"tea").isascii()
        (True, True)
    """
    return "".join(map(_PAIRS.__getitem__, data))


def from_text(text: str) -> bytes:
    """Decode the text of :func:`to_text`."""
    return bytes.fromhex(text.translate(_BYTES))


def memory_of(
    memory: Memory | None, path: StrPath, mode: Literal["a", "r"], embedder: object, named: str, **options: Any
) -> Memory:
    """Return the open memory, or open the one at ``path``; in mode ``"a"``, create it if it does not exist.

    Args:
        memory: An open memory, or None.
        path: The MP4 file.
        mode: ``"a"`` to write, ``"r"`` to read.
        embedder: The embedder with which the memory is created or opened.
        named: The name of the caller's embedder argument, for messages.
        options: ``index``, ``metric``, ``index_dir`` and ``timeout``.

    Raises:
        InvalidInputError: Both were given, or ``memory`` is not a Memory.
    """
    if memory is None:
        return open_memory(path, mode, embedder, named=named, **options)
    named_index = options.get("index", "auto") != "auto"
    if path != IN_RAM or named_index or any(options.get(name) is not None for name in ("index_dir", "metric")):
        raise InvalidInputError("give either an open memory or a path: a memory has its own")
    return checked_memory(memory)


def checked_memory(memory: object) -> Memory:
    """Check that an object is an open memory and return it.

    Raises:
        InvalidInputError: It is not a Memory.
    """
    if not isinstance(memory, Memory):
        hint = f': Memory.open({os.fspath(memory)!r}, "a", create=True)' if is_path(memory) else ""  # type: ignore[call-overload]
        raise InvalidInputError(f"memory must be an open Memory, not a value of type {type(memory).__name__}{hint}")
    return memory


def meta_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that the LangGraph adapter stored on a record; empty for other records."""
    noted = metadata.get(META)
    return noted if isinstance(noted, dict) else {}
