"""What may go into a memory: texts, ids and metadata, checked before anything is written."""

from __future__ import annotations

import inspect
import operator
import os
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from memvid_core.errors import FilterError, InvalidInputError, MetadataError, QueryError, TextError
from memvid_core.index.filters.json_values import DEEPEST, SCALARS, plain, replacement, shortened

__all__ = [
    "check_answer",
    "check_count",
    "check_ids",
    "check_metadata",
    "check_texts",
    "check_timeout",
    "check_unicode",
    "encode_records",
    "new_ids",
    "wanted_ids",
]

_encode = msgspec.msgpack.Encoder().encode
_STR = frozenset({str})
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1  # what msgpack has room for


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
    return list(map(plain, checked))  # msgpack takes no subclass


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
                _plain(value, _key(key, f"metadata {i}"), f"metadata {i}")
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
        checked.append(next(fresh) if record_id is None else plain(record_id))
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
    return wanted if _STR.issuperset(map(type, wanted)) else list(map(plain, wanted))


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


def check_answer(answer: Any) -> bool:
    """What a filter function said of a record, as a bool.

    The truth of anything else is not taken: a coroutine, a non-empty list or the string "no" would all say yes.

    Raises:
        FilterError: It is no bool, of Python or NumPy.

    Example:
        >>> check_answer(np.bool_(False))
        False
    """
    if isinstance(answer, bool | np.bool_):
        return bool(answer)
    if inspect.isawaitable(answer) or inspect.isasyncgen(answer):
        if inspect.iscoroutine(answer):
            answer.close()  # or Python warns that it was never awaited
        raise FilterError("an async function cannot be a filter here; give a plain one, or a dict")
    raise FilterError(
        f"the filter function gave {_shown(answer)} of type {type(answer).__name__}; it must return True or False"
    )


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # of a user's own class, or nested too deep
        return "a value"
    return text if len(text) <= 60 else f"{text[:57]}..."


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

    Values are None, bool, int (64 bits), float, str, and lists and dicts of them, nested up to 64 deep. Subclasses of
    these count by what they hold, as in JSON: a member of ``class Kind(str, Enum)`` is its string. Tuples become lists,
    NumPy scalars their Python selves. Dates, sets, bytes, arrays and other objects are refused.

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
    if type(item) is dict and SCALARS.issuperset(map(type, item.values())) and _STR.issuperset(map(type, item)):
        return item  # nearly all there is; its integers and characters are checked when it is encoded
    if item is None:
        return {}
    if not isinstance(item, Mapping):
        raise MetadataError(f"metadata {number} is of type {type(item).__name__}, not a dict")
    where = f"metadata {number}"
    return {(name := _key(key, where)): _plain(value, name, where, (id(item),)) for key, value in item.items()}


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise MetadataError(f"{where}: the key {key!r} is of type {type(key).__name__}, not a str")
    name: str = plain(key)
    check_unicode(name, f"{where}: the key {name!r}", MetadataError)
    return name


def _plain(value: Any, path: str, where: str, above: tuple[int, ...] = ()) -> Any:
    """A value as plain JSON; ``above`` are the ids of the lists and dicts that it is in."""
    value = plain(value)
    if type(value) in SCALARS:
        if type(value) is int and not _INT_MIN <= value <= _INT_MAX:
            raise MetadataError(
                f"{where}: {shortened(path)!r} is {_shown(value)}, which does not fit 64 bits; store it as a str"
            )
        if type(value) is str:
            check_unicode(value, f"{where}: {shortened(path)!r}", MetadataError)
        return value
    if id(value) in above:
        raise MetadataError(f"{where}: {shortened(path)!r} is a list or dict that contains itself")
    if len(above) > DEEPEST:
        raise MetadataError(f"{where}: {shortened(path)!r} is nested more than {DEEPEST} deep")
    within = (*above, id(value))
    if isinstance(value, Mapping):
        found = ((_key(key, f"{where}: {shortened(path)}"), item) for key, item in value.items())
        return {key: _plain(item, f"{path}.{key}", where, within) for key, item in found}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{i}]", where, within) for i, item in enumerate(value)]
    raise MetadataError(
        f"{where}: {shortened(path)!r} is of type {type(value).__name__}, which cannot be stored{replacement(value)}"
    )


def check_unicode(text: str, what: str, error: type[InvalidInputError] = TextError) -> None:
    """Raise ``error`` if a text holds a lone surrogate, which no encoding can carry."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise error(f"{what} holds a lone surrogate at character {exc.start}, which is no valid Unicode") from exc


def check_timeout(timeout: object) -> float:
    """Return a timeout in seconds, from 0.

    Raises:
        InvalidInputError: It is no such number.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 <= timeout <= threading.TIMEOUT_MAX:
        raise InvalidInputError(f"timeout is a number of seconds from 0, not {timeout!r}")
    return float(timeout)
