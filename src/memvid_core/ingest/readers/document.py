"""The result of a reader: a document, its sections, and their headings."""

from __future__ import annotations

import re
from typing import Any

import msgspec

__all__ = ["Chunk", "Document", "Outline", "Section"]


class Section(msgspec.Struct, frozen=True):
    r"""Hold a part of a document that is never joined with the next: a page, a slide, a sheet, the text of a heading.

    Attributes:
        text: The readable text, newlines as ``\n``.
        metadata: Metadata of the whole section: ``page``, ``heading``, ``sheet``, ``language`` …
        kind: How it is split: ``"prose"``, ``"code"`` or ``"rows"`` (a row per line).
        offset: Where ``text`` starts in the text of its page or file, in characters.
        tables: The tables in ``text``: where each starts, where its header ends, and where the table ends. A table that
            is longer than a chunk repeats its header in each of its chunks.
        times: Where the cues of a transcript start in ``text``, with their start and end in seconds. Chunks get
            ``time_start`` and ``time_end`` from them.
    """

    text: str
    metadata: dict[str, Any] = {}
    kind: str = "prose"
    offset: int = 0
    tables: list[tuple[int, int, int]] = []
    times: list[tuple[int, float, float]] = []


class Document(msgspec.Struct, frozen=True):
    """Hold a file as read: its source, its format, and its sections in order.

    Attributes:
        source: The path with ``/`` between its parts.
        format: The name of the format, such as ``"pdf"``.
        sections: The sections in reading order.
        warnings: What was left out or repaired, in sentences.
    """

    source: str
    format: str
    sections: list[Section]
    warnings: list[str] = []


class Chunk(msgspec.Struct, frozen=True):
    """Hold a piece of text and the metadata of its location.

    ``metadata`` always has ``chunk`` (the position among the chunks of its source, from 0) and ``start`` (the offset in
    the text of its page or file, in characters); ``source``, ``heading``, ``page``, ``sheet``, ``row`` and ``language``
    if known.
    """

    text: str
    metadata: dict[str, Any]


class Outline:
    """Track the path of headings of a position in a document.

    Example:
        >>> outline = Outline()
        >>> outline.enter(1, "Guide"), outline.enter(3, "Install"), outline.enter(2, "Use")
        ('Guide', 'Guide > Install', 'Guide > Use')
    """

    def __init__(self) -> None:
        self._stack: list[tuple[int, str]] = []

    def enter(self, level: int, title: str) -> str:
        """Enter a heading and return its path; headings of its level and below are left.

        Args:
            level: The level, 1 for the topmost.
            title: The text of the heading; runs of white space become one space.
        """
        while self._stack and self._stack[-1][0] >= level:
            self._stack.pop()
        title = re.sub(r"\s+", " ", title).strip()
        if title:
            self._stack.append((level, title))
        return self.path

    @property
    def path(self) -> str:
        """The headings from the top, joined by ``" > "``; empty before the first."""
        return " > ".join(title for _, title in self._stack)


class SectionBuilder:
    """Collect blocks and headings of a flowing document (DOCX, HTML) into one section per heading.

    A heading directly followed by a deeper heading belongs to that one's section, so no chunk is only a title.
    """

    def __init__(self, metadata: dict[str, Any] | None = None) -> None:
        self._metadata = metadata or {}
        self._outline = Outline()
        self._heading = ""
        self._level = 0
        self._bare = True
        self._blocks: list[str] = []
        self._tables: dict[int, int] = {}
        self._sections: list[Section] = []

    def heading(self, level: int, title: str) -> None:
        """Start a section under a heading; its title is the first line of the text."""
        title = re.sub(r"\s+", " ", title).strip()
        if not title:
            return
        if not (self._bare and self._blocks and level > self._level):
            self._flush()
        self._heading = self._outline.enter(level, title)
        self._level = level
        self._blocks.append(title)
        self._bare = True

    def block(self, text: str) -> None:
        """Add a paragraph, a list item or a table."""
        if text and not text.isspace():
            self._blocks.append(text.strip("\n"))
            self._bare = False

    def table(self, rows: list[list[str]]) -> None:
        """Add a table as a line per row; its first row is its header."""
        lines = [" | ".join(cells) for cells in rows if any(cells)]
        if len(lines) > 1 and len(rows[0]) > 1:
            self._tables[len(self._blocks)] = len(lines[0])
        self.block("\n".join(lines))

    @property
    def has_text(self) -> bool:
        """Whether anything was added so far."""
        return bool(self._sections or self._blocks)

    def finish(self) -> list[Section]:
        """Return the collected sections."""
        self._flush()
        return self._sections

    def _flush(self) -> None:
        if self._blocks:
            metadata = dict(self._metadata)
            if self._heading:
                metadata["heading"] = self._heading
            self._sections.append(Section("\n\n".join(self._blocks), metadata, tables=self._places()))
        self._blocks = []
        self._tables = {}
        self._bare = True

    def _places(self) -> list[tuple[int, int, int]]:
        places, start = [], 0
        for number, block in enumerate(self._blocks):
            if number in self._tables:
                places.append((start, start + self._tables[number], start + len(block)))
            start += len(block) + 2
        return places
