"""What the camera path says of its own error: on made-up observations, on rendered films, and in the draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3, log_so3
from curate.geometry.trajectories import accumulate, displacement_covariance, step_totals

cv2 = pytest.importorskip("cv2")

from curate.measure.draws import SceneDraws  # noqa: E402
from curate.perception.camera.bundle import Observations, Points, bundle_adjust, project, rays  # noqa: E402
from curate.perception.camera.stated import shares, widened_along  # noqa: E402
from curate.perception.camera.uncertainty import pose_errors, residual_scale, whitened  # noqa: E402

RIG = StereoRig(Intrinsics(400, 400, 191.5, 107.5, 384, 216), 0.3)


def seen_from(poses, uvd, sigma, noise=None):
    """Points given as [L, 3] (u, v, disparity) in the first camera, seen by all poses; and how they begin."""
    ray, rho = rays(RIG, uvd)
    frames, out = [], []
    for f in range(len(poses)):
        turned = (ray - rho[:, None] * poses.translation[f]) @ poses.rotation[f]
        out.append(project(RIG, turned, rho)[0])
        frames.append(np.full(len(uvd), f))
    seen = np.concatenate(out)
    if noise is not None:
        seen = seen + noise.reshape(seen.shape)
    obs = Observations(np.concatenate(frames), np.tile(np.arange(len(uvd)), len(poses)), seen,
                       np.broadcast_to(sigma, seen.shape).copy())
    return obs, Points(np.broadcast_to(np.eye(3), (len(uvd), 3, 3)), np.zeros((len(uvd), 3)), seen[:len(uvd)].copy())


def adjusted(poses, obs, points, iterations=12):
    return bundle_adjust(RIG, poses.rotation, poses.translation, np.arange(len(poses)) == 0, points, obs, iterations)


def scattered(rng, num=120):
    return np.column_stack([rng.uniform(20, 364, num), rng.uniform(15, 200, num), rng.uniform(4, 30, num)])


def error_of(bundle, poses, k):
    turn = bundle.rotation[k].T @ poses.rotation[k]
    return np.concatenate([log_so3(turn), bundle.rotation[k].T @ (poses.translation[k] - bundle.translation[k])])


@pytest.mark.parametrize("understated", [1.0, 2.0], ids=["sigmas-right", "sigmas-too-small"])
def test_stated_errors_against_monte_carlo(understated):
    """Mean squared error in units of the covariance within 10 % of one, frames of different noise among them."""
    poses = accumulate(Pose("before", "after", np.broadcast_to(exp_so3([0.0, 0.01, 0]), (3, 3, 3)),
                            np.broadcast_to([0.02, 0, 0.1], (3, 3))))
    uvd, distances = scattered(np.random.default_rng(0)), []
    loud = np.array([1.0, 1.0, 2.0, 1.0])[:, None, None]
    for seed in range(60):
        noise = np.random.default_rng(seed + 1).normal(size=(4, len(uvd), 3)) * loud * [0.1, 0.1, 0.15]
        obs, points = seen_from(poses, uvd, np.array([0.1, 0.1, 0.15]) / understated, noise)
        first = adjusted(poses, obs, points)
        scale = residual_scale(whitened(RIG, first, obs), obs, 4)
        obs = replace(obs, sigma=obs.sigma * scale[obs.frame])
        bundle = adjusted(poses, obs, points)
        errors = pose_errors(RIG, bundle, obs, scale)
        ratio = errors.ratio([(0, 1), (1, 2), (2, 3)])
        for k in (1, 2, 3):
            e = error_of(bundle, poses, k)
            distances.append(e @ np.linalg.solve(ratio * errors.information[k, :, k], e) / 6)
    assert 0.9 < np.mean(distances) < 1.1


def test_patches_that_err_alike_are_found():
    """The same noise for all features of a patch in a frame: the error is as large as the patches say."""
    poses = Pose("world", "cam", np.broadcast_to(np.eye(3), (3, 3, 3)), np.zeros((3, 3)))
    told, real, single = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        uvd = scattered(rng, 200)
        patch = (uvd[:, 0] // 48).astype(int) * 8 + (uvd[:, 1] // 48).astype(int)
        noise = rng.normal(0, 0.05, (3, 200, 3)) + rng.normal(0, 0.1, (3, 64, 3))[:, patch]
        obs, points = seen_from(poses, uvd, [0.1, 0.1, 0.1], noise)
        bundle = adjusted(poses, obs, points)
        errors = pose_errors(RIG, bundle, obs, np.ones((3, 3)))
        told.append(errors.ratio([(0, 1), (1, 2)]))
        for k in (1, 2):
            e = error_of(bundle, poses, k)
            real.append(e @ np.linalg.solve(errors.information[k, :, k], e) / 6)
        single.append(np.mean(residual_scale(whitened(RIG, bundle, obs), obs, 3) ** 2))
    assert np.mean(real) > 2 * np.mean(single)  # independence would say far too little
    assert 0.6 < np.mean(told) / np.mean(real) < 1.3


def test_few_patches_do_not_pass_for_agreement():
    rng = np.random.default_rng(2)
    poses = Pose("world", "cam", np.broadcast_to(np.eye(3), (3, 3, 3)), np.zeros((3, 3)))
    uvd = scattered(rng, 60) * [0, 0, 1] + np.column_stack([rng.uniform(146, 190, 60), rng.uniform(98, 140, 60),
                                                            np.zeros(60)])  # all in one patch
    obs, points = seen_from(poses, uvd, [0.1, 0.1, 0.1], rng.normal(0, 0.1, (3, 60, 3)))
    assert pose_errors(RIG, adjusted(poses, obs, points), obs, np.ones((3, 3))).ratio([(0, 1), (1, 2)]) >= 1


@pytest.mark.parametrize("depth", [20.0, 80.0, 320.0])
def test_a_distant_plane_says_how_little_it_tells(depth):
    """Fronto-parallel plane at Z, symmetric points, two frames: forward motion shows in the expansion of the picture
    and in disparity, 1/σ² = (Σ(Δu² + Δv²)/σ_uv² + N d²/σ_d²) / 2Z²; sideways motion looks like a turn."""
    u, v = np.meshgrid(np.linspace(-180, 180, 12), np.linspace(-95, 95, 8))
    d = RIG.left.fx * RIG.baseline_m / depth
    uvd = np.column_stack([u.ravel() + RIG.left.cx, v.ravel() + RIG.left.cy, np.full(u.size, d)])
    poses = Pose("world", "cam", np.broadcast_to(np.eye(3), (2, 3, 3)), np.zeros((2, 3)))
    obs, points = seen_from(poses, uvd, [0.1, 0.1, 0.2])
    errors = pose_errors(RIG, adjusted(poses, obs, points), obs, np.ones((2, 3)))
    sigma = np.sqrt(np.diag(errors.information[1, :, 1]))
    expected = np.sqrt(2 * depth**2 / (np.sum(u**2 + v**2) / 0.01 + u.size * d**2 / 0.04))
    assert sigma[5] == pytest.approx(expected, rel=0.03)
    one_turn = 0.1 * np.sqrt(2 / u.size) / RIG.left.fx  # of a turn, were it known that nothing moved sideways
    assert sigma[1] > 2 * one_turn and sigma[3] > 2 * depth * one_turn


def test_frames_worse_than_others_are_charged_for_it():
    rng = np.random.default_rng(3)
    poses = Pose("world", "cam", np.broadcast_to(np.eye(3), (6, 3, 3)), np.zeros((6, 3)))
    noise = rng.normal(0, 0.02, (6, 120, 3))
    noise[2] *= 8
    obs, points = seen_from(poses, scattered(rng), [0.1, 0.1, 0.1], noise)
    bundle = adjusted(poses, obs, points)
    scale = residual_scale(whitened(RIG, bundle, obs), obs, 6)
    assert scale[2].mean() > 4 * scale[[0, 1, 3, 4, 5]].mean()
    assert 0.15 < scale[[0, 1, 3, 4, 5]].mean() < 0.3  # 0.02 px where 0.1 was stated
    excess = np.trace(pose_errors(RIG, bundle, obs, scale).excess, axis1=1, axis2=2)
    assert excess[2] > 10 * excess[[0, 1, 3, 4, 5]].mean()


# --- walk and white ---------------------------------------------------------------------------------------------

def test_shares_of_walk_and_white_are_found_by_direction():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6)) * [1e-3, 1e-3, 1e-3, 1, 1, 1]
    one, n = root @ root.T, 10
    for r, joint in ((1.0, n * one), (0.0, one), (0.5, (1 + 0.5 * (n - 1)) * one)):
        walk, white = shares(n * one, joint, n)
        np.testing.assert_allclose(walk @ one @ walk.T, r * one, atol=1e-9 * one.max())
        np.testing.assert_allclose(walk @ one @ walk.T + white @ one @ white.T, one, atol=1e-9 * one.max())
    mixed = np.diag([1.0, 1, 1, n, n, n])  # rotation white, translation a walk
    walk, white = shares(n * np.eye(6), mixed, n)
    np.testing.assert_allclose(np.diag(walk @ walk.T), [0, 0, 0, 1, 1, 1], atol=1e-9)
    np.testing.assert_allclose(np.diag(white @ white.T), [1, 1, 1, 0, 0, 0], atol=1e-9)


def test_errors_of_poses_alone_enter_draws_and_covariances_alike():
    from tests.scenes import make_scene
    from tests.slow_draws import pose_effect

    scene, _ = make_scene()
    num, rng = scene.num_frames, np.random.default_rng(1)
    root = rng.normal(size=(num, 6, 6)) * 1e-3
    scene = replace(scene, step_cov=np.zeros((num, 6, 6)), pose_cov=root @ np.swapaxes(root, -1, -2))
    poses = scene.T_world_cam
    draws = SceneDraws(scene, 4096)
    effect = pose_effect(scene, poses.translation, np.arange(num)).reshape(num, 3, -1)
    i, j = 1, num - 2
    moved = poses.rotation[i].T @ (effect[j] - effect[i])
    stated = displacement_covariance(poses, scene.step_cov, i, j, scene.pose_cov)
    # the draws are of points in the world: a turn of camera i alone does not move them
    far = poses.rotation[i].T @ (poses.translation[j] - poses.translation[i])
    turn = np.array([[0, -far[2], far[1]], [far[2], 0, -far[0]], [-far[1], far[0], 0]])
    both = np.concatenate([turn, -np.eye(3)], -1)
    expected = stated[3:, 3:] - both @ scene.pose_cov[i] @ both.T + scene.pose_cov[i][3:, 3:]
    np.testing.assert_allclose(moved @ moved.T, expected, rtol=1e-6, atol=1e-12)
    turns = draws.rotation_error[:, j] - draws.rotation_error[:, i]
    expected = sum(poses.rotation[k] @ scene.pose_cov[k][:3, :3] @ poses.rotation[k].T for k in (i, j))
    np.testing.assert_allclose(np.cov(turns.T), expected, atol=0.15 * np.abs(expected).max())
    assert step_totals(poses, scene.step_cov, scene.pose_cov)[0].max() == 0


# --- along the direction of travel -----------------------------------------------------------------------------------

def two_covariances(rng, num):
    root = rng.normal(size=(2, num, 6, 6)) * 1e-3
    return root @ np.swapaxes(root, -1, -2)


def test_only_what_lies_along_the_travel_is_widened():
    """Of a camera that turns as it drives: its standard deviation along each step, in the axes of the covariance, and
    nothing of the turn or across the step; the first frame's own error along the step that leaves it."""
    num = 6
    poses = accumulate(Pose("before", "after", np.broadcast_to(exp_so3([0.02, 0.1, 0]), (num - 1, 3, 3)),
                            np.broadcast_to([0.3, -0.1, 1.0], (num - 1, 3))))
    step_cov, pose_cov = two_covariances(np.random.default_rng(4), num)
    widened = widened_along(poses, step_cov, pose_cov, 1.5)
    for before, after, axes_before in ((step_cov, widened[0], 1), (pose_cov, widened[1], 0)):
        for k in range(num):
            i, j = max(k - 1, 0), max(k, 1)
            travel = poses.rotation[max(k - axes_before, 0)].T @ (poses.translation[j] - poses.translation[i])
            travel /= np.linalg.norm(travel)
            across = np.linalg.svd(travel[None])[2][1:]
            np.testing.assert_allclose(after[k, :3, :3], before[k, :3, :3], rtol=1e-12)
            np.testing.assert_allclose(across @ after[k, 3:, 3:] @ across.T, across @ before[k, 3:, 3:] @ across.T,
                                       rtol=1e-9, atol=1e-15)
            assert travel @ after[k, 3:, 3:] @ travel == pytest.approx(
                1.5**2 * travel @ before[k, 3:, 3:] @ travel, rel=1e-4)
            assert (np.linalg.eigvalsh(after[k]) > 0).all()


