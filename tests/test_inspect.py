"""`curate inspect`: what a folder or a file is told by, what is proposed, what is said to be missing; with bounds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from curate.geometry.poses import Pose
from curate.recipe import load_recipe
from curate.sources.inspect import inspect, sniffers
from curate.sources.inspect import survey as surveys
from curate.video.encode import encode_h264
from tests.euroc_media import START_NS, Rig, write_euroc
from tests.source_media import CALIBRATION, eyes, image, texture, write_packed, write_pair
from tests.spherical_scene import st3d, sv3d
from tests.spherical_scene import write as write_spherical
from tests.stereo4d_files import Dataset, arrays

SHARED = Path(__file__).parents[1].parent / "shared" / "data"


def best(path: Path):
    """The first candidate, which must load."""
    report = inspect(path)
    assert report.best is not None and report.best.loads, [(c.kind, c.missing) for c in report.candidates]
    return report.best


def test_every_layout_has_a_sniffer_of_its_own():
    folder = Path(surveys.__file__).parent / "layouts"
    assert set(sniffers()) == {p.stem for p in folder.glob("[a-z]*.py")} and len(sniffers()) >= 12


# Stereo

def test_two_folders_with_times(tmp_path):
    write_pair(tmp_path, 10)
    (tmp_path / "times_s.txt").write_text("".join(f"{n / 10}\n" for n in range(10)))
    found = best(tmp_path)
    assert found.kind == "stereo_pair" and not found.missing
    assert found.source == {"left": "left", "right": "right", "calibration": "calib.json", "timestamps": "times_s.txt"}


def test_two_folders_without_times_or_calibration_say_so(tmp_path):
    write_pair(tmp_path, 10)
    (tmp_path / "calib.json").unlink()
    found = inspect(tmp_path).best
    assert found.kind == "stereo_pair" and found.loads is False
    assert any(one.startswith("calibration:") for one in found.missing)
    assert any(one.startswith("times:") for one in found.missing)
    assert "fps" not in found.source and "calibration" not in found.source  # nothing is made up


def test_a_calibration_of_another_size_is_not_taken(tmp_path):
    write_pair(tmp_path, 10, fx=80, baseline_m=0.1, width=640, height=480)
    assert "calibration" not in inspect(tmp_path).best.source


@pytest.mark.parametrize("below", ["", "mav0"])
def test_euroc(tmp_path, below):
    times = [START_NS + i * 50_000_000 for i in range(9)]
    write_euroc(tmp_path, Rig("equidistant"), (times, times[:-1]))
    found = best(tmp_path / below)
    prefix = "" if below else "mav0/"
    assert found.kind == "stereo_pair" and found.source["pairing"] == "time"
    assert found.source["left"] == f"{prefix}cam0/data"
    assert found.source["calibration"] == [f"{prefix}cam0/sensor.yaml", f"{prefix}cam1/sensor.yaml"]


def test_kitti_odometry_names_the_matrices_of_its_images(tmp_path):
    line = "P{}: 80 0 47.5 {} 0 80 31.5 0 0 0 1 0\n"
    (tmp_path / "calib.txt").write_text("".join(line.format(n, x) for n, x in enumerate((0, -8, 4, -4))))
    (tmp_path / "times.txt").write_text("".join(f"{n / 10}\n" for n in range(8)))
    for camera in range(4):
        for i in range(8):
            image(tmp_path / f"image_{camera}" / f"{i:06d}.png", texture(i, camera % 2)[..., : 1 if camera < 2 else 3])
    kinds = [(c.source["left"], c.source["cameras"]) for c in inspect(tmp_path).candidates if c.kind == "stereo_pair"]
    assert sorted(kinds) == [("image_0", [0, 1]), ("image_2", [2, 3])]
    assert best(tmp_path).source["timestamps"] == "times.txt"


def test_stills_are_no_recording(tmp_path):
    image(tmp_path / "motorcycle_left.png", texture(0, 0))
    image(tmp_path / "motorcycle_right.png", texture(0, 1))
    (tmp_path / "calib.json").write_text(json.dumps(CALIBRATION))
    report = inspect(tmp_path)
    assert report.best is None and "no motion" in report.candidates[0].missing[0]
    image(tmp_path / "one" / "photo.png", texture(0, 0))
    assert "a still shows no motion" in inspect(tmp_path / "one").candidates[0].missing[0]
    for name in ("chair", "kitchen", "garden"):
        image(tmp_path / "more" / f"{name}_left.png", texture(0, 0))
        image(tmp_path / "more" / f"{name}_right.png", texture(0, 1))
    report = inspect(tmp_path / "more")
    assert report.best is None and any("separate stills" in m for c in report.candidates for m in c.missing)


# Videos

@pytest.mark.parametrize(("kind", "axis"), [("side_by_side", 2), ("top_bottom", 1)])
def test_packed_video_is_told_by_its_halves(tmp_path, kind, axis):
    left = np.stack([texture(i, 0) for i in range(8)])
    packed = [left, np.roll(left, -4, axis=2)]
    write_packed(tmp_path / "clip.mp4", packed, axis)
    for path in (tmp_path, tmp_path / "clip.mp4"):
        found = best(path)
        assert found.kind == kind and any("show the same" in why for why in found.why)
    other = write_packed(tmp_path / "other" / "clip.mp4", eyes(8), axis)  # two different pictures
    assert kind not in {c.kind for c in inspect(other.parent).candidates}


def test_spherical_metadata_tell_vr180(tmp_path):
    eye = np.stack([texture(i, 0, 128, 128) for i in range(9)])
    write_spherical(tmp_path / "v.mp4", np.concatenate([eye, np.roll(eye, -3, axis=2)], 2), boxes=st3d(2) + sv3d())
    found = best(tmp_path)
    assert found.kind == "vr180" and "63 mm" in found.notes[0]


def test_a_lone_video_has_no_scale(tmp_path):
    (tmp_path / "v.mp4").write_bytes(encode_h264(np.stack([texture(i) for i in range(9)]), crf=10, fps=20))
    found = best(tmp_path / "v.mp4")
    assert found.kind == "single_video" and "nothing metric is asked" in found.notes[0]


def test_a_homography_gives_a_scale(tmp_path):
    for i in range(8):
        image(tmp_path / "frames" / f"{i:06d}.jpg", texture(i))
    matrix = [[0.01, 0, -0.5], [0, -0.02, 3.0], [0, 0.01, 1.0]]
    (tmp_path / "calib.json").write_text(json.dumps({"fps": 7, "homography": matrix}))
    found = inspect(tmp_path).best
    assert found.source == {"media": "frames", "fps": 7.0, "ground": {"homography": "calib.json"}}


# Others' annotations and sensors

def test_rgbd_needs_its_cameras(tmp_path):
    for i in range(8):
        image(tmp_path / f"frame-{i:06d}.color.png", texture(i))
        image(tmp_path / f"frame-{i:06d}.depth.png", np.full((64, 96), 1500 + i, np.uint16))
        (tmp_path / f"frame-{i:06d}.pose.txt").write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    (tmp_path / "calib.json").write_text(json.dumps({"depth_K": [[90, 0, 48], [0, 90, 32], [0, 0, 1]], "fps": 30}))
    found = inspect(tmp_path).best
    assert found.kind == "rgbd" and found.source["layout"] == "7-scenes" and found.source["depth"]["fx"] == 90
    assert {one.partition(":")[0] for one in found.missing} == {"color", "registration"}


def test_tum_pairs_by_its_lists(tmp_path):
    lines: dict[str, list[str]] = {"rgb": [], "depth": [], "ground": []}
    for i in range(10):
        for name, at, picture in (("rgb", 1305031102.1753 + i / 30, texture(i)),
                                  ("depth", 1305031102.1793 + i / 30, np.full((64, 96), 5000, np.uint16))):
            image(tmp_path / name / f"{at:.6f}.png", picture)
            lines[name].append(f"{at:.6f} {name}/{at:.6f}.png\n")
        lines["ground"].append(f"{1305031102.17 + i / 30:.4f} 0 0 {i * 0.01} 0 0 0 1\n")
    for name, file in (("rgb", "rgb.txt"), ("depth", "depth.txt"), ("ground", "groundtruth.txt")):
        (tmp_path / file).write_text("# list\n" + "".join(lines[name]))
    found = inspect(tmp_path).best
    assert found.kind == "rgbd" and found.source == {"layout": "tum", "registration": {"kind": "registered"}}
    assert [one.partition(":")[0] for one in found.missing] == ["color"] and "TUM's sets are" in found.notes[0]


def test_colmap_has_no_unit(tmp_path):
    for camera in ("camA", "camB"):
        for i in range(8):
            image(tmp_path / "images" / camera / f"{i:05d}.jpg", texture(i))
    (tmp_path / "sparse").mkdir()
    (tmp_path / "sparse" / "cameras.txt").write_text(
        "# Camera list with one line of data per camera:\n1 PINHOLE 96 64 80 80 47.5 31.5\n"
        "2 PINHOLE 96 64 80 80 47.5 31.5\n")
    (tmp_path / "sparse" / "images.txt").write_text(
        "# Image list with two lines of data per image:\n1 1 0 0 0 0 0 0 1 camA/00000.jpg\n\n"
        "2 1 0 0 0 -0.2 0 0 2 camB/00000.jpg\n\n")
    found = inspect(tmp_path).best
    assert found.kind == "multiview" and found.source == {"calibration": "sparse", "media": "images/{name}"}
    assert {"times", "unit"} <= {one.partition(":")[0] for one in found.missing}


def test_a_calibration_in_millimetres_asks_for_its_unit(tmp_path):
    write_pair(tmp_path, 8)
    (tmp_path / "calib.json").unlink()
    camera = [[80, 0, 47.5], [0, 80, 31.5], [0, 0, 1]]
    (tmp_path / "stereo.yaml").write_text(yaml.safe_dump(
        {"cameraMatrix1": camera, "cameraMatrix2": [row[:] for row in camera], "T": [-110, 0, 0], "R": [0, 0, 0]}))
    found = inspect(tmp_path).best
    assert found.source["calibration"] == "stereo.yaml" and "calibration_unit" not in found.source
    assert any(one.startswith("calibration_unit") for one in found.missing)


def test_several_cameras_by_the_names_in_their_calibration(tmp_path):
    camera = ("[cameras.{n}]\ncam_id = {n}\nsize = [96, 64]\nmatrix = [[80.0, 0, 47.5], [0, 80.0, 31.5], [0, 0, 1]]\n"
              "distortions = [0.0, 0, 0, 0, 0]\nrotation = [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]\n"
              "translation = [{x}, 0.0, 0.0]\n")
    (tmp_path / "camera_array.toml").write_text("".join(camera.format(n=n, x=-0.2 * n) for n in range(3)))
    for n in range(3):
        (tmp_path / f"cam_{n}.mp4").write_bytes(encode_h264(np.stack([texture(i, n) for i in range(8)]), crf=10, fps=9))
    found = best(tmp_path)
    assert found.kind == "multiview" and found.source["media"] == "cam_{name}.mp4"


def test_tracked_boxes_of_a_camera_that_stands(tmp_path):
    (tmp_path / "label_02").mkdir()
    rows = [f"{f} {t} Car 0 0 0 1 1 50 50 1.5 1.6 4 {t}.0 1.5 {10 + t}.0 0" for f in range(30) for t in (1, 2, 3)]
    (tmp_path / "label_02" / "0000.txt").write_text("\n".join(rows) + "\n")
    (tmp_path / "calib").mkdir()
    (tmp_path / "calib" / "0000.txt").write_text("".join(
        f"P{n}: 80 0 47.5 0 0 80 31.5 0 0 0 1 0\n" for n in range(4)) + "R_rect 1 0 0 0 1 0 0 0 1\n")
    found = inspect(tmp_path).best
    assert found.kind == "kitti_tracking" and found.source["static"] is True
    assert found.source["labels"] == "label_02/*.txt" and found.source["calibration"] == "calib/{name}.txt"
    moving = [r.replace(f" {t}.0 1.5 ", f" {t}.0 1.5 {int(r.split()[0]) + 5}") for r in rows for t in (1, 2, 3)
              if f" {t} Car" in r]
    (tmp_path / "label_02" / "0000.txt").write_text("\n".join(moving) + "\n")
    found = inspect(tmp_path).best
    assert "static" not in found.source and any(one.startswith("oxts") for one in found.missing)


def test_conversations(tmp_path):
    image(tmp_path / "a.jpg", texture(0))
    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "Colours."}]
    (tmp_path / "talk.json").write_text(json.dumps([{"id": "1", "image": "a.jpg", "conversations": turns}]))
    found = best(tmp_path)
    assert found.kind == "conversations" and found.source["files"] == "talk.json"


def test_published_tracks_and_poses(tmp_path):
    (tmp_path / "npz").mkdir()
    np.savez(tmp_path / "npz" / "clip.npz", camera2world=np.zeros((9, 3, 4)), timestamps=np.arange(9))
    found = inspect(tmp_path).best
    assert found.kind == "stereo4d" and any("video" in one for one in found.missing)


@pytest.mark.parametrize("below", ["", "sets"])
def test_annotations_and_the_videos_of_them_are_one_set(tmp_path, below):
    """Also where the videos' folder holds recordings by itself."""
    times = np.arange(9) / 10
    path = Pose("world", "cam", np.tile(np.eye(3), (9, 1, 1)), np.zeros((9, 3)))
    for name in ("abc-D_1000", "xyz-E_2000"):
        data = Dataset(tmp_path / below, name, arrays(np.ones((20, 9, 3)), path, times, name)).annotate()
        for eye in ("left", "right"):
            data.video(eye, np.stack([texture(i, 0, 128, 128) for i in range(9)]))
    write_pair(tmp_path / below / "processed" / "a", 9)
    write_pair(tmp_path / below / "processed" / "b", 9)
    report = inspect(tmp_path)
    assert report.parts == {} and report.best.kind == "stereo4d" and report.best.loads
    assert report.best.root == below
    assert any("abc-D_1000-left_rectified.mp4" in why for why in report.best.why)


