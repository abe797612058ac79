"""Synchronizing a memory with files: changed files are added again, missing files are removed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from memvid_core.errors import MemvidError
from memvid_core.ingest.discover import find
from memvid_core.ingest.matching import Matching, keys_of
from memvid_core.ingest.ownership import KEY, KnownFile, mark, owned_records, save_heads
from memvid_core.ingest.readers import LARGEST_FILE, source_name
from memvid_core.ingest.readers.chunking import Chunker
from memvid_core.ingest.readers.file_types import format_of
from memvid_core.ingest.readers.load import ReadResult, read_many
from memvid_core.ingest.readers.media import Transcribe
from memvid_core.memory import Memory

__all__ = ["SyncReport", "sync"]

# Part of every digest: increased for a format when its reader or the chunker changes its results.
_READERS_VERSION = 1
_SECOND = "captions docx hwp json opendocument pptx rtf xlsx xml"
_THIRD = "adoc csv eml epub html hwpx ipynb mbox org rst tex zip"
# Only Markdown with pictures is read otherwise than at first. Others keep their digest, by which records of versions
# before are recognized.
_PICTURES = (b"![", b"<img", b"<IMG")
_READERS_VERSIONS = dict.fromkeys(_SECOND.split(), 2) | dict.fromkeys(_THIRD.split(), 3) | {"pdf": 4}
# Approximate chunks per commit; a file is never split across two. Large, because an embedder that is fitted learns
# from the first commit.
_CHUNKS_A_COMMIT = 4096
_BLOCK = 1 << 20

OnFile = Callable[[ReadResult, int, int], None]
OnCommit = Callable[[int], None]


class SyncReport(msgspec.Struct):
    """Report what a sync did; files are named by the ``source`` in their records' metadata.

    Attributes:
        added: Files that were not in the memory.
        changed: Files whose content or chunking changed.
        unchanged: Files that did not need to be read again.
        empty: Files without text, which have no records; they are read again each time.
        removed: Sources whose files are missing; their records were deleted.
        failed: Files that could not be read, with the error; their existing records are kept.
        skipped: Unsupported binary files in folders.
        ignored: Files and folders that ``.gitignore`` names.
        unused: Patterns of ``include`` that matched no file.
        warnings: What was left out or repaired, by file; the rest of the file was stored.
        chunks: The number of records written.
    """

    added: list[str] = []
    changed: list[str] = []
    unchanged: list[str] = []
    empty: list[str] = []
    removed: list[str] = []
    failed: dict[str, MemvidError] = {}
    skipped: list[str] = []
    ignored: list[str] = []
    unused: list[str] = []
    warnings: dict[str, list[str]] = {}
    chunks: int = 0


def sync(
    memory: Memory,
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    chunker: Chunker | None = None,
    include: Iterable[str] | None = None,
    exclude: Iterable[str] | None = None,
    gitignore: bool = True,
    drop: bool = True,
    drop_most: bool = False,
    workers: int | None = None,
    timeout: float | None = 300.0,
    memory_limit: int | None = 1 << 30,
    transcribe: Transcribe | None = None,
    on_file: OnFile | None = None,
    on_commit: OnCommit | None = None,
) -> SyncReport:
    """Synchronize a memory with files and folders.

    A file is identified by its location: the working directory and the form of the path do not matter, and folders may
        contain files with equal names. A hash of the content and of the chunker's settings detects changes. A record's
        id is the source, ``#`` and the number of the chunk; if another record has that id, ``@`` and a token are
        appended. A file is replaced completely; an interrupted sync continues where it stopped. Only records that a
        sync wrote are replaced or deleted.

    Args:
        memory: A memory open for writing.
        paths: Files and folders, as for `discover`.
        chunker: How to split; by default into chunks of at most 1,000 characters.
        include: Patterns of files to read, as for `discover`.
        exclude: Patterns of files and folders to skip.
        gitignore: Skip what ``.gitignore`` files name, as `discover` does.
        drop: Delete the records of files that are missing from the folders in ``paths``, or no longer included.
        drop_most: Do so even if most known files of a folder are missing.
        workers: The number of reader processes, as for `read_many`.
        timeout: The time for reading a file, in seconds.
        memory_limit: The memory for reading a file, in bytes.
        transcribe: A function that returns the transcript of sound and video, as for `read_document`. Without it, they
            are skipped in folders, and existing records of them are kept.
        on_file: Called after each file that was read, with its result, the number of files done, and their total.
        on_commit: Called before records are stored, which may take a while, with their number.

    Returns:
        What was done. Unreadable files are listed in it; they do not stop the sync.

    Raises:
        IngestError: A path does not exist; or all known files of a folder are missing, or more than half and more than
            ten, and ``drop_most`` is False. Nothing is changed.
        ReadOnlyError: The memory is open for reading and files have changed.

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
    ignored: list[Path] = []
    unused: list[str] = []
    found_files = find(
        roots,
        include=include,
        exclude=exclude,
        gitignore=gitignore,
        media=transcribe is not None,
        skipped=skipped,
        ignored=ignored,
        unused=unused,
    )
    files = keys_of(found for found in found_files if not _is_own(found.path, memory))
    skipped = [path for path in skipped if not _is_own(path, memory)]
    digests = {key: _digest(found.path, chunker) for key, found in files.items()}
    matching = Matching(memory, roots, files, digests, skipped)
    gone = matching.gone(most=drop_most) if drop else []
    report = SyncReport(
        skipped=[source_name(path) for path in skipped],
        ignored=[source_name(path) for path in ignored],
        unused=unused,
    )
    save_heads(memory, matching.unsaved)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    work: list[KnownFile] = []
    paths_of_work: list[Path] = []
    batch = _Batch(memory, report, on_commit or (lambda number: None))
    for key, found in files.items():
        file = matching.file(key)
        if file.digest and file.digest == digests[key]:
            report.unchanged.append(file.source)
        else:
            batch.replaced |= {file.token} if key in matching.known else set()
            work.append(msgspec.structs.replace(file, digest=digests[key], at=now))
            paths_of_work.append(found.path)
    results = read_many(
        paths_of_work, chunker, workers=workers, timeout=timeout, memory_limit=memory_limit, transcribe=transcribe
    )
    with closing(results):
        for done, (file, result) in enumerate(zip(work, results, strict=True), 1):
            batch.take(file, result)
            if on_file:
                on_file(result, done, len(work))
    batch.write()
    _drop(memory, report, gone)
    return report


