from __future__ import annotations

import sys

import numpy as np
import pytest

from memvid_core.errors import IngestError, MissingExtraError
from memvid_core.ingest import read_document
from memvid_core.ingest.readers.encodings import decode
from memvid_core.ingest.readers.remarks import collecting

KOREAN = "안녕하세요. 이 문서는 오래된 윈도우에서 만들어진 한국어 텍스트 파일입니다."
JAPANESE = "これは日本語のテキストファイルです。文字コードを判定する必要があります。"
CHINESE = "这是一个中文文本文件。我们需要检测它的编码。今天天气很好。"
TAIWANESE = "這是一個中文文字檔案。我們需要偵測它的編碼。今天天氣很好。"
RUSSIAN = "Это русский текст в старой кодировке. Нужно определить её правильно."
GREEK = "Αυτό είναι ένα ελληνικό κείμενο σε παλιά κωδικοποίηση."


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (KOREAN, "cp949"), (KOREAN, "euc_kr"), (JAPANESE, "shift_jis"), (JAPANESE, "euc_jp"), (CHINESE, "gb18030"),
        (CHINESE, "gbk"), (TAIWANESE, "big5"), (RUSSIAN, "cp1251"), (RUSSIAN, "koi8_r"), (RUSSIAN[:20], "koi8_r"),
        (GREEK, "cp1253"),
        ("Voilà un été très agréable à Besançon, où l'on mange des crêpes. Noël approche déjà.", "latin-1"),
        ("Le café est fermé", "cp1252"),
        ("“Smart” quotes – and a naïve café", "cp1252"),
        ("El niño comió mañana y después habló con la señora. ¿Qué?", "latin-1"),
        ("Die Straße führt über die Brücke zum größten Gebäude.", "latin-1"),
        ("Åke går på blåbär i öknen och äter smörgås", "cp1252"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy. Dnes je hezké počasí.", "cp1250"),
        ("Zażółć gęślą jaźń. Wszyscy ludzie rodzą się wolni.", "cp1250"),
        ("Zażółć gęślą jaźń. Wszyscy ludzie rodzą się wolni.", "iso8859_2"),
        ("Árvíztűrő tükörfúrógép. A magyar nyelv nagyon szép.", "cp1250"),
        ("Bugün hava çok güzel, dışarı çıkıp yürüyüş yapacağım. İstanbul şehri.", "cp1254"),
    ],
)  # fmt: skip
def test_old_encodings_are_told_by_what_they_spell(text, encoding):
    assert decode(text.encode(encoding)) == text
    assert decode(f"Title: report\n\n{text * 20}".encode(encoding)) == f"Title: report\n\n{text * 20}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", ["Plain text with an é.\nTwo lines.", "Latin first, then " + KOREAN])
def test_unicode_in_any_form(text, encoding):
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text", [KOREAN, JAPANESE, CHINESE, TAIWANESE, RUSSIAN, GREEK, "안녕하세요.", "ไทย ภาษาไทย", "abc"]
)
def test_utf16_without_a_mark_is_told_by_its_scripts(text, encoding):
    assert decode(text.encode(encoding)) == text
    assert decode(f"{text}\n".encode(encoding) * 1000) == f"{text}\n" * 1000


def test_utf8_needs_no_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    assert decode(KOREAN.encode()) == KOREAN


def test_a_missing_detector_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    with pytest.raises(MissingExtraError, match=r"memvid-core\[documents\]"):
        decode(KOREAN.encode("cp949"))


def test_newlines_become_one_kind():
    assert decode(b"a\r\nb\rc\nd") == "a\nb\nc\nd"


@pytest.mark.parametrize(
    "data",
    [
        *(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 20, bytes(range(256)) * 8),
        *(b"\xff\xfea\x00\x00\xd8b\x00", b"\xef\xbb\xbf\xff"),
        np.random.default_rng(1).bytes(4000),
        np.random.default_rng(1).integers(0x4E00, 0x9FFF, 4000, dtype="<u2").tobytes(),  # a sensor's numbers
        np.random.default_rng(1).normal(0, 500, 4000).astype("<i2").tobytes(),  # a sound
        np.arange(4000, dtype="<f4").tobytes(),
    ],
)
def test_what_is_no_text_is_refused(data):
    with pytest.raises(IngestError):
        decode(data)


@pytest.mark.parametrize(
    "text",
    [
        "Die Straße führt über die Brücke zum größten Gebäude.", KOREAN, JAPANESE, CHINESE, RUSSIAN, GREEK,
        "مرحبا بالعالم، هذا نص عربي.", "नमस्ते दुनिया, यह हिंदी है।", "สวัสดีชาวโลก นี่คือภาษาไทย",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", [0, 9, -1])
def test_utf8_with_one_wrong_byte_is_utf8_with_a_warning(text, place):
    data = "\n".join([text] * 3).encode().split(b"\n")
    data[1] = b"\xff" + data[1] if place == 0 else data[1][:-1] + b"." + b"\xff" if place < 0 else data[1] + b"\xfe"
    with collecting() as remarks:
        decoded = decode(b"\n".join(data))
    assert decoded.split("\n")[::2] == [text, text]
    assert decoded.count("\ufffd") in (1, 2)
    assert len(remarks.warnings) == 1
    assert "not valid UTF-8" in remarks.warnings[0]


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [(JAPANESE, "iso2022_jp", "iso-2022-jp"), (KOREAN, "iso2022_kr", "iso-2022-kr"), (KOREAN, "cp949", "cp949"),
     (JAPANESE, "cp932", "cp932"), (RUSSIAN, "koi8_r", "koi8_r"), (KOREAN, "utf-16", "utf-16")],
)  # fmt: skip
def test_the_encoding_is_in_the_metadata(tmp_path, text, encoding, named):
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    (section,) = read_document(tmp_path / "a.txt").sections
    assert (section.text, section.metadata) == (text, {"encoding": named})


@pytest.mark.parametrize(
    ("name", "before", "encoding"),
    [
        ("a.xml", '<?xml version="1.0" encoding="EUC-KR"?>\n<p>', "cp949"),
        ("a.py", "# -*- coding: koi8-r -*-\n# ", "koi8_r"),
        ("a.html", "<html><head><meta charset=windows-1255></head><body>", "cp1255"),
        ("a.css", '@charset "windows-1257";\n/* ', "cp1257"),
    ],
)
def test_what_a_file_declares_counts(tmp_path, name, before, encoding):
    text = {"cp949": "가각", "koi8_r": "Эта", "cp1255": "שלום", "cp1257": "žąsų"}[encoding]
    (tmp_path / name).write_bytes((before + text + ("</p>" if name == "a.xml" else "")).encode(encoding))
    assert text in read_document(tmp_path / name).sections[0].text


@pytest.mark.parametrize(
    "codec", ["unicode_escape", "raw_unicode_escape", "rot13", "idna", "punycode", "zlib", "nonsense"]
)
def test_a_declaration_names_no_other_codec(tmp_path, codec):
    (tmp_path / "a.html").write_text(f'<meta charset="{codec}"><p>\\u0041 é</p>', encoding="utf-8")
    assert read_document(tmp_path / "a.html").sections[0].text == "\\u0041 é"
