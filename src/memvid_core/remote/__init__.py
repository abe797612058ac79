"""Remote: memories behind URLs, read through fsspec and kept as verified copies in the user's cache folder."""

from memvid_core.remote.cache import CachedCopy, cached_copies, clear_cache
from memvid_core.remote.copies import RemoteCopy
from memvid_core.remote.urls import is_url, shown

__all__ = ["CachedCopy", "RemoteCopy", "cached_copies", "clear_cache", "is_url", "shown"]
