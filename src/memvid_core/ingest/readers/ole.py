"""OLE files, the containers of old office formats: which document is in one, and its streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memvid_core.errors import IngestError
from memvid_core.ingest.readers.extras import require

__all__ = ["OLE", "Ole", "ole_format", "opened"]

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Streams that identify the document: MS-OFFCRYPTO 2.3 (an encrypted OOXML file), MS-OXMSG 2.1, and those of Hangul.
_ENCRYPTED, _MESSAGE, _HANGUL = "EncryptedPackage", "__properties_version1.0", "FileHeader"


class Ole:
    """Read the streams of an OLE file; a stream is named by the storages that contain it, and its own name."""

    def __init__(self, ole: Any) -> None:
        self._ole = ole

    def has(self, *name: str) -> bool:
        """Return whether a stream or a storage exists."""
        return bool(self._ole.exists(list(name)))

    def read(self, *name: str) -> bytes:
        """Return a stream; empty if it does not exist.

        Raises:
            IngestError: The stream is damaged.
        """
        if not self._ole.exists(list(name)) or self._ole.get_type(list(name)) != 2:
            return b""
        try:
            with self._ole.openstream(list(name)) as stream:
                return bytes(stream.read())
        except OSError as exc:
            raise IngestError(f"damaged: its part {'/'.join(name)!r} cannot be read: {exc}") from exc

    def streams(self, storage: str) -> list[str]:
        """Return the names of the streams directly in a topmost storage, in order."""
        entry = self._ole.root.kids_dict.get(storage.lower())
        kids = () if entry is None else sorted(entry.kids_dict.items())
        return [kid.name for _, kid in kids if kid.entry_type == 2]

    def storages(self, within: Sequence[str], prefix: str) -> list[tuple[str, ...]]:
        """Return the storages directly in another whose names start with a prefix, by name."""
        entry = self._ole.root
        for name in within:
            entry = entry.kids_dict[name.lower()]
        return [
            (*within, kid.name)
            for _, kid in sorted(entry.kids_dict.items())
            if kid.entry_type == 1 and kid.name.lower().startswith(prefix)
        ]


@contextmanager
def opened(path: Path) -> Iterator[Ole]:
    """Open an OLE file for the duration of a ``with`` block.

    Raises:
        IngestError: The file is damaged.
        MissingExtraError: olefile is not installed.
    """
    olefile = require("olefile", "to read files of Outlook, Hangul and old Office")
    try:
        with path.open("rb") as file, olefile.OleFileIO(file, raise_defects=olefile.DEFECT_INCORRECT) as ole:
            yield Ole(ole)
    except OSError as exc:
        if exc.errno is not None:
            raise
        raise IngestError(f"damaged: not a complete OLE file: {exc}") from exc


def ole_format(path: Path) -> str:
    """Return the document format in an OLE file: ``"msg"`` or ``"hwp"``.

    Raises:
        IngestError: The file is damaged, encrypted, or an old Office file.
        MissingExtraError: olefile is not installed.
    """
    with opened(path) as ole:
        if ole.has(_ENCRYPTED):
            raise IngestError("encrypted: remove its password first")
        if ole.has(_MESSAGE):
            return "msg"
        if ole.read(_HANGUL).startswith(b"HWP Document File"):
            return "hwp"
    raise IngestError("an old binary Office file (.doc, .xls, .ppt): save it as .docx, .xlsx or .pptx")
