"""The ``index`` path of Memvid's API: a small JSON file that points at the memory, or the index folder itself.

In Memvid, text and vectors are in the index, and a search cannot do without it. Here everything is in the video, and
what an index is for can be made again. Programs still pass two paths, look whether both are there and copy both, so:

- a path that ends in ``.json`` becomes a small file that says which memory it belongs to. Nothing ever needs it.
- any other path is the folder that the memory's index is kept in (``index_dir`` of :meth:`Memory.open`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from memvid_core.embedding import load_model
from memvid_core.errors import InvalidInputError, MemvidError, NotAMemoryError
from memvid_core.memory import Memory
from memvid_core.memvid_v1.json_files import read_json

__all__ = ["StrPath", "check_index", "index_folder", "open_memory", "write_pointer"]

StrPath = str | os.PathLike[str]

_FORMAT = "memvid-core"
_LARGEST = 1 << 30  # bytes of an index that Memvid wrote
_NAMED = ("sentence-transformers:", "model2vec:", "fastembed:")


def index_folder(index: StrPath | None) -> Path | None:
    """The index folder that an ``index`` path names; None if it is a pointer or is not given."""
    return None if index is None or Path(index).suffix.lower() == ".json" else Path(index)


def write_pointer(index: StrPath | None, video: StrPath, about: dict[str, Any]) -> None:
    """Write the small JSON file, where the ``index`` path names one."""
    if index is None or index_folder(index) is not None:
        return
    path = Path(index)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".writing")
    shown = os.path.relpath(video, path.parent) if _same_drive(video, path.parent) else os.fspath(video)
    told = {"format": _FORMAT, "video": Path(shown).as_posix(), **about}
    beside.write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    os.replace(beside, path)


def _same_drive(one: StrPath, other: StrPath) -> bool:
    return os.path.splitdrive(os.path.abspath(one))[0] == os.path.splitdrive(os.path.abspath(other))[0]


def open_memory(
    video: StrPath, index: StrPath | None, embedding_model: object, mode: str = "r", *, timeout: float = 30.0
) -> Memory:
    """Open a memory by the two paths of Memvid's API.

    A model that the memory names and that can be loaded by its name is loaded.

    Raises:
        NotAMemoryError: It is none; for a pair of Memvid's own the message says how to take it over.
    """
    folder = index_folder(index)
    try:
        memory = Memory.open(video, mode, embedder=embedding_model, index_dir=folder, timeout=timeout)
    except NotAMemoryError as exc:
        if index is not None and folder is None and _is_memvid_index(Path(index)):
            raise NotAMemoryError(
                f"{os.fspath(video)} and {os.fspath(index)} are a pair that Memvid wrote; take it over with: "
                f"memvid import {os.fspath(video)} {os.fspath(index)} -o new.mp4"
            ) from exc
        raise
    recorded = memory.info().embedder
    if memory.embedder is not None or embedding_model is not None or not recorded.startswith(_NAMED):
        return memory
    memory.close()
    return Memory.open(video, mode, embedder=load_model(recorded), index_dir=folder, timeout=timeout)


def _is_memvid_index(index: Path) -> bool:
    try:
        told = read_json(index, _LARGEST)
    except MemvidError:
        return False
    return isinstance(told, dict) and isinstance(told.get("metadata"), list)


def check_index(index: StrPath | None) -> None:
    """Refuse an ``index`` path before anything is written.

    Raises:
        InvalidInputError: A ``.json`` that is a folder, or a folder's name that a file has.
    """
    if index is None:
        return
    path, folder = Path(index), index_folder(index)
    if folder is None and path.is_dir():
        raise InvalidInputError(f"{path} is a folder; give a .json file, or a folder's name that does not end so")
    if folder is not None and path.exists() and not path.is_dir():
        raise InvalidInputError(f"{path} is a file; give a .json file, or the name of a folder for the index")
