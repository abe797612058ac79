"""Determining the type of a file from its name and its first bytes."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from pathlib import PurePath

__all__ = [
    "BINARY_SUFFIXES",
    "DOCUMENT_FORMATS",
    "MEDIA_SUFFIXES",
    "PICTURE_SUFFIXES",
    "SNIFF_BYTES",
    "format_of",
    "language_of",
    "looks_binary",
    "utf16_of",
    "without_nul",
]

SNIFF_BYTES = 8192

_MARKS = " \n.,!?\u3000、。，！？「」《》"
# Of the bytes of a text: UTF-16 of ASCII has half, that of other scripts no valid UTF-8 between.
_MANY = 0.25
_FEW, _LEAST_OLD = 0.01, 256
_HOLE = 16  # so many in a row are a part that was never written
_TAR = 257  # where tar archives, which pad texts with NUL bytes, have their name
_NULS = re.compile(rb"\x00+")
_NO_TEXT = re.compile(rb"[\x01-\x07\x0e-\x1a\x1c-\x1f\x7f]")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a]")

DOCUMENT_FORMATS = {
    ".pdf": "pdf",
    ".docx": "docx", ".docm": "docx",
    ".pptx": "pptx", ".pptm": "pptx",
    ".xlsx": "xlsx", ".xlsm": "xlsx",
    ".html": "html", ".htm": "html", ".xhtml": "html",
    ".epub": "epub",
    ".csv": "csv", ".tsv": "csv",
    ".ipynb": "ipynb",
    ".md": "markdown", ".markdown": "markdown", ".mdown": "markdown", ".mkd": "markdown", ".mdx": "markdown",
    ".odt": "opendocument", ".ods": "opendocument", ".odp": "opendocument",
    ".ott": "opendocument", ".ots": "opendocument", ".otp": "opendocument",
    ".hwp": "hwp", ".hwpx": "hwpx",
    ".msg": "msg",
    ".rtf": "rtf",
    ".eml": "eml", ".mbox": "mbox", ".mht": "eml", ".mhtml": "eml",
    ".vtt": "captions", ".srt": "captions",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".rst": "rst", ".rest": "rst", ".adoc": "adoc", ".asciidoc": "adoc", ".org": "org", ".tex": "tex", ".latex": "tex",
    ".xml": "xml", ".nxml": "xml", ".fodt": "xml", ".fods": "xml", ".fodp": "xml",
    ".zip": "zip",
    # Listed so that they are rejected by name and not read as text.
    ".doc": "ole", ".ppt": "ole", ".xls": "ole",
}  # fmt: skip

# name: suffixes
_LANGUAGES = """
ada: adb ads / asm: asm s / bash: bash sh zsh ksh / batch: bat cmd / c: c h / clojure: clj cljs cljc /
cmake: cmake / cpp: cc cpp cxx c++ hh hpp hxx ipp / csharp: cs / css: css scss sass less / cuda: cu cuh /
cython: pyx pxd / d: d / dart: dart / diff: diff patch / elixir: ex exs / elm: elm / erlang: erl hrl /
fortran: f f90 f95 f03 f08 for / fsharp: fs fsi fsx / glsl: glsl vert frag / go: go / graphql: graphql gql /
groovy: groovy gradle / haskell: hs lhs / hcl: hcl tf tfvars / ini: ini cfg conf properties env / java: java /
javascript: js jsx mjs cjs / json: json jsonc json5 jsonl ndjson / julia: jl / kotlin: kt kts /
lisp: lisp lsp el scm rkt / lua: lua / makefile: mk mak / matlab: m / nim: nim / nix: nix / objective-cpp: mm /
ocaml: ml mli / pascal: pas pp dpr / perl: pl pm / php: php / powershell: ps1 psm1 psd1 / protobuf: proto /
python: py pyi pyw / r: r / ruby: rb rake gemspec / rust: rs / scala: scala sc / solidity: sol / sql: sql /
svelte: svelte / swift: swift / tcl: tcl / toml: toml / typescript: ts tsx mts cts / verilog: v sv svh /
vhdl: vhd vhdl / vim: vim / visual-basic: vb vbs bas / vue: vue / xml: xml xsd xsl xslt svg plist /
yaml: yaml yml / zig: zig
"""
_BY_SUFFIX = {
    f".{suffix}": name.strip()
    for name, _, suffixes in (entry.partition(":") for entry in _LANGUAGES.split("/"))
    for suffix in suffixes.split()
}
_BY_NAME = {
    "dockerfile": "dockerfile", "containerfile": "dockerfile", "makefile": "makefile", "gnumakefile": "makefile",
    "cmakelists.txt": "cmake", "rakefile": "ruby", "gemfile": "ruby", "vagrantfile": "ruby", "jenkinsfile": "groovy",
    "justfile": "makefile",
}  # fmt: skip

# Avoids opening them; other binary files are recognized by their first bytes.
_BINARY = """
7z a avif bin bmp bz2 class db dll dmg dylib eot exe faiss gif gz heic ico iso jar jpeg jpg lib npy npz o onnx otf
parquet pickle pkl png psd pt pth pyc pyd pyo rar safetensors so sqlite sqlite3 tar tgz tif tiff ttf war wasm webp whl
woff woff2 xz zst
"""
_MEDIA = "aac aiff avi flac m4a m4v mka mkv mov mp3 mp4 mpeg mpg oga ogg ogv opus wav weba webm wma wmv"
MEDIA_SUFFIXES = frozenset(f".{suffix}" for suffix in _MEDIA.split())  # read by a function that transcribes them
BINARY_SUFFIXES = MEDIA_SUFFIXES | {f".{suffix}" for suffix in _BINARY.split()}
PICTURE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))  # read by OCR if named


def format_of(path: PurePath) -> str:
    """Return the format that a name indicates: of documents, ``"picture"``, ``"media"``, ``"code"``, ``"text"``."""
    suffix = path.suffix.lower()
    if suffix in MEDIA_SUFFIXES:
        return "media"
    known = "picture" if suffix in PICTURE_SUFFIXES else DOCUMENT_FORMATS.get(suffix)
    return known or ("code" if language_of(path) else "text")


def language_of(path: PurePath) -> str | None:
    """Return the programming or markup language of a source file, or None.

    Example:
        >>> language_of(PurePath("src/main.rs")), language_of(PurePath("notes.txt"))
        ('rust', None)
    """
    return _BY_NAME.get(path.name.lower()) or _BY_SUFFIX.get(path.suffix.lower())


def looks_binary(head: bytes) -> bool:
    """Return whether a file's first bytes are not text in any encoding: they have NUL bytes, too many for one."""
    marked = head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"))
    return b"\0" in head and not marked and utf16_of(head) is None and without_nul(head) is None


