"""Lines of a PDF page by the places of its signs, for scripts that PDFium does not put in order.

Programs write Arabic and Hebrew from left to right, or sign by sign in any order, and PDFium turns only some of their
words. In Thai and in the scripts of India, signs stand above, below or before the letters that they follow, and one
cluster of letters consists of several glyphs, each of which PDFium reports as the whole cluster.
"""

from __future__ import annotations

import ctypes
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from statistics import median_low
from typing import Any

import msgspec

from memvid_core.ingest.readers.pdf_bidi import in_logical_order
from memvid_core.ingest.readers.pdf_turned import is_turned, objects_of

__all__ = ["Sign", "columns", "is_vertical", "joined", "needs_places", "signs_of"]

_VERTICAL = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")  # scripts that are also written in columns
_NEEDED = re.compile("[\u0590-\u08ff\u0900-\u109f\u1780-\u17ff\ufb1d-\ufdff\ufe70-\ufefc]")
_FORMS = re.compile("[\ufb1d-\ufdff\ufe70-\ufefc]+")  # letters in the shape that they have within a word
_RIGHT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
# Vowels that stand before the consonants that they follow, those consonants, and what may join them: from Devanagari to
# Malayalam, and Khmer.
_VOWELS = "[\u093f\u09bf\u09c7\u09c8\u0a3f\u0abf\u0b47\u0bc6-\u0bc8\u0d46-\u0d48\u17c1-\u17c3]"
_CONSONANT = (
    "[\u0915-\u0939\u0958-\u095f\u0995-\u09b9\u0a15-\u0a39\u0a95-\u0ab9\u0b15-\u0b39\u0b95-\u0bb9\u0d15-\u0d39\u1780-\u17a2]"
    "[\u093c\u09bc\u0a3c\u0abc\u0b3c]?"
)
_JOINER = "[\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0d4d\u17d2]"
_SEEN = "\0"  # marks a vowel that is still where it is seen
_VOWEL_BEFORE = re.compile(_VOWELS)
_BEFORE = re.compile(f"{_SEEN}({_VOWELS})((?:{_CONSONANT}{_JOINER})*{_CONSONANT})")
_SAMPLE = 200  # signs of a page that show its direction
_LEAST_STEPS = 8
_SAME_LEVEL = 0.1  # points
_SAME_LINE = 0.5  # of the size of signs
_GAP = 0.2  # the same, between words
_OVERLAP = 0.5  # of the narrower of two signs
_ALEF_LAM = re.compile("^([\u0622\u0623\u0625\u0627])(\u0644)")
_UNJOINED = "\u200c"  # ZERO WIDTH NON-JOINER, which divides the parts of Persian words and has no glyph
_TEXT = 1  # FPDF_PAGEOBJ_TEXT
_MOST_MARKS = 16


class Sign(msgspec.Struct):
    """Hold a sign and the letters that it means: its edges and its origin, in points."""

    text: str
    left: float
    right: float
    x: float
    y: float
    size: float
    top: float = 0.0
    bottom: float = 0.0


class _Object(msgspec.Struct):
    """Hold a text object of the page: its address, the text that its marks name, and its edges."""

    address: int
    means: str
    left: float
    right: float
    height: float


def needs_places(text: str) -> bool:
    """Return whether a text has letters of a script whose signs have to be ordered by their places.

    Example:
        >>> needs_places("wing"), needs_places("כנף"), needs_places("ปีก"), needs_places("날개")
        (False, True, True, False)
    """
    return _NEEDED.search(text) is not None


