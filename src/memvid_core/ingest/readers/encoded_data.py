"""Runs of encoded binary data in texts: base64 and hexadecimal digits, which nobody reads."""

from __future__ import annotations

import re

from memvid_core.ingest.readers.remarks import warn

__all__ = ["without_encoded_data"]

_LONG = re.compile(r"[A-Za-z0-9+/_-]{200,}={0,2}")
# Lines of encoded data, which other readers may have joined by spaces.
_WRAPPED = re.compile(
    r"(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{56,100}={0,2}[\s>]+){2,}(?:[A-Za-z0-9+/]{1,99}={1,2}|[A-Za-z0-9+/]{4,100}$)?",
    re.MULTILINE,
)
_HEX = re.compile(r"[0-9a-fA-F]+$")
_PIECE = 28
_SIGNS = re.compile(r"[A-Za-z0-9+/_=-]{28}")
_LEAST_DISTINCT = 16  # of the 64 signs
_LEAST_DISTINCT_HEX = 10


def without_encoded_data(text: str) -> str:
    r"""Return a text without long runs of base64 or hexadecimal digits, with a warning about their size.

    Example:
        >>> without_encoded_data("before " + "0123456789abcdef" * 20 + " after")
        'before  after'
        >>> without_encoded_data("ACGT" * 100) == "ACGT" * 100
        True
    """
    if not _may_have_runs(text):
        return text
    removed = 0

    def cut(found: re.Match[str]) -> str:
        nonlocal removed
        if not _is_encoded(found.group()):
            return found.group()
        removed += len(found.group())
        return "\n" if found.group().endswith("\n") else ""

    for pattern in (_WRAPPED, _LONG):
        text = pattern.sub(cut, text)
    if removed:
        warn(f"{removed:,} characters of encoded binary data were left out")
    return text


def _may_have_runs(text: str) -> bool:
    """Return whether a text may have runs of 56 signs or more: each of those fills a whole piece of 28.

    The expressions take twenty times as long.
    """
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        if piece.isascii() and " " not in piece and "\n" not in piece and _SIGNS.fullmatch(piece):
            return True
    return False


def _is_encoded(run: str) -> bool:
    run = re.sub(r"[\s>=]+", "", run)
    signs = set(run)
    if _HEX.match(run):
        return len(signs) >= _LEAST_DISTINCT_HEX
    classes = sum(any(test(sign) for sign in signs) for test in (str.isupper, str.islower, str.isdigit))
    return classes == 3 and len(signs) >= _LEAST_DISTINCT
