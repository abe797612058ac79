"""The description of a library, and its manifests: which shards count in which version."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from memvid_core.errors import (
    DamagedLibraryError,
    MemoryExistsError,
    MemvidError,
    NotAMemoryError,
    StorageError,
    UnsupportedFormatError,
)
from memvid_core.library.creating import created
from memvid_core.library.objects import DESCRIPTION, MANIFESTS, Objects, digest
from memvid_core.model import Metric, VectorDtype

__all__ = [
    "DESCRIPTION",
    "Description",
    "FieldSummary",
    "Manifest",
    "ShardEntry",
    "StoredEvidence",
    "StoredTotals",
    "check_same",
    "commit_manifest",
    "committed_name",
    "is_removed",
    "manifest_name",
    "missing_version",
    "newest_version",
    "numbers",
    "read_description",
    "read_manifest",
    "remove_version",
    "time_after",
    "versions",
    "write_description",
]

FORMAT: Final = 1
_DIGITS: Final = 20
_NUMBER: Final = re.compile(f"[0-9]{{{_DIGITS}}}")
_VERSIONS: Final = 1 << 40  # more than a library has
_LARGEST: Final = 1 << 28  # bytes: about 200,000 shards
_REMOVED: Final = b"removed by vacuum\n"
"""How the mark in the place of a removed manifest begins; then comes the checksum of what was there."""
_MARKS: Final = (len(_REMOVED), len(_REMOVED) + len(digest(b"")))  # the first one by earlier versions
_COMMITTED: Final = "committed"

T = TypeVar("T")

# What a file may say: names that are parts of paths, and numbers that fit whatever is computed with them.
_Name = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
_Checksum = Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")]
_Rows = Annotated[int, Meta(ge=0, le=1 << 32)]
_Count = Annotated[int, Meta(ge=0, le=1 << 62)]
_LATEST: Final = 1 << 57  # microseconds: in the year 6536
_Time = Annotated[int, Meta(ge=0, le=_LATEST)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Positive = Annotated[float, Meta(gt=0)]
_Dimension = Annotated[int, Meta(ge=1, lt=1 << 24)]


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What never changes in a library: the content of ``library.json``.

    Attributes:
        format: The version of the layout.
        id: The id of the library, 32 hexadecimal digits.
        embedder: The name of the embedder; ``"given"`` if vectors are passed with the records.
        metric: The metric for vectors.
        vectors: The dtype of stored vectors.
        partition_by: The metadata fields whose values each shard lists.
        created: When it was created, in microseconds since 1970.
    """

    format: int
    id: _Name
    embedder: str
    metric: Metric
    vectors: VectorDtype
    partition_by: tuple[str, ...]
    created: _Time


class FieldSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """The values of a metadata field in a shard.

    Attributes:
        numbers: Every number, or the least and the greatest one.
        strings: Every string, or the first and the last one in order.
        ranges: Whether the two are ranges.
        others: Whether a record has another value, or none.
    """

    numbers: tuple[float | int, ...] = ()
    strings: tuple[str, ...] = ()
    ranges: bool = False
    others: bool = False


class ShardEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A shard in a manifest, with everything that identifies its file.

    Attributes:
        name: Its name, 32 hexadecimal digits; the file is ``shards/<name>.mp4``.
        memory_id: The id of the memory in it.
        commit: The number of its last commit.
        chain: The chained checksum of that commit.
        rows: The number of rows.
        records: The number of records that were live when it was sealed.
        live: The number of records that count: without those that the library has deleted since.
        tokens: The number of tokens of the records that count.
        bytes: The size of the file.
        checksum: The BLAKE2b-256 checksum of the file.
        fields: The values of each partition field.
        deletes: The checksum that names the object with the deleted rows; empty for none.
    """

    name: _Name
    memory_id: str
    commit: _Count
    chain: str
    rows: _Rows
    records: _Rows
    live: _Rows
    tokens: _Count
    bytes: _Count
    checksum: _Checksum
    fields: dict[str, FieldSummary] = {}
    deletes: _Checksum = ""

    @property
    def file(self) -> str:
        """The name of the file in the library."""
        return f"shards/{self.name}.mp4"


class StoredTotals(msgspec.Struct, frozen=True):
    """The word statistics of all shards: live rows, their tokens, and the length normalization."""

    rows: _Count
    tokens: _Count
    b: _Share


class StoredEvidence(msgspec.Struct, frozen=True):
    """What the texts of all shards say about rankings, and the number of records it was learned at."""

    alpha: _Share
    usual: float
    spread: _Positive
    usual_words: float
    spread_words: _Positive
    background: _Share
    records: _Count


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of a library.

    Attributes:
        library: The id of the library.
        version: The number of the version, from 1.
        time: When it was committed, in microseconds since 1970.
        change: What was changed: ``"build"``, ``"add"``, ``"delete"``, ``"compact"`` or ``"vacuum"``.
        added: The number of records that were added.
        deleted: The number of records that were deleted or replaced.
        shards: The shards, in the order of addition.
        totals: The word statistics.
        dimension: The dimension of the vectors; None if no record has one.
        model: The checksum that names the object with the state of the embedder; empty for none.
        evidence: What was learned from the texts; None with too few records.
        format: The version of the layout.
        vacuum: The checksum that names the object with what the last vacuum deletes; empty for none.
    """

    library: str
    version: _Count
    time: _Time
    change: str
    added: _Count
    deleted: _Count
    shards: tuple[ShardEntry, ...]
    totals: StoredTotals
    dimension: _Dimension | None = None
    model: _Checksum = ""
    evidence: StoredEvidence | None = None
    format: int = FORMAT
    vacuum: _Checksum = ""

    @property
    def records(self) -> int:
        """The number of records that count."""
        return sum(shard.live for shard in self.shards)


