"""The true answers, from the scene itself: an independent twin of `curate.measure`.

Nothing here knows how anything is measured. A region of an answer is first matched to the body most of its mask
lies on; the reference point is the centroid of that body's true surface at those pixels, carried by the true
motion. Inside: metres, seconds, radians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.synth.scene import SUB, SceneTruth

MIN_SHARE = 0.5  # of a region's pixels that must lie on one object
AXES = (("right", "left"), ("down", "up"), ("forward", "backward"))
# families that say of an object that it moves in the world
MOVING = ("object_displacement", "object_path_length", "object_mean_speed", "object_peak_speed", "object_direction")
PER_UNIT = {"m": 1.0, "cm": 100.0, "mm": 1000.0, "km": 1e-3, "ft": 1 / 0.3048, "m/s": 1.0, "km/h": 3.6,
            "mph": 3600 / 1609.344, "rad": 1.0, "°": 180 / np.pi, "s": 1.0, "m/s²": 1.0, "": 1.0}


@dataclass(frozen=True)
class Subject:
    """What a region really is.

    Args:
        object_id: ≥ 1; 0 for a part of the still world.
        point: [3] the reference point, in the object's coordinates; in the world for object 0.
        share: of the region's pixels that lie on it.
    """

    object_id: int
    point: np.ndarray
    share: float


@dataclass(frozen=True)
class TrueValue:
    """A true answer. `value`: m, m/s or rad, nan where there is only a name; `category`: "" where there is none;
    `vector`: what a direction is the direction of."""

    value: float
    category: str = ""
    vector: np.ndarray | None = None

    def in_unit(self, unit: str) -> float:
        """
        Raises:
            ValueError: on a unit that no question uses.
        """
        if unit not in PER_UNIT:
            raise ValueError(f"unknown unit {unit!r}; known: {', '.join(PER_UNIT)}")
        return self.value * PER_UNIT[unit]


STRAY_PX, STRAY_DEVIATIONS = 1.0, 4.0  # from the median disparity: pixels of something else along a region's border


def match(scene: SceneTruth, mask: np.ndarray, depth: np.ndarray, ids: np.ndarray, frame: int = 0,
          min_share: float = MIN_SHARE) -> Subject | None:
    """The object most of a region lies on, and the mean of the surface that it shows there.

    A matcher draws borders wide: pixels that lie on something farther or nearer than the surface (by disparity, as
    judged by the median and its deviation) are no part of what the region is about, and do not move its centre.

    Args:
        mask: [H, W] bool, the region at `frame`; brought to the scene's image size if it has another.
        depth, ids: [H, W] of the left view at `frame` (`Renderer.geometry`).
        min_share: least share of the region's pixels on it.

    Returns:
        the Subject; None where no object, nor the still world, has that share.
    """
    mask = np.asarray(mask, bool)
    if mask.shape != ids.shape:
        rows = (np.arange(ids.shape[0]) + 0.5) * mask.shape[0] / ids.shape[0]
        columns = (np.arange(ids.shape[1]) + 0.5) * mask.shape[1] / ids.shape[1]
        mask = mask[rows.astype(int)[:, None], columns.astype(int)[None]]
    surface = mask & np.isfinite(depth)
    if not surface.any():
        return None
    counts = np.bincount(ids[surface])
    best = int(np.argmax(counts))
    share = counts[best] / mask.sum()
    if share < min_share:
        return None
    v, u = np.nonzero(surface & (ids == best))
    disparity = scene.rig.left.fx * scene.rig.baseline_m / depth[v, u]
    off = np.abs(disparity - np.median(disparity))
    main = off <= max(STRAY_PX, STRAY_DEVIATIONS * 1.4826 * float(np.median(off)))
    u, v = u[main], v[main]
    world = scene.camera(frame) @ scene.rig.left.lift(np.stack([u, v], -1), depth[v, u]).mean(0)
    point = scene.object(best).pose(frame * SUB).inverse() @ world if best else world
    return Subject(best, point, float(share))


class Truth:
    """True values of one clip of a scene.

    Args:
        scene: the scene.
        start: the clip's first frame in the scene; all frames below count from it.
    """

    def __init__(self, scene: SceneTruth, start: int = 0) -> None:
        self.scene, self.start = scene, start

    def path(self, subject: Subject, span: tuple[int, int], fine: bool = False) -> np.ndarray:
        """World positions [n, 3] of a subject's reference point, every frame of a span, or every fine step."""
        index = self._index(span, fine)
        if subject.object_id == 0:
            return np.broadcast_to(subject.point, (len(index), 3))
        return self.scene.object(subject.object_id).points(subject.point, index)

    def _index(self, span: tuple[int, int], fine: bool = False) -> np.ndarray:
        first, last = ((self.start + frame) * SUB for frame in span)
        return np.arange(first, last + 1, 1 if fine else SUB)

    def value(self, kind: str, subjects: Sequence[Subject] = (), span: tuple[int, int] = (0, 0),
              reference: str = "surface@t0") -> TrueValue:
        """One true value.

        Args:
            kind: name of a measurement kind, which is also that of its question family.
            subjects: as many as the kind speaks of.
            span: (first, last) frames of the clip; an instant is span[0].
            reference: "surface@t0", "surface@t1", "box-centre", "camera-centre", or, for distances to the camera,
                "nearest".

        Raises:
            ValueError: on a kind or a reference point that has no truth here.
        """
        if reference == "box-centre":
            subjects = [Subject(s.object_id, np.zeros(3) if s.object_id else s.point, s.share) for s in subjects]
        elif reference == "nearest":
            if not kind.startswith("object_camera_distance"):
                raise ValueError(f"{kind} has no truth at the nearest point")
        elif reference not in ("surface@t0", "surface@t1", "camera-centre"):
            raise ValueError(f"unknown reference point {reference!r}")
        if kind.startswith("camera_"):
            return self._camera(kind, span)
        if kind == "object_object_distance":
            a, b = (self.path(s, (span[0], span[0]))[0] for s in subjects)
            return TrueValue(float(np.linalg.norm(a - b)))
        if kind == "object_object_distance_change":
            a, b = subjects
            before, after = (float(np.linalg.norm(self.path(a, (f, f))[0] - self.path(b, (f, f))[0])) for f in span)
            return TrueValue(after - before, "closer together" if after < before else "farther apart")
        return self._object(kind, subjects[0], span, reference == "nearest")

    def _camera(self, kind: str, span: tuple[int, int]) -> TrueValue:
        path = self.scene.T_world_cam.translation[self._index(span, fine=True)]
        ends = self._index(span)[[0, -1]]
        first, last = self.scene.T_world_cam.rotation[ends]
        if kind in ("camera_yaw", "camera_pitch", "camera_roll"):
            return TrueValue(orientation(first.T @ last)[kind.removeprefix("camera_")])
        if kind == "camera_rotation":
            turn = first.T @ last
            off = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
            angle = float(np.arctan2(np.linalg.norm(off), (np.trace(turn) - 1) / 2))
            ahead = turn[:, 2]  # the later optical axis in the earlier camera
            yaw, pitch = np.arctan2(ahead[0], ahead[2]), np.arcsin(np.clip(-ahead[1], -1, 1))
            name = ("right" if yaw > 0 else "left") if abs(yaw) >= abs(pitch) else ("up" if pitch > 0 else "down")
            return TrueValue(angle, name, np.array([yaw, pitch]))
        return self._motion(kind.removeprefix("camera_"), path, first, span, kind)

    def _object(self, kind: str, subject: Subject, span: tuple[int, int], nearest: bool) -> TrueValue:
        if kind in ("object_camera_distance", "object_camera_distance_change"):
            before, after = (self._distance(subject, frame, nearest) for frame in span)
            if kind == "object_camera_distance":
                return TrueValue(before)
            return TrueValue(after - before, "closer" if after < before else "farther")
        if kind == "apparent_direction":
            pixels = [self.scene.rig.left.project(self.scene.camera(self.start + frame).inverse()
                                                  @ self.path(subject, (frame, frame))[0]) for frame in span]
            shift = pixels[1] - pixels[0]
            return TrueValue(float("nan"), dominant(shift), shift)
        if kind == "object_rotation":
            return TrueValue(float(np.linalg.norm(self.turn(subject, span))))
        rotation = self.scene.camera(self.start + span[0]).rotation
        return self._motion(kind.removeprefix("object_"), self.path(subject, span, fine=True), rotation, span, kind)

    def turn(self, subject: Subject, span: tuple[int, int]) -> np.ndarray:
        """Rotation vector [3] of a subject's turn in the world, radians, below half a turn."""
        if subject.object_id == 0:
            return np.zeros(3)
        before, after = (self.scene.object(subject.object_id).pose((self.start + f) * SUB).rotation for f in span)
        turn = after @ before.T
        axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
        sine = float(np.linalg.norm(axis))
        return axis / sine * np.arctan2(sine, (np.trace(turn) - 1) / 2) if sine > 0 else np.zeros(3)

    def _motion(self, name: str, path: np.ndarray, rotation: np.ndarray, span: tuple[int, int], kind: str) -> TrueValue:
        steps = np.linalg.norm(np.diff(path, axis=0), axis=-1)
        seconds = 1 / (self.scene.fps * SUB)
        if name == "displacement":
            return TrueValue(float(np.linalg.norm(path[-1] - path[0])))
        if name == "path_length":
            return TrueValue(float(steps.sum()))
        if name == "mean_speed":
            return TrueValue(float(steps.sum() / (len(steps) * seconds)))
        if name == "peak_speed":
            return TrueValue(float(steps.max() / seconds))
        if name == "acceleration":
            half = ((span[0] + span[1]) // 2 - span[0]) * SUB
            rise = steps[half:].mean() - steps[:half].mean()
            return TrueValue(float(rise / seconds / (len(steps) * seconds / 2)))
        if name in ("lateral_shift", "longitudinal_shift"):
            return TrueValue(float((rotation.T @ (path[-1] - path[0]))[0 if name == "lateral_shift" else 2]))
        if name == "direction":
            vector = rotation.T @ (path[-1] - path[0])
            return TrueValue(float("nan"), dominant(vector), vector)
        raise ValueError(f"no truth for the measurement kind {kind!r}")

    def _distance(self, subject: Subject, frame: int, nearest: bool) -> float:
        centre = self.scene.camera(self.start + frame).translation
        if nearest and subject.object_id:
            return self.scene.object(subject.object_id).nearest(centre, (self.start + frame) * SUB)
        return float(np.linalg.norm(self.path(subject, (frame, frame))[0] - centre))


def orientation(turn: np.ndarray) -> dict[str, float]:
    """A camera's later orientation in its earlier axes [3, 3] as yaw (positive to the right), pitch (upwards) and roll
    (clockwise from behind it), radians: where its line of sight points, and how its right side leans about it."""
    right, ahead = turn[:, 0], turn[:, 2]
    level = np.array([ahead[2], 0.0, -ahead[0]])  # to the right of the line of sight
    level /= np.linalg.norm(level)
    return {"yaw": float(np.arctan2(ahead[0], ahead[2])), "pitch": float(np.arcsin(np.clip(-ahead[1], -1, 1))),
            "roll": float(np.arctan2(right @ np.cross(ahead, level), right @ level))}


def dominant(vector: np.ndarray) -> str:
    """Name of the axis nearest to a vector [2] (right, down) or [3] (right, down, forward); "" for zero."""
    axis = int(np.argmax(np.abs(vector)))
    if vector[axis] == 0:
        return ""
    return AXES[axis][0 if vector[axis] > 0 else 1]


def boundary_margin(vector: np.ndarray) -> float:
    """Angle between a vector and the nearest plane where its dominant axis changes, radians."""
    size = np.sort(np.abs(vector))[::-1]
    return float(np.arcsin(np.clip((size[0] - size[1]) / np.sqrt(2) / max(np.linalg.norm(vector), 1e-300), 0, 1)))
