"""The one error by which every part of an index says that it has to be made again."""

from memvid_core.errors import MemvidError


class IndexStaleError(MemvidError):
    """The files are not what the catalog committed: the caller rebuilds the index from the journal."""
