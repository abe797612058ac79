r"""Reading files and folders into chunks with metadata; ``ingest.sync`` keeps a memory synchronized with them.

Example:
    >>> [chunk.metadata["heading"] for chunk in Chunker().chunk("# Guide\n\n## Install\n\nRun it.", kind="markdown")]
    ['Guide > Install']
"""

from __future__ import annotations

from memvid_core.ingest.discover import discover
from memvid_core.ingest.readers import read_document
from memvid_core.ingest.readers.chunking import Chunker, Tokenizer
from memvid_core.ingest.readers.document import Chunk, Document, Section
from memvid_core.ingest.readers.load import ReadResult, load_chunks, read_many
from memvid_core.ingest.readers.media import Segment, Transcribe, Transcript

__all__ = [
    "Chunk",
    "Chunker",
    "Document",
    "ReadResult",
    "Section",
    "Segment",
    "Tokenizer",
    "Transcribe",
    "Transcript",
    "discover",
    "load_chunks",
    "read_document",
    "read_many",
]
