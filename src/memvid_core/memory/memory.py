"""Memory: add, get, search and delete records in one MP4 file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, NoReturn, Self

from memvid_core.engine import opening
from memvid_core.engine.auto_compact import check_share
from memvid_core.engine.opening import IN_RAM
from memvid_core.engine.session import Session
from memvid_core.engine.writing import VectorDtype
from memvid_core.errors import InvalidInputError, storage_errors
from memvid_core.memory.aio import AsyncMemory
from memvid_core.model import IndexName, Metric
from memvid_core.system.threads import run_in_thread

__all__ = ["Memory", "session_of"]


class Memory(AsyncMemory):
    """Records in one MP4 file, found again by meaning, by words, by filter and by id.

    Make one with :meth:`create` or :meth:`open`. Each change is one commit, durable when the call returns; a search
    sees a whole commit or none. Any number of processes and threads write and read one file: a commit waits for its
    turn and takes in what others committed. A forked child opens the file itself.

    Example:
        >>> with Memory.create(":memory:") as memory:
        ...     ids = memory.add(["the wing lifts", "the engine hums"], metadata=[{"page": 1}, {"page": 2}])
        ...     memory.search("a lifting wing", k=1)[0].text
        'the wing lifts'
    """

    def __init__(self, opened: opening.Opened, auto_compact: float | None = None) -> None:
        given: object = opened
        if not isinstance(given, opening.Opened):
            raise InvalidInputError("a memory is made by Memory.create(path), and opened by Memory.open(path)")
        self._session = Session(opened, auto_compact)
        self._indexed, self._auto = self._session.indexed, self._session.auto

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str] = IN_RAM,
        embedder: object = None,
        codec: str = "pcm",
        vector_dtype: VectorDtype | None = None,
        *,
        codec_options: Mapping[str, Any] | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        description: str = "",
        index: IndexName = "auto",
        metric: Metric = "cosine",
        timeout: float = 30.0,
        auto_compact: float | None = None,
    ) -> Self:
        """Make a new memory and open it for writing.

        Args:
            path: Where the file goes; ``":memory:"`` keeps all in RAM.
            embedder: Anything :func:`~memvid_core.embedding.as_embedder` takes; None is the built-in offline embedder.
                ``"given"``: there is none, every vector comes with its record; any embedder may open the memory later.
            codec: ``"pcm"``, the store, or ``"qr"``, for what must survive a re-encode.
            vector_dtype: How vectors are stored: ``"float16"`` (the default in a file), ``"float32"``, ``"float64"``
                (the default in RAM: exactly what was given), ``"int8"``, or ``"none"``: embedded again when the index
                is rebuilt.
            codec_options: Settings of the codec.
            index_dir: Where the index goes; by default beside the file, as ``<path>.index``.
            description: A line for people, kept in the file.
            index: As in :meth:`open`.
            metric: How vectors are compared, kept in the file: ``"cosine"``, by direction alone, or by distance,
                ``"euclidean"``, ``"manhattan"`` or ``"chebyshev"``.
            timeout: As in :meth:`open`.
            auto_compact: As in :meth:`open`.

        Raises:
            MemoryExistsError: The path is taken.
            MemoryNotFoundError: Its folder does not exist.
        """
        share = check_share(auto_compact)
        return cls(
            opening.create(
                path,
                embedder,
                codec,
                vector_dtype,
                codec_options=codec_options,
                index_dir=index_dir,
                description=description,
                index=index,
                metric=metric,
                timeout=timeout,
            ),
            share,
        )

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        mode: str = "r",
        *,
        embedder: object = None,
        as_of: int | datetime | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        force: bool = False,
        show_progress: bool | None = None,
        index: IndexName = "auto",
        metric: Metric | None = None,
        create: bool = False,
        timeout: float = 30.0,
        auto_compact: float | None = None,
    ) -> Self:
        """Open an existing memory.

        Args:
            path: The file.
            mode: ``"r"`` to read, ``"a"`` to read and write. Either follows what others write.
            embedder: The embedder that wrote it. None is the built-in one if that wrote it; otherwise the memory opens
                without: search by vector, words and filter works, by meaning of a text does not.
            as_of: A commit number or a time: a read-only snapshot of the past that does not move.
            index_dir: Where the index is; by default beside the file, as ``<path>.index``, in RAM where that cannot be
                written.
            force: Take ``embedder`` although another wrote the memory.
            show_progress: Whether a rebuild of the index shows a bar; None shows it on a terminal.
            index: How vectors are searched: ``"auto"`` (exactly while they are few, then ``"quantized"``), ``"exact"``
                (NumPy), ``"sklearn"`` (scikit-learn's ``NearestNeighbors``), ``"quantized"`` (codes, then exactly), or
                ``"ivf"`` (lists around centroids, for hundreds of thousands of records; made at the first search, and
                saved when a writer closes). The last two compare by cosine only, and may miss a hit or two in a
                hundred. It is not kept in the file: each process may choose another.
            metric: The metric that the memory must have, and that ``create`` makes it with; None is the memory's own,
                and cosine for a new one.
            create: With mode ``"a"``, make the memory if there is none, with ``embedder`` and the defaults of
                :meth:`create`.
            timeout: How many seconds a commit waits while others commit.
            auto_compact: With mode ``"a"``: compact the memory by itself, in the background, when that would save more
                than this share of the file, as 0.5; what small commits and deleted records take up is estimated after
                every few hundred commits. As with :meth:`compact`, the past before it can then no longer be told. None
                never does, and keeps all of the past.

        Raises:
            InvalidInputError: An index or metric that does not exist or that the memory cannot be searched by.
            MemoryNotFoundError: There is no such file, and ``create`` is not set.
            NotAMemoryError: It is no MP4, or one that carries no memory.
            UnsupportedFormatError: A newer version wrote it.
            EmbedderMismatchError: Another embedder wrote it; the message names both.
        """
        share = check_share(auto_compact)
        opened = opening.open_or_create if create else opening.open_existing
        with storage_errors():
            return cls(
                opened(
                    path,
                    mode,
                    embedder=embedder,
                    as_of=as_of,
                    index_dir=index_dir,
                    force=force,
                    show_progress=show_progress,
                    index=index,
                    metric=metric,
                    timeout=timeout,
                ),
                share,
            )

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_session"):
            self.close()

    @classmethod
    async def aopen(
        cls,
        path: str | os.PathLike[str],
        mode: str = "r",
        *,
        embedder: object = None,
        as_of: int | datetime | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        force: bool = False,
        show_progress: bool | None = None,
        index: IndexName = "auto",
        metric: Metric | None = None,
        create: bool = False,
        timeout: float = 30.0,  # noqa: ASYNC109  # of later commits, not of this call
        auto_compact: float | None = None,
    ) -> Self:
        """Async :meth:`Memory.open`.

        Example:
            >>> import asyncio
            >>> from memvid_core import Memory
            >>> async def count() -> int:
            ...     async with await Memory.aopen("async.mp4", "a", create=True) as memory:
            ...         await memory.aadd("the wing lifts")
            ...         return len(memory)
            >>> asyncio.run(count())
            1
        """
        call = partial(
            cls.open,
            path,
            mode,
            embedder=embedder,
            as_of=as_of,
            index_dir=index_dir,
            force=force,
            show_progress=show_progress,
            index=index,
            metric=metric,
            create=create,
            timeout=timeout,
            auto_compact=auto_compact,
        )
        return await run_in_thread(call)

    @classmethod
    async def acreate(
        cls,
        path: str | os.PathLike[str] = ":memory:",
        embedder: object = None,
        codec: str = "pcm",
        vector_dtype: VectorDtype | None = None,
        *,
        codec_options: Mapping[str, Any] | None = None,
        index_dir: str | os.PathLike[str] | None = None,
        description: str = "",
        index: IndexName = "auto",
        metric: Metric = "cosine",
        timeout: float = 30.0,  # noqa: ASYNC109  # of later commits, not of this call
        auto_compact: float | None = None,
    ) -> Self:
        """Async :meth:`Memory.create`."""
        call = partial(
            cls.create,
            path,
            embedder,
            codec,
            vector_dtype,
            codec_options=codec_options,
            index_dir=index_dir,
            description=description,
            index=index,
            metric=metric,
            timeout=timeout,
            auto_compact=auto_compact,
        )
        return await run_in_thread(call)

    async def aclose(self) -> None:
        """Async :meth:`close`, after the commits that were asked for before."""
        await self._session.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a memory cannot be copied or pickled: Memory.open({self.path!r}) opens its file once more")

    def __repr__(self) -> str:
        session = self._session
        if session.closed:
            return f"<Memory {self.path!r} (closed)>"
        name = "no embedder" if self.embedder is None else self.embedder.name
        state = "" if session.pinned is None else f", as of commit {session.pinned.commit}"
        return f"<Memory {self.path!r}: {session.newest.record_count} records, {name}{state}>"


def session_of(memory: Memory) -> Session:
    """Return what is under a memory, for the modules of this package that show its file and its cache."""
    return memory._session
