"""The measuring instrument itself: honest draws pass it, too narrow and too wide ones do not, clusters count once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from benchmarks.calibration_stats import binomial_interval, effective_number, inside, normal_score, summary, thirds
from curate.measure.quantity import LEVELS

Z = norm.ppf(LEVELS)


def made(num: int, stated: float = 1.0, bias: float = 0.0, per_clip: int = 1, together: float = 0.0, seed: int = 0):
    """Items whose values err by one sigma (of depth-dependent size) and say `stated` times that."""
    rng = np.random.default_rng(seed)
    items = []
    for clip in range(num // per_clip):
        common = rng.standard_normal()
        for _ in range(per_clip):
            depth = rng.uniform(1, 30)
            sigma = 0.01 * depth
            error = np.sqrt(1 - together) * rng.standard_normal() + np.sqrt(together) * common
            value = 5 + sigma * (error + bias)
            quantiles = list(value + stated * sigma * Z)
            score, held = normal_score(5.0, quantiles), inside(5.0, quantiles, False)
            items.append({"scene": f"clip{clip}", "z": score, "inside": held, "at_zero": False, "depth_m": depth,
                          "miss": 0 if held["95"] else int(np.sign(score)), "relative_error": abs(value / 5 - 1),
                          "half_width": 1.96 * stated * sigma, "oracle": 1.96 * sigma, "value": value, "truth": 5.0,
                          "error": {"own": 3.0, "pose": 1.0, "rig": 0.0, "scale": 0.0}})
    return items


def test_honest_errors_hold_what_they_say_in_every_third_of_depth():
    items = made(12_000)
    found = summary(items)
    for percent in (50, 80, 95, 99):
        assert found[f"in{percent}"] == pytest.approx(percent / 100, abs=0.015)
    assert found["z_sd"] == pytest.approx(1, abs=0.03) and found["z_robust"] == pytest.approx(1, abs=0.04)
    assert [found[f"{side}_miss"] for side in ("low", "high")] == pytest.approx([0.025, 0.025], abs=0.006)
    assert found["over_oracle"] == pytest.approx(1, abs=0.01) and found["share_own"] == pytest.approx(0.75)
    parts = thirds(items)
    assert [len(p) for p in parts] == [4000] * 3
    assert max(i["depth_m"] for i in parts[0]) <= min(i["depth_m"] for i in parts[1])
    assert all(summary(p)["z_sd"] == pytest.approx(1, abs=0.05) for p in parts)


@pytest.mark.parametrize(("stated", "coverage"), [(0.5, 0.673), (2.0, 0.9999)])
def test_too_narrow_and_too_wide_errors_are_told(stated, coverage):
    found = summary(made(6_000, stated))
    assert found["in95"] == pytest.approx(coverage, abs=0.02)
    assert found["z_sd"] == pytest.approx(1 / stated, rel=0.08)  # a little less where scores are clipped
    assert found["over_oracle"] == pytest.approx(stated, rel=0.02)


def test_a_bias_shows_on_its_side():
    found = summary(made(4_000, bias=1.0))  # too large values: truths lie low
    assert found["z_mean"] == pytest.approx(-1, abs=0.06)
    assert found["low_miss"] > 0.1 and found["high_miss"] < 0.01


def test_normal_score_of_a_normal_distribution_is_exact_even_beyond_its_last_quantile():
    quantiles = 3 + 0.2 * Z
    for truth in (3.0, 3.1, 2.4, 3.9):
        assert normal_score(truth, quantiles) == pytest.approx((truth - 3) / 0.2, abs=1e-9)
    assert normal_score(1e9, quantiles) == 8 and normal_score(-1e9, quantiles) == -8


def test_zero_is_inside_of_an_interval_that_reaches_down_to_it():
    still = [0, 0, 0, 0, 0, 0.1, 0.2, 0.3, 0.4]
    assert inside(0.0, still, False) == {"50": True, "80": True, "95": True, "99": True}
    assert inside(0.35, still, False) == {"50": False, "80": False, "95": False, "99": True}
    moves = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert inside(0.0, moves, False) == {"50": False, "80": False, "95": False, "99": True}
    exact = [0.0] * 9
    assert all(inside(0.0, exact, False).values()) and not any(inside(0.1, exact, False).values())


def test_angles_start_at_zero():
    rng = np.random.default_rng(1)
    quantiles = np.sqrt(-2 * np.log1p(-np.array(LEVELS)))  # Rayleigh
    angles = np.hypot(*rng.standard_normal((2, 4000)))
    held = [inside(a, quantiles, True) for a in angles]
    for percent in (50, 80, 95, 99):
        assert np.mean([h[str(percent)] for h in held]) == pytest.approx(percent / 100, abs=0.02)


def test_items_that_err_together_count_as_few():
    alone, together = made(4_000, per_clip=20), made(4_000, per_clip=20, together=1.0)
    assert effective_number(alone) > 2_000
    assert effective_number(together) < 1_000
    copies = [i for i in made(2_000) for _ in range(20)]
    assert effective_number(copies) == pytest.approx(2_000, rel=0.25)


def test_binomial_interval_of_few_is_wide_and_holds_the_share():
    low, high = binomial_interval(0.95, 40)
    assert low < 0.85 < 0.95 < high and high < 1
    assert binomial_interval(1.0, 10)[1] == 1 and binomial_interval(1.0, 10)[0] == pytest.approx(0.005 ** 0.1, rel=1e-6)
    assert binomial_interval(0.0, 0) == (0.0, 1.0)
