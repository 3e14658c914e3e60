"""The motion test on fields in closed form: what is still is not flagged, what moves is."""

from __future__ import annotations

import numpy as np
import pytest

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import FrameError, Pose
from curate.geometry.rotations import exp_so3
from curate.perception.estimator import Field, Window
from curate.perception.motion.config import RigidResidualConfig
from curate.perception.motion.rigid_residual import RigidResidual, residuals

SIZE = (320, 200)
CAMERA = Intrinsics(300, 300, 159.5, 99.5, *SIZE)
RIG = StereoRig(CAMERA, 0.25)


def scene(turn=(0.004, -0.01, 0.003), step=(0.05, -0.02, 0.15), object_step=None, noise=0.05, seed=0,
          sigma_scale=1.0, camera_sigma=(1e-5, 1e-4), camera_error=None) -> Window:
    """Two frames of a slanted wall with, in the middle, a patch that makes `object_step` (metres) in the world.

    Disparity of the second frame is that of the same points, put where the flow leads (exact at flow targets).
    """
    rng = np.random.default_rng(seed)
    rays = CAMERA.rays()
    depth = 1 / (1 / 9 + 0.0002 * (np.arange(SIZE[1])[:, None] - 100) + 0 * rays[..., 0])
    points = rays * depth[..., None]
    motion = Pose("world", "cam", exp_so3(np.array(turn)), np.array(step))
    moved = points.copy()
    if object_step is not None:
        moved[70:130, 120:200] += object_step
    after = (motion.inverse() @ moved.reshape(-1, 3)).reshape(points.shape)
    grid = np.stack(np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1])), -1)
    flow = CAMERA.project(after) - grid
    disparity = RIG.disparity(depth)
    # the wall is a plane n·p = 1 (its inverse depth is linear in the row): its disparity in the second camera
    plane = np.array([0, 0.0002 * CAMERA.fy, 1 / 9 + 0.0002 * (CAMERA.cy - 100)])
    normal = motion.rotation.T @ plane / (1 - plane @ motion.translation)
    disparity_next = CAMERA.fx * RIG.baseline_m * (rays @ normal)
    shape = disparity.shape
    values = np.stack([disparity, disparity_next]) + noise * rng.standard_normal((2, *shape))
    flows = np.stack([flow + noise * rng.standard_normal(flow.shape), np.zeros_like(flow)])
    sigma = np.full((2, *shape), noise * sigma_scale, np.float32)
    valid = np.ones((2, *shape), bool)
    shift = np.zeros(3) if camera_error is None else camera_error
    second = Pose("world", "cam", motion.rotation, motion.translation + shift)
    poses = Pose("world", "cam", np.stack([np.eye(3), second.rotation]), np.stack([np.zeros(3), second.translation]))
    covariance = np.zeros((2, 6, 6))
    covariance[1] = np.diag([camera_sigma[0] ** 2] * 3 + [camera_sigma[1] ** 2] * 3)
    window = Window(0, 0, True, [], [], np.arange(2) / 10, RIG, CAMERA, 0)
    window.fields = {
        "disparity": Field(values.astype(np.float32), valid, sigma, "source"),
        "flow": Field(flows.astype(np.float32), np.stack([valid[0], ~valid[0]]), sigma.copy(), "source"),
        "camera": Field(poses, np.ones(2, bool), covariance, "test")}
    return window


def flagged(field: Field) -> np.ndarray:
    return (field.values[0] > field.info["threshold"]) & field.valid[0]


PATCH = np.zeros(SIZE[::-1], bool)
PATCH[78:122, 128:192] = True
WALL = np.ones(SIZE[::-1], bool)
WALL[60:140, 110:210] = False


@pytest.mark.parametrize("seed", range(3))
def test_still_scene_seen_from_a_moving_camera_is_still(seed):
    field = RigidResidual().run(scene(seed=seed))["motion"]
    assert field.valid[0].mean() > 0.95 and not field.valid[1].any()
    assert flagged(field).mean() < 0.01
    assert field.values.dtype == np.float32


@pytest.mark.parametrize("step", [(0.06, 0, 0), (0, 0.06, 0), (0, 0, -0.5), (0.04, 0.02, 0.1)])
def test_moving_patch_is_found_in_every_direction(step):
    field = RigidResidual().run(scene(object_step=np.array(step)))["motion"]
    found = flagged(field)
    assert found[PATCH].mean() > 0.95
    assert found[WALL].mean() < 0.01


def test_share_of_false_alarms_is_the_p_value():
    """Single pixels with independent errors of the stated size: p bounds it (reading the next disparity between
    pixels averages its noise, so it is a little lower)."""
    config = RigidResidualConfig(p_value=0.02, window=1, stride=1)
    shares = [flagged(RigidResidual(config).run(scene(seed=s))["motion"]).mean() for s in range(4)]
    assert 0.01 < np.mean(shares) < 0.022


def test_camera_error_within_its_covariance_is_no_motion():
    error = np.array([0.02, -0.01, 0.03])
    sure = RigidResidual(RigidResidualConfig(max_inflation=1)).run(scene(camera_error=error))["motion"]
    honest = RigidResidual(RigidResidualConfig(max_inflation=1)).run(
        scene(camera_error=error, camera_sigma=(1e-5, 0.02)))["motion"]
    assert flagged(sure).mean() > 0.5
    assert flagged(honest).mean() < 0.01


