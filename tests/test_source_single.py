"""One video or folder of images: its times, and what may say how large things are."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from curate.recipe import load_recipe
from curate.sources import make_source
from curate.sources.base import BadInput
from curate.sources.config import ClipConfig
from curate.sources.config_single import LidarConfig, SingleVideoConfig
from curate.sources.single_video_depth import load_scan, project_scan, read_scanner
from curate.video.encode import encode_h264
from tests import walkers

DATA = Path(__file__).parents[2] / "shared" / "data"
WIDTH, HEIGHT, NUM_FRAMES = 96, 64, 9
K = [80.0, 0, 47.5, 0, 0, 80.0, 31.5, 0, 0, 0, 1, 0]
AHEAD = [0, -1, 0, 0, 0, 0, -1, -0.1, 1, 0, 0, -0.3]  # scanner x forward, y left, z up; 0.3 m behind, 0.1 m above
KITTI = {"P2": K, "R0_rect": np.eye(3).ravel().tolist(), "Tr_velo_to_cam": AHEAD}


def picture(number: int) -> np.ndarray:
    noise = np.random.default_rng(number).integers(0, 256, (8, 12, 3), np.uint8)
    return cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def write_frames(root: Path, num: int = NUM_FRAMES) -> Path:
    (root / "frames").mkdir(parents=True)
    for i in range(num):
        cv2.imwrite(str(root / "frames" / f"{i:06d}.png"), picture(i)[..., ::-1])
    return root


def source(root: Path, **fields):
    return make_source(SingleVideoConfig(**{"root": str(root), "fps": 10, **fields}), ClipConfig(min_frames=2))


def opened(root: Path, **fields):
    made = source(root, **fields)
    clip, = made.plan()
    return made.open(clip)


def refused(root: Path, words: str, **fields) -> str:
    with pytest.raises(BadInput, match=words) as caught:
        list(source(root, **fields).plan())
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- media and times ----

def test_images_are_one_view_of_relative_scale_at_the_rate_that_is_stated(tmp_path):
    frames = opened(write_frames(tmp_path), fps=7.0)
    assert frames.scale == "relative" and frames.rig is None and len(frames.views) == 1 and not frames.given
    np.testing.assert_allclose(frames.time_s, np.arange(NUM_FRAMES) / 7)
    (images,) = frames.read(2, 5)
    assert images.shape == (3, HEIGHT, WIDTH, 3) and (images[0] == picture(2)).all()


def test_a_video_brings_its_own_times_of_variable_rate_too_unless_they_are_said_to_be_wrong(tmp_path):
    times = np.array([0, 0.1, 0.2, 0.5, 0.6, 1.0, 1.1])
    (tmp_path / "clip.mp4").write_bytes(encode_h264(np.stack([picture(i) for i in range(7)]), time_s=times))
    np.testing.assert_allclose(opened(tmp_path, media="clip.mp4", fps=None).time_s, times, atol=1e-3)
    np.testing.assert_allclose(opened(tmp_path, media="clip.mp4", fps=5).time_s, np.arange(7) / 5)
    (tmp_path / "times.txt").write_text("".join(f"{t:.3f}\n" for t in 2 * times))
    found = opened(tmp_path, media="clip.mp4", fps=None, timestamps="times.txt").time_s
    np.testing.assert_allclose(found, 2 * times, atol=1e-6)


def test_images_without_times_and_times_that_are_too_few_are_refused(tmp_path):
    write_frames(tmp_path)
    refused(tmp_path, "images without times", fps=None)
    (tmp_path / "times.txt").write_text("0\n0.1\n")
    refused(tmp_path, r"2 times, expected 9", fps=None, timestamps="times.txt")
    refused(tmp_path, "no such folder or file", media="nothing")


def test_a_clip_keeps_its_key_where_the_data_are_moved_and_changes_it_with_the_calibration(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    keys = []
    for name, scale in (("a", 1), ("b", 1), ("b", 2)):
        folder = tmp_path / name
        if not (folder / "frames").exists():
            write_frames(folder)
        matrix = walkers.homography(walkers.plane()) * scale
        (folder / "calib.json").write_text(json.dumps({"ground_homography": matrix.tolist()}))
        (clip,) = source(folder, ground={"homography": "calib.json"}).plan()
        keys.append(clip.key)
    assert keys[0] == keys[1] != keys[2]


# ---- ground ----

def test_a_homography_makes_a_clip_metric_and_brings_its_camera(tmp_path):
    write_frames(tmp_path)
    plane = walkers.plane(focal=120.0)
    small = walkers.homography(plane) @ np.diag([640 / WIDTH, 480 / HEIGHT, 1])
    shifted = small @ np.array([[1, 0, 0.5 - 0.5 * WIDTH / 640], [0, 1, 0.5 - 0.5 * HEIGHT / 480], [0, 0, 1]])
    frames = opened(tmp_path, ground={"homography": shifted.tolist(), "scale_sigma": 0.02})
    plane = frames.given["ground"]
    assert frames.scale == "calibrated"
    assert frames.scale_sigma == pytest.approx(np.hypot(0.02, plane.distance_relative_sigma))
    assert frames.given["ground"].height_m == pytest.approx(6.0, rel=0.1)
    assert frames.views[0].camera == frames.given["ground"].camera


def test_a_camera_of_known_height_and_pitch_or_horizon_makes_a_clip_metric(tmp_path):
    write_frames(tmp_path)
    by_pitch = opened(tmp_path, calibration={"fx": 80}, ground={"camera_height_m": 3, "pitch_deg": 10})
    row = 31.5 - 80 * np.tan(np.radians(10))
    by_row = opened(tmp_path, calibration={"fx": 80}, ground={"camera_height_m": 3, "horizon_row": row})
    for frames in (by_pitch, by_row):
        assert frames.scale == "calibrated"
        plane = frames.given["ground"]
        assert plane.height_m == pytest.approx(3)
        np.testing.assert_allclose(plane.to_ground(np.array([47.5, 31.5])), [0, 3 / np.tan(np.radians(10))], atol=1e-6)


@pytest.mark.parametrize("content, words", [
    (None, "no ground-plane homography"), ("{", "not readable as json"), ({"fx": 1}, "0 keys"),
    ({"homography": [[1, 2], [3, 4]]}, "three rows"), ({"homography": [[1, 2, 3]] * 3}, "singular"),
    ({"homography": [["a"] * 3] * 3}, "three rows")])
def test_a_homography_file_that_is_none_is_refused_by_its_name(tmp_path, content, words):
    write_frames(tmp_path)
    if content is not None:
        (tmp_path / "g.json").write_text(content if isinstance(content, str) else json.dumps(content))
    assert "g.json" in refused(tmp_path, words, ground={"homography": "g.json"})


def test_a_calibration_outside_of_the_root_is_refused(tmp_path):
    write_frames(tmp_path / "root")
    (tmp_path / "g.json").write_text("{}")
    refused(tmp_path / "root", "leads out of", ground={"homography": "../g.json"})


@pytest.mark.parametrize("fields, words", [
    ({"ground": {"camera_height_m": 3, "pitch_deg": 10}}, "wants calibration"),
    ({"ground": {}}, "either homography or camera_height_m"),
    ({"ground": {"camera_height_m": 3}, "calibration": {"fx": 80}}, "either pitch_deg or horizon_row"),
    ({"ground": {"homography": [[1, 2, 3]]}}, "three rows"),
    ({"depth": {}}, "wants calibration"),
    ({"depth": {}, "lidar": {}, "calibration": {"fx": 1}}, "keep one"),
    ({"lidar": {}, "calibration": {"fx": 1}}, "brings its own calibration"),
    ({"timestamps": "t.txt"}, "keep one")])
def test_settings_that_contradict_each_other_are_refused_before_anything_is_read(fields, words):
    with pytest.raises(ValidationError, match=words):
        SingleVideoConfig(root=".", fps=10, **fields)


# ---- depth ----

def test_dense_depth_in_files_is_given_as_metres_with_its_sigma(tmp_path):
    write_frames(tmp_path)
    (tmp_path / "depth").mkdir()
    for i in range(NUM_FRAMES):
        depth = np.full((HEIGHT, WIDTH), 2000 + 100 * i, np.uint16)
        depth[:8] = 0
        cv2.imwrite(str(tmp_path / "depth" / f"{i}.png"), depth)
    frames = opened(tmp_path, calibration={"fx": 80}, depth={"sigma_m": 0.01, "sigma_relative": 0.0})
    field = frames.given["depth"](2, 4)
    assert frames.scale == "calibrated" and frames.rig is not None
    np.testing.assert_allclose(field.values[0, 8:], 2.2, rtol=1e-5)
    np.testing.assert_allclose(field.sigma[1, 8:], 0.01, rtol=1e-5)
    assert not field.valid[:, :8].any() and field.valid[:, 8:].all()
    disparity = frames.given["disparity"](2, 4)
    np.testing.assert_allclose(frames.rig.depth(disparity.values[0, 8:]), 2.2, rtol=1e-5)


def test_depth_of_another_number_or_size_than_the_frames_is_refused(tmp_path):
    write_frames(tmp_path)
    (tmp_path / "depth").mkdir()
    cameras = {"calibration": {"fx": 80}, "depth": {}}
    refused(tmp_path, "no depth images", **cameras)
    for i in range(NUM_FRAMES - 1):
        np.save(tmp_path / "depth" / f"{i}.npy", np.ones((HEIGHT, WIDTH), np.float32))
    refused(tmp_path, r"8 depth images, expected 9", **cameras)
    np.save(tmp_path / "depth" / "8.npy", np.ones((4, 4), np.float32))
    np.save(tmp_path / "depth" / "0.npy", np.ones((4, 4), np.float32))
    refused(tmp_path, "must be registered", **cameras)


def write_scans(root: Path, points: np.ndarray, num: int = NUM_FRAMES) -> Path:
    write_frames(root)
    (root / "lidar").mkdir()
    for i in range(num):
        np.column_stack([points, np.zeros(len(points))]).astype(np.float32).tofile(root / "lidar" / f"{i:06d}.bin")
    (root / "calib.json").write_text(json.dumps(KITTI))
    return root


def test_a_scan_falls_where_the_calibration_says_and_nearer_points_hide_others(tmp_path):
    points = np.array([[10.0, 0, 0], [5.0, 0, 0], [10.0, 2, 0], [-5.0, 0, 0], [np.nan, 0, 0]])
    write_scans(tmp_path, points)
    scanner = read_scanner(tmp_path / "calib.json", LidarConfig(), WIDTH, HEIGHT)
    depth, valid = project_scan(load_scan(tmp_path / "lidar" / "000000.bin"), scanner)
    assert valid.sum() == 2, "one behind the camera, one not finite, one hidden"
    u, v = round(47.5 - 80 * 2 / 9.7), round(31.5 - 80 * 0.1 / 9.7)
    assert depth[v, u] == pytest.approx(9.7) and depth[round(31.5 - 80 * 0.1 / 4.7), 48] == pytest.approx(4.7)


def test_text_calibrations_are_read_as_json_ones(tmp_path):
    for name, tr in (("object", "Tr_velo_to_cam"), ("tracking", "Tr_velo_cam")):
        text = f"P2: {' '.join(map(str, K))}\nR0_rect: 1 0 0 0 1 0 0 0 1\n{tr} {' '.join(map(str, AHEAD))}\n"
        (tmp_path / f"{name}.txt").write_text(text)
        scanner = read_scanner(tmp_path / f"{name}.txt", LidarConfig(), WIDTH, HEIGHT)
        np.testing.assert_allclose(scanner.T[:3].ravel(), AHEAD)


def test_surfaces_are_closed_between_the_lines_of_a_scan(tmp_path):
    y, z = np.meshgrid(np.linspace(-3, 3, 60), np.linspace(-2, 2, 21))
    frames = opened(write_scans(tmp_path, np.column_stack([np.full(y.size, 8.0), y.ravel(), z.ravel()])), lidar={})
    field = frames.given["depth"](0, 1)
    inner = field.valid[0, 20:44, 30:66]
    assert frames.scale == "calibrated" and inner.mean() > 0.95
    np.testing.assert_allclose(field.values[0, 20:44, 30:66][inner], 7.7, atol=1e-3)
    assert field.sigma[0, 20:44, 30:66][inner].min() > 0


def test_scans_that_do_not_fit_are_refused(tmp_path):
    root = write_scans(tmp_path / "few", np.ones((5, 3)), num=7)
    refused(root, r"7 scans, expected 9", lidar={})
    root = write_scans(tmp_path / "torn", np.ones((5, 3)))
    (root / "lidar" / "000000.bin").write_bytes(b"x" * 30)
    refused(root, "rows of four float32", lidar={})
    (root / "calib.json").write_text(json.dumps({"P2": K}))
    refused(root, "no R0_rect", lidar={})
    (root / "calib.json").unlink()
    refused(root, "no calibration of the scans", lidar={})


# ---- the recipes on real data ----

@pytest.mark.parametrize("name", ["single_ground_plane", "single_lidar", "single_relative"])
def test_recipes_are_sound_and_open_their_recordings(name, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    recipe = load_recipe(f"recipes/{name}.yaml")
    if not Path(recipe.source.root).is_dir():
        pytest.skip(f"no {recipe.source.root}: the recipe's recording is not in this checkout")
    made = make_source(recipe.source, recipe.clip)
    clip, = made.plan()
    with made.open(clip) as frames:
        assert frames.read(0, 1)[0].shape[-1] == 3
        assert frames.scale == ("relative" if name == "single_relative" else "calibrated")


def test_the_vehicle_ahead_is_as_far_as_the_scan_says():
    root = DATA / "mono_kitti_leadcar_lidar_A"
    if not root.is_dir():
        pytest.skip(f"no {root}: the LiDAR sequence is not in this checkout")
    frames = opened(root, media="image_02", lidar={})
    field = frames.given["depth"](0, 1)
    car = field.values[0, 230:290, 590:680][field.valid[0, 230:290, 590:680]]
    assert len(car) > 500
    assert np.median(car) == pytest.approx(7.869 - 0.27, abs=0.4)  # range from the scanner, 0.27 m behind the camera
