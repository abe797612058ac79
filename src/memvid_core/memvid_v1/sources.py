"""The passages for a question, numbered, with file and frame, as shown to a language model and a reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from memvid_core.memory import Memory, memory_video, session_of
from memvid_core.model import Hit

__all__ = ["citation", "context_text", "find_sources", "passages_text", "places"]

Found = Mapping[str, Any]

_LETTERS_A_TOKEN = 4
_LEAST_PASSAGE = 200  # characters; a shorter part of a text is not useful
_PLACES = ("page", "slide", "sheet", "row", "message", "attachment", "entry", "part")


def find_sources(memory: Memory, hits: Sequence[Hit], max_tokens: int) -> list[dict[str, Any]]:
    """Return the sources of hits: ``number`` from 1, ``text``, ``score``, ``id``, ``video``, ``frame``, ``metadata``.

    Args:
        memory: The memory of the hits.
        hits: The hits, best first.
        max_tokens: The approximate size of all texts, at four characters per token. The last text is truncated, further
            ones are omitted; the first is always included.
    """
    frames = memory_video.frames_of(session_of(memory), [hit.id for hit in hits])
    room = max(max_tokens * _LETTERS_A_TOKEN, _LEAST_PASSAGE)
    found: list[dict[str, Any]] = []
    for number, hit in enumerate(hits, 1):
        if room < _LEAST_PASSAGE and len(hit.text) > room:
            break
        text = hit.text if len(hit.text) <= room else f"{hit.text[: room - 1].rstrip()}…"
        room -= len(text)
        found.append(
            {
                "number": number,
                "text": text,
                "score": hit.score,
                "id": hit.id,
                "video": PurePath(memory.path).name,
                "frame": frames.get(hit.id),
                "metadata": hit.metadata,
            }
        )
    return found


def citation(source: Found) -> str:
    """Return the origin of a passage: its source file, and the frame of the video that contains it.

    Example:
        >>> citation({"video": "notes.mp4", "frame": 12, "metadata": {"source": "wings.pdf", "page": 3}})
        'wings.pdf, page 3 (notes.mp4, frame 12)'
        >>> citation(
        ...     {"video": "notes.mp4", "frame": 7, "metadata": {"source": "a.vtt", "time_start": 62, "time_end": 70}}
        ... )
        'a.vtt, 1:02–1:10 (notes.mp4, frame 7)'
        >>> citation({"video": "notes.mp4", "frame": 12, "metadata": {}})
        'notes.mp4, frame 12'
    """
    metadata = source["metadata"]
    parts = [str(metadata["source"])] if metadata.get("source") else []
    heading = metadata.get("heading")
    parts += [*places(metadata), *([f"heading {heading}"] if heading not in (None, "") else [])] if parts else []
    video = f"{source['video']}, frame {source['frame']}"
    return f"{', '.join(parts)} ({video})" if parts else video


def places(metadata: Mapping[str, Any]) -> list[str]:
    """Return where in its source a passage is: page, slide, sheet and row, message, attachment, time.

    Example:
        >>> places({"slide": 2, "page": 2}), places({"sheet": "Q1", "row": 40, "time_start": 3, "time_end": 3725.5})
        (['slide 2'], ['sheet Q1', 'row 40', '0:03–1:02:05'])
    """
    keys = [key for key in _PLACES if metadata.get(key) not in (None, "")]
    if "slide" in keys and "page" in keys:
        keys.remove("page")
    times = [metadata.get("time_start"), metadata.get("time_end")]
    spoken = ["–".join(map(_clock, times))] if all(isinstance(time, int | float) for time in times) else []
    return [*(f"{key} {metadata[key]}" for key in keys), *spoken]


def _clock(seconds: Any) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def context_text(sources: Sequence[Found]) -> str:
    """Return the passages as text for a language model."""
    return "\n\n".join(f"[{source['number']}] {citation(source)}\n{source['text']}" for source in sources)


def passages_text(sources: Sequence[Found], why: str) -> str:
    """Return the passages and the reason for showing them without a language model."""
    if not sources:
        return f"No passage in the memory fits this question. ({why})"
    shown = "\n\n".join(f"[{source['number']}] {source['text']}\n    {citation(source)}" for source in sources)
    return f"{shown}\n\nThese are passages of the memory, not an answer: {why}"
