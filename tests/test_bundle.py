"""Bundle adjustment on projected points, and the consensus that finds a first motion."""

from __future__ import annotations

import numpy as np
import pytest

from curate.geometry import trajectories
from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3, log_so3

pytest.importorskip("cv2")

from curate.perception.camera.bundle import (
    Observations,
    Points,
    bundle_adjust,
    project,
    rays,
)
from curate.perception.camera.consensus import find_motion

RIG = StereoRig(Intrinsics(600, 590, 321, 178, 640, 360), 0.2)


def random_poses(rng, num=8, speed=1.0):
    """Driving: mostly forward, gently turning."""
    step = Pose("before", "after", exp_so3(rng.normal(0, 0.03, (num - 1, 3))),
                rng.normal(0, 0.05, (num - 1, 3)) + [0, 0, speed])
    return trajectories.accumulate(step)


# --- bundle adjustment on projected points ----------------------------------------------------------------------

def projected(rng, poses, num_points=150, noise=(0.0, 0.0, 0.0), visible=0.8):
    """Points around the path seen as exact or noisy (u, v, d): observations, and points that start beside them."""
    world = np.stack([rng.uniform(-6, 6, num_points), rng.uniform(-2, 2, num_points),
                      rng.uniform(4, 40, num_points)], -1)
    frames, points, uvd = [], [], []
    for f in range(len(poses)):
        in_cam = poses[f].inverse() @ world
        uv = RIG.left.project(in_cam)
        seen = (in_cam[:, 2] > 1) & (uv >= 0).all(-1) & (uv < [640, 360]).all(-1) & (rng.random(num_points) < visible)
        frames.append(np.full(seen.sum(), f))
        points.append(np.flatnonzero(seen))
        uvd.append(np.column_stack([uv[seen], RIG.disparity(in_cam[seen, 2])]))
    frame, point, uvd = np.concatenate(frames), np.concatenate(points), np.concatenate(uvd)
    count = np.bincount(point, minlength=num_points)
    keep = count[point] > 1
    point = np.unique(point[keep], return_inverse=True)[1]
    sigma = np.broadcast_to(np.maximum(noise, 0.05), (keep.sum(), 3)).copy()
    obs = Observations(frame[keep], point, uvd[keep] + rng.normal(size=(keep.sum(), 3)) * noise, sigma)
    first = np.unique(point, return_index=True)[1]
    refs = poses[obs.frame[first]]
    return obs, Points(refs.rotation, refs.translation, obs.uvd[first])


def disturbed(rng, poses, angle=0.005, shift=0.05):
    num = len(poses)
    return (poses.rotation @ exp_so3(rng.normal(0, angle, (num, 3)) * (np.arange(num) > 0)[:, None]),
            poses.translation + rng.normal(0, shift, (num, 3)) * (np.arange(num) > 0)[:, None])


def test_bundle_recovers_exact_observations():
    rng = np.random.default_rng(1)
    poses = random_poses(rng)
    obs, points = projected(rng, poses)
    fixed = np.arange(8) == 0
    bundle = bundle_adjust(RIG, *disturbed(rng, poses), fixed, points, obs, iterations=30)
    np.testing.assert_allclose(bundle.translation, poses.translation, atol=1e-5)
    np.testing.assert_allclose(bundle.rotation, poses.rotation, atol=1e-6)
    assert bundle.distance2.max() < 1e-6


def test_bundle_holds_points_at_infinity():
    rng = np.random.default_rng(2)
    poses = random_poses(rng, 4, speed=0.2)
    obs, points = projected(rng, poses, noise=(0.05, 0.05, 0.05))
    far = np.arange(len(points.uvd)) % 3 == 0
    ray = rng.uniform(-0.2, 0.2, (far.sum(), 3)) * [1, 1, 0] + [0, 0, 1]
    extra = [Observations(np.full(len(ray), f), np.flatnonzero(far),
                          np.column_stack([RIG.left.project(ray @ poses.rotation[f]), np.zeros(len(ray))]),
                          np.full((len(ray), 3), 0.05)) for f in range(4)]
    near = obs[~far[obs.point]]
    obs = Observations(*(np.concatenate([getattr(o, n) for o in (near, *extra)])
                         for n in ("frame", "point", "uvd", "sigma")))
    points.ref_rotation[far], points.ref_translation[far] = np.eye(3), 0
    points.uvd[far] = np.column_stack([RIG.left.project(ray), np.full(len(ray), -0.05)])  # behind infinity, by noise
    bundle = bundle_adjust(RIG, *disturbed(rng, poses, 0.002, 0.01), np.arange(4) == 0, points, obs, iterations=30)
    np.testing.assert_allclose(bundle.translation, poses.translation, atol=0.01)
    np.testing.assert_allclose(log_so3(np.swapaxes(bundle.rotation, -1, -2) @ poses.rotation), 0, atol=2e-4)


