"""Trajectories: chaining, length, smoothing, and how step errors travel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.geometry import trajectories
from curate.geometry.poses import FrameError, Pose
from curate.geometry.rotations import exp_so3, log_so3


def random_poses(rng, num=8, speed=1.0):
    """Driving: mostly forward, gently turning."""
    step = Pose("before", "after", exp_so3(rng.normal(0, 0.03, (num - 1, 3))),
                rng.normal(0, 0.05, (num - 1, 3)) + [0, 0, speed])
    return trajectories.accumulate(step)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_steps_and_accumulate_are_inverse(seed):
    poses = random_poses(np.random.default_rng(seed))
    again = trajectories.accumulate(trajectories.steps(poses))
    np.testing.assert_allclose(again.matrix(), poses.matrix(), atol=1e-12)


def test_path_length_of_a_circle():
    angle = np.linspace(0, 2 * np.pi, 2001)
    centre = np.stack([np.sin(angle), 0 * angle, 1 - np.cos(angle)], -1) * 3
    poses = Pose("world", "cam", np.broadcast_to(np.eye(3), (2001, 3, 3)), centre)
    assert trajectories.path_length(poses) == pytest.approx(6 * np.pi, rel=1e-6)
    with pytest.raises(FrameError, match="inverse"):
        trajectories.path_length(poses.inverse())


def test_displacement_covariance_matches_draws():
    rng = np.random.default_rng(3)
    poses = random_poses(rng, 6)
    cov = np.stack([np.zeros((6, 6))] + [np.diag(rng.uniform(0.5, 2, 6) * [1e-6] * 6) for _ in range(5)])
    stated = trajectories.displacement_covariance(poses, cov, 1, 5)
    step, draws = trajectories.steps(poses), []
    truth = poses[1].inverse().rotation @ (poses.translation[5] - poses.translation[1])
    turn = poses.rotation[1].T @ poses.rotation[5]
    for _ in range(4000):
        e = np.stack([rng.multivariate_normal(np.zeros(6), c) for c in cov[1:]])
        noisy = trajectories.accumulate(Pose("before", "after", exp_so3(e[:, :3]) @ step.rotation,
                                             step.translation + e[:, 3:]))
        t = noisy.rotation[1].T @ (noisy.translation[5] - noisy.translation[1])
        draws.append(np.concatenate([log_so3(noisy.rotation[1].T @ noisy.rotation[5] @ turn.T), t - truth]))
    drawn = np.cov(np.stack(draws).T)
    np.testing.assert_allclose(np.sqrt(np.diag(stated)), np.sqrt(np.diag(drawn)), rtol=0.06)
    correlation = drawn / np.sqrt(np.outer(np.diag(drawn), np.diag(drawn)))
    np.testing.assert_allclose(stated / np.sqrt(np.outer(np.diag(stated), np.diag(stated))), correlation, atol=0.07)


def test_smoothing_keeps_what_is_smooth_and_quietens_the_rest():
    time_s = np.cumsum(np.random.default_rng(0).uniform(0.05, 0.15, 40))
    centre = np.stack([time_s**2, 2 * time_s, 0 * time_s], -1)
    poses = Pose("world", "cam", exp_so3(np.stack([0 * time_s, 0.1 * time_s, 0 * time_s], -1)), centre)
    smooth = trajectories.smooth(poses, time_s, 0.8)
    np.testing.assert_allclose(smooth.translation, centre, atol=1e-9)
    np.testing.assert_allclose(smooth.rotation, poses.rotation, atol=1e-9)
    shaken = Pose("world", "cam", poses.rotation, centre + np.random.default_rng(1).normal(0, 0.01, centre.shape))
    assert np.std(trajectories.smooth(shaken, time_s, 0.8).translation - centre) < 0.75 * 0.01
