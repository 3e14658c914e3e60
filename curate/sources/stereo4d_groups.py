"""3D tracks told apart: those at rest in the world, and bodies of those that move together.

Every length is judged by what stereo can tell there: along the line of sight an error of disparity, across it one of
pixels. How large the errors of a file really are is taken from its own tracks, some of which rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from curate.geometry.poses import Pose

WINDOWS = 6  # a track's places are means over sixths of the clip: noise goes, motion stays
USUAL_RANK = 0.15  # of all tracks: so many are taken to rest, and to show what noise does
STILL_FACTOR, PAIR_FACTOR = 8.0, 3.5  # of that: where motion begins, and where two tracks part
NEIGHBOURS = 20
ANCHORS = 5  # frames at which neighbours are looked for
REACH = 3.0  # median spacings of tracks, to a neighbour
SURFACE_PX, SURFACE_RELATIVE = 0.5, 0.03  # of disparity, between neighbours on one surface
NEAR_PX = 1.0  # of disparity, counts as one spacing of tracks when neighbours are looked for
MIN_TRACKS = 8


@dataclass(frozen=True)
class StereoNoise:
    """Standard deviations of a point tracked by stereo: along the ray r² σ_disparity / (f b), across it r σ_px / f."""

    focal_px: float
    baseline_m: float
    disparity_px: float
    pixel_px: float

    def sigmas(self, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(along, across) the line of sight, metres, of points `reach` metres from the camera."""
        return reach**2 / (self.focal_px * self.baseline_m) * self.disparity_px, reach / self.focal_px * self.pixel_px

    def size(self, off: np.ndarray, sight: np.ndarray) -> np.ndarray:
        """How many standard deviations vectors `off` [..., 3] are long for points at `sight` [..., 3] of the camera."""
        reach = np.linalg.norm(sight, axis=-1)
        along, across = self.sigmas(reach)
        by_ray = (off * sight).sum(-1) / np.maximum(reach, 1e-9)
        beside = np.sqrt(np.maximum((off * off).sum(-1) - by_ray**2, 0))
        return np.hypot(by_ray / along, beside / across)


@dataclass(frozen=True)
class Groups:
    """Numbers of the tracks of each group; `threshold`: what a resting track stays below, in standard deviations."""

    moving: list[np.ndarray]
    still: np.ndarray
    threshold: float


def group(tracks: np.ndarray, poses: Pose, noise: StereoNoise) -> Groups:
    """
    Args:
        tracks: [N, T, 3] metres in the world, nan where not observed.
        poses: T_world_cam [T].
    """
    places = _windows(tracks)
    sight = np.nanmean(tracks, 1) - poses.translation.mean(0)
    off = places - np.nanmean(places, 1, keepdims=True)
    moved = np.nanmax(noise.size(off, sight[:, None]), 1)
    known = np.isfinite(places[..., 0]).sum(1) > 1
    usual = float(np.quantile(moved[known], USUAL_RANK)) if known.any() else 0.0
    threshold = max(1.0, STILL_FACTOR * usual)
    moves = known & (moved > threshold)
    movers = np.flatnonzero(moves)
    bodies: list[np.ndarray] = []
    if len(movers) >= MIN_TRACKS:
        pairs = _neighbours(tracks[movers], poses, noise, NEAR_PX)
        a, b = (movers[pairs[:, side]] for side in (0, 1))
        limit = np.sqrt(2) * max(1.0, PAIR_FACTOR * usual)
        together = _move_together(places[a], places[b], sight[a], noise, limit)
        bodies = [movers[members] for members in components(len(movers), pairs[together]) if len(members) >= MIN_TRACKS]
    return Groups(bodies, np.flatnonzero(known & ~moves), threshold)


def surfaces(tracks: np.ndarray, poses: Pose, noise: StereoNoise, frame: int) -> list[np.ndarray]:
    """Pieces of surface among resting tracks [n, T, 3], as seen at `frame`: neighbours without a step in disparity."""
    seen = np.flatnonzero(np.isfinite(tracks[:, frame, 0]))
    if len(seen) < MIN_TRACKS:
        return []
    at = in_image(tracks[seen, frame], poses[frame], noise)
    pairs = _pairs(at * [1, 1, 0])
    disparity = at[:, 2]
    step = np.abs(disparity[pairs[:, 0]] - disparity[pairs[:, 1]])
    smooth = step < np.maximum(SURFACE_PX, SURFACE_RELATIVE * disparity[pairs].mean(1))
    return [seen[members] for members in components(len(seen), pairs[smooth]) if len(members) >= MIN_TRACKS]


