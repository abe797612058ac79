r"""RTF: the visible text, without hidden and deleted text and pictures."""

from __future__ import annotations

import codecs
import re
from functools import partial
from pathlib import Path

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section, SectionBuilder
from memvid_core.ingest.readers.pictures import read_pictures

__all__ = ["read_rtf", "rtf_sections"]

_TOKEN = re.compile(
    rb"\\([a-z]{1,32})(-?\d{1,10})?[ ]?|\\'([0-9a-fA-F]{2})|\\([^a-z])|([{}])|[\r\n]+|([^\\{}\r\n]+)",
    re.DOTALL,
)
_LEFT_OUT = frozenset(
    b"""fonttbl colortbl stylesheet info pict object fldinst generator listtable listoverridetable rsidtbl themedata
    colorschememapping datastore latentstyles xmlnstbl header footer headerl headerr headerf footerl footerr footerf
    bkmkstart bkmkend nonshppict filetbl revtbl pgdsctbl listtext pntext wgrffmtfilter mmathPr""".split()
)
_SIGNS = {
    b"par": "\n\n", b"line": "\n", b"tab": "\t", b"cell": " | ", b"row": "\n", b"sect": "\n\n", b"page": "\n\n",
    b"emdash": "—", b"endash": "–", b"lquote": "‘", b"rquote": "’", b"ldblquote": "“", b"rdblquote": "”",
    b"bullet": "•", b"emspace": " ", b"enspace": " ", b"~": "\u00a0", b"_": "-", b"\\": "\\", b"{": "{", b"}": "}",
    b"nestcell": " | ", b"nestrow": "\n",
}  # fmt: skip
# fcharset numbers of the RTF specification.
_CHARSETS = {
    0: "cp1252", 77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "cp936", 136: "cp950", 161: "cp1253",
    162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874",
    238: "cp1250",
}  # fmt: skip
_DEEPEST = 10_000
_DESCRIPTION = re.compile(rb"\{[^{}]*\}|\\[a-z]{1,32}-?\d{0,10} ?|\\\*")


class _State:
    __slots__ = ("codec", "fonts", "hidden", "level", "skip", "unicode_skip")

    def __init__(self) -> None:
        self.codec = ""
        self.hidden = self.skip = self.fonts = False
        self.unicode_skip = 1
        self.level = 0

    def copy(self) -> _State:
        other = _State()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        return other


def read_rtf(path: Path) -> list[Section]:
    """Read RTF as one section per heading (its outline levels); table rows are lines of cells.

    Raises:
        IngestError: The file does not start as RTF does.
    """
    return rtf_sections(path.read_bytes())


def rtf_sections(data: bytes) -> list[Section]:
    """Return the sections of RTF.

    Raises:
        IngestError: It does not start as RTF does.
    """
    if not data.lstrip().startswith(b"{\\rtf"):
        raise IngestError("not an RTF file: it does not start with {\\rtf")
    return _Reader().sections(data)


