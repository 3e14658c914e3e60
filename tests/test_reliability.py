"""Reliability: intervals of clustered shares against their definition, and diagrams that say what the numbers say."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from statistics import NormalDist

import numpy as np
import pytest

from curate.measure.quantity import LEVELS
from curate.report.coverage import (
    PAIRS,
    STATED,
    Curve,
    clustered_interval,
    effective_number,
    normal_scores,
    reliability_curve,
    student_t,
    wilson,
)
from curate.report.reliability import reliability_svg, reliability_table

DEVIATES = np.array([NormalDist().inv_cdf(p) for p in LEVELS])


def normal_curve(seed=0, n=400, spread=1.0, per_clip=1, shared=0.0, family="object_displacement"):
    """Truths of N(0, spread²) against stated N(0, 1); `shared` of the variance is common to a clip."""
    rng = np.random.default_rng(seed)
    clips = np.arange(n) // per_clip
    common = rng.normal(size=n)[clips]
    truth = spread * (math.sqrt(shared) * common + math.sqrt(1 - shared) * rng.normal(size=n))
    return reliability_curve(family, truth, np.tile(DEVIATES, (n, 1)), [f"c{i}" for i in clips])


def test_the_pairs_of_quantiles_hold_what_is_stated():
    assert [LEVELS[b] - LEVELS[a] for a, b in PAIRS] == pytest.approx(STATED)


@pytest.mark.parametrize(("confidence", "dof", "table"), [
    (0.95, 1, 12.706), (0.95, 2, 4.303), (0.99, 3, 5.841), (0.95, 4, 2.776), (0.99, 10, 3.169), (0.95, 30, 2.042),
    (0.99, 120, 2.617), (0.99, 10**6, 2.576)])
def test_student_t_is_the_tables(confidence, dof, table):
    assert student_t(confidence, dof) == pytest.approx(table, abs=6e-4)


def test_wilson_is_its_definition():
    """The ends are the shares from which the observed one is `critical` standard errors away."""
    low, high = wilson(0.9, 50, 2.0)
    for end in (low, high):
        assert abs(0.9 - end) == pytest.approx(2.0 * math.sqrt(end * (1 - end) / 50))
    assert wilson(1.0, 50, 2.0)[1] == 1.0 and wilson(0.0, 50, 2.0)[0] == 0.0


def test_copies_of_an_answer_count_once_and_strangers_each():
    once = [np.array([x]) for x in (1, 1, 1, 0, 1, 1, 0, 1)]
    copies = [np.repeat(c, 10) for c in once]
    assert effective_number(copies) == pytest.approx(effective_number(once) * 7 / 8, rel=0.2)
    independent = np.random.default_rng(0).random((400, 5)) < 0.8
    assert effective_number(list(independent.astype(float))) > 0.85 * independent.size


def test_nothing_one_clip_and_no_misses():
    assert clustered_interval({}) == (0.0, 1.0, 0.0)
    assert clustered_interval({"a": [1, 1, 0, 1]}) == (0.0, 1.0, 1.0)
    low, high, n_eff = clustered_interval([[1] * 100, [1] * 100, [1] * 100])
    assert high == 1.0 and n_eff == 3 and low < 0.5  # three clips do not show 95 %, however many answers they hold
    assert clustered_interval([[1], [], [0]]) == clustered_interval([[1], [0]])
    with pytest.raises(ValueError, match="confidence 95"):
        clustered_interval([[1]], 95)


def test_where_all_hit_the_more_surprising_that_is_the_more_alike_they_are():
    hits = [np.ones(10)] * 5
    assert effective_number(hits) == effective_number(hits, 0.5) == 5
    assert effective_number(hits, 0.99) > effective_number(hits, 0.95) > effective_number(hits, 0.8) > 5
    assert effective_number(hits, 0.95) == pytest.approx(50 / (1 + 9 * 0.05 / 0.95))
    assert effective_number([np.zeros(10)] * 5, 0.95) == 5
    assert effective_number([np.ones(1)] * 50, 0.5) == 50  # nobody to be alike with


def test_the_interval_holds_the_true_share_as_often_as_it_says():
    """600 sets of 20 clips with 8 answers each, strongly alike within a clip."""
    rng, share, held, naive = np.random.default_rng(1), 0.8, 0, 0
    cut = NormalDist().inv_cdf(share)
    for _ in range(600):
        latent = math.sqrt(0.6) * rng.normal(size=(20, 1)) + math.sqrt(0.4) * rng.normal(size=(20, 8))
        hits = (latent < cut).astype(float)
        low, high, _ = clustered_interval(list(hits), 0.95)
        held += low <= share <= high
        low, high = wilson(hits.mean(), hits.size, 1.96)
        naive += low <= share <= high
    assert held / 600 > 0.92
    assert naive / 600 < 0.75  # so that this test can tell


def test_normal_scores_are_deviates_of_the_stated_distribution():
    z = np.array([-4.0, -2.0, -0.3, 0.0, 1.96, 5.0])
    assert normal_scores(3 + 2 * z, np.tile(3 + 2 * DEVIATES, (len(z), 1))) == pytest.approx(z)
    skewed = np.where(DEVIATES > 0, 10 * DEVIATES, DEVIATES)
    assert normal_scores([20.0, -2.0], [skewed, skewed]) == pytest.approx([2, -2])
    assert np.isinf(normal_scores([1.0], [np.zeros(9)])).all() and normal_scores([0.0], [np.zeros(9)]) == 0


def test_an_honest_model_is_on_the_line_and_a_wrong_sigma_is_not():
    assert all(p.honest for p in normal_curve().points)
    assert not any(p.honest for p in normal_curve(spread=2.0).points)
    assert not any(p.honest for p in normal_curve(spread=0.5).points[:3])
    assert normal_curve(n=0).points[0].n == 0


def test_what_a_clip_shares_widens_the_band():
    alone, shared = normal_curve(per_clip=8), normal_curve(per_clip=8, shared=0.9)
    assert shared.points[2].n_eff < 0.6 * alone.points[2].n_eff
    assert shared.points[0].high - shared.points[0].low > 1.3 * (alone.points[0].high - alone.points[0].low)


def test_the_table_has_the_spread_of_z():
    row = reliability_table([normal_curve(spread=1.5, n=2000)])[0]
    assert row["z_std"] == pytest.approx(1.5, abs=0.08) and abs(row["z_mean"]) < 0.1
    empty = reliability_table([normal_curve(n=0)])[0]
    assert empty["n"] == 0 and math.isnan(empty["z_std"])


def parsed(svg):
    return ET.fromstring(svg), {"s": "http://www.w3.org/2000/svg"}


def test_the_picture_stands_alone_and_says_it_in_words():
    curves = [normal_curve(), normal_curve(spread=2.0, family="camera_<b>&rotation"), normal_curve(n=0, family="none")]
    svg = reliability_svg(curves, columns=2)
    root, names = parsed(svg)  # well-formed XML, so a file of its own too
    words = root.find("s:desc", names).text
    assert "object displacement, n = 400; " not in words and "object displacement, n = 400: of the 50 %" in words
    assert "none, n = 0: no answers" in words and "camera <b>&rotation" in words
    assert f"{100 * curves[1].points[2].share:.1f} %" in words
    assert len(root.findall("s:g", names)) == 3
    assert "<script" not in svg and "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert "prefers-color-scheme: dark" in svg


def test_points_stand_where_their_shares_are():
    """On the axes of normal deviates, a sigma half of what it should be lies on a line of slope one half."""
    curve = normal_curve(spread=2.0, n=20000)
    root, names = parsed(reliability_svg([curve], histogram=False))
    dots = [(float(c.get("cx")) - 40, 44 + 168 - float(c.get("cy"))) for c in root.iterfind(".//s:circle", names)]
    assert len(dots) == 4
    assert [y / x for x, y in dots] == pytest.approx([0.5] * 4, abs=0.03)
    kinds = [g.get("class") for g in root.iterfind(".//s:g[s:circle]", names)]
    assert kinds == ["bad"] * 4
    for line in root.iterfind(".//s:line[@class='band']", names):
        assert float(line.get("y2")) <= float(line.get("y1"))


def test_everything_stays_inside_the_picture():
    curve = Curve("f", normal_curve(n=3).points, z=(math.inf, -math.inf, 9.0, *[0.0] * 8), num_clusters=3)
    root, names = parsed(reliability_svg([curve] * 5, columns=3))
    width, height = float(root.get("width")), float(root.get("height"))
    for g in root.findall("s:g", names):
        dx, dy = map(float, g.get("transform")[10:-1].split())
        for text in g.iterfind("s:text", names):
            assert 0 <= dx + float(text.get("x")) <= width and 0 <= dy + float(text.get("y")) <= height
    assert "nan" not in reliability_svg([curve])
    with pytest.raises(ValueError, match="columns"):
        reliability_svg([curve], columns=0)
    assert "no answers" in reliability_svg([])
