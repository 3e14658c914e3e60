"""Poses, rotations, stereo geometry and the Scene file, against closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import FrameError, Pose
from curate.geometry.rotations import exp_so3, log_so3, yaw_pitch_roll

vectors = st.lists(st.floats(-3, 3), min_size=3, max_size=3).map(np.array)


@given(vectors)
def test_log_inverts_exp(v):
    if np.linalg.norm(v) < np.pi - 1e-3:
        np.testing.assert_allclose(log_so3(exp_so3(v)), v, atol=1e-7)


def test_a_positive_yaw_turns_the_optical_axis_to_the_right():
    R_i_j = exp_so3(np.array([0, 0.3, 0]))  # about +y, which points down
    assert (R_i_j @ [0, 0, 1])[0] > 0
    np.testing.assert_allclose(yaw_pitch_roll(R_i_j), [0.3, 0, 0], atol=1e-12)


def test_positive_pitch_raises_the_optical_axis():
    R = exp_so3(np.array([0.2, 0, 0]))
    assert (R @ [0, 0, 1])[1] < 0
    np.testing.assert_allclose(yaw_pitch_roll(R), [0, 0.2, 0], atol=1e-12)


def test_camera_to_world_where_world_to_camera_is_due_is_an_error():
    T_world_cam = Pose("world", "cam", np.eye(3), np.array([1.0, 2, 3]))
    with pytest.raises(FrameError, match=r"\.inverse\(\)"):
        T_world_cam.expect("cam", "world")
    with pytest.raises(FrameError, match="cannot join"):
        T_world_cam @ T_world_cam


@given(vectors, vectors, vectors)
def test_inverse_undoes_a_pose(rotation, translation, point):
    T = Pose("world", "cam", exp_so3(rotation), translation)
    np.testing.assert_allclose(T.inverse() @ (T @ point), point, atol=1e-9)


def test_the_camera_centre_is_the_translation_of_camera_to_world():
    T = Pose("world", "cam", exp_so3(np.array([0, 1.0, 0])), np.array([4.0, 5, 6]))
    np.testing.assert_allclose(T @ np.zeros(3), [4, 5, 6])


def test_stereo_point_covariance_matches_monte_carlo():
    rig = StereoRig(Intrinsics(700, 700, 320, 240, 640, 480), 0.2)
    uvd, sigma = np.array([400.0, 200, 20]), np.array([0.3, 0.3, 0.2])
    draws = rig.point(uvd + sigma * np.random.default_rng(0).standard_normal((200_000, 3)))
    np.testing.assert_allclose(np.cov(draws.T), rig.point_covariance(uvd, sigma), rtol=0.05, atol=2e-5)


@pytest.mark.parametrize("baseline", [0, -0.1, float("nan")])
def test_a_baseline_must_be_positive(baseline):
    with pytest.raises(ValueError, match="baseline_m"):
        StereoRig(Intrinsics(700, 700, 320, 240, 640, 480), baseline)
