from __future__ import annotations

import os
import random
import sys
import zipfile

import pytest

from memvid_core.errors import IngestError, MissingExtraError
from memvid_core.ingest import read_document
from memvid_core.ingest.readers import zipped
from tests.core.ingest import mixed, ole_files


def texts(document):
    return [section.text for section in document.sections]


def outcome(path):
    """The texts of a document, or what the error says; any other exception is a fault."""
    try:
        return texts(read_document(path))
    except IngestError as exc:
        return str(exc)


def test_a_zip_bomb_in_a_docx(tmp_path):
    like = mixed.write_docx(tmp_path / "like.docx", "T", ["x"])
    path = mixed.write_zip_bomb(tmp_path / "bomb.docx", like=like, member="word/document.xml", megabytes=64)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(IngestError, match=r"bomb\.docx: refused: .* zip bomb"):
        read_document(path)


def test_a_zip_that_lies_about_its_sizes(tmp_path):
    like = mixed.write_docx(tmp_path / "like.docx", "T", ["x"])
    path = mixed.write_zip_bomb(tmp_path / "liar.docx", like=like, member="word/document.xml", megabytes=64)
    data = bytearray(path.read_bytes())
    real = (64 << 20).to_bytes(4, "little")
    at = data.rfind(real)
    assert at > 0
    data[at : at + 4] = (1000).to_bytes(4, "little")  # the size in the directory
    path.write_bytes(data)
    with pytest.raises(IngestError, match=r"liar\.docx: damaged"):
        read_document(path)


def test_an_encrypted_office_file(tmp_path):
    path = ole_files.write_ole(tmp_path / "locked.docx", {"EncryptedPackage": b"x" * 600})
    with pytest.raises(IngestError, match=r"locked\.docx: encrypted"):
        read_document(path)
    ole_files.write_ole(path, {"WordDocument": b"x" * 600})
    with pytest.raises(IngestError, match="old binary Office file"):
        read_document(path)
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)
    with pytest.raises(IngestError, match="damaged: not a complete OLE file"):
        read_document(path)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.pdf", b"hello", "not a PDF"),
        ("a.docx", b"hello", "not a DOCX file"),
        ("a.xlsx", b"PK\x03\x04junk", "not a complete zip"),
        ("a.doc", b"plain words", "not a DOC file"),
        ("a.msg", b"plain words", "not a MSG file"),
        ("a.hwp", b"plain words", "not a HWP file"),
        ("a.rtf", b"plain words", "not an RTF file"),
        ("a.vtt", b"plain words", "no cues"),
        ("a.mbox", b"plain words", "not a mailbox"),
        ("a.eml", b"plain words", "not a mail message"),
        ("a.xml", b"plain words", "damaged"),
        ("a.txt", b"\x00\x01\x02\x03" * 50, "binary"),
        ("a.pdf", b"%PDF-1.7\njunk\n%%EOF", "damaged"),
        ("a.pdf", b"%PDF-1.7\njunk", "truncated"),
    ],
)
def test_names_that_promise_too_much(tmp_path, name, content, why):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(IngestError, match=why) as caught:
        read_document(tmp_path / name)
    assert str(caught.value).startswith((tmp_path / name).as_posix())


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("mimetype", "application/vnd.oasis.opendocument.text", "content.xml"),
        ("mimetype", "application/vnd.oasis.opendocument.graphics", "OpenDocument drawing"),
        ("xl/workbook.bin", "x", "binary workbook"),
        ("META-INF/container.xml", "<container/>", "does not name a package document"),
    ],
)
def test_archives_of_other_kinds(tmp_path, name, content, why):
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr(name, content)
    with pytest.raises(IngestError, match=why):
        read_document(tmp_path / "a.docx")


def test_an_archive_with_a_password(tmp_path):
    path = mixed.write_docx(tmp_path / "a.docx", "T", ["x"])
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1  # the flag in the directory
    path.write_bytes(data)
    with pytest.raises(IngestError, match="needs a password"):
        read_document(path)


def test_too_many_entries(tmp_path, monkeypatch):
    monkeypatch.setattr(zipped, "MOST_ENTRIES", 3)
    path = mixed.write_docx(tmp_path / "a.docx", "T", ["x"])
    with pytest.raises(IngestError, match="entries in a zip"):
        read_document(path)


def test_archives_and_missing_things(tmp_path):
    with pytest.raises(IngestError, match="no such file"):
        read_document(tmp_path / "gone.txt")
    with pytest.raises(IngestError, match="a folder"):
        read_document(tmp_path)


if hasattr(os, "mkfifo"):

    def test_a_pipe_is_not_waited_for(tmp_path):
        os.mkfifo(tmp_path / "pipe.txt")
        with pytest.raises(IngestError, match="not a regular file"):
            read_document(tmp_path / "pipe.txt")


@pytest.mark.parametrize("suffix", ["pdf", "docx", "pptx", "xlsx", "epub"])
def test_truncated_at_any_place_it_is_named_or_read(tmp_path, suffix):
    by_suffix = {path.path.suffix: path.path for path in mixed.write_mixed(tmp_path / "m", 7)}
    data = by_suffix[f".{suffix}"].read_bytes()
    whole = read_document(by_suffix[f".{suffix}"])
    rng = random.Random(5)
    path = tmp_path / f"cut.{suffix}"
    for length in sorted({*rng.sample(range(8, len(data)), 40), len(data) - 1}):
        path.write_bytes(data[:length])
        read = outcome(path)
        assert read == texts(whole) or (isinstance(read, str) and read.startswith(path.as_posix()))


@pytest.mark.parametrize("suffix", ["pdf", "docx", "pptx", "xlsx", "epub", "html", "csv"])
def test_flipped_bytes_raise_nothing_else(tmp_path, suffix):
    by_suffix = {path.path.suffix: path.path for path in mixed.write_mixed(tmp_path / "m", 7)}
    data = by_suffix[f".{suffix}"].read_bytes()
    rng = random.Random(6)
    path = tmp_path / f"flipped.{suffix}"
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        read = outcome(path)
        assert isinstance(read, list) or read.startswith(path.as_posix())


@pytest.mark.parametrize(
    ("suffix", "module"),
    [
        ("pdf", "pypdfium2"),
        ("docx", "lxml.etree"),
        ("pptx", "lxml.etree"),
        ("xlsx", "lxml.etree"),
        ("html", "lxml.html"),
        ("epub", "lxml.etree"),
    ],
)
def test_a_missing_extra_is_named(tmp_path, monkeypatch, suffix, module):
    by_suffix = {path.path.suffix: path.path for path in mixed.write_mixed(tmp_path, 7)}
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"memvid-core\[documents\]") as caught:
        read_document(by_suffix[f".{suffix}"])
    assert isinstance(caught.value, ImportError)
    assert f".{suffix}" in str(caught.value)
