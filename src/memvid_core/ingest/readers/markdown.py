"""Headings and sections of a Markdown text.

Follows CommonMark 0.31 for top-level headings: ATX and setext, but not inside fenced code, comments, raw HTML or front
matter. Headings inside lists and quotes are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from memvid_core.ingest.readers.document import Outline, Section
from memvid_core.ingest.readers.markup_tables import pipe_tables

__all__ = ["markdown_headings", "markdown_sections"]

_ATX = re.compile(r" {0,1}(#{1,6})(?=[ \t]|$)")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+){0,8}(`{3,}(?=[^`]*$)|~{3,})")
_CONTAINER = re.compile(r" {0,3}(?:>|[-*+](?:[ \t]|$)|\d{1,9}[.)](?:[ \t]|$))")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|$)")
_RAW = re.compile(r" {0,3}(?:<!--|<(pre|script|style|textarea)(?=[\s>]|$))", re.IGNORECASE)
# HTML blocks of type 6 and 7 end at a blank line; those of type 7 cannot interrupt a paragraph.
_HTML_TAGS = """
address article aside base basefont blockquote body caption center col colgroup dd details dialog dir div dl dt fieldset
figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hr html iframe legend li link main menu
menuitem nav noframes ol optgroup option p param search section summary table tbody td tfoot th thead title tr track ul
"""
_HTML = re.compile(rf" {{0,3}}</?(?:{'|'.join(_HTML_TAGS.split())})(?=[\s>]|/>|$)", re.IGNORECASE)
_LONE_TAG = re.compile(r" {0,3}</?[A-Za-z][A-Za-z0-9-]*(?:\s[^<>]*)?/?>[ \t]*$")

_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_MARKS = re.compile(r"(?<!\\)(`+|\*{1,3}|~~|(?<!\w)_{1,3}|_{1,3}(?!\w)|</?[A-Za-z][^<>]*>)")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_LONGEST_TITLE = 300


def markdown_headings(text: str) -> Iterator[tuple[int, int, int, str]]:
    r"""Yield the start, the end of the line, the level from 1, and the plain title of every heading.

    Example:
        >>> list(markdown_headings("# Guide\n\n```sh\n# no heading\n```\n\nUse *it*\n------\n"))
        [(0, 8, 1, 'Guide'), (33, 49, 2, 'Use it')]
    """
    front = _FRONT_MATTER.match(text)
    place = front.end() if front else 0
    fence, raw, html = "", "", False
    paragraph, other = -1, False  # start of an open top-level paragraph; or in another block that takes lazy lines
    while place < len(text):
        end = text.find("\n", place)
        after = end + 1 if end >= 0 else len(text)
        line = text[place : end if end >= 0 else after].rstrip("\r")
        start, place = place, after
        if fence:
            bare = line.strip()
            if bare.startswith(fence) and not bare.strip(fence[0]):
                fence = ""
            continue
        if raw:
            raw = "" if raw in line.lower() else raw
            continue
        if not line.strip():
            paragraph, other, html = -1, False, False
            continue
        if html:
            continue
        found = _FENCE.match(line)
        if found and not (paragraph >= 0 and line.startswith("    ")):
            fence, paragraph, other = found.group(1), -1, False
            continue
        found = _RAW.match(line)
        if found:
            raw = f"</{found.group(1).lower()}>" if found.group(1) else "-->"
            raw = "" if raw in line.lower()[found.end() :] else raw
            paragraph, other = -1, False
            continue
        if _HTML.match(line) or (paragraph < 0 and not other and _LONE_TAG.match(line)):
            paragraph, other, html = -1, False, True
            continue
        found = _ATX.match(line)
        if found:
            yield start, after, len(found.group(1)), _plain(_atx_title(line[found.end() :]))
            paragraph, other = -1, False
            continue
        found = _SETEXT.match(line)
        if found and paragraph >= 0:
            yield paragraph, after, 1 if found.group(1)[0] == "=" else 2, _plain(text[paragraph:start])
            paragraph = -1
        elif _RULE.match(line):
            paragraph, other = -1, False
        elif _CONTAINER.match(line):
            paragraph, other = -1, True
        elif paragraph < 0 and not other:
            if line.startswith(("    ", "\t")):
                continue  # indented code
            paragraph = start


def markdown_sections(text: str, metadata: dict[str, Any] | None = None) -> list[Section]:
    r"""Return the text as one section per heading, with the path of headings in ``heading``.

    A heading directly followed by a deeper heading starts that one's section. Joined, the sections are the text.

    Args:
        text: Markdown, newlines as ``\n``.
        metadata: Metadata for every section.
    """
    outline = Outline()
    sections: list[Section] = []
    begin, level, body, path = 0, 0, 0, ""

    def close(until: int) -> None:
        if until > begin:
            here = {**(metadata or {}), **({"heading": path} if path else {})}
            body = text[begin:until]
            sections.append(Section(body, here, "prose", begin, pipe_tables(body)))

    for start, after, depth, title in markdown_headings(text):
        if not (level and depth > level and not text[body:start].strip()):
            close(start)
            begin = start
        path, level, body = outline.enter(depth, title), depth, after
    close(len(text))
    return sections


def _atx_title(rest: str) -> str:
    """Return the text after the marks of an ATX heading, without closing marks."""
    title = rest.strip(" \t")
    bare = title.rstrip("#")
    return bare.rstrip(" \t") if not bare or bare[-1] in " \t" else title


def _plain(title: str) -> str:
    title = title.strip()[:_LONGEST_TITLE]
    return re.sub(r"\s+", " ", _ESCAPE.sub(r"\1", _MARKS.sub("", _LINK.sub(r"\1", title)))).strip()
