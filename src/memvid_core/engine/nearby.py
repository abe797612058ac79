"""Nearby: texts that were added next to a better one.

What is added in a row is mostly of one source: the chunks of a document, the sections of a manual, the messages of a
conversation. A text next to the best one is about the same, even if it repeats few of the words. An order without a
meaning does no harm, since of all texts only those that the question's words or vector find are compared.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from memvid_core.engine.ranking import Ranked

__all__ = ["raised"]

_NEAR: Final = 2  # rows
_SHARE: Final = 0.25  # of the lead of the better text


def raised(ranked: Ranked, k: int) -> Ranked:
    """Return the best ``k`` rows, after each was raised by a quarter of the lead of the best row within two rows.

    So the best row stays the best, and its score is the same.

    Args:
        ranked: The candidates of a search.
        k: The maximum number of rows to return.

    Example:
        >>> found = Ranked(np.array([7, 20, 8]), np.array([1.0, 0.7, 0.6], np.float32))
        >>> raised(found, 3).rows.tolist(), raised(found, 3).parts["nearby"].round(2).tolist()
        ([7, 20, 8], [0.0, 0.0, 0.1])
    """
    order = np.argsort(ranked.rows)
    rows, scores = ranked.rows[order], ranked.scores[order]
    best = scores.copy()
    for step in range(1, _NEAR + 1):
        near = rows[step:] - rows[:-step] <= _NEAR
        np.maximum(best[step:], scores[:-step], out=best[step:], where=near)
        np.maximum(best[:-step], scores[step:], out=best[:-step], where=near)
    lead = np.zeros(len(rows), np.float32)
    lead[order] = (best - scores) * np.float32(_SHARE)
    return ranked.rescored(ranked.scores + lead, k, nearby=lead)
