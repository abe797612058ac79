r"""Markdown: a category of items as a page that people read and edit, and such a page read back.

A page has front matter, a heading for each type of memory, and a bullet for each item. A bullet ends with the reference
of its item; one without a reference is new. Further lines of an item are indented. Lines that begin with ``>`` and
headings carry no items.

>>> item = Item(id="item-1", memory_type="profile", summary="I live in Turin.", categories=["home"])
>>> print(write_page("home", "Where somebody lives", [item]))
---
name: "home"
description: "Where somebody lives"
type: category
---
<BLANKLINE>
# home
<BLANKLINE>
## Profile
<BLANKLINE>
- I live in Turin. [ref:item-1]
<BLANKLINE>
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from memvid_core.agent.items import MEMORY_TYPES
from memvid_core.agent.records import Item

__all__ = ["Bullet", "Page", "file_stem", "plain", "read_page", "write_page"]

_BULLET: Final = re.compile(r"[-*+] +(?P<text>.*)")
_REF: Final = re.compile(r"\[ref:(?P<id>[^\[\]\s]+)\]\s*\Z")
_FIELD: Final = re.compile(r"(?P<key>\w+):\s*(?P<value>.*)")
_UNSAFE: Final = re.compile(r"[^\w.-]+")
_RESERVED: Final = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d|memory|readme)(?:\..*)?", re.IGNORECASE)
_LONGEST_STEM: Final = 60


class Bullet(NamedTuple):
    """A bullet of a page: its text, the id of its item if it names one, and the type that its heading names."""

    text: str
    ref: str | None
    memory_type: str | None


class Page(NamedTuple):
    """A page as it was read. ``kind`` is the ``type`` of its front matter; None if it has no front matter."""

    name: str | None
    kind: str | None
    bullets: list[Bullet]


def plain(text: str) -> str:
    r"""Return a text as it comes back from a page: newlines as ``\n``, no spaces at the ends of lines.

    Example:
        >>> plain("one  \r\ntwo\n")
        'one\ntwo'
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def file_stem(name: str) -> str:
    """Return a name of a file for the name of a category, without what some systems refuse.

    Example:
        >>> file_stem("work/life: 2026"), file_stem("con"), file_stem("취향")
        ('work_life_2026', 'con_', '취향')
    """
    stem = _UNSAFE.sub("_", name).strip("._-")[:_LONGEST_STEM].rstrip("._-") or "category"
    return f"{stem}_" if _RESERVED.fullmatch(stem) else stem


def write_page(name: str, description: str, items: Sequence[Item], summary: str = "", *, kind: str = "category") -> str:
    """Return the page of a category.

    Args:
        name: The name of the category.
        description: What it is about.
        items: Its items, in the order of the bullets.
        summary: A summary to quote before them.
        kind: The ``type`` of the front matter.
    """
    about = [f"name: {_quoted(name)}", f"description: {_quoted(description)}", f"type: {kind}"]
    lines = ["---", *about, "---", "", f"# {' '.join(name.split())}", ""]
    if summary:
        lines += [*(f"> {line}".rstrip() for line in plain(summary).split("\n")), ""]
    for memory_type in MEMORY_TYPES:
        inside = [item for item in items if item.memory_type == memory_type]
        if inside:
            lines += [f"## {memory_type.capitalize()}", "", *map(_bullet, inside), ""]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _bullet(item: Item) -> str:
    first, *rest = f"{plain(item.summary)} [ref:{item.id}]".split("\n")
    return "\n".join([f"- {first}", *(f"  {line}" if line else "" for line in rest)])


def read_page(text: str) -> Page:
    r"""Read a page.

    Example:
        >>> page = read_page("---\nname: home\ntype: category\n---\n\n- I live in Rome. [ref:item-1]\n- New.\n")
        >>> page.name, [(bullet.text, bullet.ref) for bullet in page.bullets]
        ('home', [('I live in Rome.', 'item-1'), ('New.', None)])
    """
    fields, lines = _front_matter(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    found: list[Bullet] = []
    memory_type: str | None = None
    open_lines: list[str] | None = None

    def close() -> None:
        if open_lines is not None and (bullet := _read_bullet(open_lines, memory_type)) is not None:
            found.append(bullet)

    for line in lines:
        begins = _BULLET.fullmatch(line)
        if begins is not None:
            close()
            open_lines = [begins["text"]]
        elif open_lines is not None and (not line.strip() or line.startswith((" ", "\t"))):
            open_lines.append(line[1:] if line.startswith("\t") else line[min(2, _indent(line)) :])
        else:
            close()
            open_lines = None
            memory_type = _heading_type(line, memory_type)
    close()
    return Page(fields.get("name"), fields.get("type"), found)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _front_matter(lines: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the fields between the first two lines of hyphens, and the lines after them."""
    lines = [lines[0].removeprefix("\ufeff"), *lines[1:]]
    if lines[0].rstrip() != "---":
        return {}, lines
    end = next((place for place, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), None)
    if end is None:
        return {}, lines
    found = (_FIELD.fullmatch(line.strip()) for line in lines[1:end])
    return {field["key"]: _unquoted(field["value"]) for field in found if field}, lines[end + 1 :]


def _unquoted(value: str) -> str:
    if value.startswith('"'):
        try:
            return str(json.loads(value))
        except ValueError:
            return value.strip('"')
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == "'" else value


def _heading_type(line: str, current: str | None) -> str | None:
    """Return the type that a heading names; None under any other heading of that level."""
    if not line.startswith("## "):
        return current
    word = line[3:].strip().casefold()
    return word if word in MEMORY_TYPES else None


def _read_bullet(lines: Iterable[str], memory_type: str | None) -> Bullet | None:
    text = plain("\n".join(lines))
    match = _REF.search(text)
    if match is None:
        return Bullet(text, None, memory_type) if text else None
    return Bullet(text[: match.start()].rstrip(), match["id"], memory_type)