def test_a_camera_that_stands_has_no_direction_of_travel():
    """Steps far smaller than their error: the covariance stays, and no step of exactly nothing divides by it."""
    rng = np.random.default_rng(5)
    step_cov, pose_cov = two_covariances(rng, 5)
    for shake in (0.0, 1e-6):
        poses = Pose("world", "cam", np.broadcast_to(np.eye(3), (5, 3, 3)), shake * rng.normal(size=(5, 3)))
        for before, after in zip((step_cov, pose_cov), widened_along(poses, step_cov, pose_cov, 2.0), strict=True):
            np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * np.abs(before).max())
    one = widened_along(Pose("world", "cam", np.eye(3)[None], np.zeros((1, 3))), step_cov[:1], pose_cov[:1], 2.0)
    np.testing.assert_array_equal(one[0], step_cov[:1])


@pytest.mark.parametrize("stop", [5, 9])
def test_windows_state_what_the_whole_clip_would(stop):
    """A step's direction needs the frame before it, which a window has as its overlap."""
    poses = accumulate(Pose("before", "after", np.broadcast_to(exp_so3([0, 0.1, 0]), (8, 3, 3)),
                            np.random.default_rng(6).normal(size=(8, 3))))
    covariances = two_covariances(np.random.default_rng(7), 9)
    whole = widened_along(poses, *covariances, 1.4)
    part = widened_along(poses[3:stop], *(c[3:stop] for c in covariances), 1.4)
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_allclose(a[4:stop], b[1:], rtol=1e-12)


# --- rendered films ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("motion", ["still", "hand-held", "driving"])
def test_rendered_and_compressed_films(motion, tmp_path):
    """Errors over 1 and 5 frames in units of the stated covariance, whatever the camera does."""
    pytest.importorskip("open3d")
    from benchmarks.calibrate import video_frames
    from benchmarks.calibrate_camera import camera_path, error_between, rigid_rig
    from curate.synth import sample_scene

    scenes = (rigid_rig(sample_scene(95_000, k, width=384, height=216)) for k in range(12))
    distances = []
    for scene in [s for s in scenes if s.camera_motion == motion][:2]:
        views = [np.stack([cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) for i in view])
                 for view in video_frames(scene, 14, tmp_path)[:2]]
        path = camera_path(*views, scene.rig)
        truth = [scene.camera(f) for f in range(14)]
        truth = Pose("world", "cam", np.stack([p.rotation for p in truth]), np.stack([p.translation for p in truth]))
        assert path.valid.all()
        for lag in (1, 5):
            for i in range(0, 11 - lag):
                error = error_between(path.poses, truth, i, i + lag)
                distances.append(min(8, error @ np.linalg.solve(path.covariance(i, i + lag), error) / 6))
    assert 0.25 < np.mean(distances) < 2.0
