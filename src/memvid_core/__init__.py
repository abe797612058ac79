"""A memory is one playable MP4 file.

>>> with Memory.create(":memory:") as memory:
...     ids = memory.add(["PyAV muxes packets", "NumPy scans codes"])
...     memory.search("muxing packets", k=1)[0].text
'PyAV muxes packets'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from memvid_core.agent.loop import MemoryLoop
    from memvid_core.agent.recalled import Recall, Recalled
    from memvid_core.agent.scoped import ScopedService
    from memvid_core.agent.service import MemoryService
    from memvid_core.agent.sync_service import SyncMemoryService
    from memvid_core.agent.tokens import estimate_tokens
    from memvid_core.embedding import (
        CallableEmbedder,
        EncodeEmbedder,
        HashingEmbedder,
        LangChainEmbedder,
        LlamaIndexEmbedder,
        as_embedder,
    )
    from memvid_core.embedding.reranking import Reranker, named_reranker
    from memvid_core.engine.search_request import Rerank
    from memvid_core.errors import (
        Action,
        ChatError,
        ClosedError,
        CodecError,
        CommitConflictError,
        DamagedFrameError,
        DamagedLibraryError,
        DamageWarning,
        DimensionError,
        EmbedderMismatchError,
        EmbedderWarning,
        EmbeddingError,
        FilterError,
        Hint,
        IncompleteSearchError,
        IngestError,
        InvalidInputError,
        LockedError,
        MemoryExistsError,
        MemoryFileError,
        MemoryNotFoundError,
        MemvidError,
        MemvidWarning,
        MetadataError,
        MissingExtraError,
        NotAMemoryError,
        OutOfMemoryError,
        QueryError,
        ReadOnlyError,
        RecordNotFoundError,
        StorageError,
        TextError,
        TornTailWarning,
        UnsupportedFormatError,
        VectorError,
        worded,
    )
    from memvid_core.library import (
        BuildReport,
        CompactReport,
        Executor,
        Library,
        LibraryDamage,
        LibraryHits,
        LibraryInfo,
        LibraryReport,
        LibraryVersion,
        SearchReport,
        ThreadExecutor,
        VacuumReport,
    )
    from memvid_core.memory import Memory
    from memvid_core.model import (
        Commit,
        Damage,
        Embedder,
        FittableEmbedder,
        GivenSynonyms,
        Hit,
        IndexName,
        MemoryInfo,
        Metric,
        Passage,
        Recency,
        Record,
        VerifyReport,
        plain_query,
    )
    from memvid_core.rewriting.convert import Conversion, Recovery, convert, recover
    from memvid_core.rewriting.rescue import RescueReport, rescue
    from memvid_core.serving.memory_files import MemoryFiles
    from memvid_core.serving.words import TOOL_WORDS, note_id
    from memvid_core.system.remote_cache import CachedCopy, cached_copies, clear_cache
    from memvid_core.system.threads import WriterThread, run_in_thread
    from memvid_core.video.qr.plain_texts import write_plain
    from memvid_core.video.qr.scan import Scan, scan
    from memvid_core.words.analyzer import snippet

__version__: str

__all__ = [
    "TOOL_WORDS",
    "Action",
    "BuildReport",
    "CachedCopy",
    "CallableEmbedder",
    "ChatError",
    "ClosedError",
    "CodecError",
    "Commit",
    "CommitConflictError",
    "CompactReport",
    "Conversion",
    "Damage",
    "DamageWarning",
    "DamagedFrameError",
    "DamagedLibraryError",
    "DimensionError",
    "Embedder",
    "EmbedderMismatchError",
    "EmbedderWarning",
    "EmbeddingError",
    "EncodeEmbedder",
    "Executor",
    "FilterError",
    "FittableEmbedder",
    "GivenSynonyms",
    "HashingEmbedder",
    "Hint",
    "Hit",
    "IncompleteSearchError",
    "IndexName",
    "IngestError",
    "InvalidInputError",
    "LangChainEmbedder",
    "Library",
    "LibraryDamage",
    "LibraryHits",
    "LibraryInfo",
    "LibraryReport",
    "LibraryVersion",
    "LlamaIndexEmbedder",
    "LockedError",
    "Memory",
    "MemoryExistsError",
    "MemoryFileError",
    "MemoryFiles",
    "MemoryInfo",
    "MemoryLoop",
    "MemoryNotFoundError",
    "MemoryService",
    "MemvidError",
    "MemvidWarning",
    "MetadataError",
    "Metric",
    "MissingExtraError",
    "NotAMemoryError",
    "OutOfMemoryError",
    "Passage",
    "QueryError",
    "ReadOnlyError",
    "Recall",
    "Recalled",
    "Recency",
    "Record",
    "RecordNotFoundError",
    "Recovery",
    "Rerank",
    "Reranker",
    "RescueReport",
    "Scan",
    "ScopedService",
    "SearchReport",
    "StorageError",
    "SyncMemoryService",
    "TextError",
    "ThreadExecutor",
    "TornTailWarning",
    "UnsupportedFormatError",
    "VacuumReport",
    "VectorError",
    "VerifyReport",
    "WriterThread",
    "as_embedder",
    "cached_copies",
    "clear_cache",
    "convert",
    "estimate_tokens",
    "named_reranker",
    "note_id",
    "plain_query",
    "recover",
    "rescue",
    "run_in_thread",
    "scan",
    "snippet",
    "worded",
    "write_plain",
]

# A name is imported when it is first used (PEP 562): a program that prints its help needs no NumPy.
_MODULES = {
    "MemoryLoop": "memvid_core.agent.loop",
    "Recall": "memvid_core.agent.recalled",
    "Recalled": "memvid_core.agent.recalled",
    "ScopedService": "memvid_core.agent.scoped",
    "MemoryService": "memvid_core.agent.service",
    "SyncMemoryService": "memvid_core.agent.sync_service",
    "estimate_tokens": "memvid_core.agent.tokens",
    "CallableEmbedder": "memvid_core.embedding",
    "Embedder": "memvid_core.model",
    "EncodeEmbedder": "memvid_core.embedding",
    "FittableEmbedder": "memvid_core.model",
    "HashingEmbedder": "memvid_core.embedding",
    "LangChainEmbedder": "memvid_core.embedding",
    "LlamaIndexEmbedder": "memvid_core.embedding",
    "as_embedder": "memvid_core.embedding",
    "Reranker": "memvid_core.embedding.reranking",
    "named_reranker": "memvid_core.embedding.reranking",
    "Rerank": "memvid_core.engine.search_request",
    "Action": "memvid_core.errors",
    "ChatError": "memvid_core.errors",
    "ClosedError": "memvid_core.errors",
    "CodecError": "memvid_core.errors",
    "DamageWarning": "memvid_core.errors",
    "CommitConflictError": "memvid_core.errors",
    "DamagedFrameError": "memvid_core.errors",
    "DamagedLibraryError": "memvid_core.errors",
    "DimensionError": "memvid_core.errors",
    "EmbedderMismatchError": "memvid_core.errors",
    "EmbedderWarning": "memvid_core.errors",
    "EmbeddingError": "memvid_core.errors",
    "FilterError": "memvid_core.errors",
    "Hint": "memvid_core.errors",
    "IncompleteSearchError": "memvid_core.errors",
    "IngestError": "memvid_core.errors",
    "InvalidInputError": "memvid_core.errors",
    "LockedError": "memvid_core.errors",
    "MemoryExistsError": "memvid_core.errors",
    "MemoryFileError": "memvid_core.errors",
    "MemoryNotFoundError": "memvid_core.errors",
    "MemvidError": "memvid_core.errors",
    "MemvidWarning": "memvid_core.errors",
    "MetadataError": "memvid_core.errors",
    "MissingExtraError": "memvid_core.errors",
    "NotAMemoryError": "memvid_core.errors",
    "OutOfMemoryError": "memvid_core.errors",
    "QueryError": "memvid_core.errors",
    "ReadOnlyError": "memvid_core.errors",
    "RecordNotFoundError": "memvid_core.errors",
    "StorageError": "memvid_core.errors",
    "TextError": "memvid_core.errors",
    "TornTailWarning": "memvid_core.errors",
    "UnsupportedFormatError": "memvid_core.errors",
    "VectorError": "memvid_core.errors",
    "worded": "memvid_core.errors",
    "BuildReport": "memvid_core.library",
    "CompactReport": "memvid_core.library",
    "Executor": "memvid_core.library",
    "Library": "memvid_core.library",
    "LibraryDamage": "memvid_core.library",
    "LibraryHits": "memvid_core.library",
    "LibraryInfo": "memvid_core.library",
    "LibraryReport": "memvid_core.library",
    "LibraryVersion": "memvid_core.library",
    "SearchReport": "memvid_core.library",
    "ThreadExecutor": "memvid_core.library",
    "VacuumReport": "memvid_core.library",
    "Memory": "memvid_core.memory",
    "Commit": "memvid_core.model",
    "Damage": "memvid_core.model",
    "GivenSynonyms": "memvid_core.model",
    "Hit": "memvid_core.model",
    "IndexName": "memvid_core.model",
    "MemoryInfo": "memvid_core.model",
    "Metric": "memvid_core.model",
    "Passage": "memvid_core.model",
    "Recency": "memvid_core.model",
    "Record": "memvid_core.model",
    "VerifyReport": "memvid_core.model",
    "plain_query": "memvid_core.model",
    "Conversion": "memvid_core.rewriting.convert",
    "Recovery": "memvid_core.rewriting.convert",
    "convert": "memvid_core.rewriting.convert",
    "recover": "memvid_core.rewriting.convert",
    "RescueReport": "memvid_core.rewriting.rescue",
    "rescue": "memvid_core.rewriting.rescue",
    "MemoryFiles": "memvid_core.serving.memory_files",
    "TOOL_WORDS": "memvid_core.serving.words",
    "note_id": "memvid_core.serving.words",
    "CachedCopy": "memvid_core.system.remote_cache",
    "cached_copies": "memvid_core.system.remote_cache",
    "clear_cache": "memvid_core.system.remote_cache",
    "WriterThread": "memvid_core.system.threads",
    "run_in_thread": "memvid_core.system.threads",
    "write_plain": "memvid_core.video.qr.plain_texts",
    "Scan": "memvid_core.video.qr.scan",
    "scan": "memvid_core.video.qr.scan",
    "snippet": "memvid_core.words.analyzer",
}


def __getattr__(name: str) -> object:
    value: object
    if name == "__version__":
        value = importlib.import_module("importlib.metadata").version("memvid-core")
    elif name in _MODULES:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