def is_vertical(raw: Any, textpage: Any, text: str) -> bool:
    """Return whether most of a page's first Chinese and Japanese signs stand below the one before.

    Signs that are turned with their line stand below each other, too, and do not count as that.
    """
    if not _VERTICAL.search(text):
        return False
    places: list[tuple[float, float, bool]] = []
    x, y = ctypes.c_double(), ctypes.c_double()
    for index in range(min(raw.FPDFText_CountChars(textpage), _SAMPLE)):
        is_such = _VERTICAL.match(chr(raw.FPDFText_GetUnicode(textpage, index)))
        if is_such and raw.FPDFText_GetTextObject(textpage, index):
            raw.FPDFText_GetCharOrigin(textpage, index, x, y)
            places.append((x.value, y.value, is_turned(raw, textpage, index)))
    down = sum(
        abs(after[0] - before[0]) < 1 < before[1] - after[1] and not after[2] for before, after in pairwise(places)
    )
    return 2 * down > len(places) - 1 > _LEAST_STEPS


def columns(signs: list[Sign]) -> str:
    """Return the text of vertical columns, a line for each, in the order in which the page draws them.

    Lines between them, such as a page's number, are read from left to right.
    """
    lines: list[list[Sign]] = []
    for sign in signs:
        line = lines[-1] if lines else [sign]
        before = line[-1]
        level = len(line) > 1 and abs(line[0].y - line[1].y) < _SAME_LEVEL
        down = abs(sign.x - before.x) <= _SAME_LINE * sign.size and sign.y < before.y
        along = abs(sign.y - before.y) < _SAME_LEVEL and before.x < sign.x <= before.right + sign.size
        if down and not level:
            line.append(sign)
        elif along and (level or len(line) == 1):
            if sign.left - before.right > _GAP * sign.size and not before.text.isspace() and not sign.text.isspace():
                sign.text = f" {sign.text}"
            line.append(sign)
        else:
            lines.append([sign])
    _add_spaces([line for line in lines if len(line) > 1 and line[1].y < line[0].y - _SAME_LEVEL])
    return "\n".join("".join(sign.text for sign in line).strip() for line in lines)


def _add_spaces(lines: list[list[Sign]]) -> None:
    """Add the spaces that are only gaps in vertical columns: between Korean words, and between Latin ones in any.

    A gap is compared with the usual one of its column, because columns are stretched and signs may be set apart.
    """
    of_page = _usual_gap([pair for line in lines for pair in pairwise(line)], 0.0)
    for line in lines:
        korean = any("\uac00" <= sign.text[0] <= "\ud7a3" for sign in line)
        pairs = list(pairwise(line))
        usual = _usual_gap(pairs, of_page) if len(pairs) >= _LEAST_STEPS else of_page
        for before, sign in pairs:
            if before.text.isspace() or sign.text.isspace() or not (korean or _are_narrow(before, sign)):
                continue
            apart = _gap(before, sign) > usual + _GAP
            ends = before.text in ("?", "!") or (before.text in (".", ",") and not sign.text.isdecimal())
            if apart or (ends and sign.text.isalnum()):
                sign.text = f" {sign.text}"


def _are_narrow(*signs: Sign) -> bool:
    return all(unicodedata.east_asian_width(sign.text[-1]) not in "WF" for sign in signs)


def _gap(before: Sign, sign: Sign) -> float:
    return (before.bottom - sign.top) / min(before.size, sign.size)


def _usual_gap(pairs: list[tuple[Sign, Sign]], otherwise: float) -> float:
    return median_low([_gap(*pair) for pair in pairs]) if pairs else otherwise


def joined(signs: list[Sign]) -> str:
    """Return the text of signs, a line for each line that they form.

    Args:
        signs: The signs in the order in which the page draws them.
    """
    lines: list[list[Sign]] = []
    for sign in signs:
        if lines and abs(sign.y - lines[-1][-1].y) <= _SAME_LINE * max(sign.size, lines[-1][-1].size):
            lines[-1].append(sign)
        else:
            lines.append([sign])
    right = sum(_RIGHT.search(sign.text) is not None for sign in signs)
    # A line with more letters of the other direction, such as a name, still belongs to its text.
    mainly = True if 2 * right > sum(sign.text[0].isalpha() for sign in signs) else None
    return "\n".join(_line(line, mainly) for line in lines)


