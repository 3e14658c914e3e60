"""What is measured in few large steps is what plain steps give: poses' errors, draws of a path."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from curate.geometry.rotations import exp_so3, log_so3, quaternion, skew
from curate.measure import SceneDraws, chi2
from curate.measure.chi2 import chi2_survival
from curate.measure.draws import calm, ray_root
from curate.measure.magnitude import by_part
from curate.measure.modes import systematic
from curate.measure.pose_errors import PoseErrors, at_points
from curate.measure.rig_effect import pan_of_path
from curate.measure.smoothing import PathSmoother, lengths
from curate.measure.speed import debiased_speeds
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


# ---- numbers of draws ----

def draws_in_memory(rng, *shape):
    """[S, ...] with the draws last in memory, as paths keep them."""
    return np.moveaxis(rng.normal(size=(*shape[1:], shape[0])), -1, 0)


@pytest.mark.parametrize("size", [1e-9, 1e-3, 1.0, 3.1])
def test_rotations_by_columns_are_series_and_each_others_inverse(size):
    vectors = draws_in_memory(np.random.default_rng(0), 50, 3)
    vectors *= size / np.linalg.norm(vectors, axis=1, keepdims=True)
    drawn = exp_so3(vectors)
    for rotation, vector in zip(drawn, vectors):
        series, term = np.eye(3), np.eye(3)
        for k in range(1, 40):
            term = term @ skew(vector) / k
            series = series + term
        np.testing.assert_allclose(rotation, series, atol=1e-13)
    np.testing.assert_allclose(log_so3(drawn), vectors, atol=1e-12)
    np.testing.assert_allclose(quaternion(drawn), np.stack([quaternion(one) for one in drawn]), atol=1e-15)
    mixed = np.concatenate([drawn, exp_so3(np.array([[0, 3.0, 0]]))])  # not all by one branch
    np.testing.assert_allclose(quaternion(mixed)[:-1], quaternion(drawn), atol=1e-12)


def test_relative_rotations_are_products_of_three():
    scene = scene_with_own_errors()
    draws, rotation = SceneDraws(scene, 64), scene.T_world_cam.rotation
    between = draws.rotation_error[:, 5] - draws.rotation_error[:, 1]
    expected = rotation[1].T @ exp_so3(between) @ rotation[5]
    np.testing.assert_allclose(draws.relative_rotation(1, 5), expected, atol=1e-13)


def test_few_degrees_of_freedom_are_summed_as_many_are(monkeypatch):
    points = [(x, dof) for x in (1e-12, 0.3, 4.0, 60.0, 900.0, 2000.0) for dof in range(1, 16)]
    few = [chi2_survival(x, dof) for x, dof in points]
    monkeypatch.setattr(chi2, "FEW", 0)
    np.testing.assert_allclose(few, [chi2_survival(x, dof) for x, dof in points], rtol=1e-10, atol=1e-300)


def test_speeds_lose_the_noise_across_them_frame_by_frame():
    rng = np.random.default_rng(1)
    mean, velocity = rng.normal(size=(5, 3)), draws_in_memory(rng, 40, 5, 3)
    for frame, speeds in enumerate(debiased_speeds(mean, velocity).T):
        covariance, direction = np.cov(velocity[:, frame].T, bias=True), mean[frame] / np.linalg.norm(mean[frame])
        across = np.trace(covariance) - direction @ covariance @ direction
        plain = np.sqrt(np.maximum((velocity[:, frame] ** 2).sum(1) - 2 * across, 0))
        np.testing.assert_allclose(speeds, plain, atol=1e-7)


def test_all_parts_in_one_step_are_each_part_alone():
    rng = np.random.default_rng(2)
    parts = {"own": draws_in_memory(rng, 8, 4, 3), "pose": rng.normal(size=(5, 4, 3))}
    found = by_part(parts, lambda vectors: lengths(vectors).sum(1))
    assert list(found) == ["own", "pose"] and by_part({}, len) == {}
    for name, part in parts.items():
        np.testing.assert_allclose(found[name], np.linalg.norm(part, axis=-1).sum(1))


def test_the_still_statistic_is_that_of_the_best_fitting_point():
    rng = np.random.default_rng(3)
    points, root = rng.normal(size=(6, 3)), rng.normal(size=(18, 18)) + 3 * np.eye(18)
    points[2] = np.nan
    smoother = PathSmoother(np.arange(6.0), points, root @ root.T)
    statistic, dof = smoother.still_statistic(1, 5)
    rows = np.flatnonzero(np.repeat([0, 1, 0, 1, 1, 1], 3))
    weigh = np.linalg.cholesky(np.linalg.inv(smoother.noise[np.ix_(rows, rows)])).T
    design, data = weigh @ np.tile(np.eye(3), (4, 1)), weigh @ points[[1, 3, 4, 5]].reshape(-1)
    residual = data - design @ np.linalg.lstsq(design, data, rcond=None)[0]
    assert dof == 9 and statistic == pytest.approx(residual @ residual)


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


def test_normals_of_a_name_are_drawn_once_and_kept_from_change():
    draws = SceneDraws(scene_with_own_errors(), 64)
    first = draws.normals("a", 3)
    assert draws.normals("a", 3) is first and draws.normals("b", 3).shape == (64, 3)
    assert np.array_equal(first[:32], -first[32:]) and not np.array_equal(first, draws.normals("b", 3))
    with pytest.raises(ValueError, match="read-only"):
        first += 1
