"""The sum of the checksums: it is compared before rows are used, and follows rows that are written again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from memvid_core.errors import IndexStaleError
from memvid_core.vectors.vector_index import VectorIndex

VECTORS = np.eye(6, dtype=np.float32)
USES: dict[str, Callable[[VectorIndex], object]] = {
    "search": lambda index: index.search(VECTORS[0], 1),
    "vectors": lambda index: index.vectors(np.array([0])),
    "settle": lambda index: index.settle([], 4),
    "prepare": lambda index: index.prepare(),
}


@pytest.mark.parametrize("use", USES)
def test_rows_of_another_state_are_not_used(tmp_path: Path, use: str) -> None:
    writer, reader = VectorIndex(6, folder=tmp_path), VectorIndex(6, folder=tmp_path)
    writer.extend(0, VECTORS[:4])
    total = writer.total(4)
    assert total is not None
    reader.sync(4, 0, total + 1)
    with pytest.raises(IndexStaleError, match="not those that the catalog counts"):
        USES[use](reader)
    reader.sync(4, 0, total)
    USES[use](reader)
    for index in (writer, reader):
        index.close()


def test_rows_that_another_process_wrote_again_are_summed_again(tmp_path: Path) -> None:
    one, other = VectorIndex(6, folder=tmp_path), VectorIndex(6, folder=tmp_path)
    one.extend(0, VECTORS[:4])
    one.sync(4, 0, one.total(4))
    one.search(VECTORS[0], 1)
    one.roll_back(3)  # the transaction failed, and the other one wrote the last row
    other.extend(3, VECTORS[5:])
    one.sync(4, 0, other.total(4))
    assert one.search(VECTORS[5], 1)[0].tolist() == [3]
    for index in (one, other):
        index.close()
