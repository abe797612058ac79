"""EmbeddingSettings: how much the built-in embedder processes at once, in one object that tests can replace."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULTS", "EmbeddingSettings"]


@dataclass(frozen=True)
class EmbeddingSettings:
    """The sizes of batches, samples and pieces.

    Args:
        embedded_texts: The texts that are projected at a time: the projection of their features stays near 30 MB.
        counted_texts: The texts whose features are counted at a time during a fit.
        fitted_texts: The maximum number of texts for a fit.
        piece: The characters that are processed in one call, which blocks other threads for a few milliseconds.

    Example:
        >>> from dataclasses import replace
        >>> replace(DEFAULTS, fitted_texts=300).fitted_texts
        300
    """

    embedded_texts: int = 1024
    counted_texts: int = 2_048
    fitted_texts: int = 20_000
    piece: int = 1 << 15


DEFAULTS: EmbeddingSettings = EmbeddingSettings()
"""The settings of every embedder."""
