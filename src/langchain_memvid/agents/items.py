"""Conversion of store items to records, and of LangGraph filters to filters of the core."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from langgraph.store.base import Item, MatchCondition, PutOp, SearchItem

from langchain_memvid.agents.record_schema import EXPIRES, FIELD, ITEM, KIND, META, is_id_of, meta_of, record_id
from memvid_core import FilterError, InvalidInputError, Record

__all__ = ["Stored", "check_ttl", "item_id", "items_where", "matches", "to_where", "utc_now"]

_OURS: Final = re.compile(rf"{META}'*")
_GROUPS: Final = ("$and", "$or", "$nor")


def item_id(namespace: tuple[str, ...], key: str) -> str:
    """Return the id of an item's record."""
    return record_id(ITEM, *namespace, key)


def check_ttl(ttl: object) -> float | None:
    """Check a time to live in minutes and return it.

    Raises:
        InvalidInputError: It is not a finite number above 0.
    """
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not 0 < ttl <= sys.float_info.max:
        raise InvalidInputError(f"ttl must be a number of minutes above 0, not {ttl!r}; None never expires")
    return float(ttl)


@dataclass(frozen=True)
class Stored:
    """Represent an item as stored: one record for the item, and one for each further indexed text.

    ``value`` is stored as plain metadata, so every part of the package can filter by it. A key equal to the reserved
    key (``langgraph``) gets an apostrophe. ``fields`` counts the texts that have a vector; ``ttl`` is in minutes,
    ``expires`` in seconds since 1970.
    """

    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any]
    created: str
    updated: str
    fields: int
    ttl: float | None = None
    expires: float | None = None

    @classmethod
    def of(cls, record: Record) -> Stored | None:
        """Return the item of a record, or of one of its further texts; None for other records."""
        meta = meta_of(record.metadata)
        kind = meta.get("kind")
        if kind not in (ITEM, FIELD) or not is_id_of(kind, record.id):
            return None
        value = {_unescaped(key): entry for key, entry in record.metadata.items() if key != META}
        labels = meta["namespace"].split(".") if meta["namespace"] else []
        times = (meta["created_at"], meta["updated_at"])
        return cls(tuple(labels), meta["key"], value, *times, meta["fields"], meta.get("ttl"), meta.get("expires"))

    @property
    def id(self) -> str:
        """The id of the item's record."""
        return item_id(self.namespace, self.key)

    @property
    def ids(self) -> list[str]:
        """The ids of all records of the item."""
        further = range(1, self.fields)
        return [self.id, *(record_id(FIELD, *self.namespace, self.key, number) for number in further)]

    def is_stale(self, now: float) -> bool:
        """Return whether a read at ``now`` must be stored; most reads of a frequently read item need not be."""
        return self.ttl is not None and self.expires is not None and now + 54 * self.ttl > self.expires

    def metadata(self, kind: str) -> dict[str, Any]:
        """Return the metadata of the item's records."""
        namespace = ".".join(self.namespace)
        meta = {"kind": kind, "namespace": namespace, "key": self.key, "fields": self.fields}
        meta |= {"created_at": self.created, "updated_at": self.updated}
        if self.ttl is not None:
            meta |= {"ttl": self.ttl, "expires": self.expires}
        return {**{_escaped(key): entry for key, entry in self.value.items()}, META: meta}

    def item(self) -> Item:
        """Return the item as LangGraph's ``Item``."""
        return Item(**self._parts())

    def found(self, score: float | None) -> SearchItem:
        """Return the item as LangGraph's ``SearchItem``."""
        return SearchItem(score=score, **self._parts())

    def _parts(self) -> dict[str, Any]:
        created, updated = datetime.fromisoformat(self.created), datetime.fromisoformat(self.updated)
        return {
            "namespace": self.namespace,
            "key": self.key,
            "value": self.value,
            "created_at": created,
            "updated_at": updated,
        }

    @classmethod
    def put(cls, op: PutOp, before: Stored | None, fields: int, time: datetime, now: float) -> Stored:
        """Return the item that a put operation stores, given the item that it replaces."""
        stamp = time.isoformat(timespec="microseconds")
        created = stamp if before is None else before.created
        expires = None if op.ttl is None else now + 60 * op.ttl
        return cls(op.namespace, op.key, dict(op.value or {}), created, stamp, fields, op.ttl, expires)


def _escaped(key: Any) -> Any:
    return f"{key}'" if isinstance(key, str) and _OURS.fullmatch(key) else key


def _unescaped(key: str) -> str:
    return key[:-1] if _OURS.fullmatch(key) else key


# --- conditions ---


def alive(now: float) -> dict[str, Any]:
    """Return a filter for items that have not expired at ``now``, in seconds since 1970."""
    return {"$or": [{EXPIRES: {"$exists": False}}, {EXPIRES: {"$gt": now}}]}


