"""Sound and video, read by a function that transcribes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.captions import Cue, cue_section
from memvid_core.ingest.readers.document import Section

__all__ = ["HOW_TO_READ", "Segment", "Transcribe", "Transcript", "has_captions", "transcribed"]

HOW_TO_READ = "sound or video: put its subtitles into the same folder (.vtt, .srt), or pass transcribe="
_CAPTIONS = (".vtt", ".srt")


class Segment(Protocol):
    """Describe what was said from one time to another, such as the segments of faster-whisper."""

    @property
    def start(self) -> float:
        """When it begins, in seconds."""

    @property
    def end(self) -> float:
        """When it ends, in seconds."""

    @property
    def text(self) -> str:
        """What was said."""


Transcript = str | Iterable[tuple[float, float, str] | Mapping[str, Any] | Segment]
"""The whole text, or segments: tuples of start, end and text, or mappings or objects with these names."""
Transcribe = Callable[[Path], Transcript]
"""A function that returns the transcript of a file."""


def transcribed(path: Path, transcribe: Transcribe) -> list[Section]:
    """Return the transcript of a file; segments give its chunks ``time_start`` and ``time_end`` in seconds.

    Raises:
        IngestError: The function failed, or returned something else than a transcript.
    """
    try:
        transcript = transcribe(path)
        # Segments may come one by one, while the file is being read.
        cues = transcript if isinstance(transcript, str) else [_cue(segment) for segment in transcript]
    except IngestError:
        raise
    except Exception as exc:  # of the function, which may raise any
        raise IngestError(f"transcribe failed: {type(exc).__name__}: {exc}") from exc
    if isinstance(cues, str):
        return [Section(cues)]
    return [cue_section(cue for cue in cues if cue.text)]


def has_captions(path: Path) -> bool:
    """Return whether the subtitles of a file are in its folder."""
    return any(path.with_suffix(suffix).is_file() for suffix in _CAPTIONS)


def _cue(segment: Any) -> Cue:
    values: list[Any]
    if isinstance(segment, Mapping):
        values = [segment.get(name) for name in ("start", "end", "text")]
    elif isinstance(segment, tuple) and len(segment) == 3 and not hasattr(segment, "text"):
        values = list(segment)
    else:
        values = [getattr(segment, name, None) for name in ("start", "end", "text")]
    start, end, text = values
    try:
        cue = Cue(round(float(start), 3), round(float(end), 3), " ".join(text.split()))
    except (TypeError, ValueError, AttributeError):
        cue = Cue(math.nan, math.nan, "")
    if not 0 <= cue.start <= cue.end < math.inf:
        raise IngestError(
            f"transcribe returned the segment {segment!r:.200}; it must return a text, or segments with text, and with "
            "start and end in seconds"
        )
    return cue
