"""The analyzer of lexical search: tokenize texts, parse queries, cut marked snippets.

One analyzer serves every language, because the language of a text is unknown:

- words of scripts with spaces are normalized (NFKC, case, accents), and stemmed if they consist of the letters a to z,
  or а to я;
- runs of scripts without spaces become character bigrams, plus the last character alone;
- Korean words become bigrams, because particles are attached to them, plus their first bigram as a prefix (``^``);
- C++, C#, F# and the like become two words: the letter and a word for the full name.

Tokens are numbered in order, so that a phrase is a run of consecutive positions.
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
from memvid_core.words.stemmer import STOP_STEMS, stem

__all__ = ["ANALYZER", "ParsedQuery", "is_gram", "is_word", "normalize", "parse", "snippet", "tokenize"]

ANALYZER: Final = "fold+porter+russian+bigram/3"
"""Name and version of the analyzer; an index written by another one is rebuilt."""

MAX_QUERY_CHARACTERS: Final = 8192
"""Longer queries are truncated, so that the time of a search stays bounded."""

MAX_CLAUSES: Final = 16
"""The maximum number of phrases, and of exclusions, in a query; further ones are ignored."""

MAX_RUN: Final = 32
"""Only this many first tokens of a phrase are searched."""

MAX_TOKEN: Final = 64
"""Longer words (checksums, base64) are truncated to this many characters."""

# Scripts whose words are not separated by spaces, and Hangul, whose words end in particles.
_GRAM_RANGES = (
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, bopomofo, Han
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u109f\u1780-\u17d3"  # Thai, Lao, Myanmar, Khmer
)
_BEGINS: Final = "^"  # not a word character
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]")
# Marks that are part of a word but not of ``\w``, which would split Arabic, Hebrew and Indic words.
_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc"
_MARKS += "\u06df-\u06e8\u06ea-\u06ed\u0711-\u07f3\u0816-\u082d\u0898-\u0963\u0981-\u0df3\u0f18-\u0fbc\u1dc0-\u1dff"

# A letter whose signs make it another name. The letter stays a word: a search for "C" also finds "C++".
_SIGNED = re.compile(r"(?<!\w)([a-z])(\+\+|#)(?![^\W\d]|[+#])")
_SIGNS: Final = {"++": "plusplus", "#": "sharp"}

_ASCII_WORD = re.compile(r"[a-z0-9]+")
# Letters of words that normalization keeps, and marks between words; and all characters but these and ASCII.
_SIMPLE_LETTERS = "\uac00-\ud7a3\u3041-\u3096\u30a1-\u30fa\u30fc\u4e00-\u9fff"
_SIMPLE_MARKS = "\u00b7\u2013\u2014\u2018\u2019\u201c\u201d\u3001\u3002\u3008-\u3011"
_NOT_SIMPLE = re.compile(f"[^\x00-\x7f{_SIMPLE_LETTERS}{_SIMPLE_MARKS}]")
_ANY_SIMPLE_MARK = re.compile(f"[{_SIMPLE_MARKS}]")
_WORD = re.compile(rf"[\w{_MARKS}{_GRAM_RANGES}]+")
_PIECE = re.compile(rf"([{_GRAM_RANGES}]+)|(?:(?![{_GRAM_RANGES}_])[\w{_MARKS}])+")
_GRAMS = re.compile(f"[{_GRAM_RANGES}]+")
# Accents, Hebrew and Arabic vowel points, and the Arabic tatweel; and the letters that may carry them. The breve of the
# Cyrillic й is none: it makes another letter.
_ACCENT = re.compile(
    "(?<!\u0438)\u0306|[\u0300-\u0305\u0307-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u0640\u064b-\u065f\u0670]"
)
_ACCENTED = re.compile("[\u00c0-\u06ff\u1e00-\u1fff]")


def normalize(text: str) -> str:
    """Normalize compatibility forms, case, accents and vowel points, so that a search ignores them.

    Args:
        text: Any text.

    Returns:
        The text in NFKC, case-folded, without combining accents and vowel points.

    Example:
        >>> normalize("Ｃａｆé Straße")
        'cafe strasse'
    """
    if text.isascii():
        return text.lower()
    normalized = unicodedata.normalize("NFKC", text).casefold()
    if _ACCENTED.search(normalized):
        normalized = unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFD", normalized)))
    return normalized


def tokenize(text: str) -> list[str]:
    """Split a text into the tokens that are indexed, in order.

    Args:
        text: Any text.

    Returns:
        The tokens, with repetitions.

    Example:
        >>> tokenize("The wings of GPT-4")
        ['the', 'wing', 'of', 'gpt', '4']
        >>> tokenize("여의도에서")
        ['^여의', '여의', '의도', '도에', '에서']
        >>> tokenize("C++ and C")
        ['c', 'cplusplu', 'and', 'c']
    """
    return [token for word in words(text) for token in analyze(word)]


def _separating(inside: str) -> bytes:
    """Return a table for bytes of UTF-8: ASCII letters in lower case, digits, and ``inside``; others become spaces."""
    kept = {ord(letter): letter.lower() for letter in map(chr, range(128)) if letter.isalnum() or letter in inside}
    return bytes(ord(kept.get(byte, " ")) if byte < 128 else byte for byte in range(256))


_ASCII_BYTES, _SIMPLE_BYTES = _separating(""), _separating("_")


def words(text: str) -> list[str]:
    """Normalize a text and split it into surface words, the input of :func:`analyze`."""
    if "#" not in text and "++" not in text:  # as below, in a quarter of the time
        if text.isascii():
            return text.encode().translate(_ASCII_BYTES).decode().split()
        if not _NOT_SIMPLE.search(text):
            return _ANY_SIMPLE_MARK.sub(" ", text).encode().translate(_SIMPLE_BYTES).decode().split()
    normalized = normalize(text)
    if "++" in normalized or "#" in normalized:
        normalized = _SIGNED.sub(lambda found: f"{found[1]} {found[1]}{_SIGNS[found[2]]} ", normalized)
    return _ASCII_WORD.findall(normalized) if normalized.isascii() else _WORD.findall(normalized)


def is_gram(letters: str) -> bool:
    """Return whether all letters are of scripts without spaces, or Hangul, whose words are indexed as bigrams.

    Example:
        >>> is_gram("날개"), is_gram("wing"), is_gram("")
        (True, False, False)
    """
    return _GRAMS.fullmatch(letters) is not None


def is_word(token: str) -> bool:
    """Return whether a token is a word or a bigram, and not the mark of a beginning."""
    return not token.startswith(_BEGINS)


def analyze(word: str) -> tuple[str, ...]:
    """Return the tokens of a surface word. Short words are cached, because they repeat."""
    return _cached(word) if len(word) <= 32 else _analyze(word)


def _analyze(word: str) -> tuple[str, ...]:
    if _is_plain(word):
        return (stem(word[:MAX_TOKEN]),)
    found: list[str] = []
    for piece in _PIECE.finditer(word):
        found.extend(_grams(piece[0]) if piece[1] else (stem(piece[0][:MAX_TOKEN]),))
    return tuple(found)


def _is_plain(word: str) -> bool:
    return word.isascii() and "_" not in word


def inflected(word: str) -> Iterator[tuple[str, str]]:
    """Yield (spelling, token) for each part of a surface word that stemming changes; a prefix is looked up by these."""
    pieces = [word] if _is_plain(word) else [piece[0] for piece in _PIECE.finditer(word) if not piece[1]]
    for piece in pieces:
        spelling = piece[:MAX_TOKEN]
        if (token := stem(spelling)) != spelling:
            yield spelling, token


_cached = lru_cache(maxsize=1 << 16)(_analyze)


def _grams(run: str) -> list[str]:
    """Split a run into bigrams: for Hangul after the prefix token, for other scripts before the last character."""
    grams = [run[start : start + 2] for start in range(len(run) - 1)]
    return [_BEGINS + run[:2], *grams] if _HANGUL.match(run) else [*grams, run[-1]]


@dataclass(frozen=True)
class ParsedQuery:
    """A parsed query. A token that ends in ``*`` stands for every word that begins so.

    Attributes:
        terms: The tokens that are scored, with repetitions.
        phrases: Token runs that a text must contain.
        excluded: Token runs that a text must not contain.
    """

    terms: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()
    excluded: tuple[tuple[str, ...], ...] = ()

    @property
    def restricts(self) -> bool:
        """Whether the query excludes texts regardless of their score."""
        return bool(self.phrases or self.excluded)


# A minus before a digit is a sign ("-5 degrees"), and "--help" is an option; neither excludes a word. What this finds,
# plain_query removes.
_CLAUSE = re.compile(r"""(?P<minus>(?<!\S)-(?=["\w])(?!\d))?(?:"(?P<phrase>[^"]*)"|(?P<bare>[^\s"]+))""")


def parse(query: str) -> ParsedQuery:
    """Parse a query. Every text is a valid query.

    ``"two words"`` must occur in sequence, ``-word`` and ``-"two words"`` must not occur, and ``begin*`` stands for
    every word that begins so. Everything else is words, separated by other punctuation; an unclosed quote is
    punctuation. English stop words ("what", "of") are ignored, unless there are no other words. Only the first 8,192
    characters are read.

    Args:
        query: Any text.

    Returns:
        The parsed query; empty if it contains no words.

    Example:
        >>> parse('the lift "of layers" -jet aero*')
        ParsedQuery(terms=('lift', 'layer', 'aero*'), phrases=(('of', 'layer'),), excluded=(('jet',),))
    """
    return _parsed(query[:MAX_QUERY_CHARACTERS])


@lru_cache(maxsize=64)  # one search parses its query several times
def _parsed(query: str) -> ParsedQuery:
    terms: list[str] = []
    phrases: list[tuple[str, ...]] = []
    excluded: list[tuple[str, ...]] = []
    for clause in _CLAUSE.finditer(query):
        quoted = clause["phrase"]
        tokens = _query_tokens(
            clause["bare"] if quoted is None else quoted, run=quoted is not None or bool(clause["minus"])
        )
        if not tokens:
            continue
        if clause["minus"]:
            excluded.append(tokens[:MAX_RUN])
            continue
        terms.extend(tokens)
        if quoted is not None:
            phrases.append(tokens[:MAX_RUN])
    content = [term for term in terms if term not in STOP_STEMS]
    if len(terms) == 1 and len(terms[0]) == 2 and terms[0][0] == _BEGINS:
        content = [terms[0] + "*"]  # a single Korean syllable: search the words that begin with it
    return ParsedQuery(
        tuple(content or terms),
        tuple(dict.fromkeys(phrases))[:MAX_CLAUSES],
        tuple(dict.fromkeys(excluded))[:MAX_CLAUSES],
    )


def _query_tokens(text: str, *, run: bool) -> tuple[str, ...]:
    """Return the tokens of a part of a query. Short parts are cached, because their words repeat."""
    return _cached_part(text, run) if len(text) <= 32 else _part_tokens(text, run)


def _part_tokens(text: str, run: bool) -> tuple[str, ...]:
    """Tokenize a part of a query like a text, without the tokens at its ends that only find single characters.

    The last character of a run adds nothing to its bigrams, so it is dropped; inside a phrase it stays, because the
    text has it between its words. A phrase may start inside a Korean word, so the prefix token is dropped there.
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


_cached_part = lru_cache(maxsize=1 << 12)(_part_tokens)


def snippet(text: str, query: str, *, width: int = 160, marks: tuple[str, str] = ("**", "**")) -> str:
    """Return the part of a text that matches a query best, with the matches marked.

    Args:
        text: The text of a hit.
        query: The query that found it.
        width: The maximum length in characters, without marks and ellipses.
        marks: The strings before and after each match.

    Returns:
        The first part with the most distinct query tokens, or the beginning of the text if there are none.

    Raises:
        InvalidInputError: If ``width`` is not positive.

    Example:
        >>> snippet("Much was said before the jets met the wing.", "wing jet", width=26)
        '…the **jets** met the **wing**.'
    """
    if width < 1:
        raise InvalidInputError(f"width must be a positive number of characters, not {width}")
    parsed = parse(query)
    terms = {*parsed.terms, *(token for phrase in parsed.phrases for token in phrase)}
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
        normalized = normalize(word[0])
        grams = _GRAMS.fullmatch(normalized) is not None
        if prefixes and not grams and normalized.startswith(prefixes):
            yield word.start(), word.end(), normalized
            continue
        offset = 0
        for token in tokenize(word[0]):
            if token not in terms and not (prefixes and token.startswith(prefixes)):
                continue
            if not grams or len(normalized) != len(word[0]):
                yield (
                    word.start(),
                    word.end(),
                    token,
                )  # a stem may not occur in its word; letters may have moved
                continue
            if token not in terms:  # only a prefix of the bigram matches
                token = max((prefix for prefix in prefixes if token.startswith(prefix)), key=len)
            gram = token.removeprefix(_BEGINS)
            offset = normalized.find(gram, offset)
            if offset < 0:
                break
            yield word.start() + offset, word.start() + offset + len(gram), token


def _merged(spans: list[tuple[int, int, str]]) -> list[list[int]]:
    """Join the spans that touch, as neighboring bigrams do."""
    joined: list[list[int]] = []
    for low, high, _ in spans:
        if joined and low <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], high)
        else:
            joined.append([low, high])
    return joined


def _window(text: str, spans: list[tuple[int, int, str]], width: int) -> tuple[int, int]:
    """Find the window with the most distinct tokens, center it on them, and move its ends to word boundaries."""
    if len(text) <= width:
        return 0, len(text)
    most, first, last = 0, 0, 0
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
        if len(held) > most:
            most, first, last = len(held), spans[left][0], high
    start = max(0, min((first + last - width) // 2, len(text) - width)) if most else 0
    end = start + width
    if start > 0 and (gap := text.find(" ", start - 1, min(first, start + width // 4) + 1)) >= 0:
        start = gap + 1
    if end < len(text) and (gap := text.rfind(" ", max(last, end - width // 4), end + 1)) >= 0:
        end = gap
    return start, end
