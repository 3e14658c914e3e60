"""Tracks from above as inline SVG: the camera's path, the regions' paths, and the errors at their ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.geometry.rotations import skew
from curate.scene import Region, Scene

CHI2_95 = 5.991  # 95 % quantile of chi-square with 2 degrees of freedom
WIDTH, HEIGHT = 520, (300, 400)  # pixels; the height follows the images' within these bounds
MARGIN = 26
MAX_LABEL = 16  # letters of a region's name that are drawn


@dataclass(frozen=True)
class Track:
    """A path on the ground plane. `points` [n, 2] metres (right, forward), `ends`: (point [2], covariance [2, 2])."""

    name: str
    colour: str
    points: np.ndarray
    ends: Sequence[tuple[np.ndarray, np.ndarray]]


def ground_axes(scene: Scene) -> np.ndarray:
    """[2, 3]: right and forward of the first camera, made level with the scene's up."""
    up = scene.up_world / np.linalg.norm(scene.up_world)
    forward = scene.T_world_cam.rotation[0, :, 2]
    level = forward - up * (forward @ up)
    if np.linalg.norm(level) < 1e-3:  # looks straight up or down: the image's top is forward
        forward = -scene.T_world_cam.rotation[0, :, 1]
        level = forward - up * (forward @ up)
    level = level / np.linalg.norm(level)
    return np.stack([np.cross(level, up), level])


def region_track(scene: Scene, region: Region, axes: np.ndarray, colour: str) -> Track | None:
    """The region's reference point from above; None where it has no finite point.

    The covariances hold what was measured of the region itself (own, shared, accumulated drift); the camera's
    pose error is apart.
    """
    frames = np.flatnonzero(region.seen & np.isfinite(region.point_cam).all(1))
    if not len(frames):
        return None
    rotation, translation = scene.T_world_cam.rotation[frames], scene.T_world_cam.translation[frames]
    points = np.einsum("tij,tj->ti", rotation, region.point_cam[frames]) + translation
    drift = np.cumsum(np.nan_to_num(region.step_cov), axis=0)
    drift = drift - drift[frames[0]]
    cov = np.nan_to_num(region.cov_frame + region.cov_shared + drift)[frames]
    cov = rotation @ cov @ np.swapaxes(rotation, 1, 2)
    flat = axes @ cov @ axes.T
    name = f"R{region.id} {region.label[:MAX_LABEL]}".strip()
    return Track(name, colour, points @ axes.T, [(points[i] @ axes.T, flat[i]) for i in (0, -1)])


def camera_covariance(scene: Scene) -> np.ndarray:
    """[3, 3] m², world: of the camera's centre at the last frame, as the errors of its steps add up, and of that pose.

    To first order: a step's turn moves everything that comes after it, by its lever to the last centre. What the rig
    leaves is one error in all steps.
    """
    poses, steps = scene.T_world_cam, np.nan_to_num(scene.step_cov[1:])
    effect = np.empty((len(steps), 3, 6))
    effect[..., :3] = -skew(poses.translation[-1] - poses.translation[1:]) @ poses.rotation[:-1]
    effect[..., 3:] = poses.rotation[:-1]
    cov = (effect @ steps @ np.swapaxes(effect, 1, 2)).sum(0)
    cov += poses.rotation[-1] @ scene.pose_cov[-1][3:, 3:] @ poses.rotation[-1].T
    if scene.rig is not None:
        by_pan = np.einsum("tij,tj->i", effect, scene.rig_step[1:]) * scene.rig.pan_sigma
        cov += np.outer(by_pan, by_pan)
    return cov


