"""Messages: what was said, read from the forms that people and frameworks keep it in.

A string, ``{"role", "content"}`` dicts, LangChain messages, LlamaIndex ``ChatMessage`` objects and the exports of chat
programs all become :class:`Message`. Objects are recognized by their attributes, so no framework is imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from memvid_core.agent.times import parse_time
from memvid_core.agent.transcripts import read_transcript
from memvid_core.errors import InvalidInputError

__all__ = ["KNOWN_ROLES", "Conversation", "Message", "read_conversations", "read_messages", "role_of"]

_ROLES: Final = {
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "ai", "model", "chatbot", "aimessagechunk"), "assistant"),
    **dict.fromkeys(("tool", "function"), "tool"),
    **dict.fromkeys(("system", "developer"), "system"),
}
KNOWN_ROLES: Final = tuple(dict.fromkeys(_ROLES.values()))
_TIMES: Final = ("created_at", "timestamp", "create_time")


class Message(msgspec.Struct, frozen=True):
    """One thing that was said.

    Attributes:
        role: ``"user"``, ``"assistant"``, ``"tool"`` or ``"system"``.
        text: What was said.
        name: Who said it, if more is known than the role.
        created_at: When it was said, if that is known.

    Example:
        >>> Message("user", "I moved to Turin.", name="Ada").speaker
        'Ada'
    """

    role: str
    text: str
    name: str | None = None
    created_at: datetime | None = None

    @property
    def speaker(self) -> str:
        """The name, or else the role."""
        return self.name or self.role


class Conversation(msgspec.Struct, frozen=True):
    """Messages that belong together, with the id and the title that an export gives them."""

    messages: list[Message]
    id: str | None = None
    title: str | None = None


def role_of(word: str) -> str | None:
    """Return the role that a word of a framework stands for, or None if it names nobody's role.

    Example:
        >>> role_of("human"), role_of("Ada")
        ('user', None)
    """
    return _ROLES.get(word.strip().casefold())


def read_messages(given: Any) -> list[Message]:
    r"""Read one conversation.

    Args:
        given: Text, one message, or a list of messages, in any of the forms that this module names.

    Raises:
        InvalidInputError: It is none of these; the error names the index of the message.

    Example:
        >>> [message.text for message in read_messages([{"role": "user", "content": "Hello"}])]
        ['Hello']
        >>> [message.speaker for message in read_messages("Ada: Are you coming?\nBob: At six.")]
        ['Ada', 'Bob']
    """
    return [message for conversation in read_conversations(given) for message in conversation.messages]


def read_conversations(given: Any) -> list[Conversation]:
    """Read any number of conversations: a ChatGPT or Claude export holds many, everything else is one.

    Raises:
        InvalidInputError: As in :func:`read_messages`; of an export, it names the conversation, too.
    """
    if isinstance(given, str):
        return _read_text(given)
    if isinstance(given, Message):
        return [Conversation([given])]
    if isinstance(given, Mapping):
        return [_read_mapping(given)]
    if isinstance(given, Iterable) and not isinstance(given, bytes) and not _is_message_object(given):
        entries = list(given)
        if any(isinstance(entry, Mapping) and _is_export(entry) for entry in entries):
            return [_read_exported(entry, place) for place, entry in enumerate(entries)]
        return [Conversation(_read_list(entries))]
    return [Conversation([_read_one(given, 0)])]


def _read_text(text: str) -> list[Conversation]:
    text = text.removeprefix("\ufeff")
    if text.lstrip()[:1] in ("[", "{"):
        try:
            value = _read_json(text)
        except (ValueError, RecursionError):
            value = None  # a transcript may begin with a bracket, too
        if isinstance(value, list | dict):
            return read_conversations(value)
    lines = read_transcript(text)
    if lines is None:
        return [Conversation([_message("user", text, None, None)] if text.strip() else [])]
    return [Conversation([_message(line.role, line.text, line.name, line.time) for line in lines])]


def _read_json(text: str) -> Any:
    """Read JSON, or JSON Lines: a message in each line."""
    try:
        return json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(line.lstrip().startswith("{") for line in lines):
            raise
        return [json.loads(line) for line in lines]


def _read_exported(entry: Any, place: int) -> Conversation:
    """Read one of the conversations of an export."""
    if not isinstance(entry, Mapping) or not _is_export(entry):
        has = ", ".join(map(str, entry)) or "nothing" if isinstance(entry, Mapping) else f"{entry!r:.60}"
        raise InvalidInputError(f"conversation {place} must have a mapping or chat_messages; it has {has}")
    try:
        return _read_mapping(entry)
    except InvalidInputError as exc:
        raise InvalidInputError(f"conversation {place}: {exc}") from exc


def _is_export(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("mapping"), Mapping) or isinstance(entry.get("chat_messages"), list)


def _read_mapping(given: Mapping[str, Any]) -> Conversation:
    if isinstance(given.get("mapping"), Mapping):
        return _read_chatgpt(given)
    if isinstance(given.get("chat_messages"), list):
        return _read_claude(given)
    for key in ("messages", "content"):
        if isinstance(given.get(key), list) and "role" not in given:
            return Conversation(_read_list(given[key]))
    return Conversation([_read_one(given, 0)])


def _read_chatgpt(given: Mapping[str, Any]) -> Conversation:
    """Read a conversation of ChatGPT's export: a tree of nodes, of which the branch that was shown last is read."""
    nodes: Mapping[str, Any] = given["mapping"]
    name: Any = given.get("current_node")
    if not isinstance(name, str) or name not in nodes:  # the newest leaf
        name = max(nodes, key=lambda node: _node_time(nodes[node]), default="")
    branch: list[Message] = []
    passed: set[Any] = set()
    while isinstance(name, str) and isinstance(nodes.get(name), Mapping) and name not in passed:
        passed.add(name)
        said = nodes[name].get("message")
        if isinstance(said, Mapping) and isinstance(said.get("author"), Mapping):
            content = said.get("content")
            parts = content.get("parts", content.get("text", "")) if isinstance(content, Mapping) else ""
            time = said.get("create_time")
            role = role_of(str(said["author"].get("role", ""))) or "user"
            branch.append(_message(role, _content_text(parts), None, _exported_time(time, name)))
        name = nodes[name].get("parent")
    told = [message for message in reversed(branch) if message.text.strip()]
    return Conversation(
        told, _text_or_none(given.get("conversation_id") or given.get("id")), _text_or_none(given.get("title"))
    )


