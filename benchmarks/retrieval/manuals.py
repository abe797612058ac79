"""Manuals in several languages with titles as questions, read from packages of Debian: no download but ``apt-get``.

    apt-get download gnome-user-docs libreoffice-help-ko

GNOME Help (CC BY-SA 3.0) has pages with a title and a summary, each of which is a question that the rest of the page
answers. LibreOffice Help (MPL 2.0) has sections; a heading that occurs once is a question.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

__all__ = ["LANGUAGES", "gnome", "libreoffice"]

LANGUAGES = {"C": "English", "ko": "Korean", "de": "German", "fr": "French", "ru": "Russian"}
_MALLARD = "{http://projectmallard.org/1.0/}"
_SHORTEST = 80
_HANGUL = re.compile("[가-힣]")
Pairs = list[tuple[list[str], str]]
"""The questions that a text answers, and the text."""


def _files(package: Path, beginning: str) -> Iterator[bytes]:
    """Yield the files of a Debian package whose path begins so, in the order of their paths."""
    data = package.read_bytes()
    at = 8  # after the magic number of an ar archive
    while at < len(data):
        name, size = data[at : at + 16].decode().strip(), int(data[at + 48 : at + 58])
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(data[at + 60 : at + 60 + size])) as archive:
                members = sorted((m for m in archive if m.isfile() and m.name.startswith(beginning)), key=_path)
                for member in members:
                    file = archive.extractfile(member)
                    assert file is not None
                    yield file.read()
        at += 60 + size + size % 2


def _path(member: tarfile.TarInfo) -> str:
    return member.name


def gnome(package: Path, language: str) -> Pairs:
    """Return the pages of GNOME Help in a language; pages of the Korean edition that are not translated are omitted."""
    pairs: Pairs = []
    for data in _files(package, f"./usr/share/help/{language}/gnome-help/"):
        if not data.lstrip().startswith(b"<"):
            continue
        page = ElementTree.fromstring(data)
        title, summary = page.find(f"{_MALLARD}title"), page.find(f"{_MALLARD}info/{_MALLARD}desc")
        omitted = {f"{_MALLARD}title", f"{_MALLARD}info"}
        text = " ".join(_text(part) for part in page if part.tag not in omitted)
        translated = language != "ko" or len(_HANGUL.findall(text)) >= len(text) / 4
        if title is not None and len(text) >= _SHORTEST and translated:
            asked = [_text(part) for part in (title, summary) if part is not None]
            pairs.append(([question for question in asked if len(question) > 10 or question == asked[0]], text))
    return pairs


def _text(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def libreoffice(package: Path, language: str) -> Pairs:
    """Return the sections of LibreOffice Help in Korean or another language, without repeated ones."""
    sections: dict[str, str] = {}
    for data in _files(package, f"./usr/share/libreoffice/help/{language}/text/"):
        reader = _Sections()
        reader.feed(data.decode("utf-8"))
        reader.finish()
        for heading, text in reader.found:
            mostly = language != "ko" or (len(_HANGUL.findall(text)) >= 0.3 * len(text) and _HANGUL.search(heading))
            if len(text) > _SHORTEST and mostly:
                sections.setdefault(text[:1_200], heading)
    headings = Counter(sections.values())
    return [([heading] if headings[heading] == 1 else [], text) for text, heading in sections.items()]


class _Sections(HTMLParser):
    """Collect the headings of a page with the text below each."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._heading: str | None = None
        self._parts: list[str] = []
        self._shown = False  # the navigation comes first
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs).get("id")
        self._shown = (self._shown or named == "DisplayArea") and named != "DonationFrame"
        self._hidden += tag in ("script", "style")
        if tag in ("h1", "h2", "h3"):
            self.finish()
        self._parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")
        if tag in ("h1", "h2", "h3"):
            self._heading, self._parts = self._joined(), []

    def handle_data(self, data: str) -> None:
        if self._shown and not self._hidden:
            self._parts.append(data)

    def finish(self) -> None:
        if self._heading:
            self.found.append((self._heading, self._joined()))
        self._heading, self._parts = None, []

    def _joined(self) -> str:
        return " ".join("".join(self._parts).split())