def _nice(length: float) -> float:
    """1, 2 or 5 times a power of ten, at most `length`."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(power * max(m for m in (1, 2, 5) if m * power <= length * (1 + 1e-9)))


def _ellipse(cov: np.ndarray, pixels_per_metre: float) -> tuple[float, float, float]:
    """Half axes in pixels and the angle in degrees (SVG: clockwise, y down) of the 95 % ellipse."""
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    half = np.sqrt(np.maximum(values, 0) * CHI2_95) * pixels_per_metre
    return float(half[1]), float(half[0]), float(np.degrees(np.arctan2(-vectors[1, 1], vectors[0, 1])))


class _Map:
    """Metres on the ground to pixels of the picture, the same scale both ways."""

    def __init__(self, low: np.ndarray, high: np.ndarray, size: tuple[int, int]) -> None:
        span = np.maximum(high - low, 0.05 * max(float((high - low).max()), 0.2))
        inner = np.array(size, float) - 2 * MARGIN
        self.scale = float((inner / span).min())
        self.centre, self.size = (low + high) / 2, size

    def __call__(self, point: np.ndarray) -> tuple[float, float]:
        x, y = (np.asarray(point, float) - self.centre) * self.scale
        return round(self.size[0] / 2 + float(x), 1), round(self.size[1] / 2 - float(y), 1)

    def path(self, points: np.ndarray) -> str:
        return " ".join(f"{x},{y}" for x, y in map(self, points))


def _placed_ellipse(view: _Map, at: np.ndarray, cov: np.ndarray) -> tuple[float, ...]:
    """Centre, half axes, angle: pixels and degrees."""
    return *view(at), *(round(v, 1) for v in _ellipse(cov, view.scale))


def _labels(tracks: Sequence[Track], view: _Map) -> list[tuple[float, float]]:
    """Left end of each name's baseline, pixels: beside the path's end, where no other name stands if there is room."""
    height, taken, out = 14, [], []
    for track in tracks:
        (x, y), width = view(track.points[-1]), 4 + 8 * len(track.name)
        spots = [(x + dx, y + dy) for dy in (-5, 14, 5, -19, 28) for dx in (7, -7 - width)]
        inside = [(a, b) for a, b in spots if 0 <= a <= view.size[0] - width and height <= b <= view.size[1]] or spots
        free = [(a, b) for a, b in inside
                if all(a + width <= c or c + w <= a or abs(b - d) >= height for c, d, w in taken)]
        a, b = (free or inside)[0]
        taken.append((a, b, width))
        out.append((round(a, 1), round(b, 1)))
    return out


def birdseye(scene: Scene, colours: dict[int, str]) -> dict[str, object] | None:
    """What the page's SVG template draws.

    Args:
        scene: camera and regions.
        colours: region id to CSS colour.

    Returns:
        {"width", "height", "grid": lines, "bar": scale bar, "wedge": field of view, "tracks": [...]}; pixels.
        None where there is nothing to draw: a camera that stays, and no region whose place is known.
    """
    axes = ground_axes(scene)
    camera = Track("camera", "", scene.T_world_cam.translation @ axes.T, [])
    camera_cov = axes @ camera_covariance(scene) @ axes.T
    tracks = [t for r in scene.regions if (t := region_track(scene, r, axes, colours.get(r.id, "#888")))]
    if not tracks and not np.ptp(camera.points, axis=0).any():
        return None
    everything = np.concatenate([camera.points, *(t.points for t in tracks)])
    size = (WIDTH, int(np.clip(WIDTH * scene.camera.height / scene.camera.width, *HEIGHT)))
    view = _Map(everything.min(0), everything.max(0), size)
    metres = np.array(size) / view.scale
    unit = _nice(float(metres[0]) / 4)
    start = camera.points[0]
    half = np.arctan(scene.camera.width / 2 / scene.camera.fx)
    reach = 0.16 * float(metres.min())
    heading = np.array([[np.sin(a), np.cos(a)] for a in (-half, half)])
    low, high = view.centre - metres / 2, view.centre + metres / 2
    xs, ys = (np.arange(np.ceil(low[i] / unit), high[i] / unit) * unit for i in (0, 1))
    grid = [(*view((x, low[1])), *view((x, high[1]))) for x in xs]
    grid += [(*view((low[0], y)), *view((high[0], y))) for y in ys]
    metre = "m" if scene.scale != "relative" else "of no known unit"
    return {
        "width": size[0], "height": size[1], "grid": grid,
        "bar": {"pixels": round(unit * view.scale, 1), "text": f"{unit:g} {metre}"},
        "wedge": view.path(np.stack([start + reach * heading[0], start, start + reach * heading[1]])),
        "camera": {"path": view.path(camera.points), "start": view(start), "end": view(camera.points[-1]),
                   "ellipse": _placed_ellipse(view, camera.points[-1], camera_cov)},
        "tracks": [{"name": t.name, "colour": t.colour, "path": view.path(t.points), "start": view(t.points[0]),
                    "end": view(t.points[-1]), "label": label,
                    "ellipses": [_placed_ellipse(view, at, cov) for at, cov in t.ends]}
                   for t, label in zip(tracks, _labels(tracks, view))]}
