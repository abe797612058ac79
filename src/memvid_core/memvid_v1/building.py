"""Writing chunks to a memory: to a new one that replaces the old one when complete, or appended to an existing one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from memvid_core.errors import CodecError, NotAMemoryError
from memvid_core.ingest import Chunk
from memvid_core.memory import Memory, memory_video, session_of
from memvid_core.memvid_v1.pointer import index_folder, open_memory
from memvid_core.model import Embedder
from memvid_core.rewriting.convert import convert
from memvid_core.rewriting.replaced import memory_id_of
from memvid_core.system.atomic_files import replacing
from memvid_core.system.progress import progress

__all__ = ["append", "build", "index_stats"]

_BUILDING = ".building"
_CHUNKS_A_COMMIT = {"pcm": 4096, "qr": 1000}  # a commit of symbols is drawn in memory before it is encoded

Built = dict[str, Any]


def append(
    target: Path, index: Path | None, embedder: Embedder | None, waiting: list[Chunk], wanted: str, show: bool | None
) -> Built:
    """Append the waiting chunks to the memory; written chunks are removed from ``waiting``.

    Raises:
        CodecError: The memory has another codec than ``wanted``.
    """
    with open_memory(target, index, embedder, "a") as memory:
        coding = memory_video.pictures(session_of(memory)).coding
        if wanted and coding != wanted:
            raise CodecError(
                f"{target} is {coding} and cannot be extended as {wanted}: omit video_codec or use another name"
            )
        return _write(memory, waiting, show)


def build(
    target: Path,
    index: Path | None,
    embedder: Embedder | None,
    waiting: list[Chunk],
    *,
    base: Path | None,
    codec: str,
    options: dict[str, Any],
    show: bool | None,
) -> Built:
    """Write a new memory with the records of ``base``, if given, and the waiting chunks; replace ``target`` at the end.

    Raises:
        NotAMemoryError: The file at ``target`` is not a memory.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    replaced = _replaceable_id(target) if os.path.lexists(target) else None
    # Each memory has its own folder in the index folder: the old one is used until the memory is replaced.
    root = index_folder(index) or target.with_name(target.name + ".index")
    is_new = not root.exists()
    try:
        with replacing(target) as temporary:
            if base is None:
                vector_dtype: Any = "int8" if codec == "qr" else "float16"
                made = Memory.create(temporary, embedder, codec, vector_dtype, codec_options=options, index_dir=root)
            else:
                convert(base, temporary, codec=codec, codec_options=options, show_progress=show)
                made = open_memory(temporary, root, embedder, "a")
            with made as memory:
                built = _write(memory, waiting, show)
            stale = None if replaced == memory_id_of(temporary) else replaced
        if stale is not None:
            _drop_index(root, stale)
    except BaseException:
        if is_new:
            shutil.rmtree(root, ignore_errors=True)
        raise
    return built


def _write(memory: Memory, waiting: list[Chunk], show: bool | None) -> Built:
    size = _CHUNKS_A_COMMIT[memory.info().codec]
    ids = _free_ids(memory)
    total = len(waiting)
    with progress("Building", total, show=show) as advance:
        while waiting:
            batch = waiting[:size]
            memory.add([chunk.text for chunk in batch], [chunk.metadata for chunk in batch], [next(ids) for _ in batch])
            del waiting[: len(batch)]
            advance(total - len(waiting))
    info = memory.info()
    shown, made = memory_video.picture_count(session_of(memory)), memory_video.pictures(session_of(memory))
    return {
        "total_chunks": info.records,
        "codec": made.coding,
        "fps": made.rate,
        "frame_size": made.width,
        "crf": made.crf,
        "total_frames": info.frames,
        "total_pictures": shown,
        "duration_seconds": shown / made.rate,
        "video_size_mb": info.bytes / 1e6,
        "index_stats": index_stats(memory),
    }


def _free_ids(memory: Memory) -> Iterator[str]:
    """Yield unused ids: numbers, starting with the number of records so far."""
    info = memory.info()
    number = info.records + info.deleted + info.lost
    while True:
        if str(number) not in memory:
            yield str(number)
        number += 1


def index_stats(memory: Memory) -> dict[str, Any]:
    """Return statistics of the index."""
    info = memory.info()
    return {
        "total_chunks": info.records,
        "total_frames": info.frames,
        "dimension": info.dimension,
        "embedding_model": info.embedder,
        "vector_dtype": info.vector_dtype,
        "index_bytes": info.index_bytes,
    }


def _replaceable_id(target: Path) -> bytes:
    try:
        return memory_id_of(target)
    except NotAMemoryError as exc:
        raise NotAMemoryError(f"{target} is not a memory and is not replaced; give another name") from exc


def _drop_index(root: Path, memory_id: bytes) -> None:
    """Remove the index of a memory that is gone from a shared index folder; other memories clean up only their own."""
    name = memory_id.hex()[:16]
    for folder in root.glob(f"{name}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    for record in (root / f"owner-{name}", root / f"second-owner-{name}"):
        with suppress(OSError):
            record.unlink()
