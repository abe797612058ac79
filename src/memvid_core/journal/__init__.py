"""Records to frame payloads and back: commits, recovery, compaction."""

from memvid_core.journal.entries import Batch, Cursor, Entry, Header, Row, RowFrame
from memvid_core.journal.journal import Journal
from memvid_core.journal.reader import ByteCache, RecordReader

__all__ = ["Batch", "ByteCache", "Cursor", "Entry", "Header", "Journal", "RecordReader", "Row", "RowFrame"]
