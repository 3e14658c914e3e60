"""A still camera whose scale is not known: what moves in the picture, and nothing of space.

Followed by the same tracker, over a plane whose unit is the pixel. Of such a region the place in space is nan, so that
only what is said of the picture can be asked of it.
"""

from __future__ import annotations

import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.ground import GroundPlane
from curate.perception.ground.config import GroundConfig
from curate.perception.ground.tracker import Track
from curate.scene import Region

MAX_HEIGHT = 0.9  # of the picture's


def picture_plane(camera: Intrinsics) -> GroundPlane:
    """Pixels as ground: X is the column, Y the row of a foot, and a height is as many rows."""
    projection = np.array([[1.0, 0, 0, 0], [0, 1, -1, 0], [0, 0, 0, 1]])
    return GroundPlane(camera, projection, np.eye(3), np.zeros(3))


def build_flat_region(track: Track, num_frames: int, shape: tuple[int, int], config: GroundConfig,
                      min_frames: int) -> Region | None:
    """The scene's record of a track in the picture; None where it is followed over too few frames.

    The reference point is the middle of its silhouette: the column as sighted, the row half-way from foot to head, or
    by the known height from the one that is seen.
    """
    point, sigma = np.full((num_frames, 2), np.nan), np.full(num_frames, np.nan)
    box, visible = np.full((num_frames, 4), np.nan), np.zeros(num_frames)
    for t, sighting in track.sightings.items():
        known = sighting.known
        if not known[0] or not known[1:].any():
            continue
        half = track.height / 2
        rows = np.array([sighting.z[1] - half, sighting.z[2] + half])[known[1:]]
        point[t] = sighting.z[0], rows.mean()
        sigma[t] = np.sqrt((sighting.sigma[known] ** 2).mean())
        box[t] = track.figures[t].box
        visible[t] = track.figures[t].area
    seen = np.isfinite(point).all(-1)
    frames = np.flatnonzero(seen)
    if len(frames) < min_frames:
        return None
    first, last = int(frames[0]), int(frames[-1])
    flow = np.full((num_frames, 2), np.nan)
    flow[:-1] = np.diff(point, axis=0)

    def unknown(*size: int) -> np.ndarray:
        return np.full((num_frames, *size), np.nan)

    return Region(
        id=track.id, first=first, last=last, seen=seen, box=box, centroid_px=point, flow_px=flow, flow_sigma_px=sigma,
        visible_fraction=visible / max(visible.max(), 1), point_cam=unknown(3), cov_frame=unknown(3, 3),
        cov_shared=unknown(3, 3), step_cov=unknown(3, 3), nearest_m=unknown(), nearest_sigma_m=unknown(),
        extent_m=np.full(3, np.nan), mask_first=track.figures[first].mask(shape), motion_p=float("nan"))
