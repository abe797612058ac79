"""Nearby: texts that were added next to a better one.

What is added in a row is mostly of one source: the chunks of a document, the sections of a manual, the messages of a
conversation. A text next to the best one is about the same, even if it repeats few of the words. An order without a
meaning does no harm, since of all texts only those that the question's words or vector find are compared, and a text
that neither supports is not raised.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from memvid_core.engine.ranking import Ranked

__all__ = ["raised"]

_NEAR: Final = 2  # records
_SHARE: Final = 0.25  # of the lead of the better text


def raised(ranked: Ranked, places: NDArray[np.int64], k: int) -> Ranked:
    """Return the best ``k`` rows, after each was raised by a quarter of the lead of the best one within two places.

    So the best row stays the best, and its score is the same. No row is raised by more than its own score.

    Args:
        ranked: The candidates of a search.
        places: (n,) their places among all live rows.
        k: The maximum number of rows to return.

    Example:
        >>> found = Ranked(np.array([7, 20, 8]), np.array([1.0, 0.65, 0.6], np.float32))
        >>> better = raised(found, np.array([7, 19, 8]), 3)
        >>> better.rows.tolist(), [round(float(part), 2) for part in better.parts["nearby"]]
        ([7, 8, 20], [0.0, 0.1, 0.0])
    """
    order = np.argsort(places)
    sorted_places, scores = places[order], ranked.scores[order]
    best = scores.copy()
    for step in range(1, _NEAR + 1):
        near = sorted_places[step:] - sorted_places[:-step] <= _NEAR
        np.maximum(best[step:], scores[:-step], out=best[step:], where=near)
        np.maximum(best[:-step], scores[step:], out=best[:-step], where=near)
    lead = np.empty(len(order), np.float32)
    lead[order] = np.minimum((best - scores) * np.float32(_SHARE), scores)
    return ranked.rescored(ranked.scores + lead, k, nearby=lead)
