"""Documents in zip archives: checked before anything is unpacked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, Self
from zipfile import BadZipFile, ZipFile, ZipInfo

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.remarks import lose

__all__ = [
    "HIGHEST_RATIO",
    "MOST_ENTRIES",
    "MOST_UNPACKED",
    "RATIO_COUNTS_FROM",
    "Parts",
    "open_parts",
    "zip_format",
]

MOST_UNPACKED = 1 << 30  # bytes of all entries
MOST_ENTRIES = 50_000
# Text and XML compress 3 to 30 times, Deflate at most 1,032 times. Small files may compress better than a bomb.
HIGHEST_RATIO = 200
RATIO_COUNTS_FROM = 16 << 20
_STEP = 1 << 20

_TYPES = "[Content_Types].xml"
_TELLING = frozenset(("mimetype", _TYPES))  # what kind of document it is
_MAIN_TYPES = {
    "docx": re.compile(rb"(?:wordprocessingml|ms-word)\.[\w.]*main\+xml"),
    "pptx": re.compile(rb"(?:presentationml|ms-powerpoint)\.[\w.]*main\+xml"),
    "xlsx": re.compile(rb"(?:spreadsheetml|ms-excel)\.[\w.]*main\+xml"),
}


class Parts:
    """Read the parts of a document in a zip archive, for the duration of a ``with`` block.

    Damaged parts that are not read in it are named in a warning at its end.

    Args:
        path: The file.

    Raises:
        IngestError: A part is encrypted, or as for `open_parts`.
    """

    def __init__(self, path: Path) -> None:
        self._archive, damaged = open_parts(path)
        self._damaged = {entry.filename: reason for entry, reason in damaged.items()}
        self._asked: set[str] = set()
        encrypted = next((reason for reason in damaged.values() if reason.startswith("encrypted")), None)
        if encrypted:
            self._archive.close()
            raise IngestError(encrypted)
        self.names = self._archive.namelist()
        """The names of the parts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._archive.close()
        for name, reason in self._damaged.items() if kind is None else ():
            if name not in self._asked:
                lose(name, reason)

    def read(self, name: str) -> bytes:
        """Return the bytes of a part.

        Raises:
            IngestError: The part does not exist or is damaged.
        """
        with self.open(name) as file:
            return file.read()

    def open(self, name: str) -> IO[bytes]:
        """Open a part; otherwise as `read`."""
        self._asked.add(name)
        if name in self._damaged:
            raise IngestError(self._damaged[name])
        try:
            return self._archive.open(name)
        except KeyError as exc:
            raise IngestError(f"damaged: its part {name!r} is missing") from exc


def zip_format(path: Path) -> str:
    """Return the document format of a zip archive, determined by its contents.

    Raises:
        IngestError: The format is unknown, or the archive is damaged or a zip bomb.
    """
    with _opened(path) as archive:
        for entry in archive.infolist():
            if entry.filename in _TELLING and (reason := _reason(archive, entry)):
                raise IngestError(reason)
        return _format(archive)


def _format(archive: ZipFile) -> str:
    names = set(archive.namelist())
    if "word/document.xml" in names or "word/document2.xml" in names:
        return "docx"
    if "ppt/presentation.xml" in names:
        return "pptx"
    if "xl/workbook.xml" in names:
        return "xlsx"
    if "xl/workbook.bin" in names:
        raise IngestError("a binary workbook (.xlsb): save it as .xlsx")
    kind = archive.read("mimetype")[:100] if "mimetype" in names else b""
    # These have a container like that of EPUB, too.
    if kind.startswith(b"application/hwp+zip") or "Contents/section0.xml" in names:
        return "hwpx"
    if kind.startswith(b"application/vnd.oasis.opendocument"):
        if b"graphics" in kind or b"chart" in kind or b"database" in kind:
            raise IngestError("an OpenDocument drawing, chart or database: save it as .odt or .pdf")
        return "opendocument"
    if "META-INF/container.xml" in names:
        return "epub"
    if names & {"Index.zip", "index.apxl", "Index/Document.iwa"}:
        raise IngestError("a document of Pages, Numbers or Keynote: export it as a PDF or an Office file")
    # The main part may have any name; a package that lost it is damaged, and no archive of documents.
    types = archive.read(_TYPES) if _TYPES in names else b""
    if re.search(rb"ms-visio|ms-package\.xps|oxps", types):
        raise IngestError("a drawing of Visio, or XPS: save it as a PDF")
    return next((name for name, main in _MAIN_TYPES.items() if main.search(types)), "zip")


def open_parts(path: Path) -> tuple[ZipFile, dict[ZipInfo, str]]:
    """Open a zip archive after checking its directory; also return which entries cannot be unpacked, and why.

    The unpacked entries are discarded; at most a megabyte is held in memory.

    Raises:
        IngestError: The archive is damaged, has too many entries, or unpacks to too much data.
    """
    archive = _opened(path)
    try:
        reasons = {entry: _reason(archive, entry) for entry in archive.infolist()}
    except BaseException:
        archive.close()
        raise
    return archive, {entry: reason for entry, reason in reasons.items() if reason}


def _opened(path: Path) -> ZipFile:
    """Open a zip archive after checking its directory."""
    try:
        archive = ZipFile(path)
    except (BadZipFile, ValueError, OverflowError) as exc:
        raise IngestError(f"damaged: not a complete zip archive: {exc}") from exc
    try:
        _check(archive.infolist(), path.stat().st_size)
    except BaseException:
        archive.close()
        raise
    return archive


def _check(entries: list[ZipInfo], size: int) -> None:
    if len(entries) > MOST_ENTRIES:
        raise IngestError(f"refused: {len(entries):,} entries in a zip, more than {MOST_ENTRIES:,}")
    total = sum(entry.file_size for entry in entries)
    ratio = total / max(1, size)
    if total > MOST_UNPACKED or (total > RATIO_COUNTS_FROM and ratio > HIGHEST_RATIO):
        raise IngestError(
            f"refused: {size:,} bytes would unpack to {total:,} ({ratio:,.0f} times); "
            f"the limits are {MOST_UNPACKED:,} bytes and {HIGHEST_RATIO} times: a zip bomb?"
        )


def _reason(archive: ZipFile, entry: ZipInfo) -> str:
    """Return why an entry cannot be unpacked; empty if it can."""
    if entry.flag_bits & 0x1:
        return f"encrypted: {entry.filename!r} needs a password"
    try:
        # zipfile stops at the size in the directory and checks the checksum there.
        with archive.open(entry) as opened:
            while opened.read(_STEP):
                pass
    except MemoryError:
        raise
    except Exception as exc:  # BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError: no common base
        return f"damaged: {entry.filename!r} cannot be unpacked: {exc}"
    return ""
