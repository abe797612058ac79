"""What LangGraph's things are called in a memory: ids, the one metadata key of ours, and binary values as text.

Each record of LangGraph's has, under the metadata key ``langgraph``, a dict whose ``kind`` says what it is: an item of
the store, another indexed field of an item, a checkpoint, a channel's value, or a pending write. Its id is the kind and
a JSON list of what identifies it, such as ``item["users","ada","drink"]``.
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

# Two of these sixteen characters stand for a byte. None is part of a word, so no blob ever turns up in a search by
# words; and bytes stay aligned, so repetitions stay repetitions: compressed, a checkpoint is smaller than in base64.
_DIGITS: Final = "!#$%&()*+,-./:;<"
_PAIRS: Final = [high + low for high in _DIGITS for low in _DIGITS]
_BYTES: Final = {ord(digit): f"{value:x}" for value, digit in enumerate(_DIGITS)}


def record_id(kind: str, *parts: str | float) -> str:
    """The id of the record of a kind that these parts identify.

    Example:
        >>> record_id(ITEM, "users", "ada", "drink")
        'item["users","ada","drink"]'
    """
    return kind + json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def is_id_of(kind: str, identifier: str) -> bool:
    """Whether :func:`record_id` made it for this kind.

    Metadata goes along with what is made of a record, such as the parts of a split document, and its id does not: only
    both together say that a record is LangGraph's.
    """
    return identifier.startswith(f"{kind}[")


def parse_id(kind: str, identifier: str) -> list[Any]:
    """The parts that :func:`record_id` was given."""
    parts: list[Any] = json.loads(identifier[len(kind) :])
    return parts


def to_text(data: bytes | bytearray) -> str:
    """Bytes as a text that holds no word.

    Example:
        >>> from_text(to_text(b"tea")) == b"tea", to_text(b"tea").isascii()
        (True, True)
    """
    return "".join(map(_PAIRS.__getitem__, data))


def from_text(text: str) -> bytes:
    """The bytes that :func:`to_text` was given."""
    return bytes.fromhex(text.translate(_BYTES))


def memory_of(
    memory: Memory | None, path: StrPath, mode: Literal["a", "r"], embedder: object, named: str, **options: Any
) -> Memory:
    """The memory that was given, or the one at ``path``, created if it is to be written and is not there.

    Args:
        memory: An open memory, or None.
        path: The MP4 file.
        mode: ``"a"`` to write, ``"r"`` to read.
        embedder: What a new memory is made with, and an existing one opened with.
        named: How the caller is given an embedder, for messages.
        options: ``index``, ``metric``, ``index_dir`` and ``timeout``.

    Raises:
        InvalidInputError: Both were given, or ``memory`` is none.
    """
    if memory is None:
        return open_memory(path, mode, embedder, named=named, **options)
    named_index = options.get("index", "auto") != "auto"
    if path != IN_RAM or named_index or any(options.get(name) is not None for name in ("index_dir", "metric")):
        raise InvalidInputError("give an open memory, or a path: the memory has its own")
    return checked_memory(memory)


def checked_memory(memory: object) -> Memory:
    """The memory, if it is one.

    Raises:
        InvalidInputError: It is none.
    """
    if not isinstance(memory, Memory):
        hint = f': Memory.open({os.fspath(memory)!r}, "a", create=True)' if is_path(memory) else ""  # type: ignore[call-overload]
        raise InvalidInputError(f"memory is an open Memory, not a value of type {type(memory).__name__}{hint}")
    return memory


def meta_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What LangGraph's adapter noted on a record; empty for anyone else's."""
    noted = metadata.get(META)
    return noted if isinstance(noted, dict) else {}
