"""The filter language: a dict as in MongoDB, validated once and parsed into a small tree.

Many operators reduce to a few: ``$eq`` is ``$in`` with one value, ``$ne`` and ``$nin`` are negations, ``$all`` is
several ``$any``. The tree contains only these few, which keeps the compiler small.
"""

from __future__ import annotations

import difflib
import json
import math
import operator
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final

from memvid_core.catalog.json_values import DEEPEST, plain, replacement, shortened
from memvid_core.errors import FilterError
from memvid_core.system.spellings import spelled

__all__ = [
    "ID",
    "MAX_CONDITIONS",
    "MAX_DEPTH",
    "MAX_NESTED_VALUES",
    "And",
    "Filter",
    "Leaf",
    "Node",
    "Not",
    "Or",
    "parse_filter",
]

ID: Final = "$id"
MAX_DEPTH: Final = 32  # SQLite's parser stack has 100 entries; a condition needs about 50, a level 1 to 3
MAX_CONDITIONS: Final = 2048
"""The maximum number of conditions in a filter; the values of one field in one ``$in`` or ``$or`` count as one."""

MAX_NESTED_VALUES: Final = 1000
"""The maximum number of lists and dicts among the values of one ``$in``; scalars are not limited."""

MAX_PATTERN_BYTES: Final = 50_000  # SQLITE_MAX_LIKE_PATTERN_LENGTH
_MAX_INT: Final = 2**1023  # larger integers cannot be compared with a double

