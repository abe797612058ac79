"""The analyser of lexical search: text to tokens, a query to what it asks for, a text to a marked snippet.

One analyser serves every language, because nobody says in advance which one a text is in:

- words of scripts that write spaces are folded (NFKC, case, accents), and stemmed where they are letters a to z;
- runs of scripts that write none become character bigrams, and a last character alone;
- Korean words become bigrams, their particles being glued on, and their first bigram again as a beginning (``^``);
- C++, C#, F# and their like are the letter, and a word of their own beside it.

Tokens are numbered in the order they come out, so that a phrase is a run of consecutive numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from memvid_core.errors import InvalidInputError
from memvid_core.index.words.stemmer import STOP_STEMS, stem

__all__ = ["ANALYSER", "Query", "fold", "parse", "plain_query", "snippet", "tokenize"]

ANALYSER: Final = "fold+porter+bigram/2"
"""Name and version of the analyser; an index written by another one is rebuilt."""

MAX_QUERY_CHARACTERS: Final = 8192
"""A longer query is cut here: no question is longer, and time must stay bounded."""

MAX_CLAUSES: Final = 16
"""Phrases and exclusions beyond this many are ignored, each kind for itself."""

MAX_RUN: Final = 32
"""A longer phrase is looked for by its first tokens."""

MAX_TOKEN: Final = 64
"""A longer word (a checksum, a blob in base64) is known by its first characters."""

# Scripts whose words are not separated by spaces, and Hangul, whose words end in particles.
_GRAM_RANGES = (
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, bopomofo, Han
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u109f\u1780-\u17d3"  # Thai, Lao, Myanmar, Khmer
)
_BEGINS: Final = "^"  # no word has it
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]")
# Marks that belong to a word but that ``\w`` leaves out: it would cut Arabic, Hebrew and Indic words in pieces.
_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc"
_MARKS += "\u06df-\u06e8\u06ea-\u06ed\u0711-\u07f3\u0816-\u082d\u0898-\u0963\u0981-\u0df3\u0f18-\u0fbc\u1dc0-\u1dff"

# A letter whose signs make it another name. The letter stays a word: who asks for "C" is shown "C++", too.
_SIGNED = re.compile(r"(?<!\w)([a-z])(\+\+|#)(?![^\W\d]|[+#])")
_SIGNS: Final = {"++": "plusplus", "#": "sharp"}

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_WORD = re.compile(rf"[\w{_MARKS}{_GRAM_RANGES}]+")
_PIECE = re.compile(rf"([{_GRAM_RANGES}]+)|(?:(?![{_GRAM_RANGES}_])[\w{_MARKS}])+")
_GRAMS = re.compile(f"[{_GRAM_RANGES}]+")
# Accents, Hebrew and Arabic points, and the Arabic letter stretcher; and the letters that may carry them.
_ACCENT = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u0640\u064b-\u065f\u0670]")
_ACCENTED = re.compile("[\u00c0-\u06ff\u1e00-\u1fff]")


def fold(text: str) -> str:
    """Fold what a searcher does not tell apart: compatibility forms, case, accents and vowel points.

    Args:
        text: Any text.

    Returns:
        The text in NFKC, case-folded, without combining accents and vowel points.

    Example:
        >>> fold("Ｃａｆé Straße")
        'cafe strasse'
    """
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    if _ACCENTED.search(folded):
        folded = unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFD", folded)))
    return folded


def tokenize(text: str) -> list[str]:
    """Cut a text into the tokens that are indexed, in their order.

    Args:
        text: Any text.

    Returns:
        Tokens; repeated as often as they occur.

    Example:
        >>> tokenize("The wings of GPT-4")
        ['the', 'wing', 'of', 'gpt', '4']
        >>> tokenize("여의도에서")
        ['^여의', '여의', '의도', '도에', '에서']
        >>> tokenize("C++ and C")
        ['c', 'cplusplu', 'and', 'c']
    """
    return [token for word in words(text) for token in analyse(word)]


def words(text: str) -> list[str]:
    """Cut a folded copy of a text into its surface words, each to be given to :func:`analyse`."""
    folded = fold(text)
    if "++" in folded or "#" in folded:
        folded = _SIGNED.sub(lambda found: f"{found[1]} {found[1]}{_SIGNS[found[2]]} ", folded)
    return _ASCII_WORD.findall(folded) if folded.isascii() else _WORD.findall(folded)


def analyse(word: str) -> tuple[str, ...]:
    """Turn one surface word into its tokens; remembered where it is short, because short words repeat."""
    return _remembered(word) if len(word) <= 32 else _analyse(word)


def _analyse(word: str) -> tuple[str, ...]:
    if _is_plain(word):
        return (stem(word[:MAX_TOKEN]),)
    found: list[str] = []
    for piece in _PIECE.finditer(word):
        found.extend(_grams(piece[0]) if piece[1] else (stem(piece[0][:MAX_TOKEN]),))
    return tuple(found)


def _is_plain(word: str) -> bool:
    return word.isascii() and "_" not in word


def inflected(word: str) -> Iterator[tuple[str, str]]:
    """Yield (spelling, token) of the parts of a surface word whose token is a stem: what a prefix must look up."""
    pieces = [word] if _is_plain(word) else [piece[0] for piece in _PIECE.finditer(word) if not piece[1]]
    for piece in pieces:
        spelling = piece[:MAX_TOKEN]
        if (token := stem(spelling)) != spelling:
            yield spelling, token


_remembered = lru_cache(maxsize=1 << 16)(_analyse)


def _grams(run: str) -> list[str]:
    """Cut a run into bigrams: a Hangul run after its beginning, one of another script before its last character."""
    grams = [run[start : start + 2] for start in range(len(run) - 1)]
    return [_BEGINS + run[:2], *grams] if _HANGUL.match(run) else [*grams, run[-1]]


@dataclass(frozen=True)
class Query:
    """What a query asks for, in tokens; one that ends in ``*`` stands for every word that begins so.

    Attributes:
        terms: Tokens that count towards the score, repeated as often as they were said.
        phrases: Token runs that a text must contain.
        excluded: Token runs that a text must not contain.
    """

    terms: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()
    excluded: tuple[tuple[str, ...], ...] = ()

    @property
    def restricts(self) -> bool:
        """Whether it rules texts out, whatever their score."""
        return bool(self.phrases or self.excluded)


# A minus before a digit is a sign ("-5 degrees"), one before another minus an option ("--help"); neither excludes.
_CLAUSE = re.compile(r"""(?P<minus>(?<!\S)-(?=["\w])(?!\d))?(?:"(?P<phrase>[^"]*)"|(?P<bare>[^\s"]+))""")
_SYNTAX = re.compile(r"""["*]|(?<![^\s"*])-(?=["\w])(?!\d)""")


def parse(query: str) -> Query:
    """Read a query; there is none that cannot be read.

    ``"two words"`` must occur one after the other, ``-word`` and ``-"two words"`` must not occur, ``begin*`` stands for
    every word that begins so. Everything else is words; other punctuation separates them, and an unclosed quote is
    punctuation. English words that tell nothing ("what", "of") do not count, unless there are no others. Only the
    first 8,192 characters are read.

    Args:
        query: Any text.

    Returns:
        What it asks for; empty where nothing in it is searchable.

    Example:
        >>> parse('the lift "of layers" -jet aero*')
        Query(terms=('lift', 'layer', 'aero*'), phrases=(('of', 'layer'),), excluded=(('jet',),))
    """
    terms: list[str] = []
    phrases: list[tuple[str, ...]] = []
    excluded: list[tuple[str, ...]] = []
    for clause in _CLAUSE.finditer(query[:MAX_QUERY_CHARACTERS]):
        quoted = clause["phrase"]
        tokens = _asked(clause["bare"] if quoted is None else quoted, run=quoted is not None or bool(clause["minus"]))
        if not tokens:
            continue
        if clause["minus"]:
            excluded.append(tokens[:MAX_RUN])
            continue
        terms.extend(tokens)
        if quoted is not None:
            phrases.append(tokens[:MAX_RUN])
    telling = [term for term in terms if term not in STOP_STEMS]
    if len(terms) == 1 and len(terms[0]) == 2 and terms[0][0] == _BEGINS:
        telling = [terms[0] + "*"]  # one Korean syllable and nothing else: the words that begin with it
    return Query(
        tuple(telling or terms),
        tuple(dict.fromkeys(phrases))[:MAX_CLAUSES],
        tuple(dict.fromkeys(excluded))[:MAX_CLAUSES],
    )


def plain_query(text: str) -> str:
    """A text as a query that is words and nothing else: its quotes, minus signs and stars rule nothing in or out.

    For what nobody wrote as a query, such as something said in a conversation: ``He said "see you"`` would otherwise
    find only texts with these words in this order.

    Args:
        text: Any text.

    Returns:
        The same words.

    Example:
        >>> plain_query('the "jet engine" -kerosene, by-pass -5 degrees')
        'the  jet engine   kerosene, by-pass -5 degrees'
    """
    return _SYNTAX.sub(" ", text)


def _asked(text: str, *, run: bool) -> tuple[str, ...]:
    """Tokenize a part of a query: as texts are, less what at its ends only serves to find single characters.

    The last character of a run tells nothing beside its bigrams, so it goes; inside a phrase it stays, because the text
    has it between its words. A phrase may start inside a Korean word, so the beginning goes there.
    """
    found: list[str] = []
    pieces = [piece for word in words(text) for piece in _PIECE.finditer(word)]
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        if not piece[1]:
            spelling = piece[0][:MAX_TOKEN]
            found.append(spelling + "*" if last and text.endswith("*") else stem(spelling))
            continue
        grams = _grams(piece[0])
        if len(piece[0]) == 1:
            begins = last if run else not _HANGUL.match(piece[0])
            found.append(grams[0] + "*" if begins else grams[0])
        elif _HANGUL.match(piece[0]):
            found.extend(grams[1:] if run and number == 0 else grams)
        else:
            found.extend(grams if run and not last else grams[:-1])
    return tuple(found)


def snippet(text: str, query: str, *, width: int = 160, marks: tuple[str, str] = ("**", "**")) -> str:
    """Cut the part out of a text that shows best why a query found it.

    Args:
        text: The text of a hit.
        query: The query that found it.
        width: How much of the text to show at most, in characters, marks and ellipses not counted.
        marks: What to put before and after what matched.

    Returns:
        The part with the most different query tokens (the first such), its beginning where there are none.

    Raises:
        InvalidInputError: If ``width`` is not positive.

    Example:
        >>> snippet("Much was said before the jets met the wing.", "wing jet", width=26)
        '…the **jets** met the **wing**.'
    """
    if width < 1:
        raise InvalidInputError(f"a snippet's width is a positive number of characters, not {width}")
    asked = parse(query)
    terms = {*asked.terms, *(token for phrase in asked.phrases for token in phrase)}
    prefixes = tuple(term[:-1] for term in terms if term[-1] == "*")
    spans = list(_matches(text, terms, prefixes))
    start, end = _window(text, spans, width)
    pieces: list[str] = ["…"] if start else []
    position = start
    for low, high in _merged(spans):
        low, high = max(low, start), min(high, end)
        if low < high:
            pieces += (text[position:low], marks[0], text[low:high], marks[1])
            position = high
    pieces += (text[position:end], "…" if end < len(text) else "")
    return "".join(pieces)


def _matches(text: str, terms: set[str], prefixes: tuple[str, ...]) -> Iterator[tuple[int, int, str]]:
    """Yield the character span and the token of every match, in the order of the text."""
    for word in _WORD.finditer(text):
        folded = fold(word[0])
        grams = _GRAMS.fullmatch(folded) is not None
        if prefixes and not grams and folded.startswith(prefixes):
            yield word.start(), word.end(), folded
            continue
        offset = 0
        for token in tokenize(word[0]):
            if token not in terms and not (prefixes and token.startswith(prefixes)):
                continue
            if not grams or len(folded) != len(word[0]):
                yield word.start(), word.end(), token  # a stem is no part of its word, and folding may move letters
                continue
            if token not in terms:  # of a bigram that only begins as asked, the beginning
                token = max((prefix for prefix in prefixes if token.startswith(prefix)), key=len)
            gram = token.removeprefix(_BEGINS)
            offset = folded.find(gram, offset)
            if offset < 0:
                break
            yield word.start() + offset, word.start() + offset + len(gram), token


def _merged(spans: list[tuple[int, int, str]]) -> list[list[int]]:
    """Join the spans that touch, as neighbouring bigrams do."""
    joined: list[list[int]] = []
    for low, high, _ in spans:
        if joined and low <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], high)
        else:
            joined.append([low, high])
    return joined


def _window(text: str, spans: list[tuple[int, int, str]], width: int) -> tuple[int, int]:
    """Find the window with the most different tokens, centre it on them, and end it between words."""
    if len(text) <= width:
        return 0, len(text)
    best, first, last = 0, 0, 0
    held: Counter[str] = Counter()
    left = 0
    for low, high, token in spans:
        held[token] += 1
        while left_span := spans[left]:
            if high - left_span[0] <= width or left_span[0] >= low:
                break
            held[left_span[2]] -= 1
            if not held[left_span[2]]:
                del held[left_span[2]]
            left += 1
        if len(held) > best:
            best, first, last = len(held), spans[left][0], high
    start = max(0, min((first + last - width) // 2, len(text) - width)) if best else 0
    end = start + width
    if start > 0 and (gap := text.find(" ", start - 1, min(first, start + width // 4) + 1)) >= 0:
        start = gap + 1
    if end < len(text) and (gap := text.rfind(" ", max(last, end - width // 4), end + 1)) >= 0:
        end = gap
    return start, end
