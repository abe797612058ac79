"""What may go into a memory: texts, ids and metadata, checked before anything is written."""

from __future__ import annotations

import operator
import os
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from memvid_core.errors import InvalidInputError, MetadataError, QueryError, TextError

__all__ = [
    "check_count",
    "check_ids",
    "check_metadata",
    "check_texts",
    "check_unicode",
    "encode_records",
    "new_ids",
    "wanted_ids",
]

_SCALARS = frozenset({str, int, float, bool, type(None)})
_encode = msgspec.msgpack.Encoder().encode
_STR = frozenset({str})
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1  # what msgpack has room for
_DEPTH_LIMIT = 64


def check_texts(texts: Iterable[str] | str) -> list[str]:
    """The texts as a list; one ``str`` is one text.

    Raises:
        TextError: One is no ``str``.
    """
    checked = [texts] if isinstance(texts, str) else _listed(texts, "texts", TextError)
    if _STR.issuperset(map(type, checked)):
        return checked
    for i, text in enumerate(checked):
        if not isinstance(text, str):
            raise TextError(f"text {i} is of type {type(text).__name__}, not a str")
    return [str(text) for text in checked]  # plain ones: msgpack takes no subclass


def _listed(values: Any, what: str, error: type[InvalidInputError] = InvalidInputError) -> list[Any]:
    if not isinstance(values, Iterable):
        raise error(f"{what} must be one or several, not a value of type {type(values).__name__}")
    return list(values)


