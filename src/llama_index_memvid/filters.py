"""Translation of LlamaIndex's metadata filters to the filter language (``docs/filters.md``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from llama_index_memvid.nodes import REF_DOC
from memvid_core import FilterError, Library, Memory

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
_REF_DOC_KEYS = {
    "doc_id",
    "document_id",
    "ref_doc_id",
}  # keys under which other stores keep the id of the source document
_NO_TEXT = {"$type": ["boolean", "number", "list", "dict"]}
_NO_LIST = {"$not": {"$type": "list"}}


class TextMatchError(FilterError, TypeError):
    """Report a text match on a value that is not a text."""


def to_where(filters: MetadataFilters | None) -> Where:
    """Translate a filter to a dict; an empty filter matches everything.

    ``NE`` and ``NIN`` also match records without the key. ``EQ`` and ``IN`` compare whole values; ``CONTAINS``, ``ANY``
    and ``ALL`` look into lists. ``NOT`` matches if none of its filters does. ``doc_id``, ``document_id`` and
    ``ref_doc_id`` also match the id of a node's source document.

    Raises:
        FilterError: An operator, a condition or a value is unknown.
        TextMatchError: A text match has a value that is not a text.

    Example:
        >>> to_where(MetadataFilters(filters=[MetadataFilter(key="page", value=3, operator=FilterOperator.GTE)]))
        {'$and': [{'page': {'$gte': 3}}]}
    """
    if filters is None:
        return {}
    if not isinstance(filters, MetadataFilters):
        raise FilterError(
            f"filters must be a MetadataFilters, not a value of type {type(filters).__name__}; pass a dict in the "
            "filter language as where, for example vector_store_kwargs={'where': ...}"
        )
    if not filters.filters:
        return {}
    group = _GROUPS.get(filters.condition or FilterCondition.AND)
    if group is None:
        raise FilterError(f"unknown condition {filters.condition!r}: use 'and', 'or' or 'not'")
    return {group: [to_where(one) if isinstance(one, MetadataFilters) else _one(one) for one in filters.filters]}


def both(*parts: Where) -> Where:
    """Return a filter that all given filters must match; empty ones are ignored."""
    said = [part for part in parts if part]
    return {"$and": said} if len(said) > 1 else said[0] if said else {}


def check_text_fields(memory: Memory | Library, filters: MetadataFilters | None, scope: Where) -> None:
    """Check that a text match meets only texts in ``scope``.

    Raises:
        TextMatchError: A value is not a text, as ``SimpleVectorStore`` raises ``TypeError``; a filter would skip the
            record.
    """
    for one in _leaves(filters):
        if one.operator in _TEXT:
            found = memory.select(both(scope, {one.key: _NO_TEXT}), limit=1)
            if found:
                raise TextMatchError(
                    f"{one.operator.value} on {one.key!r} needs strings, but node {found[0].id!r} has another type"
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
    """Return the condition on a key, and on the source document's id if the key can mean that."""
    if key not in _REF_DOC_KEYS:
        return _placed(key, condition)
    return {group: [_placed(key, condition), _placed(REF_DOC, condition)]}


def _placed(key: str, condition: Where) -> Where:
    """Return the condition on a key; groups inside ``condition`` apply to the same key."""
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
        f"unknown operator {operator!r} on {key!r}; known operators: {[known.value for known in FilterOperator]}"
    )


def _listed(value: Any) -> list[Any]:
    """Return the values of an operator as a list; a single value becomes a list of one."""
    return value if isinstance(value, list) else [value]
