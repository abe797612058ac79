"""Conversations into turns: a call adds to a session only the turns that it lacks."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from memvid_core.agent.messages import Conversation, Message
from memvid_core.agent.records import (
    Resource,
    Turn,
    changed,
    digest,
    forgotten_ids,
    read_forgotten,
    read_resource,
    read_turn,
    resource_draft,
    resource_id,
    turn_draft,
    turn_id,
)
from memvid_core.agent.store import Changes, Store
from memvid_core.agent.time_words import time_spoken_of
from memvid_core.agent.times import isoformat
from memvid_core.agent.trust import is_blank, without_recalled
from memvid_core.errors import InvalidInputError

__all__ = ["ROLES", "Added", "Conversations", "mark_of"]

ROLES: Final = ("user", "assistant")
"""Whose messages are remembered unless a call says otherwise: neither instructions nor the output of tools."""

_KNOWN_SESSIONS: Final = 256
_ALIKE: Final = 16
"""How many conversations without an id may begin alike and still grow; of later ones, each is told apart as a whole."""


class Added(NamedTuple):
    """What a conversation left behind: its resource, and the turns of it that are new."""

    resource: Resource
    turns: list[Turn]


class Conversations:
    """Adds conversations.

    A session is one conversation of one scope. Its key is made from the scope, its ``session_id`` among it; without
    one, from its first message. A turn's id is the key and the turn's position. So a call that is repeated finds its
    turns there, and a longer form of the same conversation adds only what is new.

    Args:
        store: Where the records are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[tuple[str, str], list[str]] = OrderedDict()

    @staticmethod
    def remembered(conversation: Conversation, roles: Sequence[str] = ROLES) -> list[Message]:
        """Return the messages of a conversation that can be remembered, as they would be."""
        return [cleaned for message in conversation.messages if (cleaned := _kept(message, roles))]

    def add(
        self,
        conversation: Conversation,
        scope: Mapping[str, Any],
        now: datetime,
        *,
        roles: Sequence[str] = ROLES,
        url: str | None = None,
        modality: str = "conversation",
    ) -> Added:
        """Add what is new of a conversation, as one commit.

        Args:
            conversation: What was said.
            scope: A whole scope.
            now: When messages that carry no time were said.
            roles: Whose messages to remember.
            url: Where the conversation was read from.
            modality: What it was read from.

        Raises:
            InvalidInputError: No message can be remembered.
        """
        said = self.remembered(conversation, roles)
        if not said:
            raise InvalidInputError(f"no message of {' or '.join(roles)} with a text")
        added: Added = self._store.write(lambda: self._plan(said, conversation, scope, now, url, modality))
        return added

    def _plan(
        self,
        said: Sequence[Message],
        conversation: Conversation,
        scope: Mapping[str, Any],
        now: datetime,
        url: str | None,
        modality: str,
    ) -> Changes:
        marks = [_mark(message) for message in said]
        session, known, new_from = self._place(conversation, scope, marks)
        resource = known or Resource(
            id=resource_id(session),
            url=url,
            modality=modality,
            title=conversation.title,
            turns=0,
            created_at=isoformat(said[0].created_at or now),
            born=secrets.token_hex(4),
            scope=dict(scope),
        )
        if new_from == len(said):
            return Changes([], result=Added(resource, []))
        times = _times(said, now)[new_from:]
        turns = [
            _turn(session, resource.turns + place, message, when, scope)
            for place, (message, when) in enumerate(zip(said[new_from:], times, strict=True))
        ]
        grown = changed(resource, turns=resource.turns + len(turns))
        drafts = [turn_draft(turn, when) for turn, when in zip(turns, times, strict=True)]
        return Changes([resource_draft(grown), *drafts], result=Added(grown, turns))

    def _place(
        self, conversation: Conversation, scope: Mapping[str, Any], marks: Sequence[str]
    ) -> tuple[str, Resource | None, int]:
        """Return the session's key, its resource if it is there, and the first message that is new."""
        named = scope.get("session_id", conversation.id)
        begins = ["first", marks[0]] if named is None else [named]
        for attempt in range(_ALIKE):
            session = digest(dict(scope), *begins, attempt)
            resource = self._resource(session)
            if resource is None:
                return session, None, 0
            there = self._marks(session, resource)
            if named is not None:
                return session, resource, _first_new(there, marks)
            if _begin_alike(there, marks):
                return session, resource, min(len(there), len(marks))
        session = digest(dict(scope), "all", *marks)
        resource = self._resource(session)
        return session, resource, 0 if resource is None else len(marks)

    def _resource(self, session: str) -> Resource | None:
        record = self._store.get([resource_id(session)]).get(resource_id(session))
        return None if record is None else read_resource(record)

    def _marks(self, session: str, resource: Resource) -> list[str]:
        """Return the marks of a session's turns, those of forgotten ones from its resource; only new ones are read."""
        marks = self._known.pop((session, resource.born), [])[: resource.turns]
        ids = [turn_id(session, place) for place in range(len(marks), resource.turns)]
        found = self._store.get(ids)
        forgotten = self._forgotten(resource) if len(found) < len(ids) else {}
        for each in ids:
            gone = forgotten.get(each.rpartition("-")[2], "")
            marks.append(mark_of(read_turn(found[each])) if each in found else gone)
        self._known[session, resource.born] = marks
        if len(self._known) > _KNOWN_SESSIONS:
            self._known.popitem(last=False)
        return list(marks)

    def _forgotten(self, resource: Resource) -> dict[str, str]:
        """Return the marks of a session's turns that were forgotten, by position."""
        marks = dict(resource.forgotten)
        for record in self._store.get(forgotten_ids(resource)).values():
            marks |= read_forgotten(record)
        return marks


