"""What stereo odometry keeps from window to window: live features, points, their sightings, and the poses so far."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np

from curate.perception.camera.bundle import Observations, Points
from curate.perception.camera.features import PATCH


@dataclass
class Live:
    """The N features seen in the last frame."""

    point: np.ndarray  # [N] index of its point
    uvd: np.ndarray  # [N, 3] px
    sigma: np.ndarray  # [N, 3] px
    patches: np.ndarray  # [N, PATCH, PATCH] uint8 template
    rest: np.ndarray  # [N, 2] px, where in the template's middle pixel the feature lies
    template_disparity: np.ndarray  # [N] px + doffs, when the template was cut
    record: np.ndarray  # [N] how often it agreed with the camera's motion; negative: disagreed

    @staticmethod
    def none() -> Live:
        return Live(np.zeros(0, int), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, PATCH, PATCH), np.uint8),
                    np.zeros((0, 2), np.float32), np.zeros(0), np.zeros(0))

    def __len__(self) -> int:
        return len(self.point)

    def __getitem__(self, index) -> Live:
        return Live(*(getattr(self, f.name)[index] for f in fields(self)))

    def joined(self, other: Live) -> Live:
        return Live(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))

    def moved(self, uvd: np.ndarray) -> Live:
        return replace(self, uvd=uvd)


@dataclass
class Memory:
    """One clip's odometry so far. Sparse: poses of all frames, features and points of the last few."""

    rotation: list[np.ndarray] = field(default_factory=list)  # T_world_cam of every frame so far
    translation: list[np.ndarray] = field(default_factory=list)
    step_cov: list[np.ndarray] = field(default_factory=list)  # [6, 6] each, of the walk
    frame_cov: list[np.ndarray] = field(default_factory=list)  # [6, 6] each, of the pose alone
    rig_step: list[np.ndarray] = field(default_factory=list)  # [6] each: by how much a radian of rig pan moves it
    valid: list[bool] = field(default_factory=list)
    live: Live = field(default_factory=Live.none)
    points: Points = field(default_factory=lambda: Points(np.zeros((0, 3, 3)), np.zeros((0, 3)), np.zeros((0, 3))))
    born: np.ndarray = field(default_factory=lambda: np.zeros(0, int))  # [L] frame that first saw the point
    sightings: list[Observations] = field(default_factory=list)  # `frame` counts from the clip's start
    history: list[int] = field(default_factory=list)  # refined frames that still take part
    refined: int = 1  # frames before this one are published
    velocity: tuple[np.ndarray, np.ndarray] = field(default_factory=lambda: (np.eye(3), np.zeros(3)))
    variance: float = 1.0  # residual variance of the last refinement over the stated one

    @property
    def num_frames(self) -> int:
        return len(self.rotation)

    def add_points(self, uvd: np.ndarray, frame: int) -> np.ndarray:
        """New points seen at `uvd` [N, 3] in `frame`; their indices [N]."""
        num, at = len(uvd), len(self.born)
        self.points = Points(
            np.concatenate([self.points.ref_rotation, np.broadcast_to(self.rotation[frame], (num, 3, 3))]),
            np.concatenate([self.points.ref_translation, np.broadcast_to(self.translation[frame], (num, 3))]),
            np.concatenate([self.points.uvd, uvd]))
        self.born = np.concatenate([self.born, np.full(num, frame)])
        return np.arange(at, at + num)

    def see(self, frame: int, point: np.ndarray, uvd: np.ndarray, sigma: np.ndarray) -> None:
        if len(point):
            self.sightings.append(Observations(np.full(len(point), frame), point.copy(), uvd.copy(), sigma.copy()))

    def all_sightings(self) -> Observations:
        if not self.sightings:
            return Observations(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)), np.zeros((0, 3)))
        return Observations(*(np.concatenate([getattr(s, name) for s in self.sightings])
                              for name in ("frame", "point", "uvd", "sigma")))

    def forget(self, max_history: int) -> None:
        """Keeps the points of live features and the sightings of the frames that share many of them.

        Among those frames the oldest and the newest stay, the rest is thinned evenly: a camera that stands
        still is held by its first frame for good, one that drives by its last few.
        """
        seen = self.all_sightings()
        alive = np.zeros(len(self.born), bool)
        alive[self.live.point] = True
        seen = seen[alive[seen.point]]
        last = self.num_frames - 1
        shared = np.bincount(seen.frame, minlength=last + 1)
        enough = max(10, 0.15 * len(self.live))
        frames = [f for f in np.flatnonzero(shared >= enough) if f != last] + [last]
        if len(frames) > max_history:
            frames = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, max_history).round().astype(int))]
        self.history = [int(f) for f in frames]
        seen = seen[np.isin(seen.frame, self.history)]
        new_index = np.cumsum(alive) - 1
        self.sightings = [Observations(seen.frame, new_index[seen.point], seen.uvd, seen.sigma)]
        self.points, self.born = self.points[alive], self.born[alive]
        self.live = replace(self.live, point=new_index[self.live.point])

    def restart(self) -> None:
        """Drops everything that ties the last frame to those before it."""
        self.live, self.sightings, self.history = Live.none(), [], []
        self.points, self.born = self.points[:0], self.born[:0]
