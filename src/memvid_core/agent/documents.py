"""Files as resources: each is known by its path and its bytes, and a newer form takes the place of the older."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from memvid_core.agent.memorizing import equal_to
from memvid_core.agent.messages import Conversation, Message
from memvid_core.agent.records import digest, read_resource, resource_id
from memvid_core.agent.results import Memorized
from memvid_core.errors import IngestError, InvalidInputError
from memvid_core.ingest.readers.load import load_chunks

if TYPE_CHECKING:
    from memvid_core.agent.sync_service import SyncMemoryService

__all__ = ["ROLE", "NoTextError", "memorize_file", "read_document_file"]

ROLE: Final = "document"
"""Whose words a file holds: neither the user's nor the assistant's."""


class NoTextError(InvalidInputError):
    """A file holds nothing that could be remembered."""


def read_document_file(path: Path) -> list[Conversation]:
    """Read a document, of any format that ``memvid build`` reads, as passages.

    Raises:
        InvalidInputError: It cannot be read, or has no text.
        MissingExtraError: The extra that its format needs is not installed.
    """
    try:
        chunks = load_chunks(path)
    except IngestError as exc:
        raise InvalidInputError(str(exc)) from exc
    texts = [_with_heading(chunk.text, chunk.metadata) for chunk in chunks]
    messages = [Message(ROLE, text, path.name) for text in texts if text.strip()]
    if not messages:
        raise NoTextError("the document has no text")
    return [Conversation(messages, title=path.name)]


def _with_heading(text: str, metadata: Mapping[str, Any]) -> str:
    """Return a passage with the headings it stands under, unless it begins with the last of them."""
    heading = str(metadata.get("heading") or "")
    last = heading.rpartition(" > ")[2]
    return text if not heading or text.lstrip("# ").startswith(last) else f"{heading}\n{text}"


def memorize_file(
    service: SyncMemoryService,
    path: Path,
    modality: str,
    owner: Mapping[str, Any],
    read: Callable[[Path], list[Conversation]],
) -> Memorized:
    """Memorize a file that is not a conversation. One that is known is not read again: no model is asked twice.

    Args:
        service: The service.
        path: The file.
        modality: What it is.
        owner: A scope without a session: a file outlives the conversation it came up in.
        read: Reads it.

    Raises:
        InvalidInputError: It cannot be read, or holds nothing that could be remembered.
    """
    with path.open("rb") as file:
        identity = f"{path.resolve()}#{hashlib.file_digest(file, 'sha256').hexdigest()}"
    key = resource_id(digest(dict(owner), identity, 0))
    there = service._store.get([key])
    if key in there:
        memorized = service._memorizer.complete([read_resource(there[key])], [], dict(owner))
    else:
        messages = [message for each in read(path) for message in each.messages]
        one = Conversation(messages, identity, path.name)
        memorized = service._memorizer.memorize([one], dict(owner), str(path.resolve()), modality)
    _forget_older(service, memorized, owner)
    return memorized


def _forget_older(service: SyncMemoryService, memorized: Memorized, owner: Mapping[str, Any]) -> None:
    """Forget what was read from the same file before it was changed."""
    new = memorized.resource
    where = {**equal_to(owner), "agent.url": {"$eq": new.url}, "agent.modality": {"$eq": new.modality}}
    older = [record.id for record in service._store.select("resource", where) if record.id != new.id]
    if older:
        service._memorizer.forget(equal_to(owner), older)
