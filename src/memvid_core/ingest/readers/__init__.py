"""Readers of file formats, each of a path into sections; chunking, and processes that read many files."""

from __future__ import annotations

import os
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path, PurePath
from zipfile import BadZipFile

import msgspec

from memvid_core.errors import IngestError, MemvidError, MissingExtraError
from memvid_core.ingest.readers.archives import read_zip
from memvid_core.ingest.readers.captions import read_captions
from memvid_core.ingest.readers.document import Document, Section
from memvid_core.ingest.readers.encoded_data import without_encoded_data
from memvid_core.ingest.readers.file_types import SNIFF_BYTES, format_of
from memvid_core.ingest.readers.hangul import read_hwpx
from memvid_core.ingest.readers.hangul_binary import read_hwp
from memvid_core.ingest.readers.mail import read_eml, read_mbox
from memvid_core.ingest.readers.markup import read_adoc, read_org, read_rst, read_tex
from memvid_core.ingest.readers.media import HOW_TO_READ, Transcribe, transcribed
from memvid_core.ingest.readers.nested import counting_nested, set_reader
from memvid_core.ingest.readers.ocr import read_picture
from memvid_core.ingest.readers.ole import OLE, ole_format
from memvid_core.ingest.readers.opendocument import read_opendocument
from memvid_core.ingest.readers.outlook import read_msg
from memvid_core.ingest.readers.pdf import read_pdf
from memvid_core.ingest.readers.records import read_json
from memvid_core.ingest.readers.remarks import collecting
from memvid_core.ingest.readers.rtf import read_rtf
from memvid_core.ingest.readers.sheets import read_xlsx
from memvid_core.ingest.readers.slides import read_pptx
from memvid_core.ingest.readers.tables import read_csv
from memvid_core.ingest.readers.text import read_code, read_markdown, read_notebook, read_text
from memvid_core.ingest.readers.web import read_epub, read_html
from memvid_core.ingest.readers.word import read_docx
from memvid_core.ingest.readers.xml_documents import read_xml
from memvid_core.ingest.readers.zipped import zip_format

__all__ = ["LARGEST_FILE", "READERS", "OutOfMemoryError", "escaped", "read_document", "source_name"]

LARGEST_FILE = 1 << 30  # bytes; a reader may use a small multiple of a file's size in memory


def _refuse_media(path: Path) -> list[Section]:
    raise IngestError(HOW_TO_READ)


READERS: dict[str, Callable[[Path], list[Section]]] = {
    "adoc": read_adoc,
    "captions": read_captions,
    "code": read_code,
    "csv": read_csv,
    "docx": read_docx,
    "eml": read_eml,
    "epub": read_epub,
    "html": read_html,
    "hwp": read_hwp,
    "hwpx": read_hwpx,
    "ipynb": read_notebook,
    "json": read_json,
    "markdown": read_markdown,
    "mbox": read_mbox,
    "media": _refuse_media,
    "msg": read_msg,
    "opendocument": read_opendocument,
    "org": read_org,
    "pdf": read_pdf,
    "picture": read_picture,
    "pptx": read_pptx,
    "rst": read_rst,
    "rtf": read_rtf,
    "tex": read_tex,
    "text": read_text,
    "xlsx": read_xlsx,
    "xml": read_xml,
    "zip": read_zip,
}
_ZIPPED = frozenset({"docx", "epub", "hwpx", "opendocument", "pptx", "xlsx", "zip"})
_OLE_NAMES = frozenset({"hwp", "msg", "ole"})
_MOST_LOST = 5  # parts that an error names
_OLD_HANGUL = b"HWP Document File V"


class OutOfMemoryError(IngestError):
    """A file needs more memory than is available, or than its reader process may use."""

    def __init__(self, source: str) -> None:
        super().__init__(f"{source}: does not fit in memory: split it, or increase memory_limit")


def source_name(path: str | os.PathLike[str]) -> str:
    """Return a path in the form of ``source``: ``/`` between its parts, NFC, bytes that are not UTF-8 escaped."""
    return unicodedata.normalize("NFC", escaped(PurePath(path).as_posix()))


