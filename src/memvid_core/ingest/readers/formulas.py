"""Formulas of Word (OMML) and of HTML (MathML) as one line of text."""

from __future__ import annotations

from typing import Any

from memvid_core.ingest.readers.ooxml import attribute, child, children, local, path_of

__all__ = ["formula"]

_SCRIPTS = {"sup": "^", "sub": "_", "under": "_", "over": "^", "lim": "_"}
_PROPERTIES = frozenset(
    ("annotation", "annotation-xml", "ctrlPr", "dPr", "fPr", "naryPr", "radPr", "rPr", "sSupPr", "sSubPr")
)


def formula(element: Any) -> str:
    """Return a formula as text: ``(a+b)/2``, ``x^2``, ``√(x)``, ``∑_(i=1)^n``."""
    name = local(element)
    written = _WRITERS.get(name)
    if written is not None:
        return written(element)
    if name in _PROPERTIES:
        return ""
    if name in ("t", "mi", "mn", "mo", "mtext", "ms"):
        return "".join("".join(element.itertext()).split()) if name != "mtext" else "".join(element.itertext())
    return "".join(formula(found) for found in element)


def _group(element: Any) -> str:
    text = "" if element is None else formula(element)
    return text if len(text) < 2 or text.isalnum() else f"({text})"


def _fraction(element: Any) -> str:
    top, bottom = child(element, "num"), child(element, "den")
    if top is None:
        top, bottom = _operands(element, 2)
    return f"{_group(top)}/{_group(bottom)}"


def _root(element: Any) -> str:
    degree = _text(child(element, "deg"))
    return f"{degree and f'[{degree}]'}√({_text(child(element, 'e'))})"


def _scripts(element: Any) -> str:
    return _text(child(element, "e")) + _marks(element)


def _marks(element: Any) -> str:
    marks = ((_SCRIPTS[local(found)], _group(found)) for found in element if local(found) in _SCRIPTS)
    return "".join(mark + text for mark, text in marks if text)


def _nary(element: Any) -> str:
    symbol = path_of(element, "naryPr", "chr")
    sign = "∫" if symbol is None else attribute(symbol, "val") or ""
    return f"{sign}{_marks(element)} {_text(child(element, 'e'))}"


def _delimiters(element: Any) -> str:
    marks = []
    for name, default in (("begChr", "("), ("endChr", ")")):
        found = path_of(element, "dPr", name)
        marks.append(default if found is None else attribute(found, "val") or "")
    return f"{marks[0]}{', '.join(_text(found) for found in children(element, 'e'))}{marks[1]}"


def _math_root(element: Any) -> str:
    if local(element) == "msqrt":
        return f"√({''.join(formula(found) for found in element)})"
    base, degree = _operands(element, 2)
    return f"[{_text(degree)}]√({_text(base)})"


def _math_scripts(element: Any) -> str:
    name = local(element)
    base, first, second = _operands(element, 3)
    marks = "_^" if name in ("msubsup", "munderover") else "^" if name in ("msup", "mover") else "_"
    pairs = zip(marks, (first, second), strict=False)
    return _text(base) + "".join(mark + _group(found) for mark, found in pairs if found is not None)


def _matrix_row(element: Any) -> str:
    return ", ".join(formula(found) for found in element if local(found) in ("mtd", "e")) + "; "


def _operands(element: Any, number: int) -> list[Any]:
    found = [item for item in element if local(item)]
    return [*found, *[None] * number][:number]


def _text(element: Any) -> str:
    return "" if element is None else formula(element)


_WRITERS = {
    "f": _fraction, "mfrac": _fraction,
    "rad": _root, "msqrt": _math_root, "mroot": _math_root,
    "sSup": _scripts, "sSub": _scripts, "sSubSup": _scripts, "limLow": _scripts, "limUpp": _scripts,
    "msup": _math_scripts, "msub": _math_scripts, "msubsup": _math_scripts,
    "munder": _math_scripts, "mover": _math_scripts, "munderover": _math_scripts,
    "nary": _nary, "d": _delimiters, "mr": _matrix_row, "mtr": _matrix_row,
}  # fmt: skip
