"""Every error this package raises on purpose, as one tree.

Each is also the builtin a caller would expect, so ``except ValueError`` or ``except OSError`` keep working::

    MemvidError
    ├── InvalidInputError (ValueError)          an argument that cannot be taken
    │   ├── DimensionError                      a vector of the wrong length
    │   ├── VectorError                         NaN, infinite or non-numeric vectors
    │   ├── FilterError                         a filter the language does not know
    │   ├── MetadataError (also TypeError)      metadata that cannot be stored; names the key
    │   ├── TextError (also TypeError)          a text that is no str, or no valid Unicode
    │   ├── QueryError                          a query that cannot be searched for
    │   ├── CodecError                          codec settings that cannot work
    │   └── EmbedderMismatchError               a memory written by another embedder
    ├── EmbeddingError (RuntimeError)           an embedder failed or returned nonsense
    ├── ChatError (RuntimeError)                a language model failed or returned nonsense
    ├── MissingExtraError (ImportError)         an optional dependency is not installed; names the extra
    ├── MemoryFileError (OSError)
    │   ├── MemoryNotFoundError (FileNotFoundError)
    │   ├── MemoryExistsError (FileExistsError)
    │   ├── NotAMemoryError (also ValueError)   not an MP4, or an MP4 that carries no memory
    │   ├── UnsupportedFormatError (also ValueError)   written by a newer version
    │   ├── DamagedFrameError                   a frame whose bytes are not what was written; has .frame
    │   ├── LockedError (BlockingIOError)       another writer holds the memory; says who
    │   ├── ReadOnlyError (PermissionError)     a write on a memory opened for reading
    │   └── StorageError                        the disk said no (full, gone, forbidden); nothing was committed
    ├── ClosedError (ValueError)                used after close(), like a closed file
    ├── RecordNotFoundError (KeyError)          no live record has that id
    └── IngestError (ValueError)                a document that cannot be read
"""

from __future__ import annotations

__all__ = [
    "ChatError",
    "ClosedError",
    "CodecError",
    "DamageWarning",
    "DamagedFrameError",
    "DimensionError",
    "EmbedderMismatchError",
    "EmbeddingError",
    "FilterError",
    "IngestError",
    "InvalidInputError",
    "LockedError",
    "MemoryExistsError",
    "MemoryFileError",
    "MemoryNotFoundError",
    "MemvidError",
    "MetadataError",
    "MissingExtraError",
    "NotAMemoryError",
    "QueryError",
    "ReadOnlyError",
    "RecordNotFoundError",
    "StorageError",
    "TextError",
    "TornTailWarning",
    "UnsupportedFormatError",
    "VectorError",
]


class MemvidError(Exception):
    """Base of every error raised on purpose."""


class InvalidInputError(MemvidError, ValueError):
    """An argument that cannot be taken. Nothing was changed."""


class DimensionError(InvalidInputError):
    """A vector whose length is not the memory's dimension."""


class VectorError(InvalidInputError):
    """A vector with NaN or infinite components, or one that is not numeric."""


class FilterError(InvalidInputError):
    """A filter that the filter language does not know, or an operand of the wrong type."""


class MetadataError(InvalidInputError, TypeError):
    """Metadata that cannot be stored; the message names the key."""


class TextError(InvalidInputError, TypeError):
    """A text that is not a ``str``, or not valid Unicode (a lone surrogate)."""


class QueryError(InvalidInputError):
    """A query that cannot be searched for: empty, or of a mode the memory has not."""


class CodecError(InvalidInputError):
    """Codec settings that cannot work, or a payload that no frame can carry."""


class EmbedderMismatchError(InvalidInputError):
    """The memory was written by another embedder than the one given."""


class EmbeddingError(MemvidError, RuntimeError):
    """An embedder failed, or returned something that is not one vector a text."""


class ChatError(MemvidError, RuntimeError):
    """A language model failed, or returned something that is no text."""


class MissingExtraError(MemvidError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""


class MemoryFileError(MemvidError, OSError):
    """Something about the file itself."""


class MemoryNotFoundError(MemoryFileError, FileNotFoundError):
    """There is no file at that path, or its folder is missing."""


class MemoryExistsError(MemoryFileError, FileExistsError):
    """``create`` was asked for a path that already holds a file."""


class NotAMemoryError(MemoryFileError, ValueError):
    """Not an MP4, or an MP4 that carries no memory."""


class UnsupportedFormatError(MemoryFileError, ValueError):
    """Written by a newer version, or with a feature that this version does not know."""


class DamagedFrameError(MemoryFileError):
    """A frame whose bytes are not what was written.

    Attributes:
        frame: Its number in the video, from 0.
    """

    def __init__(self, frame: int, reason: str) -> None:
        super().__init__(f"frame {frame} is damaged: {reason}")
        self.frame = frame


class LockedError(MemoryFileError, BlockingIOError):
    """Another writer holds the memory; the message says who."""


class ReadOnlyError(MemoryFileError, PermissionError):
    """A write on a memory that was opened for reading."""


class StorageError(MemoryFileError):
    """The operating system refused a read or a write. Nothing was committed."""


class ClosedError(MemvidError, ValueError):
    """Used after ``close()``, as a closed file would be."""


class RecordNotFoundError(MemvidError, KeyError):
    """No live record has that id."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class IngestError(MemvidError, ValueError):
    """A document that cannot be read."""


class DamageWarning(UserWarning):
    """Records lie in damaged frames: they are not there, and the others are."""


class TornTailWarning(UserWarning):
    """The last write never finished; its bytes are ignored and cut at the next write."""
