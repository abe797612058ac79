"""Fusion, feedback, diversity and recency against what their formulas say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from memvid_core import InvalidInputError
from memvid_core.engine.fusion import (
    dense_score,
    feedback,
    hybrid,
    mmr,
    recency,
    reciprocal_rank_fusion,
    relative_score_fusion,
)
from memvid_core.words.scores import Ranking, lexical_score, top_k

scores = st.floats(-1, 1, width=16)


@st.composite
def rankings(draw: st.DrawFn, low: float = -1, high: float = 1) -> Ranking:
    found = draw(st.dictionaries(st.integers(0, 30), st.floats(low, high, width=16), max_size=12))
    rows = np.array(list(found), np.int64)
    return top_k(rows, np.array(list(found.values()), np.float32), len(rows))


def ranked(pairs: dict[int, float]) -> Ranking:
    return np.array(list(pairs), np.int64), np.array(list(pairs.values()), np.float32)


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(vector)
    return vector / length if length else vector


class TestScores:
    @given(st.lists(scores))
    def test_dense_is_the_cosine_from_0_to_1(self, cosines: list[float]) -> None:
        assert dense_score(cosines).tolist() == [max(0.0, cosine) for cosine in cosines]

    def test_rounding_does_not_leave_the_scale(self) -> None:
        assert dense_score([1.0000002, -1.0000002]).tolist() == [1, 0]

    @given(st.lists(st.floats(0, 1000, width=32)), st.floats(0, 100))
    def test_lexical_keeps_the_order_inside_the_scale(self, bm25: list[float], ideal: float) -> None:
        found = lexical_score(bm25, ideal)
        assert ((found >= 0) & (found <= 1)).all()
        assert (np.diff(found[np.argsort(bm25, kind="stable")]) >= 0).all()

    def test_half_is_a_text_that_says_it_all(self) -> None:
        assert lexical_score([3.0], 3.0).tolist() == [0.5]

    @given(rankings(), st.integers(-1, 15))
    def test_best_is_a_sort_by_score_then_row(self, ranking: Ranking, k: int) -> None:
        rows, values = top_k(*ranking, k)
        expected = sorted(zip((-ranking[1]).tolist(), ranking[0].tolist(), strict=True))[: max(k, 0)]
        assert list(zip((-values).tolist(), rows.tolist(), strict=True)) == expected


class TestFusion:
    @given(rankings(), rankings(0, 50), st.integers(0, 40), st.floats(0, 1))
    def test_relative_scores_are_the_formula(self, dense: Ranking, lexical: Ranking, k: int, alpha: float) -> None:
        expected: dict[int, float] = {}
        floor = min(dense[1].tolist(), default=0) if len(dense[1]) > 1 else 0
        for (rows, values), zero, weight in ((dense, floor, alpha), (lexical, 0, 1 - alpha)):
            relative = [max(value - zero, 0) for value in values.tolist()]
            top = max(relative, default=0)
            for row, value in zip(rows.tolist(), relative, strict=True):
                expected[row] = expected.get(row, 0) + weight * (value / top if top else 1)
        fused = relative_score_fusion(dense, lexical, k, alpha=alpha)
        assert set(fused.rows.tolist()) <= set(expected)
        assert len(fused.rows) == min(k, len(expected))
        assert fused.scores == pytest.approx([expected[row] for row in fused.rows.tolist()], abs=1e-5)
        assert fused.scores == pytest.approx(sorted(expected.values(), reverse=True)[:k], abs=1e-5)

    @given(rankings(), rankings(0, 50), rankings(0, 1))
    def test_every_fusion_is_in_order_and_explains_itself(self, one: Ranking, two: Ranking, three: Ranking) -> None:
        for fused in (
            relative_score_fusion(one, two, 10),
            reciprocal_rank_fusion({"a": one, "b": two, "c": three}, 10, weights={"a": 1, "b": 2, "c": 0.5}),
        ):
            values = list(zip((-fused.scores).tolist(), fused.rows.tolist(), strict=True))
            assert values == sorted(values)
            assert all(0 <= score <= 1 for score in fused.scores.tolist())
            for rank, score in enumerate(fused.scores.tolist()):
                assert sum(fused.explain(rank).values()) == pytest.approx(score, abs=1e-6)

    def test_ranks_are_fused_by_their_reciprocals(self) -> None:
        fused = reciprocal_rank_fusion({"a": ranked({7: 9, 3: 1}), "b": ranked({3: 0.2})}, 5, c=60)
        assert fused.rows.tolist() == [3, 7]
        assert fused.scores == pytest.approx([(1 / 62 + 1 / 61) / 2 * 61, 0.5])

    def test_the_first_of_all_scores_1(self) -> None:
        both = ranked({4: 0.9, 2: 0.3})
        assert relative_score_fusion(both, both, 1).scores.tolist() == [1]
        assert reciprocal_rank_fusion({"a": both, "b": both}, 1).scores == pytest.approx([1])

    def test_equal_scores_stand_in_the_order_of_the_rows(self) -> None:
        one, two = ranked({9: 1.0}), ranked({2: 5.0})
        assert relative_score_fusion(one, two, 2, alpha=0.5).rows.tolist() == [2, 9]
        assert reciprocal_rank_fusion({"a": one, "b": two}, 2).rows.tolist() == [2, 9]

    @pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
    def test_alpha_is_a_fraction(self, alpha: float) -> None:
        with pytest.raises(InvalidInputError, match="alpha"):
            relative_score_fusion(ranked({}), ranked({}), 1, alpha=alpha)

    @pytest.mark.parametrize("weights", [{}, {"a": -1, "b": 2}, {"a": math.nan, "b": 1}])
    def test_weights_must_weigh(self, weights: dict[str, float]) -> None:
        with pytest.raises(InvalidInputError, match="weights"):
            reciprocal_rank_fusion({"a": ranked({1: 1}), "b": ranked({})}, 1, weights=weights)

    def test_c_is_not_negative(self) -> None:
        with pytest.raises(InvalidInputError, match="c must"):
            reciprocal_rank_fusion({"a": ranked({1: 1})}, 1, c=-1)


class TestFeedback:
    def test_it_is_rocchio_with_peaked_weights(self) -> None:
        rng = np.random.default_rng(3)
        query, matrix, given_scores = rng.normal(size=4), rng.normal(size=(8, 4)), np.linspace(1, 0.3, 8)
        units = np.array([unit(row) for row in matrix])
        weights = given_scores[:5] ** 6
        target = unit(unit(query) + (weights[:, None] * units[:5]).sum(0) / weights.sum())
        assert feedback(query, matrix, given_scores) == pytest.approx(units @ target, abs=1e-5)

    def test_without_a_score_nothing_is_learnt(self) -> None:
        assert feedback([1, 0], [[0, 2], [3, 0], [0, 0]], [0, 0, 0]).tolist() == [0, 1, 0]
        assert not len(feedback([1, 0], np.zeros((0, 2)), []))

    def test_hybrid_brings_up_what_is_like_the_best(self) -> None:
        matrix = np.array([[1, 0, 0], [0.9, 0.436, 0], [0.7, 0.714, 0], [0.72, 0, 0.694], [0, 0, 1]], np.float32)
        dense = top_k(np.arange(5), matrix @ matrix[0], 5)
        lexical = ranked({1: 3.0, 2: 0.5, 3: 0.5})
        plain = relative_score_fusion(dense, lexical, 5, alpha=0.35).rows.tolist()
        refined = hybrid(matrix[0], dense, lexical, lambda rows: matrix[rows], 5, alpha=0.35).rows.tolist()
        assert plain.index(3) < plain.index(2)
        assert refined.index(2) < refined.index(3)
        assert refined[0] == 1

    @pytest.mark.parametrize(("alpha", "half"), [(0.0, "lexical"), (1.0, "dense")])
    def test_at_the_ends_one_half_alone_ranks(self, alpha: float, half: str) -> None:
        halves = {"dense": ranked({1: 0.9, 2: 0.5}), "lexical": ranked({2: 8.0, 3: 1.0})}
        fused = hybrid(np.ones(2, np.float32), halves["dense"], halves["lexical"], _no_vectors, k=2, alpha=alpha)
        assert fused.rows.tolist() == halves[half][0].tolist()

    def test_half_an_answer_is_the_answer(self) -> None:
        nothing, something = ranked({}), ranked({5: 2.0, 1: 1.0})
        query = np.ones(2, np.float32)
        assert hybrid(query, nothing, something, _no_vectors, 9).rows.tolist() == [5, 1]
        assert hybrid(query, something, nothing, _no_vectors, 1).rows.tolist() == [5]
        assert hybrid(query, nothing, nothing, _no_vectors, 9).rows.tolist() == []


def _no_vectors(rows: NDArray[np.int64]) -> NDArray[np.float32]:
    raise AssertionError(f"vectors of {rows} are not needed")


class TestMmr:
    @given(
        st.lists(st.lists(scores, min_size=3, max_size=3), max_size=8),
        st.lists(scores, min_size=3, max_size=3),
        st.integers(-1, 9),
        st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    )
    def test_each_choice_is_the_best_of_what_is_left(
        self, matrix: list[list[float]], query: list[float], k: int, lambda_mult: float
    ) -> None:
        chosen = mmr(query, np.array(matrix).reshape(-1, 3), k, lambda_mult=lambda_mult).tolist()
        assert len(set(chosen)) == len(chosen) == max(0, min(k, len(matrix)))
        units, target = [unit(np.array(row)) for row in matrix], unit(np.array(query))
        for number, choice in enumerate(chosen):
            before = chosen[:number]

            def gain(candidate: int, before: list[int] = before) -> float:
                alike = max((units[candidate] @ units[other] for other in before), default=0.0)
                share = lambda_mult if before else 1.0
                return float(share * (units[candidate] @ target) - (1 - share) * alike)

            assert gain(choice) >= max(gain(other) for other in range(len(matrix)) if other not in before) - 1e-4

    def test_1_is_no_diversity_and_0_all(self) -> None:
        query, matrix = [1.0, 0.0], [[1.0, 0.0], [0.99, 0.14], [0.9, -0.44]]
        assert mmr(query, matrix, 3, lambda_mult=1).tolist() == [0, 1, 2]
        assert mmr(query, matrix, 2, lambda_mult=0).tolist() == [0, 2]

    def test_scores_of_another_mode_take_the_place_of_cosines(self) -> None:
        assert mmr((), [[1, 0], [1, 0], [0, 1]], 2, scores=[0.1, 0.9, 0.2]).tolist() == [1, 2]

    def test_the_first_of_equals_is_chosen(self) -> None:
        assert mmr([1, 0], [[1, 0]] * 4, 4).tolist() == [0, 1, 2, 3]

    @pytest.mark.parametrize(
        ("query", "matrix", "options"),
        [
            ([1, 0], [[1, 0]], {"lambda_mult": 1.5}),
            ([1, 0], [[1, 0]], {"scores": [1, 2]}),
            ([1, 0, 0], [[1, 0]], {}),
            ([1, 0], [1, 0], {}),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, query: list[float], matrix: list[list[float]], options: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidInputError):
            mmr(query, matrix, 1, **options)


class TestRecency:
    @given(st.floats(0, 1), st.floats(0, 1e6), st.floats(1, 1e6), st.floats(0, 1))
    def test_it_is_the_formula(self, score: float, age: float, half_life: float, weight: float) -> None:
        [found] = recency([score], [1e9 - age], now=1e9, half_life=half_life, weight=weight).tolist()
        assert found == pytest.approx(score * (1 - weight + weight * 0.5 ** (age / half_life)), abs=1e-4)
        assert 0 <= found <= score + 1e-6

    def test_no_time_is_very_old_and_the_future_is_now(self) -> None:
        assert recency([1, 1], [math.nan, 99.0], now=50, half_life=1, weight=0.25).tolist() == [0.75, 1]

    @pytest.mark.parametrize(
        "options",
        [
            {"half_life": 0},
            {"half_life": 1, "weight": 2},
            {"half_life": math.nan},
            {"half_life": math.inf},
            {"half_life": 1, "now": math.nan},
        ],
    )
    def test_settings_are_checked(self, options: dict[str, float]) -> None:
        with pytest.raises(InvalidInputError):
            recency([1], [1], **{"now": 1, **options})
