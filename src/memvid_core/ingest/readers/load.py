"""Loading files as chunks: one file, or many in parallel."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path

import msgspec

from memvid_core.errors import IngestError, InvalidInputError, MemvidError, TextError
from memvid_core.ingest.readers import read_document, source_name
from memvid_core.ingest.readers.chunking import Chunker
from memvid_core.ingest.readers.document import Chunk
from memvid_core.ingest.readers.file_types import format_of
from memvid_core.ingest.readers.media import Transcribe
from memvid_core.ingest.readers.ocr import extra_memory
from memvid_core.ingest.readers.worker_process import Answer, Limits, Settings, error_of
from memvid_core.ingest.readers.workers import ReaderPool

__all__ = ["LEAST_MEMORY", "ReadResult", "load_chunks", "read_many"]

LEAST_MEMORY = 64 << 20  # bytes; includes what the converters themselves need
_LONGEST_TIMEOUT = 86_400.0
# One process reads these formats about as fast as this process can add them.
_LIGHT = frozenset(("adoc", "captions", "code", "csv", "eml", "ipynb", "json", "markdown", "org", "rst", "tex", "text"))
# Starting a process and importing the converters takes time; a further process needs this many bytes of documents.
_BYTES_A_WORKER = 4 << 20
_TEXTS_A_WORKER = 500
_MOST_WORKERS = 8


class ReadResult(msgspec.Struct, frozen=True):
    """Hold the result of one file: its chunks, or the error that names the file and the reason.

    Attributes:
        path: The file.
        source: Its path with ``/`` between its parts.
        chunks: Its chunks in order.
        error: The error if it could not be read.
        warnings: What was left out or repaired, in sentences.
    """

    path: Path
    source: str
    chunks: list[Chunk] = []
    error: MemvidError | None = None
    warnings: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether the file was read; a file without text is read and has no chunks."""
        return self.error is None


def load_chunks(
    path: str | os.PathLike[str], chunker: Chunker | None = None, *, transcribe: Transcribe | None = None
) -> list[Chunk]:
    """Read one file and split it into chunks.

    Args:
        path: The file; ``source`` is this path, with ``/`` between its parts.
        chunker: How to split; by default into chunks of at most 1,000 characters.
        transcribe: As for `read_document`.

    Raises:
        IngestError: The file cannot be read; the message names it.
        MissingExtraError: The extra that the format needs is not installed.
    """
    return (chunker or Chunker()).split_document(read_document(path, transcribe=transcribe))


def read_many(
    paths: Iterable[str | os.PathLike[str]],
    chunker: Chunker | None = None,
    *,
    workers: int | None = None,
    timeout: float | None = 300.0,
    memory_limit: int | None = 1 << 30,
    transcribe: Transcribe | None = None,
) -> Generator[ReadResult, None, None]:
    """Read many files in separate processes and yield the result of each, in the given order.

    A file that cannot be read, even one that crashes its converter, never finishes or exhausts memory, is reported in
    its result, and reading continues. Closing the iterator, or an exception such as KeyboardInterrupt while it waits,
    ends the processes.

    Args:
        paths: Files, for example from `discover`.
        chunker: How to split; by default into chunks of at most 1,000 characters.
        workers: The number of reader processes. By default one per 4 MiB of documents and per 500 texts, limited to the
            number of processors and to 8.
        timeout: The time per file in seconds, for every format; None for no limit.
        memory_limit: The memory for reading a file in bytes, and 1 GiB more for RapidOCR where it is used; None for no
            limit. Files are read in this process only if there are no limits and at most one worker.
        transcribe: As for `read_document`. It is called in this process, one file at a time, without these limits.

    Raises:
        InvalidInputError: ``workers`` is below 1, ``timeout`` is not above 0, or ``memory_limit`` is below 64 MiB.
            Raised before anything is read.
        IngestError: Processes cannot be started.
    """
    if workers is not None and workers < 1:
        raise InvalidInputError(f"workers must be at least 1, not {workers}")
    if timeout is not None and not 0 < timeout <= _LONGEST_TIMEOUT:
        raise InvalidInputError(f"timeout must be above 0 and at most a day in seconds, or None, not {timeout}")
    if memory_limit is not None and memory_limit < LEAST_MEMORY:
        raise InvalidInputError(f"memory_limit must be at least {LEAST_MEMORY:,} bytes, or None, not {memory_limit}")
    files = [Path(path) for path in paths]
    if workers is None:
        heavy = [_size(file) for file in files if format_of(file) not in _LIGHT]
        useful = min(len(heavy), sum(heavy) // _BYTES_A_WORKER) + (len(files) - len(heavy)) // _TEXTS_A_WORKER
        workers = max(1, min(os.cpu_count() or 1, _MOST_WORKERS, useful))
    limits = Limits(timeout, None if memory_limit is None else memory_limit + extra_memory())
    chunker = chunker or Chunker()
    if transcribe is None:
        return _read_many(files, chunker, workers, limits)
    return _with_media(files, chunker, workers, limits, transcribe)


def _with_media(
    files: list[Path], chunker: Chunker, workers: int, limits: Limits, transcribe: Transcribe
) -> Generator[ReadResult, None, None]:
    others = [file for file in files if format_of(file) != "media"]
    with closing(_read_many(others, chunker, workers, limits)) as results:
        for file in files:
            yield _read_here(file, chunker, transcribe) if format_of(file) == "media" else next(results)


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
    """Return the settings with which another process makes the same chunker; None for a tokenizer, which stays here."""
    if type(chunker) is not Chunker or chunker.unit != "characters":
        return None
    return Settings(chunker.chunk_size, chunker.overlap, chunker.language)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0  # reading it reports the error


def _read_here(file: Path, chunker: Chunker, transcribe: Transcribe | None = None) -> ReadResult:
    source = source_name(file)
    try:
        document = read_document(file, transcribe=transcribe)
        return ReadResult(file, source, chunker.split_document(document), warnings=document.warnings)
    except TextError as exc:
        return ReadResult(file, source, error=IngestError(f"{source}: {exc}"))
    except MemvidError as exc:
        return ReadResult(file, source, error=exc)


def _result(file: Path, chunker: Chunker, answer: Answer) -> ReadResult:
    source = source_name(file)
    if answer.chunks is not None:
        return ReadResult(file, source, answer.chunks, warnings=answer.warnings)
    if answer.document is None:
        return ReadResult(file, source, error=error_of(answer))
    try:
        return ReadResult(file, source, chunker.split_document(answer.document), warnings=answer.document.warnings)
    except TextError as exc:
        return ReadResult(file, source, error=IngestError(f"{source}: {exc}"))
