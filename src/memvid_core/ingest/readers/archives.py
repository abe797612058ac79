"""Zip archives of documents."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from zipfile import ZipInfo

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.file_types import BINARY_SUFFIXES
from memvid_core.ingest.readers.nested import announce, read_nested
from memvid_core.ingest.readers.remarks import warn
from memvid_core.ingest.readers.zipped import open_parts

__all__ = ["read_zip"]

_LEFT_OUT = frozenset({"__MACOSX", "node_modules", "__pycache__"})
_MOST_KINDS = 8


def read_zip(path: Path) -> list[Section]:
    """Read the documents in a zip archive in the order of their names; ``entry`` is the name in the archive.

    Hidden, binary, encrypted and damaged entries are left out with a warning. An archive that would unpack to too much
    is refused before.

    Raises:
        IngestError: The archive is a zip bomb, or all of it is damaged or encrypted.
    """
    sections: list[Section] = []
    skipped: dict[str, int] = {}
    archive, damaged = open_parts(path)
    with archive:
        if damaged and len(damaged) == len(archive.infolist()):
            raise IngestError(next(iter(damaged.values())))
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        announce(sum(entry.file_size > 0 and not _is_skipped(entry) for entry in entries))
        for entry in sorted(entries, key=lambda entry: entry.filename):
            if _is_skipped(entry):
                kind = PurePosixPath(entry.filename).suffix.lower() or "without suffix"
                skipped[kind] = skipped.get(kind, 0) + 1
            elif entry in damaged:
                warn(f"{_name(entry)} was left out: {damaged[entry]}")
            elif entry.file_size:
                sections += read_nested(_name(entry), archive.read(entry), "entry")
    if skipped:
        kinds = [f"{kind} {number:,}" for kind, number in list(skipped.items())[:_MOST_KINDS]]
        number = sum(skipped.values())
        warn(f"{number:,} {'entry was' if number == 1 else 'entries were'} left out ({', '.join(kinds)})")
    return sections


def _name(entry: ZipInfo) -> str:
    """Return the name of an entry; without the flag of UTF-8, archives of Korean and Japanese systems use their own."""
    if entry.flag_bits & 0x800 or entry.filename.isascii():
        return entry.filename
    data = entry.filename.encode("cp437", "replace")
    for encoding in ("utf-8", "cp949", "cp932"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return entry.filename


def _is_skipped(entry: ZipInfo) -> bool:
    path = PurePosixPath(entry.filename)
    hidden = any((part.startswith(".") and part != "..") or part in _LEFT_OUT for part in path.parts)
    return hidden or path.suffix.lower() in BINARY_SUFFIXES - {".zip"}
