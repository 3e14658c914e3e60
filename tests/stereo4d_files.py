"""Files laid out as Stereo4D publishes them, of worlds in closed form."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3
from tests.spherical_scene import EYES_M, Room, eye_centres, write

# the published world is no camera's: somewhere, turned
WORLD = Pose("published", "world", exp_so3(np.array([0.3, -1.1, 0.4])), np.array([5.0, -2.0, 11.0]))


def camera(size: int = 128, fov_deg: float = 60.0) -> Intrinsics:
    focal = size / 2 / np.tan(np.radians(fov_deg) / 2)
    return Intrinsics(focal, focal, (size - 1) / 2, (size - 1) / 2, size, size)


@dataclass
class Tracks:
    """[N, T, 3] world metres, nan where not observed; which are of the plate; and the left camera's path."""

    points: np.ndarray
    on_plate: np.ndarray
    path: Pose
    time_s: np.ndarray


def room_tracks(room: Room, view: Intrinsics, num_frames: int = 24, fps: float = 10.0, step: int = 4, every: int = 10,
                disparity_px: float = 0.0, pixel_px: float = 0.0, plate_bias_px: float = 0.0, seed: int = 0) -> Tracks:
    """Points of a grid of every `step` pixels, taken at every `every`-th frame and followed where they are seen from
    the left eye; with errors of stereo where asked for: noise of each observation, and a bias of the plate's
    disparity that stays."""
    time_s = np.arange(num_frames) / fps
    path = Pose("world", "cam", np.tile(np.eye(3), (num_frames, 1, 1)),
                np.stack([eye_centres(room, t)[0] for t in time_s]))
    u, v = np.meshgrid(np.arange(step // 2, view.width, step), np.arange(step // 2, view.height, step))
    rays = view.lift(np.stack([u, v], -1), np.ones(u.shape)).reshape(-1, 3)
    found, plate = [], []
    for start in range(0, num_frames, every):
        length, on_plate = room.hits(path.translation[start], rays, time_s[start])
        points = path.translation[start] + rays * length[:, None]
        moved = np.array([room.plate(t) - room.plate(time_s[start]) for t in time_s])
        found.append(points[:, None] + np.where(on_plate[:, None, None], moved, 0))
        plate.append(on_plate)
    points, on_plate = np.concatenate(found), np.concatenate(plate)
    rng = np.random.default_rng(seed)
    for t in range(num_frames):
        sight = points[:, t] - path.translation[t]
        uv = view.project(sight)
        first, _ = room.hits(path.translation[t], sight, time_s[t])
        seen = (first > 1 - 1e-6) & (uv > -0.5).all(1) & (uv < view.width - 0.5).all(1)
        disparity = view.fx * EYES_M / sight[:, 2] + rng.normal(0, 1, len(points)) * disparity_px
        disparity += plate_bias_px * on_plate
        noisy = view.lift(uv + rng.normal(0, 1, uv.shape) * pixel_px, view.fx * EYES_M / disparity)
        points[:, t] = np.where(seen[:, None], noisy + path.translation[t], np.nan)
    return Tracks(points, on_plate, path, time_s)


def arrays(tracks: np.ndarray, path: Pose, time_s: np.ndarray, name: str = "abc-DEF_123_66957") -> dict:
    """The arrays of an npz, in a world of their own."""
    seen = np.isfinite(tracks[..., 0])
    kept = seen.any(1)
    tracks, seen = tracks[kept], seen[kept]
    pose = WORLD @ path
    coordinates = tracks[seen] @ WORLD.rotation.T + WORLD.translation
    return {"name": np.array(name), "video_id": np.array(name.rsplit("_", 1)[0]),
            "timestamps": np.rint((time_s + 0.066957) * 1e6).astype(np.int64), "camera2world": pose.matrix()[:, :3],
            "track_lengths": seen.sum(1), "track_indices": np.nonzero(seen)[1],
            "track_coordinates": coordinates.astype(np.float32), "rectified2rig": np.tile(np.eye(3), (2, 1, 1)),
            "fov_bounds": np.array([-90.0, 90.0, -90.0, 90.0])}


@dataclass
class Dataset:
    root: Path
    name: str = "abc-DEF_123_66957"
    written: dict = field(default_factory=dict)

    @property
    def npz(self) -> Path:
        return self.root / "npz" / f"{self.name}.npz"

    def annotate(self, **changes) -> Dataset:
        """Writes the npz, with arrays changed, or left out where the change is None."""
        self.npz.parent.mkdir(parents=True, exist_ok=True)
        kept = {k: v for k, v in {**self.written, **changes}.items() if v is not None}
        np.savez_compressed(self.npz, **kept)
        return self

    def video(self, eye: str, frames: np.ndarray, fps: float = 30.0) -> Path:
        """Rectified video of an eye: as the published tools write it, at 30 frames a second whatever the times are."""
        return write(self.root / "processed" / self.name / f"{self.name}-{eye}_rectified.mp4", frames, fps=fps)


def room_dataset(root: Path, room: Room, view: Intrinsics, eyes: tuple[str, ...] = ("left",), **settings) -> Dataset:
    """A clip of the room, with the video of each eye."""
    tracks = room_tracks(room, view, **settings)
    dataset = Dataset(root)
    dataset.written = arrays(tracks.points, tracks.path, tracks.time_s, dataset.name)
    dataset.annotate()
    for number, eye in enumerate(("left", "right")):
        if eye in eyes:
            dataset.video(eye, np.stack([room.colours(eye_centres(room, t)[number], view.rays(), t)
                                         for t in tracks.time_s]))
    return dataset


def cloud(rng: np.random.Generator, centre, size: float, count: int) -> np.ndarray:
    """[count, 3] on a bowed piece of surface that faces the camera."""
    x, y = rng.uniform(-size / 2, size / 2, (2, count))
    return np.asarray(centre) + np.stack([x, y, 0.3 * (x**2 + y**2) / size], 1)
