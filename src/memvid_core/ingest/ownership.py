"""Determining which records of a memory were written by a sync, and for which file; a sync changes only those.

Each record of a sync has a reserved metadata entry, ``_sync``: a token of its file, and a hash of the token, the
record's id and its text. If the metadata is copied to another record, or the record's text changes, the hash does
not match, and the record no longer belongs to the sync. The first record of a file also stores a hash of the path
of its folder, the relative path from the memory to that folder, the file's path below the folder, and its digest.

Records of earlier versions have no such entry. They are recognized by their ids, numbers and a digest, and get the
entry at the first sync.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

import msgspec
import xxhash

from memvid_core.errors import ReadOnlyError
from memvid_core.ingest.groups import in_groups
from memvid_core.ingest.readers import source_name
from memvid_core.memory import Memory

__all__ = [
    "KEY",
    "KnownFile",
    "file_of",
    "known_files",
    "mark",
    "near_path",
    "owned_records",
    "path_key",
    "real_path",
    "save_heads",
    "token_of",
]

KEY = "_sync"
_DIGEST = re.compile(r"[0-9a-f]{32}")


class KnownFile(msgspec.Struct):
    """Describe a file whose records are in a memory.

    Attributes:
        token: The mark of its records.
        root: The hash of the path of the folder in which it was found.
        near: The path of that folder relative to the memory's folder; None if it does not exist.
        file: Its path below the folder, with ``/``.
        source: Its ``source`` in the metadata.
        digest: The digest of its content and the chunker's settings; empty if its last sync did not finish.
        old: Whether an earlier version wrote its records; only the first of them may have an entry.
        head: The id and the text of its first record, while that has no entry.
        at: When it was read, in ISO 8601; empty if unknown.
    """

    token: str
    root: str
    near: str | None
    file: str
    source: str
    digest: str
    old: bool = False
    head: tuple[str, str] | None = None
    at: str = ""

    @property
    def prefix(self) -> str | None:
        """The part of ``source`` before ``file``; None if the source does not end with it."""
        return self.source[: -len(self.file)] if self.file and self.source.endswith(self.file) else None


def real_path(path: str | os.PathLike[str]) -> str:
    """Return the canonical form of a path: absolute, links resolved, case folded if the system does, ``/`` and NFC."""
    return source_name(os.path.normcase(os.path.realpath(path)))


def path_key(path: str) -> str:
    """Return the hash of a folder's path: a memory that is shared does not reveal where it was made."""
    return _hash("root", path)


def near_path(memory: Memory, root: str) -> str | None:
    """Return the relative path from a memory's folder to another; None for a memory in RAM or on another drive."""
    if memory.path == ":memory:":
        return None
    try:
        return PurePath(os.path.relpath(root, real_path(Path(memory.path).parent))).as_posix()
    except ValueError:
        return None


def token_of(root: str, file: str, taken: Iterable[str]) -> str:
    """Return a token for the records of a file that is not taken."""
    number = 0
    while (token := _hash("file", root, file, str(number))) in taken:
        number += 1
    return token


def mark(known: KnownFile, record_id: str, text: str, number: int) -> dict[str, Any]:
    """Return the entry of a record: the chunk of a file with this number."""
    entry: dict[str, Any] = {"of": known.token, "key": _hash("record", known.token, record_id, text)}
    if number == 0:
        entry |= {"root": known.root, "near": known.near, "file": known.file, "digest": known.digest}
        entry |= {"old": True} if known.old else {}
        entry |= {"at": known.at} if known.at else {}
    return entry


