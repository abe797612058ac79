"""Plan: the operations of one batch, checked before anything is read or written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
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
    """Check that a configuration has only known keys: a mistyped key that is ignored would change results.

    Args:
        config: A LangGraph configuration.
        known: Its ``TypedDict``.
        name: The name of the argument, for messages.

    Raises:
        InvalidInputError: A key is unknown, or the configuration is not a dict.
    """
    there = sorted(known.__annotations__)
    if not isinstance(config, Mapping):
        raise InvalidInputError(f"{name} must be a dict with keys of {there}, not {config!r}")
    if wrong := sorted(config.keys() - set(there)):
        near = difflib.get_close_matches(str(wrong[0]), there, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        unknown = ", ".join(map(repr, wrong))
        raise InvalidInputError(f"{name} has no key {unknown}; its keys are {', '.join(there)}{hint}")


class Plan:
    """Collect operations, the last put of each item, and the distinct texts to embed for them.

    Args:
        ops: LangGraph's operations.
        fields: The paths that are embedded unless an operation sets its own; None embeds nothing.

    Raises:
        InvalidNamespaceError: A namespace is a ``str``, or a label is empty, is not a ``str``, or contains a dot.
        InvalidInputError: An operation is invalid.
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
        """Return the text of an item that is not embedded: its whole value, for other readers of the memory."""
        return get_text_at_path(op.value, "$")[0]


def _check(op: Op) -> None:
    if not isinstance(op, GetOp | SearchOp | PutOp | ListNamespacesOp):
        raise InvalidInputError(
            f"an operation of a store must be a GetOp, PutOp, SearchOp or ListNamespacesOp, not {op!r}"
        )
    namespace = op.namespace_prefix if isinstance(op, SearchOp) else getattr(op, "namespace", ())
    if isinstance(namespace, str):  # each letter would be a label
        raise InvalidNamespaceError(f"a namespace must be a tuple such as ({namespace!r},), not the str {namespace!r}")
    validate_op_namespace(op)
    if isinstance(op, GetOp | PutOp) and not isinstance(op.key, str):
        raise InvalidInputError(f"a key must be a str, not {op.key!r}")
    if isinstance(op, PutOp):
        _check_put(op)
    elif isinstance(op, SearchOp):
        to_where({} if op.filter is None else op.filter)
        if op.query is not None and not isinstance(op.query, str):
            raise InvalidInputError(f"query must be a str or None, not {op.query!r}")
    if isinstance(op, SearchOp | ListNamespacesOp):
        for name, number in (("limit", op.limit), ("offset", op.offset)):
            _check_count(name, number)
    if isinstance(op, ListNamespacesOp) and op.max_depth is not None:
        _check_count("max_depth", op.max_depth)


def _check_count(name: str, number: object) -> None:
    if type(number) is not int or number < 0:
        raise InvalidInputError(f"{name} must be an integer of 0 or more, not {number!r}")


def _check_put(op: PutOp) -> None:
    check_ttl(op.ttl)
    if op.index is not None and op.index is not False and not _all_str(op.index):
        raise InvalidInputError(f"index must be None, False or a list of paths such as 'text', not {op.index!r}")
    if op.value is not None:
        _check_value(op.value)


def _all_str(paths: object) -> bool:
    return isinstance(paths, list | tuple) and all(isinstance(path, str) for path in paths)


def _check_value(value: Any) -> None:
    """Reject values that JSON cannot represent; the memory checks the rest."""
    if not isinstance(value, Mapping):
        raise MetadataError(f"a value must be a dict with str keys, not {value!r}")
    try:
        get_text_at_path(value, "$")
    except RecursionError as exc:  # its repr fails, too
        raise MetadataError("the value is nested too deeply to be stored") from exc
    except (TypeError, ValueError) as exc:
        raise MetadataError(f"the value {value!r} cannot be stored: {exc}; use JSON types") from exc


def _texts(op: PutOp, fields: Sequence[str] | None) -> list[str]:
    """Return the texts by which an item is found."""
    if op.value is None or op.index is False or fields is None:
        return []
    paths = fields if op.index is None else op.index
    found = (
        text for path in paths for text in get_text_at_path(op.value, path if path == "$" else tokenize_path(path))
    )
    return list(dict.fromkeys(found))
