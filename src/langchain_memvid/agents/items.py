"""Items of a store as records, and LangGraph's filters as filters of the core."""

from __future__ import annotations

import math
import re
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
    """The id of an item's record."""
    return record_id(ITEM, *namespace, key)


def check_ttl(ttl: object) -> float | None:
    """A time to live in minutes.

    Raises:
        InvalidInputError: It is no finite number above 0.
    """
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not 0 < ttl < math.inf:
        raise InvalidInputError(f"a ttl is a number of minutes above 0, not {ttl!r}; None keeps the item for good")
    return float(ttl)


@dataclass(frozen=True)
class Stored:
    """An item as it is kept: a record for the item, and one for each further text that it is found by.

    ``value`` lies open in the metadata, so that every door of the memory can filter by it; a key that is spelt like our
    own (``langgraph``) gets an apostrophe. ``fields`` counts the texts that have a vector, ``ttl`` is in minutes,
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
        """The item of a record, or of one of its further texts; None if it is neither."""
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
        """The id of its record."""
        return item_id(self.namespace, self.key)

    @property
    def ids(self) -> list[str]:
        """The ids of all its records."""
        further = range(1, self.fields)
        return [self.id, *(record_id(FIELD, *self.namespace, self.key, number) for number in further)]

    def is_stale(self, now: float) -> bool:
        """Whether reading it ``now`` has to be written down, as most reads of a busy item have not."""
        return self.ttl is not None and self.expires is not None and now + 54 * self.ttl > self.expires

    def metadata(self, kind: str) -> dict[str, Any]:
        """What its records carry beside their text."""
        namespace = ".".join(self.namespace)
        meta = {"kind": kind, "namespace": namespace, "key": self.key, "fields": self.fields}
        meta |= {"created_at": self.created, "updated_at": self.updated}
        if self.ttl is not None:
            meta |= {"ttl": self.ttl, "expires": self.expires}
        return {**{_escaped(key): entry for key, entry in self.value.items()}, META: meta}

    def item(self) -> Item:
        """LangGraph's own object."""
        return Item(**self._parts())

    def found(self, score: float | None) -> SearchItem:
        """LangGraph's own object for a search."""
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
        """What an operation makes, at a time of its own, of the item that was there before it."""
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
    """Items that have not expired at ``now``, in seconds since 1970."""
    return {"$or": [{EXPIRES: {"$exists": False}}, {EXPIRES: {"$gt": now}}]}


def under(prefix: tuple[str, ...]) -> dict[str, Any]:
    """Items whose namespace begins with ``prefix``."""
    if not prefix:
        return {}
    path, start = f"{META}.namespace", ".".join(prefix)
    # No label holds a dot, and "/" is the character after it: what begins with "users." is below "users/".
    return {"$or": [{path: start}, {path: {"$gte": f"{start}.", "$lt": f"{start}/"}}]}


def matches(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    """Whether a namespace begins or ends with a path, where ``"*"`` stands for any label.

    Raises:
        InvalidInputError: The match is neither "prefix" nor "suffix".
    """
    path = condition.path
    if condition.match_type not in ("prefix", "suffix"):
        raise InvalidInputError(f"match_type is 'prefix' or 'suffix', not {condition.match_type!r}")
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(label in ("*", there) for label, there in zip(path, part, strict=True))


def to_where(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """A filter over values as a filter over records.

    A bare value, LangGraph's own operators, ``$in`` and ``$nin`` compare whole values, as in LangGraph: a scalar does
    not match a list that holds it. A bare dict asks for the keys it names. The other operators, and ``$and``, ``$or``,
    ``$nor`` and ``$not``, are the core's (``docs/filters.md``).

    Raises:
        FilterError: It is not of the language.
    """
    if not isinstance(chosen, Mapping):
        raise FilterError(
            f"a filter is a dict such as {{'status': 'active'}}, not a value of type {type(chosen).__name__}"
        )
    return {"$and": [_clause(key, wanted) for key, wanted in chosen.items()]} if chosen else {}


def _clause(key: object, wanted: Any) -> dict[str, Any]:
    if not isinstance(key, str):
        raise FilterError(f"a field name is a str, not {key!r}")
    if key in _GROUPS and isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return {key: [to_where(part) for part in wanted]}
    if key == "$not":
        return {key: to_where(wanted)}
    if key.startswith("$"):
        return {key: wanted}  # the core says what is wrong with it
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
        raise FilterError(f"{key!r} below {path!r} cannot be asked for: such a key is no step of a path")
    return key


def _as_it_is(name: object) -> Callable[[str, Any], dict[str, Any]]:
    return lambda path, operand: {path: {name: operand}}


def _equal(path: str, wanted: Any) -> dict[str, Any]:
    """Equal as a whole: to the core, a list also matches what is equal to one of its items."""
    if isinstance(wanted, list | tuple):
        whole = list(wanted)
        return {"$and": [{path: {"$eq": whole}}, {"$not": {path: {"$any": [whole]}}}]}
    return {"$and": [{path: {"$eq": wanted}}, {"$not": {path: {"$type": "list"}}}]}


def _unequal(path: str, wanted: Any) -> dict[str, Any]:
    return {"$not": _equal(path, wanted)}


def _ordered(name: str) -> Callable[[str, Any], dict[str, Any]]:
    """An order of whole values: to the core, a list is in it with each of its items."""
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
    """The present."""
    return datetime.now(UTC)


def items_where(prefix: tuple[str, ...], chosen: Mapping[str, Any] | None, now: float | None) -> dict[str, Any]:
    """Records of living items (all of them if ``now`` is None) below a namespace that a filter lets pass."""
    parts = [under(prefix), to_where(chosen or {}), {} if now is None else alive(now)]
    return {"$and": [{KIND: {"$in": [ITEM, FIELD]}}, *(part for part in parts if part)]}
