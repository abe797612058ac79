"""KnownPlaces: whether the places of rows in a video are those of these rows, or of another state of the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memvid_core.errors import IndexStaleError
from memvid_core.vectors.matrix import widen
from memvid_core.vectors.video_places import NOWHERE, Bytes, Places, squares

__all__ = ["KnownPlaces", "has_length_one", "squares_of"]


class KnownPlaces:
    """Compare the places with what the catalog says of them, once.

    A row that is read at a wrong place does not fit its checksum. But with the length of another row, it would answer
    for what is not near to it.
    """

    def __init__(self) -> None:
        self._known, self._identity = NOWHERE, 0
        self._expected: int | None = None

    def expect(self, identity: int) -> None:
        """Take note of what the catalog says that :meth:`identity` was; 0 if it says nothing."""
        self._expected = identity

    def take(self, places: Places) -> None:
        """Take note of places that were made here."""
        self._known, self._identity = places, places.digest()

    def identity(self, places: Places) -> int:
        """Return what identifies places, for the catalog; 0 if they may be of other rows, or there are none."""
        if not len(places.first):
            return 0
        return self._identity if places is self._known else self._expected or 0

    def check(self, places: Places, whole: Callable[[int], Bytes], dtype: np.dtype[Any]) -> None:
        """Compare places, unless that was done; the lengths in them with the rows if the catalog says nothing.

        Args:
            places: The places.
            whole: Returns the matrix of a frame from the video.
            dtype: Of its rows.

        Raises:
            IndexStaleError: They are of other rows.
        """
        if places is self._known:
            return
        identity = places.digest()
        right = identity == self._expected if self._expected else self._expected is None or _fit(places, whole, dtype)
        if not right:
            raise IndexStaleError("the places of rows in the video are of other rows; rebuild the index")
        self._known, self._identity = places, identity


def _fit(places: Places, whole: Callable[[int], Bytes], dtype: np.dtype[Any]) -> bool:
    """Return whether all rows have the lengths that the places say."""
    stop = 0
    for at, unit in enumerate(places.unit.tolist()):
        matrix = whole(at)
        found, start, stop = squares_of(matrix, dtype), stop, stop + len(matrix)
        if found is None or not np.allclose(found, places.squares[start:stop], rtol=1e-4):
            return False
        if unit and not has_length_one(found, matrix.shape[1] // dtype.itemsize, dtype, 2.0):
            return False
    return True


def squares_of(matrix: Bytes, dtype: np.dtype[Any]) -> NDArray[np.float32] | None:
    """Return the squared length of each row of bytes; None if a number in them is infinite or NaN."""
    stored = matrix.view(dtype)
    return squares(stored, widen(stored))


def has_length_one(lengths: NDArray[np.float32], dimension: int, dtype: np.dtype[Any], slack: float = 1.0) -> bool:
    """Return whether all squared lengths are 1, but for a rounding of their rows to a dtype, times ``slack``."""
    off = 2.0**-7 / float(np.sqrt(dimension)) if dtype == np.float16 else 2e-6
    return bool((np.abs(lengths - 1.0) <= slack * off).all())
