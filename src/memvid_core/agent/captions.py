r"""Captions: SRT and WebVTT files, and what a transcription gives, as passages of speech with their times.

>>> read_captions("1\n00:00:01,000 --> 00:00:02,500\nThe ferry sails\n\n2\n00:00:02,500 --> 00:00:04,000\nat noon.\n")
[Speech(start=1.0, text='The ferry sails at noon.', who=None)]
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from memvid_core.errors import InvalidInputError

__all__ = ["Speech", "clock", "joined", "read_captions", "read_transcription"]

_TIME: Final = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_SPAN: Final = re.compile(rf"\s*{_TIME}\s+-->\s+{_TIME}.*")
_VOICE: Final = re.compile(r"<v(?:\.[^ <>]*)?\s(?P<name>[^<>]+)>")
_NAME: Final = re.compile(r"(?:>>\s*)?(?P<name>[A-Z][\w.'’-]*(?: [A-Z][\w.'’-]*){0,2}):\s+(?P<text>.+)", re.DOTALL)
_TAG: Final = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
_LONG: Final = 300
_END: Final = (".", "!", "?", "。", "…")


class Speech(NamedTuple):
    """What was said from a second on, and by whom if that is known."""

    start: float
    text: str
    who: str | None = None


def clock(seconds: float) -> str:
    """Return a place in a recording.

    Example:
        >>> clock(3725.4)
        '1:02:05'
    """
    whole = max(int(seconds), 0)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def read_captions(text: str) -> list[Speech]:
    """Read SRT or WebVTT.

    Raises:
        InvalidInputError: It has no caption.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    spans = [(place, match) for place, line in enumerate(lines) if (match := _SPAN.fullmatch(line))]
    said: list[Speech] = []
    for place, match in spans:
        words = []
        for line in lines[place + 1 :]:
            if not line.strip() or _SPAN.fullmatch(line):
                break
            words.append(line.strip())
        hours, minutes, seconds, part = match.groups()[:4]
        start = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{part}")
        said += _spoken(start, "\n".join(words))
    if not said:
        raise InvalidInputError("it has no caption of the form 00:00:01,000 --> 00:00:02,000 with a text below it")
    return joined(said)


def _spoken(start: float, text: str) -> list[Speech]:
    voice = _VOICE.search(text)
    plain = " ".join(html.unescape(_TAG.sub("", text)).split())
    named = None if voice else _NAME.fullmatch(plain)
    if named is not None:
        return [Speech(start, named["text"], named["name"])]
    return [Speech(start, plain, " ".join(voice["name"].split()) if voice else None)] if plain else []


def joined(said: Iterable[Speech]) -> list[Speech]:
    """Join captions of one speaker to sentences: captions are cut for the screen, not where something ends."""
    found: list[Speech] = []
    for each in said:
        last = found[-1] if found else None
        if last is not None and each.text == last.text and each.who == last.who:
            continue  # a caption that is shown on
        continues = last is not None and each.who in (None, last.who) and not last.text.endswith(_END)
        if last is not None and continues and len(last.text) + len(each.text) < _LONG:
            found[-1] = last._replace(text=f"{last.text} {each.text}")
        else:
            found.append(each)
    return found


def read_transcription(given: Any) -> list[Speech]:
    """Read what a transcription gives: a text, or segments with ``start``, ``text`` and perhaps ``speaker``.

    Raises:
        InvalidInputError: It is neither; the error names the segment.

    Example:
        >>> read_transcription([{"start": 2, "text": "At noon.", "speaker": "Ada"}])
        [Speech(start=2.0, text='At noon.', who='Ada')]
    """
    if isinstance(given, Mapping):
        given = given.get("segments", given.get("text"))
    if isinstance(given, str):
        return [Speech(0.0, part.strip()) for part in given.split("\n") if part.strip()]
    if not isinstance(given, Iterable):
        raise InvalidInputError(f"a transcription is a text or a list of segments, not {given!r:.60}")
    return [each for place, segment in enumerate(given) if (each := _segment(segment, place)).text]


def _segment(segment: Any, place: int) -> Speech:
    def field(name: str) -> Any:
        return segment.get(name) if isinstance(segment, Mapping) else getattr(segment, name, None)

    start, text, who = field("start"), field("text"), field("speaker")
    if not isinstance(text, str) or not isinstance(start, int | float):
        raise InvalidInputError(f"segment {place} of the transcription must have start (seconds) and text")
    return Speech(float(start), text.strip(), who if isinstance(who, str) and who else None)
