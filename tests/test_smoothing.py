"""The path smoother against a dense Gaussian-process twin."""

from __future__ import annotations

import numpy as np
import pytest

from curate.measure.draws import SceneDraws
from curate.measure.smoothing import RAY_SHARES, STEADY, PathSmoother, velocity_given_positions
from tests.scenes import Noise, make_scene


def fixed_amplitude(amplitude, shape=0):
    class Fixed(PathSmoother):
        def amplitudes(self):
            return np.array([shape]), np.array([amplitude]), np.ones(1)
    return Fixed


def small_problem(seed=0):
    rng = np.random.default_rng(seed)
    time = np.array([0, .04, .11, .13, .2, .3, .33])
    points = np.stack([time, time**2, np.sin(8 * time)], -1)
    root = rng.normal(0, .03, (21, 21)) + .05 * np.eye(21)
    noise = root @ root.T
    points = points + (root @ rng.standard_normal(21)).reshape(7, 3)
    points[3] = np.nan
    return time, points, noise


def dense_posterior(time, points, noise, amplitude, axes):
    """Mean and covariance of (positions, velocities) by conditioning one big Gaussian, flat prior = huge variance.

    Velocities given the positions do not know the steady turn.
    """
    num, span = len(time), time[-1] - time[0]
    phase, grid, free = (time - time[0]) / span, 1e-5, 1e4
    slope = (path_kernel_at(phase + grid, phase) - path_kernel_at(phase - grid, phase)) / (2 * grid)
    curve = (path_kernel_at(phase + grid, phase + grid) - path_kernel_at(phase + grid, phase - grid)
             - path_kernel_at(phase - grid, phase + grid) + path_kernel_at(phase - grid, phase - grid)) / (4 * grid**2)
    basis, slopes = np.stack([np.ones(num), phase], -1), np.stack([np.zeros(num), np.ones(num)], -1)
    turn = phase**3 / 6 - phase**2 / 4
    bent = path_kernel_at(phase, phase)
    prior = np.kron(amplitude * (bent + STEADY * np.outer(turn, turn)), axes) + np.kron(free * basis @ basis.T,
                                                                                      np.eye(3))
    seen = np.repeat(np.isfinite(points).all(-1), 3)
    gain = prior[:, seen] @ np.linalg.inv(prior[np.ix_(seen, seen)] + noise[np.ix_(seen, seen)])
    mean, covariance = gain @ points.reshape(-1)[seen], prior - gain @ prior[seen]
    cross = slope + free * slopes @ basis.T
    to_velocity = cross @ np.linalg.inv(bent + free * basis @ basis.T)
    rest = amplitude * (curve + free * slopes @ slopes.T - to_velocity @ cross.T) / span**2
    down = np.concatenate([np.eye(3 * num), np.kron(to_velocity / span, np.eye(3))])
    covariance = down @ covariance @ down.T
    covariance[3 * num:, 3 * num:] += np.kron(rest, axes)
    return down @ mean, covariance


def path_kernel_at(s, t):
    """The prior's covariance between two lists of times, less the turn; the Wiener part starts at 0, so the finite
    differences may step before it."""
    low, high = np.minimum.outer(s, t), np.maximum.outer(s, t)
    return np.where(low > 0, low**2 * (3 * high - low) / 6, 0) + STEADY * low**2 * high**2 / 4


@pytest.mark.parametrize(("amplitude", "shape"), [(1e-3, None), (.1, None), (5.0, None), (.1, 0), (5.0, 1)])
def test_smoother_equals_a_dense_gaussian_process(amplitude, shape):
    time, points, noise = small_problem()
    ray = None if shape is None else np.array([.36, .48, .8])
    smoother = fixed_amplitude(amplitude, shape or 0)(time, points, noise, ray)
    rng = np.random.default_rng(1)
    errors = {"own": rng.standard_normal((30000, 21)) @ np.linalg.cholesky(noise).T}
    posterior = smoother.draw(errors, 16, rng)
    across = 1.0 if shape is None else RAY_SHARES[shape]
    along = np.zeros((3, 3)) if shape is None else np.outer(ray, ray)
    mean, covariance = dense_posterior(time, points, noise, amplitude, along + across * (np.eye(3) - along))
    assert np.allclose(posterior.mean.reshape(-1), mean[:21], atol=2e-4)
    assert np.allclose(posterior.mean_velocity.reshape(-1), mean[21:], atol=4e-3)
    joint = np.concatenate([posterior.points, posterior.velocity], 1).reshape(60000, -1)
    sigma = np.sqrt(np.diagonal(covariance))
    difference = (np.cov(joint.T) - covariance) / np.outer(sigma, sigma)
    assert np.abs(difference).max() < .04  # 30,000 independent draws: 5 standard errors


