"""KITTI tracking, Argoverse 2, DGP: given scenes against files in closed form, the real ones, and files that are wrong.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import curate
from benchmarks.sources_annotated import EXACT, INSIDE, argoverse2, found, is_right, judged, truth
from curate.recipe import Recipe
from curate.scene import Scene
from curate.sources.base import BadInput
from tests.annotated_files import (
    NUM,
    OBJECTS,
    P2,
    RATE,
    drive,
    dump,
    in_vehicle,
    label,
    straight,
    turned,
    write_av2,
    write_dgp,
    write_kitti,
)

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
AHEAD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def recipe(kind: str, root: Path, clip: dict | None = None, **source) -> Recipe:
    return Recipe.model_validate({"source": {"kind": kind, "root": str(root), **source},
                                  "clip": clip or {"num_frames": 64, "min_frames": 3}})


def scene_of(of: Recipe) -> Scene:
    clips = curate.clips(of)
    assert len(clips) == 1
    return curate.perceive(clips[0])


def region(scene: Scene, name: str):
    number = next(int(k[1:]) for k, v in scene.origin.items() if v == f"track {name}")
    return scene.region(number)


def refusal(of: Recipe) -> str:
    """Why nothing of it can be planned or opened."""
    with pytest.raises(BadInput) as caught:
        for clip in curate.clips(of):
            curate.perceive(clip)
    return str(caught.value)


# ---- Argoverse 2 ----

def test_places_in_the_world_are_the_annotated_ones_to_a_millimetre(tmp_path) -> None:
    scene = scene_of(recipe("argoverse2", write_av2(tmp_path / "log")))
    assert not scene.has_pictures and scene.scale == "calibrated" and scene.origin["scene"] == "source"
    assert scene.up == "gravity" and np.allclose(scene.up_world, [0, -1, 0], atol=1e-9)
    for name, (category, size, motion) in OBJECTS.items():
        found_region = region(scene, name)
        assert found_region.label == category.replace("_", " ").lower() and np.allclose(found_region.size_m, size)
        assert np.allclose(found_region.extent_m, sorted(size, reverse=True)) and found_region.point == "cuboid"
        for i in (0, 7, NUM - 1):
            place, yaw = in_vehicle(drive(), motion, i / RATE)
            assert np.allclose(found_region.point_cam[i], AHEAD.T @ place, atol=1e-6)
            assert np.allclose(found_region.heading_cam[i], AHEAD.T @ turned(yaw)[:, 0], atol=1e-6)
    ego = np.array(drive()(1.9))
    assert np.allclose(scene.T_world_cam.translation[-1], AHEAD.T @ ego[:3], atol=1e-6)


def test_what_moves_is_told_from_what_stands_by_the_accuracy(tmp_path) -> None:
    objects = {"still": ("BUS", (9, 2, 3), straight(10, 2)), "creeps": ("BUS", (9, 2, 3), straight(12, -3, 0.2)),
               "walks": ("PEDESTRIAN", (1, 1, 2), straight(6, 0, 0, 1.0))}
    root = write_av2(tmp_path / "log", objects=objects)
    fine, coarse = (scene_of(recipe("argoverse2", root, accuracy={"centre_m": s})) for s in (0.02, 0.5))
    assert region(fine, "still").motion_p == 1.0 and region(fine, "creeps").motion_p < 1e-3
    assert region(coarse, "creeps").motion_p > 0.05 and region(coarse, "walks").motion_p < 1e-2


def test_a_turn_and_a_straight_line_are_asked_in_closed_form(tmp_path) -> None:
    """A walker at 1.2 m/s against x for 1.9 s: 2.28 m, a camera on an arc: 9.5 m."""
    scene = scene_of(recipe("argoverse2", write_av2(tmp_path / "log")))
    number = region(scene, "walker").id
    asked = {(q.family, q.form): q for q in curate.ask(scene) if q.regions in ([number], []) and q.start_frame == 0
             and q.end_frame == NUM - 1}
    assert asked["object_displacement", "numeric"].value == pytest.approx(2.28, abs=0.005 + 0.05)
    assert asked["object_path_length", "numeric"].low <= 2.28 <= asked["object_path_length", "numeric"].high
    speed = asked["object_mean_speed", "numeric"]
    assert speed.low <= 1.2 * (3.6 if speed.unit == "km/h" else 1) <= speed.high
    assert asked["object_direction", "choice"].answer == "backward"
    way = asked["camera_path_length", "numeric"]
    assert way.low <= 9.5 <= way.high and way.reference == "camera-centre"
    assert asked["object_displacement", "numeric"].reference == "cuboid centre"


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_every_answer_is_that_of_the_files(tmp_path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    objects = {f"o{i}": ("PEDESTRIAN", tuple(rng.uniform(0.4, 5, 3)),
                         straight(*rng.uniform(-20, 20, 2), *rng.uniform(-3, 3, 2) * (i % 2))) for i in range(4)}
    root = write_av2(tmp_path / f"log{seed}", drive(rng.uniform(1, 9), rng.uniform(-0.3, 0.3) or 0.1), objects)
    by_family = judged({"kind": "argoverse2", "root": str(root)}, {"num_frames": 64}, argoverse2(root))
    exact = [(f, h) for f in EXACT for h in by_family[f]]
    assert all(held for _, held in exact), Counter(f for f, held in exact if not held)
    inside = [h for f in INSIDE for h in by_family[f]]
    assert np.mean(inside) > 0.9


def test_the_judge_can_fail(tmp_path) -> None:
    root = write_av2(tmp_path / "log")
    one = curate.clips(recipe("argoverse2", root))[0]
    scene = curate.perceive(one)
    names = {r.id: scene.origin[f"R{r.id}"].removeprefix("track ") for r in scene.regions}
    world = argoverse2(root)
    qa = next(q for q in curate.ask(scene, families=["object_displacement"]) if q.form == "numeric").to_json()
    true = truth(qa, names, world, 0)
    assert is_right(qa, true) and not is_right(qa, true * 1.1 + 0.1)


def test_sizes_are_the_given_ones_whatever_is_seen(tmp_path) -> None:
    scene = scene_of(recipe("argoverse2", write_av2(tmp_path / "log")))
    number = region(scene, "behind").id
    asked = {q.id.rsplit("-", 1)[0].rsplit(".", 1)[1]: q for q in curate.ask(scene, families=["object_size"])
             if q.regions == [number] and q.form == "numeric"}
    assert {side: q.value for side, q in asked.items()} == {"length": 11.0, "width": 2.5, "height": 3.1}
    assert not curate.ask(scene, families=["object_height"])


def test_headings_tell_where_others_are(tmp_path) -> None:
    """Standing at an object and facing as its front does: by the annotated places and headings."""
    scene = scene_of(recipe("argoverse2", write_av2(tmp_path / "log")))
    asked = curate.ask(scene, families=["viewpoint_heading"])
    assert len({q.answer for q in asked}) >= 3
    for q in asked:
        (standing, other), frame = q.regions, q.start_frame
        body = scene.region(standing)
        away = scene.region(other).point_cam[frame] - body.point_cam[frame]
        ahead = body.heading_cam[frame]
        left = np.cross([0, -1, 0], ahead)
        angle = math.degrees(math.atan2(away @ left, away @ ahead))
        expected = {0: "ahead", 1: "to the left", 2: "behind", 3: "to the right"}[round(angle / 90) % 4]
        assert q.answer == expected, q.id


@pytest.mark.parametrize("change, says", [
    (lambda rows, poses: rows[3].update(tx_m=math.nan), "row 3: a box with a number that is not finite"),
    (lambda rows, poses: rows[3].update(width_m=0.0), "row 3: a box of .* expected positive sides"),
    (lambda rows, poses: rows[5].update(category="UFO"), "row 5: unknown category 'UFO', expected one of ANIMAL"),
    (lambda rows, poses: rows[2].update(qw=3.0), "row 2: a quaternion of length"),
    (lambda rows, poses: rows.append(rows[0]), "object walker stands twice in frame 0"),
    (lambda rows, poses: rows[4].update(category="BUS"), "object walker is 'bus' and was 'pedestrian'"),
    (lambda rows, poses: poses.pop(4), "city_SE3_egovehicle.feather: no pose at 3159660004"),
    (lambda rows, poses: rows.__setitem__(slice(20, 40), []), "annotations.feather: a gap of 0.600 s after sweep 4"),
    (lambda rows, poses: [row.pop("height_m") for row in rows], "annotations.feather: no column 'height_m'; found"),
    (lambda rows, poses: [row.update(tx_m="far") for row in rows], "'tx_m' is of type string, expected numbers"),
    (lambda rows, poses: poses[2].update(tz_m=None), "1 values of 'tz_m' are missing"),
    (lambda rows, poses: rows.clear(), "annotations.feather: no "),
])
def test_argoverse2_names_what_is_wrong(tmp_path, change, says: str) -> None:
    assert re.search(says, refusal(recipe("argoverse2", write_av2(tmp_path, change=change))))


def test_argoverse2_names_a_missing_file(tmp_path) -> None:
    write_av2(tmp_path / "log")
    (tmp_path / "log" / "city_SE3_egovehicle.feather").unlink()
    assert "city_SE3_egovehicle.feather: no such file" in refusal(recipe("argoverse2", tmp_path / "log"))
    (tmp_path / "log" / "annotations.feather").write_text("frame,id")
    assert "annotations.feather: not a feather file" in refusal(recipe("argoverse2", tmp_path / "log"))
    assert "expected Argoverse 2 logs" in refusal(recipe("argoverse2", tmp_path, recordings="nothing*"))
    assert "leads out of it" in refusal(recipe("argoverse2", tmp_path, recordings="../*"))


# ---- KITTI tracking ----

def kitti_lines(num: int = 8, step: int = 1) -> list[str]:
    """A car that stands at (2, 1.6, 12), a walker at 1 m/s to the right from (-2, 1.7, 9), and what is ignored."""
    lines = []
    for i in range(0, num * step, step):
        lines += [label(i, 1, "Car", (4.0, 1.8, 1.5), (2, 1.6, 12), -math.pi / 2),
                  label(i, 2, "Pedestrian", (0.8, 0.6, 1.8), (-2 + 0.1 * i, 1.7, 9), 0.0),
                  f"{i} -1 DontCare -1 -1 -10 0 0 9 9 -1 -1 -1 -1000 -1000 -1000 -10"]
    return lines


def test_kitti_boxes_are_where_they_are_for_the_left_colour_camera(tmp_path) -> None:
    root = write_kitti(tmp_path, kitti_lines(), images=range(8))
    scene = scene_of(recipe("kitti_tracking", root, static=True, images="image_02/{name}"))
    car, walker = region(scene, "1"), region(scene, "2")
    beside = np.array([0.06, -0.0005, 0])  # P2's fourth column over the focal length
    assert np.allclose(car.point_cam[3], np.array([2, 1.6 - 0.75, 12]) + beside, atol=1e-9)
    assert np.allclose(walker.point_cam[3], np.array([-1.7, 0.8, 9]) + beside, atol=1e-9)
    assert car.size_m.tolist() == [4.0, 1.8, 1.5] and np.allclose(car.heading_cam[0], [0, 0, 1])
    assert np.allclose(walker.heading_cam[0], [1, 0, 0]) and (car.label, walker.label) == ("car", "pedestrian")
    assert car.motion_p > 0.9 and walker.motion_p < 1e-6
    u = (P2 @ [2, 1.6 - 0.75, 12, 1])[:2] / (P2 @ [2, 1.6 - 0.75, 12, 1])[2]
    assert np.allclose(car.centroid_px[0], u, atol=1e-6)


def test_a_box_in_the_picture_is_the_hull_of_its_corners(tmp_path) -> None:
    root = write_kitti(tmp_path, kitti_lines(), images=range(8))
    car = region(scene_of(recipe("kitti_tracking", root, static=True, images="image_02/{name}")), "1")
    x, z = np.meshgrid([2 - 0.9, 2 + 0.9], [12 - 2, 12 + 2])  # it faces away: its width lies across
    corners = [P2 @ [a, b, c, 1] for a, c in zip(x.ravel(), z.ravel()) for b in (1.6, 0.1)]
    pixels = np.array([p[:2] / p[2] for p in corners])
    assert np.allclose(car.box[0], [*pixels.min(0), *(pixels.max(0) + 1)], atol=0.01)
    rows, columns = np.nonzero(car.mask_first)
    assert abs(columns.min() - car.box[0, 0]) <= 1.5 and abs(rows.max() + 1 - car.box[0, 3]) <= 1.5
    assert car.mask_first[round(car.centroid_px[0, 1]), round(car.centroid_px[0, 0])]


def test_nearer_boxes_hide_what_is_behind_them(tmp_path) -> None:
    lines = [line for i in range(4) for line in (
        label(i, 1, "Van", (2, 2, 2), (0, 1, 8), 0.0), label(i, 2, "Car", (1.5, 1.5, 1.2), (0, 0.8, 14), 0.0),
        label(i, 3, "Car", (2, 2, 2), (3, 1, 9), 0.0, occluded=2 if i == 1 else 0),
        label(i, 4, "Car", (2, 2, 2), (0, 1, -9), 0.0))]
    root = write_kitti(tmp_path, lines, images=range(4))
    scene = scene_of(recipe("kitti_tracking", root, static=True, images="image_02/{name}"))
    names = {v for k, v in scene.origin.items() if k.startswith("R")}
    assert names == {"track 1", "track 3"}  # 2 is behind the van, 4 behind the camera
    assert region(scene, "3").seen.tolist() == [True, False, True, True]  # as its annotators say
    assert np.isnan(region(scene, "3").point_cam[1]).all()


def test_poses_by_oxts_are_those_of_the_camera(tmp_path) -> None:
    """Two metres a frame to the east, facing east: the camera goes ahead, and a car left behind stands still."""
    earth, lat = 6378137.0, 49.0
    step = math.degrees(2.0 / (earth * math.cos(math.radians(lat))))
    oxts = [f"{lat} {8 + i * step:.15f} 100 0 0 0 0 0" for i in range(8)]
    lines = [label(i, 1, "Car", (4, 1.8, 1.5), (3, 1.6, 30 - 2 * i), 0.0) for i in range(8)]
    scene = scene_of(recipe("kitti_tracking", write_kitti(tmp_path, lines, oxts=oxts), oxts="oxts/{name}.txt"))
    assert np.allclose(scene.T_world_cam.translation, [[0, 0, 2.0 * i] for i in range(8)], atol=1e-4)
    assert scene.up == "gravity" and np.allclose(scene.up_world, [0, -1, 0], atol=1e-9)
    assert region(scene, "1").motion_p > 0.9 and not scene.has_pictures


def test_kitti_names_what_is_wrong(tmp_path) -> None:
    root = write_kitti(tmp_path, kitti_lines(), images=[0, 1, 2, 4, 5])
    with_images = recipe("kitti_tracking", root, static=True, images="image_02/{name}")
    assert "000004.png: a gap" not in refusal(with_images)  # it says what is missing, not what is there alone
    assert "000002.png: a gap: the next image is of frame 4, expected frame 3" in refusal(with_images)
    assert "oxts/0000.txt: no such file, expected the vehicle's poses" in refusal(
        recipe("kitti_tracking", root, oxts="oxts/{name}.txt"))
    assert "calib/0000.json: no such file" in refusal(
        recipe("kitti_tracking", root, static=True, calibration="calib/{name}.json"))
    assert "expected KITTI tracking labels" in refusal(recipe("kitti_tracking", root, static=True, labels="l/*.txt"))
    (root / "calib" / "0000.txt").write_text("P0: " + "1 " * 12 + "\n")
    said = refusal(recipe("kitti_tracking", root, static=True))
    assert "0000.txt: no P2 (of the left colour camera); found P0" in said
    (root / "calib" / "0000.txt").write_text("P2: " + "0 " * 12 + "\n")
    assert "P2 has no camera matrix" in refusal(recipe("kitti_tracking", root, static=True))


@pytest.mark.parametrize("line, says", [
    ("0 1 Spaceship 0 0 0 0 0 9 9 1 1 1 0 1 9 0", "unknown type 'Spaceship', expected one of Car, Van"),
    ("0 1 Car 0 0 0 0 0 9 9 nan 1 1 0 1 9 0", "a box with a number that is not finite"),
    ("0 1 Car 0 0 0 0 0 9 9 -1 1 1 0 1 9 0", "expected positive sides"),
    ("0 1 Car 0 0 0", "expected 17 columns of KITTI tracking"),
    ("Car 0.00 0 -1.57 599 156 629 189 2.85 2.63 12.34 0.47 1.49 69.44 -1.56", "expected 17 columns"),
])
def test_kitti_names_a_line_that_is_wrong(tmp_path, line: str, says: str) -> None:
    said = refusal(recipe("kitti_tracking", write_kitti(tmp_path, [*kitti_lines(3), line]), static=True))
    assert says in said and "label_02/0000.txt:10" in said


def test_a_moving_camera_needs_its_poses() -> None:
    with pytest.raises(ValueError, match=r"say either oxts .* or static"):
        recipe("kitti_tracking", Path("here"))


# ---- DGP ----

def test_dgp_boxes_of_the_lidar_in_the_view_of_one_camera(tmp_path) -> None:
    write_dgp(tmp_path)
    scene = scene_of(recipe("dgp", tmp_path))
    bus, person = region(scene, "11"), region(scene, "12")
    assert (bus.label, person.label) == ("bus", "person") and scene.has_pictures
    assert np.allclose(scene.time_s, [0, .5, 1, 1.5, 2])
    for i in (0, 4):
        place, _ = in_vehicle(drive(2.0), straight(15, 1.5, -2.0), i / 2)
        assert np.allclose(bus.point_cam[i], AHEAD.T @ (place - [0, 0, 1.2]), atol=1e-5)
    back = scene_of(recipe("dgp", tmp_path, camera="CAMERA_02"))
    assert not back.regions  # nothing is behind
    text = scene_of(recipe("dgp", tmp_path, camera="CAMERA_02", pictures=False))
    assert len(text.regions) == 2 and not text.has_pictures


def test_few_returns_of_the_lidar_are_hidden_from_the_camera(tmp_path) -> None:
    def change(scene, boxes):
        boxes[1]["annotations"][0]["num_points"] = 2
    scene = scene_of(recipe("dgp", write_dgp(tmp_path, change=change)))
    assert region(scene, "11").seen.tolist() == [True, False, True, True, True]


@pytest.mark.parametrize("change, source, says", [
    (lambda s, b: None, {"camera": "CAMERA_77"}, "has no 'CAMERA_77'; it has CAMERA_01, CAMERA_02, LIDAR"),
    (lambda s, b: s["samples"][2]["datum_keys"].remove("CAMERA_012"), {"camera": "CAMERA_01"},
     "sample 2 .* has no 'CAMERA_01'"),
    (lambda s, b: s["samples"][2]["datum_keys"].remove("LIDAR2"), {}, "sample 2 .* has no 'LIDAR'"),
    (lambda s, b: s["samples"].pop(2), {}, "scene_0.json: a gap of 1.000 s after sample 1"),
    (lambda s, b: b[1]["annotations"][0].update(class_id=9), {}, "box 0: unknown class_id 9, expected one of .*0, 1"),
    (lambda s, b: b[1]["annotations"][1]["box"].update(height=math.nan), {}, "box 1: a box with a number that is not"),
    (lambda s, b: b[1]["annotations"][1]["box"].pop("pose"), {}, "not a DGP scene as expected: KeyError: 'pose'"),
    (lambda s, b: s.pop("samples"), {}, "not a DGP scene as expected: KeyError: 'samples'"),
    (lambda s, b: b[1]["annotations"][1]["box"].update(height="tall"), {}, "not a DGP scene as expected: ValueError"),
    (lambda s, b: s["samples"][1]["id"].update(timestamp="noon"), {}, "found the timestamp 'noon', expected a date"),
])
def test_dgp_names_what_is_wrong(tmp_path, change, source: dict, says: str) -> None:
    assert re.search(says, refusal(recipe("dgp", write_dgp(tmp_path, change=change), **source)))


def test_dgp_names_missing_files(tmp_path) -> None:
    write_dgp(tmp_path)
    (tmp_path / "rgb/CAMERA_01/3.png").unlink()
    assert "rgb/CAMERA_01/3.png: no such file, expected the picture of CAMERA_01" in refusal(recipe("dgp", tmp_path))
    (tmp_path / "calibration/cal.json").unlink()
    assert "calibration/cal.json: no such file" in refusal(recipe("dgp", tmp_path))
    dump(tmp_path / "scene_0.json", {})
    assert "scene_0.json" in refusal(recipe("dgp", tmp_path))
    assert "expected DGP scene files" in refusal(recipe("dgp", tmp_path / "rgb"))


def test_dgp_paths_stay_inside(tmp_path) -> None:
    write_dgp(tmp_path / "a", change=lambda s, b: s["data"][1]["datum"]["image"].update(filename="../../etc/passwd"))
    assert "leads out of" in refusal(recipe("dgp", tmp_path / "a"))


# ---- the real ones ----

@pytest.mark.skipif(not DATA.is_dir(), reason="the real recordings are not here (../shared/data)")
def test_answers_about_real_recordings_are_those_of_their_files() -> None:
    counts: Counter = Counter()
    for name, source, clip, reader in found(DATA):
        by_family = judged(source, clip | {"max_clips": 1}, reader())  # the benchmark takes all clips
        for family in EXACT:
            assert all(by_family[family]), (name, family)
            counts["exact"] += len(by_family[family])
        inside = [h for family in INSIDE for h in by_family[family]]
        assert np.mean(inside) >= 0.95, name
        counts["inside"] += len(inside)
    if not counts:
        pytest.skip("no annotated recording below ../shared/data")
    assert counts["exact"] > 500 and counts["inside"] > 100
