"""LlamaIndex's metadata filters in the filter language (``docs/filters.md``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from llama_index_memvid.nodes import REF_DOC
from memvid_core import FilterError, Memory

__all__ = ["TextMatchError", "both", "check_text_fields", "to_where"]

Where = dict[str, Any]

_GROUPS = {FilterCondition.AND: "$and", FilterCondition.OR: "$or", FilterCondition.NOT: "$nor"}
_ORDER = {
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
}
_OPPOSITES = {FilterOperator.NE: FilterOperator.EQ, FilterOperator.NIN: FilterOperator.IN}
_TEXT = {FilterOperator.TEXT_MATCH: "$contains", FilterOperator.TEXT_MATCH_INSENSITIVE: "$icontains"}
_WITHOUT_VALUE = {FilterOperator.EQ, FilterOperator.IS_EMPTY}
_REF_DOC_KEYS = {"doc_id", "document_id", "ref_doc_id"}  # what other stores keep the source document's id under
_NO_TEXT = {"$type": ["boolean", "number", "list", "dict"]}
_NO_LIST = {"$not": {"$type": "list"}}


class TextMatchError(FilterError, TypeError):
    """A text match on something that is no text."""


def to_where(filters: MetadataFilters | None) -> Where:
    """The same filter as a dict; an empty one matches everything.

    ``NE`` and ``NIN`` match records that lack the key, ``EQ`` and ``IN`` compare whole values (``CONTAINS``, ``ANY``
    and ``ALL`` look into lists), and ``NOT`` means that none of its filters matches. ``doc_id``, ``document_id`` and
    ``ref_doc_id`` are also the id of the document that a node comes from.

    Raises:
        FilterError: An operator, a condition or a value that is not known.
        TextMatchError: A text match with a value that is no text.

    Example:
        >>> to_where(MetadataFilters(filters=[MetadataFilter(key="page", value=3, operator=FilterOperator.GTE)]))
        {'$and': [{'page': {'$gte': 3}}]}
    """
    if filters is None:
        return {}
    if not isinstance(filters, MetadataFilters):
        raise FilterError(
            f"filters is a MetadataFilters, not a value of type {type(filters).__name__}; a dict of the filter "
            "language goes into where, as in vector_store_kwargs={'where': ...}"
        )
    if not filters.filters:
        return {}
    group = _GROUPS.get(filters.condition or FilterCondition.AND)
    if group is None:
        raise FilterError(f"unknown condition {filters.condition!r}: there are 'and', 'or' and 'not'")
    return {group: [to_where(one) if isinstance(one, MetadataFilters) else _one(one) for one in filters.filters]}


def both(*parts: Where) -> Where:
    """All of several filters; empty ones say nothing."""
    said = [part for part in parts if part]
    return {"$and": said} if len(said) > 1 else said[0] if said else {}


def check_text_fields(memory: Memory, filters: MetadataFilters | None, scope: Where) -> None:
    """Raise if a text match meets a value that is no text in ``scope``.

    Raises:
        TextMatchError: As ``SimpleVectorStore`` raises ``TypeError``: the filter would silently pass such records over.
    """
    for one in _leaves(filters):
        if one.operator in _TEXT:
            found = memory.select(both(scope, {one.key: _NO_TEXT}), limit=1)
            if found:
                raise TextMatchError(
                    f"{one.operator.value} on {one.key!r} needs strings, and node {found[0].id!r} has something else"
                )


def _leaves(filters: MetadataFilters | None) -> Iterator[MetadataFilter]:
    for one in filters.filters if filters is not None else ():
        if isinstance(one, MetadataFilters):
            yield from _leaves(one)
        else:
            yield one


def _one(one: MetadataFilter) -> Where:
    positive = _OPPOSITES.get(one.operator)
    if positive is not None:
        return {"$nor": [_anywhere(one.key, _condition(one.key, positive, one.value), "$or")]}
    group = "$and" if one.operator is FilterOperator.IS_EMPTY else "$or"
    return _anywhere(one.key, _condition(one.key, one.operator, one.value), group)


def _anywhere(key: str, condition: Where, group: str) -> Where:
    """The condition on a key, or on the source document's id too where the key can mean that."""
    if key not in _REF_DOC_KEYS:
        return _placed(key, condition)
    return {group: [_placed(key, condition), _placed(REF_DOC, condition)]}


def _placed(key: str, condition: Where) -> Where:
    """``condition`` on ``key``; groups in it are of conditions on that key."""
    if len(condition) == 1:
        name, value = next(iter(condition.items()))
        if name in ("$and", "$or"):
            return {name: [{key: part} for part in value]}
    return {key: condition}


def _condition(key: str, operator: FilterOperator, value: Any) -> Where:
    if value is None and operator not in _WITHOUT_VALUE:
        raise FilterError(f"{operator!r} on {key!r} needs a value to compare with, not None")
    match operator:
        case FilterOperator.EQ:
            return {"$eq": value} if value is None or isinstance(value, list) else {"$eq": value, **_NO_LIST}
        case FilterOperator.IN:
            return {"$in": _listed(value), **_NO_LIST}
        case FilterOperator.CONTAINS:
            return {"$contains": value}
        case FilterOperator.ANY:
            return {"$or": [{"$contains": item} for item in _listed(value)]} if value != [] else {"$in": []}
        case FilterOperator.ALL:
            return {"$and": [{"$contains": item} for item in _listed(value)]} if value != [] else {"$ne": None}
        case FilterOperator.IS_EMPTY:
            return {"$empty": True}
    if operator in _ORDER:
        return {_ORDER[operator]: value}
    if operator in _TEXT:
        if not isinstance(value, str):
            raise TextMatchError(
                f"{operator.value} on {key!r} needs a string, not the {type(value).__name__} {value!r}"
            )
        return {_TEXT[operator]: value}
    raise FilterError(
        f"unknown operator {operator!r} on {key!r}: there are {[known.value for known in FilterOperator]}"
    )


def _listed(value: Any) -> list[Any]:
    """What an operator over several values was given; one value is a list of it."""
    return value if isinstance(value, list) else [value]