class _Envelope(msgspec.Struct, frozen=True):
    checksum: str
    content: msgspec.Raw


def _sealed(content: msgspec.Struct) -> bytes:
    data = msgspec.json.encode(content)
    return msgspec.json.encode(_Envelope(digest(data), msgspec.Raw(data)))


def _opened(name: str, data: bytes, kind: type[T]) -> T:
    """Return the content of an object after comparing it with its checksum."""
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
        if digest(bytes(envelope.content)) != envelope.checksum:
            raise DamagedLibraryError(name, "is damaged: its checksum does not match; restore it from a copy")
        _check_format(name, bytes(envelope.content))
        return msgspec.json.decode(envelope.content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise DamagedLibraryError(name, f"is damaged: {exc}; restore it from a copy") from exc


class _Format(msgspec.Struct, frozen=True):
    format: int = FORMAT


def _check_format(name: str, data: bytes) -> None:
    number = msgspec.json.decode(data, type=_Format).format
    if number > FORMAT:
        raise UnsupportedFormatError(f"{name} has format {number}, and this version reads up to {FORMAT}; update it")


def write_description(objects: Objects, description: Description) -> None:
    """Write ``library.json``, and the folder of the manifests, without which it is damaged.

    Raises:
        MemoryExistsError: There is a library already.
    """
    data = _sealed(description)
    objects.make_folder(MANIFESTS)
    if not created(objects, DESCRIPTION, data):
        raise MemoryExistsError(f"{objects.name} has a library; open it with Library.open")
    objects.check_exclusive(DESCRIPTION, data)


def read_description(objects: Objects, where: str) -> Description:
    """Read ``library.json``.

    Raises:
        NotAMemoryError: There is none.
    """
    try:
        data = objects.read(DESCRIPTION, 1 << 20)
    except DamagedLibraryError as exc:
        raise NotAMemoryError(
            f"{where} has no {DESCRIPTION}, so it is not a library; Library.create makes one"
        ) from exc
    return _opened(DESCRIPTION, data, Description)


def manifest_name(version: int) -> str:
    """Return the name of a manifest."""
    return f"{MANIFESTS}/{version:0{_DIGITS}d}.json"


def _number(name: str) -> int | None:
    number, _, suffix = name.partition(".")
    return int(number) if suffix == "json" and _NUMBER.fullmatch(number) else None


def numbers(objects: Objects) -> list[int]:
    """Return the numbers of all versions, ascending, also of those that were removed: no number is used twice."""
    return [number for name in objects.names(MANIFESTS) if (number := _number(name)) is not None]


def time_after(before: int) -> int:
    """Return the time of a version in microseconds since 1970, within what one may have: the clock may be wrong.

    Args:
        before: The time of the version before it.
    """
    return max(min(time.time_ns() // 1000, _LATEST - _VERSIONS), before + 1)


def versions(objects: Objects) -> list[int]:
    """Return the numbers of the versions that can be opened, ascending."""
    found = objects.listing(MANIFESTS)
    kept = {number for name, state in found.items() if (number := _number(name)) and state.bytes not in _MARKS}
    return [number for number in numbers(objects) if number in kept]


def newest_version(objects: Objects) -> int:
    """Return the number of the newest version, 0 for an empty library.

    Raises:
        DamagedLibraryError: Its manifest is missing: the one before it must not pass for the newest.
    """
    newest, told = _newest(objects)
    if newest < told and not objects.exists(manifest_name(told)):  # else it was created while names were listed
        raise DamagedLibraryError(
            manifest_name(told),
            f"is missing, and so is all that it committed; restore it, or open the library with as_of={newest}. "
            f"To go on without it, close the library everywhere, since its number is used again, and delete "
            f"{committed_name(told)}",
        )
    return max(newest, told)


def missing_version(objects: Objects) -> int | None:
    """Return the number of the newest version if its manifest is missing."""
    newest, told = _newest(objects)
    return told if newest < told and not objects.exists(manifest_name(told)) else None


def _newest(objects: Objects) -> tuple[int, int]:
    """Return the highest number of a manifest, and of a version that was committed as far as it is told."""
    names = objects.names(MANIFESTS)
    told = [int(number) for number, _, kind in (name.partition(".") for name in names) if _tells(number, kind)]
    return max((number for name in names if (number := _number(name)) is not None), default=0), max(told, default=0)


def _tells(number: str, kind: str) -> bool:
    return kind == _COMMITTED and _NUMBER.fullmatch(number) is not None


def committed_name(version: int) -> str:
    """Return the name of the object that tells that a version was committed, should its manifest be missing."""
    return f"{MANIFESTS}/{version:0{_DIGITS}d}.{_COMMITTED}"


def remove_version(objects: Objects, version: int) -> None:
    """Write a mark in the place of a manifest: nobody takes its number, and who committed it knows that it counted."""
    name, data = manifest_name(version), b""
    with suppress(DamagedLibraryError):  # it is missing
        data = objects.read(name, _LARGEST)
    if not data.startswith(_REMOVED):
        objects.replace(name, _mark(data))
    objects.remove(committed_name(version))


def _mark(data: bytes) -> bytes:
    return _REMOVED + digest(data).encode()


def is_removed(objects: Objects, version: int) -> bool:
    """Return whether a version was removed."""
    return objects.read(manifest_name(version), _LARGEST).startswith(_REMOVED)


def read_manifest(objects: Objects, description: Description, version: int) -> Manifest:
    """Read a version of a library.

    Raises:
        DamagedLibraryError: It is missing, damaged, or belongs to another library.
    """
    if version == 0:
        return Manifest(description.id, 0, description.created, "create", 0, 0, (), StoredTotals(0, 0, 0.65))
    name = manifest_name(version)
    data = objects.read(name, _LARGEST)
    if data.startswith(_REMOVED):
        raise DamagedLibraryError(name, "was removed by vacuum(); only newer versions can be read")
    found = _opened(name, data, Manifest)
    if found.library != description.id or found.version != version:
        raise DamagedLibraryError(
            name,
            f"is version {found.version} of the library {found.library}, not {version} of {description.id}; if the "
            "library was made again, open it again",
        )
    names = {shard.name for shard in found.shards}
    if len(names) < len(found.shards) or any(not s.live <= s.records <= s.rows for s in found.shards):
        raise DamagedLibraryError(
            name,
            "is not what this library writes: it names a shard twice, or counts more "
            "records than rows; restore it from a copy",
        )
    return found


def check_same(objects: Objects, description: Description, known: Manifest) -> None:
    """Check that a version is the one that was read: a library that was restored uses its numbers again.

    Raises:
        DamagedLibraryError: It is another one, which a commit on the known one would undo; or it cannot be read.
    """
    found = read_manifest(objects, description, known.version)
    if found.time != known.time or [entry.name for entry in found.shards] != [entry.name for entry in known.shards]:
        raise DamagedLibraryError(
            manifest_name(known.version),
            "is another one than this process has read, since the library was restored meanwhile: open the library "
            "again. Nothing was committed",
        )


def commit_manifest(objects: Objects, manifest: Manifest) -> bool:
    """Commit a version; return False if another process has committed that version first.

    Raises:
        StorageError: The disk refused, and nothing is committed; or an object store failed, which may have done it.
    """
    data = _sealed(manifest)
    try:
        if not created(objects, manifest_name(manifest.version), data, _mark(data)):
            return False
    except StorageError as exc:
        if "://" not in objects.name:
            raise
        raise StorageError(
            f"{exc}. It is not known whether version {manifest.version} was committed: before you write the same "
            "again, refresh() and look"
        ) from exc
    with suppress(MemvidError, OSError):  # the version counts without it, too
        objects.create(committed_name(manifest.version), _COMMITTED.encode())
    return True