def test_understated_errors_are_seen_from_the_image():
    window = scene(noise=0.1, sigma_scale=1 / 2, object_step=np.array([0.3, 0, 0]))
    field = RigidResidual().run(window)["motion"]
    assert field.info["inflation"][0] > 1.5
    assert flagged(field)[WALL].mean() < 0.02
    assert flagged(field)[PATCH].mean() > 0.95


def test_unknown_disparity_in_the_next_frame_leaves_two_dimensions():
    window = scene(object_step=np.array([0.06, 0, 0]))
    window.fields["disparity"].valid[1] = False
    field = RigidResidual().run(window)["motion"]
    assert flagged(field)[PATCH].mean() > 0.95
    assert flagged(field)[WALL].mean() < 0.01


def test_frames_without_a_camera_are_unknown():
    window = scene()
    window.fields["camera"].valid[1] = False
    assert not RigidResidual().run(window)["motion"].valid.any()


def test_wrong_direction_of_the_pose_is_refused():
    window = scene()
    window.fields["camera"].values = window.fields["camera"].values.inverse()
    with pytest.raises(FrameError):
        RigidResidual().run(window)


def test_jacobians_are_those_of_differences():
    """Covariance parts against numerical derivatives of the residual."""
    window = scene(noise=0.0)
    disparity, flow = window.fields["disparity"], window.fields["flow"]
    poses = window.fields["camera"].values
    step = Pose("cam@0", "cam@1", poses.rotation[1], poses.translation[1])
    ones = np.ones(SIZE[::-1], np.float32)
    valid = np.ones(SIZE[::-1], bool)

    def run(pose, d=disparity.values[0], covariance=None, sigma=ones):
        return residuals(pose, np.zeros((6, 6)) if covariance is None else covariance, RIG, (d, sigma, valid),
                         (disparity.values[1], 0 * ones, valid), (flow.values[0], 0 * ones, valid), 1)

    at = (60, 200)
    base, (own, _), _, _ = run(step)
    by_d = (run(step, disparity.values[0] + np.float32(0.05))[0] - base)[at] / 0.05
    upper = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    assert np.allclose(own[at], [by_d[a] * by_d[b] for a, b in upper], rtol=0.03, atol=1e-3)
    for k in range(6):
        covariance = np.zeros((6, 6))
        covariance[k, k] = 1
        _, (_, common), _, _ = run(step, covariance=covariance)
        delta = np.zeros(6)
        delta[k] = 1e-2
        turned = Pose("cam@0", "cam@1", exp_so3(delta[:3]) @ step.rotation, step.translation + delta[3:])
        numeric = (run(turned)[0] - base)[at] / 1e-2
        expected = [numeric[a] * numeric[b] for a, b in upper]
        assert np.allclose(common[at], expected, rtol=0.05, atol=0.02 * np.abs(expected).max())


def stripes(shift: float, period: float = 12.0) -> np.ndarray:
    u = np.arange(SIZE[0])[None] + 0 * np.arange(SIZE[1])[:, None]
    return np.clip(128 + 60 * np.sin(2 * np.pi * (u - shift) / period), 0, 255).astype(np.uint8)


def test_a_flow_that_is_a_period_off_is_unknown_and_not_motion():
    """A repeated pattern looks right one period further; the still world fits as well."""
    window = scene(turn=(0, 0, 0), step=(0, 0, 0), noise=0.02)
    flow = window.fields["flow"]
    flow.values[0] = 0
    flow.values[0][70:130, 120:200, 0] = 12
    window.fields["disparity"].values[1] = window.fields["disparity"].values[0]
    assert flagged(RigidResidual().run(window)["motion"])[PATCH].mean() > 0.9
    window.grey = [np.stack([stripes(0), stripes(0)])]
    field = RigidResidual().run(window)["motion"]
    assert not flagged(field).any()
    assert not field.valid[0][PATCH].any() and field.valid[0][WALL].mean() > 0.9


def test_what_the_image_shows_to_move_stays_moving():
    window = scene(turn=(0, 0, 0), step=(0, 0, 0), noise=0.02)
    flow = window.fields["flow"]
    flow.values[0] = 0
    flow.values[0][70:130, 120:200, 0] = 4
    window.fields["disparity"].values[1] = window.fields["disparity"].values[0]
    second = stripes(0)
    second[60:140, 110:215] = stripes(4)[60:140, 110:215]
    window.grey = [np.stack([stripes(0), second])]
    assert flagged(RigidResidual().run(window)["motion"])[PATCH].mean() > 0.9


def test_a_still_point_that_would_have_left_the_image_is_unknown():
    window = scene(turn=(0, -0.08, 0), step=(0, 0, 0), noise=0.02)
    flow = window.fields["flow"]
    leaves = flow.values[0][..., 0] + np.arange(SIZE[0])[None] > SIZE[0] - 1
    assert leaves.any()
    flow.values[0][leaves] -= [30, 0]  # matched to something else inside
    field = RigidResidual().run(window)["motion"]
    assert not (flagged(field) & leaves).any()
