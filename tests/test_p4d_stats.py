"""Paired differences of two arms: exact cases, what they may not depend on, and how often the interval holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.p4d_stats import difference


def recordings(num, each):
    return [f"r{i}" for i in range(num) for _ in range(each)]


def test_the_same_scores_do_not_differ():
    scores = np.random.default_rng(0).random((3, 40))
    found = difference(scores, scores, recordings(10, 4))
    assert (found.value, found.low, found.high) == (0, 0, 0) and not found.is_clear
    assert (found.num, found.num_clusters, found.of_seeds) == (40, 10, (0, 0, 0))


@given(st.floats(-1, 1), st.integers(1, 4))
def test_a_difference_that_is_the_same_everywhere_has_no_interval(shift, num_seeds):
    b = np.random.default_rng(1).random((num_seeds, 24))
    found = difference(b + shift, b, recordings(8, 3), draws=50)
    assert [found.value, found.low, found.high] == pytest.approx([shift] * 3, abs=1e-12)


def test_what_varies_between_recordings_is_in_the_interval_and_what_varies_within_them_hardly():
    """Differences of ±0.5: alike within a recording, or half and half in each."""
    sign = np.array([1, -1] * 20)
    between = difference(np.tile(np.repeat(sign, 10) / 2, (3, 1)), np.zeros((3, 400)), recordings(40, 10))
    within = difference(np.tile(np.tile(sign[:10], 40) / 2, (3, 1)), np.zeros((3, 400)), recordings(40, 10))
    assert between.value == within.value == 0
    # a mean of 40 signs of 0.5 has the standard error 0.5 / sqrt(40)
    assert between.high - between.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(40), rel=0.1)
    assert within.high == within.low == 0


def test_seeds_that_disagree_widen_it():
    a = np.repeat([[0.0], [0.2], [0.4]], 60, 1)
    found = difference(a, np.zeros_like(a), recordings(20, 3))
    assert found.value == pytest.approx(0.2) and found.of_seeds == pytest.approx((0, 0.2, 0.4))
    assert found.low < 0.07 and found.high > 0.33


def test_the_order_of_questions_and_the_names_of_recordings_do_not_matter():
    rng = np.random.default_rng(2)
    a, b, names = rng.random((2, 30)), rng.random((2, 30)), recordings(10, 3)
    turn = rng.permutation(30)
    once = difference(a, b, names)
    again = difference(a[:, turn], b[:, turn], [names[i] for i in turn])
    assert [once.low, once.high] == pytest.approx([again.low, again.high])
    back = difference(b, a, names)
    assert [back.value, back.low, back.high] == pytest.approx([-once.value, -once.high, -once.low])


def test_the_interval_holds_about_as_often_as_it_says():
    """Twenty recordings that share an effect, and noise of each question."""
    rng, names, held = np.random.default_rng(3), recordings(30, 5), 0
    for _ in range(300):
        effect = 0.1 + rng.normal(0, 0.2, 30).repeat(5)
        a = effect + rng.normal(0, 0.2, (3, 150))
        found = difference(a, np.zeros_like(a), names, draws=300)
        held += found.low <= 0.1 <= found.high
    assert 0.90 <= held / 300 <= 0.98


@pytest.mark.parametrize("a, b, names, says", [
    (np.zeros((2, 4)), np.zeros((3, 4)), recordings(2, 2), r"shape \(2, 4\) and \(3, 4\) for 4 questions"),
    (np.zeros((2, 4)), np.zeros((2, 4)), recordings(3, 2), "for 6 questions"),
    (np.full((1, 4), np.nan), np.zeros((1, 4)), recordings(2, 2), "a score is missing"),
    (np.zeros((1, 4)), np.zeros((1, 4)), ["r"] * 4, "needs two at least"),
])
def test_scores_that_do_not_fit_are_refused(a, b, names, says):
    with pytest.raises(ValueError, match=says):
        difference(a, b, names)
