"""Opening the memory of a store, and the shared behavior of all stores: close, enter, copy and pickle."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar

from llama_index_memvid.embedding import MemvidEmbedding
from llama_index_memvid.wording import our_words
from memvid_core import (
    HashingEmbedder,
    InvalidInputError,
    Library,
    LockedError,
    Memory,
    MemoryExistsError,
    MemoryNotFoundError,
    NotAMemoryError,
    ReadOnlyError,
    WriterThread,
    run_in_thread,
)

__all__ = ["IN_RAM", "OverMemory", "StrPath", "alone", "embedder_of", "held_of", "memory_of", "mode_of", "newest"]

P = ParamSpec("P")
T = TypeVar("T")
StrPath = str | os.PathLike[str]

IN_RAM = ":memory:"
_REMOTE = ("storage_options", "fs")


def memory_of(
    memory: Memory | None, path: StrPath, mode: Literal["a", "r"], embedder: object = None, **options: Any
) -> Memory:
    """Return the open memory, or open the one at ``path``; in mode ``"a"``, create it if it does not exist.

    Args:
        memory: An open memory, or None.
        path: The MP4 file, or ``":memory:"``.
        mode: ``"a"`` to write, ``"r"`` to read.
        embedder: Anything ``memvid_core.as_embedder`` takes. None opens a memory with the embedder that its file names,
            if it can be found, and creates a memory without one: all vectors come with the nodes.
        options: For a new memory, ``codec`` and ``vector_dtype``; for any, ``index``, ``metric``, ``index_dir`` and
            ``timeout``; for one behind a URL, ``storage_options`` and ``fs``.

    Raises:
        InvalidInputError: Both were given, or one of them is invalid.
        MemoryNotFoundError: The folder does not exist; with mode ``"r"``, the file does not exist.
        EmbedderMismatchError: A different embedder wrote the file.
    """
    if memory is None:
        return _opened(path, mode, embedder, **options)
    _check_alone(path, embedder, options)
    if not isinstance(memory, Memory):
        raise InvalidInputError(
            f"memory must be an open Memory, not a value of type {type(memory).__name__}; pass a path as path="
        )
    return memory


def held_of(
    held: Memory | Library | None, path: StrPath, mode: Literal["a", "r"], embedder: object = None, **options: Any
) -> Memory | Library:
    """Return the open memory or library, or open the one at ``path``; see :func:`memory_of`.

    A path that ends in a slash, or a folder that has ``library.json``, is a library.
    """
    if isinstance(held, Library):
        _check_alone(path, embedder, options)
        return held
    if held is None and _is_library(path):
        return _opened_library(path, mode, embedder, **options)
    return memory_of(held, path, mode, embedder, **options)


def _is_library(path: object) -> bool:
    if not isinstance(path, str | os.PathLike):
        return False
    name = os.fspath(path)
    return name.endswith(("/", os.sep)) or os.path.isfile(os.path.join(name, "library.json"))


def _opened_library(path: StrPath, mode: Literal["a", "r"], embedder: object, **options: Any) -> Library:
    usual = {"codec": "pcm", "timeout": 30.0, "fs": None}
    for name, value in usual.items():
        if options.get(name, value) != value:
            raise InvalidInputError(f"{os.fspath(path)!r} is a library, which has no option {name}")
    chosen = embedder.embedder if isinstance(embedder, MemvidEmbedding) else embedder
    metric, cache, dtype = options.get("metric"), options.get("index_dir"), options.get("vector_dtype") or "float16"
    place: dict[str, Any] = {"index": options.get("index", "auto"), "cache_dir": cache}
    place["storage_options"] = options.get("storage_options")
    with our_words():
        while True:
            try:
                library = Library.open(path, mode, embedder=chosen, **place)
            except NotAMemoryError:
                if mode == "r" or (os.path.isdir(path) and os.listdir(path)):
                    raise
                with suppress(MemoryExistsError):  # another process created it first
                    made_with = "given" if chosen is None else chosen
                    made: dict[str, Any] = {"vectors": dtype, "metric": metric or "cosine"}
                    return Library.create(path, made_with, **made, **place)
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


def _check_alone(path: StrPath, embedder: object, options: dict[str, Any]) -> None:
    own = (embedder, *(options.get(name) for name in ("vector_dtype", "metric", "index_dir", *_REMOTE)))
    if path != IN_RAM or options.get("index", "auto") != "auto" or any(given is not None for given in own):
        raise InvalidInputError("give either an open memory, or a path and its options: a memory has its own")


def _opened(path: StrPath, mode: Literal["a", "r"], embedder: object, **options: Any) -> Memory:
    _check_path(path)
    if isinstance(embedder, os.PathLike) or (isinstance(embedder, str) and embedder.lower().endswith(".mp4")):
        raise InvalidInputError(f"{embedder!r} is a path, not an embedder: pass path={embedder!r}")
    if mode not in ("a", "r"):
        raise InvalidInputError(f"mode must be 'a' (write) or 'r' (read), not {mode!r}")
    chosen = embedder.embedder if isinstance(embedder, MemvidEmbedding) else embedder
    shared = {name: options[name] for name in ("index", "metric", "index_dir", "timeout", *_REMOTE) if name in options}
    options = {name: value for name, value in options.items() if name not in _REMOTE}
    options["metric"] = options.get("metric") or "cosine"
    made_with = "given" if chosen is None else chosen
    with our_words():
        while path != IN_RAM:
            try:
                return Memory.open(path, mode, embedder=chosen, **shared)
            except MemoryNotFoundError:
                if mode == "r":
                    raise
            with suppress(MemoryExistsError):  # another process created it first
                return Memory.create(path, made_with, **options)
        return Memory.create(path, made_with, **options)


def _check_path(path: object) -> None:
    if isinstance(path, Memory):
        raise InvalidInputError("path is an open memory: pass it as memory=")
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise InvalidInputError(
            f"path must be the name of an .mp4 file or ':memory:', not {path!r}; pass an embedding model as embedder="
        )


def embedder_of(memory: Memory | Library) -> object:
    """Return the embedder argument for opening the file again: None for the built-in one, stored in the file."""
    return None if isinstance(memory.embedder, HashingEmbedder) else memory.embedder


def mode_of(memory: Memory | Library) -> Literal["a", "r"]:
    """Return the mode in which a memory or a library was opened."""
    if isinstance(memory, Library):
        return memory.mode
    try:
        with memory.exclusive(timeout=0):
            return "a"
    except ReadOnlyError:
        return "r"
    except LockedError:
        return "a"


class OverMemory:
    """Share what every store does: open without blocking, close, enter, copy and pickle.

    A copy is the same store. A pickle holds the path; unpickling opens the file again.
    """

    if TYPE_CHECKING:  # attributes of the stores, which are Pydantic models
        path: str
        mode: Literal["a", "r"]
        _held: Memory | Library
        _owned: bool
        _reopening: dict[str, Any]
        _thread: WriterThread

    @classmethod
    async def aopen(cls: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Create an instance without blocking the event loop; takes the constructor's arguments."""
        return await run_in_thread(partial(cls, *arguments, **options))

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

    async def _written(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Run work that may wait for other writers in this store's own thread."""
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
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        if self.path == IN_RAM:
            raise InvalidInputError("a store in RAM cannot be pickled; give it a path, and unpickling opens that file")
        if any(self._reopening.get(name) is not None for name in _REMOTE):
            raise InvalidInputError(
                "a store with storage_options or fs cannot be pickled, since they may hold credentials; make it again "
                "from its URL"
            )
        path = self.path if "://" in self.path else os.path.abspath(self.path)
        return {"path": path, "mode": self.mode, **self._reopening}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
