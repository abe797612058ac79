"""Pictures in markup languages as a reader sees them: the description in brackets, and nothing of the markup."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain

from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.pictures import described, of_data_url, read_pictures

__all__ = ["adoc_pictures", "markdown_pictures", "or_pictures", "org_pictures", "rst_pictures", "tex_pictures"]

_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+){0,8}(`{3,}(?=[^`]*$)|~{3,})")
_LIST = re.compile(r"[ \t>]*(?:[-*+]|\d{1,9}[.)])[ \t]")
_ALT = r"!\[(?P<{0}>(?:[^\[\]\\]|\\.|\[[^\[\]]*\]){{0,2000}})\]"
_TITLE = r"""(?:\s{{1,9}}(?:"[^"]*"|'[^']*'|\([^()]*\)))?"""
_AT = r"\([ \t]*(?P<{0}><[^<>\n]*>|[^\s()]*(?:\([^\s()]*\)[^\s()]*)*)" + _TITLE + r"[ \t]*\)"
_ATTRIBUTES = r"(?:\{[^{}\n]{0,200}\})?"  # of Pandoc
_MARKDOWN = re.compile(
    r"(?P<code>(?P<ticks>(?<![`\\])`{1,9})(?!`)(?:[^`]|(?!(?<!`)(?P=ticks)(?!`))`){1,5000}(?P=ticks)(?!`))"
    r"|!\[\[(?P<embedded>[^\[\]|\n]{1,250})(?:\|(?P<shown>[^\[\]\n]{0,250}))?\]\]"
    rf"|\[\s?{_ALT.format('linked')}{_AT.format('of')}\s?\](?=\(|\[)"
    rf"|(?<!(?<!\\)\\){_ALT.format('alt')}(?:{_AT.format('at')}|\[(?P<label>[^\[\]]{{0,200}})\])?{_ATTRIBUTES}"
    r"|(?P<tag><img\b[^<>]{0,2000}>)",
    re.IGNORECASE,
)
_BLANK = re.compile(r"(\n[ \t]*(?=\n))")  # the end of a paragraph, also of code and pictures in it
_DEFINED = re.compile(r"^ {0,3}\[([^\[\]\n]{1,200})\]:[ \t]*(\S+)[^\n]*\n?", re.MULTILINE)
_ATTRIBUTE = r"""\b{0}\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>]+))"""
_HTML_ALT, _HTML_AT = (re.compile(_ATTRIBUTE.format(name), re.IGNORECASE) for name in ("alt", "src"))
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_EMPHASIS = re.compile(r"(?<!\\)(`+|\*{1,3}|(?<!\w)_{1,3}|_{1,3}(?!\w))")

_RST = re.compile(r"([ \t]*)\.\.[ \t]+(?:\|([^|\n]{1,100})\|[ \t]+)?(image|figure)::[ \t]*(.*)$")
_RST_OPTION = re.compile(r"[ \t]+:([\w-]+):[ \t]*(.*)$")
_RST_CODE = re.compile(
    r"[ \t]*(?:\.\.[ \t]+(?:code|code-block|sourcecode|literalinclude|parsed-literal)::|(?!\.\.[ \t]).*::$)"
)

_ADOC = re.compile(
    r"(?<![\w\\])image::?(?P<at>[^\s\[\]:][^\s\[\]]{0,500})\[(?P<about>(?:[^\[\]]|\[[^\[\]]*\]){0,2000})\]"
)
_ADOC_ALT = re.compile(r'(?:^|,)\s*alt=(?:"([^"]*)"|([^,]*))')
_ADOC_FIRST = re.compile(r'\s*(?:"([^"]*)"|([^,="]*))\s*(?:,|$)')
_ADOC_FENCE = re.compile(r"(?:-{4,}|\.{4,})[ \t]*$")

_ORG = re.compile(r"\[\[(?:file:|attachment:)?([^\[\]\n]{1,250})\]\]")
_ORG_ABOUT = re.compile(r"[ \t]*#\+(CAPTION(?:\[[^\]]*\])?|ATTR_\w+|NAME|LABEL):[ \t]*(.*)$", re.IGNORECASE)
_ORG_ALT = re.compile(r":alt[ \t]+(.*?)[ \t]*(?=[ \t]:\w|$)")
_ORG_CODE = re.compile(r"[ \t]*#\+(BEGIN|END)_(?:SRC|EXAMPLE)\b", re.IGNORECASE)

_TEX = re.compile(r"\\includegraphics\*?(?:\[((?:[^\[\]{}]|\{[^{}]*\}){0,1000})\])?\{[^{}]*\}")
_TEX_ALT = re.compile(r"(?:^|,)\s*alt\s*=\s*(?:\{([^{}]*)\}|([^,{}]*))")


def or_pictures(sections: list[Section], addresses: list[str]) -> list[Section]:
    """Return the sections of a text, or of one that has nothing but pictures what these show."""
    if any(section.text.strip() for section in sections):
        return sections
    return read_pictures([partial(of_data_url, address) for address in addresses], {})


def markdown_pictures(text: str) -> tuple[str, list[str]]:
    r"""Return Markdown with the descriptions of its pictures in their places, and the addresses of the pictures.

    Example:
        >>> markdown_pictures("A ![wing](wing.png) and `![no](picture)`.")
        ('A [wing] and `![no](picture)`.', ['wing.png'])
    """
    if "![" not in text and "<img" not in text.lower():
        return text, []
    defined = {_label(found[1]): found[2] for found in _DEFINED.finditer(text)}
    addresses: list[str] = []
    used: set[str] = set()

    def replaced(found: re.Match[str]) -> str:
        if found["code"]:
            return found.group()
        if found["tag"]:
            addresses.append(_attribute(_HTML_AT, found["tag"]))
            return described(html.unescape(_attribute(_HTML_ALT, found["tag"])))
        if found["embedded"]:
            if described(found["embedded"]):  # not a picture
                return found.group()
            addresses.append(found["embedded"])
            return "" if (found["shown"] or "0")[:1].isdecimal() else described(found["shown"])
        if found["linked"] is not None:
            addresses.append(found["of"])
            return f"[{described(_plain(found['linked']))[1:-1]}]"
        if found["at"] is None:
            label = _label(found["label"] or found["alt"])
            if label not in defined:
                return found.group()
            used.add(label)
        addresses.append(defined[_label(found["label"] or found["alt"])] if found["at"] is None else found["at"])
        return described(_plain(found["alt"]))

    pieces = (
        [part] if code else [_MARKDOWN.sub(replaced, paragraph) for paragraph in _BLANK.split(part)]
        for code, part in _markdown_parts(text)
    )
    text = "".join(chain.from_iterable(pieces))

    def kept(found: re.Match[str]) -> str:
        is_picture = not described(found[2].partition("?")[0]) or found[2].startswith("data:image")
        return "" if _label(found[1]) in used and is_picture else found.group()

    return _DEFINED.sub(kept, text) if used else text, addresses


def _markdown_parts(text: str) -> Iterator[tuple[bool, str]]:
    """Yield the parts of a text, and whether each is code: in a fence, or indented and not in a list."""
    fence, listed, blank, code, lines = "", False, True, False, list[str]()
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        found = None if fence else _FENCE.match(line.rstrip("\r\n"))
        indented = line.startswith(("    ", "\t")) and not listed and (blank or code) and not fence
        is_code = bool(fence or found or (indented and bare))
        if fence and bare.lstrip("> ").startswith(fence) and not bare.lstrip("> ").strip(fence[0]):
            fence = ""
        elif found:
            fence = found[1]
        if not fence and not is_code and bare:
            listed = _LIST.match(line) is not None or (listed and line[0] in " \t")
        if lines and is_code != code:
            yield code, "".join(lines)
            lines = []
        lines.append(line)
        code, blank = is_code, not bare
    if lines:
        yield code, "".join(lines)


def rst_pictures(text: str) -> tuple[str, list[str]]:
    """Return reStructuredText with the descriptions of its pictures in their places, and their addresses."""
    if "::" not in text:
        return text, []
    addresses: list[str] = []
    named: dict[str, str] = {}
    made: list[str] = []
    lines = text.split("\n")
    at, literal = 0, -1  # the depth of what begins a block of code
    while at < len(lines):
        line = lines[at]
        depth = len(line) - len(line.lstrip())
        at += 1
        if literal >= 0 and (not line.strip() or depth > literal):
            made.append(line)
            continue
        literal = -1
        found = _RST.match(line)
        if found is None:
            literal = depth if _RST_CODE.match(line.rstrip()) else -1
            made.append(line)
            continue
        options: dict[str, str] = {}
        last = ""
        while at < len(lines) and lines[at].strip() and len(lines[at]) - len(lines[at].lstrip()) > depth:
            option = _RST_OPTION.match(lines[at])
            if option is None and not last:
                break
            if option is not None:
                last = option[1]
            options[last] = f"{options.get(last, '')} {option[2] if option else lines[at].strip()}"
            at += 1
        addresses.append(found[4].strip())
        shown = described(options.get("alt"))
        if found[2]:
            named[found[2]] = shown
        else:
            made += [found[1] + shown] * bool(shown)
            if found[3] == "figure":
                end = at
                while end < len(lines) and (not lines[end].strip() or _depth(lines[end]) > depth):
                    end += 1
                made += ["", *(found[1] + part.strip() for part in lines[at:end])]
                at = end
    text = "\n".join(made)
    for name, shown in named.items():
        text = re.sub(rf"\|{re.escape(name)}\|_{{0,2}}", lambda _, shown=shown: shown, text)  # type: ignore[misc]
    return text, addresses


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def adoc_pictures(text: str) -> tuple[str, list[str]]:
    """Return AsciiDoc with the descriptions of its pictures in their places, and their addresses."""
    addresses: list[str] = []

    def replaced(found: re.Match[str]) -> str:
        addresses.append(found["at"])
        alt = _ADOC_ALT.search(found["about"]) or _ADOC_FIRST.match(found["about"])
        return described(alt[1] or alt[2] if alt else "")

    if "image:" not in text:
        return text, []
    return _outside(text, _ADOC_FENCE.match, lambda line: _ADOC.sub(replaced, line)), addresses


def org_pictures(text: str) -> tuple[str, list[str]]:
    """Return Org with the descriptions of its pictures in their places, and their addresses."""
    addresses: list[str] = []
    made: list[str] = []
    about: list[str] = []  # lines that say something of what follows
    code = False
    for line in text.split("\n"):
        found = _ORG_CODE.match(line)
        code = found[1].upper() == "BEGIN" if found else code
        if not code and _ORG_ABOUT.match(line):
            about.append(line)
            continue
        alts = [alt[1] for each in about if (alt := _ORG_ALT.search(each))]

        def replaced(link: re.Match[str], alts: list[str] = alts) -> str:
            if described(link[1]):  # not a picture
                return link.group()
            addresses.append(link[1])
            return described(alts[0]) if alts else ""

        count = len(addresses)
        shown = line if code else _ORG.sub(replaced, line)
        if len(addresses) > count:
            parts = [part for part in map(_ORG_ABOUT.match, about) if part]
            about = [part[2] for part in parts if part[1].upper().startswith("CAPTION")]
        made += [*about, shown]
        about = []
    return "\n".join([*made, *about]), addresses


def tex_pictures(text: str) -> tuple[str, list[str]]:
    """Return LaTeX with the descriptions of its pictures in their places, and how often it has one."""
    addresses: list[str] = []

    def replaced(found: re.Match[str]) -> str:
        addresses.append("")
        alt = _TEX_ALT.search(found[1] or "")
        return described(alt[1] or alt[2] if alt else "")

    return _TEX.sub(replaced, text), addresses


def _outside(text: str, fence: Callable[[str], object], change: Callable[[str], str]) -> str:
    """Return a text whose lines were changed, but those between two equal lines that are a fence."""
    lines = text.split("\n")
    within = ""
    for at, line in enumerate(lines):
        if fence(line):
            within = "" if line.rstrip() == within else within or line.rstrip()
        elif not within:
            lines[at] = change(line)
    return "\n".join(lines)


def _label(text: str) -> str:
    return " ".join(text.split()).casefold()


def _attribute(pattern: re.Pattern[str], tag: str) -> str:
    found = pattern.search(tag)
    return "" if found is None else next((value for value in found.groups() if value is not None), "")


def _plain(alt: str) -> str:
    return _ESCAPED.sub(r"\1", _EMPHASIS.sub("", alt))
