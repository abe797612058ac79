"""``memvid export --format vtt``: captions for the film of a memory, which players load from the same folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from memvid_core.memory import Memory, memory_video, session_of

__all__ = ["captions"]

_LONGEST = 100  # characters of a line
_SENTENCE = re.compile(r"(?<=[.!?。？！])\s")  # full-width signs end sentences too
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def captions(memory: Memory, where: dict[str, Any] | None) -> Iterator[bytes]:
    """Yield a WebVTT document in pieces: one cue for each frame with records, with the first of them."""
    session = session_of(memory)
    yield b"WEBVTT\n\n"
    card = memory_video.title_scene(session)
    if card is not None:
        title, seconds = card
        yield _cue(0, seconds, "\n".join(filter(None, map(_line, (title, memory.info().description))))).encode()
    for scene in memory_video.scenes(session, where):
        yield _cue(scene.start, scene.end, _text(scene)).encode()


def _text(scene: memory_video.Scene) -> str:
    source = scene.record.metadata.get("source")
    first = _line(_SENTENCE.split(scene.record.text.strip(), 1)[0])
    more = (
        f"{_line(source) if isinstance(source, str) else ''}{f' (+{scene.records - 1})' if scene.records > 1 else ''}"
    )
    return "\n".join(filter(None, (more.strip(), first))) or _line(scene.record.id)


def _line(text: str) -> str:
    """Return a text as one line without markup, cut after a word."""
    plain = " ".join("".join(sign if sign.isprintable() else " " for sign in text[: 4 * _LONGEST]).split())
    if len(plain) > _LONGEST:
        plain = plain[:_LONGEST].rsplit(" ", 1)[0] + "…"
    return "".join(_ESCAPES.get(sign, sign) for sign in plain)


def _cue(start: float, end: float, text: str) -> str:
    return f"{_time(start)} --> {_time(end)}\n{text}\n\n"


def _time(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
