"""Files to chunks: one, or many side by side."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path

import msgspec

from memvid_core.errors import IngestError, InvalidInputError, MemvidError, TextError
from memvid_core.ingest.chunking import Chunker
from memvid_core.ingest.readers import read_document, source_name
from memvid_core.ingest.readers.document import Chunk
from memvid_core.ingest.readers.file_types import format_of
from memvid_core.ingest.serving import Answer, Limits, Settings, error_of
from memvid_core.ingest.workers import ReaderPool

__all__ = ["LEAST_MEMORY", "ReadResult", "load_chunks", "read_many"]

LEAST_MEMORY = 64 << 20  # bytes; the converters themselves need some of it
_LONGEST_TIMEOUT = 86_400.0
# One process reads such files about as fast as this one takes them in.
_LIGHT = frozenset({"text", "markdown", "code", "csv", "ipynb"})
# A process takes a while to start and import the converters: no second one for less than this many bytes of documents.
_BYTES_A_WORKER = 4 << 20
_TEXTS_A_WORKER = 500
_MOST_WORKERS = 8


class ReadResult(msgspec.Struct, frozen=True):
    """What became of one file: its chunks, or the error that names it and says why there are none."""

    path: Path
    source: str
    chunks: list[Chunk] = []
    error: MemvidError | None = None

    @property
    def ok(self) -> bool:
        """Whether it was read; a file without text is, with no chunks."""
        return self.error is None


def load_chunks(path: str | os.PathLike[str], chunker: Chunker | None = None) -> list[Chunk]:
    """Read one file and cut it.

    Args:
        path: The file; as given it becomes ``source``, with ``/`` between its parts.
        chunker: How to cut; by default chunks of at most 1,000 characters.

    Raises:
        IngestError: It cannot be read; the message names it.
        MissingExtraError: The extra it needs is not installed.
    """
    return (chunker or Chunker()).split_document(read_document(path))


def read_many(
    paths: Iterable[str | os.PathLike[str]],
    chunker: Chunker | None = None,
    *,
    workers: int | None = None,
    timeout: float | None = 300.0,
    memory_limit: int | None = 1 << 30,
) -> Generator[ReadResult, None, None]:
    """Read many files in processes of their own, and yield what became of each in the order given.

    A file that cannot be read, even one that crashes its converter, never ends or takes all memory, is named in its
    result and the rest goes on. Closing the iterator, or an exception such as KeyboardInterrupt while it waits, ends
    the processes.

    Args:
        paths: Files, as from `discover`.
        chunker: How to cut; by default chunks of at most 1,000 characters.
        workers: Reader processes. By default one for every 4 MiB of documents and every 500 texts, as many as there
            are processors and 8 at most.
        timeout: Seconds a file may take, of whatever format; None for no limit.
        memory_limit: Bytes of memory that reading a file may take; None for no limit. Files are read in this process
            only if there is neither limit and no more than one worker.

    Raises:
        InvalidInputError: ``workers`` below 1, ``timeout`` not above 0 or ``memory_limit`` below 64 MiB; before
            anything is read.
        IngestError: No process can be started.
    """
    if workers is not None and workers < 1:
        raise InvalidInputError(f"workers is {workers}: at least 1 reads")
    if timeout is not None and not 0 < timeout <= _LONGEST_TIMEOUT:
        raise InvalidInputError(f"timeout is {timeout}: give seconds above 0, a day at most, or None")
    if memory_limit is not None and memory_limit < LEAST_MEMORY:
        raise InvalidInputError(f"memory_limit is {memory_limit}: give at least {LEAST_MEMORY:,} bytes, or None")
    files = [Path(path) for path in paths]
    if workers is None:
        heavy = [_size(file) for file in files if format_of(file) not in _LIGHT]
        useful = min(len(heavy), sum(heavy) // _BYTES_A_WORKER) + (len(files) - len(heavy)) // _TEXTS_A_WORKER
        workers = max(1, min(os.cpu_count() or 1, _MOST_WORKERS, useful))
    limits = Limits(timeout, memory_limit)
    return _read_many(files, chunker or Chunker(), workers, limits)


def _read_many(files: list[Path], chunker: Chunker, workers: int, limits: Limits) -> Generator[ReadResult, None, None]:
    unlimited = limits.timeout is None and limits.memory is None
    if unlimited and workers == 1:
        for file in files:
            yield _read_here(file, chunker)
        return
    with closing(ReaderPool(workers, limits, _settings(chunker))) as pool:
        for file, answer in pool.map(files):
            yield _result(file, chunker, answer)


def _settings(chunker: Chunker) -> Settings | None:
    """Return what another process needs to make the same chunker; None if it cannot: a tokenizer stays here."""
    if type(chunker) is not Chunker or chunker.unit != "characters":
        return None
    return Settings(chunker.chunk_size, chunker.overlap, chunker.language)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0  # reading it says why


def _read_here(file: Path, chunker: Chunker) -> ReadResult:
    source = source_name(file)
    try:
        return ReadResult(file, source, chunker.split_document(read_document(file)))
    except TextError as exc:
        return ReadResult(file, source, error=IngestError(f"{source}: {exc}"))
    except MemvidError as exc:
        return ReadResult(file, source, error=exc)


def _result(file: Path, chunker: Chunker, answer: Answer) -> ReadResult:
    source = source_name(file)
    if answer.chunks is not None:
        return ReadResult(file, source, answer.chunks)
    if answer.document is None:
        return ReadResult(file, source, error=error_of(answer))
    try:
        return ReadResult(file, source, chunker.split_document(answer.document))
    except TextError as exc:
        return ReadResult(file, source, error=IngestError(f"{source}: {exc}"))
