"""Errors of a scene's poses, as one turn and one shift a frame of everything that the frame sees.

A step's small turn w and shift v (camera axes, after frame k) move what is seen later by w' × (X − c) + v', with
w' = R_k w, v' = R_k v about the camera's next centre c; a frame's own error moves what this frame sees, about its own
centre. Both are affine in X, so all that precedes a frame adds up to six numbers: X moves by turn × X + shift.
"""

from __future__ import annotations

import numpy as np

from curate.geometry.poses import Pose
from curate.geometry.rotations import skew


def covariance_root(covariance: np.ndarray) -> np.ndarray:
    """A square root [n, k, k] of covariances, singular ones too."""
    value, vector = np.linalg.eigh(covariance)
    return vector * np.sqrt(np.clip(value, 0, None))[:, None, :]


def as_motion(rotation: np.ndarray, centre: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Turn and shift [n, 6, k] of world points by errors [n, 6, k] (rad, m) in camera axes `rotation` [n, 3, 3] about
    `centre` [n, 3]."""
    turn = rotation @ error[:, :3]
    return np.concatenate([turn, rotation @ error[:, 3:] + skew(centre) @ turn], 1)


def at_points(points: np.ndarray) -> np.ndarray:
    """[n, 3, 6]: from a frame's turn and shift to what they move world points [n, 3] by."""
    return np.concatenate([-skew(points), np.broadcast_to(np.eye(3), (len(points), 3, 3))], -1)


def adds_up(steps: np.ndarray) -> np.ndarray:
    """[T, ...] from steps [T − 1, ...]: zero at first, then sums of all steps before. A product takes less than
    `cumsum` over a leading axis."""
    num = len(steps) + 1
    return (np.tri(num, num - 1, -1) @ steps.reshape(num - 1, -1)).reshape(num, *steps.shape[1:])


class PoseErrors:
    """
    Args:
        poses: T_world_cam [T]. step_cov: [T, 6, 6] of the steps, the first not used. frame_cov: [T, 6, 6] of each frame
            alone, in camera axes, rad and m.
    """

    def __init__(self, poses: Pose, step_cov: np.ndarray, frame_cov: np.ndarray) -> None:
        self.num = len(step_cov)
        self._step = as_motion(poses.rotation[:-1], poses.translation[1:], covariance_root(step_cov[1:]))
        self.has_own = bool(frame_cov.any())
        if self.has_own:
            self._own = as_motion(poses.rotation, poses.translation, covariance_root(frame_cov))
        square = self._step @ self._step.transpose(0, 2, 1)
        frame = np.arange(self.num)
        joint = adds_up(square)[np.minimum.outer(frame, frame)]  # a walk
        if self.has_own:
            joint[frame, frame] += self._own @ self._own.transpose(0, 2, 1)
        self._joint = joint.transpose(0, 2, 1, 3)  # [T, 6, T, 6]

    @property
    def dimension(self) -> int:
        """Of the normals that `motions` takes."""
        return 6 * (self.num - 1) + (6 * self.num if self.has_own else 0)

    def motions(self, normals: np.ndarray) -> np.ndarray:
        """Draws [T, 6, S] of every frame's turn and shift from standard normals [dimension, S]."""
        num = self.num
        out = adds_up(self._step @ normals[:6 * (num - 1)].reshape(num - 1, 6, -1))
        if self.has_own:
            out += self._own @ normals[6 * (num - 1):].reshape(num, 6, -1)
        return out

    def covariance(self, points: np.ndarray, frames: slice) -> np.ndarray:
        """[3n, 3n] m² of world points [n, 3] seen at consecutive `frames`."""
        at, num = at_points(points), len(points)
        half = at @ self._joint[frames, :, frames].reshape(num, 6, 6 * num)  # [n, 3, 6n]
        return (at @ half.reshape(3 * num, num, 6).transpose(1, 2, 0)).reshape(3 * num, 3 * num)
