"""Tracks to the scene's regions: where each object stands in every frame, and how far that may be wrong.

The reference point is on the object's axis, at the height of the middle of its silhouette in its first frame: it moves
over the ground as the foot does. Its error is in four parts: of each frame by itself, what changes slowly (a step, a
shadow that is taken for a foot), what all frames share (the foot that is seen is not below the axis; the height, where
only the head is seen), and the scale: of the ground, and what a derived focal length makes of distances.
"""

from __future__ import annotations

import math

import numpy as np

from curate.geometry.ground import GroundPlane
from curate.lift.region import chi2_3_tail
from curate.perception.ground.config import GroundConfig
from curate.perception.ground.tracker import Track
from curate.perception.ground.upright import from_foot, place, slopes
from curate.scene import Region

UP_SIGMA = 0.02  # of its height: how flat the ground is, and how upright it stands
STEADY = 0.0  # of the drift: a step swings, and goes nowhere
SPANS = 4


def build_region(track: Track, plane: GroundPlane, time_s: np.ndarray, shape: tuple[int, int], config: GroundConfig,
                 min_frames: int) -> Region | None:
    """The scene's record of a track; None where it is placed in too few frames.

    Args:
        shape: (height, width) of the image.
    """
    num = len(time_s)
    height = track.height
    ground, covariance = np.full((num, 2), np.nan), np.full((num, 2, 2), np.nan)
    for frame, sighting in track.sightings.items():
        start, _ = from_foot(plane, sighting)
        if not np.isfinite(start).all():
            start = plane.to_ground(sighting.z[:2])
        if np.isfinite(start).all():
            ground[frame], covariance[frame] = place(plane, sighting, height, start)
    seen = np.isfinite(ground).all(-1) & np.isfinite(covariance).all((-1, -2))
    frames = np.flatnonzero(seen)
    if len(frames) < min_frames:
        return None
    ground[~seen], covariance[~seen] = np.nan, np.nan
    first, last = int(frames[0]), int(frames[-1])
    start = track.figures[first]
    middle = height_on_axis(plane, ground[first], height, start.middle[1])
    point = plane.to_camera(ground, middle)
    axes, up = plane.axes[:, :2], plane.up

    def in_camera(flat: np.ndarray, upward: float) -> np.ndarray:
        """[T, 3, 3] of [T, 2, 2] on the ground and a standard deviation off it."""
        out = axes @ flat @ axes.T + upward**2 * np.outer(up, up)
        return np.where(seen[:, None, None], out, np.nan)

    steps = np.diff(time_s, prepend=time_s[0])
    typical = covariance[frames][np.argsort(np.trace(covariance[frames], axis1=1, axis2=2))[len(frames) // 4]]
    slow = steps[:, None, None] * ((config.drift_sigma * height) ** 2 * np.eye(2) + config.drift_share * typical)
    shared = np.full((num, 2, 2), np.nan)
    for t in frames:
        away = axes.T @ point[t]
        away = away / max(float(np.linalg.norm(away)), 1e-9)
        by_height = np.linalg.norm(_by_height(plane, ground[t], height, covariance[t], track, int(t)))
        along = math.hypot(config.shared_sigma * height, by_height * height_sigma(track))
        across = 0.5 * config.shared_sigma * height
        shared[t] = along**2 * np.outer(away, away) + across**2 * (np.eye(2) - np.outer(away, away))
    box, visible, flow = np.full((num, 4), np.nan), np.zeros(num), np.full((num, 2), np.nan)
    centroid = plane.camera.project(point)
    depth = point[:, 2]
    area = np.array([track.figures[int(t)].area * depth[t] ** 2 for t in frames])
    for k, t in enumerate(frames):
        box[t] = track.figures[int(t)].box
        visible[t] = area[k] / np.median(np.sort(area)[-max(len(area) // 2, 1):])
    visible = np.minimum(visible, 1)
    flow[:-1] = np.diff(centroid, axis=0)
    distance = np.linalg.norm(point, axis=-1)
    width = track.width * height
    return Region(
        id=track.id, first=first, last=last, seen=seen, box=box, centroid_px=centroid, flow_px=flow,
        flow_sigma_px=np.where(np.isfinite(flow).all(-1), math.sqrt(2) * config.pixel_sigma, np.nan),
        visible_fraction=visible, point_cam=point, cov_frame=in_camera(covariance, UP_SIGMA * height),
        cov_shared=in_camera(shared, UP_SIGMA * height), step_cov=np.where(
            seen[:, None, None], axes @ slow @ axes.T, np.nan), steady=STEADY,
        nearest_m=distance - width / 2,
        nearest_sigma_m=np.where(seen, width / 4 + config.shared_sigma * height, np.nan),
        extent_m=np.sort([height, width, width])[::-1].copy(), mask_first=start.mask(shape),
        motion_p=still_p_value(ground, covariance + np.cumsum(slow, 0), frames))


def height_sigma(track: Track) -> float:
    """Standard deviation of an object's height, metres: the spread of single frames, in a few independent groups."""
    spread = 1.4826 * float(np.median([abs(shape[0] - track.height) for shape in track.shapes.values()]))
    return math.hypot(spread / math.sqrt(min(len(track.shapes), 4)), 0.01 * track.height)


def height_on_axis(plane: GroundPlane, ground: np.ndarray, height: float, row: float) -> float:
    """Height of the axis' point that is seen at a row, within the object."""
    foot, head = plane.to_pixels(ground)[1], plane.to_pixels(ground, height)[1]
    share = np.clip((foot - row) / max(foot - head, 1e-9), 0.2, 0.8)
    return float(share * height)


def _by_height(plane: GroundPlane, ground: np.ndarray, height: float, covariance: np.ndarray, track: Track,
               frame: int) -> np.ndarray:
    """[2] by how much a metre of the height moves the place: by the head's share of what is known."""
    sighting = track.sightings[frame]
    if not sighting.known[2]:
        return np.zeros(2)
    by_place, by_height = slopes(plane, ground, height)
    return covariance @ by_place[2] * by_height[2] / sighting.sigma[2] ** 2


def still_p_value(ground: np.ndarray, covariance: np.ndarray, frames: np.ndarray) -> float:
    """p-value of "it rests": chi-square of its displacement over a few spans, Bonferroni, two degrees of freedom taken
    for three."""
    first = frames[0]
    ends = np.unique(frames[np.linspace(len(frames) / SPANS, len(frames) - 1, SPANS).astype(int)])
    ends = ends[ends > first]
    if not len(ends):
        return float("nan")
    lowest = 1.0
    for t in ends:
        shift = ground[t] - ground[first]
        chi = float(shift @ np.linalg.solve(covariance[first] + covariance[t], shift))
        lowest = min(lowest, chi2_3_tail(chi))
    return min(1.0, lowest * len(ends))