def in_image(points: np.ndarray, pose: Pose, noise: StereoNoise) -> np.ndarray:
    """World points [n, 3] as (x, y, disparity) [n, 3], pixels from the principal point, seen from `pose`."""
    cam = (points - pose.translation) @ pose.rotation
    z = np.maximum(cam[:, 2], 1e-3)
    return noise.focal_px * np.stack([cam[:, 0] / z, cam[:, 1] / z, noise.baseline_m / z], -1)


def spacing(at: np.ndarray) -> float:
    """Distance between neighbours among image places [n, 2], pixels: the median to the fourth nearest, which is that of
    a grid's neighbours, and still is where tracks are begun anew on top of others."""
    rank = min(5, len(at))
    return max(float(np.median(cKDTree(at).query(at, rank)[0][:, -1])), 0.5) if rank > 1 else 1.0


def components(num: int, pairs: np.ndarray) -> list[np.ndarray]:
    """Connected members of 0 .. num - 1, the largest first, then by their lowest number."""
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(num, num))
    _, label = connected_components(graph, directed=False)
    members = np.split(np.argsort(label, kind="stable"), np.flatnonzero(np.diff(np.sort(label))) + 1)
    return sorted(members, key=lambda m: (-len(m), int(m[0])))


def _windows(tracks: np.ndarray) -> np.ndarray:
    """[N, WINDOWS, 3] mean places over sixths of the clip, nan where there is none."""
    parts = np.array_split(np.arange(tracks.shape[1]), min(WINDOWS, tracks.shape[1]))
    out = np.full((len(tracks), len(parts), 3), np.nan)
    for number, part in enumerate(parts):
        count = np.isfinite(tracks[:, part, 0]).sum(1)
        there = count > 0
        out[there, number] = np.nansum(tracks[there][:, part], 1) / count[there, None]
    return out


def _neighbours(tracks: np.ndarray, poses: Pose, noise: StereoNoise, near_px: float) -> np.ndarray:
    """[E, 2] numbers of tracks that lie side by side at one of a few frames."""
    num_frames = tracks.shape[1]
    found = []
    for frame in np.unique(np.linspace(0, num_frames - 1, ANCHORS).astype(int)):
        seen = np.flatnonzero(np.isfinite(tracks[:, frame, 0]))
        if len(seen) >= 2:
            at = in_image(tracks[seen, frame], poses[int(frame)], noise)
            found.append(seen[_pairs(at * [1, 1, spacing(at[:, :2]) / near_px])])
    return np.unique(np.concatenate(found), axis=0) if found else np.zeros((0, 2), int)


def _pairs(at: np.ndarray) -> np.ndarray:
    """[E, 2] of points [n, 3] and their nearest neighbours within reach, the lower number first."""
    count = min(NEIGHBOURS + 1, len(at))
    far, other = cKDTree(at).query(at, count, distance_upper_bound=REACH * spacing(at[:, :2]))
    mine = np.repeat(np.arange(len(at)), count)
    other, far = other.ravel(), far.ravel()
    fits = np.isfinite(far) & (other != mine)
    return np.unique(np.sort(np.stack([mine[fits], other[fits]], 1), 1), axis=0)


def _move_together(a: np.ndarray, b: np.ndarray, sight: np.ndarray, noise: StereoNoise, limit: float) -> np.ndarray:
    """[E] whether pairs of tracks, by their window means [E, W, 3], keep their difference, or at least its length (a
    body that turns), in the windows that both are seen in."""
    difference = b - a
    common = np.isfinite(difference[..., 0])
    enough = common.sum(1) >= 2
    mean = np.nansum(difference, 1) / np.maximum(common.sum(1), 1)[:, None]
    off = np.where(common[..., None], difference - mean[:, None], 0)
    shift = noise.size(off, sight[:, None]).max(1)
    length = np.where(common, np.linalg.norm(difference, axis=-1), np.nan)
    usual = np.nansum(length, 1) / np.maximum(common.sum(1), 1)
    change = np.nanmax(np.abs(np.where(common, length - usual[:, None], 0)), 1)
    direction = mean / np.maximum(np.linalg.norm(mean, axis=1), 1e-9)[:, None]
    stretch = noise.size(direction * change[:, None], sight)
    return enough & (np.minimum(shift, stretch) <= limit)
