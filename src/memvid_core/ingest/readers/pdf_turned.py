"""Text of a PDF page that is turned by a quarter, a half or three quarters of a turn, or mixed with upright text."""

from __future__ import annotations

import ctypes
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

__all__ = ["flatten", "is_turned", "objects_of", "place_after", "straighten", "turns_of"]

_TEXT, _FORM = 1, 5  # FPDF_PAGEOBJ_TEXT, FPDF_PAGEOBJ_FORM
_DEEPEST = 8
_MOST_LETTERS = 200_000  # of a page whose letters are looked at one by one
_QUARTERS = 4
_FULL = 2 * math.pi
_SLANT = 0.1  # radians; letters at smaller angles are not turned
# What turns a page back by so many clockwise quarters: a, b, c and d of its matrix (ISO 32000-2, 8.3.4).
_BACK = ((1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0))


def flatten(raw: Any, page: Any) -> None:
    """Move the matrices of forms to the objects in them.

    PDFium does not apply them to the places of letters that a mark names (ActualText).

    Args:
        raw: The functions of PDFium.
        page: The handle of the page, which is changed until it is closed.
    """
    for number in range(raw.FPDFPage_CountObjects(page)):
        found = raw.FPDFPage_GetObject(page, number)
        if raw.FPDFPageObj_GetType(found) == _FORM:
            _flatten(raw, found, 0)


def objects_of(raw: Any, page: Any) -> Iterator[Any]:
    """Yield the objects of a page and of its forms, but not these.

    Args:
        raw: The functions of PDFium.
        page: The handle of the page.
    """
    for number in range(raw.FPDFPage_CountObjects(page)):
        yield from _objects_in(raw, raw.FPDFPage_GetObject(page, number), 0)


def is_turned(raw: Any, textpage: Any, index: int) -> bool:
    """Return whether a letter is turned by any angle.

    Args:
        raw: The functions of PDFium.
        textpage: The handle of the page's text.
        index: The number of the letter.
    """
    return bool(_SLANT < raw.FPDFText_GetCharAngle(textpage, index) < _FULL - _SLANT)


def turns_of(raw: Any, textpage: Any) -> Counter[int]:
    """Count the letters of a page by the clockwise quarters by which they are turned, from 0 to 3.

    Args:
        raw: The functions of PDFium.
        textpage: The handle of the page's text.
    """
    number = raw.FPDFText_CountChars(textpage)
    # Nearly all pages have only letters at angle 0, which need no closer look.
    if number > _MOST_LETTERS or not any(is_turned(raw, textpage, index) for index in range(number)):
        return Counter({0: number})
    return Counter(
        _quarters(raw.FPDFText_GetCharAngle(textpage, index), raw.FPDFText_GetFontSize(textpage, index))
        for index in range(number)
        if raw.FPDFText_IsGenerated(textpage, index) != 1 and raw.FPDFText_GetUnicode(textpage, index) > 32
    )


def straighten(raw: Any, page: Any, turn: int) -> None:
    """Turn a page so that its letters of one direction are upright, and take its other letters away.

    Args:
        raw: The functions of PDFium.
        page: The page, with its handle as ``raw``; `flatten` was called. It is changed until it is closed.
        turn: The clockwise quarters by which the letters to keep are turned.
    """
    _remove(
        raw, page.raw, turn, (raw.FPDFPage_CountObjects, raw.FPDFPage_GetObject, raw.FPDFPage_RemoveObject), _DEEPEST
    )
    a, b, c, d = _BACK[turn]
    # The box of the page is moved back to where it was.
    left, bottom = _corner(page.get_size(), turn)
    for number in range(raw.FPDFPage_CountObjects(page.raw)):
        raw.FPDFPageObj_Transform(raw.FPDFPage_GetObject(page.raw, number), a, b, c, d, -left, -bottom)
    flatten(raw, page.raw)


def place_after(x: float, y: float, size: tuple[float, float], turn: int, other: int) -> tuple[float, float]:
    """Return where a place on a page that was turned back by ``turn`` is when it is turned back by ``other``.

    Args:
        x: From the left, in points.
        y: From the bottom.
        size: Width and height of the page before.
        turn: Clockwise quarters.
        other: Likewise.

    Example:
        >>> place_after(10, 20, (600, 800), 1, 0)
        (20, 790)
    """
    left, bottom = _corner(size, turn)
    a, b, c, d = _BACK[turn]
    x, y = x + left, y + bottom
    x, y = a * x + b * y, c * x + d * y  # the inverse of a turn is its transpose
    left, bottom = _corner(size, other)
    a, b, c, d = _BACK[other]
    return a * x + c * y - left, b * x + d * y - bottom


def _corner(size: tuple[float, float], turn: int) -> tuple[float, float]:
    """Return where the lower left corner of a page is after it was turned back."""
    width, height = size
    a, b, c, d = _BACK[turn]
    return min(0, a * width) + min(0, c * height), min(0, b * width) + min(0, d * height)


def _flatten(raw: Any, form: Any, depth: int) -> None:
    matrix = raw.FS_MATRIX()
    if depth >= _DEEPEST or not raw.FPDFPageObj_GetMatrix(form, matrix):
        return
    values = (matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f)
    for number in range(raw.FPDFFormObj_CountObjects(form)):
        found = raw.FPDFFormObj_GetObject(form, number)
        raw.FPDFPageObj_Transform(found, *values)
        if raw.FPDFPageObj_GetType(found) == _FORM:
            _flatten(raw, found, depth + 1)
    raw.FPDFPageObj_SetMatrix(form, raw.FS_MATRIX(1, 0, 0, 1, 0, 0))


def _objects_in(raw: Any, found: Any, depth: int) -> Iterator[Any]:
    if raw.FPDFPageObj_GetType(found) != _FORM:
        yield found
    elif depth < _DEEPEST:
        for number in range(raw.FPDFFormObj_CountObjects(found)):
            yield from _objects_in(raw, raw.FPDFFormObj_GetObject(found, number), depth + 1)


def _remove(raw: Any, parent: Any, turn: int, functions: tuple[Any, Any, Any], depth: int) -> None:
    """Remove text that is turned otherwise from a page or a form."""
    count, get, remove = functions
    matrix, size = raw.FS_MATRIX(), ctypes.c_float()
    for found in [get(parent, number) for number in range(count(parent))]:
        kind = raw.FPDFPageObj_GetType(found)
        if kind == _FORM and depth:
            in_form = (raw.FPDFFormObj_CountObjects, raw.FPDFFormObj_GetObject, raw.FPDFFormObj_RemoveObject)
            _remove(raw, found, turn, in_form, depth - 1)
        elif kind == _TEXT and raw.FPDFPageObj_GetMatrix(found, matrix):
            raw.FPDFTextObj_GetFontSize(found, size)
            if _quarters(math.atan2(matrix.c, matrix.a), size.value) != turn and remove(parent, found):
                raw.FPDFPageObj_Destroy(found)


def _quarters(angle: float, size: float) -> int:
    """Return the clockwise quarters nearest to an angle; a negative size of the font is a half of a turn."""
    return (round(angle / (math.pi / 2)) + (2 if size < 0 else 0)) % _QUARTERS
