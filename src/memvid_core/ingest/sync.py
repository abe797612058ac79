"""A memory kept in step with files: what changed is added again, what is gone is dropped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from memvid_core.errors import MemvidError
from memvid_core.ingest.chunking import Chunker
from memvid_core.ingest.discover import find
from memvid_core.ingest.load import ReadResult, read_many
from memvid_core.ingest.matching import Matching, keys_of
from memvid_core.ingest.ownership import KEY, KnownFile, mark, owned_records, save_heads
from memvid_core.ingest.readers import LARGEST_FILE, source_name
from memvid_core.ingest.readers.file_types import format_of
from memvid_core.memory import Memory

__all__ = ["SyncReport", "sync"]

# Part of every digest: raised for a format when its reader or the chunker changes what it makes of the same file.
_READERS_VERSION = 1
_READERS_VERSIONS = {"csv": 2}
# Chunks in a commit, about: a file is never in two. Large, as an embedder that learns does so from the first commit.
_CHUNKS_A_COMMIT = 4096
_BLOCK = 1 << 20

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
        skipped: Files in folders that were passed over: binary, and no document that is read.
        chunks: Records written.
    """

    added: list[str] = []
    changed: list[str] = []
    unchanged: list[str] = []
    empty: list[str] = []
    removed: list[str] = []
    failed: dict[str, MemvidError] = {}
    skipped: list[str] = []
    chunks: int = 0


def sync(
    memory: Memory,
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    chunker: Chunker | None = None,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    drop: bool = True,
    drop_most: bool = False,
    workers: int | None = None,
    timeout: float | None = 300.0,
    memory_limit: int | None = 1 << 30,
    on_file: OnFile | None = None,
) -> SyncReport:
    """Bring a memory in step with files and folders.

    A file is known by where it is: another working directory or another spelling of the same folder changes nothing,
    and folders with the same names in them live side by side. That it has changed is told by a hash of its content and
    of the chunker's settings. The ids of its records are its source, ``#`` and the number of the chunk; where a record
    of somebody else has that id, ``@`` and a token follow. A file is replaced whole; a sync that was stopped goes on
    where it was. Only records that a sync wrote are ever replaced or deleted.

    Args:
        memory: Open for writing.
        paths: Files and folders, as for `discover`.
        chunker: How to cut; by default chunks of at most 1,000 characters.
        include: Patterns of files to take, as for `discover`.
        exclude: Patterns of files and folders to leave out.
        drop: Delete the records of files that are gone from the folders in ``paths``, or no longer taken.
        drop_most: Do so even if most of the files that the memory has of a folder are gone.
        workers: Reader processes, as for `read_many`.
        timeout: Seconds that reading a file may take.
        memory_limit: Bytes of memory that reading a file may take.
        on_file: Called after each file that was read, with its result, how many are done and how many there are.

    Returns:
        What was done. Files that cannot be read are named in it; they stop nothing.

    Raises:
        IngestError: A path does not exist; or of the files that the memory has of a folder all are gone, or more than
            half and more than ten, and ``drop_most`` is not set. Nothing is changed.
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
    skipped: list[Path] = []
    files = keys_of(find(roots, include=include, exclude=exclude, skipped=skipped))
    digests = {key: _digest(found.path, chunker) for key, found in files.items()}
    matching = Matching(memory, roots, files, digests)
    gone = matching.gone(most=drop_most) if drop else []
    report = SyncReport(skipped=[source_name(path) for path in skipped])
    save_heads(memory, matching.unsaved)
    work: list[KnownFile] = []
    paths_of_work: list[Path] = []
    batch = _Batch(memory, report)
    for key, found in files.items():
        file = matching.file(key)
        if file.digest and file.digest == digests[key]:
            report.unchanged.append(file.source)
        else:
            batch.replaced |= {file.token} if key in matching.known else set()
            work.append(msgspec.structs.replace(file, digest=digests[key]))
            paths_of_work.append(found.path)
    results = read_many(paths_of_work, chunker, workers=workers, timeout=timeout, memory_limit=memory_limit)
    with closing(results):
        for done, (file, result) in enumerate(zip(work, results, strict=True), 1):
            batch.take(file, result)
            if on_file:
                on_file(result, done, len(work))
    batch.write()
    _drop(memory, report, gone)
    return report


class _Batch:
    """Whole files, gathered into one commit."""

    def __init__(self, memory: Memory, report: SyncReport) -> None:
        self._memory = memory
        self._report = report
        self._results: list[tuple[KnownFile, ReadResult]] = []
        self._size = 0
        self.replaced: set[str] = set()

    def take(self, file: KnownFile, result: ReadResult) -> None:
        if result.error is not None:
            self._report.failed[file.source] = result.error
            return
        self._results.append((file, result))
        self._size += len(result.chunks)
        if self._size >= _CHUNKS_A_COMMIT:
            self.write()

    def write(self) -> None:
        results, self._results, self._size = self._results, [], 0
        if results:
            # What others committed meanwhile counts, and nobody commits between the looking and the writing.
            with self._memory.exclusive():
                self._write(results)

    def _write(self, results: list[tuple[KnownFile, ReadResult]]) -> None:
        report = self._report
        owned = owned_records(self._memory, [file for file, _ in results])
        own = {record_id: token for token, ids in owned.items() for record_id in ids}
        texts: list[str] = []
        metadata: list[dict[str, Any]] = []
        ids: dict[str, None] = {}
        for file, result in results:
            replaced = file.token in self.replaced
            (report.changed if replaced else report.added if result.chunks else report.empty).append(file.source)
            file = msgspec.structs.replace(file, old=False, head=None)
            for number, chunk in enumerate(result.chunks):
                record_id = self._free(f"{file.source}#{number}", file.token, own, ids)
                ids[record_id] = None
                texts.append(chunk.text)
                marked = {"source": file.source, KEY: mark(file, record_id, chunk.text, number)}
                metadata.append({**chunk.metadata, **marked})
        # First what the new text has no chunk for: stopped here, the old digest still says that there is work to do.
        left = own.keys() - ids.keys()
        if left:
            self._memory.delete(sorted(left))
        if texts:
            self._memory.add(texts, metadata=metadata, ids=list(ids))
        report.chunks += len(texts)

    def _free(self, record_id: str, token: str, own: dict[str, str], ids: dict[str, None]) -> str:
        """Return an id that no record has but one of the same file, and none that is about to be written."""
        for number in count():
            candidate = record_id if not number else f"{record_id}@{token}" + (f".{number}" if number > 1 else "")
            free = own.get(candidate) == token or candidate not in self._memory
            if free and candidate not in ids:
                return candidate
        raise AssertionError("there is always another number")


def _drop(memory: Memory, report: SyncReport, gone: list[KnownFile]) -> None:
    if not gone:
        return
    with memory.exclusive():
        ids = [record_id for ids in owned_records(memory, gone).values() for record_id in ids]
        if ids:
            memory.delete(ids)
    report.removed += [file.source for file in gone]


def _digest(path: Path, chunker: Chunker) -> str:
    version = _READERS_VERSIONS.get(format_of(path), _READERS_VERSION)
    digest = xxhash.xxh3_128(f"{version} {chunker!r}".encode())
    try:
        # A pipe would wait for ever, and what is too large is not read; reading it says so.
        if not path.is_file() or path.stat().st_size > LARGEST_FILE:
            return ""
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return ""  # reading it says why
    return digest.hexdigest()
