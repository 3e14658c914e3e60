"""The truth of a variant, from the scene itself, against what the measured scene's variant says."""

from __future__ import annotations

import numpy as np
import pytest

from curate.augment import Variant
from curate.geometry.rotations import exp_so3
from curate.synth.scene import SUB
from curate.synth.truth import Subject, Truth
from curate.synth.variants import has_truth, scene_of, start_of, subject_of
from tests.synthetic import body, line, path, scene, wall

VARIANTS = [Variant(mirror=True), Variant(reverse=True), Variant(rate=2), Variant(True, True, .5)]


def moving():
    """Ten frames, ten a second: an object that goes right at 1 m/s and comes nearer at 2, seen by a turning camera."""
    fine = np.arange(9 * SUB + 1) / (10 * SUB)
    turn = exp_so3(np.stack([0 * fine, .2 * fine, 0 * fine], -1))
    camera = path(np.stack([0 * fine, 0 * fine, .5 * fine], -1), turn, names=("world", "cam"))
    return scene(wall(), body(1, "box", .4, path(line((-.5, .2, 6), (1, 0, -2), num_frames=10))), num_frames=10,
                 T_world_cam=camera)


@pytest.mark.parametrize("variant", VARIANTS)
def test_distances_are_kept_and_speeds_go_with_the_rate(variant):
    plain, made = moving(), scene_of(moving(), variant)
    start, before = start_of(plain, 2, 7, variant), Truth(plain, 2)
    after = Truth(made, start)
    assert start == (1 if variant.reverse else 2)  # frames 2 to 8 of 0 to 9
    subject = Subject(1, np.array([.1, .05, -.2]), 1.0)
    other = subject_of(subject, variant)
    span, back = (1, 4), (2, 5) if variant.reverse else (1, 4)
    for kind in ("object_displacement", "object_path_length", "camera_displacement", "camera_rotation"):
        assert after.value(kind, [other], back).value == pytest.approx(before.value(kind, [subject], span).value)
    for kind in ("object_mean_speed", "object_peak_speed"):
        assert after.value(kind, [other], back).value == pytest.approx(
            variant.rate * before.value(kind, [subject], span).value)
    change = before.value("object_camera_distance_change", [subject], span)
    sign = -1 if variant.reverse else 1
    assert after.value("object_camera_distance_change", [other], back).value == pytest.approx(sign * change.value)
    assert change.category == "closer"
    assert after.value("object_camera_distance_change", [other], back).category == ("farther" if variant.reverse
                                                                                   else "closer")


@pytest.mark.parametrize("variant, category", [(Variant(), "right"), (Variant(mirror=True), "left"),
                                               (Variant(reverse=True), "left"), (Variant(True, True), "right")])
def test_left_and_right_by_hand(variant, category):
    plain = scene(wall(), body(1, "box", .4, path(line((0, 0, 5), (1, .1, 0), num_frames=10))), num_frames=10)
    truth = Truth(scene_of(plain, variant))
    for kind in ("object_direction", "apparent_direction"):
        assert truth.value(kind, [Subject(1, np.zeros(3), 1.0)], (0, 9)).category == category


def test_what_has_no_truth_is_not_judged():
    assert not has_truth("view_box", Variant(mirror=True)) and has_truth("view_box", Variant(rate=2))
    assert has_truth("view_shift", Variant(mirror=True)) and not has_truth("view_shift", Variant(reverse=True))
    assert not has_truth("grounding_mark", Variant(reverse=True)) and has_truth("viewpoint_shift", Variant(True, True))
