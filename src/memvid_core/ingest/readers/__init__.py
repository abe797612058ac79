"""One reader a format: a path in, sections out."""

from __future__ import annotations

import os
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path, PurePath
from zipfile import BadZipFile

from memvid_core.errors import IngestError, MemvidError, MissingExtraError
from memvid_core.ingest.readers.document import Document, Section
from memvid_core.ingest.readers.file_types import SNIFF_BYTES, format_of
from memvid_core.ingest.readers.office import read_docx, read_pptx
from memvid_core.ingest.readers.pdf import read_pdf
from memvid_core.ingest.readers.tables import read_csv, read_xlsx
from memvid_core.ingest.readers.text import read_code, read_markdown, read_notebook, read_text
from memvid_core.ingest.readers.web import read_epub, read_html
from memvid_core.ingest.readers.zipped import zip_format

__all__ = ["LARGEST_FILE", "READERS", "OutOfMemoryError", "escaped", "read_document", "source_name"]

LARGEST_FILE = 1 << 30  # bytes; a reader may hold a small multiple of a file in memory

READERS: dict[str, Callable[[Path], list[Section]]] = {
    "code": read_code,
    "csv": read_csv,
    "docx": read_docx,
    "epub": read_epub,
    "html": read_html,
    "ipynb": read_notebook,
    "markdown": read_markdown,
    "pdf": read_pdf,
    "pptx": read_pptx,
    "text": read_text,
    "xlsx": read_xlsx,
}
_ZIPPED = frozenset({"docx", "epub", "pptx", "xlsx"})
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class OutOfMemoryError(IngestError):
    """A file needs more memory than there is, or than its reader process may take."""

    def __init__(self, source: str) -> None:
        super().__init__(f"{source}: does not fit in memory: split it, or raise the memory limit")


def source_name(path: str | os.PathLike[str]) -> str:
    """Return a path as ``source`` has it: as given, ``/`` between its parts, NFC, bytes that are no UTF-8 escaped."""
    return unicodedata.normalize("NFC", escaped(PurePath(path).as_posix()))


def escaped(text: str) -> str:
    """Return a name with the bytes that are no UTF-8 escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_document(path: str | os.PathLike[str]) -> Document:
    """Read a file as what it is.

    The format is that of its name; a document under another name (a PDF called ``notes.txt``) is known by its first
    bytes. Text, Markdown, source code, CSV and notebooks need nothing installed; PDF, DOCX, PPTX, XLSX, HTML, EPUB
    and text that is not Unicode need the ``documents`` extra.

    Args:
        path: The file.

    Returns:
        Its sections in order; none if it has no text.

    Raises:
        IngestError: Missing, empty of meaning, encrypted, damaged, too large when unpacked, or of a kind that no
            reader knows; the message starts with the path.
        MissingExtraError: The extra it needs is not installed.
    """
    source = source_name(path)
    file = Path(path)
    try:
        name = _format(file)
        return Document(source, name, [section for section in READERS[name](file) if section.text.strip()])
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
        # The converters' parsers let any exception out on damaged input; the file is named, the cause is kept.
        raise IngestError(f"{source}: damaged or unusual: {type(exc).__name__}: {exc}") from exc


def _format(file: Path) -> str:
    if not os.path.lexists(file):
        raise IngestError("no such file")
    if file.is_dir():
        raise IngestError("a folder that cannot be listed" if not os.access(file, os.R_OK) else "a folder, not a file")
    if not file.is_file():
        raise IngestError("not a regular file" if file.exists() else "a link to nothing")
    size = file.stat().st_size
    if size > LARGEST_FILE:
        raise IngestError(f"{size:,} bytes; the largest file that is read has {LARGEST_FILE:,}: split it")
    with file.open("rb") as opened:
        head = opened.read(SNIFF_BYTES)
    promised = format_of(file)
    if head.startswith(_OLE):
        raise IngestError(_about_ole(file))
    if head[:1024].lstrip().startswith(b"%PDF-"):
        return "pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return zip_format(file)
    if not head.strip():
        return "text"
    if promised == "pdf":
        raise IngestError("not a PDF, for all its name: it does not start with %PDF-")
    if promised in _ZIPPED:
        raise IngestError(f"not a {promised.upper()} file, for all its name: it is no zip archive")
    if promised == "ole":
        raise IngestError("not an old Office file, for all its name")
    return promised


def _about_ole(file: Path) -> str:
    data = file.read_bytes()
    # Streams that tell what an OLE file is: MS-OFFCRYPTO 2.3 (an encrypted OOXML file), MS-OXMSG 2.1.
    streams = {
        "EncryptedPackage": "encrypted: remove its password first",
        "__properties_version1.0": "an Outlook message (.msg): save it as .txt, .html or .pdf",
        "HwpSummaryInformation": "a Hangul document (.hwp): save it as .docx or .pdf",
    }
    known = (about for name, about in streams.items() if name.encode("utf-16-le") in data)
    return next(known, "an old binary Office file (.doc, .xls, .ppt): save it as .docx, .xlsx or .pptx")
