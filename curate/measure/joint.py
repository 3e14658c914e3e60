"""Joint draws over time of what is asked of a whole path: places, distances, legs, and when a level is reached.

Draw n is the same world in every array, and the scene's scale is in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from curate.geometry.rotations import exp_so3
from curate.measure.draws import SceneDraws
from curate.measure.magnitude import median as middle
from curate.measure.speed import speed_profile

GROUND = (0, 2)  # of camera axes seen from above: right, forward


def points(draws: SceneDraws, region_id: int | None, frames: np.ndarray) -> np.ndarray:
    """Draws [S, n, 3] m, world, of a region's reference point (inside its first and last frame), or of the camera's
    centre where it is None."""
    if region_id is None:
        path, first = draws.camera, 0
    else:
        path, first = draws.region(region_id), draws.scene.region(region_id).first
    at = np.asarray(frames) - first
    if len(at) > 1 and at[-1] - at[0] == len(at) - 1 and (at[1:] > at[:-1]).all():
        at = slice(int(at[0]), int(at[-1]) + 1)  # no copy
    return path.points[:, at] * draws.scale[:, None, None]


def axes(draws: SceneDraws, frame: int) -> np.ndarray:
    """Draws [S, 3, 3] of the camera's axes at a frame (camera to world)."""
    return exp_so3(draws.rotation_error[:, frame]) @ draws.scene.T_world_cam.rotation[frame]


def clear_length(vectors: np.ndarray) -> np.ndarray:
    """Lengths [S, n] of drawn vectors [S, n, d], less what noise across their mean adds twice (`magnitude`)."""
    mean = vectors.mean(0)
    centred = vectors - mean
    covariance = np.einsum("sni,snj->nij", centred, centred) / len(vectors)
    norm2 = np.maximum((mean**2).sum(-1), 1e-300)
    along = np.einsum("ni,nij,nj->n", mean, covariance, mean) / norm2
    across = np.maximum(np.trace(covariance, axis1=1, axis2=2) - along, 0)
    return np.sqrt(np.maximum((vectors**2).sum(-1) - 2 * across, 0))


def _once(draws: SceneDraws, region_id: int, name: tuple, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What several families ask of one region, worked out once; not to be written to."""
    memo = draws.region(region_id).memo
    if name not in memo:
        memo[name] = make()
    return memo[name]


def camera_distance(draws: SceneDraws, region_id: int, frames: np.ndarray) -> np.ndarray:
    """Draws [S, n] m of the distance between a region's reference point and the camera's centre."""
    return _once(draws, region_id, ("camera distance", *frames.tolist()), lambda: clear_length(
        points(draws, region_id, frames) - points(draws, None, frames)))


def from_start(draws: SceneDraws, region_id: int, frames: np.ndarray) -> np.ndarray:
    """Draws [S, n] m: how far the reference point is from where it was at the first of `frames`, straight line."""
    def made() -> np.ndarray:
        path = points(draws, region_id, frames)
        return clear_length(path - path[:, :1])

    return _once(draws, region_id, ("from start", *frames.tolist()), made)


def median(draws: SceneDraws, region_id: int, name: str, span: tuple[int, int], values: np.ndarray) -> np.ndarray:
    """Medians [n] of draws [S, n] that are known by a name and a span."""
    return _once(draws, region_id, (f"median {name}", *span), lambda: middle(np.ascontiguousarray(values.T)))


def legs(draws: SceneDraws, region_id: int | None, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The path as straight legs between frames [K + 1], seen from above in the camera's axes at the first of them.

    Returns:
        lengths [S, K] m, and headings [S, K] rad: 0 forward, positive to the right.
    """
    steps = np.diff(points(draws, region_id, frames), axis=1)
    level = (steps @ axes(draws, int(frames[0])))[..., GROUND]
    return clear_length(level), np.arctan2(level[..., 0], level[..., 1])


def first_time(values: np.ndarray, time_s: np.ndarray, level: float | np.ndarray) -> np.ndarray:
    """First time [S] at which values [S, n] at times [n] are at or above a level ([S] or one for all); between frames
    along a straight line; inf where they never are."""
    level = np.broadcast_to(level, values.shape[:1])
    above = values >= level[:, None]
    at = above.argmax(1)
    row = np.arange(len(values))
    before = np.maximum(at - 1, 0)
    low, high = values[row, before], values[row, at]
    share = np.where(high > low, (level - low) / np.where(high > low, high - low, 1), 0).clip(0, 1)
    found = time_s[before] + share * (time_s[at] - time_s[before])
    return np.where(above.any(1), found, math.inf)


def lowest_time(values: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """Time [S] at which values [S, n] at times [n] are lowest: the vertex of the parabola through the lowest and its
    neighbours; the first or last time where that is lowest."""
    last = values.shape[1] - 1
    row, at = np.arange(len(values)), values.argmin(1)
    middle = at.clip(1, max(last - 1, 1))
    t0, t1, t2 = (time_s[(middle + k).clip(0, last)] for k in (-1, 0, 1))
    y0, y1, y2 = (values[row, (middle + k).clip(0, last)] for k in (-1, 0, 1))
    slope, later = (y1 - y0) / (t1 - t0), (y2 - y1) / np.where(t2 > t1, t2 - t1, 1)
    bend = (later - slope) / np.where(t2 > t0, t2 - t0, 1)
    vertex = (t0 + t1) / 2 - slope / np.where(bend > 0, 2 * bend, 1)
    return np.where((at == middle) & (bend > 0), np.clip(vertex, t0, t2), time_s[at])


def speeds(draws: SceneDraws, region_id: int, span: tuple[int, int]) -> np.ndarray:
    """Draws [S, n] m/s of the speed at every frame of a span (`speed.speed_profile`)."""
    def made() -> np.ndarray:
        path, first = draws.region(region_id), draws.scene.region(region_id).first
        rng = draws.rng(f"profile {region_id} {span[0]} {span[1]}")
        return speed_profile(path, span[0] - first, span[1] - first, rng)[0] * draws.scale[:, None]

    return _once(draws, region_id, ("profile", *span), made)
