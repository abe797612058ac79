"""Chats with questions and the messages that answer them: LoCoMo's layout, logs with message ids, and our own set."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from memvid_core.agent.messages import Message

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
    with open(data / "locomo" / "locomo5.json", encoding="utf-8") as file:
        return [_locomo_chat(entry) for entry in json.load(file)]


def _locomo_chat(entry: dict[str, Any]) -> Chat:
    conversation = entry["conversation"]
    place: dict[str, int] = {}
    sessions: list[list[Message]] = []
    number = 1
    while said := conversation.get(f"session_{number}"):
        time = datetime.strptime(conversation[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y").replace(
            tzinfo=UTC
        )
        session = []
        for turn in said:
            place[turn["dia_id"]] = len(place)
            session.append(Message("user", _with_picture(turn), turn["speaker"], time))
        sessions.append(session)
        number += 1
    questions = []
    for asked in entry["qa"]:
        named = [f"D{a}:{int(b)}" for text in asked["evidence"] for a, b in re.findall(r"D(\d+):(\d+)", text)]
        evidence = [place[name] for name in dict.fromkeys(named) if name in place]
        if evidence:
            answer = str(asked.get("answer", ""))
            questions.append(Question(asked["question"], evidence, _LOCOMO[asked["category"]], answer))
    return Chat(entry["sample_id"], sessions, questions)


_LOCOMO = {1: "several turns", 2: "time", 3: "open", 4: "one turn", 5: "wrong speaker"}


def _with_picture(turn: dict[str, Any]) -> str:
    """The words of a turn, and what the picture shows that was sent with it."""
    picture = ": ".join(turn[key] for key in ("query", "blip_caption") if turn.get(key))
    return f"{turn['text']} [{picture}]" if picture else str(turn["text"])


def beam(data: Path) -> list[Chat]:
    """Chats of BEAM 100K: a user and an assistant, message ids as evidence."""
    folders = sorted((data / "beam" / "100K").iterdir(), key=lambda folder: int(folder.name))
    return [_beam_chat(folder) for folder in folders]


def _beam_chat(folder: Path) -> Chat:
    place: dict[int, int] = {}
    sessions: list[list[Message]] = []
    time = None
    for batch in json.loads((folder / "chat.json").read_text("utf-8")):
        session = []
        for turn in (turn for turns in batch["turns"] for turn in turns):
            if turn.get("time_anchor"):
                time = datetime.strptime(turn["time_anchor"], "%B-%d-%Y").replace(tzinfo=UTC)
            place[turn["id"]] = len(place)
            session.append(Message(turn["role"], turn["content"].split(" ->-> ")[0].strip(), None, time))
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
    if (data / "locomo").is_dir():
        sets["LoCoMo 1-5"] = locomo(data)
    if (data / "beam").is_dir():
        sets["BEAM 100K 1-10"] = beam(data)
    for language, name in (("en", "own, English"), ("ko", "own, Korean")):
        if (OWN / f"{language}.txt").exists():
            sets[name] = own(language)
    return sets
