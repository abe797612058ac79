"""Text that comes from no file, read as files are."""

from __future__ import annotations

from memvid_core.ingest.readers.encoded_data import without_encoded_data
from memvid_core.ingest.readers.remarks import collecting

__all__ = ["readable"]


def readable(text: str) -> tuple[str, list[str]]:
    """Return a text without runs of encoded data, and what was left out, in sentences.

    Example:
        >>> readable("before " + "0123456789abcdef" * 20)
        ('before ', ['320 characters of encoded binary data were left out'])
    """
    with collecting() as remarks:
        kept = without_encoded_data(text)
    return kept, remarks.warnings
