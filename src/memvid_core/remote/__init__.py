"""Remote: memories behind URLs, read through fsspec and kept as verified copies in the user's cache folder."""

from memvid_core.remote.urls import is_url, shown

__all__ = ["is_url", "shown"]
