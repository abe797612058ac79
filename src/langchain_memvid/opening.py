"""Opening the memory under a store, and what every class over a memory can do: be closed, entered, copied, pickled."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Literal, ParamSpec, Self, TypeVar

import numpy as np

from langchain_memvid.wording import our_words
from memvid_core import (
    HashingEmbedder,
    IndexName,
    InvalidInputError,
    LockedError,
    Memory,
    MemoryExistsError,
    MemoryNotFoundError,
    Metric,
    ReadOnlyError,
    WriterThread,
    as_embedder,
    run_in_thread,
)

__all__ = ["IN_RAM", "OverMemory", "StrPath", "check_path", "is_path", "open_memory"]

P = ParamSpec("P")
T = TypeVar("T")
StrPath = str | os.PathLike[str]

IN_RAM = ":memory:"
_SAME = 0.98  # the cosine of a vector with itself after it was rounded to eight bits is above it


def is_path(value: object) -> bool:
    """Return whether somebody means a memory's file by this value."""
    return isinstance(value, os.PathLike) or (
        isinstance(value, str) and (value.lower().endswith(".mp4") or value == IN_RAM)
    )


def check_path(path: object) -> None:
    """Raise if this cannot be the path of a memory.

    Raises:
        InvalidInputError: It is an open memory, is empty, or is no path.
    """
    if isinstance(path, Memory):
        raise InvalidInputError("an open memory was given as path: give it as memory=")
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise InvalidInputError(f"path is the name of an .mp4 file, or ':memory:', not {path!r}")


def open_memory(
    path: StrPath,
    mode: Literal["a", "r"] = "a",
    embedder: object = None,
    *,
    named: str = "embedding=",
    codec: str = "pcm",
    vector_dtype: Any = None,
    index: IndexName = "auto",
    metric: Metric | None = None,
    index_dir: StrPath | None = None,
    timeout: float = 30.0,
) -> Memory:
    """Open the memory at ``path``, or make it if it is to be written and is not there.

    A file that was made without an embedder and has no vectors yet, as a saver makes it, takes the built-in one.

    Args:
        path: The MP4 file, or ``":memory:"``.
        mode: ``"a"`` to write, ``"r"`` to read.
        embedder: Anything ``memvid_core.as_embedder`` takes.
        named: How the caller is given an embedder, for messages.
        codec: What a new file's pictures are.
        vector_dtype: How a new file stores vectors.
        index: How vectors are searched.
        metric: How a new file compares vectors; None is what the file says, and cosine for a new one.
        index_dir: Where the index goes.
        timeout: How many seconds a commit waits while others commit.

    Raises:
        InvalidInputError: ``path`` is none, or ``mode`` is another.
        MemoryNotFoundError: There is no such folder; with mode ``"r"``, no such file.
        EmbedderMismatchError: Another embedder wrote the file.
    """
    check_path(path)
    if mode not in ("a", "r"):
        raise InvalidInputError(f"mode is 'a' to write or 'r' to read, not {mode!r}")
    shared: dict[str, Any] = {"index_dir": index_dir, "timeout": timeout, "index": index}
    made = shared | {"metric": metric or "cosine"}
    shared["metric"] = metric
    with our_words(named):
        while path != IN_RAM:
            try:
                return _existing(path, mode, embedder, shared)
            except MemoryNotFoundError:
                if mode == "r":
                    raise
            with suppress(MemoryExistsError):  # another process was faster
                return Memory.create(path, embedder, codec, vector_dtype, **made)
        return Memory.create(path, embedder, codec, vector_dtype, **made)


def _existing(path: StrPath, mode: str, embedder: object, shared: dict[str, Any]) -> Memory:
    memory = Memory.open(path, mode, embedder=embedder, **shared)
    if embedder is not None or memory.embedder is not None or memory.info().embedder != "given":
        return memory
    candidate = Memory.open(path, mode, embedder=as_embedder(None), **shared)
    chosen, other = (candidate, memory) if _made_the_vectors(candidate) else (memory, candidate)
    other.close()
    return chosen


def _made_the_vectors(memory: Memory) -> bool:
    """Return whether a memory's embedder made the vectors that are in it, as far as a few of them tell."""
    dimension, embedder = memory.info().dimension, memory.embedder
    if dimension is None or embedder is None:
        return True
    if dimension != embedder.dimension:
        return False
    hits = memory.search(np.ones(dimension, np.float32), 4, mode="dense", with_vectors=True)
    made = embedder.embed_documents([hit.text for hit in hits])
    return all(_cosine(row, hit.vector) >= _SAME for row, hit in zip(made, hits, strict=True))


def _cosine(a: Any, b: Any) -> float:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(a @ b / ((np.linalg.norm(a) * np.linalg.norm(b)) or 1.0))


class OverMemory:
    """What every class over a memory can do: be opened without blocking, closed, entered, copied and pickled.

    A copy is over the same memory. A pickle holds the path, and what is made of it opens the file anew.
    """

    memory: Memory
    _owned: bool
    _thread: WriterThread
    _arguments: dict[str, Any]
    """What else a new one on the same path is made with."""

    def _hold(self, memory: Memory, *, owned: bool, **arguments: Any) -> None:
        self.memory, self._owned, self._arguments = memory, owned, arguments
        self._thread = WriterThread()

    @classmethod
    async def aopen(cls: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Make one without blocking the event loop; the arguments are the constructor's."""
        return await run_in_thread(partial(cls, *arguments, **options))

    async def _written(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Do work that may wait for other writers in a thread of this object's own."""
        return await self._thread.run(partial(work, *arguments, **options))

    def close(self) -> None:
        """Close the memory, unless it was given open; closing twice is fine."""
        self._thread.close()
        if self._owned:
            self.memory.close()

    async def aclose(self) -> None:
        """Async :meth:`close`, after the writes that were asked for before."""
        await self._written(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __copy__(self) -> Self:
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        path = self.memory.path
        if path == IN_RAM:
            raise InvalidInputError(
                f"a {type(self).__name__} in RAM cannot be pickled; give it a path, and the copy opens that"
            )
        options = {"path": os.path.abspath(path), "mode": _mode_of(self.memory), **self._arguments}
        return _reopened, (type(self), options)

    def _embedder(self) -> object:
        """What to open the file with once more: the built-in embedder is found in the file."""
        embedder = self.memory.embedder
        return None if isinstance(embedder, HashingEmbedder) else embedder


def _reopened(kind: type[Any], options: dict[str, Any]) -> Any:
    return kind(**options)


def _mode_of(memory: Memory) -> str:
    try:
        with memory.exclusive(timeout=0):
            return "a"
    except ReadOnlyError:
        return "r"
    except LockedError:
        return "a"
