"""True answers against numbers worked out by hand, and the scoring of shards against them."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from curate.geometry.rotations import exp_so3
from curate.shards.publish import publish
from curate.shards.sample import encode_rle
from curate.synth.askable import Askable, askable, seen_objects
from curate.synth.dataset import write_truth
from curate.synth.renderer import Renderer
from curate.synth.scene import SUB
from curate.synth.score import Report, judge, score, score_samples
from curate.synth.truth import Subject, Truth, boundary_margin, match
from tests import shard_samples
from tests.synthetic import body, line, path, scene, wall

T = 9
SPAN = (0, T - 1)
SECONDS = 0.8
CENTRE = Subject(1, np.zeros(3), 1.0)


def moving_scene():
    """Object 1 goes 2 m/s to the right and 1 m/s away; object 2 stands; the camera goes 1 m/s ahead and turns."""
    yaw = np.radians(10) * np.linspace(0, 1, (T - 1) * SUB + 1)
    turn = exp_so3(np.stack([0 * yaw, yaw, 0 * yaw], -1))
    camera = path(line([0, 0, 0], [0, 0, 1], T), turn, ("world", "cam"))
    return scene(wall(), body(1, "sphere", 1, path(line([-0.5, 0.2, 5], [2, 0, 1], T))),
                 body(2, "box", [1, 1, 1], path([1, -1.2, 7])), num_frames=T, T_world_cam=camera)


def test_kinds_worked_out_by_hand():
    truth = Truth(moving_scene())
    far = 5**0.5 * SECONDS
    end = np.array([-0.5 + 2 * SECONDS, 0.2, 5 + SECONDS - SECONDS])
    expected = {
        "object_displacement": far, "object_path_length": far, "object_mean_speed": 5**0.5,
        "object_peak_speed": 5**0.5, "camera_displacement": SECONDS, "camera_path_length": SECONDS,
        "camera_rotation": np.radians(10), "object_camera_distance": np.linalg.norm([-0.5, 0.2, 5]),
        "object_camera_distance_change": np.linalg.norm(end) - np.linalg.norm([-0.5, 0.2, 5])}
    for kind, value in expected.items():
        assert truth.value(kind, [CENTRE], SPAN).value == pytest.approx(value, rel=1e-9), kind
    pair = [CENTRE, Subject(2, np.zeros(3), 1.0)]
    assert truth.value("object_object_distance", pair).value == pytest.approx(np.linalg.norm([1.5, -1.4, 2]))
    assert truth.value("object_direction", [CENTRE], SPAN).category == "right"
    assert truth.value("camera_direction", (), SPAN).category == "forward"
    assert truth.value("camera_rotation", (), SPAN).category == "right"
    assert truth.value("object_camera_distance_change", [CENTRE], SPAN).category == "farther"
    assert truth.value("object_camera_distance", [CENTRE], (0, 0), "nearest").value == pytest.approx(
        np.linalg.norm([-0.5, 0.2, 5]) - 0.5)


def test_true_and_apparent_direction_differ_where_the_camera_turns():
    truth = Truth(moving_scene())
    still = Subject(2, np.zeros(3), 1.0)
    assert truth.value("object_displacement", [still], SPAN).value == 0
    assert truth.value("object_direction", [still], SPAN).category == ""
    shift = truth.value("apparent_direction", [still], SPAN)
    assert shift.category == "left"  # the camera turns to the right
    assert truth.value("apparent_direction", [Subject(0, np.array([1.0, -1.2, 7]), 1)], SPAN).vector == pytest.approx(
        shift.vector)


def test_direction_is_in_the_axes_of_the_camera_at_the_start_of_the_span():
    made = moving_scene()
    about = exp_so3(np.array([0, np.pi / 2, 0]))  # it now looks along the world's x
    turned = replace(made, T_world_cam=path(made.T_world_cam.translation, about @ made.T_world_cam.rotation,
                                            ("world", "cam")))
    assert Truth(turned).value("object_direction", [CENTRE], SPAN).category == "forward"
    assert Truth(turned).value("camera_direction", (), SPAN).category == "left"


def test_a_bent_path_is_longer_than_its_ends_are_apart_and_a_point_off_the_axis_moves_by_turning():
    angle = np.linspace(0, np.pi, (T - 1) * SUB + 1)
    half_circle = np.stack([2 - 2 * np.cos(angle), 0 * angle, 8 + 2 * np.sin(angle)], -1)
    turn = exp_so3(np.stack([0 * angle, angle, 0 * angle], -1))
    made = scene(wall(), body(1, "sphere", 1, path(half_circle)), body(2, "box", 1, path(half_circle * 0 + 6, turn)),
                 num_frames=T)
    truth = Truth(made)
    assert truth.value("object_displacement", [CENTRE], SPAN).value == pytest.approx(4)
    assert truth.value("object_path_length", [CENTRE], SPAN).value == pytest.approx(2 * np.pi, rel=1e-3)
    assert truth.value("object_peak_speed", [CENTRE], SPAN).value == pytest.approx(2 * np.pi / SECONDS, rel=1e-3)
    corner = Subject(2, np.array([0, 0, -0.5]), 1)
    assert truth.value("object_displacement", [corner], SPAN).value == pytest.approx(1)
    assert truth.value("object_displacement", [corner], SPAN, "box-centre").value == pytest.approx(0)


def test_a_clip_that_starts_later_counts_from_there():
    made = moving_scene()
    whole, cut = Truth(made), Truth(made, 3)
    for kind in ("object_displacement", "object_camera_distance_change", "camera_rotation"):
        assert cut.value(kind, [CENTRE], (1, 4)).value == whole.value(kind, [CENTRE], (4, 7)).value


def test_units_and_unknown_names():
    truth = Truth(moving_scene())
    assert truth.value("object_mean_speed", [CENTRE], SPAN).in_unit("km/h") == pytest.approx(3.6 * 5**0.5)
    assert truth.value("camera_rotation", (), SPAN).in_unit("°") == pytest.approx(10)
    with pytest.raises(ValueError, match="unknown unit 'yd'"):
        truth.value("camera_rotation", (), SPAN).in_unit("yd")
    with pytest.raises(ValueError, match="no truth"):
        truth.value("object_mass", [CENTRE], SPAN)
    with pytest.raises(ValueError, match="reference"):
        truth.value("object_displacement", [CENTRE], SPAN, "tip")


def test_stray_pixels_along_the_border_do_not_move_a_region():
    made = moving_scene()
    left, right = np.zeros((2, *Renderer(made).geometry(0)[1].shape), bool)
    left[:20, :40], right[:20, 40:160] = True, True
    world = np.zeros(left.shape, np.int16)
    far = np.where(left, 100.0, 5.0)
    alone = match(made, right, far, world)
    np.testing.assert_allclose(match(made, left | right, far, world).point, alone.point)  # a quarter of it
    slanted = 5 + 0.1 * np.arange(left.shape[1])[None] * np.ones((left.shape[0], 1))
    whole = made.camera(0) @ made.rig.left.lift(np.argwhere(right)[:, ::-1], slanted[right]).mean(0)
    np.testing.assert_allclose(match(made, right, slanted, world).point, whole)  # what spreads evenly is all of it


def test_a_region_is_matched_to_what_most_of_it_lies_on():
    made = moving_scene()
    depth, ids = Renderer(made).geometry(0)
    subject = match(made, ids == 1, depth, ids)
    assert subject.object_id == 1 and subject.share == 1
    # the centroid of the visible half of a sphere of radius 0.5: 2/3 of the radius towards the camera from far away
    assert -subject.point[2] == pytest.approx(1 / 3, abs=0.04) and abs(subject.point[:2]).max() < 0.06
    mixed = (ids == 1) | np.roll(ids == 1, 15, axis=1)
    assert match(made, mixed, depth, ids).object_id == 1 and match(made, mixed, depth, ids).share < 0.9
    assert match(made, np.roll(ids == 1, 40, axis=0), depth, ids).object_id == 0
    assert match(made, np.zeros_like(ids, bool), depth, ids) is None
    assert match(made, mixed, depth, ids, min_share=0.99) is None
    half = (ids == 1)[::2, ::2]
    assert match(made, half, depth, ids).point == pytest.approx(subject.point, abs=0.02)


def test_margin_of_a_direction():
    assert boundary_margin(np.array([1.0, 0])) == pytest.approx(np.pi / 4)
    assert boundary_margin(np.array([1.0, 1, 0])) == 0
    assert boundary_margin(np.array([0, -np.cos(0.3), np.sin(0.3)])) == pytest.approx(np.pi / 4 - 0.3)


def test_askable_are_clear_motions_of_objects_that_are_seen():
    made = moving_scene()
    found = {(a.family, a.objects) for a in askable(made)}
    for family in ("object_displacement", "object_path_length", "object_mean_speed", "object_direction"):
        assert (family, (1,)) in found and (family, (2,)) not in found
    assert {("object_object_distance", (1, 2)), ("object_camera_distance", (2,)), ("camera_rotation", ()),
            ("camera_direction", ()), ("apparent_direction", (2,))} <= found
    hidden = scene(wall(), body(1, "sphere", 1, path(line([0, 0, 6], [0.3, 0, 0], T))),
                   body(2, "box", [1.5, 1.5, 0.1], path([0, 0, 4])), num_frames=T)
    assert not any(1 in a.objects for a in askable(hidden))
    leaves = scene(wall(), body(1, "sphere", 1, path(line([0, 0, 6], [8, 0, 0], T))), num_frames=T)
    assert seen_objects(leaves) == {} and askable(leaves) == []
    far = scene(wall(80), body(1, "sphere", 8, path(line([0, 0, 40], [0, 0, 0.4], T))), num_frames=T)
    assert set(seen_objects(far)) == {1}  # large and moving, but an ideal rig could not tell at that distance
    assert {a.family for a in askable(far)} == {"object_camera_distance"}
    small = scene(wall(), body(1, "sphere", 0.5, path(line([0, 0, 6], [0.5, 0, 0], T))), num_frames=T)
    assert seen_objects(small) == {}  # 490 pixels


FAMILIES = {"object_displacement": ("m", [1]), "object_path_length": ("cm", [1]), "object_mean_speed": ("km/h", [1]),
            "object_peak_speed": ("m/s", [1]), "object_camera_distance": ("m", [2]),
            "object_camera_distance_change": ("m", [1]), "object_object_distance": ("m", [1, 2]),
            "camera_displacement": ("m", []), "camera_rotation": ("°", []), "object_direction": ("", [1])}


def record(made, repeats: int = 6) -> dict:
    """What a perfect run would have written of `made`: every family as a number and as a choice, `repeats` times."""
    depth, ids = Renderer(made).geometry(0)
    subjects = {i: match(made, ids == i, depth, ids) for i in (1, 2)}
    truth, qa = Truth(made), []
    for family, (unit, regions) in FAMILIES.items():
        true = truth.value(family, [subjects[i] for i in regions], SPAN)
        value = true.in_unit(unit)
        common = {"family": family, "unit": unit, "regions": regions, "start_frame": 0, "end_frame": T - 1,
                  "reference": "surface@t0"}
        names = [true.category, "nowhere"] if unit == "" else [value * f for f in (1.01, 2, 0.5, 4)]
        texts = [name if unit == "" else f"{name:.4g} {unit}" for name in names]
        for k in range(repeats):
            qa.append(common | {"id": f"{family}-{k}-choice", "form": "choice", "letter": "A", "options": texts,
                                "answer": texts[0], "value": math.nan, "low": math.nan, "high": math.nan,
                                "extra": {"option_values": names}})
            if unit:
                qa.append(common | {"id": f"{family}-{k}-numeric", "form": "numeric", "letter": "", "options": [],
                                    "answer": f"{value * 1.02:.6g}", "value": value * 1.02,
                                    "low": min(value * 0.95, value * 1.1), "high": max(value * 0.95, value * 1.1),
                                    "extra": {"option_values": []}})
    regions = [{"id": i, "first": 0, "mask_rle": encode_rle(ids == i)} for i in (1, 2)]
    return {"key": "k", "source": {"uri": f"{made.name}.mp4", "start_frame": 0}, "regions": regions, "qa": qa}


@pytest.fixture(scope="module")
def truth_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    write_truth(folder, moving_scene())
    return folder


def test_a_perfect_run_passes_the_floor(truth_dir, capsys):
    report = score_samples([record(moving_scene())], truth_dir)
    assert report.ok and not report.wrong() and len(report.judged) == 114
    row = report.row("object_mean_speed")
    assert (row["askable"], row["asked"], row["questions"], row["right"], row["coverage"]) == (1, 1, 12, 1.0, 1.0)
    assert row["median_relative_error"] == pytest.approx(0.02, abs=1e-4)
    assert row["median_half_width"] == pytest.approx(0.075 / 1.02, rel=1e-3)
    report.print()
    assert "object_mean_speed" in capsys.readouterr().out
    rows = json.loads(json.dumps(report.to_json(), allow_nan=False))["rows"]
    assert all(set(row) == {"name", "value", "unit", "target", "ok"} for row in rows)


def test_one_corrupted_answer_is_found_and_enough_of_them_fail_the_floor(truth_dir):
    made, made_record = moving_scene(), record(moving_scene())
    choices = [q for q in made_record["qa"] if q["form"] == "choice"]
    for number, q in enumerate(choices[:6], 1):
        q["letter"], q["answer"] = "B", q["options"][1]
        report = score_samples([made_record], truth_dir)
        assert [j.id for j in report.wrong()] == [c["id"] for c in choices[:number]]
    assert len(judge(made_record, made)) == 114
    failed = [row["name"] for row in report.floor() if not row["ok"]]
    assert failed == ["choice answers right"] and not report.ok


@pytest.mark.parametrize(("change", "fails"), [
    (lambda q: q.update(low=q["high"], high=q["high"] + 1), "truths inside the stated 95 % interval"),
    (lambda q: q.update(low=q["value"] - abs(q["value"]), high=q["value"] + abs(q["value"])),
     "median half-width of numeric answers")])
def test_intervals_that_miss_or_say_nothing_fail_the_floor(truth_dir, change, fails):
    made = record(moving_scene())
    for q in made["qa"]:
        if q["form"] == "numeric":
            change(q)
    report = score_samples([made], truth_dir)
    assert [row["name"] for row in report.floor() if not row["ok"]] == [fails]


def test_too_little_asked_fails_the_floor(truth_dir):
    empty = record(moving_scene()) | {"qa": []}
    report = score_samples([empty], truth_dir)
    assert {row["name"] for row in report.floor() if row["ok"]} == set()
    few = record(moving_scene())
    few["qa"] = [q for q in few["qa"] if q["family"] == "camera_rotation"]
    failed = {row["name"] for row in score_samples([few], truth_dir).floor() if not row["ok"]}
    assert {"questions", "families", "share of the askable asked"} <= failed


def test_a_region_that_is_no_object_is_wrong_where_motion_is_asked(truth_dir):
    made = record(moving_scene(), repeats=1)
    _, ids = Renderer(moving_scene()).geometry(0)
    made["regions"][0]["mask_rle"] = encode_rle(np.roll(ids == 1, 40, axis=0))
    wrong = {j.id for j in score_samples([made], truth_dir).wrong()}
    assert {"object_displacement-0-numeric", "object_displacement-0-choice", "object_direction-0-choice"} <= wrong
    assert not any("camera_" in name and "object" not in name for name in wrong)
    made["regions"][0]["mask_rle"] = made["regions"][1]["mask_rle"]
    problems = {j.family: j.problem for j in score_samples([made], truth_dir).judged}
    assert problems["object_object_distance"] == "two regions lie on the same object"


def test_motion_asked_of_a_still_object_is_wrong_whatever_the_options(truth_dir):
    made = record(moving_scene(), repeats=1)
    made["qa"] = [q | {"regions": [2]} for q in made["qa"] if q["family"] == "object_displacement"]
    for q in made["qa"]:
        if q["form"] == "choice":  # the smallest of the options, nearest to the true zero
            q["letter"], q["answer"] = "C", q["options"][2]
    judged = score_samples([made], truth_dir).judged
    assert len(judged) == 2 and {j.problem for j in judged} == {"asked as a moving object, but it stands still"}
    assert not any(j.right or j.covered for j in judged)


def test_every_question_of_every_split_of_a_published_set_is_judged(tmp_path):
    for name in ("0", "1"):
        write_truth(tmp_path / "truth", replace(moving_scene(), name=name))
    samples = [shard_samples.sample(0), shard_samples.sample(1, split="val")]
    publish(tmp_path, samples)
    report = score(tmp_path, tmp_path / "truth")
    assert [j.id for j in report.judged] == [q["id"] for s in samples for q in s.json["qa"]]
    assert {j.scene for j in report.judged} == {"0", "1"}
    assert report.row()["askable"] == 2 * len(askable(moving_scene()))


def test_clips_without_truth_are_an_error(truth_dir, tmp_path):
    made = record(moving_scene()) | {"source": {"uri": "videos/other.mp4", "start_frame": 0}}
    with pytest.raises(ValueError, match=r"no other\.truth\.npz"):
        score_samples([made], truth_dir)
    with pytest.raises(ValueError, match="no \\*"):
        score_samples([made], tmp_path)


def test_a_report_of_nothing_is_not_ok():
    assert not Report([], [("a", Askable("camera_rotation", ()))]).ok


def test_a_judged_answer_carries_what_was_stated_and_what_is_true(truth_dir):
    """In metres and seconds whatever the unit asked; of a direction, the angle between it and the true one."""
    made = record(moving_scene(), repeats=1)
    stated = [3.0, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6, 3.7, 3.8]
    for q in made["qa"]:
        if q["family"] == "object_mean_speed":
            q["quantities"] = [{"value": 3.4, "quantiles": stated}]
        elif q["family"] == "object_direction":
            q["quantities"] = [{"value": [1.0, 0.0, 0.0], "quantiles": stated}]
    report = score_samples([made], truth_dir)
    speed = [j for j in report.judged if j.family == "object_mean_speed"]
    assert all(j.true == pytest.approx(5**0.5) and not j.one_sided for j in speed)
    direction = [j for j in report.judged if j.family == "object_direction"]
    assert direction[0].one_sided and direction[0].true == pytest.approx(math.atan2(1, 2))
    assert all(j.stated == tuple(stated) for j in speed + direction)
    written = {j["id"]: j for j in json.loads(json.dumps(report.to_json(), allow_nan=False))["judged"]}
    assert len(written) == len(report.judged) and written[speed[0].id]["stated"] == stated