def escaped(text: str) -> str:
    """Return a name with bytes that are not UTF-8 escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_document(path: str | os.PathLike[str], *, transcribe: Transcribe | None = None) -> Document:
    """Read a file in the format that its name and content indicate.

    The name determines the format; a document with another name (a PDF called ``notes.txt``) is recognized by its first
    bytes. Text, Markdown, source code, CSV and notebooks need no extra; PDF, DOCX, PPTX, XLSX, HTML, EPUB and text that
    is not Unicode need the ``documents`` extra.

    Args:
        path: The file.
        transcribe: A function that returns the transcript of sound and video: a text, or segments with start, end and
            text. Without it they are refused.

    Returns:
        Its sections in order; none if it has no text.

    Raises:
        IngestError: The file is missing, empty, encrypted, damaged, too large when unpacked, or of an unknown format;
            the message starts with the path.
        MissingExtraError: The extra that the format needs is not installed.
    """
    source = source_name(path)
    file = Path(path)
    try:
        with collecting() as remarks, counting_nested():
            name = _format(file)
            if name == "media" and transcribe is not None:
                sections = _without_encoded(transcribed(file, transcribe))
            else:
                sections = _without_encoded(READERS[name](file))
            if remarks.lost and not sections:
                raise IngestError("; ".join(list(remarks.lost)[:_MOST_LOST]))
        sections = [_with_names(section, remarks.encoding) for section in sections]
        return Document(source, name, sections, remarks.warnings)
    except MissingExtraError as exc:
        raise MissingExtraError(f"{source}: {exc}") from exc
    except IngestError as exc:
        raise IngestError(f"{source}: {exc}") from exc
    except MemvidError:
        raise
    except MemoryError as exc:
        raise OutOfMemoryError(source) from exc
    except OSError as exc:
        raise IngestError(f"{source}: cannot be read: {exc.strerror or exc}") from exc
    except (BadZipFile, zlib.error, EOFError) as exc:
        raise IngestError(f"{source}: damaged: {exc}") from exc
    except Exception as exc:
        # The converters' parsers raise any exception on damaged input; the error names the file and keeps the cause.
        raise IngestError(f"{source}: damaged or unusual: {type(exc).__name__}: {exc}") from exc


def _without_encoded(sections: list[Section]) -> list[Section]:
    """Return the sections that have text, without encoded binary data."""
    kept: list[Section] = []
    for section in sections:
        text = without_encoded_data(section.text, code=section.kind == "code")
        if text is not section.text and text != section.text:
            section = msgspec.structs.replace(section, text=text, tables=[], times=[])
        if text.strip():
            kept.append(section)
    return kept


def _read_here(file: Path) -> list[Section]:
    """Read a file that another one contains."""
    return READERS[_format(file)](file)


set_reader(_read_here)


def _with_names(section: Section, encoding: str) -> Section:
    """Return a section with the encoding in its metadata, and names in NFC there, by which filters find them."""
    metadata = {**section.metadata, **({"encoding": encoding} if encoding else {})}
    names = {key: unicodedata.normalize("NFC", value) for key, value in metadata.items() if isinstance(value, str)}
    return msgspec.structs.replace(section, metadata={**metadata, **names})


def _format(file: Path) -> str:
    if not os.path.lexists(file):
        raise IngestError("no such file")
    if file.is_dir():
        raise IngestError("the folder cannot be listed" if not os.access(file, os.R_OK) else "a folder, not a file")
    if not file.is_file():
        raise IngestError("not a regular file" if file.exists() else "a link to nothing")
    size = file.stat().st_size
    promised = format_of(file)
    if size > LARGEST_FILE and promised != "media":
        raise IngestError(f"{size:,} bytes, more than the limit of {LARGEST_FILE:,}: split it")
    with file.open("rb") as opened:
        head = opened.read(SNIFF_BYTES)
    if head.startswith(OLE):
        return ole_format(file)
    if head.startswith(_OLD_HANGUL):
        raise IngestError("a Hangul document before version 5: save it as a newer .hwp, .hwpx or .pdf")
    if head[:1024].lstrip().startswith(b"%PDF-") or (promised == "pdf" and b"%PDF-" in head[:1024]):
        return "pdf"
    if head.lstrip().startswith(b"{\\rtf"):
        return "rtf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return zip_format(file)
    if not head.strip():
        return "text"
    if promised == "pdf":
        raise IngestError("not a PDF, despite its name: it does not start with %PDF-")
    if promised in _ZIPPED:
        raise IngestError(f"not a {promised.upper()} file, despite its name: it is not a zip archive")
    if promised in _OLE_NAMES:
        raise IngestError(f"not a {file.suffix[1:].upper()} file, despite its name: it is not an OLE file")
    return promised