def known_files(memory: Memory) -> list[KnownFile]:
    """Return the files whose records a sync wrote to a memory; those of earlier versions have an empty token."""
    files: list[KnownFile] = []
    for record in memory.select({f"{KEY}.digest": {"$exists": True}}):
        entry = _entry(record.id, record.text, record.metadata)
        if entry is not None and isinstance(entry.get("file"), str):
            source = str(record.metadata.get("source", ""))
            known = (entry.get("root", ""), entry.get("near"), entry["file"], source, entry["digest"])
            files.append(KnownFile(entry["of"], *known, old=bool(entry.get("old")), at=str(entry.get("at", ""))))
    for record in memory.select({"chunk": 0, "digest": {"$exists": True}}):
        origin, digest = record.metadata.get("source"), record.metadata.get("digest")
        if not (isinstance(origin, str) and isinstance(digest, str) and _DIGEST.fullmatch(digest)):
            continue
        if _is_old_chunk(record.id, record.metadata, origin, 0):
            head = (record.id, record.text)
            files.append(KnownFile("", "", None, "", origin, digest, old=True, head=head))
    return files


def file_of(record_id: str, text: str, metadata: Mapping[str, Any]) -> str | None:
    """Return the token of the file for which a sync wrote a record; None if no sync did, or it was changed."""
    entry = _entry(record_id, text, metadata)
    return None if entry is None else str(entry["of"])


def owned_records(memory: Memory, files: Iterable[KnownFile]) -> dict[str, list[str]]:
    """Return the ids of the records that a sync wrote, by the tokens of files."""
    files = list(files)
    owned: dict[str, list[str]] = {file.token: [] for file in files}
    for some in in_groups(list(owned)):
        for record in memory.select({f"{KEY}.of": {"$in": some}}):
            entry = _entry(record.id, record.text, record.metadata)
            if entry is not None:
                owned[entry["of"]].append(record.id)
    for old in in_groups([file for file in files if file.old]):
        by_source: dict[str, dict[int, str]] = {file.source: {} for file in old}
        for record in memory.select({"source": {"$in": list(by_source)}}):
            source, number = record.metadata["source"], record.metadata.get("chunk")
            # A filter finds other spellings of a source, too, which are not of these files.
            if isinstance(number, int) and _is_old_chunk(record.id, record.metadata, source, number):
                by_source.get(source, {})[number] = record.id
        for file in old:
            number = 1  # the first record has an entry, or is the head
            while number in by_source[file.source]:
                owned[file.token].append(by_source[file.source][number])
                number += 1
    return owned


def save_heads(memory: Memory, files: list[KnownFile]) -> None:
    """Store the descriptions of files in their first records, in one commit, if the memory is open for writing."""
    if not files:
        return
    with suppress(ReadOnlyError), memory.exclusive():
        marks: dict[str, dict[str, Any]] = {}
        for file in files:
            head = file.head or _head(memory, file)
            if head is not None:
                marks[head[0]] = mark(file, *head, 0)
        # Only unchanged records are taken over.
        before = dict(file.head for file in files if file.head)
        heads = [head for head in memory.get(list(marks)) if before.get(head.id, head.text) == head.text]
        if not heads:
            return
        ids = [head.id for head in heads]
        metadata = [{**head.metadata, KEY: marks[head.id]} for head in heads]
        vectors = None
        if memory.info().vector_dtype != "none":
            known = memory.get_vectors(ids)
            vectors = [known.get(record_id) for record_id in ids]
        memory.add([head.text for head in heads], metadata, ids, vectors=vectors)


def _head(memory: Memory, file: KnownFile) -> tuple[str, str] | None:
    records = memory.select({f"{KEY}.of": file.token, f"{KEY}.digest": {"$exists": True}})
    own = (record for record in records if _entry(record.id, record.text, record.metadata) is not None)
    return next(((record.id, record.text) for record in own), None)


def _entry(record_id: str, text: str, metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the entry of a record if it matches the record."""
    entry = metadata.get(KEY)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("of"), str):
        return None
    return entry if entry.get("key") == _hash("record", entry["of"], record_id, text) else None


def _is_old_chunk(record_id: str, metadata: Mapping[str, Any], source: str, number: int) -> bool:
    fits = record_id == f"{source}#{number}" and metadata.get("chunk") == number
    return fits and KEY not in metadata and isinstance(metadata.get("start"), int)


def _hash(*parts: str) -> str:
    return xxhash.xxh3_64_hexdigest("\0".join(parts).encode("utf-8", "surrogatepass"))[:12]
