"""Transcripts: conversations written down as lines, plain or exported by WhatsApp or KakaoTalk."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from memvid_core.agent.time_words import spans

__all__ = ["Line", "read_transcript"]

_USERS: Final = {"user", "human", "you", "me", "사용자", "나"}
_ASSISTANTS: Final = {"assistant", "ai", "bot", "chatgpt", "gpt", "claude", "gemini", "어시스턴트", "챗봇", "도우미"}

_PLAIN: Final = re.compile(r"\s*(?:\*\*)?(?P<name>[^\W\d_][\w .'’-]{0,39}?)(?:\*\*)?\s?[::]\s*(?:\*\*)?\s*(?P<text>.*)")
_WORDS_OF_A_NAME: Final = 3
_CLOCK: Final = r"(?P<half>오전|오후)?\s*(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::\d\d)?\s*(?P<ampm>[AaPp]\.?\s?[Mm]\.?)?"
_DATE: Final = r"(?P<a>\d{1,4})(?:[./-]\s?|년 )(?P<b>\d{1,2})(?:[./-]\s?|월 )(?P<c>\d{1,4})(?:일|\.)?"
_STAMPED: Final = re.compile(rf"[\u200e\u202a]?\[?{_DATE},?\s+(?=\S){_CLOCK}\]?(?:\s-\s|,\s|\s)(?P<rest>.*)")
_BRACKETED: Final = re.compile(rf"\[(?P<name>[^\[\]]{{1,60}})\] \[{_CLOCK}\] ?(?P<text>.*)")
"""A line of KakaoTalk for Windows: its day stands above it, in a line of hyphens."""

_DAY: Final = re.compile(
    r"-{5,}.*\d.*-{5,}|"
    rf"\d{{4}}(?:년|\.) \d{{1,2}}(?:월|\.) \d{{1,2}}(?:일|\.)(?: [월화수목금토일]요일)?(?: {_CLOCK})?"
)
_LONGEST_DAY: Final = 120
"""How many characters such a line has at most."""
_TITLE: Final = re.compile(r".{1,80}카카오톡 대화|KakaoTalk Chats with .{1,80}|(?:저장한 날짜|Date Saved) ?:.{1,40}")
_CSV: Final = "Date,User,Message"
_LEADING: Final = 3
"""How many lines may stand before the first that has a time: the end of a message that was cut off."""

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
    text = text.removeprefix("\ufeff")
    if text.startswith(_CSV):
        with suppress(csv.Error):  # a field of more than 128 KiB
            return list(_read_csv(text)) or None
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


def _read_csv(text: str) -> Iterator[Line]:
    """Yield the lines of KakaoTalk for macOS."""
    for row in csv.reader(text.splitlines(keepends=True)[1:]):
        if len(row) == 3 and row[2].strip() and not _LEFT_OUT.fullmatch(row[2]):
            time = None
            with suppress(ValueError):
                time = datetime.fromisoformat(row[0]).replace(tzinfo=UTC)
            yield Line(*_role_and_name(row[1].strip()), row[2].strip(), time)


def _read_stamped(given: Sequence[str]) -> list[Line] | None:
    """Read lines that begin with a date and a time, or with a name and a time; others continue the line before."""
    lines = [line for line in map(str.strip, given) if not _TITLE.fullmatch(line)]
    stamps = [_STAMPED.fullmatch(line) for line in lines]
    day_first = _is_day_first([match for match in stamps if match])
    spoken: list[Line] = []
    before: list[str] = []
    day: date | None = None
    begun = last_counts = False
    for line, match in zip(lines, stamps, strict=True):
        said = _NAMED.fullmatch(match["rest"]) if match else None
        if match is None and len(line) <= _LONGEST_DAY and _DAY.fullmatch(line):
            named = spans(line, _LONG_AGO)
            day, begun, last_counts = named[0].first if named else None, True, False
        elif match is None and (said := _BRACKETED.fullmatch(line)) is None:
            if last_counts:
                spoken[-1] = spoken[-1]._replace(text=f"{spoken[-1].text}\n{line}")
            elif not begun:
                before.append(line)
        else:
            begun = True
            last_counts = said is not None and not _LEFT_OUT.fullmatch(said["text"])
            if said is not None and last_counts:
                time = _time_of(match, day_first) if match else _clock_of(said, day)
                role, name = _role_and_name(said["name"].strip("\u200e\u202a\u202c ~"))
                spoken.append(Line(role, name, said["text"].strip("\u200e "), time))
    if before and (len(before) > _LEADING or len(spoken) < 2):
        return None
    cut_off = [Line("user", None, "\n".join(before), None)] if before else []
    return [*cut_off, *spoken] if spoken else None


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
    with suppress(ValueError):
        return _clock_of(match, date(year, month, day))
    return None


def _clock_of(match: re.Match[str], day: date | None) -> datetime | None:
    """Return the time of a day that a line names; None if that day or time does not exist."""
    hour = int(match["hour"])
    half = "pm" if match["half"] == "오후" else "am" if match["half"] else (match["ampm"] or "").lower()[:1] + "m"
    if half in ("am", "pm"):
        hour = hour % 12 + 12 * (half == "pm")
    if day is None or hour > 23 or int(match["minute"]) > 59:
        return None
    return datetime(day.year, day.month, day.day, hour, int(match["minute"]), tzinfo=UTC)


_LONG_AGO: Final = datetime(1, 1, 1, tzinfo=UTC)
