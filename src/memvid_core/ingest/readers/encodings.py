"""Decoding bytes whose encoding is unknown."""

from __future__ import annotations

import codecs
import re
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.extras import require
from memvid_core.ingest.readers.file_types import SNIFF_BYTES, utf16_of, without_nul
from memvid_core.ingest.readers.remarks import note_encoding, warn

__all__ = ["codec_named", "declared_encoding", "decode"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# Common encodings of existing files (WHATWG Encoding, legacy encodings of operating systems and the web). If a
# detector may also choose among the other ninety, it finds exotic ones in ordinary text.
_CANDIDATES = [
    "cp949", "cp932", "euc_jp", "iso2022_jp", "gb18030", "big5",
    "cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp874",
    "cp1252", "cp1250", "iso8859_2", "cp1254",
]  # fmt: skip

# Some code pages have the same letters in different places. Their bytes do not distinguish them, but the resulting
# words do: these are the letters other than a to z of the languages of each. The first encoding whose letters all
# belong to one language wins.
_SPELLINGS = {
    "cp1252": ("àâæçéèêëîïôœùûüÿ", "äöüß", "áéíóúüñ", "àèéìíîòóùú", "áàâãçéêíóôõúü", "åäöéæøü",
               "áéèëêïíóöúü", "áðéíóúýþæö"),
    "cp1250": ("áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "ąćęłńóśźż", "áéíóöőúüű", "ăâîșşțţ", "čćđšž"),
    "iso8859_2": ("áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "ąćęłńóśźż", "áéíóöőúüű", "ăâîșşțţ", "čćđšž"),
    "cp1254": ("çğıİöşüâîû",),
}  # fmt: skip
_PUNCTUATION = "«»‘’‚“”„–—…•€°§©®·¡¿£\u00a0"
_SAMPLE = 1 << 20
# ISO-2022 is 7-bit text with escape sequences that select character sets (RFC 1468, 1554, 1557).
_ESCAPES = re.compile(rb"\x1b(?:\$[@B]|\$\([@-D]|\$\)[ACGE]|\([IJ]|\.[AF])")
_DECLARED = re.compile(
    rb"""\A\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_.:-]{1,40})"""
    rb"""|\A(?:[^\n]{0,200}\n)?[ \t\f]*[#;/*%-][^\n]{0,200}?coding[:=][ \t]*([A-Za-z0-9_.-]{1,40})"""
    rb"""|\A@charset[ ]"([A-Za-z0-9_.:-]{1,40})";"""
)
# WHATWG Encoding 4.2: Latin-1 means cp1252, EUC-KR means cp949, GB2312 means GB18030. Only encodings of text are named:
# Python has more codecs, such as unicode_escape, which documents cannot mean.
_MEANT = {
    "ascii": "cp1252", "iso-8859-1": "cp1252", "latin1": "cp1252", "us-ascii": "cp1252", "latin-1": "cp1252",
    "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "ksc5601": "cp949", "korean": "cp949", "windows-949": "cp949",
    "gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "shift_jis": "cp932", "shift-jis": "cp932",
    "x-sjis": "cp932", "sjis": "cp932", "ms_kanji": "cp932", "windows-31j": "cp932", "x-euc-jp": "euc_jp",
    "big5-hkscs": "big5hkscs", "x-x-big5": "big5", "iso-8859-9": "cp1254", "iso-8859-11": "cp874", "tis-620": "cp874",
    "unicode": "utf-16", "utf8": "utf-8", "macintosh": "mac_roman", "x-mac-cyrillic": "mac_cyrillic",
    "iso-2022-jp": "iso2022_jp_2",
}  # fmt: skip
_TEXT_CODECS = re.compile(
    r"utf-?(?:7|8|8-sig|16|16-?[lb]e|32|32-?[lb]e)|cp\d{3,4}|iso-?8859-\d{1,2}|koi8-[rtu]|big5(?:-?hkscs)?|euc-(?:jp|kr)"
    r"|gb(?:k|18030|2312)|iso-?2022-(?:jp|kr)(?:-\w+)?|shift-jis(?:-2004)?|johab|hz|mac-\w+|ptcp154|viscii"
)
_LEAST_FIT = 0.9
_CYRILLIC = ("cp1251", "koi8_r")


def codec_named(name: str) -> str | None:
    """Return the Python codec that a declaration in a document means, or None if it does not name one of text.

    Example:
        >>> codec_named("EUC-KR"), codec_named("windows-1251"), codec_named("unicode_escape")
        ('cp949', 'cp1251', None)
    """
    name = name.strip().strip("\"'").lower()
    meant = _MEANT.get(name, name.replace("windows-", "cp").removeprefix("x-"))
    if not _TEXT_CODECS.fullmatch(meant.replace("_", "-")):
        return None
    try:
        codecs.lookup(meant)
    except LookupError:
        return None
    return meant


def declared_encoding(data: bytes) -> str | None:
    """Return the codec that the beginning of a text declares: XML, source code (PEP 263), CSS."""
    found = _DECLARED.search(data[:1024])
    return codec_named(next(name for name in found.groups() if name).decode("ascii")) if found else None


def decode(data: bytes, declared: str | None = None) -> str:
    r"""Decode a text file: by its byte-order mark, by what it declares, as UTF-8, or by the language it contains.

    Text that is UTF-8 except for a few bytes is read as UTF-8 with a warning. Newlines become ``\n``.

    Args:
        data: The bytes.
        declared: The name of an encoding that is declared for them; ignored if it is unknown or does not fit.

    Raises:
        IngestError: The data is binary, or invalid in the encoding of its mark. The caller adds the path.
        MissingExtraError: The data is not Unicode, and the ``documents`` extra is not installed.
    """
    return _decode(data, declared).replace("\r\n", "\n").replace("\r", "\n")


def _decode(data: bytes, declared: str | None) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _strictly(data, encoding)
    wide = utf16_of(data[:SNIFF_BYTES])
    if b"\0" in data:
        rest = without_nul(data)
        if rest is not None and (wide is None or _is_utf8(rest)):
            warn(f"{data.count(0):,} NUL bytes were left out")
            data, wide = rest, None
        elif wide is None:
            raise IngestError(f"a binary file, not a text: byte {data.index(0):,} is NUL")
    escaped = _escaped(data)
    if escaped is not None:
        return escaped
    if wide is not None:
        return _strictly(data, wide)
    for name in (codec_named(declared) if declared else None, declared_encoding(data)):
        text = _as_declared(data, name)
        if text is not None:
            return text
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        return _repaired(data) or _guess(data, exc)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _as_declared(data: bytes, name: str | None) -> str | None:
    if name is None or name.startswith("utf-16"):  # a text whose declaration can be read is not UTF-16
        return None
    try:
        text = data.decode(name)
    except UnicodeDecodeError:
        return _repaired(data) if name == "utf-8" else None
    if name != "utf-8" and not data.isascii():
        try:
            # Bytes that are valid UTF-8 are hardly ever anything else: the declaration is outdated.
            return data.decode("utf-8")
        except UnicodeDecodeError:
            note_encoding(name)
    return text


def _escaped(data: bytes) -> str | None:
    """Decode ISO-2022, which consists of ASCII bytes."""
    if b"\x1b" not in data or not data.isascii() or not _ESCAPES.search(data):
        return None
    for encoding in ("iso2022_kr", "iso2022_jp_2", "iso2022_jp_3", "iso2022_jp_ext"):
        if (encoding == "iso2022_kr") == (b"\x1b$)C" in data):
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError:
                continue
            note_encoding("iso-2022-kr" if encoding == "iso2022_kr" else "iso-2022-jp")
            return text
    return None


def _repaired(data: bytes) -> str | None:
    """Decode text that is UTF-8 except for a few bytes, which become U+FFFD; None if it is another encoding."""
    text = data.decode("utf-8", "replace")
    wrong = text.count("\ufffd") - data.count("\ufffd".encode())
    plain = len(data.translate(None, bytes(range(128, 256))))
    right = len(text) - plain - wrong
    # In older encodings, few bytes above 127 happen to form characters of UTF-8.
    if right < 3 * wrong or right < 3:
        return None
    warn(f"{wrong:,} bytes are not valid UTF-8 and were replaced by U+FFFD")
    return text


def _strictly(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as exc:
        raise IngestError(
            f"its first bytes indicate {encoding}, but byte {exc.start} is not valid {encoding}: {exc.reason}"
        ) from exc
    note_encoding(encoding)
    return text


def _guess(data: bytes, why: UnicodeDecodeError) -> str:
    reason = f"byte {why.start}: {why.reason}"
    detector: Any = require("charset_normalizer", f"to read text that is not UTF-8 ({reason})")
    script = _by_script(data)
    if script is not None:
        return script
    # preemptive_behaviour is off: an encoding named in the text ("charset=…") is often outdated.
    best = detector.from_bytes(_sample(data, why.start), cp_isolation=_CANDIDATES, preemptive_behaviour=False).best()
    if best is not None and str(best.encoding) in _CYRILLIC:
        # Each of them decodes the other's small letters as capitals.
        texts = {name: data.decode(name, "replace") for name in _CYRILLIC}
        name = max(texts, key=lambda name: sum(map(str.islower, texts[name])))
        note_encoding(name)
        return texts[name]
    if best is not None and str(best.encoding) not in _SPELLINGS:
        return _strictly(data, str(best.encoding))
    text, fit, name = _latin(data)
    if best is None and fit < _LEAST_FIT:
        raise IngestError(f"unknown text encoding: not UTF-8 ({reason}), and no older encoding fits")
    note_encoding(name)
    return text


def _sample(data: bytes, place: int) -> bytes:
    """Return whole lines around a place, about `_SAMPLE` bytes: the detector decodes its input sixteen times."""
    if len(data) <= _SAMPLE:
        return data
    start = max(data.rfind(b"\n", 0, place) + 1, place - _SAMPLE // 2)
    end = data.rfind(b"\n", place, start + _SAMPLE)
    return data[start : end if end > place else start + _SAMPLE]


def _by_script(data: bytes) -> str | None:
    """Decode Japanese by its kana and Korean by its syllables, which also identify short texts."""
    for encoding, low, high, share in (
        ("cp932", "\u3041", "\u30fe", 0.3),
        ("euc_jp", "\u3041", "\u30fe", 0.3),
        ("euc_kr", "\uac00", "\ud7a3", 0.9),
    ):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        letters = [char for char in text if char >= "\u0080" and char.isalpha()]
        if letters and sum(low <= char <= high for char in letters) >= share * len(letters):
            note_encoding("cp949" if encoding == "euc_kr" else encoding)
            return data.decode("cp949") if encoding == "euc_kr" else text
    return None


def _latin(data: bytes) -> tuple[str, float, str]:
    """Decode with the Latin code page whose letters fit a language best; also return their share, and its name."""
    best, score, name = data.decode("latin-1"), -1.0, "latin-1"
    for encoding, alphabets in _SPELLINGS.items():
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        letters = [char for char in text.lower() if char >= "\u0080" and char not in _PUNCTUATION]
        fit = max(sum(char in alphabet for char in letters) for alphabet in alphabets) / max(1, len(letters))
        if fit > score:  # of equals, the first: cp1252 is the most common
            best, score, name = text, fit, encoding
    return best, score, name
