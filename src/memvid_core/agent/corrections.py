"""Corrections: find by patterns which older sentences a sentence makes untrue, in English and in Korean."""

from __future__ import annotations

from memvid_core.agent import corrections_english, corrections_korean
from memvid_core.agent.correction import LONGEST, Correction
from memvid_core.agent.folding import has_hangul

__all__ = ["announces", "corrected_by", "fits"]


def announces(said: str) -> bool:
    """Return whether a sentence only says that the next one corrects something.

    Example:
        >>> announces("Sorry, my mistake."), announces("Sorry to hear that."), announces("정정할게요.")
        (True, False, True)
    """
    language = corrections_korean if has_hangul(said) else corrections_english
    strong, rest = language.introduced(said)
    return strong and not rest.strip(" .,!")


def corrected_by(said: str, announced: bool = False) -> list[Correction]:
    """Return what an older sentence is like that a sentence corrects, the surest first; nothing for most sentences.

    Args:
        said: A sentence.
        announced: Whether the sentence before it says that it corrects something.

    Example:
        >>> [each.asked for each in corrected_by("I switched from Spotify to Tidal.")]
        ['Spotify']
        >>> corrected_by("I like Spotify.")
        []
    """
    read = corrections_korean.corrected if has_hangul(said) else corrections_english.corrected
    return read(said, announced)


def fits(correction: Correction, older: str) -> bool:
    """Return whether a sentence is what a correction corrects.

    Example:
        >>> (correction,) = corrected_by("The launch was moved to Friday.")
        >>> fits(correction, "The launch is on Monday."), fits(correction, "The lunch is on Monday.")
        (True, False)
        >>> fits(correction, "The launch is expensive.")
        False
    """
    language = corrections_korean if correction.korean else corrections_english
    return len(older) <= LONGEST and has_hangul(older) == correction.korean and language.fits(correction, older)
