"""Transcripts: conversations written down as lines, plain or exported by WhatsApp or KakaoTalk."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

__all__ = ["Line", "read_transcript"]

_USERS: Final = {"user", "human", "you", "me", "사용자", "나"}
_ASSISTANTS: Final = {"assistant", "ai", "bot", "chatgpt", "gpt", "claude", "gemini", "어시스턴트", "챗봇", "도우미"}

_PLAIN: Final = re.compile(r"\s*(?:\*\*)?(?P<name>[^\W\d_][\w .'’-]{0,39}?)(?:\*\*)?\s?[::]\s*(?:\*\*)?\s*(?P<text>.*)")
_WORDS_OF_A_NAME: Final = 3
_CLOCK: Final = r"(?P<half>오전|오후)?\s*(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::\d\d)?\s*(?P<ampm>[AaPp]\.?\s?[Mm]\.?)?"
_DATE: Final = r"(?P<a>\d{1,4})(?:[./-]\s?|년 )(?P<b>\d{1,2})(?:[./-]\s?|월 )(?P<c>\d{1,4})(?:일|\.)?"
_STAMPED: Final = re.compile(rf"[\u200e\u202a]?\[?{_DATE},?\s+{_CLOCK}\]?(?:\s-\s|,\s|\s)(?P<rest>.*)")
_NAMED: Final = re.compile(r"(?P<name>[^::]{1,60}?)\s?[::]\s(?P<text>.*)")
_LEFT_OUT: Final = re.compile(
    r"[\u200e]?<?(?:Media omitted|image omitted|미디어 파일을 제외.*|This message was deleted)>?\.?"
)


class Line(NamedTuple):
    """One turn of a transcript."""

    role: str
    name: str | None
    text: str
    time: datetime | None


def read_transcript(text: str) -> list[Line] | None:
    r"""Read text as a conversation, or return None if it is not one.

    A plain transcript has two lines or more of the form ``Name: words``, the first line among them. All lines have that
    form, or one name stands twice; then a line of another form continues the turn before it.

    Example:
        >>> [line.name for line in read_transcript("[2026-05-08, 13:56] Ada: Hello\n[2026-05-08, 13:57] Bob: Hi")]
        ['Ada', 'Bob']
        >>> read_transcript("Note: buy milk") is None
        True
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        return _read_stamped(lines)
    return _read_stamped(lines) or _read_plain(lines)


def _read_plain(lines: Sequence[str]) -> list[Line] | None:
    found = [_name_and_text(line) for line in lines]
    names = Counter(part[0] for part in found if part)
    turns = sum(names.values())
    if found[0] is None or turns < 2 or (turns < len(lines) and max(names.values()) < 2):
        return None
    spoken: list[Line] = []
    for line, part in zip(lines, found, strict=True):
        if part is None:
            spoken[-1] = spoken[-1]._replace(text=f"{spoken[-1].text}\n{line.strip()}".strip())
        else:
            role, name = _role_and_name(part[0])
            spoken.append(Line(role, name, part[1], None))
    return [line for line in spoken if line.text]


def _name_and_text(line: str) -> tuple[str, str] | None:
    match = _PLAIN.fullmatch(line)
    if match is None or len(match["name"].split()) > _WORDS_OF_A_NAME or match["text"].startswith("//"):
        return None
    return match["name"].strip(), match["text"].strip()


def _role_and_name(name: str) -> tuple[str, str | None]:
    folded = name.casefold()
    if folded in _USERS:
        return "user", None
    if folded in _ASSISTANTS:
        return "assistant", None
    return "user", name


def _read_stamped(lines: Sequence[str]) -> list[Line] | None:
    """Read lines that begin with a date and a time; others continue the line before."""
    stamps = [_STAMPED.fullmatch(line.strip()) for line in lines]
    if not lines or stamps[0] is None:
        return None
    day_first = _is_day_first([match for match in stamps if match])
    spoken: list[Line] = []
    last_counts = False
    for line, match in zip(lines, stamps, strict=True):
        if match is None:
            if last_counts:
                spoken[-1] = spoken[-1]._replace(text=f"{spoken[-1].text}\n{line.strip()}")
            continue
        said = _NAMED.fullmatch(match["rest"])
        last_counts = said is not None and not _LEFT_OUT.fullmatch(said["text"])
        if said is not None and last_counts:
            role, name = _role_and_name(said["name"].strip("\u200e\u202a\u202c ~"))
            spoken.append(Line(role, name, said["text"].strip("\u200e "), _time_of(match, day_first)))
    return spoken or None


def _is_day_first(stamps: Sequence[re.Match[str]]) -> bool:
    """Tell whether dates are written with the day before the month, from all dates of a file."""
    if any(int(match["a"]) > 12 for match in stamps):
        return True
    if any(int(match["b"]) > 12 for match in stamps):
        return False
    return not any(match["ampm"] for match in stamps)  # month first goes with AM and PM


def _time_of(match: re.Match[str], day_first: bool) -> datetime | None:
    first, second, third = int(match["a"]), int(match["b"]), int(match["c"])
    if len(match["a"]) == 4:
        year, month, day = first, second, third
    else:
        day, month = (first, second) if day_first else (second, first)
        year = third if third > 99 else 2000 + third
    hour = int(match["hour"])
    half = "pm" if match["half"] == "오후" else "am" if match["half"] else (match["ampm"] or "").lower()[:1] + "m"
    if half in ("am", "pm"):
        hour = hour % 12 + 12 * (half == "pm")
    try:
        return datetime(year, month, day, hour, int(match["minute"]), tzinfo=UTC)
    except ValueError:
        return None