def encode_records(ids: Sequence[str], texts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Each record in msgpack, ``[id, text, metadata]``.

    Raises:
        TextError: A text or id holds a lone surrogate, which no encoding can carry.
        MetadataError: An integer does not fit 64 bits, or a key or value holds a lone surrogate; the message names
            the key.
    """
    try:
        return list(map(_encode, zip(ids, texts, metadata, strict=True)))
    except (UnicodeEncodeError, OverflowError):
        for i, (record_id, text, item) in enumerate(zip(ids, texts, metadata, strict=True)):
            check_unicode(record_id, f"id {i}")
            check_unicode(text, f"text {i}")
            for key, value in item.items():
                _plain(value, _key(key, f"metadata {i}"), f"metadata {i}", 1)
        raise


def check_ids(ids: Iterable[str | None] | None, count: int) -> list[str]:
    """One id a text: those given, and new ones in place of None.

    Raises:
        InvalidInputError: There are not as many ids as texts, or one is no ``str``.
    """
    if ids is None:
        return new_ids(count)
    given = [ids] if isinstance(ids, str) else _listed(ids, "ids")
    if len(given) != count:
        raise InvalidInputError(f"ids must be as many as texts: there are {len(given)} ids and {count} texts")
    if _STR.issuperset(map(type, given)):
        return given
    missing = sum(record_id is None for record_id in given)
    fresh = iter(new_ids(missing))
    checked: list[str] = []
    for i, record_id in enumerate(given):
        if record_id is not None and not isinstance(record_id, str):
            raise InvalidInputError(f"id {i} is of type {type(record_id).__name__}, not a str")
        checked.append(next(fresh) if record_id is None else str(record_id))
    return checked


def wanted_ids(ids: Iterable[str] | str) -> list[str]:
    """The ids to look for, as a list; one ``str`` is one id.

    Raises:
        InvalidInputError: One is no ``str``.
    """
    wanted = [ids] if isinstance(ids, str) else _listed(ids, "ids")
    for i, record_id in enumerate(wanted):
        if not isinstance(record_id, str):
            raise InvalidInputError(f"id {i} is of type {type(record_id).__name__}, not a str")
    return wanted


def check_count(value: Any, what: str) -> int:
    """A number of things, 0 or more, of any integer type.

    Args:
        value: The number.
        what: What it is, for the message.

    Raises:
        QueryError: It is none.

    Example:
        >>> check_count(np.int64(5), "k is a number of hits")
        5
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 0:
        raise QueryError(f"{what}, 0 or more, not {value!r}")
    return operator.index(value)


def new_ids(count: int) -> list[str]:
    """UUIDs of version 7 (RFC 9562, 5.7), ascending by one: the last field counts on from a random start.

    Consecutive ids differ in their last digits alone, so that a thousand of them cost a thousand bytes and not 16,000.
    """
    if not count:
        return []
    milliseconds = time.time_ns() // 1_000_000
    noise = int.from_bytes(os.urandom(10), "big")
    start = (noise & ((1 << 61) - 1)) | (noise >> 68 & 0xFFF) << 64  # rand_b leaves its top bit for the count
    base = (milliseconds & ((1 << 48) - 1)) << 80 | 7 << 76 | 2 << 62
    base |= start & ~(3 << 62)
    if count == 1:
        return [str(uuid.UUID(int=base))]
    texts: list[str] = []
    for number in range(base, base + count):
        digits = f"{number:032x}"
        texts.append(f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}")
    return texts


def check_metadata(
    metadata: Iterable[Mapping[str, Any] | None] | Mapping[str, Any] | None, count: int
) -> list[dict[str, Any]]:
    """One plain dict a text; a given dict that is plain already is itself the one.

    Values are None, bool, int (64 bits), float, str, and lists and dicts of them; tuples become lists, NumPy scalars
    their Python selves.

    Raises:
        InvalidInputError: There are not as many as texts.
        MetadataError: A value cannot be stored; the message names its key.
    """
    if metadata is None:
        return [{} for _ in range(count)]
    given: Sequence[Mapping[str, Any] | None] = (
        [metadata] if isinstance(metadata, Mapping) else _listed(metadata, "metadata", MetadataError)
    )
    if len(given) != count:
        raise InvalidInputError(f"metadata must be as many as texts: there are {len(given)} and {count} texts")
    return [_plain_dict(item, i) for i, item in enumerate(given)]


def _plain_dict(item: Mapping[str, Any] | None, number: int) -> dict[str, Any]:
    if type(item) is dict and _SCALARS.issuperset(map(type, item.values())) and _STR.issuperset(map(type, item)):
        return item  # nearly all there is; its integers and characters are checked when it is encoded
    if item is None:
        return {}
    if not isinstance(item, Mapping):
        raise MetadataError(f"metadata {number} is of type {type(item).__name__}, not a dict")
    where = f"metadata {number}"
    return {_key(key, where): _plain(value, key, where, 1) for key, value in item.items()}


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise MetadataError(f"{where}: the key {key!r} is of type {type(key).__name__}, not a str")
    check_unicode(key, f"{where}: the key {key!r}", MetadataError)
    return key


def _plain(value: Any, path: str, where: str, depth: int) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        if kind is int and not _INT_MIN <= value <= _INT_MAX:
            raise MetadataError(f"{where}: {path!r} is {value}, which does not fit 64 bits; store it as a str")
        if kind is str:
            check_unicode(value, f"{where}: {path!r}", MetadataError)
        return value
    if depth > _DEPTH_LIMIT:
        raise MetadataError(f"{where}: {path!r} is nested more than {_DEPTH_LIMIT} deep, or contains itself")
    if isinstance(value, Mapping):
        return {_key(k, f"{where}: {path}"): _plain(v, f"{path}.{k}", where, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{i}]", where, depth + 1) for i, item in enumerate(value)]
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        return _plain(value.item(), path, where, depth + 1)
    for base in (bool, int, float, str):
        if isinstance(value, base):  # an IntEnum or a str subclass is stored as what it is
            return _plain(base(value), path, where, depth + 1)
    raise MetadataError(
        f"{where}: {path!r} is of type {kind.__name__}, which cannot be stored; "
        "use None, bool, int, float, str, lists and dicts (a date as its isoformat())"
    )


def check_unicode(text: str, what: str, error: type[InvalidInputError] = TextError) -> None:
    """Raise ``error`` if a text holds a lone surrogate, which no encoding can carry."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise error(f"{what} holds a lone surrogate at character {exc.start}, which is no valid Unicode") from exc
