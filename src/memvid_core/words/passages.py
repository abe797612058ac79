"""The best passage of a long text: the neighboring sentences that have most of a question's words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from memvid_core.errors import InvalidInputError
from memvid_core.words.analyzer import analyze, is_gram, normalize, parse, words

__all__ = ["best_passage"]

_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*|\n+")
_SPACE: Final = re.compile(r"\s+")
_STEM_PREFIX: Final = 2  # characters that a word shares with its stem
_EARLY: Final = 1e-6  # the advantage of a passage over an equal one after it


def best_passage(text: str, query: str, width: int) -> tuple[int, int]:
    """Return where the passage of a text that answers a question best begins and ends.

    A passage is a run of whole sentences of at most ``width`` characters; a longer sentence is cut between words. It is
    chosen by the question's words in it. A word counts more if fewer sentences of this text have it.

    Args:
        text: The text of a record.
        query: The question.
        width: The maximum length, in characters.

    Returns:
        Start and end in the text. Of equal passages, the first that begins with a sentence with a word of the question;
        the beginning of the text if no word occurs.

    Raises:
        InvalidInputError: ``width`` is not positive.

    Example:
        >>> text = "Much was said. Then the jets met the wing. All was well."
        >>> start, end = best_passage(text, "wing of a jet", 30)
        >>> text[start:end]
        'Then the jets met the wing.'
    """
    if width < 1:
        raise InvalidInputError(f"width must be a positive number of characters, not {width}")
    if len(text.strip()) <= width:
        return _trimmed(text, 0, len(text))
    spans = _pieces(text, width)
    terms = {term for term in parse(query).terms if term}
    found = _terms_of([text[start:end] for start, end in spans], terms)
    common = Counter(term for there in found for term in there)
    weights = {term: math.log1p(len(spans) / count) for term, count in common.items()}
    return _best_run(spans, found, weights, width)


def _best_run(
    spans: Sequence[tuple[int, int]], found: Sequence[set[str]], weights: dict[str, float], width: int
) -> tuple[int, int]:
    """Return the run of pieces with the greatest weight of different terms, if possible with a term in the first."""
    best, chosen, begins_well = -1.0, (0, 0), False
    held: Counter[str] = Counter()
    total, last = 0.0, 0
    for first, (start, _) in enumerate(spans):
        while last < len(spans) and spans[last][1] - start <= width:
            for term in found[last]:
                held[term] += 1
                total += weights[term] if held[term] == 1 else 0.0
            last += 1
        begins = bool(found[first])
        if total > best + _EARLY or (begins > begins_well and total > best - _EARLY):
            best, chosen, begins_well = total, (start, spans[last - 1][1]), begins
        for term in found[first]:
            held[term] -= 1
            total -= 0.0 if held[term] else weights[term]
    return chosen


def _pieces(text: str, width: int) -> list[tuple[int, int]]:
    """Return the spans of the sentences of a text, without spaces around them; long sentences are cut."""
    cuts = [0, *(cut for match in _SENTENCE.finditer(text) for cut in match.span()), len(text)]
    spans: list[tuple[int, int]] = []
    for start, end in zip(cuts[::2], cuts[1::2], strict=True):
        start, end = _trimmed(text, start, end)
        while end - start > width:
            cut = _last_gap(text, start, start + width)
            spans.append(_trimmed(text, start, cut))
            start, end = _trimmed(text, cut, end)
        if start < end:
            spans.append((start, end))
    return spans


def _last_gap(text: str, start: int, stop: int) -> int:
    """Return where to cut a sentence: at its last space in the second half of the span, or at its end."""
    half = (start + stop) // 2
    gaps = [gap.start() for gap in _SPACE.finditer(text, half, stop + 1)]
    return gaps[-1] if gaps and gaps[-1] > start else stop


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    begin = start + len(part) - len(part.lstrip())
    return begin, max(begin, start + len(part.rstrip()))


def _terms_of(pieces: Iterable[str], terms: set[str]) -> list[set[str]]:
    """Return the terms of a question in each piece.

    Character bigrams are looked for in the piece, which is faster than splitting all its words; they need not be at the
    beginning of a word.
    """
    grams = {gram: gram.lstrip("^") for gram in terms if is_gram(gram.lstrip("^").rstrip("*"))}
    stems = terms - grams.keys()
    prefixes = tuple({stem.rstrip("*")[:_STEM_PREFIX] for stem in stems})
    begins = tuple(stem[:-1] for stem in stems if stem[-1] == "*")
    found = []
    for piece in map(normalize, pieces):
        there = {gram for gram, letters in grams.items() if letters.rstrip("*") in piece}
        for word in set(words(piece)) if stems else ():
            if word.startswith(prefixes):
                there |= stems.intersection(analyze(word))
                there |= {f"{begin}*" for begin in begins if word.startswith(begin)}
        found.append(there)
    return found
