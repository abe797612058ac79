"""Chats with questions and the messages that answer them: LoCoMo's layout, logs with message ids, and our own set."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from memvid_core import InvalidInputError
from memvid_core.agent.messages import Message
from memvid_core.agent.times import parse_time

__all__ = ["Chat", "Question", "beam", "chat_sets", "locomo", "own"]

OWN = Path(__file__).parent / "own"


class Question(NamedTuple):
    """What is asked, the places in the chat of the messages that answer it, and what kind of question it is."""

    text: str
    evidence: list[int]
    category: str
    answer: str
    now: datetime | None = None


class Chat(NamedTuple):
    """Sessions of messages, numbered from 0 over all of them, and questions about them."""

    name: str
    sessions: list[list[Message]]
    questions: list[Question]

    @property
    def messages(self) -> list[Message]:
        return [message for session in self.sessions for message in session]

    @property
    def session_of(self) -> list[int]:
        return [number for number, session in enumerate(self.sessions) for _ in session]


def locomo(data: Path) -> list[Chat]:
    """Conversations of LoCoMo (snap-research, CC BY-NC 4.0): two people, sessions with dates, evidence as D<n>:<n>."""
    return _locomo_file(data / "locomo" / "locomo5.json")


def _locomo_file(path: Path) -> list[Chat]:
    given = json.loads(path.read_text("utf-8-sig"))
    entries = given if isinstance(given, list) else [given]
    return [_locomo_chat(entry, f"{path.stem} {number}") for number, entry in enumerate(entries)]


def _locomo_chat(entry: dict[str, Any], name: str) -> Chat:
    conversation = entry.get("conversation", entry)
    numbers = sorted(
        int(key[8:]) for key, said in conversation.items() if _SESSION.match(key) and isinstance(said, list)
    )
    place: dict[str, int] = {}
    sessions: list[list[Message]] = []
    count = 0
    for number in numbers:
        time = _time(conversation.get(f"session_{number}_date_time"))
        session = []
        for at, turn in enumerate(conversation[f"session_{number}"], 1):
            said = _time(turn.get("date_time")) or time
            place[_turn_name(turn.get("dia_id")) or f"D{number}:{at}"] = count
            session.append(Message("user", _with_picture(turn), turn.get("speaker") or None, said))
            count += 1
        sessions.append(session)
    questions = []
    for asked in entry.get("qa", []):
        evidence = [place[each] for each in dict.fromkeys(_named(asked.get("evidence"))) if each in place]
        if evidence:
            answer, category = str(asked.get("answer", "")), asked.get("category", "")
            questions.append(Question(asked["question"], evidence, _LOCOMO.get(category, str(category)), answer))
    return Chat(str(entry.get("sample_id") or name), sessions, questions)


_SESSION = re.compile(r"session_\d+$")


def _named(evidence: Any) -> Iterator[str]:
    for text in [evidence] if isinstance(evidence, str) else evidence or ():
        found = [f"D{session}:{int(turn)}" for session, turn in re.findall(r"D(\d+):(\d+)", str(text))]
        yield from found or [str(text).strip()]


def _turn_name(given: Any) -> str | None:
    return next(_named(given)) if isinstance(given, str) and given else None


def _time(given: Any) -> datetime | None:
    try:
        return None if given is None else parse_time(given)
    except InvalidInputError:
        return None


_LOCOMO = {1: "several turns", 2: "time", 3: "open", 4: "one turn", 5: "wrong speaker"}


def _with_picture(turn: dict[str, Any]) -> str:
    """The words of a turn, and what the picture shows that was sent with it."""
    picture = ": ".join(str(turn[key]) for key in ("query", "blip_caption") if turn.get(key))
    text = str(turn.get("text") or turn.get("clean_text") or "")
    return f"{text} [{picture}]".strip() if picture else text


def beam(data: Path) -> list[Chat]:
    """Chats of BEAM 100K: a user and an assistant, message ids as evidence."""
    return _beam_folder(data / "beam" / "100K")


def _beam_folder(folder: Path) -> list[Chat]:
    chats = [each for each in folder.iterdir() if (each / "chat.json").is_file()]
    return [_beam_chat(each) for each in sorted(chats, key=lambda each: (len(each.name), each.name))]


def _beam_chat(folder: Path) -> Chat:
    place: dict[int, int] = {}
    sessions: list[list[Message]] = []
    time = None
    for batch in json.loads((folder / "chat.json").read_text("utf-8")):
        session = []
        for turn in (turn for turns in batch["turns"] for turn in turns):
            time = _time(turn.get("time_anchor") or None) or time
            place[turn["id"]] = len(place)
            session.append(Message(turn["role"], (turn["content"] or "").split(" ->-> ")[0].strip(), None, time))
        sessions.append(session)
    asked = json.loads((folder / "probing_questions" / "probing_questions.json").read_text("utf-8"))
    questions = []
    for category, entries in asked.items():
        for entry in entries:
            evidence = [place[name] for name in dict.fromkeys(_numbers(entry.get("source_chat_ids"))) if name in place]
            if evidence:
                answer = str(entry.get("answer") or entry.get("ideal_response") or "")
                questions.append(Question(entry["question"], evidence, category.replace("_", " "), answer))
    return Chat(f"BEAM {folder.name}", sessions, questions)


def _numbers(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _numbers(part)


def own(language: str) -> list[Chat]:
    """Our own set: two people, an assistant, 12 sessions and 60 questions; ``language`` is ``en`` or ``ko``."""
    place: dict[str, int] = {}
    sessions: list[list[Message]] = []
    questions: list[Question] = []
    time = datetime.min.replace(tzinfo=UTC)
    for line in (OWN / f"{language}.txt").read_text("utf-8").splitlines():
        if line.startswith("# "):
            time = datetime.fromisoformat(line.split()[-1]).replace(tzinfo=UTC)
            sessions += [[]] if " questions " not in line else []
        elif " | " in line:
            kind, question, evidence, answer = (part.strip() for part in line.split("|"))
            named = [place[name.strip()] for name in evidence.split(",") if name.strip()]
            questions.append(Question(question, named, kind, answer, time))
        else:
            number, _, said = line.partition(" ")
            who, _, text = said.partition(": ")
            place[f"{len(sessions)}:{number}"] = len(place)
            assistant = who == "assistant"
            role, name = ("assistant", None) if assistant else ("user", who)
            sessions[-1].append(Message(role, text, name, time))
    return [Chat(f"own {language}", sessions, questions)]


def chat_sets(data: Path) -> dict[str, list[Chat]]:
    """Every set that is there, by name."""
    sets = {}
    for path in sorted((data / "locomo").glob("*.json")):
        sets["LoCoMo 1-5" if path.stem == "locomo5" else path.stem] = _locomo_file(path)
    for folder in sorted(path for path in (data / "beam").glob("*") if path.is_dir()):
        if found := _beam_folder(folder):
            sets[f"BEAM {folder.name} 1-{len(found)}"] = found
    for language, name in (("en", "own, English"), ("ko", "own, Korean")):
        if (OWN / f"{language}.txt").exists():
            sets[name] = own(language)
    return sets
