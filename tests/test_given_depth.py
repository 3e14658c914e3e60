"""One view and the depth that its source gives: everything after the matcher runs as with a pair, and is right."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.compare import compare_scene
from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.geometry.rotations import log_so3
from curate.geometry.trajectories import displacement_covariance
from curate.lift.noise import DisparityNoise
from curate.perception.config import PerceptionConfig
from curate.perception.pipeline import perceive
from curate.questions import ask
from curate.questions.places import has_second_view
from curate.scene import Scene
from curate.shards.sample import make_sample
from curate.shards.schema import decode
from curate.sources.base import BadInput, ClipSpec, View
from curate.sources.given_depth import GivenDepth, closed, depth_fields, error_model, virtual_rig
from curate.synth import Renderer, sample_scene

NUM_FRAMES = 12
SIGMA_PX = 0.08  # of a pixel, and of all pixels of a frame together a quarter of it


class OneView:
    """The left view of a rendered scene with its true depth, noisy as a sensor's that measures disparity."""

    scale, is_grey, scale_sigma = "calibrated", False, 0.002

    def __init__(self, truth, poses=None):
        renderer = Renderer(truth)
        self.num_frames = NUM_FRAMES
        self.left, _, self.depth, self.ids = (
            np.stack(x) for x in zip(*(renderer.render(t) for t in range(NUM_FRAMES))))
        self.time_s = truth.time_s[:NUM_FRAMES]
        self.rig = virtual_rig(truth.rig.left, truth.rig.baseline_m)
        self.views = (View("colour", truth.rig.left, Pose.identity("rig", "colour")),)
        self.given = GivenDepth(self.read_depth, self.rig, error_model(1, SIGMA_PX / 4, 0)).given()
        if poses is not None:
            self.given["poses"] = poses

    def read(self, start, stop):
        return [self.left[start:stop]]

    def read_depth(self, start, stop):
        depth = self.depth[start:stop]
        known = np.isfinite(depth)
        z, scale = np.where(known, depth, 1.0), self.rig.left.fx * self.rig.baseline_m
        noisy = np.empty_like(z)
        for i, frame in enumerate(range(start, stop)):
            rng = np.random.default_rng(frame)
            level = scale / z[i] + rng.normal(0, SIGMA_PX / 4) + rng.normal(0, SIGMA_PX, z[i].shape)
            noisy[i] = scale / np.maximum(level, 0.5)
        return noisy, known & (scale / z > 2), SIGMA_PX * z**2 / scale

    def close(self): ...


def perceived(truth, **options):
    frames = OneView(truth, **options)
    clip = ClipSpec("cd" * 12, "rgbd", "scene", "scene", 0, NUM_FRAMES)
    return frames, perceive(clip, frames, PerceptionConfig(window=5))


@pytest.fixture(scope="module")
def truth():
    return sample_scene(100, 8)  # the camera moves, and so do things


@pytest.fixture(scope="module")
def estimated(truth):
    return perceived(truth)[1]


def true_poses(truth):
    start = truth.camera(0).inverse()
    return [Pose("world", start.source, start.rotation, start.translation) @ truth.camera(t)
            for t in range(NUM_FRAMES)]


def test_answers_are_right_and_their_intervals_hold(truth, estimated):
    judged = compare_scene(estimated, truth)["judged"]
    assert len({j["family"] for j in judged}) > 10
    right = [j["right"] for j in judged if j["right"] is not None]
    covered = [j["covered"] for j in judged if j["covered"] is not None]
    assert len(right) > 40 and np.mean(right) > 0.95
    assert len(covered) > 10 and np.mean(covered) > 0.9


def test_the_cameras_motion_is_found_without_a_second_view_and_within_its_error(truth, estimated):
    assert estimated.origin["camera"].startswith("rgbd-vo@") and estimated.camera_valid.all()
    exact, found = true_poses(truth)[-1], estimated.T_world_cam[NUM_FRAMES - 1]
    moved = np.linalg.norm(exact.translation)
    error = np.concatenate([log_so3(exact.rotation.T @ found.rotation), found.translation - exact.translation])
    covariance = displacement_covariance(estimated.T_world_cam, estimated.step_cov, 0, NUM_FRAMES - 1,
                                         estimated.pose_cov)
    assert moved > 0.05 and np.linalg.norm(error[3:]) < 0.03 * moved + 0.002
    assert error @ np.linalg.solve(covariance + 1e-12 * np.eye(6), error) < 40  # six degrees of freedom


def test_nothing_speaks_of_a_second_view(estimated):
    assert estimated.baseline_m == 0 and not has_second_view(estimated)
    record = decode(make_sample(estimated, {}, ask(estimated)[0]).json)
    assert [view["name"] for view in record["views"]] == ["v0"]
    assert not {q["family"] for q in record["qa"]} & {"disparity_order", "view_shift", "view_point", "view_match"}


def test_the_scale_is_as_sure_as_the_source_says(estimated):
    assert estimated.scale_sigma == OneView.scale_sigma
    again = Scene.from_bytes(estimated.to_bytes())
    assert again.scale_sigma == OneView.scale_sigma and again.scale == "calibrated"


