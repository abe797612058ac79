"""Markup languages with headings: reStructuredText, AsciiDoc, Org and LaTeX, as one section per heading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from memvid_core.ingest.readers.document import Outline, Section
from memvid_core.ingest.readers.encoded_data import without_encoded_data
from memvid_core.ingest.readers.encodings import decode
from memvid_core.ingest.readers.markup_pictures import (
    adoc_pictures,
    or_pictures,
    org_pictures,
    rst_pictures,
    tex_pictures,
)
from memvid_core.ingest.readers.markup_tables import adoc_tables, pipe_tables, rst_tables

__all__ = ["read_adoc", "read_org", "read_rst", "read_tex"]

# A heading, or the delimiter of a block in which there are none.
_ADOC = re.compile(r"^(?:(={1,6})[ \t]+(\S[^\n]*)|(?:-{4,}|\.{4,}|={4,}|\+{4,})[ \t]*)$", re.MULTILINE)
_ORG = re.compile(
    r"^(\*{1,12})[ \t]+(?:(?:TODO|DONE)[ \t]+)?(\S[^\n]{0,500}?)(?:[ \t]{1,80}:[\w@:]{1,200}:)?[ \t]{0,80}$",
    re.MULTILINE,
)
_RST = re.compile(
    r"^(?:([!-/:-@\[-`{-~])\1{2,}[ \t]*\n)?([^\s][^\n]{0,300}|[ \t][^\n]{0,300})\n([!-/:-@\[-`{-~])\3{2,}[ \t]*$",
    re.MULTILINE,
)
_TEX = re.compile(
    r"\\(part|chapter|section|subsection|subsubsection|paragraph)\*?(?:\[[^\]\n]{0,300}\])?\{((?:[^{}]|\{[^{}]*\})*)\}"
)
_TEX_LEVELS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph")
_COMMENT = re.compile(r"(?<!\\)%[^\n]*\n?")
_KEPT = re.compile(
    r"\\(?:textbf|textit|texttt|textsc|textrm|emph|underline|mbox|title|author|date|caption|footnote|url)\{([^{}]*)\}"
)
_HREF = re.compile(r"\\href\{[^{}]*\}\{([^{}]*)\}")
_DROPPED = re.compile(
    r"\\(?:label|ref|cite[a-z]*|includegraphics|usepackage|documentclass|bibliography|bibliographystyle|vspace|hspace|input"
    r"|begin|end|pagestyle|thispagestyle|setlength)\*?(?:\[[^\]]{0,500}\])?(?:\{[^{}]{0,500}\}){0,2}"
)
_SIGNS = re.compile(r"\\([%&$#_{}])")
_BARE = re.compile(
    r"\\(?:maketitle|tableofcontents|item|noindent|centering|newpage|clearpage|small|large|Large|bigskip|hline|toprule|midrule"
    r"|bottomrule)\b ?"
)
# The beginning and the end of a table, with what says how its columns are set.
_TABULAR = re.compile(
    r"(\\begin\{(?:tabular[x*]?|longtable)\}(?:\[[^\]\n]{0,20}\])?(?:\{(?:[^{}\n]|\{[^{}\n]*\}){0,300}\}){0,2}"
    r"|\\end\{(?:tabular[x*]?|longtable)\})"
)
_SPANS = re.compile(
    r"\\multi(?:column|row)\{[^{}]*\}\{[^{}]*\}\{([^{}]*)\}|\\(?:cline|cmidrule)(?:\([lr]*\))?\{[^{}]*\}"
)
_NEXT_CELL = re.compile(r"[ \t]{0,80}(?<!\\)&[ \t]{0,80}")

_Heading = tuple[int, int, str]  # where it starts, its level, its title


def _source(path: Path) -> str:
    """Return the text of a file; what encodes data is left out before it is taken for markup."""
    return without_encoded_data(decode(path.read_bytes()), code=True)


def read_adoc(path: Path) -> list[Section]:
    """Read AsciiDoc."""
    text, pictures = adoc_pictures(_source(path))
    text = adoc_tables(text)
    return or_pictures(_sections(text, _adoc_headings(text)), pictures)


def _adoc_headings(text: str) -> Iterator[_Heading]:
    fence = ""  # the line that ends an open block
    for found in _ADOC.finditer(text):
        line = found.group().rstrip()
        if found.group(1) is None:
            fence = "" if line == fence else fence or line
        elif not fence:
            yield found.start(), len(found.group(1)), found.group(2)


def read_org(path: Path) -> list[Section]:
    """Read Org."""
    text, pictures = org_pictures(_source(path))
    headings = ((found.start(), len(found.group(1)), found.group(2)) for found in _ORG.finditer(text))
    return or_pictures(_sections(text, headings), pictures)


def read_rst(path: Path) -> list[Section]:
    """Read reStructuredText; the level of a heading is given by the order in which its underlines first occur."""
    text, pictures = rst_pictures(_source(path))
    text = rst_tables(text)
    return or_pictures(_sections(text, _rst_headings(text)), pictures)


def _rst_headings(text: str) -> Iterator[_Heading]:
    styles: list[tuple[str, str]] = []
    for found in _RST.finditer(text):
        over, title, under = found.group(1) or "", found.group(2), found.group(3)
        length = len(found.group()) - found.group().rfind("\n") - 1
        bare = found.start() < 2 or text[found.start() - 2 : found.start()] == "\n\n"
        if (
            (over and over != under)
            or length < min(len(title.rstrip()), 4)
            or not (over or bare)
            or title.startswith("  ")
        ):
            continue
        if (over, under) not in styles:
            styles.append((over, under))
        yield found.start(), styles.index((over, under)) + 1, title


def read_tex(path: Path) -> list[Section]:
    """Read LaTeX without its preamble, comments and common commands; formulas stay as they are written."""
    text = _COMMENT.sub("", _source(path))
    begin, end = text.find("\\begin{document}"), text.rfind("\\end{document}")
    title = re.search(r"\\title\{([^{}]*)\}", text[: max(begin, 0)])
    text, pictures = tex_pictures(text[max(begin, 0) : end if end > 0 else None])
    outline = Outline()
    sections: list[Section] = []
    heading, place = "", 0
    before = title.group(1) if title else ""
    for found in [*_TEX.finditer(text), None]:
        body = _plain_tex(text[place : len(text) if found is None else found.start()])
        shown = "\n\n".join(filter(str.strip, (before, body)))
        if shown.strip():
            sections.append(Section(shown, {"heading": heading} if heading else {}))
        if found is not None:
            before = _plain_tex(found.group(2))
            heading = outline.enter(_TEX_LEVELS.index(found.group(1)) + 1, before)
            place = found.end()
    return or_pictures(sections, pictures)


def _plain_tex(text: str) -> str:
    text = _HREF.sub(r"\1", _with_cells(text))
    for _ in range(3):
        text = _KEPT.sub(r"\1", text)
    text = _BARE.sub("", _DROPPED.sub("", text))
    text = _SIGNS.sub(r"\1", text).replace("\\\\", "\n").replace("~", " ").replace("---", "—").replace("--", "–")
    return re.sub(r"\n[ \t]*\n\s*", "\n\n", text).strip()


def _with_cells(text: str) -> str:
    """Return LaTeX with a bar between the cells of its tables."""
    pieces = _TABULAR.split(text)
    for at in range(2, len(pieces), 2):
        if pieces[at - 1].startswith("\\begin"):
            pieces[at] = _NEXT_CELL.sub(" | ", _SPANS.sub(r"\1", pieces[at]))
    return "\n".join(pieces[::2]) if len(pieces) > 1 else text


def _sections(text: str, headings: Iterator[_Heading]) -> list[Section]:
    outline = Outline()
    sections: list[Section] = []
    path, begin = "", 0
    for start, level, title in headings:
        if text[begin:start].strip():
            sections.append(_section(text, begin, start, path))
        path, begin = outline.enter(level, title), start
    return [*sections, _section(text, begin, len(text), path)]


def _section(text: str, begin: int, end: int, path: str) -> Section:
    body = text[begin:end]
    return Section(body, {"heading": path} if path else {}, "prose", begin, pipe_tables(body))
