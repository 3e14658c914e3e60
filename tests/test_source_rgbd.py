"""Colour and depth of one sensor: layouts, registration, what is known of depth, and what is said of bad files."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.api import run
from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3, log_so3
from curate.perception.config import PerceptionConfig
from curate.perception.pipeline import perceive
from curate.questions.doubts import doubts
from curate.recipe import Recipe
from curate.shards import read
from curate.sources.config import ClipConfig
from curate.sources.config_rgbd import DepthNoiseConfig, GivenPosesConfig, RgbdConfig
from curate.sources.rgbd import Rgbd
from curate.sources.rgbd_depth import beside
from curate.sources.rgbd_layouts import nearest_pairs, poses_at
from curate.sources.rgbd_poses import given_poses
from curate.sources.rgbd_register import refine_turn, warp_depth
from tests.rgbd_media import FPS, recording, write_folders, write_seven_scenes, write_tum

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def made():
    return recording()


def config(root, made=None, **more):
    base = {"root": str(root), "layout": "tum", "registration": {"kind": "registered"}, "fps": FPS,
            "max_depth_m": 60.0, "color": made.calibration if made else {"fx": 300}}
    return RgbdConfig(**base | more)


def opened(settings, num_frames=48):
    source = Rgbd(settings, ClipConfig(num_frames=num_frames, min_frames=2))
    clip = next(iter(source.plan()))
    assert not isinstance(clip, tuple), clip[1]
    return source.open(clip)


# ---- layouts ----

def test_a_recording_is_the_same_in_every_layout(made, tmp_path):
    places = {"tum": write_tum(tmp_path / "tum", made), "7-scenes": write_seven_scenes(tmp_path / "7", made),
              "folders": write_folders(tmp_path / "o3d", made)}
    for layout, place in places.items():
        color = "camera.json" if layout == "folders" else made.calibration
        frames = opened(config(place, layout=layout, color=color, poses={}))
        assert (frames.num_frames, len(frames.views), frames.scale) == (made.num_frames, 1, "calibrated")
        np.testing.assert_allclose(frames.time_s, np.arange(made.num_frames) / FPS, atol=1e-6)
        np.testing.assert_array_equal(frames.read(1, 3)[0], made.color[1:3])
        depth, valid, sigma = frames.read_depth(1, 3)
        assert valid.mean() > 0.5 and (sigma[valid] > 0).all()
        np.testing.assert_allclose(depth[valid], made.depth[1:3][valid], atol=6e-4)
        poses, _, alone = frames.given["poses"]
        exact = (made.poses[0].inverse().rotation @ made.poses.rotation)
        np.testing.assert_allclose(poses.rotation, exact, atol=1e-6)
        assert np.sqrt(alone[2, 5, 5]) == pytest.approx(0.01)


def test_a_clip_is_a_span_of_its_recording(made, tmp_path):
    settings = config(write_tum(tmp_path, made), made)
    source = Rgbd(settings, ClipConfig(num_frames=2, min_frames=2))
    first, second = source.plan()
    frames = source.open(second)
    assert first.key != second.key and (second.start, frames.num_frames, frames.time_s[0]) == (2, 2, 0)
    np.testing.assert_array_equal(frames.read(0, 2)[0], made.color[2:])
    with pytest.raises(IndexError):
        frames.read_depth(0, 3)


def test_the_key_goes_with_the_contents_and_not_with_the_place(made, tmp_path):
    here, there = write_tum(tmp_path / "a", made), tmp_path / "b"
    shutil.copytree(here, there)
    keys = [next(iter(Rgbd(config(p, made), ClipConfig(min_frames=2)).plan())).key for p in (here, there)]
    assert keys[0] == keys[1]
    shutil.copy(next((there / "depth").iterdir()), sorted((there / "depth").iterdir())[-1])
    assert next(iter(Rgbd(config(there, made), ClipConfig(min_frames=2)).plan())).key != keys[0]


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=40, unique=True),
       st.lists(st.integers(0, 3000), min_size=1, max_size=40, unique=True), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_images_pair_up_once_in_order_and_within_the_tolerance(a, b, tolerance):
    a, b = sorted(a), sorted(b)
    pairs = nearest_pairs(a, b, tolerance)
    assert all(abs(a[i] - b[j]) <= tolerance for i, j in pairs)
    assert all(i < k and j < m for (i, j), (k, m) in pairwise(pairs))
    for i, j in pairs:  # nobody else is nearer to either
        assert min(abs(a[i] - t) for t in b) == abs(a[i] - b[j]) == min(abs(b[j] - t) for t in a)


def test_a_depth_image_that_is_missing_leaves_its_colour_image_out(made, tmp_path, caplog):
    write_tum(tmp_path, made)
    lines = (tmp_path / "depth.txt").read_text().splitlines()
    (tmp_path / "depth.txt").write_text("\n".join([*lines[:2], *lines[3:]]) + "\n")
    with caplog.at_level(logging.WARNING):
        frames = opened(config(tmp_path, made))
    np.testing.assert_allclose(frames.time_s, [0, 2 / FPS, 3 / FPS], atol=1e-6)
    assert "1 colour images are left out" in caplog.text


# ---- poses ----

def test_poses_between_two_are_on_the_way(made):
    times, turn = np.array([0.0, 0.1]), np.array([0.0, 0.2, 0.0])
    two = Pose("world", "cam", exp_so3(np.stack([turn, 2 * turn])), np.array([[0, 0, 0], [1.0, 0, 2]]))
    found, known = poses_at(times, two, np.array([0.025, 0.1, 0.3]), 0.06)
    np.testing.assert_array_equal(known, [True, True, False])
    np.testing.assert_allclose(found.translation[0], [0.25, 0, 0.5])
    np.testing.assert_allclose(log_so3(found.rotation[0]), 1.25 * turn)


def test_poses_of_the_depth_camera_are_brought_to_the_colour_camera(made, tmp_path):
    write_seven_scenes(tmp_path, made, beside=True)
    pose = made.T_color_depth
    frames = opened(config(tmp_path, made, layout="7-scenes", depth=made.calibration, poses={"of": "depth"},
                           registration={"kind": "known", "rotation": log_so3(pose.rotation).tolist(),
                                         "translation_m": pose.translation.tolist()}))
    found, steps, _ = frames.given["poses"]
    first = made.poses[0].inverse()
    expected = made.poses.translation @ first.rotation.T + first.translation
    np.testing.assert_allclose(found.translation, expected, atol=1e-6)
    assert not steps.any()


def test_up_is_turned_into_the_world_of_the_first_frame():
    tilt = exp_so3(np.array([0.3, 0.1, 0.0]))
    poses = Pose("world", "cam", np.stack([tilt, tilt]), np.zeros((2, 3)))
    _, up = given_poses(GivenPosesConfig(up=[0, 0, 2.0]), poses, None)
    np.testing.assert_allclose(tilt @ up, [0, 0, 2.0], atol=1e-12)


# ---- depth beside colour ----

def test_depth_of_a_camera_beside_is_what_the_colour_camera_would_measure(made):
    for t in range(2):
        depth, known = warp_depth(made.beside[t], np.isfinite(made.beside[t]), made.camera, made.T_color_depth,
                                  made.camera)
        exact = made.depth[t]
        assert known.mean() > 0.7 * np.isfinite(exact).mean()
        off = np.abs(depth - exact)[known] / exact[known]
        assert np.median(off) < 2e-4 and (off < 0.01).mean() > 0.995


def test_what_is_hidden_from_the_depth_camera_is_unknown():
    """A plate 1 m away before a wall 4 m away; the depth camera is 0.1 m to the right and sees other parts of it."""
    camera = Intrinsics(200.0, 200.0, 99.5, 49.5, 200, 100)
    columns = np.arange(200)
    plate = (columns >= 80) & (columns < 120)  # as the depth camera sees it
    depth = np.where(plate, 1.0, 4.0) * np.ones((100, 1))
    pose = Pose("color", "depth", np.eye(3), np.array([0.1, 0, 0]))
    found, known = warp_depth(depth, np.ones(depth.shape, bool), camera, pose, camera)
    np.testing.assert_allclose(found[50, 103:137], 1.0)  # moved by 20 px
    np.testing.assert_allclose(found[50, 10:84], 4.0)  # by 5 px
    assert known[:, 103:137].all() and known[:, 10:84].all()
    assert not known[:, 87:99].any()  # the colour camera sees the wall there; the plate hid it from the depth camera


@pytest.mark.parametrize("wrong_deg", [(0.8, -0.6, 0.0), (-0.5, 0.9, 0.4)])
def test_the_turn_between_the_cameras_is_found_by_edges(wrong_deg):
    made = recording(num_frames=2, width=480, height=270)
    truth = made.T_color_depth
    start = Pose("color", "depth", exp_so3(np.radians(wrong_deg)) @ truth.rotation, truth.translation)
    grey = made.color.mean(-1).astype(np.uint8)
    pairs = [(grey[t], made.beside[t], np.isfinite(made.beside[t])) for t in range(2)]
    found = refine_turn(pairs, made.camera, made.camera, start, 2.0)
    off_px = made.camera.fx * log_so3(found.T_color_depth.rotation @ truth.rotation.T)
    assert found.agrees and np.linalg.norm(off_px[:2]) < 1.5
    np.testing.assert_array_equal(found.T_color_depth.translation, truth.translation)


def test_pictures_that_have_nothing_to_do_with_the_depth_tell_no_turn():
    made = recording(num_frames=2, width=480, height=270)
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 255, made.color.shape[1:3], np.uint8), made.beside[t], np.isfinite(made.beside[t]))
             for t in range(2)]
    found = refine_turn(pairs, made.camera, made.camera, made.T_color_depth, 2.0)
    assert found is None or not found.agrees


def test_unregistered_depth_is_never_silent(made, tmp_path, caplog):
    write_seven_scenes(tmp_path, made, beside=True)
    shares = {}
    for kind in ("known", "unknown"):
        pose = made.T_color_depth
        with caplog.at_level(logging.WARNING):
            frames = opened(config(tmp_path, made, layout="7-scenes", registration={
                "kind": kind, "rotation": log_so3(pose.rotation).tolist(), "translation_m": pose.translation.tolist()}))
        assert frames.stats["depth_is_registered"] == 0
        shares[kind] = frames.read_depth(0, 1)[1].mean()
        assert ("not registered" in caplog.text) == (kind == "unknown")
    assert frames.stats["registration_error_px"] == 15
    assert shares["unknown"] < shares["known"]


def test_depth_that_may_lie_beside_its_pixel_is_unknown_at_edges_and_less_sure_on_slants():
    columns = np.arange(200, dtype=np.float32)
    depth = np.where(columns < 120, 2.0, 3.0) * np.ones((80, 1), np.float32)
    slanted = (1 / (0.3 + 0.001 * columns)) * np.ones((80, 1), np.float32)
    everywhere, sigma = np.ones(depth.shape, bool), np.full(depth.shape, 0.002, np.float32)
    _, known, total = beside(depth, everywhere, sigma, 3.0)
    assert not known[:, 115:125].any() and known[:, :112].all() and known[:, 128:].all()
    np.testing.assert_allclose(total[20:60, 20:100], 0.002, rtol=1e-4)
    _, known, total = beside(slanted, everywhere, sigma, 3.0)
    expected = np.hypot(0.002, 3.0 * 0.001 * slanted**2)  # 3 px along the slope of the inverse depth
    np.testing.assert_allclose(total[20:60, 20:180], expected[20:60, 20:180], rtol=0.01)


def test_the_noise_of_structured_light_is_that_published():
    noise = DepthNoiseConfig()
    from curate.sources.rgbd_depth import sensor_sigma
    assert sensor_sigma(np.array(5.0), noise) == pytest.approx(0.0356, abs=1e-4)  # "up to 4 cm" at 5 m


def test_values_that_mean_nothing_and_depth_out_of_reach_are_unknown(made, tmp_path):
    odd = made.depth.copy()
    odd[:, :20], odd[:, 20:40], odd[:, 40:60] = 0, 0.05, 12.0
    write_tum(tmp_path, made, depth=odd)
    frames = opened(config(tmp_path, made, max_depth_m=10.0))
    assert not frames.read_depth(0, 1)[1][0, :55].any()


# ---- from files to a scene ----

def test_a_recording_becomes_a_scene(tmp_path):
    made = recording(num_frames=8, width=480, height=270)
    frames = opened(config(write_tum(tmp_path, made), made, scale_sigma=0.01, readout_s=0.0, virtual_baseline_m=0.3,
                           noise={"floor_m": 0.002, "per_m2": 0.0}))
    clip = next(iter(Rgbd(config(tmp_path, made), ClipConfig(min_frames=2)).plan()))
    scene = perceive(clip, frames, PerceptionConfig())
    assert scene.origin["depth"] == "source" and scene.origin["camera"].startswith("rgbd-vo@")
    assert scene.scale_sigma == 0.01 and scene.stats["registration_error_px"] == 1.0
    exact = made.poses[0].inverse().rotation @ (made.poses.translation[-1] - made.poses.translation[0])
    assert np.linalg.norm(scene.T_world_cam.translation[-1] - exact) < 0.03 * np.linalg.norm(exact) + 0.002
    assert scene.regions
    assert not any("registered" in sentence for sentence in doubts(scene))
    scene.stats["registration_error_px"] = 15.0
    assert any("may lie 15 px beside its pixel" in sentence for sentence in doubts(scene))


def test_a_run_writes_one_view_its_depth_and_teacher_tensors(tmp_path):
    made = recording(num_frames=6, width=480, height=270)
    source = config(write_tum(tmp_path / "in", made), made, noise={"floor_m": 0.002, "per_m2": 0.0}, readout_s=0.0)
    recipe = Recipe.model_validate({"name": "one", "source": source.model_dump(mode="json"), "clip": {"min_frames": 2},
                                    "teacher": {"enabled": True, "height": 24}, "engine": {"kind": "inline"}})
    summary = run(recipe, tmp_path / "out", quiet=True)
    assert summary.counts["done"] == 1
    staged, = (p for p in (tmp_path / "out" / "scenes").iterdir() if p.is_dir())
    assert {"v0.mp4", "frame.jpg", "depth.jpg", "scene.npz"} <= {p.name for p in staged.iterdir()}
    assert not (staged / "v1.mp4").exists()
    sample, = read(tmp_path / "out" / "shards", flatten=False, teacher=True)
    record, teacher = sample["json"], sample["teacher"]
    assert [view["part"] for view in record["views"]] == ["v0.mp4"] and record["scale"] == "calibrated"
    assert record["qa"] and teacher.metric and "depth=source" in teacher.source
    assert np.isfinite(teacher.depth[0].astype(float)).mean() > 0.3


def test_a_rolling_shutter_widens_the_cameras_errors_and_moves_nothing(tmp_path):
    made = recording(num_frames=5)
    write_tum(tmp_path, made)
    clip = next(iter(Rgbd(config(tmp_path, made), ClipConfig(min_frames=2)).plan()))
    still, rolling = (perceive(clip, opened(config(tmp_path, made, readout_s=s)), PerceptionConfig())
                      for s in (0.0, 0.03))
    np.testing.assert_array_equal(still.T_world_cam.matrix(), rolling.T_world_cam.matrix())
    assert (np.linalg.eigvalsh(rolling.pose_cov - still.pose_cov)[1:] > 0).all()


# ---- the real one ----

def test_a_real_sequence_whose_depth_is_not_registered():
    from benchmarks.sources_rgbd import find, settings_of

    found = find(REAL)
    if not found:
        pytest.skip(f"no RGB-D sequence below {REAL}")
    settings = settings_of(found[0])
    frames = opened(settings)
    turn = log_so3(frames.T_color_depth.rotation)
    assert frames.stats["registration_error_px"] < 4 and np.degrees(np.linalg.norm(turn)) < 2
    _, valid, _ = frames.read_depth(0, 1)
    assert 0.4 < valid.mean() < 0.9
    short = replace(next(iter(Rgbd(settings, ClipConfig()).plan())), num_frames=10)
    scene = perceive(short, Rgbd(settings, ClipConfig()).open(short), PerceptionConfig())
    assert scene.camera_valid.all() and 0.002 < np.linalg.norm(scene.T_world_cam.translation[-1]) < 0.03
