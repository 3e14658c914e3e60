"""Teacher tensors of a clip: what a 4D perception teacher would say of every frame, on a small grid.

Dense signals that a model can be distilled from, with nan where nothing is known. They lie in twin tars beside the
samples (`curate.shards.teacher_parts`); `curate.shards.read(..., teacher=True)` gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from curate.geometry.cells import Cells

SPREAD_PX = 1.0  # four flows that differ by more are of two motions: the nearest is taken, not their mean


@dataclass(eq=False)
class TeacherTensors:
    """T frames on a grid of h x w cells. All arrays but the times are float32 in memory, nan where unknown.

    Axes are OpenCV's (x right, y down, z forward); pixels are cells of the grid, their centres at whole numbers.

    Attributes:
        time_s: [T] float64 seconds from the clip's first frame, rising.
        depth: [T, h, w] metres along the optical axis (of arbitrary unit where not `metric`).
        flow: [T, h, w, 2] backward optical flow (x, y) in pixels of this grid: what is at x in frame t was at
            x + flow in frame t - 1. Frame 0 has none.
        dynamic: [T, h, w] 1 where the surface moves in the world between this frame and a neighbouring one (the next;
            in the last frame the one before), 0 where it stands.
        K: [T, 3, 3] pinhole camera of this grid.
        T_world_cam: [T, 3, 4] camera to world; the world is the camera at the first frame.
        metric: whether depth and translations are in metres.
        source: who made it, "depth=sgm@3 flow=dis@2 ...".
        latent: [T', h', w', C] features of a teacher's encoder for the whole clip, or None.
        latent_id: name of that teacher, "" where there is none.
    """

    time_s: np.ndarray
    depth: np.ndarray
    flow: np.ndarray
    dynamic: np.ndarray
    K: np.ndarray
    T_world_cam: np.ndarray
    metric: bool
    source: str
    latent: np.ndarray | None = field(default_factory=lambda: None)  # no class attribute: see Stored
    latent_id: str = field(default_factory=str)

    @property
    def num_frames(self) -> int:
        return len(self.time_s)

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w)."""
        return self.depth.shape[1], self.depth.shape[2]

    def camray(self) -> np.ndarray:
        """[T, h, w, 6] Plücker coordinates of the ray through each cell, in the axes of the first camera: unit
        direction d, then moment m = c × d with c the camera's centre (metres). nan where the pose is unknown."""
        height, width = self.grid
        u, v = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
        pixels = np.stack([u, v, np.ones_like(u)], -1)
        poses = self.T_world_cam.astype(float)
        rays = np.einsum("tij,hwj->thwi", poses[..., :3] @ np.linalg.inv(self.K.astype(float)), pixels)
        d = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
        return np.concatenate([d, np.cross(poses[:, None, None, :, 3], d)], -1).astype(np.float32)

    def at(self, times_s: Sequence[float] | np.ndarray) -> TeacherTensors:
        """The frames nearest to some times, as a clip of their own.

        Flow is from each chosen frame to the one chosen before it: composed along the frames between them, nan where
        that loses its way or where time goes back. The world is the camera at the first chosen frame. Latents are of
        the whole clip and stay.

        Args:
            times_s: [N] seconds from the clip's first frame.

        Raises:
            ValueError: where there is none, or a time is no number.
        """
        times = np.asarray(times_s, float)
        if times.ndim != 1 or not len(times) or not np.isfinite(times).all():
            raise ValueError(f"at: times of shape {times.shape}; expected one or more finite seconds, such as [0, 0.5]")
        index = np.abs(self.time_s[None] - times[:, None]).argmin(1)
        flow = np.full((len(index), *self.flow.shape[1:]), np.nan, np.float32)
        for n in range(1, len(index)):
            flow[n] = composed(self.flow, index[n - 1], index[n])
        return replace(self, time_s=self.time_s[index], depth=self.depth[index], flow=flow,
                       dynamic=self.dynamic[index], K=self.K[index],
                       T_world_cam=first_camera_world(self.T_world_cam[index]), latent=self.latent)

    def resized(self, height: int, width: int) -> TeacherTensors:
        """On another grid: the median of the surface that fills most of a cell, or the nearest cell of this one.

        Raises:
            ValueError: where a side is not positive.
        """
        if (height, width) == self.grid:
            return self
        cells = Cells(self.grid, (height, width))
        scale = np.array([width / self.grid[1], height / self.grid[0]], np.float32)
        depth, flow, dynamic = [], [], []
        for z, f, moving in zip(self.depth, self.flow, self.dynamic):
            chosen, same = cells.surface(z)
            depth.append(chosen)
            flow.append(np.stack([cells.median(f[..., k], same) for k in (0, 1)], -1) * scale)
            dynamic.append(cells.majority(moving, same))
        K = self.K.copy()
        K[:, :2] *= scale[:, None]
        K[:, 0, 2] += (scale[0] - 1) / 2  # centres are at whole numbers: (c + 1/2) s - 1/2
        K[:, 1, 2] += (scale[1] - 1) / 2
        return replace(self, depth=np.stack(depth), flow=np.stack(flow), dynamic=np.stack(dynamic), K=K,
                       latent=self.latent)


NAMES = tuple(f.name for f in fields(TeacherTensors))


class Stored(TeacherTensors):
    """Teacher tensors in a shard, read when one of them is first asked for. Pickles as plain ones."""

    def __init__(self, read: Callable[[], TeacherTensors]) -> None:
        self.__dict__["_read"] = read

    def __getattr__(self, name: str) -> object:  # only called for what is not there
        if name in NAMES and (read := self.__dict__.get("_read")) is not None:
            self.__dict__.update(vars(read()))
            self.__class__ = TeacherTensors
            self.__dict__.pop("_read", None)
        if name not in self.__dict__:
            raise AttributeError(name)
        return self.__dict__[name]  # another thread may have read it meanwhile

    def __repr__(self) -> str:
        return "TeacherTensors(not read yet)"

    def __reduce__(self) -> tuple:
        return TeacherTensors, tuple(getattr(self, name) for name in NAMES)


def first_camera_world(T_world_cam: np.ndarray) -> np.ndarray:
    """[T, 3, 4] poses with the world at the first of them; all nan where that one is."""
    poses = T_world_cam.astype(float)
    if np.array_equal(poses[0], np.eye(4)[:3]):
        return T_world_cam.copy()
    back = poses[0, :, :3].T
    moved = np.concatenate([back @ poses[..., :3], (back @ (poses[..., 3:] - poses[0, :, 3:]))], -1)
    return moved.astype(np.float32)


def composed(flow: np.ndarray, before: int, after: int) -> np.ndarray:
    """[h, w, 2] backward flow from frame `after` to `before`, through the frames between them.

    Args:
        flow: [T, h, w, 2] backward flow of neighbouring frames.
        before, after: frames; the same one gives zeros, a later `before` nan.
    """
    height, width = flow.shape[1:3]
    if after < before:
        return np.full((height, width, 2), np.nan, np.float32)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    total = np.zeros_like(grid)
    for frame in range(after, before, -1):
        total += flow[frame] if frame == after else _sampled(flow[frame], grid + total)
    return total


def _sampled(flow: np.ndarray, at: np.ndarray) -> np.ndarray:
    """[h, w, 2] of flow at positions [h, w, 2]: bilinear within one motion, else the nearest cell's; nan outside."""
    height, width = flow.shape[:2]
    x, y = at.reshape(-1, 2).T
    known = np.flatnonzero((x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5))  # False for nan
    x, y = np.clip(x[known], 0, width - 1), np.clip(y[known], 0, height - 1)
    x0, y0 = np.minimum(x.astype(np.intp), max(width - 2, 0)), np.minimum(y.astype(np.intp), max(height - 2, 0))
    right, down = min(width - 1, 1), min(height - 1, 1) * width
    corner = y0 * width + x0
    cells = flow.reshape(-1, 2)
    four = cells[corner + np.array([[0], [right], [down], [down + right]])]  # [4, n, 2]
    a, b = x - x0, y - y0
    weights = np.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b])
    smooth = (four.max(0) - four.min(0) <= SPREAD_PX).all(-1)  # False for nan
    nearest = cells[corner + (a > 0.5) * right + (b > 0.5) * down]
    out = np.full_like(cells, np.nan)
    out[known] = np.where(smooth[:, None], np.einsum("kn,knc->nc", weights, four), nearest)
    return out.reshape(flow.shape)
