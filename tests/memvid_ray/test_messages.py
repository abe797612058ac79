"""Messages carry what shards answer, in values small enough for Ray to send at once."""

from __future__ import annotations

import numpy as np
import pytest

from memvid_core.engine.shard import Contents
from memvid_core.library import Failure
from memvid_core.model import Record
from memvid_ray.messages import PARTS, answers_of, message

SENT_AT_ONCE = 100 * 1024  # bytes: Ray's max_direct_call_object_size


@pytest.mark.parametrize(("rows", "filled"), [(0, 0), (1, 0), (20, 1), (60, 2), (230, 4), (900, 4)])
def test_a_message_is_what_was_answered_in_parts_of_equal_size(rows: int, filled: int) -> None:
    rng = np.random.default_rng(rows)
    answers: list[object] = [
        Contents(rng.random((rows, 384), np.float32), [3, 1], {7: Record("a", "one", {"n": 1})}),
        Failure("it was lost"),
        (np.arange(3, dtype=np.uint8), np.zeros((0, 384), np.float32)),
        (np.arange(rows % 5), (np.array([np.nan]), None)),
    ]
    parts = message(answers)
    assert len(parts) == PARTS
    data = [part for part in parts[1:] if part is not None]
    assert len(data) == filled
    assert rows > 250 or all(len(part) < SENT_AT_ONCE for part in data)
    contents, failure, (small, none), (more, (nan, nothing)) = answers_of(parts)
    first = answers[0]
    assert isinstance(first, Contents)
    assert isinstance(contents, Contents)
    assert (contents.places, contents.records) == (first.places, first.records)
    assert (contents.vectors.dtype.str, contents.vectors.shape) == ("<f4", (rows, 384))
    assert contents.vectors.tobytes() == first.vectors.tobytes()
    assert isinstance(failure, Failure)
    assert failure == answers[1]
    assert (small.tolist(), none.shape, more.tolist(), nothing) == ([0, 1, 2], (0, 384), [*range(rows % 5)], None)
    assert np.isnan(nan).all()
    assert contents.vectors.flags.writeable  # it belongs to who asked
