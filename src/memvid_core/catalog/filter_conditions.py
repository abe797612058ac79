"""Compile single conditions to SQL over ``v.j``: the JSON text of one value, NULL if the record has none.

Equality of scalars is tested on their JSON text. The text includes the type (``1``, ``"1"``, ``true``) and is exact,
unlike SQLite's conversion of text to double, which is off in the last bit for some inputs.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from memvid_core.catalog.filter_language import ID, Leaf
from memvid_core.catalog.json_values import plain
from memvid_core.catalog.sql_functions import NUL_SIGN, casefold

__all__ = ["MANY", "Sql", "condition", "joined", "member", "texts_of", "value_at"]

_ARROW: Final = (3, 38)  # from this version of SQLite on, "->" returns a value's JSON text without a call to Python
MANY: Final = 64  # longer lists are passed as one JSON parameter
_EXACT: Final = 2**63  # from here SQLite reads integers as doubles


class Sql(NamedTuple):
    """A piece of SQL and the parameters of its placeholders."""

    text: str
    params: tuple[Any, ...] = ()


def joined(terms: Sequence[Sql], word: str) -> Sql:
    """Join SQL terms by AND or OR."""
    return Sql(f" {word} ".join(t.text for t in terms), tuple(p for t in terms for p in t.params))


def value_at(path: str, *, alias: str = "r") -> Sql:
    """Return the SQL expression for the JSON text of the value at a path; NULL if the record has none.

    A key equal to the whole path takes precedence; otherwise dots separate the keys of nested dicts.
    """
    path = plain(path)  # a subclass of str may define its own formatting
    if path == ID:
        return Sql(f"json_quote({alias}.id)")
    document, steps = f"{alias}.metadata", path.split(".")
    literal = _child(document, [path])
    if len(steps) == 1 or not all(steps):
        return literal
    nested = _child(document, steps)
    return Sql(f"coalesce({literal.text}, {nested.text})", literal.params + nested.params)


def _child(document: str, keys: list[str]) -> Sql:
    if sqlite3.sqlite_version_info >= _ARROW and not any(re.search(r'["\\\x00-\x1f]', key) for key in keys):
        return Sql(f"({document} -> ?)", ("$" + "".join(f'."{key}"' for key in keys),))
    return Sql(f"memvid_get({document}, ?)", (json.dumps(keys),))


# One condition, over v.j ----------------------------------------------------------------------------------------------

# The first character of a JSON text determines its type.
_IS_STRING: Final = "v.j < '#'"
_IS_NUMBER: Final = "v.j >= '-' AND v.j < ':'"
_IS_LIST: Final = r"v.j >= '[' AND v.j < '\'"
_IS_DICT: Final = "v.j >= '{'"
_ITEM_IS_NUMBER: Final = "e.type IN ('integer', 'real')"


def _text(shown: str = "") -> str:
    """Return the SQL expression for the decoded string ``v.j``."""
    return rf"CASE WHEN instr(v.j, '\u0000') THEN memvid_text(v.j{shown}) ELSE json_extract(v.j, '$') END"


def _item_text(shown: str = "") -> str:
    """Return the SQL expression for the decoded string item ``e`` of the list ``v.j``."""
    return rf"CASE WHEN instr(v.j, '\u0000') THEN memvid_text(memvid_get(v.j, e.key){shown}) ELSE e.value END"


def condition(leaf: Leaf) -> Sql:
    """Compile a leaf of the tree to an expression over ``v.j``, the JSON text of one value; 0 or 1, never NULL."""
    match leaf.op:
        case "in":
            return _in(leaf.operand, missing=None in leaf.operand, whole=True)
        case "any":
            return _in(leaf.operand, missing=False, whole=False)
        case "order":
            return _order(leaf.operand)
        case "like":
            glob = Sql("{} GLOB ?", (_glob(leaf.operand.replace("\0", NUL_SIGN)),))
            return _on_text(_text(", 1"), _item_text(", 1"), glob)
        case "ilike":
            return _on_text(_text(), _item_text(), Sql("memvid_fold({}) GLOB ?", (_glob(casefold(leaf.operand)),)))
        case "contains":
            return _contains(leaf.operand)
        case "icontains":
            folded = (casefold(leaf.operand),)
            found = Sql(f"instr(memvid_fold({_text()}), ?) > 0", folded)
            item = Sql(f"e.type = 'text' AND memvid_fold({_item_text()}) = ?", folded)
            return _cases((_IS_STRING, found), (_IS_LIST, _some_item(item)))
        case "exists":
            return Sql("v.j IS NOT NULL")
        case "empty":
            return Sql("coalesce(v.j IN ('null', '\"\"', '[]', '{}'), 1)")
        case _:
            names = leaf.operand
            return Sql(f"coalesce(json_type(v.j) IN ({', '.join('?' * len(names))}), 0)", tuple(names))


def _cases(*cases: tuple[str | Sql, Sql]) -> Sql:
    text, params = [], []
    for when, then in cases:
        when = when if isinstance(when, Sql) else Sql(when)
        text.append(f"WHEN {when.text} THEN {then.text}")
        params += [*when.params, *then.params]
    return Sql(f"CASE {' '.join(text)} ELSE 0 END", tuple(params))


def _some_item(test: Sql) -> Sql:
    return Sql(f"EXISTS (SELECT 1 FROM json_each(v.j) AS e WHERE {test.text})", test.params)


def _on_text(text: str, item: str, test: Sql) -> Sql:
    """Apply a test, with ``{}`` for the string, to a string or to any string in a list."""
    whole = Sql(test.text.replace("{}", f"({text})"), test.params)
    part = Sql(f"e.type = 'text' AND {test.text.replace('{}', f'({item})')}", test.params)
    return _cases((_IS_STRING, whole), (_IS_LIST, _some_item(part)))


def _in(values: list[Any], *, missing: bool, whole: bool) -> Sql:
    """Test for equality with a value, or for a list with an equal item; ``whole``: or for an equal list."""
    if not values:
        return Sql("0")
    absent = Sql("1" if missing else "0")
    texts = texts_of(values)
    cases: list[tuple[str | Sql, Sql]] = [("v.j IS NULL", absent), (member("v.j", texts), Sql("1"))]
    lists = [value for value in values if isinstance(value, list)]
    found = _some_item(_item_in(values))
    if whole and lists:
        found = Sql(f"memvid_same(v.j, ?) OR {found.text}", (_dump(lists), *found.params))
    cases.append((_IS_LIST, found))
    dicts = [value for value in values if isinstance(value, dict)]
    if dicts:
        cases.append((_IS_DICT, Sql("memvid_same(v.j, ?)", (_dump(dicts),))))
    return _cases(*cases)


def _item_in(values: list[Any]) -> Sql:
    """Test whether an item ``e`` of a list equals one of the values."""
    deep = [value for value in values if isinstance(value, list | dict)]
    large = [value for value in values if _is_large(value)]
    keys = [_item_key(value) for value in values if not isinstance(value, list | dict) and not _is_large(value)]
    kind = f"CASE e.type WHEN 'text' THEN '\"' || {_item_text()} WHEN 'integer' THEN e.value WHEN 'real' THEN e.value"
    terms = [member(f"({kind} ELSE e.type END)", keys)] if keys else []
    if deep:
        terms.append(Sql("e.type IN ('array', 'object') AND memvid_same(e.value, ?)", (_dump(deep),)))
    if large:
        terms.append(Sql(f"{_ITEM_IS_NUMBER} AND memvid_same(memvid_get(v.j, e.key), ?)", (_dump(large),)))
    return joined(terms, "OR")


def member(expression: str, values: Sequence[str | float]) -> Sql:
    """Return ``expression IN (values)``. Many values are one JSON parameter, those with NUL separate ones."""
    direct = list(values) if len(values) <= MANY else [v for v in values if isinstance(v, str) and "\0" in v]
    terms = []
    if len(direct) < len(values):
        rest = [v for v in values if not (isinstance(v, str) and "\0" in v)]
        terms.append(Sql(f"{expression} IN (SELECT value FROM json_each(?))", (_dump(rest),)))
    for i in range(0, len(direct), 1000):
        bound = [_bound(v) for v in direct[i : i + 1000]]
        marks = ", ".join(b.text for b in bound)
        terms.append(Sql(f"{expression} IN ({marks})", tuple(p for b in bound for p in b.params)))
    if not terms:
        return Sql("0")
    if len(terms) == 1:
        return terms[0]
    either = joined(terms, "OR")
    return Sql(f"({either.text})", either.params)


def _contains(value: Any) -> Sql:
    cases: list[tuple[str | Sql, Sql]] = [(_IS_LIST, _some_item(_item_in([value])))]
    if isinstance(value, str):
        child = _child("v.j", [value])
        cases.append((_IS_STRING, Sql(f"instr({_text()}, ?) > 0", (value,))))
        cases.append((_IS_DICT, Sql(f"{child.text} IS NOT NULL", child.params)))
    return _cases(*cases)


def _order(tests: list[tuple[str, int | float | str]]) -> Sql:
    if isinstance(tests[0][1], str):
        comparisons = " AND ".join(f"{{}} {symbol} ?" for symbol, _ in tests)
        return _on_text(_text(), _item_text(), Sql(comparisons, tuple(bound for _, bound in tests)))
    whole = [_compared("CAST(v.j AS NUMERIC)", "v.j", symbol, bound) for symbol, bound in tests]
    part = [_compared("e.value", "memvid_get(v.j, e.key)", symbol, bound) for symbol, bound in tests]
    items = _some_item(joined([Sql(_ITEM_IS_NUMBER), *part], "AND"))
    return _cases((_IS_NUMBER, joined(whole, "AND")), (_IS_LIST, items))


def _compared(number: str, text: str, symbol: str, bound: Any) -> Sql:
    if _is_large(bound):
        return Sql(f"memvid_order({text}, ?) {symbol} 0", (_dump(bound),))
    value = _bound(bound)
    return Sql(f"{number} {symbol} {value.text}", value.params)


# Values ---------------------------------------------------------------------------------------------------------------


def _bound(value: str | float) -> Sql:
    # A float is converted from text like the stored ones, so that equal texts are equal numbers.
    return Sql("CAST(? AS NUMERIC)", (_encode(value),)) if isinstance(value, float) else Sql("?", (value,))


def _is_large(value: Any) -> bool:
    return isinstance(value, int | float) and not -_EXACT <= value < _EXACT


def _item_key(value: Any) -> str | float:
    """Return the value an item is compared with: numbers unchanged, strings after a quote, to differ from 'true'."""
    if isinstance(value, str):
        return f'"{value}'
    if value is None or isinstance(value, bool):
        return _encode(value)
    return value  # type: ignore[no-any-return]


def texts_of(values: list[Any]) -> list[str]:
    """Return the possible JSON texts of the scalars among some values."""
    return [text for value in values if not isinstance(value, list | dict) for text in _texts(value)]


def _texts(value: Any) -> list[str]:
    """Return the possible JSON texts of a scalar: 1 is also 1.0."""
    if type(value) is int and 0 < value < 1_000_000:
        return [f"{value}", f"{value}.0"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return [_encode(value)]
    if value == 0:
        return ["0", "0.0", "-0.0"]
    texts = [str(int(value))] if value == int(value) else []
    return [*texts, _encode(float(value))] if float(value) == value else texts


_encoder: Final = msgspec.json.Encoder()
_dump: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _encode(value: Any) -> str:
    return _encoder.encode(value).decode()


def _glob(pattern: str) -> str:
    """Translate a LIKE pattern (``%``, ``_``, backslash escapes) for GLOB, which is case-sensitive."""
    out = []
    characters = iter(pattern)
    for character in characters:
        if character in "%_":
            out.append("*" if character == "%" else "?")
            continue
        literal = next(characters) if character == "\\" else character
        out.append(f"[{literal}]" if literal in "*?[" else literal)
    return "".join(out)
