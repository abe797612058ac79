"""Variations of chats: other names, none, no times, one session or many, short lines and long answers between."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from benchmarks.agent_memory.chats import Chat
from memvid_core.agent.messages import Message

__all__ = ["variations"]

Session = list[tuple[int | None, Message]]
"""Messages with their places in the chat; none for what is put between them."""
THIRD: Final = 3
"""Of how many questions one is asked, where they are many."""
MANY: Final = 100
_SHORT: Final = (
    "ok",
    "lol",
    "haha",
    "yes",
    "👍",
    "sure",
    "nice",
    "same",
    "?",
    "brb",
    "hm",
    "no way",
    "true",
    "ㅋㅋ",
    "응",
)
_CODE: Final = "\n\n```python\n{}\n```\n\nLet me know whether that helps!".format(
    "\n".join(f"def step_{n}(value, limit={n}):\n    return [x for x in range(value) if x % limit]" for n in range(14))
)


def variations(sets: Mapping[str, Sequence[Chat]]) -> dict[str, list[Chat]]:
    """Return variations of the chats of each set, by the names of both; of many questions, with a third.

    Two chats of BEAM have 36 questions: with so few, two of them are five points.
    """
    found: dict[str, list[Chat]] = {}
    for name, chats in sets.items():
        asked = [
            chat._replace(questions=chat.questions[:: THIRD if len(chat.questions) > MANY else 1]) for chat in chats
        ]
        for kind, change in _CHANGES.items():
            found[f"{name}, {kind}"] = [change(chat) for chat in asked]
    return found


def _rebuilt(chat: Chat, change: Callable[[Session], Session]) -> Chat:
    """Return a chat with its sessions changed, and the places of its evidence with them."""
    sessions: list[list[Message]] = []
    place: dict[int, int] = {}
    count = said = 0
    for session in chat.sessions:
        changed = change([(said + number, message) for number, message in enumerate(session)])
        said += len(session)
        for number, (before, _) in enumerate(changed, count):
            if before is not None:
                place[before] = number
        count += len(changed)
        sessions.append([message for _, message in changed])
    questions = [each._replace(evidence=[place[name] for name in each.evidence]) for each in chat.questions]
    return Chat(chat.name, sessions, questions)


def _named(names: Sequence[str]) -> Callable[[Chat], Chat]:
    """Return what gives the speakers other names, in the order in which they speak; none without names."""

    def change(chat: Chat) -> Chat:
        speakers = dict.fromkeys(message.name for message in chat.messages if message.name)
        new = dict(zip(speakers, names, strict=False))

        def renamed(message: Message) -> Message:
            return Message(message.role, message.text, new.get(message.name or ""), message.created_at)

        return _rebuilt(chat, lambda session: [(place, renamed(message)) for place, message in session])

    return change


def _without_times(chat: Chat) -> Chat:
    def undated(message: Message) -> Message:
        return Message(message.role, message.text, message.name)

    return _rebuilt(chat, lambda session: [(place, undated(message)) for place, message in session])


def _with_short_lines(chat: Chat) -> Chat:
    """Put up to three lines such as "ok" after each message."""
    rng = random.Random(0)

    def between(said: Message) -> Iterable[Message]:
        return (Message(said.role, rng.choice(_SHORT), said.name, said.created_at) for _ in range(rng.randrange(4)))

    return _with(chat, between)


def _with_long_answers(chat: Chat) -> Chat:
    """Let an assistant repeat the beginning of every second message, with much code."""
    rng = random.Random(0)

    def between(said: Message) -> Iterable[Message]:
        answer = Message("assistant", f"I understand. {said.text[:120]}{_CODE}", None, said.created_at)
        return [answer] * rng.randrange(2)

    return _with(chat, between)


def _with_names_left_out(chat: Chat) -> Chat:
    """Leave out the name of every second message."""

    def change(session: Session) -> Session:
        return [
            (place, Message(said.role, said.text, said.name if number % 2 else None, said.created_at))
            for number, (place, said) in enumerate(session)
        ]

    return _rebuilt(chat, change)


def _with(chat: Chat, between: Callable[[Message], Iterable[Message]]) -> Chat:
    def change(session: Session) -> Session:
        return [
            each
            for place, message in session
            for each in [(place, message), *((None, other) for other in between(message))]
        ]

    return _rebuilt(chat, change)


_CHANGES: Final[dict[str, Callable[[Chat], Chat]]] = {
    "as it is": lambda chat: chat,
    "names in Cyrillic": _named(["Алиса", "Борис", "Вера"]),
    "names in Arabic": _named(["أحمد", "ليلى", "سمير"]),
    "no names": _named([]),
    "half without names": _with_names_left_out,
    "no times": _without_times,
    "blank messages between": lambda chat: _with(chat, lambda said: [Message(said.role, " \n", said.name)]),
    "one session": lambda chat: chat._replace(sessions=[chat.messages]),
    "sessions of one message": lambda chat: chat._replace(sessions=[[message] for message in chat.messages]),
    "short lines between": _with_short_lines,
    "long answers between": _with_long_answers,
}
