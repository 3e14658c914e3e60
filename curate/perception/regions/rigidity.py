"""Does a piece of surface move as one rigid body?

What the camera's motion explains is taken off the flow first, so that a still piece is zero everywhere. What is
left of a rigid body is linear in its velocity and turn where its depth is known (Longuet-Higgins and Prazdny
1980). Cells that disagree with the motion of most belong to something else.
"""

from __future__ import annotations

import cv2
import numpy as np

from curate.geometry.cameras import StereoRig
from curate.geometry.poses import Pose

TOLERANCE_PX = 0.75  # of the flow, per frame
TOLERANCE_SHARE = 0.2  # of the motion itself: depth errors, finite steps
TURN_SIGMA = 0.15  # radians per frame a body may turn
MIN_CELLS = 40
SAMPLES = 250
TRIALS = 12


def own_motion(flow: np.ndarray, points: np.ndarray, pixels: np.ndarray, known: np.ndarray, rig: StereoRig,
               T_next_now: Pose) -> np.ndarray:
    """Flow less that of a still world, px, float32; zero where not known.

    Args:
        flow: [h, w, 2] image px.
        points: [h, w, 3] metres, camera axes of this frame.
        pixels: [h, w, 2] image px of the cells.
        known: [h, w] bool.
        T_next_now: motion of still points from this frame's camera axes to the next one's.
    """
    moved = points @ T_next_now.rotation.T.astype(np.float32) + T_next_now.translation.astype(np.float32)
    known = known & (moved[..., 2] > 0.05)
    z = np.where(known, moved[..., 2], np.float32(1))
    camera = rig.left
    out = np.empty(flow.shape, np.float32)
    for axis, (focal, centre) in enumerate(((camera.fx, camera.cx), (camera.fy, camera.cy))):
        still = np.float32(focal) * moved[..., axis] / z + np.float32(centre) - pixels[..., axis]
        out[..., axis] = np.where(known, np.nan_to_num(flow[..., axis]) - still, 0)
    return out


def disagreeing(mask: np.ndarray, motion: np.ndarray, points: np.ndarray, known: np.ndarray, focal: float,
                rng: np.random.Generator) -> np.ndarray:
    """Cells of `mask` [h, w] that do not move with most of it; cells without flow never disagree.

    Args:
        motion: [h, w, 2] own motion, px per frame.
        points: [h, w, 3] metres.
        known: [h, w] bool, where both can be used.
        focal: px.
    """
    rows, columns = np.nonzero(mask & known)
    out = np.zeros(mask.shape, bool)
    if len(rows) < MIN_CELLS:
        return out
    seen, p = motion[rows, columns].astype(float), points[rows, columns].astype(float)
    pick = rng.choice(len(rows), min(SAMPLES, len(rows)), replace=False)
    centre = np.median(p[pick], 0)
    some, m = _design(p[pick], centre, focal), seen[pick]
    count = len(pick)
    grams = np.einsum("nai,naj->nij", some, some).reshape(count, 36)
    slopes = np.einsum("nai,na->ni", some, m)
    model = _solve(grams.sum(0)[None], slopes.sum(0)[None])
    fits = _fits(model, some, m)
    if fits.mean() < 0.97:
        at = np.column_stack([rows[pick], columns[pick]]).astype(float)
        seeds = rng.choice(count, min(TRIALS, count), replace=False)
        distance = ((at[seeds, None] - at[None]) ** 2).sum(-1)
        near = distance <= np.partition(distance, min(24, count - 1), axis=1)[:, min(24, count - 1), None]
        for _ in range(3):
            models = _solve(near.astype(float) @ grams, near.astype(float) @ slopes)
            better = _fits(models, some, m)
            near = np.where(better.sum(1, keepdims=True) >= 10, better, near)
        best = int(np.argmax(better.sum(1)))
        if better[best].sum() > fits.sum():
            model = models[best:best + 1]
    off = ~_fits(model, _design(p, centre, focal), seen)[0]
    out[rows[off], columns[off]] = True
    return out


def _design(points: np.ndarray, centre: np.ndarray, focal: float) -> np.ndarray:
    """[N, 2, 6]: image motion (px) per unit of velocity (m per frame) and of turn about `centre` (rad per frame)."""
    z = points[:, 2]
    offset = points - centre
    per_metre = focal / z
    out = np.zeros((len(z), 2, 6))
    out[:, 0, 0] = out[:, 1, 1] = per_metre
    out[:, :, 2] = -per_metre[:, None] * points[:, :2] / z[:, None]
    # a turn w moves a point by w x offset
    x, y, depth = offset.T
    out[:, 0, 3], out[:, 0, 4], out[:, 0, 5] = y * out[:, 0, 2], per_metre * depth - x * out[:, 0, 2], -per_metre * y
    out[:, 1, 3], out[:, 1, 4], out[:, 1, 5] = y * out[:, 1, 2] - per_metre * depth, -x * out[:, 1, 2], per_metre * x
    return out


def _solve(grams: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """[T, 6] least squares of normal equations [T, 36], [T, 6]; turns are held small where the points do not tell."""
    normal = grams.reshape(-1, 6, 6) + np.diag([1e-9, 1e-9, 1e-9, *[(0.3 / TURN_SIGMA) ** 2] * 3])
    normal[:, np.arange(3), np.arange(3)] *= 1 + 1e-6
    return np.linalg.solve(normal, slopes[..., None])[..., 0]


def _fits(models: np.ndarray, design: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """[T, N] bool: cells whose motion [N, 2] is that of models [T, 6]."""
    expected = (models @ design.reshape(-1, 6).T).reshape(len(models), -1, 2)
    size = expected[..., 0] ** 2 + expected[..., 1] ** 2
    limit = np.maximum(TOLERANCE_PX**2, TOLERANCE_SHARE**2 * size)
    return (motion[:, 0] - expected[..., 0]) ** 2 + (motion[:, 1] - expected[..., 1]) ** 2 < limit


def opened(mask: np.ndarray, side: int) -> np.ndarray:
    """Without parts thinner than `side` cells."""
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8)) > 0


def main_part(mask: np.ndarray, share: float = 0.3) -> np.ndarray:
    """Connected parts at least `share` as large as the largest; crumbs go."""
    number, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if number <= 2:
        return mask
    area = stats[1:, cv2.CC_STAT_AREA]
    keep = np.flatnonzero(area >= share * area.max()) + 1
    return np.isin(parts, keep)