_GROUPS: Final = ("$and", "$or", "$nor", "$not")
_TYPES: Final = {
    "null": ("null",),
    "boolean": ("true", "false"),
    "integer": ("integer",),
    "float": ("real",),
    "number": ("integer", "real"),
    "string": ("text",),
    "list": ("array",),
    "dict": ("object",),
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One condition on one field; ``key`` is equal for equal conditions.

    ``op`` is one of in, any, order, like, ilike, contains, icontains, exists, empty, type.
    """

    path: str
    op: str
    operand: Any = field(compare=False)
    key: str


@dataclass(frozen=True, slots=True)
class And:
    """True if every part is true, also without parts."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """True if at least one part is true."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True if the part is false."""

    part: Node


Node = Leaf | And | Or | Not


@dataclass(frozen=True, slots=True)
class Filter:
    """A validated filter. Equal filters have equal ``key`` and hash, so a filter can be a dict key.

    Attributes:
        root: The tree.
        key: The canonical text of the filter.
        paths: The metadata paths it reads, in order of appearance.
    """

    root: Node = field(compare=False)
    key: str
    paths: tuple[str, ...] = field(compare=False)


def parse_filter(where: Mapping[str, Any] | Filter) -> Filter:
    """Validate a filter and parse it into a tree.

    Args:
        where: A dict of the filter language; a :class:`Filter` is returned unchanged.

    Returns:
        The filter, hashable.

    Raises:
        FilterError: If an operator is unknown or an operand is invalid; the message says where.

    Example:
        >>> parse_filter({"page": {"$gte": 3}, "lang": "ko"}).paths
        ('page', 'lang')
        >>> parse_filter({"page": {"$gtee": 3}})
        Traceback (most recent call last):
        ...
        memvid_core.errors.FilterError: unknown operator "$gtee" at where["page"]; did you mean "$gte"? \
Known here: $all $any $between $contains $empty $eq $exists $gt $gte $icontains $ilike $in $like $lt $lte $ne $nin \
$not $type
    """
    if isinstance(where, Filter):
        return where
    root = _group(where, "where", 1)
    leaves = _leaves(root)
    _assert_few(len(leaves), "where")
    return Filter(root, _key(root), tuple(dict.fromkeys(leaf.path for leaf in leaves if leaf.path != ID)))


def _assert_few(count: int, at: str) -> None:
    if count > MAX_CONDITIONS:
        raise FilterError(
            f"{at} has too many conditions ({count:,}; at most {MAX_CONDITIONS:,}); "
            "put all values of a field into one $in, which takes any number"
        )


def _leaves(node: Node) -> list[Leaf]:
    match node:
        case Leaf():
            return [node]
        case Not(part):
            return _leaves(part)
        case And(parts) | Or(parts):
            return [leaf for part in parts for leaf in _leaves(part)]


def _key(node: Node) -> str:
    match node:
        case Leaf():
            return node.key
        case Not(part):
            return f'["$not",{_key(part)}]'
        case And(parts) | Or(parts):
            return f'["{"$and" if isinstance(node, And) else "$or"}",{",".join(map(_key, parts))}]'


def _and(parts: list[Node]) -> Node:
    parts = _merged(parts, negated=True)
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _or(parts: list[Node]) -> Node:
    parts = _merged(parts, negated=False)
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _merged(parts: list[Node], *, negated: bool) -> list[Node]:
    """Merge the conditions that compare one field with values: several ``$eq`` in an OR, or ``$ne`` in an AND."""
    found: dict[str, list[Any]] = {}
    for part in parts:
        leaf = part.part if negated and isinstance(part, Not) else part
        if isinstance(leaf, Leaf) and leaf.op == "in" and (leaf is not part) == negated:
            found.setdefault(leaf.path, []).append((part, leaf))
    merged: dict[int, Node] = {}
    gone: set[int] = set()
    for path, several in found.items():
        if len(several) > 1:
            union = _leaf(path, "in", _distinct([value for _, leaf in several for value in leaf.operand]))
            merged[id(several[0][0])] = Not(union) if negated else union
            gone.update(id(part) for part, _ in several[1:])
    return [merged.get(id(part), part) for part in parts if id(part) not in gone] if merged else parts


def _group(where: object, at: str, depth: int) -> Node:
    if not isinstance(where, Mapping):
        raise FilterError(f"{at} must be a dict such as {{'page': {{'$gte': 3}}}}, not {_show(where)}")
    if depth > MAX_DEPTH:
        raise FilterError(f"the filter is nested deeper than {MAX_DEPTH} levels; flatten it")
    _assert_few(len(where), at)
    return _and([_member(key, value, f"{at}[{_show(key)}]", at, depth) for key, value in where.items()])


def _member(key: object, value: Any, at: str, outer: str, depth: int) -> Node:
    if not isinstance(key, str):
        raise FilterError(f"a field name must be a string, not {_show(key)} at {outer}")
    if key == "$not":
        return Not(_group(value, at, depth + 1))
    if key in _GROUPS:
        if not isinstance(value, list | tuple) or not value:
            raise FilterError(f"{at} must be a non-empty list of filters, not {_show(value)}")
        parts = [_group(part, f"{at}[{i}]", depth + 1) for i, part in enumerate(value)]
        if key == "$and":
            return _and(parts)
        return _or(parts) if key == "$or" else Not(_or(parts))
    if key.startswith("$") and key != ID:
        if key in _OPERATORS:
            raise FilterError(f"{key} at {outer} needs a field: {{'field': {{{key!r}: ...}}}}")
        raise _unknown(key, outer, (*_GROUPS, ID))
    return _field(_string(key, at), value, at, depth)  # raises if the name is not valid Unicode


def _field(path: str, value: Any, at: str, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise FilterError(f"the filter is nested deeper than {MAX_DEPTH} levels; flatten it")
    operators = isinstance(value, Mapping) and [str(k) for k in value if isinstance(k, str) and k.startswith("$")]
    if not operators:
        return _OPERATORS["$eq"](path, value, at)
    if len(operators) != len(value):
        raise FilterError(f"{at} mixes operators ({' '.join(operators)}) with plain keys; $eq matches a whole dict")
    parts: list[Node] = []
    for name, operand in value.items():
        here = f"{at}[{_show(name)}]"
        if name == "$not":
            if not isinstance(operand, Mapping) or not any(str(k).startswith("$") for k in operand):
                raise FilterError(f"{here} must be a dict of operators, not {_show(operand)}; $ne excludes a value")
            parts.append(Not(_field(path, operand, here, depth + 1)))
        elif name in _OPERATORS:
            parts.append(_OPERATORS[name](path, operand, here))
        elif name in _GROUPS:
            raise FilterError(f"{name} must be outside of a field, not inside {at}: {{{name!r}: [{{'field': ...}}]}}")
        else:
            raise _unknown(name, at, (*_OPERATORS, "$not"))
    return _and(parts)


def _unknown(name: str, at: str, known: tuple[str, ...]) -> FilterError:
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"; did you mean {json.dumps(near[0])}?" if near else "."
    return FilterError(f"unknown operator {_show(name)} at {at}{hint} Known here: {' '.join(sorted(known))}")


def _show(value: object) -> str:
    try:
        text = json.dumps(value) if isinstance(value, str) else repr(value)
    except RecursionError:
        text = "a value nested too deep to show"
    text = text if len(text) <= 80 else f"{text[:77]}..."
    return text if isinstance(value, str) else f"{text} ({type(value).__name__})"


# Operands -------------------------------------------------------------------------------------------------------------


def _scalar(value: Any, at: str) -> bool | int | float | str | None:
    """Convert an operand to a plain JSON scalar; NumPy scalars and enums of str or int are converted by their value."""
    value = plain(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) >= _MAX_INT:
            raise FilterError(f"the integer at {at} is too large to compare with; use one below 2**1023")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise FilterError(f"{at} is {value!r}, which equals nothing and has no order; use a finite number")
        return value
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise FilterError(f"the string at {at} is not valid Unicode: {exc.reason} at position {exc.start}") from exc
        return value
    raise FilterError(f"{shortened(at)} cannot be compared with {_show(value)}{replacement(value)}")


def _value(value: Any, at: str, above: tuple[int, ...] = ()) -> Any:
    """Convert an operand to plain JSON with lists and dicts; ``above`` has the ids of the enclosing containers."""
    if not isinstance(value, list | tuple | Mapping):
        return _scalar(value, at)
    if id(value) in above:
        raise FilterError(f"the list or dict at {shortened(at)} contains itself")
    if len(above) >= DEEPEST:
        raise FilterError(f"the value at {shortened(at)} is nested deeper than {DEEPEST} levels")
    within = (*above, id(value))
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise FilterError(
                f"the dict at {shortened(at)} has a key that is not a string; metadata has only string keys"
            )
        return {str(_scalar(key, at)): _value(item, f"{at}[{_show(key)}]", within) for key, item in value.items()}
    return [_value(item, f"{at}[{i}]", within) for i, item in enumerate(value)]


def _values(value: Any, at: str) -> list[Any]:
    if isinstance(value, list | tuple):
        items = _uniform(value) or [_value(item, at) for item in value]
    elif isinstance(value, AbstractSet):
        items = sorted((_value(item, at) for item in value), key=_dump)
    else:
        raise FilterError(f"{at} must be a list of values, not {_show(value)}")
    items = _distinct(items)
    nested = sum(isinstance(item, list | dict) for item in items)
    if nested > MAX_NESTED_VALUES:
        raise FilterError(f"{at} has {nested:,} lists and dicts among its values; at most {MAX_NESTED_VALUES:,} can be")
    return items


def _uniform(value: list[Any] | tuple[Any, ...]) -> list[Any] | None:
    """Accept many values of one plain type at once; return None for others, or if one of them is invalid."""
    kinds = set(map(type, value))
    if kinds == {int} and max(max(value), -min(value)) < _MAX_INT:
        return list(value)
    if kinds == {float} and all(map(math.isfinite, value)):
        return list(value)
    if kinds == {str}:
        try:
            "".join(value).encode()
        except UnicodeEncodeError:
            return None
        return list(value)
    return None


def _distinct(items: list[Any]) -> list[Any]:
    if len(set(map(type, items))) == 1 and isinstance(items[0], int | float | str):
        return list(dict.fromkeys(items))
    # 1, 1.0 and True are equal as dict keys, and lists cannot be keys
    return list({item if type(item) is str else (_dump(item),): item for item in items}.values())


def _string(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise FilterError(f"{at} must be a string, not {_show(value)}")
    return str(_scalar(value, at))


def _flag(value: Any, at: str) -> bool:
    if not isinstance(value, bool):
        raise FilterError(f"{at} must be True or False, not {_show(value)}")
    return value


def _ordered(value: Any, at: str) -> bool | int | float | str:
    if isinstance(value, list | tuple | Mapping | AbstractSet) or value is None:
        raise FilterError(f"{at} needs a number, a string or a boolean to compare with, not {_show(value)}")
    plain = _scalar(value, at)
    assert plain is not None
    return plain


_dump: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


# Operators ------------------------------------------------------------------------------------------------------------


def _leaf(path: str, op: str, operand: Any) -> Leaf:
    if op in ("in", "any"):
        operand = spelled(path, operand)
    return Leaf(path, op, operand, _dump([path, op, operand]))


def _order(path: str, tests: list[tuple[str, Any]]) -> Node:
    if not isinstance(tests[0][1], bool):
        return _leaf(path, "order", tests)
    compare = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
    return _leaf(path, "any", [flag for flag in (False, True) if all(compare[s](flag, bound) for s, bound in tests)])


def _comparison(symbol: str) -> Callable[[str, Any, str], Node]:
    return lambda path, operand, at: _order(path, [(symbol, _ordered(operand, at))])


def _between(path: str, operand: Any, at: str) -> Node:
    if not isinstance(operand, list | tuple) or len(operand) != 2:
        raise FilterError(f"{at} must be [lowest, highest], both included, not {_show(operand)}")
    low, high = (_ordered(bound, at) for bound in operand)
    kinds = {bool: "boolean", int: "number", float: "number", str: "string"}
    if kinds[type(low)] != kinds[type(high)]:
        raise FilterError(f"{at} has a {kinds[type(low)]} and a {kinds[type(high)]}; both bounds must be of one kind")
    return _order(path, [(">=", low), ("<=", high)])


def _all(path: str, operand: Any, at: str) -> Node:
    items = _values(operand, at)
    return _and([_leaf(path, "any", [item]) for item in items]) if items else _leaf(path, "any", [])


def _type(path: str, operand: Any, at: str) -> Node:
    names = [operand] if isinstance(operand, str) else operand
    if not isinstance(names, list | tuple) or not names or not all(isinstance(n, str) and n in _TYPES for n in names):
        raise FilterError(f"{at} must be one or a list of {' '.join(_TYPES)}, not {_show(operand)}")
    return _leaf(path, "type", sorted({kind for name in names for kind in _TYPES[name]}))


def _pattern(path: str, op: str, operand: Any, at: str) -> Node:
    pattern = _string(operand, at)
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise FilterError(f"{at} ends in a backslash that escapes nothing; write \\\\ for a backslash itself")
    # a literal * ? [ takes three bytes once translated, and folding can triple a character
    if 9 * len(pattern.encode()) > MAX_PATTERN_BYTES:
        raise FilterError(f"the pattern at {at} has {len(pattern)} characters, too many; shorten it or use $contains")
    return _either(path, op, pattern)


def _either(path: str, op: str, operand: Any) -> Node:
    return _or([_leaf(path, op, form) for form in spelled(path, [operand])])


def _negated(node: Node, keep: bool) -> Node:
    return node if keep else Not(node)


_OPERATORS: Final[dict[str, Callable[[str, Any, str], Node]]] = {
    "$eq": lambda path, v, at: _leaf(path, "in", [_value(v, at)]),
    "$ne": lambda path, v, at: Not(_leaf(path, "in", [_value(v, at)])),
    "$gt": _comparison(">"),
    "$gte": _comparison(">="),
    "$lt": _comparison("<"),
    "$lte": _comparison("<="),
    "$in": lambda path, v, at: _leaf(path, "in", _values(v, at)),
    "$nin": lambda path, v, at: Not(_leaf(path, "in", _values(v, at))),
    "$between": _between,
    "$exists": lambda path, v, at: _negated(_leaf(path, "exists", None), _flag(v, at)),
    "$like": lambda path, v, at: _pattern(path, "like", v, at),
    "$ilike": lambda path, v, at: _pattern(path, "ilike", v, at),
    "$contains": lambda path, v, at: _either(path, "contains", _value(v, at)),
    "$icontains": lambda path, v, at: _leaf(path, "icontains", _string(v, at)),
    "$all": _all,
    "$any": lambda path, v, at: _leaf(path, "any", _values(v, at)),
    "$empty": lambda path, v, at: _negated(_leaf(path, "empty", None), _flag(v, at)),
    "$type": _type,
}
