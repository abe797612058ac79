"""Opening a memory: lock, journal, index and embedder, in that order, and all of them given back if one fails."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from memvid_core import maintenance
from memvid_core.embedding import Embedder, FittableEmbedder, as_embedder
from memvid_core.errors import EmbedderMismatchError, InvalidInputError, MemoryExistsError, MemoryNotFoundError
from memvid_core.generation import View
from memvid_core.index.folder import IndexFolder
from memvid_core.journal import Journal
from memvid_core.locking import WriterLock
from memvid_core.replica import Replica
from memvid_core.validation import check_unicode
from memvid_core.video import get_codec
from memvid_core.writing import VectorType

__all__ = ["GIVEN", "IN_RAM", "Opened", "create", "open_existing"]

IN_RAM = ":memory:"
GIVEN = "given"
"""The embedder that a memory records if its vectors always come with its records: any embedder may open it later."""
StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Opened:
    """What an open memory holds: its parts, and the view that it is pinned to, if any."""

    path: str
    replica: Replica
    embedder: Embedder | None
    lock: WriterLock | None
    writable: bool
    pinned: View | None = None

    def close(self) -> None:
        """Close everything and give the lock back."""
        try:
            self.replica.close()
        finally:
            if self.lock is not None:
                self.lock.release()


def create(
    path: StrPath,
    embedder: object,
    codec: str,
    vectors: VectorType | None,
    *,
    codec_options: Mapping[str, Any] | None,
    index_dir: StrPath | None,
    description: str,
    ivf: bool,
) -> Opened:
    """A new memory, as :meth:`memvid_core.Memory.create` describes it."""
    in_ram = path == IN_RAM
    if not isinstance(description, str):
        raise InvalidInputError(f"description is a str, not of type {type(description).__name__}")
    check_unicode(description, "the description")
    # On disk, half precision costs nothing that a search can see; in RAM, nothing is saved by rounding what was given.
    kept: VectorType = vectors or ("float64" if in_ram else "float16")
    made = None if _is_given(embedder) else _own(as_embedder(embedder, exact=kept == "float64"))
    if kept not in get_args(VectorType):
        raise InvalidInputError(f"vectors is one of {', '.join(get_args(VectorType))}, not {kept!r}")
    if made is None and kept == "none":
        raise InvalidInputError("given vectors must be stored: vectors='none' needs an embedder to make them again")
    chosen_codec = get_codec(codec, **(codec_options or {}))
    file = None if in_ram else _real(path)
    if file is not None and os.path.lexists(file):  # before a lock appears beside it
        raise MemoryExistsError(f"{file} exists; Memory.open opens it")
    lock = None if file is None else _acquire(file)
    try:
        journal = Journal.create(
            io.BytesIO() if file is None else file,
            chosen_codec,
            vectors=kept,
            embedder=GIVEN if made is None else made.name,
            dimension=None if made is None else made.dimension,
            description=description,
        )
        try:
            root = None if file is None else _index_root(file, index_dir)
            replica = Replica(journal, "a", root, embedder=made, ivf=ivf)
        except BaseException:
            journal.close()
            if file is not None:
                file.unlink(missing_ok=True)
            raise
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    return Opened(os.fsdecode(path), replica, made, lock, writable=True)


def open_existing(
    path: StrPath,
    mode: str,
    *,
    embedder: object,
    as_of: int | datetime | None,
    index_dir: StrPath | None,
    force: bool,
    show_progress: bool | None,
    ivf: bool,
) -> Opened:
    """An existing memory, as :meth:`memvid_core.Memory.open` describes it."""
    if mode not in ("r", "a"):
        raise InvalidInputError(f"mode is 'r' or 'a', not {mode!r}")
    if as_of is not None and mode == "a":
        raise InvalidInputError("the past cannot be written: as_of goes with mode='r'")
    if path == IN_RAM:
        raise InvalidInputError("a memory in RAM is made by Memory.create(':memory:'); there is none to open")
    file = _real(path)
    journal = Journal.open(file, mode)  # a path that is no memory fails before a lock or an index folder appears
    lock: WriterLock | None = None
    try:
        lock = _acquire(file) if mode == "a" else None
        chosen = _matching(embedder, journal.header.embedder, journal.header.vectors, force=force)
        root = _index_root(file, index_dir)
        replica = Replica(journal, mode, root, embedder=chosen, show_progress=show_progress, ivf=ivf)
        try:
            pinned = None if as_of is None else maintenance.past_view(replica, as_of)
            if pinned is not None and isinstance(chosen, FittableEmbedder):
                chosen = chosen.clone()  # the replica's own knows what was learned later
                learned = replica.index.catalog.model(pinned.commit)
                if learned is not None:
                    chosen.load(learned[1])
        except BaseException:
            replica.close()
            raise
    except BaseException:
        journal.close()
        if lock is not None:
            lock.release()
        raise
    return Opened(os.fsdecode(path), replica, chosen, lock, writable=mode == "a", pinned=pinned)


def _real(path: StrPath) -> Path:
    """The file itself, whichever link leads to it and wherever the program goes: lock and index are the file's own.

    Raises:
        InvalidInputError: No file can have that name.
    """
    name = os.fsdecode(path)
    if "\0" in name:
        raise InvalidInputError(f"{path!r} cannot be a path: it holds a null character")
    return Path(os.path.realpath(name))


def _acquire(file: Path) -> WriterLock:
    if not file.parent.is_dir():  # the lock would be made there, folder and all
        raise MemoryNotFoundError(f"the folder {file.parent} does not exist; create it first")
    lock = WriterLock(file)
    lock.acquire()
    return lock


def _index_root(file: Path, index_dir: StrPath | None) -> Path | None:
    """The index folder, or None where it cannot be written: the index is then kept in RAM."""
    root = file.with_name(file.name + ".index") if index_dir is None else Path(index_dir).absolute()
    return root if IndexFolder.usable(root) else None


def _own(embedder: Embedder) -> Embedder:
    """The embedder, or a copy of one that learns: what it learns belongs to one memory."""
    if not isinstance(embedder, FittableEmbedder):
        return embedder
    copy = embedder.clone()
    if embedder.fitted:
        copy.load(embedder.dump())
    return copy


def _matching(embedder: object, recorded: str, vectors: str, *, force: bool) -> Embedder | None:
    """The embedder to use for a memory that ``recorded`` wrote; None if it is not the built-in one and none is given.

    Raises:
        EmbedderMismatchError: It is another one, and not forced.
    """
    if _is_given(embedder):
        return None
    chosen = as_embedder(embedder, exact=vectors == "float64")
    if chosen.name == recorded or force or (recorded == GIVEN and embedder is not None):
        return chosen.clone() if isinstance(chosen, FittableEmbedder) else chosen
    if embedder is None:
        return None
    raise EmbedderMismatchError(
        f"this memory was written by {recorded!r} and {chosen.name!r} was given; their vectors cannot be compared. "
        "Open it with the first, or pass force=True if they are the same model"
    )


def _is_given(embedder: object) -> bool:
    """Whether the caller brings every vector."""
    return isinstance(embedder, str) and embedder == GIVEN
