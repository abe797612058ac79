"""Charts and diagrams (SmartArt) of Office documents as text."""

from __future__ import annotations

from functools import partial
from typing import Any

from memvid_core.ingest.readers.ooxml import Package, attribute, child, children, local, path_of
from memvid_core.ingest.readers.pictures import Picture

__all__ = ["chart_rows", "chart_title", "diagram_lines", "drawing_text", "graphic_blocks", "pictures_of"]

_CATEGORIES = ("cat", "xVal")
_VALUES = ("val", "yVal")
_MOST_POINTS = 10_000  # of a series


def chart_title(chart: Any) -> str:
    """Return the title of a chart part; empty without one."""
    title = path_of(chart, "chart", "title", "tx", "rich")
    return "" if title is None else drawing_text(title)


def chart_rows(chart: Any) -> list[list[str]]:
    """Return the data of a chart as a table: a header with the names of the series, and a row per category."""
    names: list[str] = []
    columns: list[dict[int, str]] = []
    categories: dict[int, str] = {}
    for series in (found for found in chart.iter() if local(found) == "ser"):
        label = child(series, "tx")
        names.append(" ".join(_points(label).values()) if label is not None else f"series {len(names) + 1}")
        for part in children(series, *_CATEGORIES):
            categories = categories or _points(part)
        values = child(series, "val")
        columns.append(_points(values if values is not None else child(series, "yVal")))
    numbers = sorted({*categories, *(number for column in columns for number in column)})
    if not numbers:
        return []
    rows = [
        [categories.get(number, str(number + 1)), *(column.get(number, "") for column in columns)] for number in numbers
    ]
    return [["", *names], *rows]


def _points(element: Any) -> dict[int, str]:
    points: dict[int, str] = {}
    if element is None:
        return points
    for point in element.iter():
        if local(point) == "pt" and len(points) < _MOST_POINTS:
            value = child(point, "v")
            index = attribute(point, "idx") or "0"
            if value is not None and value.text and index.isdecimal():
                points[int(index)] = value.text.strip()
        elif local(point) == "v" and local(point.getparent()) == "tx":
            points[0] = (point.text or "").strip()
    return points


def diagram_lines(data: Any) -> list[str]:
    """Return the texts of a diagram's data part, in the order of its points."""
    texts = [
        drawing_text(point) for point in data.iter() if local(point) == "pt" and attribute(point, "type") != "pres"
    ]
    return [text for text in texts if text]


def drawing_text(element: Any) -> str:
    """Return the text of a DrawingML element, a line per paragraph."""
    lines = []
    for paragraph in (found for found in element.iter() if local(found) == "p"):
        pieces = []
        for found in paragraph.iter():
            if local(found) == "t":
                pieces.append(found.text or "")
            elif local(found) == "br":
                pieces.append("\n")
        lines.append("".join(pieces))
    return "\n".join(line for line in lines if line.strip())


def graphic_blocks(package: Package, part: str, graphic: Any) -> list[str | list[list[str]]]:
    """Return the charts and diagrams that an element refers to: titles and lines as texts, data as tables."""
    relations = package.relations(part)
    blocks: list[str | list[list[str]]] = []
    for found in graphic.iter():
        name = local(found)
        reference = attribute(found, "id" if name == "chart" else "dm") if name in ("chart", "relIds") else None
        relation = relations.get(reference or "")
        for tree in () if relation is None else package.trees(relation.target):
            if name == "relIds":
                blocks.append("\n".join(f"- {line}" for line in diagram_lines(tree)))
            else:
                blocks += [chart_title(tree), chart_rows(tree)]
    return [block for block in blocks if block]


def pictures_of(package: Package, part: str, element: Any) -> list[Picture]:
    """Return the pictures that an element of a part shows, each once, in order."""
    relations = package.relations(part)
    found: dict[str, Picture] = {}
    for picture in element.iter():
        name = local(picture)
        if name not in ("blip", "imagedata"):
            continue
        reference = attribute(picture, "embed" if name == "blip" else "id") or ""
        relation = relations.get(reference)
        if relation is None:  # it is in a file of its own
            found[f"{reference} {attribute(picture, 'link')}"] = bytes
        else:
            found.setdefault(relation.target, partial(package.read, relation.target))
    return list(found.values())
