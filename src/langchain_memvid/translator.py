"""MemvidTranslator: translates LangChain's structured queries to the filter language."""

from __future__ import annotations

from typing import Any

from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery, Visitor
from typing_extensions import override

__all__ = ["MemvidTranslator"]

_OPERATORS = {
    Comparator.EQ: "$eq",
    Comparator.NE: "$ne",
    Comparator.GT: "$gt",
    Comparator.GTE: "$gte",
    Comparator.LT: "$lt",
    Comparator.LTE: "$lte",
    Comparator.CONTAIN: "$contains",
    Comparator.LIKE: "$like",
    Comparator.IN: "$in",
    Comparator.NIN: "$nin",
}


class MemvidTranslator(Visitor):
    """Translate the structured query of a ``SelfQueryRetriever`` to a filter for :class:`MemvidVectorStore`.

    All comparators and operators of LangChain are supported. ``like`` without a ``%`` means that the field contains the
    value. A date is compared as its ISO 8601 text, the form in which metadata holds dates.

    Example:
        >>> older = Comparison(Comparator.LT, "year", 1990)
        >>> MemvidTranslator().visit_structured_query(StructuredQuery("wings", older))
        ('wings', {'filter': {'year': {'$lt': 1990}}})
    """

    allowed_comparators = tuple(Comparator)
    allowed_operators = tuple(Operator)

    @override
    def visit_operation(self, operation: Operation) -> dict[str, Any]:
        self._validate_func(operation.operator)
        parts = [argument.accept(self) for argument in operation.arguments]
        if operation.operator is Operator.NOT:  # NOT of several arguments matches none of them
            return {"$nor": parts}
        return {"$and" if operation.operator is Operator.AND else "$or": parts}

    @override
    def visit_comparison(self, comparison: Comparison) -> dict[str, Any]:
        self._validate_func(comparison.comparator)
        value = _plain(comparison.value)
        if comparison.comparator is Comparator.LIKE and isinstance(value, str) and "%" not in value:
            value = f"%{value}%"
        return {comparison.attribute: {_OPERATORS[comparison.comparator]: value}}

    @override
    def visit_structured_query(self, structured_query: StructuredQuery) -> tuple[str, dict[str, Any]]:
        chosen = structured_query.filter
        return structured_query.query, {} if chosen is None else {"filter": chosen.accept(self)}


def _plain(value: Any) -> Any:
    """Return the value; for the parser's ``{"date": …, "type": "date"}``, return its ISO 8601 text."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and value.get("type") in ("date", "datetime"):
        return value[value["type"]]
    return value
