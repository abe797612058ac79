"""What an OpenDocument text refers to: its styles, numbers of lists and headings, formulas, charts, running lines."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from memvid_core.ingest.readers.numbering import written
from memvid_core.ingest.readers.ooxml import attribute, children, local, parse_xml, path_of
from memvid_core.ingest.readers.pictures import Picture, of_data_url
from memvid_core.ingest.readers.remarks import leaving_out
from memvid_core.ingest.readers.zipped import Parts

__all__ = ["About"]

_FORMATS = {"1": "decimal", "a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
_DEEPEST = 10
_RUNNING = ("header", "header-left", "header-first", "footer", "footer-left", "footer-first")
_OUTLINE = "\0"  # stands for the numbering of headings


class _Level(NamedTuple):
    kind: str  # empty without numbers
    prefix: str
    suffix: str
    start: int
    shown: int  # how many levels a number has


class About:
    """Know the styles of a document and the documents that are embedded in it.

    Args:
        parts: The parts of the file; None if it is one XML document.
        content: The root of its content.
    """

    def __init__(self, parts: Parts | None, content: Any) -> None:
        self._trees: dict[str, Any] = {}
        styles = content if parts is None else None
        if parts is not None and "styles.xml" in parts.names:
            with leaving_out("styles.xml"):
                styles = parse_xml(parts.read("styles.xml"))
        self._parts = parts
        self.running = [] if styles is None else list(_running(styles))
        self._hidden: set[str] = set()
        self._levels: dict[str, dict[int, _Level]] = {}
        self._counts: dict[str, dict[int, int]] = {}
        for tree in (styles, content):
            if tree is not None:
                self._learn(tree)
        if parts is None:
            return
        for found in content.iter():
            name = posixpath.normpath(f"{attribute(found, 'href') or ''}/content.xml")
            if local(found) == "object" and name in parts.names and name not in self._trees:
                with leaving_out(name):
                    self._trees[name] = parse_xml(parts.read(name))

    def is_hidden(self, element: Any) -> bool:
        """Return whether an element is not shown."""
        name = local(element)
        if name == "hidden-text" or attribute(element, "style-name") in self._hidden:
            return True
        if name == "section":
            return attribute(element, "display") == "none"
        return name == "p" and any(
            local(found) == "hidden-paragraph" and attribute(found, "is-hidden") == "true" for found in element
        )

    def embedded(self, element: Any) -> Any:
        """Return the root of the formula or of the chart that an element shows; None without one."""
        for inner in children(element, "math", "document"):
            return inner
        return self._trees.get(posixpath.normpath(f"{attribute(element, 'href') or ''}/content.xml"))

    def pictures(self, element: Any) -> list[Picture]:
        """Return the pictures that an element shows, each once, in order."""
        found: dict[str, Picture] = {}
        for picture in element.iter():
            if local(picture) != "image" or any(local(above) == "notes" for above in picture.iterancestors()):
                continue
            name = attribute(picture, "href") or ""
            inner = next(children(picture, "binary-data"), None)
            if inner is not None:
                found[str(len(found))] = partial(of_data_url, f"data:image/x;base64,{inner.text or ''}")
            elif self._parts is not None and posixpath.normpath(name) in self._parts.names:
                found[name] = partial(self._parts.read, posixpath.normpath(name))
            else:  # it is in a file of its own
                found[name] = bytes
        return list(found.values())

    def begin(self, style: str) -> None:
        """Begin a list that does not go on with the numbers of another one."""
        self._counts.pop(style, None)

    def mark(self, style: str, depth: int, start: str | None = None) -> str:
        """Return what stands before the next item of a list, at a depth from 1: a number, or a dash.

        Args:
            style: The name of the style of the list.
            depth: How deep the item is.
            start: The number that the item states, if any.
        """
        return self._mark(style, depth, start) or "-"

    def number(self, depth: int) -> str:
        """Return the number of the next heading, at a level from 1; empty without numbers."""
        return self._mark(_OUTLINE, depth, None)

    def _mark(self, style: str, depth: int, start: str | None) -> str:
        levels = self._levels.get(style, {})
        level = levels.get(depth)
        if level is None or not level.kind:
            return ""
        counts = self._counts.setdefault(style, {})
        first = int(start) if start and start.isdecimal() and len(start) < 9 else None
        counts[depth] = counts.get(depth, level.start - 1) + 1 if first is None else first
        for deeper in [key for key in counts if key > depth]:
            del counts[deeper]
        shown = [
            written(counts.get(at, levels[at].start), levels[at].kind)
            for at in range(max(1, depth - level.shown + 1), depth + 1)
            if at in levels and levels[at].kind
        ]
        return f"{level.prefix}{'.'.join(shown)}{level.suffix}".strip()

    def _learn(self, tree: Any) -> None:
        for style in tree.iter():
            kind, name = local(style), attribute(style, "name") or ""
            if kind == "style" and any(
                local(found) == "text-properties" and attribute(found, "display") == "none" for found in style
            ):
                self._hidden.add(name)
            elif kind in ("list-style", "outline-style"):
                self._levels[_OUTLINE if kind == "outline-style" else name] = dict(_levels(style))


def _levels(style: Any) -> Iterator[tuple[int, _Level]]:
    for found in style:
        depth = attribute(found, "level") or ""
        if depth.isdecimal() and 0 < len(depth) < 3 and int(depth) <= _DEEPEST:
            start, shown = (attribute(found, name) or "1" for name in ("start-value", "display-levels"))
            yield (
                int(depth),
                _Level(
                    _FORMATS.get(attribute(found, "num-format") or "", ""),
                    attribute(found, "num-prefix") or "",
                    attribute(found, "num-suffix") or "",
                    int(start) if start.isdecimal() and len(start) < 9 else 1,
                    int(shown) if shown.isdecimal() and len(shown) < 3 else 1,
                ),
            )


def _running(styles: Any) -> Iterator[Any]:
    pages = path_of(styles, "master-styles")
    for page in () if pages is None else children(pages, "master-page"):
        yield from children(page, *_RUNNING)
