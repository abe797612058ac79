"""PPTX: the text of each slide in reading order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section, SectionBuilder
from memvid_core.ingest.readers.drawings import drawing_text, graphic_blocks, pictures_of
from memvid_core.ingest.readers.formulas import formula
from memvid_core.ingest.readers.ooxml import Package, attribute, child, children, local, path_of
from memvid_core.ingest.readers.pictures import Picture, described, read_pictures
from memvid_core.ingest.readers.remarks import leaving_out

__all__ = ["read_pptx", "reading_order"]

_TITLES = ("title", "ctrTitle")
_NOT_CONTENT = ("sldNum", "dt")  # placeholders of the slide's number and the date
_RUNNING = ("ftr", "hdr")
_MOST_SHAPES = 400  # that are ordered by columns; more are ordered by lines alone


class Box(NamedTuple):
    """Describe where a shape is: its edges in any unit."""

    left: int
    top: int
    right: int
    bottom: int


def read_pptx(path: Path) -> list[Section]:
    """Read a PPTX as one section per slide, with ``slide`` and ``page`` from 1 and its title as ``heading``.

    The title comes first, then the shapes from top to bottom and left to right, then notes and comments. Damaged parts
    are left out with a warning.
    """
    with Package(path) as package:
        main = package.main()
        relations = package.relations(main)
        slides = child(package.main_tree("presentation"), "sldIdLst")
        sections: list[Section] = []
        seen: set[str] = set()
        for number, item in enumerate(() if slides is None else children(slides, "sldId"), 1):
            relation = relations.get(_relation_id(item))
            with leaving_out(f"slide {number}"):
                if relation is None:
                    raise IngestError("damaged: it is not in the file")
                sections += _Slide(package, relation.target, seen).sections(number)
        return sections


def _relation_id(element: Any) -> str:
    # sldId has two attributes called id; the one with a namespace is the relation.
    return next((str(value) for key, value in element.items() if key.endswith("}id")), "")


class _Slide:
    def __init__(self, package: Package, part: str, seen: set[str]) -> None:
        self._package = package
        self._part = part
        self._seen = seen
        self._has_text = False
        self._places: dict[tuple[str, str], Box] = {}
        for layout in package.related(part, "slideLayout"):
            for tree in package.trees(*package.related(layout, "slideMaster"), layout):
                self._learn_places(tree)

    def sections(self, number: int) -> list[Section]:
        tree = self._package.tree(self._part)
        shapes = path_of(tree, "cSld", "spTree")
        title = "" if shapes is None else next(filter(None, map(_title_of, shapes.iter())), "")
        metadata: dict[str, Any] = {"page": number, "slide": number}
        if title:
            metadata["heading"] = title
        if attribute(tree, "show") == "0":
            metadata["hidden"] = True
        builder = SectionBuilder(metadata)
        for block in self._blocks(shapes) if shapes is not None else ():
            builder.table(block) if isinstance(block, list) else builder.block(block.strip())
        shown = [] if self._has_text else read_pictures(self._pictures(tree), metadata, "slides", number)
        for block in (*self._notes(), *self._comments()):
            builder.block(block)
        return [*shown, *builder.finish()]

    def _pictures(self, slide: Any) -> list[Picture]:
        content = child(slide, "cSld")
        shapes = () if content is None else (*children(content, "bg"), *children(content, "spTree"))
        return [picture for found in shapes for picture in pictures_of(self._package, self._part, found)]

    def _learn_places(self, tree: Any) -> None:
        shapes = path_of(tree, "cSld", "spTree")
        for shape in () if shapes is None else children(shapes, "sp"):
            key, box = _placeholder(shape), _own_box(shape)
            if key is not None and box is not None:
                self._places[key] = box
                self._places.setdefault((key[0], ""), box)

    def _box(self, shape: Any) -> Box:
        box = _own_box(shape)
        key = _placeholder(shape)
        if box is None and key is not None:
            box = self._places.get(key) or self._places.get((key[0], ""))
            if box is None:
                box = next((place for (_, index), place in self._places.items() if index == key[1]), None)
        return box or Box(0, 0, 0, 0)

    def _blocks(self, parent: Any) -> Iterator[str | list[list[str]]]:
        shapes = list(_shapes(parent))
        titles = [shape for shape in shapes if _title_of(shape)]
        others = [shape for shape in shapes if shape not in titles]
        for shape in [*titles, *reading_order([(self._box(shape), shape) for shape in others])]:
            yield from self._shape(shape)

    def _shape(self, shape: Any) -> Iterator[str | list[list[str]]]:
        name = local(shape)
        if name == "grpSp":
            yield from self._blocks(shape)
            return
        key = _placeholder(shape)
        if key is not None and (key[0] in _NOT_CONTENT or self._is_repeated(key[0], shape)):
            return
        body = child(shape, "txBody")
        text = "" if body is None else _paragraphs(body)
        blocks: list[str | list[list[str]]] = [text if text.strip() else _alternative_text(shape)]
        if name == "graphicFrame":
            blocks += (_table(table) for table in shape.iter() if local(table) == "tbl")
            blocks += graphic_blocks(self._package, self._part, shape)
        blocks = [block for block in blocks if block]
        # A footer is not what the slide is about.
        self._has_text |= bool(blocks) and (key is None or key[0] not in _RUNNING)
        yield from blocks

    def _is_repeated(self, kind: str, shape: Any) -> bool:
        """Return whether a footer or header is one that an earlier slide has."""
        text = drawing_text(shape)
        repeated = kind in _RUNNING and text in self._seen
        if kind in _RUNNING:
            self._seen.add(text)
        return repeated

    def _notes(self) -> Iterator[str]:
        for tree in self._package.trees(*self._package.related(self._part, "notesSlide")):
            shapes = path_of(tree, "cSld", "spTree")
            for shape in () if shapes is None else children(shapes, "sp"):
                key = _placeholder(shape)
                if key is not None and key[0] == "body":
                    yield drawing_text(shape)

    def _comments(self) -> Iterator[str]:
        for tree in self._package.trees(*self._package.related(self._part, "comments")):
            for comment in tree.iter():
                if local(comment) in ("cm", "reply"):
                    plain, body = child(comment, "text"), child(comment, "txBody")
                    text = (plain.text or "") if plain is not None else "" if body is None else drawing_text(body)
                    if text.strip():
                        yield f"Comment: {text}"


def reading_order(boxes: list[tuple[Box, Any]]) -> list[Any]:
    """Return items in reading order: where a gap divides all of them, those above it first, then those left of it.

    Example:
        >>> at = lambda left, top: Box(left, top, left + 4, top + 2)
        >>> reading_order([(at(5, 4), "d"), (at(5, 0), "b"), (at(0, 4), "c"), (at(0, 0), "a")])
        ['a', 'b', 'c', 'd']
    """
    if len(boxes) > _MOST_SHAPES:
        return [item for _, item in sorted(boxes, key=lambda pair: (pair[0].top, pair[0].left))]
    ordered: list[Any] = []
    waiting = [boxes]
    while waiting:
        group = waiting.pop()
        parts = _divided(group, 1, 3) if len(group) > 1 else [group]
        parts = _divided(group, 0, 2) if len(parts) == 1 and len(group) > 1 else parts
        if len(parts) > 1:
            waiting += reversed(parts)
        else:
            ordered += [item for _, item in sorted(group, key=lambda pair: (pair[0].top, pair[0].left))]
    return ordered


def _divided(group: list[tuple[Box, Any]], start: int, end: int) -> list[list[tuple[Box, Any]]]:
    parts: list[list[tuple[Box, Any]]] = []
    reach = 0
    for pair in sorted(group, key=lambda pair: pair[0][start]):
        # Boxes that overlap by a few percent are still one above the other.
        slack = (pair[0][end] - pair[0][start]) // 20
        if parts and pair[0][start] < reach - slack:
            parts[-1].append(pair)
        else:
            parts.append([pair])
        reach = max(reach, pair[0][end])
    return parts


def _shapes(parent: Any) -> Iterator[Any]:
    for found in parent:
        name = local(found)
        if name in ("sp", "pic", "graphicFrame", "grpSp"):
            hidden = _properties(found)
            if hidden is None or attribute(hidden, "hidden") not in ("1", "true"):
                yield found
        elif name == "AlternateContent":
            form = child(found, "Choice")
            yield from _shapes(form if form is not None else found)


def _properties(shape: Any) -> Any:
    found = next((item for item in shape if local(item).startswith("nv")), None)
    return None if found is None else child(found, "cNvPr")


def _placeholder(shape: Any) -> tuple[str, str] | None:
    found = next((item for item in shape if local(item).startswith("nv")), None)
    mark = path_of(found, "nvPr", "ph")
    return None if mark is None else (attribute(mark, "type") or "body", attribute(mark, "idx") or "")


def _title_of(shape: Any) -> str:
    key = _placeholder(shape) if local(shape) == "sp" else None
    return " ".join(drawing_text(shape).split()) if key is not None and key[0] in _TITLES else ""


def _own_box(shape: Any) -> Box | None:
    place = path_of(shape, "spPr", "xfrm")
    place = path_of(shape, "grpSpPr", "xfrm") if place is None else place
    place = child(shape, "xfrm") if place is None else place
    offset, size = path_of(place, "off"), path_of(place, "ext")
    if offset is None or size is None:
        return None
    left, top, width, height = (
        _number(found, name) for found, name in ((offset, "x"), (offset, "y"), (size, "cx"), (size, "cy"))
    )
    return Box(left, top, left + width, top + height)


def _number(element: Any, name: str) -> int:
    text = attribute(element, name) or "0"
    return int(text) if text.lstrip("-").isdecimal() and len(text) < 20 else 0


def _paragraphs(body: Any) -> str:
    lines: list[str] = []
    counts: dict[int, int] = {}
    for paragraph in children(body, "p"):
        properties = child(paragraph, "pPr")
        level = 0 if properties is None else _number(properties, "lvl")
        numbered = None if properties is None else child(properties, "buAutoNum")
        text = "".join(_runs(paragraph))
        counts = {at: count for at, count in counts.items() if at < level or (at == level and numbered is not None)}
        if numbered is not None and text.strip():
            counts[level] = counts.get(level, (_number(numbered, "startAt") or 1) - 1) + 1
            text = f"{counts[level]}. {text}"
        lines.append(text)
    return "\n".join(line for line in lines if line.strip())


def _runs(element: Any) -> Iterator[str]:
    for found in element:
        name = local(found)
        if name == "t":
            yield found.text or ""
        elif name == "br":
            yield "\n"
        elif name in ("oMath", "oMathPara"):
            yield formula(found)
        elif name == "AlternateContent":
            form = child(found, "Choice")
            yield from _runs(form if form is not None else found)
        elif name not in ("rPr", "pPr", "endParaRPr"):
            yield from _runs(found)


def _table(table: Any) -> list[list[str]]:
    rows: list[list[str]] = []
    for row in children(table, "tr"):
        cells: list[str] = []
        for column, cell in enumerate(children(row, "tc")):
            body = child(cell, "txBody")
            text = "" if body is None else " ".join(_paragraphs(body).split())
            if attribute(cell, "vMerge") in ("1", "true") and rows and column < len(rows[-1]):
                text = rows[-1][column]  # a cell that is merged over several rows stands in each of them
            cells.append(text)
        rows.append(cells)
    return rows


def _alternative_text(shape: Any) -> str:
    properties = _properties(shape)
    return "" if properties is None else described(attribute(properties, "descr"))
