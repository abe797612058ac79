"""Plan: the operations of one batch, checked before anything is asked or written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langgraph.store.base import (
    GetOp,
    ListNamespacesOp,
    Op,
    PutOp,
    SearchOp,
    get_text_at_path,
    tokenize_path,
    validate_op_namespace,
)

from langchain_memvid.agents.items import check_ttl, item_id, to_where
from memvid_core import InvalidInputError, MetadataError, plain_query

__all__ = ["Plan", "check_keys"]


def check_keys(config: object, known: type, name: str) -> None:
    """Raise for a key that no configuration has: mistyped and passed over, it would change what is kept and found.

    Args:
        config: A configuration of LangGraph's.
        known: Its ``TypedDict``.
        name: What the caller calls it.

    Raises:
        InvalidInputError: There is such a key, or it is no dict.
    """
    there = sorted(known.__annotations__)
    if not isinstance(config, Mapping):
        raise InvalidInputError(f"{name} is a dict with keys of {there}, not {config!r}")
    if wrong := sorted(config.keys() - set(there)):
        near = difflib.get_close_matches(str(wrong[0]), there, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        unknown = ", ".join(map(repr, wrong))
        raise InvalidInputError(f"{name} has no key {unknown}; its keys are {', '.join(there)}{hint}")


class Plan:
    """Operations, the last put of each item, and all that has to be embedded for them, each text once.

    Args:
        ops: LangGraph's operations.
        fields: The paths that are embedded unless an operation names others; None embeds nothing.

    Raises:
        InvalidNamespaceError: A label is empty, no ``str``, or holds a dot.
        InvalidInputError: An operation that cannot be carried out.
    """

    def __init__(self, ops: Iterable[Op], fields: Sequence[str] | None) -> None:
        self.ops = list(ops)
        self.puts: dict[str, PutOp] = {}
        for op in self.ops:
            _check(op)
            if isinstance(op, PutOp):
                self.puts[item_id(op.namespace, op.key)] = op
        self.texts_of = {name: _texts(op, fields) for name, op in self.puts.items()}
        self.texts = list(dict.fromkeys(text for texts in self.texts_of.values() for text in texts))
        asked = [op.query for op in self.ops if isinstance(op, SearchOp) and fields is not None]
        self.queries = list(dict.fromkeys(query for query in asked if query and plain_query(query).strip()))

    @staticmethod
    def whole(op: PutOp) -> str:
        """The text of an item that is not embedded: its value, so that other readers of the memory see something."""
        return get_text_at_path(op.value, "$")[0]


def _check(op: Op) -> None:
    if not isinstance(op, GetOp | SearchOp | PutOp | ListNamespacesOp):
        raise InvalidInputError(f"an operation of a store is a GetOp, PutOp, SearchOp or ListNamespacesOp, not {op!r}")
    validate_op_namespace(op)
    if isinstance(op, GetOp | PutOp) and not isinstance(op.key, str):
        raise InvalidInputError(f"a key is a str, not {op.key!r}")
    if isinstance(op, PutOp):
        _check_put(op)
    elif isinstance(op, SearchOp):
        to_where({} if op.filter is None else op.filter)
        if op.query is not None and not isinstance(op.query, str):
            raise InvalidInputError(f"query is a str or None, not {op.query!r}")
    if isinstance(op, SearchOp | ListNamespacesOp):
        for name, number in (("limit", op.limit), ("offset", op.offset)):
            _check_count(name, number)
    if isinstance(op, ListNamespacesOp) and op.max_depth is not None:
        _check_count("max_depth", op.max_depth)


def _check_count(name: str, number: object) -> None:
    if type(number) is not int or number < 0:
        raise InvalidInputError(f"{name} is a whole number, 0 or more, not {number!r}")


def _check_put(op: PutOp) -> None:
    check_ttl(op.ttl)
    if op.index is not None and op.index is not False and not _all_str(op.index):
        raise InvalidInputError(f"index is None, False or a list of paths such as 'text', not {op.index!r}")
    if op.value is not None:
        _check_value(op.value)


def _all_str(paths: object) -> bool:
    return isinstance(paths, list | tuple) and all(isinstance(path, str) for path in paths)


def _check_value(value: Any) -> None:
    """JSON has no word for what is refused here; what remains is checked by the memory."""
    if not isinstance(value, Mapping):
        raise MetadataError(f"a value is a dict with str keys, not {value!r}")
    try:
        get_text_at_path(value, "$")
    except (TypeError, ValueError, RecursionError) as exc:
        raise MetadataError(f"the value {value!r} cannot be stored: {exc}; use what JSON can say") from exc


def _texts(op: PutOp, fields: Sequence[str] | None) -> list[str]:
    """The texts that an item is to be found by."""
    if op.value is None or op.index is False or fields is None:
        return []
    paths = fields if op.index is None else op.index
    found = (
        text for path in paths for text in get_text_at_path(op.value, path if path == "$" else tokenize_path(path))
    )
    return list(dict.fromkeys(found))