def _kept(message: Message, roles: Sequence[str]) -> Message | None:
    """Return a message as it is remembered: without recalled memory in it; None if nothing is left."""
    text = without_recalled(message.text)
    if message.role not in roles or is_blank(text):
        return None
    return message if text is message.text else Message(message.role, text, message.name, message.created_at)


def _mark(message: Message) -> str:
    """Return what tells a message from others: role, name, text, and the time if the message carries one."""
    time = None if message.created_at is None else isoformat(message.created_at)
    return digest(message.role, message.speaker, message.text, time)


def mark_of(turn: Turn) -> str:
    """Return the mark of the message that a turn was made from."""
    return digest(turn.role, turn.who, turn.text, turn.created_at if turn.dated else None)


def _begin_alike(there: Sequence[str], marks: Sequence[str]) -> bool:
    return all(old == new for old, new in zip(there, marks, strict=False))


def _first_new(there: list[str], marks: Sequence[str]) -> int:
    """Return how many of the messages a session already holds.

    A call gives the whole conversation, a part of it, its last messages and new ones, or only new ones.
    """
    given, count = list(marks), len(marks)
    if there and _begin_alike(there, given):
        return min(len(there), count)
    if any(there[start : start + count] == given for start in range(len(there) - count + 1)):
        return count
    return next((n for n in range(min(len(there), count), 0, -1) if there[-n:] == given[:n]), 0)


def _times(said: Sequence[Message], now: datetime) -> list[datetime]:
    """Return when each message was said; one without a time was said with the one before it."""
    times: list[datetime] = []
    first = next((message.created_at for message in said if message.created_at is not None), now)
    for message in said:
        times.append(message.created_at or (times[-1] if times else first))
    return times


def _turn(session: str, position: int, message: Message, when: datetime, scope: Mapping[str, Any]) -> Turn:
    return Turn(
        id=turn_id(session, position),
        session=session,
        position=position,
        role=message.role,
        who=message.speaker,
        text=message.text,
        created_at=isoformat(when),
        happened_at=time_spoken_of(message.text, when),
        dated=message.created_at is not None,
        scope=dict(scope),
    )
