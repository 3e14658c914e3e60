"""A plate that moves before a wall and over a ground, with every field known in closed form. For tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3
from curate.perception.estimator import Field, Resources
from curate.perception.tracks.points import TrackPoints
from curate.sources.base import ClipSpec, View

WALL_Z, GROUND_Y = 14.0, 1.3


def clip(num_frames: int) -> ClipSpec:
    return ClipSpec("ab" * 12, "fake", "fake", "fake", 0, num_frames)


@dataclass
class Plate:
    """A textured rectangle: `centre(t)` [3] world metres, `turn(t)` rotation vector, half sizes in metres."""

    centre: object
    turn: object = lambda t: np.zeros(3)
    half: tuple[float, float] = (0.6, 0.5)
    phase: float = 0.0

    def pose(self, t: float) -> Pose:
        return Pose("world", "plate", exp_so3(self.turn(t)), np.asarray(self.centre(t), float))


@dataclass
class AnalyticFrames:
    """`Frames` of the scene, and its truth: `hits(t)` gives points and who was hit."""

    plates: list[Plate]
    num_frames: int = 12
    camera_at: object = lambda t: Pose.identity("world", "cam")
    size: tuple[int, int] = (320, 240)
    baseline: float = 0.2
    given: dict = field(default_factory=dict)
    scale: str = "calibrated"
    is_grey: bool = False
    grain: float = 10.0  # of the texture, radians per metre

    def __post_init__(self) -> None:
        width, height = self.size
        self.camera = Intrinsics(0.9 * width, 0.9 * width, width / 2 - 0.5, height / 2 - 0.5, width, height)
        self.rig = StereoRig(self.camera, self.baseline)
        self.views = (View("left", self.camera, Pose.identity("rig", "left")),
                      View("right", self.camera, Pose("rig", "right", np.eye(3), np.array([self.baseline, 0, 0]))))
        self.time_s = np.arange(self.num_frames) / 10
        self.reads: list[tuple[int, int]] = []
        self.seen: dict[int, tuple] = {}

    def hits(self, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if t not in self.seen:
            self.seen[t] = self._hits(t)
        return self.seen[t]

    def _hits(self, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """points [H, W, 3] in camera axes, owner [H, W] (0 scenery, k = plate k), surface coordinates [H, W, 3]."""
        pose = self.camera_at(t)
        rays = self.camera.rays() @ pose.rotation.T  # world
        origin = pose.translation
        with np.errstate(divide="ignore", invalid="ignore"):
            wall = (WALL_Z - origin[2]) / rays[..., 2]
            ground = np.where(rays[..., 1] > 1e-9, (GROUND_Y - origin[1]) / rays[..., 1], np.inf)
        depth = np.minimum(wall, ground)
        owner = np.zeros(depth.shape, int)
        surface = origin + depth[..., None] * rays
        for k, plate in enumerate(self.plates, 1):
            T = plate.pose(t)
            normal = T.rotation[:, 2]
            with np.errstate(divide="ignore", invalid="ignore"):
                s = ((T.translation - origin) @ normal) / (rays @ normal)
            local = T.inverse() @ (origin + s[..., None] * rays).reshape(-1, 3)
            local = local.reshape(*s.shape, 3)
            hit = (np.abs(local[..., 0]) < plate.half[0]) & (np.abs(local[..., 1]) < plate.half[1]) & (s > 0)
            hit &= s < depth
            depth = np.where(hit, s, depth)
            owner[hit] = k
            surface = np.where(hit[..., None], local + plate.phase, surface)
        return self.camera.rays() * depth[..., None], owner, surface

    def image(self, t: int) -> np.ndarray:
        _, owner, surface = self.hits(t)
        grey = np.zeros(owner.shape)
        rng = np.random.default_rng(0)
        for _ in range(12):
            wave = self.grain * rng.normal(size=3)
            grey += np.sin(surface @ wave + rng.uniform(0, 6))
        return np.clip(128 + 25 * grey, 0, 255).astype(np.uint8)

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        self.reads.append((start, stop))
        left = np.stack([np.repeat(self.image(t)[..., None], 3, -1) for t in range(start, stop)])
        return [left, left]

    def close(self) -> None: ...


class Exact:
    """An estimator that tells the truth about some fields of the scene."""

    version = "1"
    window, overlap, resources = 2, 1, Resources()

    def __init__(self, frames: AnalyticFrames, *gives: str) -> None:
        self.frames, self.gives, self.needs = frames, gives, ()
        self.name = "exact-" + "-".join(gives)

    def setup(self) -> None: ...

    def run(self, window) -> dict[str, Field]:
        return {name: getattr(self, name)(window) for name in self.gives}

    def _field(self, values, valid, sigma, **info) -> Field:
        return Field(values, valid, sigma, f"{self.name}@{self.version}", info)

    def disparity(self, window) -> Field:
        depth = np.stack([self.frames.hits(window.start + j)[0][..., 2] for j in range(window.num_frames)])
        d = self.frames.rig.disparity(depth).astype(np.float32)
        return self._field(d, np.ones(d.shape, bool), np.full(d.shape, 0.02, np.float32))

    def flow(self, window) -> Field:
        n, frames = window.num_frames, self.frames
        height, width = window.grey[0].shape[1:]
        values = np.zeros((n, height, width, 2), np.float32)
        valid = np.zeros((n, height, width), bool)
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)
        for j in range(n - 1):
            t = window.start + j
            points, owner, _ = frames.hits(t)
            later = np.stack([(_motion(frames, k, t) @ points.reshape(-1, 3)).reshape(points.shape)
                              for k in range(len(frames.plates) + 1)])
            moved = np.take_along_axis(later, owner[None, ..., None], 0)[0]
            uv = frames.camera.project(moved)
            values[j] = uv - grid
            column, row = np.rint(uv[..., 0]).astype(int), np.rint(uv[..., 1]).astype(int)
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            seen = np.zeros(owner.shape, bool)
            seen[inside] = frames.hits(t + 1)[1][row[inside], column[inside]] == owner[inside]
            valid[j] = seen
        return self._field(values, valid, np.full((n, height, width), 0.05, np.float32))

    def camera(self, window) -> Field:
        poses = [self.frames.camera_at(window.start + j) for j in range(window.num_frames)]
        pose = Pose("world", "cam", np.stack([p.rotation for p in poses]), np.stack([p.translation for p in poses]))
        covariance = np.tile(np.eye(6) * 1e-10, (window.num_frames, 1, 1))
        return self._field(pose, np.ones(window.num_frames, bool), covariance)

    def motion(self, window) -> Field:
        n = window.num_frames
        values, valid = [], []
        for j in range(n):
            t = window.start + j
            owner = self.frames.hits(t)[1]
            moves = [0.0] + [float(np.linalg.norm(p.pose(t + 1).translation - p.pose(t).translation) > 0.005)
                             for p in self.frames.plates]
            values.append(np.array(moves)[owner] * 20)
            valid.append(np.full(owner.shape, j < n - 1))
        return self._field(np.array(values, np.float32), np.array(valid), None, threshold=4.0)


def _motion(frames: AnalyticFrames, owner: int, t: int) -> Pose:
    """T_cam@t+1_cam@t of what `owner` shows."""
    a, b = frames.camera_at(t), frames.camera_at(t + 1)
    if owner == 0:
        world = Pose.identity("world", "world")
    else:
        plate = frames.plates[owner - 1]
        world = plate.pose(t + 1) @ plate.pose(t).inverse()
    return b.inverse() @ world @ a


class ExactTracks(Exact):
    """Regions and tracks as they truly are: every `stride`-th visible pixel of a plate's first frame."""

    def __init__(self, frames: AnalyticFrames, stride: int = 6) -> None:
        super().__init__(frames, "regions", "tracks")
        points, owner, _ = frames.hits(0)
        picked = np.zeros(owner.shape, bool)
        picked[::stride, ::stride] = True
        rows, columns = np.nonzero(picked & (owner > 0))
        self.start, self.owner = points[rows, columns], owner[rows, columns]

    def regions(self, window) -> Field:
        labels = np.stack([self.frames.hits(window.start + j)[1] for j in range(window.num_frames)]).astype(np.int16)
        return self._field(labels, labels > 0, None)

    def tracks(self, window) -> Field:
        return self._field([self._points(window.start + j) for j in range(window.num_frames)], None, None)

    def _points(self, t: int) -> TrackPoints:
        frames = self.frames
        now = np.stack([_carried(frames, k, t) @ self.start for k in range(1, len(frames.plates) + 1)])
        now = np.take_along_axis(now, (self.owner - 1)[None, :, None], 0)[0]
        uv = frames.camera.project(now)
        column, row = np.rint(uv).astype(int).T
        width, height = frames.size
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        seen = inside.copy()
        seen[inside] = frames.hits(t)[1][row[inside], column[inside]] == self.owner[inside]
        ones = np.ones(seen.sum())
        return TrackPoints(np.flatnonzero(seen), self.owner[seen].astype(np.int16), uv[seen], 0.05 * ones,
                           frames.rig.disparity(now[seen, 2]), 0.05 * ones)


def _carried(frames: AnalyticFrames, owner: int, t: int) -> Pose:
    """T_cam@t_cam@0 of plate `owner`."""
    plate = frames.plates[owner - 1]
    return frames.camera_at(t).inverse() @ plate.pose(t) @ plate.pose(0).inverse() @ frames.camera_at(0)


def true_path(frames: AnalyticFrames, owner: int, mask_first: np.ndarray) -> np.ndarray:
    """[T, 3] camera axes: the mean surface point under `mask_first` at frame 0, carried by plate `owner`."""
    reference = frames.hits(0)[0][mask_first].mean(0)
    return np.stack([_carried(frames, owner, t) @ reference for t in range(frames.num_frames)])