def without_nul(data: bytes) -> bytes | None:
    r"""Return a text with a space in place of each run of NUL bytes; None if the rest is not text in 8-bit units.

    Programs that crash or pad leave such bytes in logs and tables.

    Example:
        >>> without_nul(b"Ada\0,London\n"), without_nul(b"L\0o\0"), without_nul(b"\0\1\2\3")
        (b'Ada ,London\n', None, None)
    """
    number = sum(len(run) for run in _NULS.findall(data) if len(run) < _HOLE)
    text = _NULS.sub(b" ", data)
    if _NO_TEXT.search(text) or not text.strip() or data[_TAR : _TAR + 5] == b"ustar":
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(text)  # the last character may be incomplete
    except UnicodeDecodeError:
        # Some 256 bytes of anything else have control characters.
        return text if len(text) >= _LEAST_OLD and number <= _FEW * len(data) else None
    return text if number < _MANY * len(data) else None


def utf16_of(head: bytes) -> str | None:
    """Return the UTF-16 byte order of a file's first bytes without a byte-order mark, or None.

    Example:
        >>> utf16_of("plain".encode("utf-16-le")), utf16_of("날개는 양력을.".encode("utf-16-be")), utf16_of(b"plain")
        ('utf-16-le', 'utf-16-be', None)
    """
    if not _CONTROL.search(head):  # in UTF-16, a space contains a 0 and an ideographic full stop a 2
        return None
    even, odd = head[::2], head[1::2]
    # Western text: every other byte is 0, and the bytes between are printable.
    zeros, letters = (even, odd) if even.count(0) > odd.count(0) else (odd, even)
    paired = [letter for zero, letter in zip(zeros, letters, strict=False) if zero == 0]
    printable = sum(0x20 <= letter < 0x7F or letter in b"\t\n\r" or letter >= 0xA0 for letter in paired)
    if paired and len(paired) >= 0.2 * len(zeros) and not letters.count(0) and printable >= 0.98 * len(paired):
        return "utf-16-be" if zeros is even else "utf-16-le"
    return next((name for name in ("utf-16-le", "utf-16-be") if _spells(head, name)), None)


def _spells(head: bytes, encoding: str) -> bool:
    """Return whether bytes are text of few scripts with spaces or punctuation; the wrong byte order yields many."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head[:2048])  # the last character may be incomplete
    except UnicodeDecodeError:
        return False
    marks = sum(char in _MARKS for char in text)
    strange = sum(unicodedata.category(char) in ("Cc", "Cn", "Co") and char not in "\t\n\r\f" for char in text)
    scripts = Counter(unicodedata.name(char, "").split(" ")[0] for char in text if char > "\x7f" and char.isalpha())
    main = sum(number for _, number in scripts.most_common(3))
    return marks >= 0.02 * len(text) > 0 and strange <= 0.01 * len(text) and main >= 0.95 * scripts.total()
