"""Conversion of chat messages to records of the core, and back."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatMessage, TextBlock

from memvid_core import MetadataError

__all__ = ["message_of", "text_of", "what_else"]


def text_of(message: ChatMessage) -> str:
    """Return the text of a message: its text blocks, one per line."""
    return "\n".join(block.text for block in message.blocks if isinstance(block, TextBlock))


def what_else(message: ChatMessage) -> dict[str, Any]:
    """Return the fields of a message other than its role and a single text, as plain values; usually empty.

    Raises:
        MetadataError: A field cannot be stored.
    """
    plain = len(message.blocks) == 1 and type(message.blocks[0]) is TextBlock
    wanted = ({"additional_kwargs"} if message.additional_kwargs else set()) | (set() if plain else {"blocks"})
    try:
        return message.model_dump(mode="json", include=wanted) if wanted else {}
    except ValueError as exc:
        raise MetadataError(f"the message {message!s:.60} cannot be stored: {exc}") from exc


def message_of(role: str, text: str, rest: dict[str, Any]) -> ChatMessage:
    """Build a message from the parts that :func:`text_of` and :func:`what_else` returned."""
    return ChatMessage.model_validate({"role": role, "blocks": [{"block_type": "text", "text": text}], **rest})
