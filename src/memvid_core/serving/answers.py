"""Answers to a model: records as text and as JSON, within a limit of bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from memvid_core.agent.trust import defused
from memvid_core.model import Hit, Passage, Record

__all__ = ["ANSWER_BYTES", "Answer", "answer_of", "fitted"]

ANSWER_BYTES: Final = 32_000
"""The most bytes of an answer, as text and as JSON together."""
TEXT_LENGTH: Final = 2_000
"""The most characters of a text in a list."""
_VALUE_LENGTH: Final = 500  # characters of a metadata value in a list
_OVERHEAD: Final = 600  # bytes of the answer besides its records
_FIRST_LEAST: Final = 200  # characters of the first text that are shown in any case


class Answer(NamedTuple):
    """What a tool returns: lines of text, and the same as JSON values."""

    text: str
    memories: list[dict[str, Any]]
    left_out: int = 0


def answer_of(
    records: Iterable[Record | Hit],
    *,
    start: int = 0,
    length: int | None = TEXT_LENGTH,
    nothing: str = "Nothing found.",
) -> Answer:
    r"""Return records as an answer of at most :data:`ANSWER_BYTES` bytes.

    Args:
        records: The records, best first.
        start: The character at which texts begin.
        length: The most characters of each text and the usual limit for its metadata; None shows all that fits.
        nothing: The text if there are no records.

    Example:
        >>> answer_of([Record("a", "one\ntwo", {"page": 1})]).text
        '[a] one\n  | two'
    """
    lines: list[str] = []
    entries: list[dict[str, Any]] = []
    given = list(records)
    room = ANSWER_BYTES - _OVERHEAD
    for record in given:
        line, entry = _shown(record, start, length)
        size = _size(line, entry)
        if size > room and not entries:
            line, entry = _cut_to(record, start, room)
            size = _size(line, entry)
        if size > room:
            break
        room -= size
        lines.append(line)
        entries.append(entry)
    left_out = len(given) - len(entries)
    if left_out:
        lines.append(f"({left_out} more did not fit into the answer: ask for fewer, or for the next ones.)")
    return Answer("\n".join(lines) or nothing, entries, left_out)


def _size(line: str, entry: Mapping[str, Any]) -> int:
    """Return the bytes of a record in an answer: its line inside a JSON string, and its JSON."""
    return len(json.dumps(line, ensure_ascii=False).encode()) + len(json.dumps(entry, ensure_ascii=False).encode()) + 8


def _shown(record: Record | Hit, start: int, length: int | None) -> tuple[str, Any]:
    passage = record.passage if isinstance(record, Hit) else None
    text, note = _part(record.text, start, length) if passage is None else _of_passage(passage, record.text)
    limit = None if length is None else _VALUE_LENGTH
    metadata = (
        record.metadata if limit is None else {key: _short(value, limit) for key, value in record.metadata.items()}
    )
    entry: dict[str, Any] = {"id": record.id, "text": text + note, "metadata": metadata}
    if isinstance(record, Hit):
        entry["score"] = round(float(record.score), 4)
    return f"[{' '.join(defused(record.id).split())}] {defused(text)}{note}", entry


def _part(text: str, start: int, length: int | None) -> tuple[str, str]:
    """Return the part of a text that is shown, and a note on the rest."""
    end = len(text) if length is None else start + length
    left = len(text) - end
    note = f" … ({left} characters more: get_memories with start={end} shows them)" if left > 0 else ""
    return text[start:end], note


def _of_passage(passage: Passage, text: str) -> tuple[str, str]:
    """Return the text of a passage, and a note if it is not the whole text."""
    whole = passage.text.strip() == text.strip()
    return passage.text, "" if whole else f" … (part of {len(text)} characters: get_memories shows all)"


def _short(value: Any, limit: int) -> Any:
    size = len(value) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False, default=str))
    return value if size <= limit else f"… ({size} characters)"


def _cut_to(record: Record | Hit, start: int, room: int) -> tuple[str, Any]:
    """Return the longest beginning of one record that fits, by halving."""
    low, high = _FIRST_LEAST, max(_FIRST_LEAST, len(record.text))
    best = _shown(record, start, low)
    while low < high:
        middle = (low + high + 1) // 2
        shown = _shown(record, start, middle)
        if _size(*shown) <= room:
            low, best = middle, shown
        else:
            high = middle - 1
    return best


def fitted(text: str, limit: int = ANSWER_BYTES - _OVERHEAD) -> str:
    """Return a text that is cut to a number of bytes, with a note if something is missing.

    Example:
        >>> fitted("a" * 50, 20)
        'aaaaaaaaaaaaaaaaaaaa … (30 bytes more)'
    """
    data = text.encode()
    if len(data) <= limit:
        return text
    return f"{data[:limit].decode(errors='ignore')} … ({len(data) - limit} bytes more)"
