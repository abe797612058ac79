"""The paragraph and character styles of a DOCX: heading levels, lists, hidden text."""

from __future__ import annotations

import re
from typing import Any

from memvid_core.ingest.readers.ooxml import attribute, child, children, path_of

__all__ = ["Styles"]

_HEADING = re.compile(r"heading ([1-9])$", re.IGNORECASE)
_OFF = ("0", "false", "off")


class Styles:
    """Answer questions about styles, each of which inherits from the style that it is based on.

    Chains may be long, and circular in damaged files.

    Args:
        part: The root of the styles part, or None.
    """

    def __init__(self, part: Any) -> None:
        self._levels: dict[str, int] = {}
        self._lists: dict[str, tuple[str, int | None]] = {}
        self._base: dict[str, str] = {}
        self._hidden: set[str] = set()
        for style in () if part is None else children(part, "style"):
            name = attribute(style, "styleId") or ""
            self._base[name] = _value(child(style, "basedOn"))
            if _is_on(path_of(style, "rPr", "vanish")):
                self._hidden.add(name)
            if (attribute(style, "type") or "paragraph") == "paragraph":
                self._levels[name] = _level(_value(child(style, "name"))) or _outline(child(style, "pPr"))
                number = path_of(style, "pPr", "numPr")
                if number is not None:
                    level = _value(child(number, "ilvl"))
                    self._lists[name] = _value(child(number, "numId")), int(level) if level.isdecimal() else None
        self._levels = self._inherited({name: level for name, level in self._levels.items() if level})
        self._lists = self._inherited(self._lists)
        self._hidden = set(self._inherited(dict.fromkeys(self._hidden, True)))

    def _inherited(self, own: dict[str, Any]) -> dict[str, Any]:
        known: dict[str, Any] = {name: own.get(name) for name in self._base if name in own}
        settled = set(known)
        for name in self._base:
            chain: dict[str, None] = {}
            at = name
            while at in self._base and at not in settled and at not in chain:
                chain[at] = None
                at = self._base[at]
            if at in known:
                known.update(dict.fromkeys(chain, known[at]))
            settled.update(chain)
        return known

    def level(self, style: str, properties: Any) -> int:
        """Return the heading level of a paragraph; 0 if it is not a heading."""
        return self._levels.get(style, 0) or _outline(properties)

    def list_of(self, style: str) -> tuple[str, int | None]:
        """Return the list of a style and its level, None if the list defines it."""
        return self._lists.get(style, ("", None))

    def hidden(self, run: Any) -> bool:
        """Return whether a run of text is hidden, by itself or by its style."""
        properties = child(run, "rPr")
        if properties is None:
            return False
        own = child(properties, "vanish")
        return _is_on(own) if own is not None else _value(child(properties, "rStyle")) in self._hidden


def _level(name: str) -> int:
    found = _HEADING.match(name)
    return int(found.group(1)) if found else int(name.lower() == "title")


def _outline(properties: Any) -> int:
    text = "" if properties is None else _value(child(properties, "outlineLvl"))
    return int(text) + 1 if text.isdecimal() and int(text) < 9 else 0


def _is_on(element: Any) -> bool:
    return element is not None and attribute(element, "val") not in _OFF


def _value(element: Any) -> str:
    return "" if element is None else attribute(element, "val") or ""
