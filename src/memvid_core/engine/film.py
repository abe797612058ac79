"""The film of a memory: what a new file says about itself to those who play it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from memvid_core.engine.snapshot import Snapshot
from memvid_core.errors import CodecError, InvalidInputError, MissingExtraError
from memvid_core.journal import Journal
from memvid_core.journal.frames import Kind
from memvid_core.journal.pictures import film_in, picture_before
from memvid_core.video import FrameCodec
from memvid_core.video.film import Film, can_make, film_of, picture_of, shows_pictures

__all__ = ["Picture", "film_again", "new_film", "pictures_at", "pictures_of"]

Picture = str | os.PathLike[str] | bytes
"""An image: the path of its file, or the bytes of the file."""

_MOST_BYTES: Final = 1 << 28  # of an image file


def new_film(title: str, description: str, codec: FrameCodec) -> Film:
    """Return the film of a memory that is created.

    Raises:
        CodecError: The codec has no pictures that can be drawn on.
        MissingExtraError: Pillow is not installed.
    """
    if not shows_pictures(codec):
        raise CodecError("film=True needs the codec 'pcm' with pictures of at least 128x128 pixels")
    _check_pillow(codec)
    return film_of(title, description, [f"made {_today()}"], codec)


def film_again(snapshot: Snapshot, path: object) -> Film | None:
    """Return the film of a file that is written again, with its counts; None if the old file has none.

    Where no card can be drawn, because Pillow or libx264 is missing, or the title is lost, the old one is kept.

    Args:
        snapshot: The state that is written.
        path: The path of the new file; a file object has no film.
    """
    source, records, commits = snapshot.epoch.journal, snapshot.record_count, snapshot.commit
    if not isinstance(path, Path):
        return None
    old, title = film_in(source.video, source.header.head), source.video.title
    if title is None:
        return old
    counts = f"{records:,} record{'' if records == 1 else 's'}, {commits:,} commit{'' if commits == 1 else 's'}"
    made = film_of(title, source.header.description, [counts, _today()], source.video.codec)
    return made if made.card or old is None else old


def pictures_of(
    given: Iterable[Picture | None] | Picture | None, count: int, places: Sequence[int], journal: Journal
) -> dict[int, bytes]:
    """Return the pictures of new records as slices, by the positions of the records to keep.

    Args:
        given: One image or None per record; None for no pictures at all.
        count: The number of given records.
        places: The positions of those to keep.
        journal: The journal to which they will be added.

    Raises:
        InvalidInputError: The memory has no film, the number of pictures is another, or one is not an image.
        MissingExtraError: Pillow is not installed.
    """
    if given is None:
        return {}
    if not isinstance(given, str | bytes | os.PathLike | Iterable):
        raise InvalidInputError(f"pictures must be one per text, not of type {type(given).__name__}")
    images = [given] if isinstance(given, str | bytes | os.PathLike) else list(given)
    if len(images) != count:
        raise InvalidInputError(f"pictures must be as many as texts: {len(images)} pictures, {count} texts")
    wanted = {at: image for at, place in enumerate(places) if (image := images[place]) is not None}
    if not wanted:
        return {}
    if not journal.shows:
        raise InvalidInputError("this memory has no film, so its records have no pictures; create it with film=True")
    codec = journal.video.codec
    _check_pillow(codec)
    return {at: _coded(image, places[at], codec) for at, image in wanted.items()}


def _coded(image: Picture, place: int, codec: FrameCodec) -> bytes:
    try:
        made = picture_of(image if isinstance(image, bytes) else _content(image), codec)
    except InvalidInputError as exc:
        raise InvalidInputError(f"picture {place}: {exc}") from exc
    except (OSError, ValueError) as exc:  # of a path, which may also have a null character
        raise InvalidInputError(f"picture {place} cannot be read: {exc}") from exc
    if made is None:
        raise CodecError(f"picture {place} cannot be coded: PyAV has no libx264, or one that codes otherwise")
    return made


def _content(image: str | os.PathLike[str]) -> bytes:
    if not isinstance(image, str | os.PathLike):
        raise InvalidInputError(f"give the path of an image or its bytes, not an object of type {type(image).__name__}")
    there = os.stat(image)
    if not stat.S_ISREG(there.st_mode):  # to read a pipe or a device may never end
        raise InvalidInputError(f"{os.fspath(image)!r} is a folder, a pipe or a device, not a regular file")
    if there.st_size > _MOST_BYTES:
        raise InvalidInputError(f"{os.fspath(image)!r} is larger than {_MOST_BYTES:,} bytes")
    return Path(image).read_bytes()


def pictures_at(snapshot: Snapshot, rows: Sequence[int]) -> dict[int, bytes]:
    """Return the pictures of rows that are written again, as slices, by their positions in ``rows``."""
    epoch = snapshot.epoch
    if not epoch.journal.shows:
        return {}
    table = epoch.index.frame_table(Kind.RECORDS)
    found = {}
    for at, row in enumerate(rows):
        place = table.find(row)
        nal = picture_before(epoch.journal.video, place) if place is not None and place.row == row else None
        if nal is not None:
            found[at] = nal
    return found


def _check_pillow(codec: FrameCodec) -> None:
    if not can_make(codec):
        raise MissingExtraError("the film needs Pillow; install it with: pip install 'memvid-core[film]'")


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