class _Batch:
    """Collect complete files into one commit."""

    def __init__(self, memory: Memory, report: SyncReport, on_commit: OnCommit) -> None:
        self._memory = memory
        self._on_commit = on_commit
        self._report = report
        self._results: list[tuple[KnownFile, ReadResult]] = []
        self._size = 0
        self.replaced: set[str] = set()

    def take(self, file: KnownFile, result: ReadResult) -> None:
        if result.error is not None:
            self._report.failed[file.source] = result.error
            return
        if result.warnings:
            self._report.warnings[file.source] = result.warnings
        self._results.append((file, result))
        self._size += len(result.chunks)
        if self._size >= _CHUNKS_A_COMMIT:
            self.write()

    def write(self) -> None:
        results, size, self._results, self._size = self._results, self._size, [], 0
        if results:
            self._on_commit(size)
            # Other commits are taken into account, and the lock prevents commits between reading and writing.
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
        # Superfluous old records are deleted first: if the sync stops here, the old digest still shows the file as
        # changed.
        left = own.keys() - ids.keys()
        if left:
            self._memory.delete(sorted(left))
        if texts:
            self._memory.add(texts, metadata=metadata, ids=list(ids))
        report.chunks += len(texts)

    def _free(self, record_id: str, token: str, own: dict[str, str], ids: dict[str, None]) -> str:
        """Return an id that is unused, or used by the same file, and not about to be written."""
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


def _is_own(path: Path, memory: Memory) -> bool:
    """Return whether a file is the video of the memory, its lock, or a part of its index."""
    own = Path(memory.path)
    if not any(part == own.name or part.startswith(f"{own.name}.") for part in path.parts):
        return False
    place, itself = os.path.realpath(path), os.path.realpath(own)
    return place == itself or place.startswith(f"{itself}.")


def _digest(path: Path, chunker: Chunker) -> str:
    version = _READERS_VERSIONS.get(format_of(path), _READERS_VERSION)
    digest = xxhash.xxh3_128(f"{version} {chunker!r}".encode())
    try:
        # A pipe would block, and files that are too large are not read; reading them reports the error.
        too_large = path.stat().st_size > LARGEST_FILE and format_of(path) != "media"
        if not path.is_file() or too_large:
            return ""
        with path.open("rb") as file:
            pictures = False
            while block := file.read(_BLOCK):
                digest.update(block)
                pictures = pictures or any(mark in block for mark in _PICTURES)
            if pictures and format_of(path) == "markdown":
                digest.update(b" pictures")
    except OSError:
        return ""  # reading it reports the error
    return digest.hexdigest()
