"""A memory kept in step with files: what changed is added again, what is gone is dropped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec
import xxhash

from memvid_core.errors import MemvidError
from memvid_core.ingest.chunking import Chunker
from memvid_core.ingest.discover import discover
from memvid_core.ingest.load import ReadResult, read_many
from memvid_core.ingest.readers import source_name
from memvid_core.memory import Memory

__all__ = ["SyncReport", "sync"]

# Part of every digest: raised when the readers or the chunker change what they make of the same file.
_READERS_VERSION = 1
# Chunks in a commit, about: a file is never in two. Large, as an embedder that learns does so from the first commit.
_CHUNKS_A_COMMIT = 4096
_BLOCK = 1 << 20
_ITEMS_A_FILTER = 100

T = TypeVar("T")

OnFile = Callable[[ReadResult, int, int], None]


class SyncReport(msgspec.Struct):
    """What a sync did, by source: names as they are in the records' metadata.

    Attributes:
        added: Files that were not in the memory.
        changed: Files whose content, or the way it is cut, was another.
        unchanged: Files that were not read again.
        empty: Files without text, of which the memory has no record; they are looked into again each time.
        removed: Sources whose files are gone; their records were deleted.
        failed: Files that could not be read, with the error that says why; their records, if any, stay.
        chunks: Records written.
    """

    added: list[str] = []
    changed: list[str] = []
    unchanged: list[str] = []
    empty: list[str] = []
    removed: list[str] = []
    failed: dict[str, MemvidError] = {}
    chunks: int = 0


def sync(
    memory: Memory,
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    chunker: Chunker | None = None,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    drop: bool = True,
    workers: int | None = None,
    timeout: float | None = 300.0,
    on_file: OnFile | None = None,
) -> SyncReport:
    """Bring a memory in step with files and folders.

    A file is known by its path as given, and told changed by a hash of its content and of the chunker's settings, which
    is kept with its first chunk; so name the files the same way each time. The ids of its records are the path, ``#``
    and the number of the chunk. A file is replaced whole, in one commit; a sync that was stopped goes on where it was.

    Args:
        memory: Open for writing.
        paths: Files and folders, as for `discover`.
        chunker: How to cut; by default chunks of at most 1,000 characters.
        include: Patterns of files to take, as for `discover`.
        exclude: Patterns of files and folders to leave out.
        drop: Delete the records of files that are gone from the folders in ``paths``, or no longer taken. Records that
            no sync wrote are never touched.
        workers: Reader processes, as for `read_many`.
        timeout: Seconds a document may take in a reader process.
        on_file: Called after each file that was read, with its result, how many are done and how many there are.

    Returns:
        What was done. Files that cannot be read are named in it; they stop nothing.

    Raises:
        IngestError: A path does not exist. Nothing is changed.
        ReadOnlyError: The memory is open for reading, and something has changed.

    Example:
        >>> import pathlib
        >>> _ = pathlib.Path("notes.md").write_text("# Notes", encoding="utf-8")
        >>> with Memory.create(":memory:") as memory:
        ...     sync(memory, "notes.md").added, sync(memory, "notes.md").unchanged
        (['notes.md'], ['notes.md'])
    """
    chunker = chunker or Chunker()
    roots = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files = {source_name(path): path for path in discover(roots, include=include, exclude=exclude)}
    known = {
        str(record.metadata["source"]): str(record.metadata["digest"])
        for record in memory.select({"chunk": 0, "digest": {"$exists": True}})
    }
    report = SyncReport()
    digests: dict[str, str] = {}
    for source, path in files.items():
        digest = _digest(path, chunker)
        if digest == known.get(source):
            report.unchanged.append(source)
        else:
            digests[source] = digest
    batch = _Batch(memory, report, known)
    with closing(
        read_many([files[source] for source in digests], chunker, workers=workers, timeout=timeout)
    ) as results:
        for done, result in enumerate(results, 1):
            batch.take(result, digests[result.source])
            if on_file:
                on_file(result, done, len(digests))
    batch.write()
    if drop:
        _drop(memory, report, known, files, roots)
    return report


class _Batch:
    """Whole files, gathered into one commit."""

    def __init__(self, memory: Memory, report: SyncReport, known: dict[str, str]) -> None:
        self._memory = memory
        self._report = report
        self._known = known
        self._results: list[tuple[ReadResult, str]] = []
        self._size = 0

    def take(self, result: ReadResult, digest: str) -> None:
        if result.error is not None:
            self._report.failed[result.source] = result.error
            return
        self._results.append((result, digest))
        self._size += len(result.chunks)
        if self._size >= _CHUNKS_A_COMMIT:
            self.write()

    def write(self) -> None:
        results, self._results, self._size = self._results, [], 0
        texts, metadata, ids, longer = [], [], [], []
        for result, digest in results:
            replaced = result.source in self._known
            report = self._report
            (report.changed if replaced else report.added if result.chunks else report.empty).append(result.source)
            if replaced:
                longer.append({"source": result.source, "chunk": {"$gte": len(result.chunks)}})
            for number, chunk in enumerate(result.chunks):
                texts.append(chunk.text)
                metadata.append({**chunk.metadata, **({} if number else {"digest": digest})})
                ids.append(f"{result.source}#{number}")
        # First what the new text has no chunk for: stopped here, the old digest still says that there is work to do.
        for some in _groups(longer):
            self._memory.delete(where={"$or": some})
        if texts:
            self._memory.add(texts, metadata=metadata, ids=ids)
        self._report.chunks += len(texts)


def _drop(
    memory: Memory,
    report: SyncReport,
    known: dict[str, str],
    files: dict[str, Path],
    roots: list[str | os.PathLike[str]],
) -> None:
    folders = [PurePosixPath(source_name(root)) for root in roots if Path(root).is_dir()]
    # What could not be read, and what is in a folder that could not be listed, may still be there.
    uncertain = [PurePosixPath(source) for source in report.failed]
    for source in known:
        name = PurePosixPath(source)
        below = any(name.is_relative_to(folder) for folder in folders)
        if below and source not in files and not any(name.is_relative_to(path) for path in uncertain):
            report.removed.append(source)
    for some in _groups(report.removed):
        memory.delete(where={"source": {"$in": some}})


def _groups(items: list[T]) -> Iterator[list[T]]:
    # A filter becomes one SQL expression, whose size SQLite limits.
    for start in range(0, len(items), _ITEMS_A_FILTER):
        yield items[start : start + _ITEMS_A_FILTER]


def _digest(path: Path, chunker: Chunker) -> str:
    digest = xxhash.xxh3_128(f"{_READERS_VERSION} {chunker!r}".encode())
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return ""  # reading it says why
    return digest.hexdigest()
