"""The estimate of how many candidates are enough, compared with its definitions."""

from __future__ import annotations

import numpy as np
import pytest

from memvid_core.vectors.recall_estimate import Line, enough, upper_tail


def test_tail_against_erfc() -> None:
    from math import erfc, sqrt

    away = np.linspace(-6, 6, 241)
    exact = np.array([0.5 * erfc(z / sqrt(2)) for z in away])
    np.testing.assert_allclose(upper_tail(away), exact, rtol=0.02, atol=1e-7)


def test_enough_is_the_least_that_suffices() -> None:
    chances = np.array([0.9, 0.5, 0.2, 0.1, 0.05])
    assert [enough(chances, allowed) for allowed in (0.0, 0.05, 0.151, 0.351, 5.0)] == [5, 4, 3, 2, 0]
    assert enough(np.empty(0), 0.1) == 0


def test_a_line_and_its_composition() -> None:
    random = np.random.default_rng(0)
    x = random.uniform(0, 100, 4000).astype(np.float32)
    y = (3 - 0.5 * x + random.standard_normal(4000)).astype(np.float32)
    z = (2 * y + 1 + random.standard_normal(4000)).astype(np.float32)
    first, second = Line.through(x, y), Line.through(y, z)
    assert first is not None
    assert second is not None
    both = first.then(second)
    assert both.slope == pytest.approx(-1.0, abs=0.02)
    assert both.sigma == pytest.approx(np.sqrt(5.0), rel=0.05)
    assert float(both.away(np.array([40.0]), 7 - 40.0 + np.sqrt(5.0))[0]) == pytest.approx(1.0, abs=0.1)
    assert Line.through(np.ones(5, dtype=np.float32), y[:5]) is None
