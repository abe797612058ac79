"""Figures: how much of the evidence is found, in the first k, in the right sessions, and within a budget of tokens."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks.agent_memory.chats import Chat, Question
from benchmarks.agent_memory.engines import Answer, Engine

__all__ = ["BUDGETS", "DEPTHS", "FIGURES", "Table", "measure"]

DEPTHS = (5, 10, 25, 50)
BUDGETS = (500, 1_000, 2_000)
FIGURES = (
    *(f"R@{depth}" for depth in DEPTHS),
    "session any@5",
    "any@10",
    "all@5",
    "all@10",
    *(f"within {budget:,}" for budget in BUDGETS),
    "answer's words within 1,000",
)
_WORD = re.compile(r"[^\W_]+")


class Table(NamedTuple):
    """Figures of each question, in percent, with its category; milliseconds of processor time a question."""

    rows: list[tuple[str, list[float]]]
    milliseconds: float

    def mean(self, half: int | None = None, category: str | None = None) -> list[float]:
        """The means of all questions, of one half (0 or 1), or of one category."""
        rows = self.rows if half is None else self.rows[half::2]
        chosen = [figures for name, figures in rows if category in (None, name)]
        return [sum(column) / len(column) for column in zip(*chosen, strict=True)] if chosen else []

    def categories(self) -> dict[str, int]:
        counted: defaultdict[str, int] = defaultdict(int)
        for name, _ in self.rows:
            counted[name] += 1
        return dict(counted)


def measure(chats: Sequence[Chat], make: Callable[[Chat], Engine], budgets: Sequence[int] = BUDGETS) -> Table:
    """Ask every question that has evidence."""
    rows, times = [], []
    for chat in chats:
        engine = make(chat)
        for question in chat.questions:
            if question.evidence:
                begun = time.process_time()
                answer = engine.ask(question, budgets)
                times.append((time.process_time() - begun) * 1e3 / engine.passes(budgets))
                rows.append((question.category, _figures(chat, question, answer, budgets)))
    times.sort()
    return Table(rows, times[len(times) // 2] if times else 0.0)


def _figures(chat: Chat, question: Question, answer: Answer, budgets: Sequence[int]) -> list[float]:
    evidence = set(question.evidence)
    sessions = chat.session_of
    wanted = {sessions[place] for place in evidence}
    order = list(dict.fromkeys(sessions[place] for place in answer.ranked))
    found = [_share(evidence, answer.ranked[:depth]) for depth in DEPTHS]
    any_of = [100.0 * bool(wanted & set(order[:depth])) for depth in (5, 10)]
    all_of = [100.0 * (wanted <= set(order[:depth])) for depth in (5, 10)]
    within = [_share(evidence, answer.shown[budget]) for budget in budgets]
    words = set(_WORD.findall(question.answer.casefold()))
    text = set(_WORD.findall(answer.text[1_000].casefold())) if 1_000 in answer.text else set()
    return [*found, *any_of, *all_of, *within, 100 * len(words & text) / len(words) if words else 100.0]


def _share(evidence: set[int], found: Sequence[int]) -> float:
    return 100 * len(evidence.intersection(found)) / len(evidence)
