"""Hand-made scene truths for the tests of the renderer and of the truth."""

from __future__ import annotations

import numpy as np

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose
from curate.synth.scene import SUB, Body, SceneTruth

CAMERA = Intrinsics(300.0, 300.0, 159.5, 89.5, 320, 180)
BASELINE = 0.2


def path(positions: np.ndarray, rotations: np.ndarray | None = None, names: tuple[str, str] = ("world", "obj")) -> Pose:
    positions = np.atleast_2d(np.asarray(positions, float))
    if rotations is None:
        rotations = np.broadcast_to(np.eye(3), (len(positions), 3, 3))
    return Pose(*names, rotations, positions)


def body(object_id: int, shape: str, size, T_world_obj: Pose, contrast: float = 0.9) -> Body:
    motion = "still" if len(T_world_obj) == 1 else "constant"
    size = np.broadcast_to(np.asarray(size, float), 3).copy()
    return Body(object_id, shape, size, T_world_obj, motion, 7 + object_id, 0.4, contrast,
                np.array([[0.5, 0.45, 0.4], [0.35, 0.4, 0.5]]))


def wall(z: float = 12.0) -> Body:
    """The still world: its face is the plane at depth z."""
    return body(0, "box", [200, 200, 2], path([0, 0, z + 1]))


def scene(*bodies: Body, num_frames: int = 5, fps: float = 10.0, T_world_cam: Pose | None = None,
          noise_grey: float = 0.0) -> SceneTruth:
    fine = (num_frames - 1) * SUB + 1
    if T_world_cam is None:
        T_world_cam = path(np.zeros((fine, 3)), names=("world", "cam"))
    return SceneTruth("hand-made", (0, 0), "test", "still", fps, num_frames, StereoRig(CAMERA, BASELINE), T_world_cam,
                      bodies, np.array([0, -1.0, 0]), noise_grey, 1.0, 18)


def line(start, velocity, num_frames: int = 5, fps: float = 10.0) -> np.ndarray:
    """[F, 3] positions at constant velocity, m/s, on the fine grid."""
    t = np.arange((num_frames - 1) * SUB + 1) / (fps * SUB)
    return np.asarray(start, float) + t[:, None] * np.asarray(velocity, float)
