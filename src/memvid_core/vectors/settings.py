"""VectorSettings: the tuning constants that depend on the number of rows, in one object that tests can replace."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULTS", "VectorSettings"]


@dataclass(frozen=True)
class VectorSettings:
    """From how many rows on an index works in another way, and how much a search looks at.

    Args:
        auto_floats: The number of stored components below which the exact search is as fast as codes.
        few_candidates: The number of candidates that are cheaper to compare one by one than to find in a scan of codes.
        refit_growth: The quantizer is fitted again when the rows have grown by this factor.
        refit_until: A fit on this many rows is kept.
        unlisted_rows: The newest rows of an inverted file whose lists are looked up one by one, at least; one in 32 of
            many rows.
        listed_in_search: The rows that a search puts into lists, and up to which it also fits and measures these.
        listed_bytes: Levels of rows in lists are read each time when they take more than this: a query needs few.
        asked: The rows that are asked for, to measure what it finds.
        entries: The entries of its lists that a query looks at, at least; fewer where more may be missed than usual.
        pool: The centroids whose levels are compared, times the lists that are looked into.
        scanned: The rows whose signs are scanned in the time that an entry of a list takes.
        picked: The rows of those lists whose levels are weighed, plus 8 k.
        picked_to_read: The same where each of them is read from the disk.
        compared: The rows of these that are read and compared, plus 4 k, at most.
        compared_first: Those that are compared in any case, plus 4 k.
        kept_bytes: A matrix larger than this is not kept in RAM, nor are more rows of all videos of a process.
        copied_bytes: The size up to which float16 rows are copied to float32 in RAM.
        piece_floats: The components of a piece of an exact search: with its float32 copy, about one core's L2 cache.
        distance_floats: The components of a piece of a search by another metric than cosine.
        settled_rows: The number of rows whose places in the video are looked up at once; one in 32 of many rows.
        frame_rows: The rows that a frame must have on average: to look up smaller ones takes longer than it saves.

    Example:
        >>> from dataclasses import replace
        >>> replace(DEFAULTS, pool=8).pool
        8
    """

    auto_floats: int = 16384 * 384
    few_candidates: int = 3000
    refit_growth: int = 4
    refit_until: int = 1 << 18
    unlisted_rows: int = 4096
    listed_in_search: int = 1 << 15
    listed_bytes: int = 1 << 30
    asked: int = 256
    entries: int = 4000
    pool: int = 3
    scanned: int = 32
    picked: int = 1400
    picked_to_read: int = 600
    compared: int = 260
    compared_first: int = 80
    kept_bytes: int = 256 << 20
    copied_bytes: int = 64 << 20
    piece_floats: int = 512 * 384
    distance_floats: int = 256 * 384
    settled_rows: int = 4096
    frame_rows: int = 16


DEFAULTS: VectorSettings = VectorSettings()
"""The settings of every index."""