def test_bundle_without_a_fixed_frame_is_refused():
    rng = np.random.default_rng(0)
    poses = random_poses(rng, 3)
    obs, points = projected(rng, poses)
    with pytest.raises(ValueError, match="at least one fixed frame"):
        bundle_adjust(RIG, poses.rotation, poses.translation, np.zeros(3, bool), points, obs)


def test_projection_jacobian():
    rng = np.random.default_rng(0)
    q, rho = rng.normal(0, 0.3, (20, 3)) + [0, 0, 1], rng.uniform(0, 0.5, 20)
    value, jac, dd_drho = project(RIG, q, rho)
    for k in range(3):
        moved = q.copy()
        moved[:, k] += 1e-6
        np.testing.assert_allclose((project(RIG, moved, rho)[0] - value) / 1e-6, jac[..., k], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose((project(RIG, q, rho + 1e-6)[0] - value)[:, 2] / 1e-6, dd_drho, rtol=1e-5)
    ray, inverse_depth = rays(RIG, value)
    np.testing.assert_allclose(ray / inverse_depth[:, None], q / rho[:, None], rtol=1e-9)


# --- consensus --------------------------------------------------------------------------------------------------

def two_views(rng, num, rotation, translation, noise=0.1):
    before = np.column_stack([rng.uniform(20, 620, num), rng.uniform(20, 340, num), rng.uniform(2, 40, num)])
    ray, rho = rays(RIG, before)
    after = project(RIG, ray @ rotation.T + rho[:, None] * translation, rho)[0]
    return before + rng.normal(0, noise, (num, 3)) * [0, 0, 1], after + rng.normal(0, noise, (num, 3))


@pytest.mark.parametrize("translation", [[0.02, 0.01, -1.3], [0, 0, 0], [0.05, -0.02, 0.03]])
def test_movers_and_mismatches_are_rejected(translation):
    rng = np.random.default_rng(7)
    rotation, translation = exp_so3([0.01, -0.03, 0.005]), np.array(translation, float)
    before, after = two_views(rng, 300, rotation, translation)
    mover, wrong = np.arange(300) < 90, np.arange(300) >= 255
    before[mover, :2] = rng.uniform(0, 1, (90, 2)) * [240, 200] + [40, 80]  # one object, compact
    ray, rho = rays(RIG, before[mover])
    after[mover] = project(RIG, ray + rho[:, None] * [0.35, 0, 0.1], rho)[0]
    after[wrong, :2] += rng.uniform(15, 80, (45, 2))
    motion = find_motion(RIG, before, after, np.full((300, 3), 0.1), np.zeros(300), (np.eye(3), np.zeros(3)), 1)
    good = ~(mover | wrong)
    assert motion.inlier[good].mean() > 0.97
    assert motion.inlier[~good].mean() < 0.05
    np.testing.assert_allclose(motion.translation, translation, atol=0.02)
    assert np.linalg.norm(log_so3(motion.rotation.T @ rotation)) < 5e-4


def test_an_object_in_most_of_the_image_does_not_pass_for_the_world():
    """55 % of the features lie on a compact mover; the rest surround it and have agreed with the camera before."""
    rng = np.random.default_rng(8)
    before, after = two_views(rng, 400, np.eye(3), np.zeros(3))
    mover = np.arange(400) < 220
    before[mover, :2] = rng.uniform(0, 1, (220, 2)) * [400, 260] + [120, 50]
    ray, rho = rays(RIG, before[mover])
    after[mover] = project(RIG, ray + rho[:, None] * [0.2, 0, 0], rho)[0] + rng.normal(0, 0.1, (220, 3))
    record = np.where(mover, 0.0, 4.0)
    motion = find_motion(RIG, before, after, np.full((400, 3), 0.1), record, (np.eye(3), np.zeros(3)), 1)
    assert motion.inlier[~mover].mean() > 0.95
    assert np.linalg.norm(motion.translation) < 0.01


def test_consensus_needs_three_features_and_is_reproducible():
    rng = np.random.default_rng(9)
    before, after = two_views(rng, 60, np.eye(3), np.array([0, 0, -0.5]))
    rest = np.full((60, 3), 0.1), np.zeros(60), (np.eye(3), np.zeros(3))
    assert find_motion(RIG, before[:2], after[:2], rest[0][:2], rest[1][:2], rest[2], 1) is None
    a, b = (find_motion(RIG, before, after, *rest, seed=5) for _ in range(2))
    np.testing.assert_array_equal(a.translation, b.translation)