def _line(signs: list[Sign], right: bool | None) -> str:
    bases = sorted((sign for sign in signs if not _is_mark(sign)), key=lambda sign: sign.left) or signs
    letters = [base.text for base in bases]
    lefts = [base.left for base in bases]
    for mark in signs if bases is not signs else ():
        if _is_mark(mark):
            center = (mark.left + mark.right) / 2
            at = max(bisect_right(lefts, center) - 1, 0)
            near = range(max(at - 1, 0), min(at + 2, len(bases)))
            letters[min(near, key=lambda place: _distance(bases[place], center))] += mark.text
    texts: list[str] = []
    end: float | None = None
    for place in sorted(range(len(bases)), key=lambda place: bases[place].x):
        base, text = bases[place], letters[place]
        if end is not None and base.left - end > _GAP * base.size and not text.isspace() and texts[-1] != " ":
            texts.append(" ")
        # A vowel that is a sign of its own stands where it is seen.
        texts.append(" " if text.isspace() else f"{_SEEN}{text}" if _VOWEL_BEFORE.fullmatch(text) else text)
        end = base.right if end is None else max(end, base.right)
    line = "".join(in_logical_order(texts, right=right))
    line = _BEFORE.sub(r"\2\1", line).replace(_SEEN, "")
    return _FORMS.sub(lambda found: unicodedata.normalize("NFKC", found.group()), line).strip()


def _is_mark(sign: Sign) -> bool:
    return unicodedata.category(sign.text[0]) == "Mn"


def _distance(base: Sign, center: float) -> float:
    return max(base.left - center, center - base.right, 0.0)


def signs_of(raw: Any, page: Any, textpage: Any) -> list[Sign]:
    """Return the signs of a page in the order in which it draws them, each cluster once.

    Args:
        raw: The functions of PDFium.
        page: The handle of the page.
        textpage: The handle of its text.
    """
    of_objects = _signs_of_objects(raw, textpage)
    signs: list[Sign] = []
    first: _Object | None = None  # of the glyphs of one cluster
    given = False  # whether one of them has given its letters
    for found in _objects(raw, page):
        own = _as_meant(of_objects.pop(found.address, []), found.means)
        if not own and signs and _UNJOINED in _meanings(found.means):
            own = [Sign(_UNJOINED, found.left, found.right, found.left, signs[-1].y, signs[-1].size)]
        if first is not None and found.means == first.means and _is_same_cluster(first, found, own):
            if given:
                signs[-1].right = max(signs[-1].right, found.right)
            else:
                signs += own
            given = given or bool(own)
            continue
        first, given = found if found.means else None, bool(own)
        signs += own
    return [*signs, *(sign for own in of_objects.values() for sign in own)]


def _as_meant(signs: list[Sign], means: str) -> list[Sign]:
    """Return the signs of an object as one, in the order of its ActualText, if that has the same letters."""
    letters = sorted("".join(sign.text for sign in signs))
    for text in _meanings(means):
        if len(letters) > 1 and sorted(text) == letters:
            edges = min(sign.left for sign in signs), max(sign.right for sign in signs)
            return [Sign(text, *edges, signs[0].x, signs[0].y, signs[0].size)]
    return signs


def _meanings(text: str) -> tuple[str, str]:
    """Return what an ActualText may mean: of UTF-16, PDFium returns each byte as a letter."""
    return text, text.encode("latin-1", "replace").decode("utf-16-be", "replace")


def _is_same_cluster(first: _Object, found: _Object, own: list[Sign]) -> bool:
    if not own:
        return True
    shared = min(first.right, found.right) - max(first.left, found.left)
    if shared > _OVERLAP * min(first.right - first.left, found.right - found.left):
        return True
    # Another cluster of the same letters begins with the same glyph.
    sizes = (first.right - first.left - (found.right - found.left), first.height - found.height)
    return len(own[0].text) > 1 and max(map(abs, sizes)) > 0.1


