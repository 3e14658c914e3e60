"""Teacher tensors of a clip, kept while it is perceived: dense fields brought to a small grid, window by window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from curate.geometry.cells import Cells
from curate.shards.teacher import TeacherTensors, first_camera_world
from curate.shards.teacher_parts import STAGED, from_parts, pack, to_parts, unpack

if TYPE_CHECKING:
    from curate.geometry.cameras import Intrinsics
    from curate.perception.estimator import Field, Window
    from curate.recipe.model import TeacherConfig
    from curate.scene import Scene

FIELDS = {"depth": "depth", "flow": "flow", "dynamic": "motion", "pose": "camera"}  # signal: field that fills it


def grid_of(camera: Intrinsics, config: TeacherConfig) -> tuple[int, int]:
    """(h, w) of the teacher's grid for frames of this camera: never finer than the frames."""
    height = min(config.height, camera.height)
    width = config.width or round(height * camera.width / camera.height)
    return height, max(1, min(width, camera.width))


class TeacherTap:
    """Takes every window once and keeps depth, backward flow and what moves, at teacher resolution.

    Each cell speaks of one surface, the one that fills most of it: its depth is that of one of its pixels, its flow the
    median over them, and it moves where most of them do. Flow backwards from frame t is that of the pixels of t - 1
    which end there: where nothing ends (what comes into sight) it is unknown.
    """

    def __init__(self, camera: Intrinsics, config: TeacherConfig) -> None:
        self._cells = Cells((camera.height, camera.width), grid_of(camera, config))
        self._scale = np.array([self._cells.grid[1] / camera.width, self._cells.grid[0] / camera.height], np.float32)
        self._depth: list[np.ndarray] = []
        self._flow: list[np.ndarray] = []
        self._dynamic: list[np.ndarray] = []

    def __call__(self, window: Window) -> None:
        depth, flow, motion = (window.fields.get(name) for name in ("depth", "flow", "motion"))
        for i in range(max(0, window.overlap - 1), window.num_frames):
            z = _known(depth, i)
            chosen, same = self._cells.surface(np.full(self._cells.shape, np.nan, np.float32) if z is None else z)
            ended = None if flow is None or i == 0 else carried(flow.values[i - 1], _valid(flow, i - 1))
            if i >= window.overlap:
                with np.errstate(over="ignore"):  # further than float16 reaches: unknown, when it is stored
                    self._depth.append(chosen.astype(np.float16))
                    self._flow.append(self._backward(flow, i, ended, same).astype(np.float16))
            # the motion of a window's last frame is known in the next one only, which sees it again
            if i < window.num_frames - 1:
                self._dynamic.append(self._moving(_moving(motion, i), same))
            elif window.is_last:
                before = _moving(motion, i - 1)
                self._dynamic.append(self._moving(None if before is None else _brought(before, ended), same))

    def _backward(self, flow: Field | None, i: int, ended: np.ndarray | None, same: np.ndarray) -> np.ndarray:
        if flow is None or ended is None:
            return np.full((*self._cells.grid, 2), np.nan, np.float32)
        axes = [self._cells.median(_brought(-flow.values[i - 1][..., k], ended), same) for k in (0, 1)]
        return np.stack(axes, -1) * self._scale

    def _moving(self, image: np.ndarray | None, same: np.ndarray) -> np.ndarray:
        if image is None:
            return np.full(self._cells.grid, np.nan, np.float16)
        return self._cells.majority(image, same).astype(np.float16)

    def finish(self, scene: Scene) -> dict[str, bytes]:
        """The file of the staged clip, with the camera and the poses of its scene."""
        from curate.questions.gates import METRIC_SCALES

        assert len(self._depth) == len(self._dynamic) == scene.num_frames
        height, width = self._cells.grid
        K = np.repeat(scene.camera.scaled(width, height).matrix[None], scene.num_frames, 0)
        poses = scene.T_world_cam.matrix()[:, :3].astype(np.float32)
        # what comes after a frame whose motion was lost has no known place beside the first
        poses[np.logical_or.accumulate(np.append(False, ~scene.camera_valid[1:]))] = np.nan
        source = " ".join(f"{name}={scene.origin[key]}" for name, key in FIELDS.items() if key in scene.origin)
        tensors = TeacherTensors(
            time_s=np.asarray(scene.time_s, float) - scene.time_s[0], depth=np.stack(self._depth),
            flow=np.stack(self._flow), dynamic=np.stack(self._dynamic), K=K.astype(np.float32),
            T_world_cam=first_camera_world(poses), metric=scene.scale in METRIC_SCALES, source=source)
        return {STAGED: pack(to_parts(tensors))}


def carried(flow: np.ndarray, valid: np.ndarray | bool = True) -> np.ndarray:
    """[H, W] for each pixel of a frame, which pixel (counted row by row) of the frame before ends there; -1 for none.

    Args:
        flow: [H, W, 2] of the frame before, to this one. valid: [H, W].
    """
    height, width = flow.shape[:2]
    v, u = np.nonzero(valid & np.isfinite(flow).all(-1))
    x = np.rint(u + flow[v, u, 0]).astype(int)
    y = np.rint(v + flow[v, u, 1]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    source = np.full((height, width), -1)
    source[y[inside], x[inside]] = (v * width + u)[inside]
    return source


def _brought(image: np.ndarray, source: np.ndarray) -> np.ndarray:
    """[H, W] values of the frame before, at the pixels where they end; nan where none does."""
    return np.where(source >= 0, image.reshape(-1)[source], np.float32(np.nan))


def _valid(field: Field, i: int) -> np.ndarray | bool:
    """[H, W]; True where a source says nothing of it."""
    return True if field.valid is None else field.valid[i]


def _known(field: Field | None, i: int) -> np.ndarray | None:
    return None if field is None else np.where(_valid(field, i), field.values[i], np.float32(np.nan))


def _moving(motion: Field | None, i: int) -> np.ndarray | None:
    """[H, W] 0, 1, nan of one frame."""
    if motion is None:
        return None
    moving = (motion.values[i] > motion.info.get("threshold", 0.5)).astype(np.float32)
    return np.where(_valid(motion, i), moving, np.float32(np.nan))


def staged_teacher(folder: Path) -> TeacherTensors:
    """The teacher tensors of a staged clip.

    Raises:
        ShardError: where they are torn. FileNotFoundError.
    """
    path = folder / STAGED
    return from_parts(unpack(path.read_bytes(), str(path)), str(path))


def parts_of(folder: Path, change: Callable[[TeacherTensors], TeacherTensors] | None = None) -> dict[str, bytes]:
    """Parts of the twin shard for a staged clip, or for a variant of it.

    Raises:
        ShardError: where they are torn. FileNotFoundError.
    """
    if change is not None:
        return to_parts(change(staged_teacher(folder)))
    path = folder / STAGED
    parts = unpack(path.read_bytes(), str(path))
    from_parts(parts, str(path))  # a torn one is found here, not by a reader
    return parts