def test_given_poses_are_taken_with_their_errors(truth):
    path = true_poses(truth)
    poses = Pose("world", "cam", np.stack([p.rotation for p in path]), np.stack([p.translation for p in path]))
    alone = np.arange(1, NUM_FRAMES + 1)[:, None, None] * 1e-6 * np.eye(6)
    _, scene = perceived(truth, poses=(poses, np.zeros((NUM_FRAMES, 6, 6)), alone))
    assert scene.origin["camera"] == "source"
    np.testing.assert_allclose(scene.T_world_cam.matrix(), poses.matrix(), atol=1e-12)
    np.testing.assert_array_equal(scene.pose_cov, alone)  # of each frame its own, over all windows


class Scanned(OneView):
    """A point every fifth row and third column, as a scan that is projected into the image."""

    def read_depth(self, start, stop):
        frames = []
        for depth, valid, sigma in zip(*super().read_depth(start, stop), strict=True):
            points = np.zeros(valid.shape, bool)
            points[::5, ::3] = valid[::5, ::3]
            frames.append(closed(depth, points, sigma, reach_px=7))
        return tuple(np.stack(parts) for parts in zip(*frames, strict=True))


def test_sparse_depth_gives_right_answers_too(truth):
    frames = Scanned(truth)
    frames.given = GivenDepth(frames.read_depth, frames.rig, error_model(15, SIGMA_PX / 4, 0)).given()
    scene = perceive(ClipSpec("cd" * 12, "rgbd", "scene", "scene", 0, NUM_FRAMES), frames, PerceptionConfig(window=5))
    assert scene.camera_valid.all() and scene.stats["valid_disparity"] > 0.7
    judged = compare_scene(scene, truth)["judged"]
    right = [j["right"] for j in judged if j["right"] is not None]
    covered = [j["covered"] for j in judged if j["covered"] is not None]
    assert len(right) > 40 and np.mean(right) > 0.95
    assert len(covered) > 10 and np.mean(covered) > 0.9


def test_one_view_without_depth_is_refused(truth):
    frames = OneView(truth)
    frames.given = {}
    with pytest.raises(BadInput, match="one view only"):
        perceive(ClipSpec("cd" * 12, "rgbd", "scene", "scene", 0, NUM_FRAMES), frames, PerceptionConfig(window=5))


# ---- depth to disparity and back ----

CAMERA = Intrinsics(500.0, 500.0, 79.5, 59.5, 160, 120)


def test_depth_and_its_sigma_are_those_of_the_virtual_rig():
    rig = virtual_rig(CAMERA, 0.1)
    depth = np.full((1, 120, 160), 2.0)
    depth[0, 0, 0], depth[0, 0, 1] = np.inf, np.nan
    fields = depth_fields(depth, np.ones(depth.shape, bool), np.full(depth.shape, 0.02), rig, error_model(9, 0.03, 1))
    disparity = fields["disparity"]
    assert not disparity.valid[0, 0, :2].any() and disparity.valid[0, 1:].all()
    np.testing.assert_allclose(disparity.values[0, 1:], 25.0)  # 500 · 0.1 / 2
    np.testing.assert_allclose(disparity.sigma[0, 1:], 0.25, rtol=1e-6)  # 25 · 0.02 / 2
    np.testing.assert_allclose(rig.depth(disparity.values[0, 1:]), fields["depth"].values[0, 1:])
    noise = DisparityNoise.of_field(disparity)
    assert (noise.correlation_px, noise.floor_px, noise.temporal_share) == (9, 0.03, 1)


def test_a_source_that_states_only_its_sigma_gets_a_floor_in_proportion():
    depth = np.full((1, 120, 160), 2.0)
    for scale in (1.0, 3.0):
        fields = depth_fields(depth, depth > 0, np.full(depth.shape, 0.02), virtual_rig(CAMERA, 0.1 * scale))
        assert DisparityNoise.of_field(fields["disparity"]).floor_px == pytest.approx(0.125 * scale, rel=1e-5)


def scan(depth, every=(4, 3)):
    valid = np.zeros(depth.shape, bool)
    valid[::every[0], ::every[1]] = True
    return depth, valid, np.full(depth.shape, 0.01)


def test_sparse_depth_is_closed_on_a_plane_and_not_over_a_step():
    rays = CAMERA.rays()
    depth = 1 / (rays @ np.array([0.02, 0.05, 0.2]))
    depth[:, 80:] = 2.0
    filled, known, sigma = closed(*scan(depth), reach_px=6)
    assert known[8:-8, 8:60].all()
    np.testing.assert_allclose(filled[8:-8, 8:60], depth[8:-8, 8:60], rtol=0.004)
    error = np.abs(filled - depth)[known]
    assert (error < 3 * sigma[known] + 1e-9).mean() > 0.99
    assert not (known & ~scan(depth)[1])[:, 76:84].any()


def test_a_scan_keeps_its_own_points_and_does_not_grow_past_its_ends():
    depth, valid, sigma = scan(np.full((120, 160), 5.0))
    valid[60:] = False
    filled, known, spread = closed(depth, valid, sigma, reach_px=6)
    np.testing.assert_array_equal(filled[valid], depth[valid])
    np.testing.assert_array_equal(spread[valid], sigma[valid])
    assert known[:57].mean() > 0.9 and not known[57:].any()
