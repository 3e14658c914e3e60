"""Gates: what may be asked, and the reason of what is not."""

from dataclasses import replace

import numpy as np
import pytest

from curate.questions import Dropped, QuestionsConfig, ask, gates
from curate.questions.families import families
from tests.quantities import asked_of, direction, length
from tests.scenes import make_scene


def test_a_wide_number_is_dropped_with_its_reason():
    questions, dropped = asked_of(length(relative=0.3), forms=["numeric"])
    assert questions == []
    assert dropped == [Dropped("object_displacement", (2,), gates.WIDE, "numeric", (0, 23))]
    assert len(asked_of(length(relative=0.3), forms=["numeric"], max_relative_half_width=0.4)[0]) == 1


def test_a_value_not_clear_of_zero_is_dropped():
    _, dropped = asked_of(length(p_zero=0.01))
    assert {d.reason for d in dropped} == {gates.STILL}
    _, dropped = asked_of(length(value=0.0))
    assert {d.reason for d in dropped} == {gates.STILL}


def test_distances_need_no_motion():
    quantity = length(kind="object_camera_distance", span=(0, 0), p_zero=float("nan"))
    assert len(asked_of(quantity)[0]) == 2


def test_options_that_cannot_stand_clear_are_dropped():
    _, dropped = asked_of(length(relative=0.4), forms=["choice"])
    assert [d.reason for d in dropped] == [gates.CROWDED]


@pytest.mark.parametrize("share,reason", [(0.995, None), (0.99, None), (0.98, gates.UNCERTAIN)])
def test_a_category_is_asked_where_it_is_certain(share, reason):
    questions, dropped = asked_of(direction(share))
    assert [d.reason for d in dropped] == ([reason] if reason else [])
    if questions:
        assert questions[0].answer == "left" and len(questions[0].options) == 4


def test_metric_questions_only_of_metric_scenes():
    scene = replace(make_scene(0)[0], scale="relative")
    assert {d.reason for d in asked_of(length(), scene)[1]} == {gates.NOT_METRIC}
    assert len(asked_of(direction(), scene)[0]) == 1


def test_a_region_not_seen_in_the_marked_frame_is_dropped():
    scene = make_scene(0)[0]
    scene.region(2).seen[0] = False
    assert {d.reason for d in asked_of(length(), scene)[1]} == {gates.NOT_VISIBLE}
    assert {d.reason for d in asked_of(length(subjects=(99,)))[1]} == {gates.NOT_KNOWN}


def test_what_could_not_be_measured_is_dropped_with_its_reason():
    scene = make_scene(0)[0]
    for region_id, last in ((2, 1), (3, 23)):
        region = scene.region(region_id)
        region.seen[last + 1:] = False
        region.point_cam[last + 1:] = np.nan
        region.last = last
    late = scene.region(4)
    late.seen[:22] = False
    late.first = 22
    config = QuestionsConfig(families=["object_displacement", "object_object_distance", "camera_displacement"])
    questions, dropped = ask(scene, config)
    reasons = {(d.family, d.subjects, d.form): d.reason for d in dropped}
    for form in ("numeric", "choice"):
        assert reasons["object_displacement", (2,), form] == gates.NOT_MEASURED  # two frames only
        assert reasons["object_displacement", (4,), form] == gates.NOT_VISIBLE  # too late, and too briefly
        assert reasons["object_object_distance", (1, 4), form] == gates.NOT_VISIBLE
        assert reasons["object_object_distance", (1, 2), form] == gates.NOT_MEASURED
    everything = {(q.family, tuple(q.regions), q.form) for q in questions} | set(reasons)
    assert len(everything) == 2 * (1 + 4 + 6)  # every region and pair has its question or its reason


def test_what_is_not_rigid_is_asked_of_its_first_frame_alone():
    scene = make_scene(0)[0]
    scene.region(2).rigid = False
    distance = length(kind="object_camera_distance", span=(0, 0), p_zero=float("nan"))
    assert {d.reason for d in asked_of(length(), scene)[1]} == {gates.NOT_RIGID}
    assert {d.reason for d in asked_of(direction(), scene)[1]} == {gates.NOT_RIGID}
    assert len(asked_of(distance, scene)[0]) == 2
    assert {d.reason for d in asked_of(replace(distance, span=(23, 23)), scene)[1]} == {gates.NOT_RIGID}


def test_metric_families_of_a_scene_without_scale_are_dropped_with_their_reason():
    scene = replace(make_scene(0, num_regions=2)[0], scale="relative")
    questions, dropped = ask(scene)
    metric = {name for name, family in families().items() if family.metric}
    assert not {q.family for q in questions} & metric
    assert {d.family for d in dropped if d.reason == gates.NOT_METRIC} == metric


def test_a_heavy_tail_counts_like_a_wide_interval():
    """Twice as wide at 99 % as a normal distribution of the same 95 % interval: rounded and gated as twice as wide."""
    deviations = np.array([-4, -1.96, -1.28, -0.67, 0, 0.67, 1.28, 1.96, 4.0]) / 1.96
    heavy = length(quantiles=tuple(2 * (1 + 0.02 * deviations)))
    light = asked_of(length(relative=0.02), forms=["numeric"])[0][0]
    assert asked_of(heavy, forms=["numeric"])[0][0].extra["num_digits"] <= light.extra["num_digits"]
    wide = length(quantiles=tuple(2 * (1 + 0.2 * deviations)))
    assert gates.relative_half_width(2, wide.quantiles) == pytest.approx(0.2 * 4 / 2.5758)
    assert [d.reason for d in asked_of(wide, forms=["numeric"])[1]] == [gates.WIDE]
    assert asked_of(length(relative=0.2), forms=["numeric"])[1] == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_dropped(bad):
    assert {d.reason for d in asked_of(length(bad))[1]} == {gates.NOT_FINITE}


def test_a_category_that_no_option_names_is_an_error():
    bad = replace(direction(), extra={"probabilities": {"sideways": 1.0}})
    with pytest.raises(ValueError, match="sideways"):
        asked_of(bad)
