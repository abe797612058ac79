"""Opening the memory under a store."""

from __future__ import annotations

import os
from typing import Any, Literal

from llama_index_memvid.embedding import MemvidEmbedding
from memvid_core import Memory

__all__ = ["IN_RAM", "open_memory"]

IN_RAM = ":memory:"


def open_memory(
    path: str | os.PathLike[str], mode: Literal["a", "r"], embedder: object = None, **options: Any
) -> Memory:
    """The memory at ``path``, created if it is to be written and is not there.

    Args:
        path: The MP4 file, or ``":memory:"``.
        mode: ``"a"`` to write, ``"r"`` to read.
        embedder: Anything ``memvid_core.as_embedder`` takes. None opens with what the memory can find of itself, and
            creates one whose vectors all come with the nodes.
        options: For a new memory, those of ``Memory.create``; ``index_dir`` for any.
    """
    chosen = embedder.embedder if isinstance(embedder, MemvidEmbedding) else embedder
    if path != IN_RAM and (mode == "r" or os.path.exists(path)):
        return Memory.open(path, mode, embedder=chosen, index_dir=options.get("index_dir"))
    return Memory.create(path, "given" if chosen is None else chosen, **options)
