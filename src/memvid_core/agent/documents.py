"""Documents as resources: a file is cut into passages, and a newer form of it takes the place of the older."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from memvid_core.agent.memorizing import equal_to
from memvid_core.agent.messages import Conversation, Message
from memvid_core.agent.records import digest, read_resource
from memvid_core.agent.results import Memorized
from memvid_core.errors import IngestError, InvalidInputError
from memvid_core.ingest import load_chunks

if TYPE_CHECKING:
    from memvid_core.agent.sync_service import SyncMemoryService

__all__ = ["ROLE", "as_resource", "forget_older", "memorize_document", "read_document_file"]

ROLE: Final = "document"
"""Whose words a file holds: neither the user's nor the assistant's."""


def as_resource(path: Path, texts: Sequence[str]) -> Conversation:
    """Return the texts of a file as one conversation, which has another id when the texts are others."""
    kept = [text for text in texts if text.strip()]
    messages = [Message(ROLE, text, path.name) for text in kept]
    return Conversation(messages, f"{path.resolve()}#{digest(*kept)}", path.name)


def read_document_file(path: Path) -> list[Conversation]:
    """Read a document, of any format that ``memvid build`` reads.

    Raises:
        InvalidInputError: It cannot be read, or has no text.
    """
    try:
        chunks = load_chunks(path)
    except IngestError as exc:
        raise InvalidInputError(str(exc)) from exc
    if not chunks:
        raise InvalidInputError("the document has no text")
    return [as_resource(path, [_with_heading(chunk.text, chunk.metadata) for chunk in chunks])]


def _with_heading(text: str, metadata: dict[str, Any]) -> str:
    """Return a passage with the headings it stands under, unless it begins with the last of them."""
    heading = str(metadata.get("heading") or "")
    last = heading.rpartition(" > ")[2]
    return text if not heading or text.lstrip("# ").startswith(last) else f"{heading}\n{text}"


def forget_older(service: SyncMemoryService, memorized: Memorized, owner: dict[str, Any]) -> None:
    """Forget the resources that were read from the same file before it was changed."""
    kept = {resource.id for resource in memorized.resources}
    where = {**equal_to(owner), "agent.url": {"$eq": memorized.resource.url}}
    found = [read_resource(record) for record in service._store.select("resource", where)]
    older = [each.id for each in found if each.id not in kept and each.modality == memorized.resource.modality]
    if older:
        service._memorizer.forget(equal_to(owner), older)


def memorize_document(service: SyncMemoryService, path: Path, owner: dict[str, Any]) -> Memorized | None:
    """Memorize a file of notes; None if it has no text."""
    try:
        conversations = read_document_file(path)
    except InvalidInputError as exc:
        if "no text" in str(exc):
            return None
        raise InvalidInputError(f"{path}: {exc}") from exc
    memorized = service._memorizer.memorize(conversations, dict(owner), str(path.resolve()), "document")
    forget_older(service, memorized, owner)
    return memorized