def under(prefix: tuple[str, ...]) -> dict[str, Any]:
    """Return a filter for items whose namespace begins with ``prefix``."""
    if not prefix:
        return {}
    path, start = f"{META}.namespace", ".".join(prefix)
    # Labels do not contain a dot, and "/" follows "." in ASCII: everything that begins with "users." is below
    # "users/".
    return {"$or": [{path: start}, {path: {"$gte": f"{start}.", "$lt": f"{start}/"}}]}


def matches(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    """Return whether a namespace begins or ends with a path, in which ``"*"`` matches any label.

    Raises:
        InvalidInputError: The match is neither "prefix" nor "suffix".
    """
    path = condition.path
    if condition.match_type not in ("prefix", "suffix"):
        raise InvalidInputError(f"match_type must be 'prefix' or 'suffix', not {condition.match_type!r}")
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(label in ("*", there) for label, there in zip(path, part, strict=True))


def to_where(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a filter over item values to a filter over records.

    As in LangGraph, a bare value, LangGraph's own operators, ``$in`` and ``$nin`` compare whole values: a scalar does
    not match a list that contains it. A bare dict compares only the keys that it has. All other operators, and
    ``$and``, ``$or``, ``$nor`` and ``$not``, are those of the core (``docs/filters.md``).

    Raises:
        FilterError: The filter is invalid.
    """
    try:
        return _where(chosen)
    except RecursionError as exc:
        raise FilterError("the filter is nested too deeply") from exc


def _where(chosen: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(chosen, Mapping):
        raise FilterError(
            f"a filter must be a dict such as {{'status': 'active'}}, not a value of type {type(chosen).__name__}"
        )
    return {"$and": [_clause(key, wanted) for key, wanted in chosen.items()]} if chosen else {}


def _clause(key: object, wanted: Any) -> dict[str, Any]:
    if not isinstance(key, str):
        raise FilterError(f"a field name must be a str, not {key!r}")
    if key in _GROUPS and isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return {key: [_where(part) for part in wanted]}
    if key == "$not":
        return {key: _where(wanted)}
    if key.startswith("$"):
        return {key: wanted}  # the core reports the error
    return _condition(_escaped(key), wanted)


def _condition(path: str, wanted: Any) -> dict[str, Any]:
    if not isinstance(wanted, Mapping):
        return _equal(path, wanted)
    if any(isinstance(name, str) and name.startswith("$") for name in wanted):
        parts = [_OPERATORS.get(name, _as_it_is(name))(path, operand) for name, operand in wanted.items()]
        return {"$and": parts}
    below = [_condition(f"{path}.{_step(key, path)}", entry) for key, entry in wanted.items()]
    return {"$and": [{path: {"$type": "dict"}}, *below]}


def _step(key: object, path: str) -> str:
    if not isinstance(key, str) or not key or "." in key:
        raise FilterError(f"cannot filter by the key {key!r} of {path!r}: use a non-empty str without a dot")
    return key


def _as_it_is(name: object) -> Callable[[str, Any], dict[str, Any]]:
    return lambda path, operand: {path: {name: operand}}


def _equal(path: str, wanted: Any) -> dict[str, Any]:
    """Match equal whole values; in the core, a list also matches if one of its items is equal."""
    if isinstance(wanted, list | tuple):
        whole = list(wanted)
        return {"$and": [{path: {"$eq": whole}}, {"$not": {path: {"$any": [whole]}}}]}
    return {"$and": [{path: {"$eq": wanted}}, {"$not": {path: {"$type": "list"}}}]}


def _unequal(path: str, wanted: Any) -> dict[str, Any]:
    return {"$not": _equal(path, wanted)}


def _ordered(name: str) -> Callable[[str, Any], dict[str, Any]]:
    """Compare whole values; in the core, a list also matches if one of its items does."""
    return lambda path, operand: {"$and": [{path: {name: operand}}, {"$not": {path: {"$type": "list"}}}]}


def _in(path: str, wanted: Any) -> dict[str, Any]:
    if not isinstance(wanted, list | tuple | set | frozenset):
        raise FilterError(f"$in and $nin need a list, not {wanted!r}")
    single = [value for value in wanted if not isinstance(value, list | tuple)]
    whole = [_equal(path, value) for value in wanted if isinstance(value, list | tuple)]
    return {"$or": [{"$and": [{path: {"$in": single}}, {"$not": {path: {"$type": "list"}}}]}, *whole]}


def _not_in(path: str, wanted: Any) -> dict[str, Any]:
    return {"$not": _in(path, wanted)}


_OPERATORS: Final[dict[Any, Callable[[str, Any], dict[str, Any]]]] = {
    "$eq": _equal,
    "$ne": _unequal,
    "$in": _in,
    "$nin": _not_in,
    **{name: _ordered(name) for name in ("$gt", "$gte", "$lt", "$lte")},
}


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def items_where(prefix: tuple[str, ...], chosen: Mapping[str, Any] | None, now: float | None) -> dict[str, Any]:
    """Return a filter for records of items under a namespace that match ``chosen`` and are alive at ``now``."""
    parts = [under(prefix), to_where(chosen or {}), {} if now is None else alive(now)]
    return {"$and": [{KIND: {"$in": [ITEM, FIELD]}}, *(part for part in parts if part)]}