class _Reader:
    def __init__(self) -> None:
        self._default = "cp1252"
        self._fonts: dict[int, str] = {}
        self._font = 0
        self._state = _State()
        self._stack: list[_State] = []
        self._bytes = bytearray()
        self._codec = ""
        self._pieces: list[str] = []
        self._to_skip = 0
        self._ignorable = False
        self._builder = SectionBuilder()
        self._high = 0
        self._pictures: list[tuple[int, int]] = []  # where they are in the file
        self._picture: tuple[int, int] | None = None  # where one began, and the depth of its group

    def sections(self, data: bytes) -> list[Section]:
        for found in _TOKEN.finditer(data):
            word, number, code, sign, brace, text = found.groups()
            if brace:
                self._brace(brace)
                if self._picture is not None and len(self._stack) < self._picture[1]:
                    self._pictures.append((self._picture[0], found.start()))
                    self._picture = None
            elif word:
                if word == b"pict" and self._picture is None and not self._state.skip:
                    self._picture = found.end(), len(self._stack)
                self._word(word, None if number is None else int(number))
            elif code:
                self._byte(bytes([int(code, 16)]))
            elif sign == b"*":
                self._ignorable = True
            elif sign:
                self._text(_SIGNS.get(sign, ""))
            elif text:
                self._byte(text)
        self._end_paragraph()
        pictures = [partial(_picture, data[start:end]) for start, end in self._pictures]
        return self._builder.finish() or read_pictures(pictures, {})

    def _brace(self, brace: bytes) -> None:
        self._flush()
        if brace == b"{":
            if len(self._stack) >= _DEEPEST:
                raise IngestError("groups are nested too deep")
            self._stack.append(self._state.copy())
        elif self._stack:
            self._state = self._stack.pop()
        self._ignorable = False
        self._to_skip = 0

    def _word(self, word: bytes, number: int | None) -> None:
        state = self._state
        ignorable, self._ignorable = self._ignorable, False
        if word == b"fonttbl":
            state.fonts = True
        if word in _LEFT_OUT or (ignorable and word not in (b"shppict", b"shpinst", b"shptxt")):
            self._flush()
            state.skip = True
        if word == b"f" and number is not None:
            self._flush()
            self._font = number
            state.codec = self._fonts.get(number, "")
        elif word == b"fcharset" and state.fonts and number is not None:
            self._fonts[self._font] = _CHARSETS.get(number, "")
        elif word == b"ansicpg" and number is not None:
            self._default = _known(f"cp{number}") or "cp1252"
        elif word in (b"mac", b"pca"):
            self._default = "mac_roman" if word == b"mac" else "cp850"
        elif word in (b"v", b"deleted"):
            self._flush()
            state.hidden = number != 0
        elif word == b"plain":
            self._flush()
            state.hidden, state.codec = False, ""
        elif word == b"uc":
            state.unicode_skip = min(max(number or 0, 0), 10)
        elif word == b"u" and number is not None:
            self._unicode(number)
        elif word == b"bin" and number is not None:
            self._to_skip = 0
        elif word == b"outlinelevel":
            state.level = (number or 0) + 1 if (number or 0) < 9 else 0
        elif word == b"pard":
            state.level = 0
        elif word == b"footnote":
            self._text(" [")
        elif word == b"par":
            self._flush()
            self._end_paragraph()
        elif word in _SIGNS:
            self._text(_SIGNS[word])

    def _unicode(self, number: int) -> None:
        self._flush()
        self._to_skip = self._state.unicode_skip
        code = number % 65536
        if 0xD800 <= code < 0xDC00:
            self._high = code
            return
        if 0xDC00 <= code < 0xE000:
            code = 0x10000 + ((self._high - 0xD800) << 10) + code - 0xDC00 if self._high else 0xFFFD
        self._high = 0
        self._add(chr(code))

    def _byte(self, data: bytes) -> None:
        if self._to_skip:
            skipped = min(self._to_skip, len(data))
            self._to_skip -= skipped
            data = data[skipped:]
        if data and not (self._state.skip or self._state.hidden):
            self._bytes += data

    def _text(self, text: str) -> None:
        self._flush()
        self._add(text)

    def _add(self, text: str) -> None:
        if not (self._state.skip or self._state.hidden):
            self._pieces.append(text)

    def _flush(self) -> None:
        if self._bytes:
            codec = self._state.codec or self._default
            self._pieces.append(bytes(self._bytes).decode(codec, "replace"))
            self._bytes.clear()

    def _end_paragraph(self) -> None:
        self._flush()
        text = "".join(self._pieces)
        self._pieces = []
        text = "\n".join(line.strip().removesuffix("|").rstrip() for line in text.split("\n")).strip("\n")
        if self._state.level and text.strip():
            self._builder.heading(self._state.level, text)
        else:
            self._builder.block(text)


def _picture(group: bytes) -> bytes:
    """Return the content of a picture, which is in hexadecimal digits after what describes it."""
    digits = b"".join(_DESCRIPTION.sub(b" ", group).split())
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError as exc:
        raise IngestError("a picture that is not in hexadecimal digits") from exc


def _known(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "utf-8" if name == "cp65001" else ""
