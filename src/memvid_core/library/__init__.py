"""A library: a folder of sealed memories that is built, searched and changed as one memory."""

from memvid_core.library.executor import Executor, Failure, ShardRef, ThreadExecutor
from memvid_core.library.library import Library
from memvid_core.library.reports import (
    BuildReport,
    CompactReport,
    LibraryDamage,
    LibraryHits,
    LibraryInfo,
    LibraryReport,
    LibraryShard,
    LibraryVersion,
    SearchReport,
    VacuumReport,
)

__all__ = [
    "BuildReport",
    "CompactReport",
    "Executor",
    "Failure",
    "Library",
    "LibraryDamage",
    "LibraryHits",
    "LibraryInfo",
    "LibraryReport",
    "LibraryShard",
    "LibraryVersion",
    "SearchReport",
    "ShardRef",
    "ThreadExecutor",
    "VacuumReport",
]
