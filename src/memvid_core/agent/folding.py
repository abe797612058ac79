"""Folding: forms of a text under which repeats are equal, and what scripts it is written in."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["fold", "has_hangul"]

_HANGUL: Final = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
_ENDS: Final = " .!?。…~"


def fold(text: str) -> str:
    """Return a text without what makes no difference: case, width, spaces, and the sign at its end.

    Example:
        >>> fold("PR 260  Merged.") == fold("pr 260 merged")
        True
        >>> fold("PR 260 merged") == fold("PR 480 merged")
        False
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(_ENDS)


def has_hangul(text: str) -> bool:
    """Tell whether a text has Korean letters."""
    return not text.isascii() and _HANGUL.search(text) is not None
