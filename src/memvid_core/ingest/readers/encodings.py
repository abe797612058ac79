"""Bytes to text when nobody says in which encoding."""

from __future__ import annotations

import codecs
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.extras import require
from memvid_core.ingest.readers.file_types import SNIFF_BYTES, looks_binary, utf16_of

__all__ = ["decode"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# What files in the wild are written in (WHATWG Encoding, the legacy encodings of operating systems and the web). A
# detector that may also choose among the other ninety finds exotic ones in ordinary text.
_CANDIDATES = [
    "cp949", "cp932", "euc_jp", "iso2022_jp", "gb18030", "big5",
    "cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp874",
    "cp1252", "cp1250", "iso8859_2", "cp1254",
]  # fmt: skip

# Code pages with the same letters in other places cannot be told apart by their bytes, but by what they spell: the
# letters beyond a to z of the languages each was made for. The first that spells one language without a stranger wins.
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
    r"""Decode a text file: by its byte-order mark, as UTF-8, as UTF-16 by its zeros, else by what it spells.

    Newlines become ``\n``.

    Raises:
        IngestError: Binary, or not valid in the encoding its mark says; without the path, which the caller knows.
        MissingExtraError: Not Unicode, and the ``documents`` extra is not installed.
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
            f"what it starts with says {encoding}, but byte {exc.start} is no {encoding}: {exc.reason}"
        ) from exc


def _guess(data: bytes, why: UnicodeDecodeError) -> str:
    reason = f"byte {why.start}: {why.reason}"
    detector: Any = require("charset_normalizer", f"to read text that is not UTF-8 ({reason})")
    script = _by_script(data)
    if script is not None:
        return script
    # preemptive_behaviour is off: an encoding named in the text ("charset=…") is often one it had in another life.
    best = detector.from_bytes(_sample(data, why.start), cp_isolation=_CANDIDATES, preemptive_behaviour=False).best()
    if best is not None and str(best.encoding) in _CYRILLIC:
        # Each reads the other's small letters as capitals.
        return max((data.decode(name, "replace") for name in _CYRILLIC), key=lambda text: sum(map(str.islower, text)))
    if best is not None and str(best.encoding) not in _SPELLINGS:
        return _strictly(data, str(best.encoding))
    text, fit = _latin(data)
    if best is None and fit < _LEAST_FIT:
        raise IngestError(f"no known text encoding: not UTF-8 ({reason}), nor any older one that fits")
    return text


def _sample(data: bytes, place: int) -> bytes:
    """Return whole lines around a place, about `_SAMPLE` bytes: the detector decodes all it gets sixteen times."""
    if len(data) <= _SAMPLE:
        return data
    start = max(data.rfind(b"\n", 0, place) + 1, place - _SAMPLE // 2)
    end = data.rfind(b"\n", place, start + _SAMPLE)
    return data[start : end if end > place else start + _SAMPLE]


def _by_script(data: bytes) -> str | None:
    """Decode Japanese by its kana and Korean by its syllables: sure signs in texts too short for statistics."""
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
    """Decode as the Latin code page whose letters spell a language, and say what share of them does."""
    best, score = data.decode("latin-1"), -1.0
    for encoding, alphabets in _SPELLINGS.items():
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        letters = [char for char in text.lower() if char >= "\u0080" and char not in _PUNCTUATION]
        fit = max(sum(char in alphabet for char in letters) for alphabet in alphabets) / max(1, len(letters))
        if fit > score:  # the first of equals: cp1252 is by far the most common
            best, score = text, fit
    return best, score
