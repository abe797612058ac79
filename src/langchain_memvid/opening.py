"""Opening the memory of a store, and the shared behavior of all classes over a memory: close, enter, copy, pickle."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Any, Literal, ParamSpec, Self, TypeVar

import numpy as np

from langchain_memvid.wording import our_words
from memvid_core import (
    HashingEmbedder,
    Index,
    InvalidInputError,
    Library,
    LockedError,
    Memory,
    MemoryExistsError,
    MemoryNotFoundError,
    Metric,
    NotAMemoryError,
    ReadOnlyError,
    WriterThread,
    as_embedder,
    run_in_thread,
)

__all__ = [
    "IN_RAM",
    "OverMemory",
    "StrPath",
    "alone",
    "check_path",
    "is_library",
    "is_path",
    "newest",
    "open_library",
    "open_memory",
]

P = ParamSpec("P")
T = TypeVar("T")
StrPath = str | os.PathLike[str]

IN_RAM = ":memory:"
_SAME = 0.98  # a vector's cosine with its own 8-bit rounding is above this


def is_path(value: object) -> bool:
    """Return whether a value looks like the path of a memory."""
    return isinstance(value, os.PathLike) or (
        isinstance(value, str) and (value.lower().endswith(".mp4") or value == IN_RAM)
    )


def check_path(path: object) -> None:
    """Check that a value can be the path of a memory.

    Raises:
        InvalidInputError: The value is an open memory, is empty, or is not a path.
    """
    if isinstance(path, Memory):
        raise InvalidInputError("path is an open memory: pass it as memory=")
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise InvalidInputError(f"path must be the name of an .mp4 file or ':memory:', not {path!r}")


def open_memory(
    path: StrPath,
    mode: Literal["a", "r"] = "a",
    embedder: object = None,
    *,
    named: str = "embedding=",
    codec: str = "pcm",
    vector_dtype: Any = None,
    index: Index = "auto",
    metric: Metric | None = None,
    index_dir: StrPath | None = None,
    timeout: float = 30.0,
    storage_options: Mapping[str, Any] | None = None,
    fs: object = None,
) -> Memory:
    """Open the memory at ``path``; in mode ``"a"``, create it if it does not exist.

    A file without vectors that was created without an embedder, for example by a saver, gets the built-in one.

    Args:
        path: The MP4 file, a URL to read, or ``":memory:"``.
        mode: ``"a"`` to write, ``"r"`` to read.
        embedder: Anything ``memvid_core.as_embedder`` takes.
        named: The name of the caller's embedder argument, for messages.
        codec: How a new file stores payloads as pictures: ``"pcm"`` or ``"qr"``.
        vector_dtype: The dtype in which a new file stores vectors.
        index: How vectors are searched.
        metric: How a new file compares vectors; None uses the metric of the file, or cosine for a new file.
        index_dir: The folder of the index.
        timeout: How many seconds a commit waits for other writers.
        storage_options: Options of fsspec's file system for a URL.
        fs: A file system of fsspec to read from.

    Raises:
        InvalidInputError: ``path`` is not a path, or ``mode`` is invalid.
        MemoryNotFoundError: The folder does not exist; with mode ``"r"``, the file does not exist.
        EmbedderMismatchError: Another embedder wrote the file.
    """
    check_path(path)
    if mode not in ("a", "r"):
        raise InvalidInputError(f"mode must be 'a' (write) or 'r' (read), not {mode!r}")
    shared: dict[str, Any] = {"index_dir": index_dir, "timeout": timeout, "index": index}
    made = shared | {"metric": metric or "cosine"}
    shared |= {"metric": metric, "storage_options": storage_options, "fs": fs}
    with our_words(named):
        while path != IN_RAM:
            try:
                return _existing(path, mode, embedder, shared)
            except MemoryNotFoundError:
                if mode == "r":
                    raise
            with suppress(MemoryExistsError):  # another process created it first
                return Memory.create(path, embedder, codec, vector_dtype, **made)
        return Memory.create(path, embedder, codec, vector_dtype, **made)


def is_library(path: object) -> bool:
    """Return whether a path names a library: a folder that has ``library.json``, or any path that ends in a slash."""
    if not isinstance(path, str | os.PathLike):
        return False
    name = os.fspath(path)
    return name.endswith(("/", os.sep)) or os.path.isfile(os.path.join(name, "library.json"))


def open_library(
    path: StrPath,
    mode: Literal["a", "r"] = "a",
    embedder: object = None,
    *,
    vector_dtype: Any = None,
    index: Index = "auto",
    metric: Metric | None = None,
    index_dir: StrPath | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **others: Any,
) -> Library:
    """Open the library at ``path``; in mode ``"a"``, create it if there is nothing.

    Args:
        path: The folder.
        mode: ``"a"`` to write, ``"r"`` to read.
        embedder: Anything ``memvid_core.as_embedder`` takes.
        vector_dtype: The dtype in which a new library stores vectors; by default ``"float16"``.
        index: How vectors are searched.
        metric: How a new library compares vectors; for an existing one, it must be its own.
        index_dir: The folder of the indexes of the shards.
        storage_options: Options of fsspec's file system for a URL.
        others: Options of a memory that a library does not have.

    Raises:
        InvalidInputError: A library does not have an option, or has another metric.
        NotAMemoryError: The folder has other files, or, with mode ``"r"``, no library.
        EmbedderMismatchError: Another embedder wrote it.
    """
    place: dict[str, Any] = {"index": index, "cache_dir": index_dir, "storage_options": storage_options}
    usual = {"codec": "pcm", "timeout": 30.0, "fs": None}
    for name, value in others.items():
        if value != usual[name]:
            raise InvalidInputError(f"{os.fspath(path)!r} is a library, which has no option {name}")
    with our_words():
        while True:
            try:
                library = Library.open(path, mode, embedder=embedder, **place)
            except NotAMemoryError:
                if mode == "r" or (os.path.isdir(path) and os.listdir(path)):
                    raise
                with suppress(MemoryExistsError):  # another process created it first
                    dtype: Any = vector_dtype or "float16"
                    return Library.create(path, embedder, vectors=dtype, metric=metric or "cosine", **place)
                continue
            found = library.info().metric
            if metric in (None, found):
                return library
            library.close()
            raise InvalidInputError(f"this library compares vectors by {found}, not by {metric}")


def alone(held: Memory | Library) -> AbstractContextManager[object]:
    """Return a context in which no other process changes a memory; a library has no lock, and detects conflicts."""
    return held.exclusive() if isinstance(held, Memory) else nullcontext(newest(held))


def newest(held: Memory | Library) -> Memory | Library:
    """Return a memory, which follows its file, or a library after reading its newest version.

    A store is open for as long as a server runs: what others delete from a library must not be found by it for so long.
    """
    if isinstance(held, Library):
        held.refresh()
    return held


def _existing(path: StrPath, mode: str, embedder: object, shared: dict[str, Any]) -> Memory:
    memory = Memory.open(path, mode, embedder=embedder, **shared)
    if embedder is not None or memory.embedder is not None or memory.info().embedder != "given":
        return memory
    candidate = Memory.open(path, mode, embedder=as_embedder(None), **shared)
    chosen, other = (candidate, memory) if _made_the_vectors(candidate) else (memory, candidate)
    other.close()
    return chosen


def _made_the_vectors(memory: Memory) -> bool:
    """Return whether a memory's embedder made its vectors, judging by a sample of them."""
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
    """Share what every class over a memory does: open without blocking, close, enter, copy and pickle.

    A copy uses the same memory. A pickle holds the path; unpickling opens the file again.
    """

    _held: Memory | Library
    _owned: bool
    _thread: WriterThread
    _arguments: dict[str, Any]
    """The other constructor arguments, for opening the same path again."""

    def _hold(self, held: Memory | Library, *, owned: bool, **arguments: Any) -> None:
        self._held, self._owned, self._arguments = held, owned, arguments
        self._thread = WriterThread()

    @property
    def memory(self) -> Memory:
        """The open memory.

        Raises:
            InvalidInputError: It is a library.
        """
        if isinstance(self._held, Memory):
            return self._held
        raise InvalidInputError(f"{self._held.path} is a library, not one file: use the attribute library")

    @property
    def library(self) -> Library:
        """The open library.

        Raises:
            InvalidInputError: It is a memory.
        """
        if isinstance(self._held, Library):
            return self._held
        raise InvalidInputError(f"{self._held.path} is a memory, not a library: use the attribute memory")

    @classmethod
    async def aopen(cls: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Create an instance without blocking the event loop; takes the constructor's arguments."""
        return await run_in_thread(partial(cls, *arguments, **options))

    async def _written(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Run work that may wait for other writers in this object's own thread."""
        return await self._thread.run(partial(work, *arguments, **options))

    def close(self) -> None:
        """Close the memory, unless it was passed in open. Closing twice is allowed."""
        self._thread.close()
        if self._owned:
            self._held.close()

    async def aclose(self) -> None:
        """Async :meth:`close`. Writes that were requested before are finished first."""
        await self._thread.run_last(self.close)

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
        path = self._held.path
        if path == IN_RAM:
            raise InvalidInputError(
                f"a {type(self).__name__} in RAM cannot be pickled; give it a path, and unpickling opens that file"
            )
        if any(self._arguments.get(name) is not None for name in ("storage_options", "fs")):
            raise InvalidInputError(
                f"a {type(self).__name__} with storage_options or fs cannot be pickled, since they may hold "
                "credentials; make it again from its URL"
            )
        place = path if "://" in path else os.path.abspath(path)
        options = {"path": place, "mode": _mode_of(self._held), **self._arguments}
        return _reopened, (type(self), options)

    def _embedder(self) -> object:
        """Return the embedder argument for opening the file again: None for the built-in one, stored in the file."""
        embedder = self._held.embedder
        return None if isinstance(embedder, HashingEmbedder) else embedder


def _reopened(kind: type[Any], options: dict[str, Any]) -> Any:
    return kind(**options)


def _mode_of(held: Memory | Library) -> str:
    if isinstance(held, Library):
        return held.mode
    try:
        with held.exclusive(timeout=0):
            return "a"
    except ReadOnlyError:
        return "r"
    except LockedError:
        return "a"
