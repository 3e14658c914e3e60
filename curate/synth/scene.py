"""SceneTruth: one scene with everything in it known: the rig, every pose, every shape and its texture.

Motion is kept on a grid `SUB` times finer than the frames, so that arc lengths and peak speeds are those of the
continuous motion and not of its samples. Stored as npz without pickle.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose

SUB = 8  # fine time steps between two frames
FORMAT = 1


@dataclass(frozen=True)
class Body:
    """A rigid textured body.

    Args:
        id: ≥ 1 for an object one may ask about; 0 for the still world (ground, walls, clutter).
        shape: "box" or "sphere".
        size: [3] side lengths of a box, or three times the diameter of a sphere; metres.
        T_world_obj: [F] poses on the fine time grid; F = 1 where it does not move.
        motion: "still", "constant", "accelerating", "arc" or "vertical".
        texture_seed, texture_scale_m, contrast: the noise painted on it, in its own coordinates.
        colours: [2, 3] RGB in 0..1.
    """

    id: int
    shape: str
    size: np.ndarray
    T_world_obj: Pose
    motion: str
    texture_seed: int
    texture_scale_m: float
    contrast: float
    colours: np.ndarray

    @property
    def moves(self) -> bool:
        return self.motion != "still"

    def pose(self, fine_index) -> Pose:
        """T_world_obj at an index, or a slice, of the fine grid."""
        if len(self.T_world_obj) == 1:
            one = self.T_world_obj[0]
            if isinstance(fine_index, slice):
                raise IndexError("a still body has one pose; index it with a number")
            return one
        return self.T_world_obj[fine_index]

    def points(self, point_obj: np.ndarray, fine: np.ndarray) -> np.ndarray:
        """World positions [n, 3] of a point [3] of the body at fine indices [n]."""
        index = np.zeros_like(fine) if len(self.T_world_obj) == 1 else fine
        poses = self.T_world_obj[index]
        return poses.rotation @ np.asarray(point_obj, float) + poses.translation

    def nearest(self, camera_world: np.ndarray, fine_index: int) -> float:
        """Distance of the body's nearest surface point to a point [3] outside it, metres."""
        p = self.pose(fine_index).inverse() @ np.asarray(camera_world, float)
        if self.shape == "sphere":
            return float(np.linalg.norm(p) - self.size[0] / 2)
        return float(np.linalg.norm(np.maximum(np.abs(p) - self.size / 2, 0)))


@dataclass(frozen=True)
class SceneTruth:
    """
    Args:
        name: unique in a data set; names its files.
        seed: (seed, index) it was drawn with.
        setting, camera_motion: names in the distribution.
        fps: frames per second; `time_s` follows from it exactly.
        num_frames: T.
        rig: the rectified stereo pair.
        T_world_cam: [F] on the fine grid, F = (T - 1) * SUB + 1; identity at 0 (the world is camera 0).
        bodies: the still world and the objects.
        light_world: [3] unit vector towards the light.
        noise_grey, gain_right, crf: imaging noise, exposure of the right view, compression.
        rig_rotation_deg: rotation vector of the right camera in the axes of the rig (tilt about x, pan about y, roll
            about z): how far the rig is from `rig`, which is what its published calibration says.
    """

    name: str
    seed: tuple[int, int]
    setting: str
    camera_motion: str
    fps: float
    num_frames: int
    rig: StereoRig
    T_world_cam: Pose
    bodies: tuple[Body, ...]
    light_world: np.ndarray
    noise_grey: float
    gain_right: float
    crf: int
    rig_rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def time_s(self) -> np.ndarray:
        """[T] seconds."""
        return np.arange(self.num_frames) / self.fps

    @property
    def fine_time_s(self) -> np.ndarray:
        """[F] seconds."""
        return np.arange((self.num_frames - 1) * SUB + 1) / (self.fps * SUB)

    @property
    def objects(self) -> tuple[Body, ...]:
        return tuple(body for body in self.bodies if body.id)

    def object(self, object_id: int) -> Body:
        return next(body for body in self.objects if body.id == object_id)

    def camera(self, frame: int) -> Pose:
        """T_world_cam at a frame."""
        return self.T_world_cam[frame * SUB]

    def to_bytes(self) -> bytes:
        """npz: poses as arrays, the rest as json in `meta`."""
        arrays = {"camera.rotation": self.T_world_cam.rotation, "camera.translation": self.T_world_cam.translation,
                  "light_world": self.light_world}
        bodies = []
        for index, body in enumerate(self.bodies):
            arrays[f"b{index}.rotation"] = body.T_world_obj.rotation
            arrays[f"b{index}.translation"] = body.T_world_obj.translation
            arrays[f"b{index}.size"], arrays[f"b{index}.colours"] = body.size, body.colours
            bodies.append({f.name: getattr(body, f.name) for f in fields(body)
                           if f.name not in ("T_world_obj", "size", "colours")})
        meta = {f.name: getattr(self, f.name) for f in fields(self)
                if f.name not in ("T_world_cam", "light_world", "bodies", "rig")}
        meta |= {"format": FORMAT, "bodies": bodies, "camera": vars(self.rig.left), "baseline_m": self.rig.baseline_m}
        arrays["meta"] = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)
        out = io.BytesIO()
        np.savez_compressed(out, **arrays)
        return out.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> SceneTruth:
        """
        Raises:
            ValueError: on a file of another kind or format.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as npz:
                arrays = {name: npz[name] for name in npz.files}
            meta = json.loads(bytes(arrays["meta"]))
            if meta.pop("format") != FORMAT:
                raise ValueError(f"format is not {FORMAT}")
            bodies = tuple(
                Body(**plain, size=arrays[f"b{i}.size"], colours=arrays[f"b{i}.colours"],
                     T_world_obj=Pose("world", "obj", arrays[f"b{i}.rotation"], arrays[f"b{i}.translation"]))
                for i, plain in enumerate(meta.pop("bodies")))
            rig = StereoRig(Intrinsics(**meta.pop("camera")), meta.pop("baseline_m"))
            meta["seed"] = tuple(meta["seed"])
            meta["rig_rotation_deg"] = tuple(meta.get("rig_rotation_deg", (0.0, 0.0, 0.0)))
            return SceneTruth(**meta, rig=rig, bodies=bodies, light_world=arrays["light_world"], T_world_cam=Pose(
                "world", "cam", arrays["camera.rotation"], arrays["camera.translation"]))
        except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"not a scene truth file: {type(error).__name__}: {error}") from error

    @staticmethod
    def load(path: Path) -> SceneTruth:
        try:
            return SceneTruth.from_bytes(Path(path).read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
