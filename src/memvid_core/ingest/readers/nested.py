"""Files in files: attachments of mail and entries of archives, read within limits on depth, number and size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import msgspec

from memvid_core.errors import IngestError, MissingExtraError
from memvid_core.ingest.readers.document import Section
from memvid_core.ingest.readers.remarks import inside, warn

__all__ = ["announce", "counting_nested", "read_nested", "set_reader"]

_DEEPEST = 4
_MOST_FILES = 10_000
_MOST_BYTES = 1 << 30

Reader = Callable[[Path], list[Section]]


class _Use(msgspec.Struct):
    """Count what the files in one file have used."""

    depth: int = 0
    files: int = 0
    size: int = 0


_USE: ContextVar[_Use | None] = ContextVar("memvid_nested", default=None)
_READER: list[Reader] = []


def set_reader(reader: Reader) -> None:
    """Register the function that reads a file of any format."""
    _READER[:] = [reader]


def read_nested(name: str, data: bytes, key: str) -> list[Section]:
    """Read a file that another one contains; if it cannot be read, warn and return nothing.

    Args:
        name: Its name, which determines the format; only the last part is used.
        data: Its content.
        key: The key of the metadata that has the name, such as ``"attachment"``.

    Raises:
        IngestError: The files in the outermost file are too many, too deep or too large together.
    """
    use = _USE.get() or _Use()
    _count(use, len(data))
    return _read(use, name, data, key)


@contextmanager
def counting_nested() -> Iterator[None]:
    """Count the files in one outermost file for the duration of a ``with`` block."""
    token = _USE.set(_USE.get() or _Use())
    try:
        yield
    finally:
        _USE.reset(token)


def announce(files: int) -> None:
    """Refuse more files than may be read, before the first of them is read.

    Raises:
        IngestError: With those read before, they are too many.
    """
    use = _USE.get() or _Use()
    if use.files + files > _MOST_FILES:
        raise IngestError(f"refused: more than {_MOST_FILES:,} files in one: unpack it")


def _count(use: _Use, size: int) -> None:
    announce(1)
    use.files += 1
    use.size += size
    if use.size > _MOST_BYTES:
        raise IngestError(f"refused: the files in it have more than {_MOST_BYTES:,} bytes: unpack it")


def _read(use: _Use, name: str, data: bytes, key: str) -> list[Section]:
    if use.depth >= _DEEPEST:
        warn(f"{name} was left out: nested more than {_DEEPEST} deep")
        return []
    use.depth += 1
    try:
        with TemporaryDirectory(prefix="memvid-") as folder:
            file = Path(folder, "file" + PurePosixPath(name.replace("\\", "/")).suffix[:20])
            file.write_bytes(data)
            with inside(name):
                sections = _READER[0](file)
    except (IngestError, MissingExtraError) as exc:
        if str(exc).startswith("refused: "):
            raise
        warn(f"{name} was left out: {exc}")
        return []
    finally:
        use.depth -= 1
    return [
        msgspec.structs.replace(section, metadata={**section.metadata, key: _joined(name, section.metadata.get(key))})
        for section in sections
    ]


def _joined(name: str, inner: object) -> str:
    return name if inner is None else f"{name}/{inner}"
