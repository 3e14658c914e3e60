"""Families of speed, turns, shifts and size against scenes whose answers are worked out by hand."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from curate.augment import mirror, reverse
from curate.measure import SceneDraws, quantity
from curate.measure.magnitude import quantiles
from curate.questions import QuestionsConfig, ask, gates
from curate.questions.families import families
from curate.questions.families.over_spans import least_margin, side
from tests.family_scenes_motion import asked, motion_scene, reasons, straight, turning, whole
from tests.scenes import Noise, make_scene

OWN = ("camera_mean_speed", "camera_peak_speed", "camera_acceleration", "object_acceleration", "camera_speed_trend",
       "object_speed_trend", "lateral_shift", "longitudinal_shift", "camera_yaw", "camera_pitch", "camera_roll",
       "object_rotation", "object_rotation_direction", "object_height", "camera_pose")
BLURRED = Noise(own_px=1.0, own_disparity_px=1.0, shared_disparity_px=.5, drift_px=.2)


@pytest.mark.parametrize("name", OWN)
def test_at_least_eight_paraphrases_of_each_section(name):
    family = families()[name]
    for section in family.sections:
        texts = family.wording(section)
        assert len(texts) >= 8 and len({p.id for p in texts}) == len(texts)


# ---- speed and its change ----

def test_camera_speed_is_path_over_time_and_its_peak():
    # 0.5 m/s at first, 0.3 m/s² more: 1.6 m in 2 s, 1.1 m/s at the end
    scene = motion_scene(camera=straight((0, 0, 0), (0, 0, .5), (0, 0, .3)), objects=(straight((0, 0, 9)),))
    mean = whole(asked(scene, "camera_mean_speed", units={"speed": ["m/s"]}), "numeric")
    peak = whole(asked(scene, "camera_peak_speed", units={"speed": ["km/h"]}), "numeric")
    assert mean.value == pytest.approx(.8, rel=.01) and mean.low < .8 < mean.high and mean.unit == "m/s"
    assert peak.value == pytest.approx(1.1 * 3.6, rel=.02) and peak.unit == "km/h"
    assert "in the fixed world" in mean.question and "optical centre" in mean.question
    assert "own motion taken out" not in mean.question


def test_a_camera_that_stands_still_has_no_speed_to_ask_for():
    scene = motion_scene()
    for name in ("camera_mean_speed", "camera_peak_speed", "camera_acceleration", "camera_speed_trend"):
        assert reasons(scene, name) == {gates.STILL}


def test_acceleration_is_the_change_of_mean_speed_over_half_the_time():
    # 1 m/s and 0.4 m/s² of the camera ahead; 2 m/s to the right and −0.6 m/s² of the object
    scene = motion_scene((straight((-1, 0, 6), (2, 0, 0), (-.6, 0, 0)),),
                         camera=straight((0, 0, 0), (0, 0, 1), (0, 0, .4)))
    camera, = asked(scene, "camera_acceleration", forms=["numeric"])[:1]
    thing = whole(asked(scene, "object_acceleration"))
    assert camera.value == pytest.approx(.4, rel=.05) and camera.unit == "m/s²"
    assert thing.value == pytest.approx(-.6, rel=.08) and thing.low < -.6 < thing.high < 0
    assert "1.00 s" in thing.question and re.search("negative|Slowing down counts", thing.question)


def test_acceleration_of_no_steady_kind_is_that_of_the_two_halves():
    # from rest to 1 m/s about the middle: mean speeds v1 and v2 by arc length
    def path(t):
        s = np.log1p(np.exp(4 * (t - 1))) / 4
        return np.stack([s - .5, 0 * t, 4 + 0 * t], -1)

    ends = path(np.array([0, 1, 2.0]))[:, 0]
    expected = ((ends[2] - ends[1]) - (ends[1] - ends[0])) / 1.0
    question = whole(asked(motion_scene((path,)), "object_acceleration"))
    assert question.low < expected < question.high and expected == pytest.approx(.66, abs=.01)


@pytest.mark.parametrize("acceleration,answer", [
    (.8, "it speeds up"), (-.8, "it slows down"), (0, "it keeps its speed"), (.04, "it keeps its speed")])
def test_trend_of_speed_against_the_margin_stated(acceleration, answer):
    """v₁ = 1.2 + a/2 and v₂ = 1.2 + 3a/2: for a = 0.04 they differ by 3 %, for ±0.8 by 33 % and more."""
    scene = motion_scene((straight((-1, 0, 5), (1.2, 0, 0), (acceleration, 0, 0)),),
                         camera=straight((0, 0, 0), (0, 0, 1.2), (0, 0, acceleration)))
    for name in ("object_speed_trend", "camera_speed_trend"):
        question = whole(asked(scene, name))
        assert question.answer == answer and set(question.options) == {
            "it speeds up", "it slows down", "it keeps its speed"}
        assert f"{100 * question.extra['margin']:.0f} %" in question.question and "1.00 s" in question.question
        assert any("differ by" in step for step in question.reasoning)


def test_a_trend_at_the_margin_is_not_asked():
    # v₁ = 0.9 and v₂ = 1.0 m/s
    scene = motion_scene((straight((-1, 0, 5), (.85, 0, 0), (.1, 0, 0)),))
    assert not [q for q in asked(scene, "object_speed_trend") if q.end_frame == 20 and q.extra["margin"] == .1]


def test_the_margin_follows_from_the_error_alone():
    rng = np.random.default_rng(0)
    noise = .1 * rng.standard_normal(4096)  # 99 % within ±0.26
    for middle in (-3.0, 0.0, .4):
        assert least_margin(quantiles(middle + noise), (.1, .2, .5, 1.0)) == 1.0
        assert least_margin(quantiles(middle + noise / 3), (.1, .2, .5, 1.0)) == .2
    assert least_margin(quantiles(10 * noise), (.1, .2, .5, 1.0)) is None
    category = side(.4 + noise, .5, "left", "neither", "right")
    assert category.name == "neither" and category.confidence == pytest.approx(.84, abs=.02)
    assert side(noise - 2, .5, "left", "neither", "right").confidence == 1


def test_of_an_object_that_may_stand_still_no_trend_is_asked():
    assert reasons(motion_scene(), "object_speed_trend") == {gates.STILL}
    blurred = motion_scene((straight((0, 0, 8), (.02, 0, 0)),), noise=BLURRED)
    assert reasons(blurred, "object_acceleration") == {gates.STILL}


# ---- shifts in the camera's axes ----

def test_shift_by_components_with_the_cameras_motion_taken_out():
    # the object goes 1.2 m to the right and 2 m nearer; the camera follows it 3 m ahead, and stays turned as it was
    scene = motion_scene((straight((-.5, 0, 8), (.6, 0, -1)),), camera=straight((0, 0, 0), (0, 0, 1.5)))
    side_ways, ahead = (whole(asked(scene, name), "numeric") for name in ("lateral_shift", "longitudinal_shift"))
    assert side_ways.value == pytest.approx(1.2, rel=.02) and ahead.value == pytest.approx(-2, rel=.03)
    assert whole(asked(scene, "lateral_shift"), "choice").answer == "to the right"
    assert whole(asked(scene, "longitudinal_shift"), "choice").answer == "toward the camera"
    assert "0.00 s" in side_ways.question and side_ways.frame == "camera@0"


def test_shift_of_what_stands_still_is_neither_and_the_margin_is_stated():
    scene = motion_scene((straight((.3, 0, 4)),), camera=straight((0, 0, 0), (.2, 0, .3)))
    for name in ("lateral_shift", "longitudinal_shift"):
        question = whole(asked(scene, name), "choice")
        assert question.answer == "neither" and len(question.options) == 3
        assert f"{question.extra['margin']:g} m" in question.question
        assert not [q for q in asked(scene, name) if q.form == "numeric"]


def test_axes_of_a_shift_are_those_at_the_start_of_its_span():
    """A camera turned 30° to the right sees what moves to world +x move away from it, by sin 30°."""
    scene = motion_scene((straight((2.5, 0, 6), (.5, 0, 0)),),
                         camera_turn=lambda t: np.radians([[0, 30, 0]]) * (t > 0)[:, None])
    late = view_shift(scene, (1, 20))
    assert late == pytest.approx((.95 * np.cos(np.radians(30)), .95 * np.sin(np.radians(30))), rel=.03)


def view_shift(scene, span):
    draws = SceneDraws(scene)
    return tuple(float(quantity(draws, name, (1,), span).value) for name in ("lateral_shift", "longitudinal_shift"))


def test_a_shift_as_large_as_its_margin_has_no_certain_side():
    question, = [q for q in asked(motion_scene(), "lateral_shift") if q.end_frame == 20]
    margin = question.extra["margin"]
    scene = motion_scene((straight((0, 0, 5), (margin / 2, 0, 0)),))
    assert gates.UNCERTAIN in reasons(scene, "lateral_shift")


# ---- how the camera is turned ----

@pytest.mark.parametrize("name,rate,positive,negative", [
    ("camera_yaw", (0, 6, 0), "to the right", "to the left"), ("camera_pitch", (6, 0, 0), "upwards", "downwards"),
    ("camera_roll", (0, 0, 6), "clockwise", "anticlockwise")])
@pytest.mark.parametrize("sign", [1, -1])
def test_turns_about_one_axis(name, rate, positive, negative, sign):
    """About x right, y down, z forward by the right-hand rule: pitch up, yaw right, roll clockwise from behind."""
    scene = motion_scene(camera_turn=turning(tuple(sign * r for r in rate)))
    number, choice = (whole(asked(scene, name), form) for form in ("numeric", "choice"))
    assert number.value == pytest.approx(12 * sign, abs=.05) and number.unit == "°"
    assert choice.answer == (positive if sign > 0 else negative)
    for other in {"camera_yaw", "camera_pitch", "camera_roll"} - {name}:
        assert whole(asked(scene, other), "choice").answer == "neither"


def test_turns_need_no_scale():
    scene = motion_scene(camera_turn=turning((0, 6, 0)), scale="relative")
    assert whole(asked(scene, "camera_yaw"), "numeric").value == pytest.approx(12, abs=.05)


def test_a_turn_as_large_as_its_margin_is_not_asked_for():
    assert reasons(motion_scene(camera_turn=turning((0, .5, 0))), "camera_yaw") == {gates.UNCERTAIN}
    assert asked(motion_scene(camera_turn=turning((0, .4, 0))), "camera_yaw", forms=["choice"])[0].answer == "neither"


def test_a_turn_that_is_known_badly_gets_a_wide_margin_and_no_number():
    scene = motion_scene(camera_turn=turning((0, .5, 0)), step_rad=np.radians(.3))
    question = whole(asked(scene, "camera_yaw"))
    assert (question.answer == "neither" and "5°" in question.question) or "10°" in question.question
    assert gates.WIDE in reasons(scene, "camera_yaw")


# ---- how an object turns ----

ASIDE = straight((.4, 0, 3), (.2, 0, 0))


@pytest.mark.parametrize("rate,from_above", [((0, 12, 0), "clockwise"), ((0, -12, 0), "anticlockwise")])
def test_turn_about_the_vertical_seen_from_above(rate, from_above):
    """y points down: a right-handed turn about it takes forward to the right, which is clockwise on a map."""
    scene = motion_scene((ASIDE,), (turning(rate),), camera=straight((0, 0, 0), (0, 0, .2)),
                         camera_turn=turning((0, 4, 1)), turn_sigma=.005)
    angle = whole(asked(scene, "object_rotation"))
    assert angle.value == pytest.approx(24, abs=1) and angle.low < 24 < angle.high and angle.unit == "°"
    above, = [q for q in asked(scene, "object_rotation_direction") if q.end_frame == 20]
    assert above.answer == from_above and ".above-" in above.id
    assert "seen from above (up is the upward direction of the camera's image at 0.00 s)" in above.question


def test_turn_about_the_line_of_sight_seen_from_the_camera():
    scene = motion_scene((straight((0, 0, 3)),), (turning((0, 0, 15)),), turn_sigma=.005)
    seen, = [q for q in asked(scene, "object_rotation_direction") if q.end_frame == 20]
    assert seen.answer == "clockwise" and ".camera-" in seen.id  # right (x) goes to down (y)
    assert "seen from where the camera is at 0.00 s" in seen.question


def test_up_of_the_scene_is_what_above_means_where_it_is_known():
    """The camera lies on its side: gravity points along its +x, and so does the axis of the turn."""
    scene = replace(motion_scene((ASIDE,), (turning((12, 0, 0)),), turn_sigma=.005), up="gravity",
                    up_world=np.array([-1.0, 0, 0]))
    above = next(q for q in asked(scene, "object_rotation_direction") if q.end_frame == 20 and ".above-" in q.id)
    assert above.answer == "clockwise" and "opposite to gravity" in above.question


def test_what_does_not_clearly_turn_is_asked_nothing():
    for turn, sigma in ((turning((0, 0, 0)), .005), (turning((0, 3, 0)), .005), (turning((0, 12, 0)), .2)):
        scene = motion_scene((ASIDE,), (turn,), turn_sigma=sigma)
        assert not asked(scene, "object_rotation", "object_rotation_direction")
        assert reasons(scene, "object_rotation") == {gates.STILL}


def test_a_body_cut_off_by_the_images_edge_or_without_a_rotation_is_not_asked_of():
    scene = motion_scene((straight((1.65, 0, 3)),), (turning((0, 12, 0)),))
    assert reasons(scene, "object_rotation_direction") == {gates.CUT_OFF}
    scene = motion_scene((ASIDE,))
    scene = replace(scene, regions=[replace(r, rotation_cam=None, rotation_cov=None) for r in scene.regions])
    assert reasons(scene, "object_rotation") == {gates.NOT_MEASURED}


# ---- how tall ----

def tall(rows: float, depth: float, **options):
    """A scene whose one moving object has a box of so many rows in the first frame."""
    scene = motion_scene((straight((0, 0, depth), (.3, 0, 0)),), **options)
    region = scene.regions[0]
    box = region.box.copy()
    middle = region.centroid_px[0]
    box[0] = [middle[0] - 20, middle[1] - rows / 2, middle[0] + 20, middle[1] + rows / 2]
    return replace(scene, regions=[replace(region, box=box)])


def test_height_is_rows_times_depth_over_focal_length():
    scene = tall(200, 4.0)  # 640 wide: 1.6 px a cell
    question = whole_instant(asked(scene, "object_height"))
    expected = (200 + 1.6) * 4 / scene.camera.fy
    assert question.value == pytest.approx(expected, rel=.02) and question.unit == "m"
    # 95 % of Student's t with 4 degrees of freedom: 2.776 scales of 4.2 cells, and its depth
    assert (question.high - question.low) / 2 == pytest.approx(2.776 * 4.2 * 1.6 * 4 / scene.camera.fy, rel=.15)
    assert "visible" in question.question and "vertical direction of the camera's image" in question.question


def whole_instant(questions):
    return next(q for q in questions if q.form == "numeric" and q.start_frame == q.end_frame == 0)


def test_height_of_what_is_small_or_stands_still_or_is_cut_off_is_not_asked():
    assert {d.reason for d in drops(tall(50, 4.0))} == {gates.WIDE}
    assert {d.reason for d in drops(tall(400, 4.0))} == {gates.CUT_OFF}
    assert {d.reason for d in drops(motion_scene((straight((0, 0, 4)),)))} == {gates.STILL}


def drops(scene):
    return ask(scene, QuestionsConfig(families=["object_height"]))[1]


# ---- the camera's pose at a second time ----

def test_pose_in_the_axes_of_the_first():
    # 2 m ahead and 0.6 m to the right, turned by 12° to the right
    scene = motion_scene(camera=straight((0, 0, 0), (.3, 0, 1)), camera_turn=turning((0, 6, 0)))
    question = whole(asked(scene, "camera_pose"))
    step, angle = question.extra["step_m"], question.extra["step_deg"]
    assert question.answer_type == "json" and json.loads(question.answer) == question.target
    assert question.target["position"] == pytest.approx([.6, 0, 2], abs=step)
    assert question.target["yaw"] == pytest.approx(12, abs=angle)
    assert f"to the nearest {step:g} m and the yaw to the nearest {angle:g}°" in question.question
    part, = question.coordinates
    assert json.loads(question.answer[part["start"]:part["end"]]) == question.target["position"]
    assert part["vector"] == [*question.target["position"], 2.0]


def test_the_pose_is_written_in_steps_that_its_error_supports():
    scene = motion_scene(camera=straight((0, 0, 0), (0, 0, 1)), step_m=.02, step_rad=2e-3)
    coarse = whole(asked(scene, "camera_pose"))
    assert coarse.extra["step_m"] >= .5 and coarse.extra["step_deg"] >= 2
    assert coarse.target["position"][2] % coarse.extra["step_m"] == pytest.approx(0, abs=1e-9)
    assert reasons(motion_scene(), "camera_pose") == {gates.STILL}


# ---- the same of a mirrored clip, and of one played backwards ----

SWAPPED = {"to the left": "to the right", "to the right": "to the left", "clockwise": "anticlockwise",
           "anticlockwise": "clockwise", "it speeds up": "it slows down", "it slows down": "it speeds up",
           "toward the camera": "away from the camera", "away from the camera": "toward the camera"}


def changed(operation):
    """(family, answer or value before, after) of the whole clip of a scene in which everything moves and turns."""
    scene = motion_scene((straight((-.6, 0, 4), (.5, 0, -.3), (.3, 0, -.2)),), (turning((0, 12, 0)),),
                         camera=straight((0, 0, 0), (0, 0, .5), (0, 0, .4)), camera_turn=turning((0, 5, 0)),
                         turn_sigma=.005)
    names = ("lateral_shift", "longitudinal_shift", "camera_yaw", "object_rotation_direction", "object_speed_trend",
             "camera_speed_trend", "object_acceleration")
    before, after = ({(q.family, q.form): q for q in asked(s, *names, units={"speed": ["m/s"]}) if q.end_frame == 20 and
                      q.start_frame == 0} for s in (scene, operation(scene)))
    assert before.keys() == after.keys() and len(before) == 10
    return {key: (before[key].value, after[key].value) if key[1] == "numeric" else
            (before[key].answer, after[key].answer) for key in before}


def test_a_mirror_swaps_left_and_right_and_the_sense_of_turns_and_nothing_else():
    for (family, form), (one, other) in changed(mirror).items():
        is_swapped = family in ("lateral_shift", "camera_yaw", "object_rotation_direction")
        if form == "numeric":
            assert other == pytest.approx(-one if is_swapped else one, rel=.03)
        else:
            assert other == (SWAPPED[one] if is_swapped else one)


def test_backwards_everything_goes_and_turns_the_other_way():
    for (family, form), (one, other) in changed(reverse).items():
        if form == "choice":
            assert other == SWAPPED[one], family
        elif family == "object_acceleration":  # what speeds up slows down by as much
            assert other == pytest.approx(-one, rel=.05)
        else:
            assert other * one < 0


# ---- whatever the scene is like ----

@pytest.mark.parametrize("options", [{"num_frames": 2}, {"num_frames": 3}, {"irregular": True, "gaps": True},
                                     {"scale": "relative"}, {"noise": Noise.none()}])
@pytest.mark.parametrize("camera", ["still", "hand-held"])
def test_no_scene_is_too_odd_and_wordings_are_whole(options, camera):
    scene, _ = make_scene(5, camera, **options)
    for dialect in ("seconds", "frames"):
        for question in asked(scene, *OWN, dialect=dialect):
            head = question.question.split("\n")[0]
            assert head[0].isupper() and "{{" not in head and "{%" not in head and "  " not in head
            assert "?" in head or question.form == "open"
            assert not re.search(r"\b(a|the) (a|an|the)\b", head)
            assert all(f"<R{i}> in the first frame" in head for i in question.regions)
            if dialect == "frames":
                assert "counting from 0" in head and not re.search(r"\d s\b", head)
            if options.get("scale") == "relative":
                assert not families()[question.family].metric
            assert "nan" not in " ".join(question.reasoning)


def test_a_turn_that_explains_few_of_its_matches_is_not_asked_of():
    scene = motion_scene((ASIDE,), (turning((0, 12, 0)),), turn_sigma=.005)
    doubtful = replace(scene, regions=[replace(r, rigidity=.9) for r in scene.regions])
    assert reasons(doubtful, "object_rotation_direction") == {gates.NOT_RIGID}
    assert asked(replace(scene, regions=[replace(r, rigidity=.99) for r in scene.regions]), "object_rotation")
