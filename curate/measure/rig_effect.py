"""What one radian of pan left between the two cameras does to everything measured: one error for the whole scene.

A right camera panned by ψ sees all disparities f ψ (1 + x²) too large (x: right-image position in focal lengths), so
    ∂X/∂ψ = −X · Z (1 + x²) / B
in camera axes, and the camera's own motion is moved with it by `Scene.rig_step`.
"""

from __future__ import annotations

import numpy as np

from curate.geometry.rotations import skew
from curate.scene import Scene


def pan_of_points(points: np.ndarray, baseline_m: float) -> np.ndarray:
    """∂/∂ψ [n, 3] m/rad of points [n, 3] in camera axes, as measured by stereo."""
    depth = points[:, 2:]
    x = (points[:, :1] - baseline_m) / depth
    return -points * depth * (1 + x**2) / baseline_m


def pan_of_path(scene: Scene, points: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """∂/∂ψ [n, 3] m/rad of world points [n, 3] seen at `frames` [n], through the camera's steps up to there."""
    poses = scene.T_world_cam
    earlier, centre = poses.rotation[:-1], poses.translation[1:]  # step k leads from frame k to k + 1
    turn, shift = ((earlier @ scene.rig_step[1:, part, None])[..., 0] for part in (slice(3), slice(3, 6)))
    lever = points[:, None] - centre[None]
    moved = (skew(turn)[None] @ lever[..., None])[..., 0] + shift
    return (moved * (np.arange(len(centre)) < frames[:, None])[..., None]).sum(1)


def pan_turns(scene: Scene) -> np.ndarray:
    """∂/∂ψ [T, 3] of the camera's rotation from the first frame, rad/rad, world axes."""
    turn = (scene.T_world_cam.rotation[:-1] @ scene.rig_step[1:, :3, None])[..., 0]
    return np.concatenate([np.zeros((1, 3)), np.cumsum(turn, 0)])
