"""Places seen in two views or more, triangulated in every frame by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.perception.multiview.cameras import Cameras, triangulate
from curate.perception.multiview.config import ViewsConfig
from curate.perception.multiview.tracks import Tracks

RESTS = 3.0  # standard deviations
REST_SHARE = 0.8


@dataclass
class Places:
    """
    Args:
        members: [G] lists of tracks, one a view.
        points: [G, T, 3] metres in the rig, nan where not seen in two views, or where the views do not agree.
        sigma: [G, T] metres, of the worst direction.
        moving: [G] bool, what does not rest: in space, and in a picture.
    """

    members: list[list[int]]
    points: np.ndarray
    sigma: np.ndarray
    moving: np.ndarray


def triangulate_places(cameras: Cameras, tracks: Tracks, groups: list[list[int]], num_frames: int,
                       config: ViewsConfig) -> Places:
    """Every place in every frame that at least two of its views see; verified by reprojection into all of them."""
    num = len(groups)
    points, sigma = np.full((num, num_frames, 3), np.nan), np.full((num, num_frames), np.nan)
    if not num:
        return Places([], points, sigma, np.zeros(0, bool))
    flat = np.concatenate([np.asarray(g) for g in groups])
    of = np.repeat(np.arange(num), [len(g) for g in groups])
    rows, which = tracks.rows(flat)
    key = of[which] * num_frames + tracks.frame[rows]
    twice = np.bincount(key, minlength=num * num_frames)[key] > 1
    rows, key = rows[twice], key[twice]
    used, index = np.unique(key, return_inverse=True)
    view = tracks.view[tracks.track[rows]]
    found = triangulate(cameras.K[view], cameras.R[view], cameras.t[view], tracks.at[rows], index, len(used),
                        config.sigma_px, np.radians(config.min_angle_deg))
    worst = np.zeros(len(used))
    np.maximum.at(worst, index, found.residual)
    good = np.isfinite(found.points).all(1) & (worst < config.agree_px)
    error = np.full(len(used), np.inf)
    error[good] = config.sigma_px / np.sqrt(np.maximum(np.linalg.eigvalsh(found.information[good])[:, 0], 1e-12))
    g, t = used // num_frames, used % num_frames
    points[g[good], t[good]], sigma[g[good], t[good]] = found.points[good], error[good]
    keep = np.isfinite(points[..., 0]).sum(1) >= min(config.min_frames, num_frames)
    members = [g for g, k in zip(groups, keep) if k]
    points, sigma = points[keep], sigma[keep]
    reach = np.array([tracks.extent[g].max() for g in members])
    return Places(members, points, sigma, (reach > config.still_px) & ~_rests(points, sigma))


def _rests(points: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """[G] bool: places that are where they were, to within their errors, in nearly all of their frames."""
    if not len(points):
        return np.zeros(0, bool)
    away = np.linalg.norm(points - np.nanmedian(points, axis=1, keepdims=True), axis=2)
    seen = np.isfinite(away)
    return ((away < RESTS * sigma) & seen).sum(1) > REST_SHARE * seen.sum(1)
