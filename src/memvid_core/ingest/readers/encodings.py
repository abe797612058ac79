"""Decoding bytes whose encoding is unknown."""

from __future__ import annotations

import codecs
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.extras import require
from memvid_core.ingest.readers.file_types import SNIFF_BYTES, looks_binary, utf16_of

__all__ = ["decode"]

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
_LEAST_FIT = 0.9
_CYRILLIC = ("cp1251", "koi8_r")


def decode(data: bytes) -> str:
    r"""Decode a text file by its byte-order mark, as UTF-8, as UTF-16 by its zeros, or by the language it contains.

    Newlines become ``\n``.

    Raises:
        IngestError: The data is binary, or invalid in the encoding of its mark. The caller adds the path.
        MissingExtraError: The data is not Unicode, and the ``documents`` extra is not installed.
    """
    return _decode(data).replace("\r\n", "\n").replace("\r", "\n")


def _decode(data: bytes) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _strictly(data, encoding)
    head = data[:SNIFF_BYTES]
    if looks_binary(head):
        raise IngestError("a binary file, not a text")
    wide = utf16_of(head)
    if wide is not None:
        return _strictly(data, wide)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        return _guess(data, exc)


def _strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as exc:
        raise IngestError(
            f"its first bytes indicate {encoding}, but byte {exc.start} is not valid {encoding}: {exc.reason}"
        ) from exc


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
        return max((data.decode(name, "replace") for name in _CYRILLIC), key=lambda text: sum(map(str.islower, text)))
    if best is not None and str(best.encoding) not in _SPELLINGS:
        return _strictly(data, str(best.encoding))
    text, fit = _latin(data)
    if best is None and fit < _LEAST_FIT:
        raise IngestError(f"unknown text encoding: not UTF-8 ({reason}), and no older encoding fits")
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
            return data.decode("cp949") if encoding == "euc_kr" else text
    return None


def _latin(data: bytes) -> tuple[str, float]:
    """Decode with the Latin code page whose letters fit a language best; also return the share of letters that fit."""
    best, score = data.decode("latin-1"), -1.0
    for encoding, alphabets in _SPELLINGS.items():
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        letters = [char for char in text.lower() if char >= "\u0080" and char not in _PUNCTUATION]
        fit = max(sum(char in alphabet for char in letters) for alphabet in alphabets) / max(1, len(letters))
        if fit > score:  # of equals, the first: cp1252 is the most common
            best, score = text, fit
    return best, score
