"""What one radian of pan left between the two cameras does to everything measured: one error for the whole scene.

A right camera panned by ψ sees all disparities f ψ (1 + x²) too large (x: right-image position in focal lengths), so
    ∂X/∂ψ = −X · Z (1 + x²) / B
in camera axes, and the camera's own motion is moved with it by `Scene.rig_step`.
"""

from __future__ import annotations

import numpy as np

from curate.measure.pose_errors import adds_up, as_motion, at_points
from curate.scene import Scene


def pan_of_points(points: np.ndarray, baseline_m: float) -> np.ndarray:
    """∂/∂ψ [n, 3] m/rad of points [n, 3] in camera axes, as measured by stereo."""
    return points * pan_stretch(points, baseline_m)[:, None]


def pan_stretch(points: np.ndarray, baseline_m: float) -> np.ndarray:
    """The same as a share [n] of the points' distances, per radian; none without a second camera."""
    if not baseline_m:
        return np.zeros(len(points))
    depth = points[:, 2]
    x = (points[:, 0] - baseline_m) / depth
    return -depth * (1 + x**2) / baseline_m


def pan_motion(scene: Scene) -> np.ndarray:
    """∂/∂ψ [T, 6] of the turn and shift (rad/rad, m/rad) of all that a frame sees, by the camera's steps before it."""
    poses = scene.T_world_cam  # step k leads from frame k to k + 1
    return adds_up(as_motion(poses.rotation[:-1], poses.translation[1:], scene.rig_step[1:, :, None])[..., 0])


def pan_of_path(scene: Scene, points: np.ndarray, frames: np.ndarray | slice) -> np.ndarray:
    """∂/∂ψ [n, 3] m/rad of world points [n, 3] seen at `frames` [n], through the camera's steps up to there."""
    return (at_points(points) @ pan_motion(scene)[frames, :, None])[..., 0]
