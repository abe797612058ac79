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
        probes: The lists of an inverted file that are searched before the first estimate, plus k.
        weighed: The centroids whose levels are compared, times ``probes``: a search looks into no other lists.
        most_probes: If a filter needs more than these at first, the quantized search is as good.
        compared: The rows of those lists that are read and compared, plus 4 k.
        kept_bytes: A matrix larger than this is not kept in RAM.
        copied_bytes: The size up to which float16 rows are copied to float32 in RAM.
        piece_floats: The components of a piece of an exact search: with its float32 copy, about one core's L2 cache.
        distance_floats: The components of a piece of a search by another metric than cosine.
        settled_rows: The number of rows whose places in the video are looked up at once; one in 32 of many rows.
        frame_rows: The rows that a frame must have on average: to look up smaller ones takes longer than it saves.

    Example:
        >>> from dataclasses import replace
        >>> replace(DEFAULTS, probes=8).probes
        8
    """

    auto_floats: int = 16384 * 384
    few_candidates: int = 3000
    refit_growth: int = 4
    refit_until: int = 1 << 18
    unlisted_rows: int = 4096
    probes: int = 24
    weighed: int = 24
    most_probes: int = 512
    compared: int = 112
    kept_bytes: int = 256 << 20
    copied_bytes: int = 64 << 20
    piece_floats: int = 512 * 384
    distance_floats: int = 256 * 384
    settled_rows: int = 4096
    frame_rows: int = 16


DEFAULTS: VectorSettings = VectorSettings()
"""The settings of every index."""
