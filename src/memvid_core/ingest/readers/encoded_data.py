"""Runs of encoded binary data in texts, which nobody reads: base64, hexadecimal digits, uuencode, base85, yEnc."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from memvid_core.ingest.readers.remarks import warn

__all__ = ["without_encoded_data"]

# What stands between two lines of data: quotes and operators of source code, marks of quoted mail and of comments.
_BETWEEN = r"""["'`,;)+&\\]{0,4}\s[\s>|#*+"'`(brf&]{0,60}"""
_LONG = re.compile(r"[A-Za-z0-9+/_-]{200,}={0,7}")
# Lines of encoded data, which other readers may have joined by spaces.
_WRAPPED = re.compile(
    rf"(?<![A-Za-z0-9+/_-])(?:[A-Za-z0-9+/_-]{{56,199}}={{0,7}}{_BETWEEN}"
    rf"(?:[A-Za-z0-9+/_-]{{1,55}}{_BETWEEN}(?=[A-Za-z0-9+/_-]{{56,199}}[\s=\"']))?){{2,}}"
    r"(?:[A-Za-z0-9+/_-]{1,199}={1,7}|[A-Za-z0-9+/_-]{4,199}$)?",
    re.MULTILINE,
)
_BYTE = r"(?:0x|\\x)?[0-9A-Fa-f]{2}"
_BYTES = re.compile(rf"(?<![0-9A-Za-z]){_BYTE}(?:[,:;\s]{{1,12}}{_BYTE}|\\x[0-9A-Fa-f]{{2}}){{63,}}(?![0-9A-Za-z])")
_DUMP = re.compile(
    r"(?:(?<!\S)[0-9A-Fa-f]{6,16}:?\s{1,4}(?:[0-9A-Fa-f]{2,4}\s{1,4}){6,}(?:[^\n]{0,40}?(?:\s{1,4}|$)(?=[0-9A-Fa-f]{6,16}:?\s|$))){3,}"
)
# What says where it begins.
_MARKED = (
    re.compile(
        r"(?P<kept>-----BEGIN [A-Z0-9 ]{1,60}-----)\s(?:[A-Za-z-]{1,40}: [^\n]{0,200}\n){0,9}"
        r"[A-Za-z0-9+/=\s>]{16,}(?=-----END )"
    ),
    re.compile(r"(?P<kept>;base64,)[A-Za-z0-9+/_%=-]{40,}"),
    re.compile(
        r"(?<!\w)begin [0-7]{3} [^\n]{1,100}?\s{1,3}"
        r"(?P<data>(?:M[!-`][ -`]{40,59}\s{1,3}|[!-M][ -`]{1,60}\n)[ -`\s]*)end\b"
    ),
    re.compile(r"<~(?P<data>[!-uz\s]{60,})~>"),
    re.compile(r"^(?:literal|delta) \d+\n(?P<data>(?:z[!-~]{65}\n)*[A-Za-z](?:[!-~]{5}){1,13}$)\n?", re.M),
)
_UUENCODED = re.compile(r"(?:^M[!-`][ -`]{48,59}\n){2,}(?:[!-L][ -`]{1,60}\n)?(?:`\n)?(?:end\n)?", re.M)
_YENC = re.compile(r"=ybegin (?:part=\d+ )?(?:total=\d+ )?line=\d")
_YENC_END = re.compile(r"=yend(?: \w+=\w+)*")
_WORD = re.compile(r"(?<!\S)[!-~]{56,}(?!\S)")
_TAIL = re.compile(r"\s[\s>|#]{0,20}[!-~]{2,132}[ \t]*$", re.M)
_QUOTED = re.compile(
    r"(?:=C[2-9A-F]=[89AB][0-9A-F]|=D[0-9A-F]=[89AB][0-9A-F]|=E[0-9A-F](?:=[89AB][0-9A-F]){2}"
    r"|=F[0-4](?:=[89AB][0-9A-F]){3}|=\n(?==[C-F]))+"
)
_SOFT = re.compile(r"=(?:\n|(3D|20|09|0A))")
_PLAIN = {"3D": "=", "20": " ", "09": "\t", "0A": "\n", None: ""}
# What quoted-printable never has: other signs after =, and lines that end with ==, such as those below headings.
_NOT_QUOTED = re.compile(r"=(?![0-9A-F]{2}|\n)|==\n")
_ENDS = ("=", "=20")
_WORDS = re.compile(r"[^=]*?[^\W\d_]{2,40}[,.]? [^=]*?[^\W\d_]{2}")
_PIECE = 18
_DIGITS = frozenset("0123456789")
_OF_BYTES = "0123456789abcdefABCDEFx\\,:; \t\n"
_LEAST_DISTINCT = 16  # of the 64 signs
_LEAST_DISTINCT_HEX = 10
_LEAST_QUOTED = 3
# Of more names in paths, or words that are joined by hyphens, most have only letters or only digits.
_MOST_NAMES = 8
_SEPARATORS = re.compile("[/_-]")
_IN_COLONS = re.compile("[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})+")
_PAIRS = frozenset((6, 8, 16, 20, 32))  # of a MAC address, EUI-64, and fingerprints by MD5, SHA-1 and SHA-256
_LONE = 200  # characters of a word that stands alone in its line
_MARKS = ("-----BEGIN ", ";base64,", "=ybegin ", "begin ", "<~", "literal ", "delta ")


def without_encoded_data(text: str, *, code: bool = False) -> str:
    r"""Return a text without long runs of encoded binary data, with a warning about their size.

    A hash or a key of up to 199 characters stays, unless only such lines stand around it, and so do sequences of few
    letters, numbers, MAC addresses, fingerprints, and minified programs.
    UTF-8 that is still quoted-printable is decoded.

    Args:
        text: The text.
        code: Whether it is source code, in which nothing is decoded.

    Example:
        >>> without_encoded_data("before " + "0123456789abcdef" * 20 + " after")
        'before  after'
        >>> without_encoded_data("ACGT" * 100) == "ACGT" * 100
        True
        >>> without_encoded_data("Gr=C3=BC=C3=9Fe aus M=C3=BCnchen, sch=C3=B6n")
        'Grüße aus München, schön'
    """
    given = len(text)

    def cutting(is_data: Callable[[str], bool]) -> Callable[[re.Match[str]], str]:
        def cut(found: re.Match[str]) -> str:
            named = found.groupdict()
            if not is_data(named.get("data") or found.group()):
                return found.group()
            kept = named.get("kept", "")
            return kept + ("\n" if found.group().endswith("\n") else "")

        return cut

    for pattern in _MARKED if any(mark in text for mark in _MARKS) else ():
        text = pattern.sub(cutting(_is_mixed if "data" in pattern.groupindex else _is_marked), text)
    text = _without_yenc(text)
    if _may_have_runs(text):
        for pattern, is_data in ((_UUENCODED, _is_uuencoded), (_WRAPPED, _is_encoded), (_LONG, _is_encoded)):
            text = pattern.sub(cutting(is_data), text)
        for pattern in (_BYTES, _DUMP):
            text = pattern.sub(cutting(_are_bytes), text)
        text = _without_noise(text)
    if len(text) < given:
        warn(f"{given - len(text):,} characters of encoded binary data were left out")
    return text if code else _decoded(text)


def _may_have_runs(text: str) -> bool:
    """Return whether a text may have lines of data: each of them fills two pieces of 18 signs, nearly all with digits.

    The expressions take twenty times as long.
    """
    before = False
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        one_word = " " not in piece and "\n" not in piece
        here = (one_word or not piece.strip(_OF_BYTES)) and not _DIGITS.isdisjoint(piece)
        here = here and piece.isascii() and len(set(piece)) > _PIECE // 3
        if here and before:
            return True
        before = here
    return False


def _is_encoded(run: str) -> bool:
    run = re.sub(r"[^A-Za-z0-9+/_-]+", "", run)
    signs = set(run)
    if re.fullmatch("[0-9a-fA-F]+", run):
        return len(signs) >= _LEAST_DISTINCT_HEX and not run.isdigit()
    upper, lower, digits, _ = _shares(run)
    if lower == 0:  # base32: digits from 2 to 7
        return len(signs) >= _LEAST_DISTINCT and 0.08 < digits < 0.35 and signs.isdisjoint("0189_-+/")
    words = _SEPARATORS.split(run)
    if len(words) > _MOST_NAMES and sum(word.isdigit() or word.isalpha() for word in words) > 0.6 * len(words):
        return False
    # Of names that are joined by slashes, most letters are small.
    return min(upper, digits) > 0 and lower < 0.65 and len(signs) >= _LEAST_DISTINCT


def _is_marked(run: str) -> bool:
    return len(set(run)) > 1


def _is_mixed(run: str) -> bool:
    """Return whether marked data of uuencode, Ascii85 or base85 has the signs of it, and is not prose."""
    _, _, digits, others = _shares(re.sub(r"[\s`]+", "", run))
    return digits > 0.02 and others > 0.12


def _are_bytes(run: str) -> bool:
    """Return whether pairs of hexadecimal digits are bytes, and not a table of numbers, or addresses."""
    if all(_IN_COLONS.fullmatch(word) and word.count(":") + 1 in _PAIRS for word in run.split()):
        return False
    pairs = re.findall(r"(?<![0-9A-Za-z])(?:0x|\\x)?([0-9A-Fa-f]{2,4})(?![0-9A-Za-z])|(?<=\\x)([0-9A-Fa-f]{2})", run)
    values = ["".join(pair) for pair in pairs]
    lettered = sum(not value.isdigit() for value in values)
    return lettered * 5 >= len(values) and len(set(values)) >= _LEAST_DISTINCT


def _is_uuencoded(run: str) -> bool:
    upper, _, digits, others = _shares(run.replace("\n", ""))
    return upper > 0.1 and digits > 0.03 and others > 0.15 and len(set(run)) >= _LEAST_DISTINCT * 3 // 2


def _without_yenc(text: str) -> str:
    kept, place = [], 0
    while (found := _YENC.search(text, place)) and (end := _YENC_END.search(text, found.end())):
        kept.append(text[place : found.start()])
        place = end.end()
    return "".join([*kept, text[place:]])


def _without_noise(text: str) -> str:
    """Return a text without words in which all kinds of signs follow each other as by chance, such as base85."""
    words = list(_WORD.finditer(text))
    noise = [_is_noise(found.group()) for found in words]
    joined = [not text[left.end() : right.start()].strip(" \t\n>|#") for left, right in pairwise(words)]
    for number in range(1, len(words) - 1):
        # Of many words that are as by chance, some look like others.
        noise[number] |= noise[number - 1] and noise[number + 1] and joined[number - 1] and joined[number]
    kept, place = [], 0
    before = -1  # the last word that was left out
    for number, found in enumerate(words):
        after_it = number > 0 and noise[number - 1] and joined[number - 1]
        before_it = number + 1 < len(words) and noise[number + 1] and joined[number]
        if not noise[number] or not (after_it or before_it or len(found.group()) >= _LONE):
            continue
        if before < 0 or before != number - 1 or not after_it:
            kept.append(text[place : found.start()])
        before, place = number, found.end()
        tail = _TAIL.match(text, place)
        # The last line is shorter.
        if tail is not None and "://" not in tail.group() and min(_shares(tail.group().strip(" \t\n>|#"))) > 0:
            place = tail.end()
    return "".join([*kept, text[place:]])


def _is_noise(word: str) -> bool:
    if "://" in word or len(set(word)) < _LEAST_DISTINCT * 2:
        return False
    upper, lower, digits, others = _shares(word)
    if not (upper > 0.12 and digits > 0.02 and 0.12 < others < 0.6 and lower < 0.5):
        return False
    if lower < 0.1:  # uuencode has no small letters, and lines of 61 signs
        return lower == 0 and word[0] == "M" and len(word) == 61
    most = max(map(word.count, set(word)))
    if others > (0.42 if len(word) >= _LONE else 0.52) or most > 6 + 0.05 * len(word):  # a program
        return False
    return sum(_kind(left) != _kind(right) for left, right in pairwise(word)) > 0.55 * len(word)


def _kind(sign: str) -> int:
    return 0 if sign.isupper() else 1 if sign.islower() else 2 if sign.isdigit() else 3


def _shares(run: str) -> tuple[float, float, float, float]:
    """Return the shares of capitals, small letters, digits and other signs."""
    kinds = [_kind(sign) for sign in run]
    return tuple(kinds.count(kind) / max(1, len(run)) for kind in range(4))  # type: ignore[return-value]


def _decoded(text: str) -> str:
    """Return a text with UTF-8 that is still quoted-printable decoded."""
    if "=" not in text:
        return text
    pure = _NOT_QUOTED.search(text) is None
    # Lines of words whose end is encoded: a space that would be lost there, or a break that is none.
    ends = sum(_WORDS.match(line) is not None for line in text.split("\n") if line.endswith(_ENDS)) if pure else 0
    if ends < _LEAST_QUOTED and sum(1 for _ in _QUOTED.finditer(text)) < _LEAST_QUOTED:
        return text

    def decode(found: re.Match[str]) -> str:
        data = bytes.fromhex(found.group().replace("=\n", "").replace("=", ""))
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return found.group()

    warn("text that was still quoted-printable was decoded")
    whole = pure and ("=\n" in text or ends > 0)
    decoded = _QUOTED.sub(decode, text)
    return _SOFT.sub(lambda found: _PLAIN[found.group(1)], decoded) if whole else decoded
