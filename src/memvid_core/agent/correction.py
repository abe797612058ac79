"""A correction: a description of the older sentences that a later sentence makes untrue."""

from __future__ import annotations

from typing import Final, NamedTuple

from memvid_core.agent.values import Values

__all__ = ["LONGEST", "Correction"]

LONGEST: Final = 300
"""How many characters a sentence may have that corrects, or is corrected: patterns read no longer one."""


class Correction(NamedTuple):
    """What the corrected sentence is like, in all that is given.

    Attributes:
        asked: The words by which it is looked for.
        words: Terms that it has, all of them.
        frame: Terms of which it has one, at least.
        subjects: What it may speak of; empty if that does not matter.
        values: It has other values of one of their kinds.
        predicate: A pattern of what it says.
        mine: Whether its speaker speaks of itself.
        near: Whether it was said just before.
        sure: Whether the correction is worth an item, even if what it corrects is not there.
        korean: Whether it is in Korean, and not in English.
    """

    asked: str = ""
    words: frozenset[str] = frozenset()
    frame: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()
    values: Values | None = None
    predicate: str = ""
    mine: bool = False
    near: bool = False
    sure: bool = False
    korean: bool = False
