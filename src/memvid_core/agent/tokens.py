"""Tokens: about how many a text is, without a tokenizer."""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = ["estimate_tokens"]

_PLAIN: Final = re.compile(r"[\x00-\x7f]+")


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text: a fourth of its ASCII characters, and one for each other character.

    Example:
        >>> estimate_tokens("four letters"), estimate_tokens("기억")
        (3, 2)
    """
    if text.isascii():
        return math.ceil(len(text) / 4)
    plain = sum(len(part) for part in _PLAIN.findall(text))
    return math.ceil(plain / 4) + len(text) - plain
