"""Files to chunks: one, or many side by side."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path

import msgspec

from memvid_core.errors import IngestError, InvalidInputError, MemvidError, TextError
from memvid_core.ingest.chunking import Chunker
from memvid_core.ingest.document import Chunk, Document
from memvid_core.ingest.languages import format_of
from memvid_core.ingest.readers import read_document, source_name
from memvid_core.ingest.workers import ReaderPool

__all__ = ["ReadResult", "load_chunks", "read_many"]

# Text is read faster than it is handed from one process to another.
_LIGHT = frozenset({"text", "markdown", "code", "csv", "ipynb"})
# A process takes up to a second to start and import the converters: not for less than this many bytes of documents.
_BYTES_A_WORKER = 4 << 20
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
) -> Generator[ReadResult, None, None]:
    """Read many files, documents side by side in processes, and yield what became of each in the order given.

    A file that cannot be read, even one that crashes its converter or never ends, is named in its result and the rest
    goes on. Closing the iterator, or an exception such as KeyboardInterrupt while it waits, ends the processes.

    Args:
        paths: Files, as from `discover`.
        chunker: How to cut; by default chunks of at most 1,000 characters.
        workers: Reader processes; 1 reads everything in this one, where a converter's crash would end it. By default
            one for every 4 MiB of documents, as many as there are processors and 8 at most.
        timeout: Seconds a document may take in a reader process; None for no limit.

    Raises:
        InvalidInputError: ``workers`` below 1 or ``timeout`` not above 0; before anything is read.
    """
    if workers is not None and workers < 1:
        raise InvalidInputError(f"workers is {workers}: at least 1 reads")
    if timeout is not None and not timeout > 0:
        raise InvalidInputError(f"timeout is {timeout}: give seconds above 0, or None")
    files = [Path(path) for path in paths]
    heavy = [format_of(file) not in _LIGHT for file in files]
    if workers is None:
        size = sum(_size(file) for file, is_heavy in zip(files, heavy, strict=True) if is_heavy)
        workers = max(1, min(os.cpu_count() or 1, _MOST_WORKERS, sum(heavy), size // _BYTES_A_WORKER))
    return _read_many(files, heavy, chunker or Chunker(), workers, timeout)


def _read_many(
    files: list[Path], heavy: list[bool], chunker: Chunker, workers: int, timeout: float | None
) -> Generator[ReadResult, None, None]:
    if workers == 1 or not any(heavy):
        for file in files:
            yield _result(file, chunker, None)
        return
    with closing(ReaderPool(workers, timeout)) as pool:
        for file, answer in pool.map(files, heavy):
            yield _result(file, chunker, answer)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0  # reading it says why


def _result(file: Path, chunker: Chunker, answer: Document | MemvidError | None) -> ReadResult:
    source = source_name(file)
    try:
        if isinstance(answer, MemvidError):
            raise answer
        return ReadResult(file, source, chunker.split_document(read_document(file) if answer is None else answer))
    except TextError as exc:
        return ReadResult(file, source, error=IngestError(f"{source}: {exc}"))
    except MemvidError as exc:
        return ReadResult(file, source, error=exc)
