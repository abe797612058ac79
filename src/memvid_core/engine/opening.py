"""Opening a memory: journal, index and embedder, in that order; all are closed if one fails."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np

import memvid_core.video.qr  # noqa: F401 - registers its codec
from memvid_core.embedding import HashingEmbedder
from memvid_core.engine import inspection
from memvid_core.engine.embedders import existing_embedder, new_embedder
from memvid_core.engine.film import new_film
from memvid_core.engine.index_owner import place_of
from memvid_core.engine.index_place import INDEX_ERRORS, why_unusable
from memvid_core.engine.indexed_journal import IndexedJournal
from memvid_core.engine.snapshot import Snapshot
from memvid_core.engine.validation import check_timeout, check_unicode
from memvid_core.errors import (
    Action,
    Hint,
    InvalidInputError,
    MemoryExistsError,
    MemoryNotFoundError,
    ReadOnlyError,
    StorageError,
)
from memvid_core.journal import Journal
from memvid_core.journal.last_commit import last_commit
from memvid_core.model import GIVEN, Index, Metric, VectorDtype
from memvid_core.system.atomic_files import appearing
from memvid_core.system.remote_copies import RemoteCopy
from memvid_core.system.remote_urls import is_url, shown_url
from memvid_core.vectors.metrics import check_choice
from memvid_core.video import get_codec

__all__ = ["IN_RAM", "Opened", "create", "open_existing", "open_or_create"]

IN_RAM = ":memory:"
StrPath = str | os.PathLike[str]

_OPENINGS = 10  # of files that others replace while they are opened
_MAY_PASS = (StorageError, *INDEX_ERRORS)
_COMPARED = 4  # vectors that are compared with the built-in embedder's, if the memory records no embedder
_CUT_URL = re.compile(r"(https?|s3|gs|hf):[/\\\\][^/\\\\]")  # of which a Path has dropped a slash
_SAME = 0.99  # the cosine from which on they count as equal


@dataclass(frozen=True)
class Opened:
    """An open memory, the snapshot that it is pinned to, if any, and the copy of a remote memory."""

    path: str
    indexed: IndexedJournal
    writable: bool
    pinned: Snapshot | None = None
    remote: RemoteCopy | None = None

    def close(self) -> None:
        """Close everything."""
        self.indexed.close()
        if self.remote is not None:
            self.remote.close()


def create(
    path: StrPath,
    embedder: object,
    codec: str,
    vector_dtype: VectorDtype | None,
    *,
    codec_options: Mapping[str, Any] | None,
    index_dir: StrPath | None,
    description: str,
    index: Index,
    metric: Metric | None,
    timeout: float,
    film: bool | str = False,
) -> Opened:
    """Create a memory; see :meth:`memvid_core.Memory.create`."""
    in_ram = path == IN_RAM
    if not isinstance(description, str):
        raise InvalidInputError(f"description is a str, not of type {type(description).__name__}")
    check_unicode(description, "the description")
    compared = "cosine" if metric is None else metric
    check_choice(index, compared)
    # On disk, half precision does not change search results; in RAM, vectors are stored as they were given.
    kept: VectorDtype = vector_dtype or ("float64" if in_ram else "float16")
    made = new_embedder(embedder, exact=kept == "float64")
    if kept not in get_args(VectorDtype):
        raise InvalidInputError(f"vector_dtype is one of {', '.join(get_args(VectorDtype))}, not {kept!r}")
    if made is None and kept == "none":
        raise InvalidInputError(
            "given vectors must be stored: vector_dtype='none' needs an embedder to make them again"
        )
    file = None if in_ram else _real(path)
    wait = check_timeout(timeout)
    told = None
    if film and file is not None:
        title = film if isinstance(film, str) else file.stem
        check_unicode(title, "the title")
        told = new_film(title, description, get_codec(codec, **(codec_options or {})))

    def journal_in(target: Path | io.BytesIO) -> Journal:
        return Journal.create(
            target,
            codec,
            codec_options,
            vectors=kept,
            embedder=GIVEN if made is None else made.name,
            dimension=None if made is None else made.dimension,
            metric=compared,
            description=description,
            film=told,
        )

    journal = journal_in(io.BytesIO()) if file is None else _published(file, journal_in)
    try:
        root, why = (None, "") if file is None else _index_root(file, index_dir, journal)
        indexed = IndexedJournal(journal, "a", root, embedder=made, timeout=wait, strategy=index, why_in_ram=why)
    except BaseException:
        journal.close()  # the file stays: others may have opened it and committed to it
        raise
    return Opened(os.fsdecode(path), indexed, writable=True)


def _published(file: Path, journal_in: Callable[[Path], Journal]) -> Journal:
    """Create a journal that appears at its path completely: others find a whole memory there, or no file."""
    with appearing(file) as made:
        journal_in(made).close()
    return Journal.open(file, "a")


def open_existing(
    path: StrPath,
    mode: str,
    *,
    storage_options: Mapping[str, Any] | None = None,
    fs: object = None,
    **options: Any,
) -> Opened:
    """Open an existing memory; see :meth:`memvid_core.Memory.open`."""
    if mode not in ("r", "a"):
        raise InvalidInputError(f"mode is 'r' or 'a', not {mode!r}")
    if fs is None and not is_url(path):
        if storage_options is not None:
            raise InvalidInputError("storage_options is for a memory behind a URL, such as https://host/notes.mp4")
        return _open_file(path, mode, **options)
    if not isinstance(path, str):
        raise InvalidInputError(f"with fs, path is a str, and not of type {type(path).__name__}")
    if mode == "a":
        raise _read_only(path)
    copy = RemoteCopy(path, storage_options, fs, last_commit, show_progress=options["show_progress"])
    try:
        copy.update()
        opened = _open_file(copy.path, mode, announced=False, **options)
        if opened.indexed.damage():
            opened.close()
            copy.fetch_again()  # unless the object itself is known to be damaged
            opened = _open_file(copy.path, mode, **options)
        else:
            opened.indexed.announce()
    except BaseException:
        copy.close()
        raise
    return replace(opened, path=copy.url, remote=copy)


def _read_only(path: str) -> ReadOnlyError:
    return ReadOnlyError(f"{shown_url(path)} is read-only, as every memory behind a URL", hint=Hint(Action.READ_REMOTE))


def _open_file(
    path: StrPath,
    mode: str,
    *,
    embedder: object,
    as_of: int | datetime | None,
    index_dir: StrPath | None,
    force: bool,
    show_progress: bool | None,
    index: Index,
    metric: Metric | None,
    timeout: float,
    announced: bool = True,
) -> Opened:
    """Open an existing file."""
    if as_of is not None and mode == "a":
        raise InvalidInputError("the past cannot be written: as_of goes with mode='r'")
    if path == IN_RAM:
        raise InvalidInputError("a memory in RAM is made by Memory.create(':memory:'); there is none to open")
    wait = check_timeout(timeout)
    check_choice(index, "cosine")
    file = _real(path)

    def indexed_of(journal: Journal) -> IndexedJournal:
        _check_metric(journal, index, metric)
        exact = journal.header.vectors == "float64"
        chosen = existing_embedder(embedder, journal.header.embedder, exact=exact, force=force)
        root, why = _index_root(file, index_dir, journal)
        made = IndexedJournal(
            journal,
            mode,
            root,
            embedder=chosen,
            timeout=wait,
            show_progress=show_progress,
            strategy=index,
            announced=announced,
            why_in_ram=why,
        )
        try:
            if chosen is None and embedder is None and journal.header.embedder == GIVEN:
                _adopt_builtin(made)
        except BaseException:
            made.close()
            raise
        return made

    indexed = _open_newest(lambda: Journal.open(file, mode), indexed_of)
    try:
        pinned = None if as_of is None else inspection.past_snapshot(indexed, as_of)
    except BaseException:
        indexed.close()
        raise
    return Opened(os.fsdecode(path), indexed, writable=mode == "a", pinned=pinned)


def _open_newest(open_file: Callable[[], Journal], indexed_of: Callable[[Journal], IndexedJournal]) -> IndexedJournal:
    """Open a memory; again, if another process replaced the file meanwhile and deleted the index of the old one.

    Args:
        open_file: Opens the file; it fails for files of other kinds before an index folder is created.
        indexed_of: Opens the index.
    """
    for left in reversed(range(_OPENINGS)):
        journal = open_file()
        try:
            return indexed_of(journal)
        except BaseException as exc:
            again = left and isinstance(exc, _MAY_PASS) and journal.video.replaced()
            journal.close()
            if not again:
                raise
    raise AssertionError("unreachable")


def _check_metric(journal: Journal, index: Index, metric: Metric | None) -> None:
    """Check that the index supports the memory's metric, and that ``metric`` is the memory's.

    Raises:
        InvalidInputError: The index does not support it, or the memory has another metric.
    """
    recorded = journal.header.metric
    if metric is not None:
        check_choice("auto", metric)
        if metric != recorded:
            raise InvalidInputError(
                f"this memory compares vectors by {recorded!r}, not by {metric!r}; leave metric out, or make a new one"
            )
    check_choice(index, recorded)


def _adopt_builtin(indexed: IndexedJournal) -> None:
    """Use the built-in embedder for a memory that records none, if its vectors, if any, are from that embedder."""
    builtin, snapshot = HashingEmbedder(), indexed.snapshot
    if indexed.dimension is not None:
        rows = np.flatnonzero(snapshot.dense)[:_COMPARED].tolist()
        if indexed.dimension != builtin.dimension or not rows:
            return
        stored = snapshot.epoch.vectors(snapshot, rows)
        made = builtin.embed_documents([snapshot.epoch.record(row).text for row in rows])
        for row, vector in zip(rows, made, strict=True):
            there = np.asarray(stored[row], np.float64)
            if float(there @ vector) < _SAME * float(np.linalg.norm(there)) * float(np.linalg.norm(vector)):
                return
    indexed.adopt(builtin)


def open_or_create(path: StrPath, mode: str, *, embedder: object, index_dir: StrPath | None, **options: Any) -> Opened:
    """Open a memory for writing, or create it; if two processes create it at once, one of them does."""
    if options["fs"] is not None or is_url(path):
        raise _read_only(str(path))
    if mode != "a" or options["as_of"] is not None:
        raise InvalidInputError("create=True goes with mode='a', and not with as_of")
    while True:
        try:
            return open_existing(path, mode, embedder=embedder, index_dir=index_dir, **options)
        except MemoryNotFoundError:
            if not _real(path).parent.is_dir():
                raise
        shared = {name: options[name] for name in ("index", "metric", "timeout")} | {"index_dir": index_dir}
        with suppress(MemoryExistsError):  # another process was faster
            return create(path, embedder, "pcm", None, codec_options=None, description="", **shared)


def _real(path: StrPath) -> Path:
    """Return the absolute path of a file without links, so that lock and index are the same for every path to it.

    Raises:
        InvalidInputError: The path cannot be the name of a file.
    """
    given: object = path
    if not isinstance(given, str | bytes | os.PathLike) or not os.fspath(given):
        raise InvalidInputError(f"a path is a str or a PathLike that names a file, not {given!r}")
    name = os.path.expanduser(os.fsdecode(path))
    if "://" in name:
        raise InvalidInputError(
            f"{shown_url(name)} is a URL, which cannot be written: create a local file, and upload it"
        )
    if _CUT_URL.match(name) and isinstance(path, os.PathLike):
        raise InvalidInputError(
            f"{shown_url(name)} was a URL: memories behind URLs are only read; give the URL as a str"
        )
    if "\0" in name:
        raise InvalidInputError(f"{path!r} cannot be a path: it holds a null character")
    return Path(os.path.realpath(name))


def _index_root(file: Path, index_dir: StrPath | None, journal: Journal) -> tuple[Path | None, str]:
    """Return the index folder, or None if the index is kept in RAM, and why."""
    root = file.with_name(file.name + ".index") if index_dir is None else Path(index_dir).absolute()
    if why := why_unusable(root, file):
        return None, why
    return (root if index_dir is None else place_of(root, file, journal.header.memory_id)), ""
