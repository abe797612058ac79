"""Validation of texts, ids, metadata and other arguments, before anything is written."""

from __future__ import annotations

import inspect
import operator
import os
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, cast

import numpy as np

from memvid_core.catalog.json_values import DEEPEST, SCALARS, plain, replacement, shortened
from memvid_core.errors import FilterError, InvalidInputError, MetadataError, QueryError, TextError
from memvid_core.journal.frames import encode_rows
from memvid_core.vectors.metrics import check_choice

__all__ = [
    "check_answer",
    "check_choice",
    "check_count",
    "check_ids",
    "check_metadata",
    "check_pause",
    "check_texts",
    "check_timeout",
    "check_unicode",
    "encode_records",
    "new_ids",
    "wanted_ids",
]

_STR = frozenset({str})
_DICT = frozenset({dict})
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1  # the range of msgpack


def check_texts(texts: Iterable[str] | str) -> list[str]:
    """Return texts as a list; one ``str`` is one text.

    Raises:
        TextError: A text is not a ``str``.
    """
    checked = [texts] if isinstance(texts, str) else _listed(texts, "texts", TextError)
    if _STR.issuperset(map(type, checked)):
        return checked
    for i, text in enumerate(checked):
        if not isinstance(text, str):
            raise TextError(f"text {i} is of type {type(text).__name__}, not a str")
    return list(map(plain, checked))  # msgpack does not accept subclasses


def _listed(values: Any, what: str, error: type[InvalidInputError] = InvalidInputError) -> list[Any]:
    if not isinstance(values, Iterable):
        raise error(f"{what} must be one or several, not a value of type {type(values).__name__}")
    return list(values)


def encode_records(ids: Sequence[str], texts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Return each record in msgpack, ``[id, text, metadata]``.

    Raises:
        TextError: A text or id contains a lone surrogate, which cannot be encoded.
        MetadataError: An integer does not fit 64 bits, or a key or value contains a lone surrogate; the message names
            the key.
    """
    try:
        return encode_rows(zip(ids, texts, metadata, strict=True))
    except (UnicodeEncodeError, OverflowError):
        for i, (record_id, text, item) in enumerate(zip(ids, texts, metadata, strict=True)):
            check_unicode(record_id, f"id {i}")
            check_unicode(text, f"text {i}")
            for key, value in item.items():
                _plain(value, _key(key, f"metadata {i}"), f"metadata {i}")
        raise


def check_ids(ids: Iterable[str | None] | None, count: int) -> list[str]:
    """Return one id per text, with new ids in place of None.

    Raises:
        InvalidInputError: The number of ids differs from that of texts, or an id is not a ``str``.
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
    """Return ids as a list; one ``str`` is one id.

    Raises:
        InvalidInputError: An id is not a ``str``.
    """
    wanted = [ids] if isinstance(ids, str) else _listed(ids, "ids")
    for i, record_id in enumerate(wanted):
        if not isinstance(record_id, str):
            raise InvalidInputError(f"id {i} is of type {type(record_id).__name__}, not a str")
    return wanted if _STR.issuperset(map(type, wanted)) else list(map(plain, wanted))


def check_count(value: Any, what: str) -> int:
    """Return a count, 0 or more, of any integer type, as an int.

    Args:
        value: The count.
        what: A description of it, for the message.

    Raises:
        QueryError: It is not an integer, or negative.

    Example:
        >>> check_count(np.int64(5), "k is a number of hits")
        5
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 0:
        raise QueryError(f"{what}, 0 or more, not {value!r}")
    return operator.index(value)


def check_answer(answer: Any) -> bool:
    """Return the result of a filter function as a bool.

    Other values are rejected, because a coroutine, a non-empty list or the string "no" would count as true.

    Raises:
        FilterError: It is not a bool of Python or NumPy.

    Example:
        >>> check_answer(np.bool_(False))
        False
    """
    if isinstance(answer, bool | np.bool_):
        return bool(answer)
    if inspect.isawaitable(answer) or inspect.isasyncgen(answer):
        if inspect.iscoroutine(answer):
            answer.close()  # or Python warns that it was never awaited
        raise FilterError("an async function cannot be a filter here; pass a plain function or a dict")
    raise FilterError(
        f"the filter function returned {_shown(answer)} of type {type(answer).__name__}; it must return True or False"
    )


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # of a class with a faulty __repr__, or nested too deep
        return "a value"
    return text if len(text) <= 60 else f"{text[:57]}..."


def new_ids(count: int) -> list[str]:
    """Return UUIDs of version 7 (RFC 9562, 5.7) that increase by one from a random start.

    Consecutive ids differ only in their last digits, so that a thousand of them compress to a thousand bytes.
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
    """Return one plain dict per text; a dict that is already plain is not copied.

    Values are None, bool, int (64 bits), float, str, and lists and dicts of them, nested up to 64 deep. Subclasses of
    these are converted, as in JSON: a member of ``class Kind(str, Enum)`` becomes its string. Tuples become lists, and
    NumPy scalars Python numbers. Dates, sets, bytes, arrays and other objects are rejected.

    Raises:
        InvalidInputError: The number of dicts differs from that of texts.
        MetadataError: A value cannot be stored; the message names its key.
    """
    if metadata is None:
        return [{} for _ in range(count)]
    given: Sequence[Mapping[str, Any] | None] = (
        [metadata] if isinstance(metadata, Mapping) else _listed(metadata, "metadata", MetadataError)
    )
    if len(given) != count:
        raise InvalidInputError(f"metadata must be as many as texts: there are {len(given)} and {count} texts")
    if _DICT.issuperset(map(type, given)) and _are_plain(given):  # a third of the time of asking each of them
        return cast(list[dict[str, Any]], list(given))
    return [_plain_dict(item, i) for i, item in enumerate(given)]


def _are_plain(items: Sequence[Any]) -> bool:
    """Return whether dicts need no change; integers and characters are checked when they are encoded."""
    values = chain.from_iterable(map(dict.values, items))
    return SCALARS.issuperset(map(type, values)) and _STR.issuperset(map(type, chain.from_iterable(items)))


def _plain_dict(item: Mapping[str, Any] | None, number: int) -> dict[str, Any]:
    if type(item) is dict and _are_plain([item]):
        return item
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
    """Return a value as plain JSON; ``above`` has the ids of the lists and dicts that contain it."""
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
    """Raise ``error`` if a text contains a lone surrogate, which cannot be encoded."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise error(f"{what} contains a lone surrogate at character {exc.start}, which is not valid Unicode") from exc


def check_timeout(timeout: object) -> float:
    """Return a timeout in seconds as a float.

    Raises:
        InvalidInputError: It is not a number, negative, or too large.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 <= timeout <= threading.TIMEOUT_MAX:
        raise InvalidInputError(f"timeout must be a number of seconds, 0 or more, not {timeout!r}")
    return float(timeout)


def check_pause(seconds: object) -> None:
    """Check the pause between two looks at a file.

    Raises:
        InvalidInputError: It is not a number of seconds, or not positive.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= threading.TIMEOUT_MAX:
        raise InvalidInputError(f"interval must be a number of seconds, more than 0, not {seconds!r}")
