"""The error that every part of an index raises if it must be rebuilt."""

from memvid_core.errors import MemvidError


class IndexStaleError(MemvidError):
    """The index files are damaged or outdated. The caller rebuilds the index from the journal."""
