"""The ``index`` path of Memvid's API: a small JSON file that points to the memory, or the index folder itself.

In Memvid, the index holds texts and vectors and is required for searching. Here the video holds everything, and the
index can be rebuilt. Programs still pass two paths, check that both exist and copy both, so:

- a path that ends in ``.json`` becomes a small file that names the memory. It is never required.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from memvid_core.errors import InvalidInputError, MemvidError, NotAMemoryError
from memvid_core.memory import Memory
from memvid_core.memvid_v1.json_files import read_json
from memvid_core.system.atomic_files import write_file

__all__ = ["StrPath", "check_index", "index_folder", "open_memory", "write_pointer"]

StrPath = str | os.PathLike[str]

_FORMAT = "memvid-core"
_LARGEST = 1 << 30  # bytes of an index that Memvid wrote
_NAMED = ("sentence-transformers:", "model2vec:", "fastembed:")


def index_folder(index: StrPath | None) -> Path | None:
    """Return the index folder that an ``index`` path names; None if it is a pointer or not given."""
    return None if index is None or Path(index).suffix.lower() == ".json" else Path(index)


def write_pointer(index: StrPath | None, video: StrPath, about: dict[str, Any]) -> None:
    """Write the JSON file if the ``index`` path names one."""
    if index is None or index_folder(index) is not None:
        return
    path = Path(index)
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = os.path.relpath(video, path.parent) if _same_drive(video, path.parent) else os.fspath(video)
    content = {"format": _FORMAT, "video": Path(shown).as_posix(), **about}
    write_file(path, (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode())


def _same_drive(one: StrPath, other: StrPath) -> bool:
    return os.path.splitdrive(os.path.abspath(one))[0] == os.path.splitdrive(os.path.abspath(other))[0]


def open_memory(
    video: StrPath, index: StrPath | None, embedding_model: object, mode: str = "r", *, timeout: float = 30.0
) -> Memory:
    """Open a memory by the two paths of Memvid's API.

    A model that the memory names is loaded if possible.

    Raises:
        NotAMemoryError: The file is not a memory; for files of Memvid v1, the message says how to import them.
    """
    folder = index_folder(index)
    try:
        memory = Memory.open(video, mode, embedder=embedding_model, index_dir=folder, timeout=timeout)
    except NotAMemoryError as exc:
        if index is not None and folder is None and _is_memvid_index(Path(index)):
            raise NotAMemoryError(
                f"{os.fspath(video)} and {os.fspath(index)} were written by Memvid v1; import them with: "
                f"memvid import {os.fspath(video)} {os.fspath(index)} -o new.mp4"
            ) from exc
        raise
    recorded = memory.info().embedder
    if memory.embedder is not None or embedding_model is not None or not recorded.startswith(_NAMED):
        return memory
    memory.close()
    return Memory.open(video, mode, embedder=recorded, index_dir=folder, timeout=timeout)


def _is_memvid_index(index: Path) -> bool:
    try:
        content = read_json(index, _LARGEST)
    except MemvidError:
        return False
    return isinstance(content, dict) and isinstance(content.get("metadata"), list)


def check_index(index: StrPath | None) -> None:
    """Check an ``index`` path before anything is written.

    Raises:
        InvalidInputError: The path is a folder that ends in ``.json``, or a file that does not.
    """
    if index is None:
        return
    path, folder = Path(index), index_folder(index)
    if folder is None and path.is_dir():
        raise InvalidInputError(f"{path} is a folder; give a .json file, or the name of a folder without .json")
    if folder is not None and path.exists() and not path.is_dir():
        raise InvalidInputError(f"{path} is a file; give a .json file, or the name of a folder for the index")