def _signs_of_objects(raw: Any, textpage: Any) -> dict[int, list[Sign]]:
    """Return the signs of each text object; the letters that one glyph stands for are one sign."""
    signs: dict[int, list[Sign]] = {}
    glyph: tuple[int, float, float] | None = None
    edges = (0.0, 0.0)  # of the letter before
    x, y, box, matrix = ctypes.c_double(), ctypes.c_double(), raw.FS_RECTF(), raw.FS_MATRIX()
    for index in range(raw.FPDFText_CountChars(textpage)):
        found = raw.FPDFText_GetTextObject(textpage, index)
        code = raw.FPDFText_GetUnicode(textpage, index)
        if not found or code < 32 or 0xD800 <= code < 0xE000:
            continue
        raw.FPDFText_GetLooseCharBox(textpage, index, box)
        left, right, char = box.left, box.right, chr(code)
        if char.isspace() and left == right:  # a space that PDFium adds
            continue
        raw.FPDFText_GetCharOrigin(textpage, index, x, y)
        own = signs.setdefault(ctypes.addressof(found.contents), [])
        key = (ctypes.addressof(found.contents), x.value, y.value)
        if key == glyph and own and _shares((left, right), edges):
            sign = own[-1]
            # PDFium turns the letters of one glyph around as if they were signs of their own.
            sign.text = _of_one_glyph(char + sign.text) if _RIGHT.search(char) else sign.text + char
            sign.left, sign.right = min(sign.left, left), max(sign.right, right)
        else:
            raw.FPDFText_GetMatrix(textpage, index, matrix)
            scale = abs(matrix.d) or abs(matrix.a) or abs(matrix.b) or 1.0
            size = max(raw.FPDFText_GetFontSize(textpage, index) * scale, 0.1)
            own.append(Sign(char, min(left, x.value), right, x.value, y.value, size, box.top, box.bottom))
        glyph, edges = key, (left, right)
    return signs


def _of_one_glyph(letters: str) -> str:
    """Return the letters of a glyph that is read from right to left in their order, which PDFium does not always turn.

    Marks follow their letter, and lam stands before the alef that it is joined with.
    """
    if unicodedata.category(letters[0]) == "Mn" and any(map(str.isalpha, letters)):
        letters = letters[::-1]
    return _ALEF_LAM.sub(r"\2\1", letters)


def _shares(edges: tuple[float, float], before: tuple[float, float]) -> bool:
    """Return whether two letters with one origin are of one glyph: PDFium gives both its box, or equal parts of it.

    A mark that takes no place has the origin of the letter after it.
    """
    same_width = abs((edges[1] - edges[0]) - (before[1] - before[0])) < 0.01
    return same_width and (abs(edges[0] - before[0]) < 0.01 or abs(edges[0] - before[1]) < 0.01)


def _objects(raw: Any, page: Any) -> Iterator[_Object]:
    for found in objects_of(raw, page):
        if raw.FPDFPageObj_GetType(found) == _TEXT:
            edges = [ctypes.c_float() for _ in range(4)]
            raw.FPDFPageObj_GetBounds(found, *edges)
            left, bottom, right, top = (edge.value for edge in edges)
            yield _Object(ctypes.addressof(found.contents), _meaning(raw, found), left, right, top - bottom)


def _meaning(raw: Any, found: Any) -> str:
    """Return the ActualText of an object (ISO 32000-2, 14.9.4)."""
    for number in range(min(raw.FPDFPageObj_CountMarks(found), _MOST_MARKS)):
        mark = raw.FPDFPageObj_GetMark(found, number)
        size = ctypes.c_ulong()
        if mark:
            raw.FPDFPageObjMark_GetParamStringValue(mark, b"ActualText", None, 0, size)
        if not size.value:
            continue
        buffer = (ctypes.c_ushort * (size.value // 2 + 1))()
        raw.FPDFPageObjMark_GetParamStringValue(mark, b"ActualText", buffer, size.value, size)
        return bytes(buffer).decode("utf-16-le", "replace").rstrip("\0")
    return ""
