"""The journal: records as frame payloads, commits, recovery and compaction."""

from memvid_core.journal.entries import Batch, Cursor, Entry, Header, Row
from memvid_core.journal.journal import Journal
from memvid_core.journal.known import Known
from memvid_core.journal.reader import ByteCache, RecordReader
from memvid_core.journal.torn import rows_in, torn_copies
from memvid_core.model import FrameLocation

__all__ = [
    "Batch",
    "ByteCache",
    "Cursor",
    "Entry",
    "FrameLocation",
    "Header",
    "Journal",
    "Known",
    "RecordReader",
    "Row",
    "rows_in",
    "torn_copies",
]
