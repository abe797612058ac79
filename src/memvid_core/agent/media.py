"""Images, audio and video as resources: descriptions and transcripts where there are any, facts otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from memvid_core.agent.captions import Speech, clock, read_captions, read_transcription
from memvid_core.agent.documents import ROLE, NoTextError
from memvid_core.agent.messages import Conversation, Message, read_messages
from memvid_core.agent.scenes import Scene, scenes_of
from memvid_core.agent.text_files import read_text
from memvid_core.errors import InvalidInputError

__all__ = ["audio_reader", "image_reader", "video_reader"]

Describe = Callable[[bytes], str]
Transcribe = Callable[[Path], Any]
Reader = Callable[[Path], list[Conversation]]

_CAPTIONS: Final = (".srt", ".vtt")
_TRANSCRIPTS: Final = (*_CAPTIONS, ".txt")
_TAKEN: Final = (36867, 306)  # DateTimeOriginal, DateTime
_EXIF, _GPS, _MAKE, _MODEL, _DESCRIPTION = 0x8769, 0x8825, 271, 272, 270


def image_reader(describe: Describe | None = None) -> Reader:
    """Return a reader of images.

    Args:
        describe: Returns what an image shows, from the bytes of a PNG, JPEG or the like: a model. Without it, the
            resource tells the name, the size and what EXIF says: when, where and with what it was taken.
    """

    def read(path: Path) -> list[Conversation]:
        facts, taken = _image_facts(path)
        shown = "" if describe is None else _described(describe, path.read_bytes())
        text = f"{shown}\n({facts})" if shown else facts
        return [Conversation([Message(ROLE, text, path.name, taken)], title=path.name)]

    return read


def audio_reader(transcribe: Transcribe | None = None) -> Reader:
    """Return a reader of recordings, and of transcripts: SRT, WebVTT or plain text.

    Args:
        transcribe: Returns the words of a recording: a text, or segments with ``start``, ``text`` and ``speaker``.
            Without it, the transcript is read from a file of the same name, such as ``talk.srt`` for ``talk.mp3``.
    """

    def read(path: Path) -> list[Conversation]:
        said = _transcript(path, transcribe)
        if said is None:
            raise InvalidInputError(
                f"it has no transcript: put {path.stem}.srt, .vtt or .txt next to the file, or give transcribe="
            )
        return [Conversation(said, title=path.name)]

    return read


def video_reader(describe: Describe | None = None, transcribe: Transcribe | None = None) -> Reader:
    """Return a reader of videos: their words as for audio, and a frame of each scene.

    Args:
        describe: Returns what a frame shows, from the bytes of a PNG. Without it, the times of the scenes are kept.
        transcribe: As for `audio_reader`; without it and without a transcript, the scenes alone are kept.
    """

    def read(path: Path) -> list[Conversation]:
        if path.suffix.lower() in _TRANSCRIPTS:
            return audio_reader(transcribe)(path)
        facts, scenes = scenes_of(path)
        starts = ", ".join(clock(scene.start) for scene in scenes)
        messages = [Message(ROLE, f"{facts}; {len(scenes)} scenes, at {starts}", path.name)]
        messages += _shown(scenes, describe, path.name)
        return [Conversation([*messages, *(_transcript(path, transcribe) or [])], title=path.name)]

    return read


def _shown(scenes: list[Scene], describe: Describe | None, name: str) -> Iterator[Message]:
    for scene in scenes if describe is not None else ():
        if describe is not None and (shown := _described(describe, scene.png)):
            yield Message(ROLE, f"[{clock(scene.start)}] {shown}", name)


def _described(describe: Describe, data: bytes) -> str:
    shown = describe(data)
    if not isinstance(shown, str):
        raise InvalidInputError(f"describe must return a text, not {shown!r:.60}")
    return shown.strip()


# --- transcripts ---


def _transcript(path: Path, transcribe: Transcribe | None) -> list[Message] | None:
    """Return what is said in a recording, or None if nothing tells it."""
    written = path if path.suffix.lower() in _TRANSCRIPTS else _beside(path)
    if written is not None:
        text = read_text(written)
        if written.suffix.lower() in _CAPTIONS:
            return _messages(read_captions(text), path.name)
        said = [Message(ROLE, each.text, each.name or path.name, each.created_at) for each in read_messages(text)]
        if not said:
            raise NoTextError("the transcript has no text")
        return said
    return None if transcribe is None else _messages(read_transcription(transcribe(path)), path.name)


def _beside(path: Path) -> Path | None:
    return next((found for suffix in _TRANSCRIPTS if (found := path.with_suffix(suffix)).is_file()), None)


def _messages(said: list[Speech], name: str) -> list[Message]:
    if not said:
        raise NoTextError("nothing is said in it")
    return [Message(ROLE, f"[{clock(each.start)}] {each.text}", each.who or name) for each in said]


# --- images ---


def _image_facts(path: Path) -> tuple[str, datetime | None]:
    """Return what the file of an image says of itself, and when it was taken."""
    try:
        from PIL import Image
    except ImportError:
        return f"Image {path.name}", None
    try:
        with Image.open(path) as image:
            exif = image.getexif()
            parts = [f"Image {path.name}: {image.format}, {image.width} x {image.height} pixels"]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise InvalidInputError(f"no image that can be read: {exc}") from exc
    details = exif.get_ifd(_EXIF)
    taken = next((time for tag in _TAKEN if (time := _exif_time(details.get(tag) or exif.get(tag)))), None)
    if taken is not None:
        parts.append(f"taken on {taken:%Y-%m-%d} at {taken:%H:%M}")
    camera = " ".join(str(exif[tag]).strip("\0 ") for tag in (_MAKE, _MODEL) if exif.get(tag))
    parts += [f"with {camera}"] if camera else []
    parts += [f"at {place}" for place in _place(exif.get_ifd(_GPS))]
    parts += [f'described as "{str(exif[_DESCRIPTION]).strip()}"'] if exif.get(_DESCRIPTION) else []
    return ", ".join(parts), taken


def _exif_time(value: Any) -> datetime | None:
    with suppress(ValueError):
        return datetime.strptime(str(value).strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    return None


def _place(gps: Any) -> list[str]:
    """Return a latitude and a longitude in degrees; nothing if EXIF has none, or none that makes sense."""
    try:
        found = []
        for reference, value, negative in ((1, 2, "S"), (3, 4, "W")):
            degrees, minutes, seconds = (float(part) for part in gps[value])
            sign = -1 if str(gps[reference]).strip("\0 ").upper() == negative else 1
            found.append(f"{sign * (degrees + minutes / 60 + seconds / 3600):.4f}")
        return [", ".join(found)]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return []
