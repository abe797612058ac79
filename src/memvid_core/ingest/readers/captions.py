"""Subtitles and transcripts: .vtt and .srt, with their times."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.encodings import decode

__all__ = ["Cue", "cue_section", "read_captions"]

_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_CUE = re.compile(rf"^[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}[^\n]*$", re.MULTILINE)
_TAG = re.compile(r"</?(?:[cibuv]|ruby|rt|lang|font)\b[^<>]*>|<\d[\d:.]*>|\{\\[^{}]*\}")
_VOICE = re.compile(r"<v(?:\.[^ <>]*)? ([^<>]+)>")
_SIDE_BLOCK = re.compile(r"^(?:NOTE|STYLE|REGION)\b")
_PARAGRAPH = 2.0  # seconds of silence between paragraphs


class Cue(NamedTuple):
    """Hold what is said from one time to another, in seconds."""

    start: float
    end: float
    text: str


def read_captions(path: Path) -> list[Section]:
    """Read WebVTT or SubRip as running text; chunks have ``time_start`` and ``time_end`` in seconds.

    A cue that repeats the one before it is read once. Speakers are kept: ``Ada: Hello.``

    Raises:
        IngestError: The file has no cues.
    """
    text = decode(path.read_bytes())
    cues = list(_CUE.finditer(text))
    if not cues:
        raise IngestError("no cues with times (00:00:01.000 --> 00:00:02.000) in it")
    ends = [cue.start() for cue in cues[1:]] + [len(text)]
    return [
        cue_section(
            Cue(
                _seconds(cue.groups()[:4]),
                _seconds(cue.groups()[4:]),
                _shown(text[cue.end() : end], final=cue is cues[-1]),
            )
            for cue, end in zip(cues, ends, strict=True)
        )
    ]


def cue_section(cues: Iterable[Cue]) -> Section:
    """Return the running text of cues, with their times; one that repeats the one before it is read once."""
    pieces: list[str] = []
    times: list[tuple[int, float, float]] = []
    length, last, ended = 0, "", 0.0
    for start, stop, shown in cues:
        if not shown or shown == last:
            if times and shown:
                times[-1] = (*times[-1][:2], max(times[-1][2], stop))
            continue
        glue = "" if not pieces else "\n\n" if start - ended > _PARAGRAPH else "\n"
        times.append((length + len(glue), start, stop))
        pieces.append(glue + shown)
        length += len(pieces[-1])
        last, ended = shown, stop
    return Section("".join(pieces), times=times)


def _shown(block: str, *, final: bool) -> str:
    # The line before the next cue's times is its number or name.
    lines = block.strip("\n").split("\n\n")[0].split("\n")
    if not final and len(lines) > 1 and "\n\n" not in block.strip("\n") and lines[-1].strip().isdecimal():
        lines = lines[:-1]
    text = " ".join(lines)
    if _SIDE_BLOCK.match(text):
        return ""
    text = _VOICE.sub(r"\1: ", text)
    return " ".join(html.unescape(_TAG.sub("", text)).split())


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return round(whole + float(f"0.{fraction}"), 3)
