"""The logical order of a line that is written from right to left, or in both directions."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["in_logical_order"]

_PARTS_OF_NUMBERS = frozenset(".,:/-٫٬")
_UNITS = frozenset("%$€£₪﷼٪")
_MIRRORED = str.maketrans("()[]{}<>«»", ")(][}{><»«")
_OPENING, _CLOSING = re.compile(r"[(\[{«]"), re.compile(r"[)\]}»]")


def in_logical_order(texts: list[str], *, right: bool | None = None) -> list[str]:
    """Return the pieces of a line in the order in which they are read: the Unicode bidirectional algorithm, inverted.

    Args:
        texts: The pieces from left to right: signs, clusters and spaces. Each of them is in logical order.
        right: Whether the text around the line is written from right to left; by default, if most letters of the line
            are.

    Example:
        >>> "".join(in_logical_order(list("םלוע 42 םולש")))
        'שלום 42 עולם'
        >>> "".join(in_logical_order(list("see םולש (now)")))
        'see שלום (now)'
    """
    kinds = [_kind(text) for text in texts]
    if "R" not in kinds:
        return texts
    if right is None:
        right = kinds.count("R") >= kinds.count("L")
    levels = _levels(_resolved(texts, kinds, right), right)
    order = list(range(len(texts)))
    for level in range(max(levels), 0, -1):
        start = 0
        while start < len(order):
            end = start
            while end < len(order) and levels[order[end]] >= level:
                end += 1
            order[start:end] = reversed(order[start:end])
            start = end + 1
    return _with_brackets([texts[place] for place in order])


def _kind(text: str) -> str:
    """Return R or L for letters of a direction, E for digits, N for anything else."""
    for char in text:
        found = unicodedata.bidirectional(char)
        if found in ("R", "AL"):
            return "R"
        if found == "L":
            return "L"
        if found in ("EN", "AN"):
            return "E"
    return "N"


def _resolved(texts: list[str], kinds: list[str], right: bool) -> list[str]:
    kinds = list(kinds)
    strong = "R" if right else "L"
    for place, kind in enumerate(kinds):
        if kind in "RL":
            strong = kind
        elif kind == "E" and strong == "L":  # "A4": a number belongs to the word before it
            kinds[place] = "L"
    for place, text in enumerate(texts):
        around = [kinds[at] for at in (place - 1, place + 1) if 0 <= at < len(kinds)]
        part = around == ["E", "E"] and text in _PARTS_OF_NUMBERS
        if kinds[place] == "N" and (part or (text in _UNITS and "E" in around)):
            kinds[place] = "E"
    place = 0
    while place < len(kinds):
        end = place
        while end < len(kinds) and kinds[end] == "N":
            end += 1
        if end > place:
            around = [kinds[at] for at in (place - 1, end) if 0 <= at < len(kinds)]
            left = around == ["L", "L"] if right else "L" in around
            kinds[place:end] = ["L" if left else "R"] * (end - place)
        place = max(end, place + 1)
    return kinds


def _levels(kinds: list[str], right: bool) -> list[int]:
    if right:
        return [1 if kind == "R" else 2 for kind in kinds]
    return [1 if kind == "R" else 0 for kind in kinds]


def _with_brackets(texts: list[str]) -> list[str]:
    """Turn brackets around that were stored as they look: ``)a(`` is ``(a)``."""
    line = "".join(texts)
    opening, closing = _OPENING.search(line), _CLOSING.search(line)
    if opening and closing and closing.start() < opening.start():
        return [text.translate(_MIRRORED) for text in texts]
    return texts