def _node_time(node: Any) -> float:
    said = node.get("message") if isinstance(node, Mapping) else None
    time = said.get("create_time") if isinstance(said, Mapping) else None
    return float(time) if isinstance(time, int | float) else 0.0


def _read_claude(given: Mapping[str, Any]) -> Conversation:
    messages = []
    for place, entry in enumerate(given["chat_messages"]):
        if not isinstance(entry, Mapping):
            raise InvalidInputError(f"chat_messages[{place}] must be a dict, not {entry!r:.60}")
        text = _content_text(entry.get("text")) or _content_text(entry.get("content"))
        role = role_of(str(entry.get("sender", ""))) or "user"
        if text.strip():
            messages.append(
                _message(role, text, None, _exported_time(entry.get("created_at"), f"chat_messages[{place}]"))
            )
    return Conversation(messages, _text_or_none(given.get("uuid")), _text_or_none(given.get("name")))


def _exported_time(time: Any, message: str) -> datetime | None:
    return None if time is None else parse_time(time, name=f"the time of {message}")


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _read_list(entries: list[Any]) -> list[Message]:
    return [message for place, entry in enumerate(entries) if (message := _read_one(entry, place)).text.strip()]


def _read_one(entry: Any, place: int) -> Message:
    """Read one message."""
    if isinstance(entry, Message):
        return entry
    if isinstance(entry, str):
        return Message("user", entry)
    if isinstance(entry, tuple) and len(entry) == 2 and all(isinstance(part, str) for part in entry):
        return _message(entry[0], entry[1], None, None)
    if isinstance(entry, Mapping):
        return _read_dict(entry, place)
    if _is_message_object(entry):
        return _read_object(entry)
    raise InvalidInputError(
        f"message {place} must be a str, a dict with role and content, or a chat message, not {entry!r:.60}"
    )


def _read_dict(entry: Mapping[str, Any], place: int) -> Message:
    data = entry.get("data")
    if isinstance(data, Mapping) and isinstance(entry.get("type"), str):  # LangChain's messages as dicts
        entry = {"role": entry["type"], **data}
    role = entry.get("role", entry.get("type", "user" if "content" in entry else None))
    if not isinstance(role, str) or not role.strip():
        raise InvalidInputError(f"message {place} must have a role, such as 'user', not {role!r:.60}")
    if "content" not in entry and not entry.get("tool_calls"):
        raise InvalidInputError(
            f"message {place} must have a content; it has {', '.join(map(str, entry)) or 'nothing'}"
        )
    content = entry.get("content")
    if content is not None and not isinstance(content, str | list | Mapping):
        raise InvalidInputError(f"the content of message {place} must be text or a list of parts, not {content!r:.60}")
    name = entry.get("name")
    if name is not None and not isinstance(name, str):
        raise InvalidInputError(f"the name in message {place} must be a str, not {name!r:.60}")
    given = next((entry[key] for key in _TIMES if entry.get(key) is not None), None)
    time = None if given is None else parse_time(given, name=f"the time of message {place}")
    return _message(role, _content_text(content), name, time)


def _is_message_object(entry: Any) -> bool:
    return hasattr(entry, "content") and (hasattr(entry, "role") or hasattr(entry, "type"))


def _read_object(entry: Any) -> Message:
    """Read a LangChain message (``type`` and ``content``) or a LlamaIndex ChatMessage (``role`` and ``blocks``)."""
    role = getattr(entry, "role", None) or getattr(entry, "type", "user")
    extra = getattr(entry, "additional_kwargs", None)
    given = next((extra[key] for key in _TIMES if extra.get(key) is not None), None) if extra else None
    time = None if given is None else parse_time(given)
    blocks = getattr(entry, "blocks", None)
    content = _content_text(blocks if isinstance(blocks, list) else entry.content)
    name = getattr(entry, "name", None) or (extra or {}).get("name")
    return _message(str(getattr(role, "value", role)), content, name if isinstance(name, str) else None, time)


def _message(role: str, text: str, name: str | None, time: datetime | None) -> Message:
    known = role_of(role)
    who = (name or "").strip() or (None if known else role.strip())
    return Message(known or "user", _valid(text), None if who is None else _valid(who), time)


def _valid(text: str) -> str:
    """Return a text with a sign in the place of each lone surrogate, which is half of a character that was cut."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _content_text(content: Any) -> str:
    """Return the text of a content: text, one part, or a list of parts of which those with a text count."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return next((content[key] for key in ("text", "refusal") if isinstance(content.get(key), str)), "")
    if isinstance(content, list | tuple):
        return "\n".join(text for part in content if (text := _content_text(part)))
    text = getattr(content, "text", "")
    return text if isinstance(text, str) else ""