def test_two_sets_of_annotations_stay_two(tmp_path):
    path = Pose("world", "cam", np.tile(np.eye(3), (9, 1, 1)), np.zeros((9, 3)))
    for name in ("one", "two"):
        data = Dataset(tmp_path / name, written=arrays(np.ones((20, 9, 3)), path, np.arange(9) / 10)).annotate()
        data.video("left", np.stack([texture(i, 0, 128, 128) for i in range(9)]))
    report = inspect(tmp_path)
    assert {name: (part.kind, part.loads) for name, part in report.parts.items()} == {
        "one": ("stereo4d", True), "two": ("stereo4d", True)}


# The real folders: told by content; what each is is said by its README

REAL = {"multiview_charuco_A": "multiview", "multiview_pose2sim_single": "multiview",
        "mono_pets_s2l1_A": "single_video",
        "mono_kitti_leadcar_lidar_A": "single_video", "mono_kitti_tracking0016_3frames": "kitti_tracking",
        "multicam_dgp_scene02": "dgp", "tracks_av2_adcf7d18": "argoverse2", "stereo_kitti02_color": "stereo_pair",
        "stereo_kitti06_gray": "stereo_pair", "stereo_euroc_v101_nearstatic_noGTfile": "stereo_pair"}


@pytest.mark.shared
@pytest.mark.parametrize(("name", "kind"), list(REAL.items()))
def test_real_recordings_load(name, kind, tmp_path):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there")
    found = best(SHARED / name)
    assert found.kind == kind
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(found.recipe(str(SHARED / name), "tried")))
    assert load_recipe(path).source.kind == kind


@pytest.mark.shared
@pytest.mark.parametrize(("name", "kind", "word"), [
    ("rgbd_7scenes_redkitchen_A", "rgbd", "color"), ("mask_davis_bmx-trees", "single_video", "times"),
    ("mono_sam2_bedroom_noGT", "single_video", "times"), ("benchmarks", "conversations", "address"),
    ("stereopair_oakd_noGT", "", "a video"), ("stereopair_middlebury_aloe", "", "a video")])
def test_real_folders_that_lack_something_say_what(name, kind, word):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there")
    found = inspect(SHARED / name).candidates[0]
    assert found.kind == kind and any(word in one for one in found.missing) and not found.loads