def test_velocity_map_is_the_natural_spline_and_exact_on_lines():
    time = np.array([0, .1, .35, .5, 1.0])
    to_velocity, _ = velocity_given_positions(time)
    assert np.allclose(to_velocity @ (3 - 2 * time), -2, atol=1e-9)
    assert np.allclose(to_velocity.sum(1), 0, atol=1e-9)


def test_amplitude_follows_the_data():
    time, noise = np.linspace(0, 1, 20), np.eye(60) * 1e-4
    rng = np.random.default_rng(0)
    still = 1e-2 * rng.standard_normal((20, 3))
    wild = still + np.sin(9 * time)[:, None]

    def median(points):
        _, grid, weight = PathSmoother(time, points, noise).amplitudes()
        return grid[np.searchsorted(np.cumsum(weight), .5)]
    assert median(wild) > 100 * median(still)


def test_two_frames_give_a_straight_line():
    smoother = PathSmoother(np.array([0, .1]), np.array([[0, 0, 5.0], [1, 0, 5]]), np.eye(6) * 1e-4)
    path = smoother.draw({"own": .01 * np.random.default_rng(0).standard_normal((500, 6))}, 8, np.random.default_rng(1))
    assert np.allclose(path.mean[1] - path.mean[0], [1, 0, 0], atol=1e-6)
    assert np.allclose(path.mean_velocity, [10, 0, 0], atol=1e-4)


# --- errors that stretch a path --------------------------------------------------------------------------------------

def swing(t):
    return np.stack([-1 + 0.8 * t, 0.1 * np.sin(3 * t), 5 + 0.5 * np.sin(5 * t) - 0.3 * t], -1)


def stretched(share):
    """A path that bends, its tracks exact to a millimetre, its distance unknown by a share that all frames have."""
    scene, _ = make_scene(1, "still", num_frames=24, noise=Noise.none(), paths=[("swing", swing, True)])
    region = scene.regions[0]
    region.cov_shared = share**2 * region.point_cam[:, :, None] * region.point_cam[:, None]
    region.cov_frame = np.tile(1e-6 * np.eye(3), (24, 1, 1))
    return region, SceneDraws(scene).region(1)


@pytest.mark.parametrize("share", [0.01, 0.03])
def test_that_a_path_bends_says_nothing_of_how_far_it_is(share):
    """Whatever stretches a path stretches its bends: the distance is as measured, with the error that is stated, and
    so is every length on the path."""
    region, path = stretched(share)
    measured = np.linalg.norm(region.point_cam, axis=-1)
    distance = np.linalg.norm(path.points, axis=-1)
    np.testing.assert_allclose(np.median(distance, 0), measured, rtol=0.05 * share)
    np.testing.assert_allclose(distance.std(0), share * measured, rtol=0.1)
    for i, j in ((0, 23), (3, 12), (12, 23)):  # bends as well as the way on the whole
        length = np.linalg.norm(path.points[:, j] - path.points[:, i], axis=-1)
        true = np.linalg.norm(region.point_cam[j] - region.point_cam[i])
        assert np.median(length) == pytest.approx(true, rel=0.1 * share)
        assert length.std() == pytest.approx(share * true, rel=0.15)
    fastest = int(np.argmax(path.speeds.mean(0)))
    assert path.speeds[:, fastest].std() > 0.8 * share * path.speeds[:, fastest].mean()


def test_errors_beside_the_noise_come_through_as_they_are():
    time, points, noise = small_problem()
    smoother, rng = PathSmoother(time, points, noise), np.random.default_rng(1)
    own, more = np.linalg.cholesky(noise) @ rng.standard_normal((21, 32)), rng.standard_normal((21, 32))
    plain, moved = (smoother.draw({"own": own.T, "rig": 0 * own.T}, 8, np.random.default_rng(2), beside)
                    for beside in (None, {"rig": more}))
    by_draw = more.reshape(7, 3, 32).transpose(2, 0, 1)
    np.testing.assert_allclose(moved.points - plain.points, np.concatenate([-by_draw, by_draw]), atol=1e-12)
    np.testing.assert_allclose(moved.parts["rig"] - plain.parts["rig"], -by_draw[:8], atol=1e-12)
    np.testing.assert_allclose(moved.parts["own"], plain.parts["own"])
