"""What is measured in few large steps is what plain steps give: poses' errors, draws of a path."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from curate.measure import SceneDraws
from curate.measure.draws import calm, ray_root
from curate.measure.modes import systematic
from curate.measure.pose_errors import PoseErrors, at_points
from curate.measure.rig_effect import pan_of_path
from curate.measure.smoothing import PathSmoother
from curate.measure.strata import stratified_normals, stratified_tails
from tests.scenes import make_scene
from tests.slow_draws import draw_rows, pose_effect


def scene_with_own_errors(seed=4, num_frames=7):
    scene = make_scene(seed, "driving", num_frames)[0]
    root = np.random.default_rng(seed).normal(size=(num_frames, 6, 6)) * 1e-3
    rig_step = np.random.default_rng(seed + 1).normal(size=(num_frames, 6))
    return replace(scene, pose_cov=root @ np.swapaxes(root, -1, -2), rig_step=rig_step)


@pytest.mark.parametrize("own", [False, True])
def test_turn_and_shift_of_a_frame_say_all_that_its_pose_errors_do(own):
    scene = scene_with_own_errors()
    if not own:
        scene = replace(scene, pose_cov=np.zeros_like(scene.pose_cov))
    errors = PoseErrors(scene.T_world_cam, scene.step_cov, scene.pose_cov)
    frames = np.arange(2, 6)
    points = scene.T_world_cam.translation[frames] + np.random.default_rng(0).normal(size=(4, 3)) * [5, 2, 20]
    effect = pose_effect(scene, points, frames)
    normals = np.random.default_rng(1).normal(size=(errors.dimension, 9))
    moved = (at_points(points) @ errors.motions(normals)[frames]).reshape(12, 9)
    np.testing.assert_allclose(moved, effect @ normals, atol=1e-12)
    np.testing.assert_allclose(errors.covariance(points, slice(2, 6)), effect @ effect.T, atol=1e-15)


def test_a_pan_moves_points_by_the_steps_before_them():
    scene = scene_with_own_errors()
    poses, point, frame = scene.T_world_cam, np.array([1.0, -2, 30]), 5
    expected = np.zeros(3)
    for k in range(frame):
        turn, shift = poses.rotation[k] @ scene.rig_step[k + 1, :3], poses.rotation[k] @ scene.rig_step[k + 1, 3:]
        expected += np.cross(turn, point - poses.translation[k + 1]) + shift
    np.testing.assert_allclose(pan_of_path(scene, point[None], np.array([frame]))[0], expected, atol=1e-10)


@pytest.mark.parametrize(("gaps", "ray"), [(False, None), (True, (0.6, 0, 0.8))])
def test_draws_all_at_once_are_those_one_after_the_other(gaps, ray):
    rng = np.random.default_rng(0)
    time = np.sort(rng.uniform(0, 1, 8))
    root = rng.normal(0, .03, (24, 24)) + .05 * np.eye(24)
    points = np.stack([time, time**2, np.sin(4 * time)], -1) + (root @ rng.standard_normal(24)).reshape(8, 3)
    if gaps:
        points[[2, 5]] = np.nan
    smoother = PathSmoother(time, points, root @ root.T, None if ray is None else np.array(ray))
    errors = {"own": rng.standard_normal((64, 24)) @ root.T, "pose": 1e-2 * rng.standard_normal((64, 24)),
              "rig": 1e-2 * rng.standard_normal((64, 24))}
    path = smoother.draw(errors, 16, np.random.default_rng(1))
    plain, parts = draw_rows(smoother, errors, 16, np.random.default_rng(1))
    np.testing.assert_allclose(path.points, plain, atol=1e-12)
    np.testing.assert_allclose(path.velocity.mean(0), path.mean_velocity, atol=1e-9)  # mirrored pairs
    for name, part in parts.items():
        np.testing.assert_allclose(path.parts[name], part, atol=1e-12)


def test_draws_do_not_hang_on_rounding():
    """Rounding turns modes of equal energy in their space and changes their signs; the draws stay."""
    time, points = np.linspace(0, 1, 9), np.linspace(0, 1, 9)[:, None] ** [1, 2, 3]
    errors = {"own": 1e-2 * np.random.default_rng(0).standard_normal((64, 27))}
    one, two = (PathSmoother(time, points, 1e-4 * np.eye(27) * (1 + tiny)).draw(errors, 8, np.random.default_rng(1))
                for tiny in (0, 1e-13))
    np.testing.assert_allclose(one.points, two.points, atol=1e-9)


def test_roots_of_shared_errors_stay_along_the_ray():
    rng = np.random.default_rng(2)
    points = rng.normal(size=(6, 3)) * [3, 2, 1] + [0, 0, 12]
    along = points / np.linalg.norm(points, axis=1, keepdims=True)
    covariance = 1e-2 * np.einsum("ta,tb->tab", along, along) + 1e-6 * np.eye(3)
    root = ray_root(covariance, points)
    np.testing.assert_allclose(root @ np.swapaxes(root, -1, -2), covariance, atol=1e-12)
    # a unit error of the axis that is the ray moves every frame along its own ray
    np.testing.assert_allclose(root[:, :, 2], np.sqrt(1e-2 + 1e-6) * along, atol=1e-9)


def test_calm_is_the_least_squares_polynomial():
    time = np.sort(np.random.default_rng(3).uniform(0, 2, 13))
    values = np.random.default_rng(4).normal(size=(13, 2))
    phase = (time - time[0]) / (time[-1] - time[0])
    expected = np.stack([np.polyval(np.polyfit(phase, values[:, k], 3), phase) for k in range(2)], -1)
    np.testing.assert_allclose(calm(values, time), expected, atol=1e-9)


# ---- strata ----

def test_each_stratum_has_one_draw_and_its_mirror_image():
    normals = stratified_normals(np.random.default_rng(0), 40, 64)
    both = np.sort(np.concatenate([normals, -normals], 1), 1)
    assert np.allclose(both, both[0]) and np.allclose((both**2).mean(1), 1)
    share = np.array([NormalDist().cdf(x) for x in both[0]])
    assert np.abs(share - (np.arange(128) + 0.5) / 128).max() < 1.5e-3
    assert np.abs(np.corrcoef(normals) - np.eye(40)).max() < 5 / 8  # 5 standard errors
    assert not np.array_equal(normals, stratified_normals(np.random.default_rng(1), 40, 64))


def test_factors_of_the_tail_make_students_t_of_unit_variance():
    normals = np.random.default_rng(0).standard_normal(200_000)
    t = stratified_tails(np.random.default_rng(1), 200_000) * normals
    # quantiles of Student's t with four degrees of freedom (tables), over the root of its variance, 2
    for level, of in ((0.9, 1.533), (0.975, 2.776), (0.995, 4.604)):
        assert np.quantile(t, level) == pytest.approx(of / 2**0.5, rel=0.02)


def test_amplitudes_have_their_share_of_the_draws():
    weight = np.array([0.0, 0.25, 0.5, 0.05, 0.2])
    picks = systematic(weight, 40, np.random.default_rng(0))
    assert np.bincount(picks, minlength=5).tolist() == [0, 10, 20, 2, 8]


def test_what_is_asked_first_changes_no_draw():
    scene = scene_with_own_errors()
    one, two = SceneDraws(scene), SceneDraws(scene)
    ids = [region.id for region in scene.regions[:2]]
    assert np.array_equal(one.region(ids[0]).points, [two.region(i).points for i in reversed(ids)][-1])
