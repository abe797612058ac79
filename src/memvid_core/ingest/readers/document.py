"""What a reader hands on: a document, its sections, and the headings they stand under."""

from __future__ import annotations

import re
from typing import Any

import msgspec

__all__ = ["Chunk", "Document", "Outline", "Section"]


class Section(msgspec.Struct, frozen=True):
    r"""A stretch of a document that is never joined with the next: a page, a slide, a sheet, a part under one heading.

    Attributes:
        text: The readable text, newlines as ``\n``.
        metadata: What is true of all of it: ``page``, ``heading``, ``sheet``, ``language`` …
        kind: How it is cut: ``"prose"``, ``"code"`` or ``"rows"`` (a line is a row).
        offset: Where ``text`` starts in the text of its page or file, in characters.
    """

    text: str
    metadata: dict[str, Any] = {}
    kind: str = "prose"
    offset: int = 0


class Document(msgspec.Struct, frozen=True):
    """A file as read: where it came from, what it was read as, and its sections in order."""

    source: str
    format: str
    sections: list[Section]


class Chunk(msgspec.Struct, frozen=True):
    """A piece of text, and the metadata that says where it was.

    ``metadata`` always has ``chunk`` (position among the chunks of its source, from 0) and ``start`` (offset in the
    text of its page or file, in characters); ``source``, ``heading``, ``page``, ``sheet``, ``row``, ``language``
    where they are known.
    """

    text: str
    metadata: dict[str, Any]


class Outline:
    """The path of headings that a place in a document stands under.

    Example:
        >>> outline = Outline()
        >>> outline.enter(1, "Guide"), outline.enter(3, "Install"), outline.enter(2, "Use")
        ('Guide', 'Guide > Install', 'Guide > Use')
    """

    def __init__(self) -> None:
        self._stack: list[tuple[int, str]] = []

    def enter(self, level: int, title: str) -> str:
        """Enter a heading and return the path to it; headings of its level and below are left.

        Args:
            level: 1 for the topmost.
            title: Its text; runs of white space become one space.
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
    """Blocks and headings of a flowing document (DOCX, HTML), gathered into one section a heading.

    A heading with nothing under it but a deeper heading goes into that one's section, so no chunk is a bare title.
    """

    def __init__(self, metadata: dict[str, Any] | None = None) -> None:
        self._metadata = metadata or {}
        self._outline = Outline()
        self._heading = ""
        self._level = 0
        self._bare = True
        self._blocks: list[str] = []
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

    def finish(self) -> list[Section]:
        """Return the sections gathered so far."""
        self._flush()
        return self._sections

    def _flush(self) -> None:
        if self._blocks:
            metadata = dict(self._metadata)
            if self._heading:
                metadata["heading"] = self._heading
            self._sections.append(Section("\n\n".join(self._blocks), metadata))
        self._blocks = []
        self._bare = True
