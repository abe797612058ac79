"""Memory: add, get, search and delete records in one MP4 file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, NoReturn, Self

from memvid_core.engine import opening
from memvid_core.engine.compaction_policy import check_share
from memvid_core.engine.index_place import index_errors
from memvid_core.engine.opening import IN_RAM
from memvid_core.engine.session import Session
from memvid_core.errors import InvalidInputError, storage_errors
from memvid_core.memory.aio import AsyncMemory
from memvid_core.model import Index, Metric, VectorDtype

__all__ = ["Memory", "session_of"]


class Memory(AsyncMemory):
    """Records in one MP4 file, found by meaning, by words, by filter and by id.

    Create one with :meth:`create` or :meth:`open`. Each change is one commit, durable when the call returns; a search
    sees a whole commit or nothing of it. Any number of processes and threads write and read one file: a commit waits
    for the lock and includes the commits of others. A forked child process opens the file itself.

    Example:
        >>> with Memory.create(":memory:") as memory:
        ...     ids = memory.add(["the wing lifts", "the engine hums"], metadata=[{"page": 1}, {"page": 2}])
        ...     memory.search("a lifting wing", k=1)[0].text
        'the wing lifts'
    """

    def __init__(self, opened: opening.Opened, auto_compact: float | None = None) -> None:
        given: object = opened
        if not isinstance(given, opening.Opened):
            raise InvalidInputError("use Memory.create(path) to create a memory, and Memory.open(path) to open one")
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
        index: Index = "auto",
        metric: Metric = "cosine",
        timeout: float = 30.0,
        auto_compact: float | None = None,
        film: bool | str = False,
    ) -> Self:
        """Create a new memory and open it for writing.

        Args:
            path: The path of the file; ``":memory:"`` keeps everything in RAM.
            embedder: Any argument of :func:`~memvid_core.embedding.as_embedder`; None is the built-in offline embedder.
                ``"given"`` uses none: every vector is passed with its record, and any embedder may open the memory
                later.
            codec: ``"pcm"`` for storage, or ``"qr"`` for files that must survive a re-encode.
            vector_dtype: The dtype of stored vectors: ``"float16"`` (the default in a file), ``"float32"``,
                ``"float64"`` (the default in RAM: exact), ``"int8"``, or ``"none"``: vectors are not stored, and texts
                are embedded again when the index is rebuilt.
            codec_options: Options of the codec.
            index_dir: The index folder; by default ``<path>.index``.
            description: A description of the memory, stored in the file.
            index: As in :meth:`open`.
            metric: The metric for vectors, stored in the file: ``"cosine"`` (direction only), or a distance:
                ``"euclidean"``, ``"manhattan"`` or ``"chebyshev"``.
            timeout: As in :meth:`open`.
            auto_compact: As in :meth:`open`.
            film: Whether the video says what it is: it begins with a title card, the file has a title, a comment and a
                cover, and records may have pictures. A ``str`` is the title; True takes the name of the file. Needs
                the extra ``film``. A memory in RAM has no film.

        Raises:
            MemoryExistsError: If the file exists.
            MemoryNotFoundError: If its folder does not exist.
            MissingExtraError: If ``film`` is set and Pillow is not installed.
        """
        share = check_share(auto_compact)
        with index_errors(), storage_errors():
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
                    film=film,
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
        index: Index = "auto",
        metric: Metric | None = None,
        create: bool = False,
        timeout: float = 30.0,
        auto_compact: float | None = None,
        storage_options: Mapping[str, Any] | None = None,
        fs: object = None,
    ) -> Self:
        """Open an existing memory.

        Args:
            path: The file, or a URL (``https://``, ``s3://``, ``gs://``, ``hf://``) to read. Of a remote memory, a copy
                and its index lie in the user's cache folder, and follow the object. Needs the extra ``remote``.
            mode: ``"r"`` to read, ``"a"`` to read and write. Both see what others write.
            embedder: The embedder that wrote the memory. None is the built-in one if that wrote it; otherwise the
                memory opens without an embedder: vectors, words and filters can be searched, but not the meaning of a
                text.
            as_of: A commit number or a time: opens an unchanging, read-only snapshot of the past.
            index_dir: The index folder; by default ``<path>.index``, or in RAM if that cannot be written.
            force: Use ``embedder`` even if another one wrote the memory.
            show_progress: Whether a rebuild of the index shows a progress bar; None shows it on a terminal.
            index: The vector index: ``"auto"`` (``"exact"`` for few vectors, then ``"quantized"``), ``"exact"``
                (NumPy), ``"sklearn"`` (scikit-learn's ``NearestNeighbors``), ``"quantized"`` (search codes, rescore
                exactly), or ``"ivf"`` (inverted file, for hundreds of thousands of records; built at the first search
                and saved when a writer closes). The last two support cosine only, and may miss one or two hits in a
                hundred; ``Ivf(recall=0.9)`` is ``"ivf"`` with another share to find. It is not stored in the file: each
                process may choose another.
            metric: The expected metric, and the metric of a memory that ``create`` creates; None accepts any, and is
                cosine for a new memory.
            create: With mode ``"a"``, create the memory if it does not exist, with ``embedder`` and the defaults of
                :meth:`create`.
            timeout: The maximum time that a commit waits for other commits, in seconds.
            auto_compact: With mode ``"a"``, compact the memory automatically in the background when that would save
                more than this share of the file, such as 0.5. The saving is estimated after every few hundred commits.
                As with :meth:`compact`, earlier commits can no longer be opened with ``as_of``. None never compacts.
            storage_options: Options of fsspec's file system for the URL, such as credentials.
            fs: A file system of fsspec to read from, instead; ``path`` is a path in it.

        Raises:
            InvalidInputError: If the index or metric does not exist or does not fit the memory, or the URL has another
                scheme.
            MemoryNotFoundError: If the file does not exist and ``create`` is not set.
            NotAMemoryError: If the file is not an MP4, or contains no memory.
            UnsupportedFormatError: If a newer version wrote it.
            EmbedderMismatchError: If another embedder wrote it; the message names both.
            ReadOnlyError: If a remote memory is opened for writing.
            MissingExtraError: If the package that reads such URLs is not installed.
        """
        share = check_share(auto_compact)
        opened = opening.open_or_create if create else opening.open_existing
        with index_errors(), storage_errors():
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
                    storage_options=storage_options,
                    fs=fs,
                ),
                share,
            )

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
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
        index: Index = "auto",
        metric: Metric | None = None,
        create: bool = False,
        timeout: float = 30.0,  # noqa: ASYNC109  # of later commits, not of this call
        auto_compact: float | None = None,
        storage_options: Mapping[str, Any] | None = None,
        fs: object = None,
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
            storage_options=storage_options,
            fs=fs,
        )
        return await Session.in_thread(call)

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
        index: Index = "auto",
        metric: Metric = "cosine",
        timeout: float = 30.0,  # noqa: ASYNC109  # of later commits, not of this call
        auto_compact: float | None = None,
        film: bool | str = False,
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
            film=film,
        )
        return await Session.in_thread(call)

    async def aclose(self) -> None:
        """Async :meth:`close`, after all pending commits."""
        await self._session.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a memory cannot be copied or pickled; use Memory.open({self.path!r}) to open its file again")

    def __repr__(self) -> str:
        session = self._session
        if session.closed:
            return f"<Memory {self.path!r} (closed)>"
        name = "no embedder" if self.embedder is None else self.embedder.name
        state = "" if session.pinned is None else f", as of commit {session.pinned.commit}"
        return f"<Memory {self.path!r}: {session.newest.record_count} records, {name}{state}>"


def session_of(memory: Memory) -> Session:
    """Return the session of a memory, for modules of this package that show its file and its cache."""
    return memory._session
