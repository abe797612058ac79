"""What a recall returns: turns and items with their scores, and the text made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from memvid_core.agent.folding import fold
from memvid_core.agent.passages import passage
from memvid_core.agent.time_words import Span
from memvid_core.agent.times import seconds
from memvid_core.agent.trust import defused, defused_name

__all__ = ["PASSAGE", "LeftOut", "Recall", "Recalled", "in_order", "line_of"]

_ENGLISH: Final = ("system", "developer", "assistant", "ai", "model", "tool", "function", "user", "human")
_ROLES: Final = frozenset([*_ENGLISH, "시스템", "어시스턴트", "사용자"])
"""Names of roles, by which a model may take a line for more than a quotation."""
PASSAGE: Final = 80
"""The tokens of a long turn that are shown."""


class Recalled(msgspec.Struct, kw_only=True, gc=False):
    """One turn or item of an answer, and where its score comes from.

    ``note`` says what an item said before it was corrected, and ``corrects`` names the turns that were found and said
    so.

    ``parts`` has the score of the search (``search``), or of an ``older`` version that the search found, what was added
    by neighbors, session, items and the question's ``words`` in exchange and session, and the factors ``speaker``,
    ``role``, ``length`` and ``time``, where they are not 1.
    """

    id: str
    kind: str
    text: str
    who: str
    role: str
    created_at: str
    happened_at: str | None = None
    session: str | None = None
    position: int | None = None
    score: float = 0.0
    sources: list[str] = []
    note: str = ""
    corrects: list[str] = []
    same_as: str | None = None
    count: int = 1
    parts: dict[str, float] = {}
    shown: str = ""


class LeftOut(msgspec.Struct, frozen=True):
    """A turn or item that was found and is not in the answer, and why.

    ``"budget"``: there was no room. ``"k"``: enough are shown. ``"repeat"``: the same is shown or known already.
    ``"turn"``: an item that a rule read, which says no more than the turn that it leads to. ``"corrected"``: a turn
    that says so, where the correction has no room.
    """

    id: str
    score: float
    why: str


class Recall(msgspec.Struct, kw_only=True):
    """An answer: text for a model, and the same as a structure.

    Attributes:
        question: What was asked.
        text: A heading, then items and turns, turns in the order of time; empty if nothing was found.
        hits: What the text shows, in its order.
        ranked: All that was found, best first.
        left_out: What was found and is not shown.
        tokens: How many tokens the text has.
        spans: The days that the question names.
    """

    question: str
    text: str = ""
    hits: list[Recalled] = []
    ranked: list[Recalled] = []
    left_out: list[LeftOut] = []
    tokens: int = 0
    spans: list[Span] = []


def line_of(hit: Recalled, terms: list[str]) -> str:
    """Return a turn or item as the text of a recall shows it; of a long one, the passage that has some terms."""
    shown = defused(passage(hit.text, terms, 4 * PASSAGE))
    day = hit.created_at[:10]
    if hit.kind == "item":
        note = f" {defused(passage(hit.note, terms, 4 * PASSAGE))}" if hit.note else ""
        return f"[ref:{hit.id}] {day}: {shown}{note}"
    who = defused_name(hit.who)
    if fold(who) in _ROLES and who != hit.role:
        who = f"{hit.role} named {who}"  # whoever speaks may call itself as a role is called
    return f"[ref:{hit.id}] {day} {who}: {shown}"


def in_order(taken: Sequence[Recalled]) -> list[Recalled]:
    """Return items first, the best at the top, then conversations in the order of time, each as it was spoken."""
    begins: dict[str | None, float] = {}
    for hit in taken:
        begins[hit.session] = min(begins.get(hit.session, math.inf), seconds(hit.created_at))

    def place(hit: Recalled) -> tuple[bool, float, str, int]:
        if hit.kind == "item":
            return False, -hit.score, hit.id, 0
        return True, begins[hit.session], hit.session or "", hit.position or 0

    return sorted(taken, key=place)
