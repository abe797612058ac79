"""The film of a memory: what a new file says about itself to those who play it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from memvid_core.errors import CodecError, MissingExtraError
from memvid_core.journal import Journal
from memvid_core.video import FrameCodec
from memvid_core.video.film import Film, can_make, film_of, shows_pictures

__all__ = ["film_again", "new_film"]


def new_film(path: Path, description: str, codec: FrameCodec) -> Film:
    """Return the film of a memory that is created at ``path``.

    Raises:
        CodecError: The codec has no pictures that can be drawn on.
        MissingExtraError: Pillow is not installed.
    """
    if not shows_pictures(codec):
        raise CodecError("film=True needs the codec 'pcm' with pictures of at least 128x128 pixels")
    if not can_make(codec):
        raise MissingExtraError("the film needs Pillow; install it with: pip install 'memvid-core[film]'")
    return film_of(path.stem, description, [f"made {_today()}"], codec)


def film_again(source: Journal, path: object, records: int) -> Film | None:
    """Return the film of a file that is written again, with its counts; None if ``source`` has none either.

    Args:
        source: The journal of the file.
        path: The path of the file, whose name is the title; a file object has no film.
        records: The number of live records.
    """
    if not isinstance(path, Path) or not source.video.has_about:
        return None
    commits = source.cursor.commit
    counts = f"{records:,} record{'' if records == 1 else 's'}, {commits:,} commit{'' if commits == 1 else 's'}"
    return film_of(path.stem, source.header.description, [counts, _today()], source.video.codec)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
