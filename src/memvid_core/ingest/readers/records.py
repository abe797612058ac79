"""JSON and JSON Lines: each record becomes a line that names its fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.encodings import decode
from memvid_core.ingest.readers.remarks import warn

__all__ = ["read_json"]

_DEEPEST = 20
_MOST_FIELDS = 10_000  # of one record


def read_json(path: Path) -> list[Section]:
    """Read JSON or JSON Lines as a line per record, with ``row`` from 1; a file without records is source code.

    Records are the objects in a list at the top, or in the only list of the top object, or the lines of JSON Lines. A
    field that contains objects is named by its path: ``author.name: Ada``.
    """
    text = decode(path.read_bytes())
    code = [Section(text, {"language": "json"}, "code")]
    try:
        found, about = _records(text, lines=path.suffix.lower() in (".jsonl", ".ndjson"))
        if found is None:
            return code
        lines = [" ".join("; ".join(_fields(item)).split()) for item in found]
    except (ValueError, RecursionError):
        return code
    sections = [Section("; ".join(_fields(about)))] if about else []
    # An empty record stays a line, so that the number of a line is the number of its record.
    return [*sections, Section("\n".join(line or "-" for line in lines), {"row": 1}, "rows")]


def _records(text: str, *, lines: bool) -> tuple[list[Any] | None, dict[str, Any]]:
    if lines:
        return _lines(text), {}
    value = json.loads(text)
    if isinstance(value, dict):
        lists = [key for key, item in value.items() if _is_records(item)]
        if len(lists) == 1:
            about = {key: item for key, item in value.items() if key != lists[0] and not isinstance(item, dict | list)}
            return value[lists[0]], about
    return (value if _is_records(value) else None), {}


def _lines(text: str) -> list[Any]:
    """Return the records of JSON Lines; a line that is none is kept as it is, unless most of them are none."""
    found: list[Any] = []
    damaged: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except (ValueError, RecursionError):
                found.append(line)
                damaged.append(number)
    if 2 * len(damaged) > len(found):
        raise ValueError("no JSON Lines")
    for number in damaged:
        warn(f"line {number:,} is damaged, and was kept as it is")
    return found


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(item, dict) for item in value)


def _fields(value: Any) -> Iterator[str]:
    for number, (path, item) in enumerate(_leaves(value, "", 0)):
        if number >= _MOST_FIELDS:
            return
        shown = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
        yield f"{path}: {shown}" if path else shown


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth >= _DEEPEST:
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list) and value and all(not isinstance(item, dict | list) for item in value):
        yield path, ", ".join(item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in value)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, path, depth + 1)
    elif value is not None and value != "":
        yield path, value
