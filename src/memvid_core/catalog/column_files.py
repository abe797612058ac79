"""Filters on the metadata of one catalog, with columns in files, so that the first filter after opening reads little.

A file belongs to one path and to the rows up to one commit. It is used only if its checksum is right and the catalog
has exactly that commit; otherwise the column is read from the catalog, whose metadata is verified before. Rows never
change, so a file stays right for its rows when commits are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from memvid_core.catalog.catalog import Catalog
from memvid_core.catalog.filter_compiler import parse_filter
from memvid_core.catalog.metadata_columns import ColumnData, MetadataColumns
from memvid_core.system.atomic_files import write_file

__all__ = ["LEAST_ROWS", "ColumnFiles"]

LEAST_ROWS: Final = 10_000
"""The rows of the smallest column in a file; fewer are read from the catalog in 20 ms."""
_MOST_BYTES: Final = 1 << 28
_SUM_BYTES: Final = 16


class _Stored(msgspec.Struct, array_like=True, frozen=True):
    """The content of a file: what it belongs to, the distinct JSON texts from code 1 on, and the codes as int32."""

    path: str
    index: str
    commit: tuple[int, ...]
    texts: list[str]
    codes: bytes


class ColumnFiles:
    """Evaluate filters, and keep their columns in files. Threads may share it.

    Args:
        catalog: The catalog of the index.
        folder: The folder of the index, whose name identifies memory and epoch; None keeps no files.
    """

    def __init__(self, catalog: Catalog, folder: Path | None) -> None:
        self._catalog = catalog
        self._columns = MetadataColumns(rows_of=catalog.rows_of)
        self._folder = None if folder is None else folder / "columns"
        self._index = "" if folder is None else folder.name
        self._saved: dict[str, int] = {}  # rows in the file of a path
        self.unsaved = False
        """Whether a column has many more rows than its file, so that :meth:`save` is worth a lock."""

    def mask(self, where: Mapping[str, Any], rows: int) -> NDArray[np.bool_]:
        """Return which of the first ``rows`` rows match a filter, live or not: bool, (rows,).

        Raises:
            FilterError: The filter is invalid.
            IndexStaleError: The catalog is damaged.
        """
        columns, parsed = self._columns, parse_filter(where)
        with columns.unchanged():  # a column that is dropped now would be read again, without being verified
            for path in columns.missing(parsed):
                self._restore(path)
            covered = columns.covered(parsed)
            self._catalog.verify_metadata(rows, covered)
            with self._catalog.reading() as connection:
                found = columns.mask(connection, parsed, committed=rows)
            if (left := columns.covered(parsed)) < covered:  # of a column that grew too large all was read
                self._catalog.verify_metadata(rows, left)
            self.unsaved |= self._folder is not None and bool(self._due())
        if len(found) == rows:
            return found
        mask = np.zeros(rows, np.bool_)
        mask[: min(rows, len(found))] = found[:rows]
        return mask

    def _due(self) -> list[str]:
        """Return the paths of the columns that have many more rows than their files."""
        sizes = self._columns.sizes().items()
        return [path for path, rows in sizes if rows >= LEAST_ROWS and rows > self._saved.get(path, 0) * 9 // 8]

    def _restore(self, path: str) -> None:
        """Take in the column of a path from its file, if that belongs to a commit of this catalog."""
        stored = self._read(path)
        if stored is None:
            return
        codes = np.frombuffer(stored.codes, "<i4").astype(np.int32)
        if self._catalog.has_commit(stored.commit, len(codes)):
            self._columns.restore(path, ColumnData(stored.texts, codes))
            self._saved[path] = len(codes)

    def _read(self, path: str) -> _Stored | None:
        """Return the content of a file; None without a file, and if it is damaged or belongs to something else."""
        file_path = None if self._folder is None else self._file(self._folder, path)
        if file_path is None or not file_path.is_file():  # a pipe would be waited for
            return None
        try:
            with open(file_path, "rb") as file:
                data = file.read(_MOST_BYTES + 1)
            body = memoryview(data)[_SUM_BYTES:]
            if len(data) > _MOST_BYTES or xxhash.xxh3_128_digest(body) != data[:_SUM_BYTES]:
                return None
            stored = msgspec.msgpack.decode(body, type=_Stored)
        except (OSError, msgspec.DecodeError, RecursionError):
            return None
        return stored if (stored.path, stored.index) == (path, self._index) and _is_column(stored) else None

    @staticmethod
    def _file(folder: Path, path: str) -> Path:
        return folder / f"{xxhash.xxh3_128_hexdigest(path.encode(errors='surrogatepass'))}.column"

    def save(self) -> None:
        """Write columns that have many more rows than their files; only the owner of the index may call it.

        Files that cannot be written are left out.
        """
        self.unsaved = False
        if self._folder is None or not self._folder.parent.is_dir():
            return
        for path in self._due():
            data = self._columns.data(path)
            if data is None:
                continue
            rows = len(data.codes)
            self._saved[path] = rows
            codes = data.codes.astype("<i4").tobytes()
            stored = _Stored(path, self._index, self._catalog.commit_columns(rows), data.texts, codes)
            body = msgspec.msgpack.encode(stored)
            with suppress(OSError):
                self._folder.mkdir(exist_ok=True)
                made = xxhash.xxh3_128_digest(body) + body
                write_file(self._file(self._folder, path), made, durable=False)


def _is_column(stored: _Stored) -> bool:
    """Return whether texts and codes can be those of a column."""
    texts = stored.texts
    if len(stored.codes) % 4 or texts[:1] != [""] or len(set(texts)) != len(texts):
        return False
    codes = np.frombuffer(stored.codes, "<i4")
    return not len(codes) or 0 <= int(codes.min()) <= int(codes.max()) <= len(texts)
