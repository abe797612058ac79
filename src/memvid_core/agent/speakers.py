"""Speakers: whom a question names, and whether an answer may be what the assistant said, in English and in Korean."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["asks_assistant", "asks_both", "names"]

_ABOUT_ASSISTANT: Final = re.compile(
    r"\b(?:did|have|had|were) you\b|\byou(?:['’]ve)? (?:just |already |once |previously |earlier |have )?(?:said|told|"
    r"suggest(?:ed)?|recommend(?:ed)?|mention(?:ed)?|gave|given|advis(?:ed|e)|propos(?:ed|e)|provided|explained|wrote|"
    r"promised|offered)\b|\byour (?:advice|recommendations?|suggestions?|answers?|explanations?|tips?|list)\b|"
    r"\bassistant\b|\b(?:ai|chatbot) (?:said|suggested|recommended)|"
    r"(?:네가|니가|너가|당신이|어시스턴트|챗봇).{0,30}(?:말|추천|제안|알려|조언|설명|했)|"
    r"(?:추천|제안|조언|알려|설명|말)(?:해 ?|하신 ?|한 | ?)(?:줬|주었|준|했|하신|$)|"
    r"(?:추천|제안|조언|설명|말)(?:했|한 )|(?:라|다)고 했",
    re.IGNORECASE,
)
_SUMMARY: Final = re.compile(r"\b(?:summar(?:y|i[sz]e|i[sz]ing|ies)|overview|recap)\b|요약|간추려", re.IGNORECASE)


def asks_assistant(question: str) -> bool:
    """Return whether a question is about what the assistant said.

    Example:
        >>> asks_assistant("Which book did you recommend?"), asks_assistant("Which book does Ada like?")
        (True, False)
    """
    return _ABOUT_ASSISTANT.search(question) is not None


def asks_both(question: str) -> bool:
    """Return whether a question is about all that was said: one for a summary of it.

    Example:
        >>> asks_both("Can you summarize how the trip was planned?"), asks_both("How was the trip planned?")
        (True, False)
    """
    return _SUMMARY.search(question) is not None


def names(question: str, who: str) -> bool:
    """Return whether a question has a name in it; both are casefolded.

    Example:
        >>> names("what does ada's dog eat?", "ada"), names("where is canada?", "ada")
        (True, False)
    """
    return re.search(rf"(?<![^\W_]){re.escape(who)}(?![a-z0-9])", question) is not None
