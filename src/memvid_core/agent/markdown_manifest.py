"""The manifest of an export: its files and bullets as they were, so that an import finds what the user edited."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from memvid_core.agent.records import digest
from memvid_core.errors import InvalidInputError, StorageError
from memvid_core.system import atomic_files

__all__ = ["MANIFEST", "Manifest", "read_manifest", "write_file", "write_manifest"]

MANIFEST: Final = ".memvid-export.json"


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """What an export wrote. It has digests alone, no text: what was forgotten does not stay in it.

    Args:
        memory: Which memory and scope it came from.
        files: Digests of the content of each file. There are two while an export is being written.
        items: Digests of the text of each item, by id; two while an export is being written.
    """

    memory: str = ""
    files: dict[str, list[str]] = {}
    items: dict[str, list[str]] = {}

    def wrote(self, name: str, content: str) -> bool:
        """Tell whether a file is as it was exported."""
        return digest(content) in self.files.get(name, ())

    def exported(self, item_id: str, text: str) -> bool:
        """Tell whether the text of an item is as it was exported."""
        return digest(text) in self.items.get(item_id, ())

    def joined(self, newer: Manifest) -> Manifest:
        """Return a manifest that holds while files of this one are replaced by those of a newer one."""
        return Manifest(
            memory=newer.memory,
            files=_joined(self.files, newer.files),
            items=_joined(self.items if self.memory == newer.memory else {}, newer.items),
        )


def _joined(older: Mapping[str, list[str]], newer: Mapping[str, list[str]]) -> dict[str, list[str]]:
    names = dict.fromkeys([*older, *newer])
    return {name: sorted({*older.get(name, ()), *newer.get(name, ())}) for name in names}


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a folder, or None if nothing was exported into it.

    Raises:
        InvalidInputError: It cannot be read.
    """
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as exc:
        raise InvalidInputError(f"{path} cannot be read: {exc}; delete it to take the folder for new notes") from exc


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder."""
    write_file(folder / MANIFEST, msgspec.json.encode(manifest).decode())


def write_file(path: Path, content: str) -> None:
    """Write a file that is there as a whole or not at all.

    Raises:
        StorageError: The system refused.
    """
    try:
        atomic_files.write_file(path, content.encode("utf-8", "surrogatepass"))
    except OSError as exc:
        raise StorageError(f"{path} cannot be written: {exc}") from exc
