"""Partition fields: which shards can have records that match a filter."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from memvid_core.catalog.filter_language import And, Leaf, Node, Not, Or, parse_filter
from memvid_core.library.manifest import FieldSummary

__all__ = ["Summaries", "may_match", "overlap"]

_MOST_VALUES: Final = 64
_EXACT: Final = 1 << 53  # integers beyond are not exact as float64, in which they are compared
_LONGEST: Final = 200  # characters of a string in a manifest
_COMPARE: Final = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


class Summaries:
    """Collect the values of some metadata fields of records.

    Args:
        fields: The paths of the fields; ``"author.name"`` is a field of a nested dict.

    Example:
        >>> summaries = Summaries(["year"])
        >>> summaries.add([{"year": 1999}, {"year": 2026}])
        >>> summaries.found()["year"].numbers
        (1999, 2026)
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = {field: _Values() for field in fields}

    def add(self, metadata: Iterable[Mapping[str, Any]]) -> None:
        """Note the values of some records."""
        for item in metadata if self._fields else ():
            for field, values in self._fields.items():
                values.add(_value(item, field))

    def found(self) -> dict[str, FieldSummary]:
        """Return the summary of each field."""
        return {field: values.summary() for field, values in self._fields.items()}


class _Values:
    def __init__(self) -> None:
        self._numbers: set[float | int] = set()
        self._strings: set[str] = set()
        self._others = False

    def add(self, value: Any) -> None:
        if _is_number(value):
            self._numbers.add(value)
            self._numbers = _reduced(self._numbers)
        elif type(value) is str and len(value) <= _LONGEST:
            self._strings.add(value)
            self._strings = _reduced(self._strings)
        else:
            self._others = True

    def summary(self) -> FieldSummary:
        ranges = len(self._numbers) > _MOST_VALUES or len(self._strings) > _MOST_VALUES
        numbers, strings = sorted(self._numbers), sorted(self._strings)
        if ranges:
            numbers, strings = numbers[:1] + numbers[1:][-1:], strings[:1] + strings[1:][-1:]
        return FieldSummary(tuple(numbers), tuple(strings), ranges, self._others)


def _reduced(values: set[Any]) -> set[Any]:
    """Return the values, or, of too many, some with the least and the greatest one."""
    if len(values) <= 4 * _MOST_VALUES:
        return values
    ordered = sorted(values)
    return {*ordered[: _MOST_VALUES + 1], ordered[-1]}


def _is_number(value: Any) -> bool:
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < _EXACT)


def _value(item: Mapping[str, Any], path: str) -> Any:
    if path in item:
        return item[path] if "." not in path else None  # a key with dots, which a filter may or may not mean
    value: Any = item
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


class _Possible(NamedTuple):
    """Whether a condition can be true, and whether it can be false, for a record of a shard."""

    true: bool
    false: bool


_ANYTHING = _Possible(True, True)


def may_match(fields: Mapping[str, FieldSummary], where: Mapping[str, Any] | None) -> bool:
    """Return whether a shard can have a record that matches a filter.

    Args:
        fields: The summaries of its partition fields; other fields can have any value.
        where: The filter.

    Raises:
        FilterError: The filter is invalid.

    Example:
        >>> year = {"year": FieldSummary(numbers=(1999, 2026))}
        >>> may_match(year, {"year": 2000}), may_match(year, {"year": {"$gt": 2000}}), may_match(year, {"page": 1})
        (False, True, True)
    """
    return where is None or _possible(parse_filter(where).root, fields).true


def overlap(one: Mapping[str, FieldSummary], other: Mapping[str, FieldSummary]) -> bool:
    """Return whether two shards can have an equal value in each partition field.

    Example:
        >>> overlap({"year": FieldSummary(numbers=(1999, 2001))}, {"year": FieldSummary(numbers=(2000,))})
        False
        >>> ranges = {"year": FieldSummary(numbers=(1999, 2001), ranges=True)}
        >>> overlap(ranges, {"year": FieldSummary(numbers=(2000,))})
        True
    """
    return all(_overlap(one[name], other[name]) for name in one.keys() & other.keys())


def _overlap(one: FieldSummary, other: FieldSummary) -> bool:
    if one.others and other.others:
        return True
    pairs: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = [(one.numbers, other.numbers), (one.strings, other.strings)]
    if not one.ranges and not other.ranges:
        return any(set(mine) & set(theirs) for mine, theirs in pairs)
    return any(mine and theirs and mine[0] <= theirs[-1] and theirs[0] <= mine[-1] for mine, theirs in pairs)


def _possible(node: Node, fields: Mapping[str, FieldSummary]) -> _Possible:
    match node:
        case Not(part):
            found = _possible(part, fields)
            return _Possible(found.false, found.true)
        case And(parts):
            every = [_possible(part, fields) for part in parts]
            return _Possible(all(one.true for one in every), any(one.false for one in every))
        case Or(parts):
            every = [_possible(part, fields) for part in parts]
            return _Possible(any(one.true for one in every), all(one.false for one in every))
        case Leaf(path, op, operand):
            summary = fields.get(path)
            if summary is None or summary.others:
                return _ANYTHING
            if op == "in":
                return _is_in(summary, operand)
            return _is_ordered(summary, operand) if op == "order" else _ANYTHING


def _is_in(summary: FieldSummary, wanted: Sequence[Any]) -> _Possible:
    """Return whether a value can be among the wanted ones."""
    if any(isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _EXACT for value in wanted):
        return _ANYTHING
    numbers = [value for value in wanted if _is_number(value)]
    strings = [value for value in wanted if isinstance(value, str)]
    if summary.ranges:
        inside = (low <= value <= high for found, low, high in _bounds(summary, numbers, strings) for value in found)
        return _Possible(any(inside), True)
    known: set[Any] = {*summary.numbers, *summary.strings}
    asked: set[Any] = {*numbers, *strings}
    return _Possible(bool(known & asked), bool(known - asked))


def _bounds(summary: FieldSummary, numbers: list[Any], strings: list[Any]) -> list[tuple[list[Any], Any, Any]]:
    found: list[tuple[list[Any], Any, Any]] = []
    if summary.numbers:
        found.append((numbers, summary.numbers[0], summary.numbers[-1]))
    if summary.strings:
        found.append((strings, summary.strings[0], summary.strings[-1]))
    return found


def _is_ordered(summary: FieldSummary, tests: Sequence[tuple[str, Any]]) -> _Possible:
    """Return whether a value can pass all tests, each a symbol and a bound of one kind."""
    values: tuple[Any, ...] = summary.strings if isinstance(tests[0][1], str) else summary.numbers
    if not values:
        return _Possible(False, True)
    if not summary.ranges:
        passing = [all(_COMPARE[symbol](value, bound) for symbol, bound in tests) for value in values]
        others = summary.numbers if values is summary.strings else summary.strings
        return _Possible(any(passing), not all(passing) or bool(others))
    low, high = values[0], values[-1]
    able = all(_COMPARE[symbol](high if symbol in (">", ">=") else low, bound) for symbol, bound in tests)
    return _Possible(able, True)
