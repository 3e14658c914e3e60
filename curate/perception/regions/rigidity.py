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
from curate.geometry.rotations import skew

TOLERANCE_PX = 0.75  # of the flow, per frame
TOLERANCE_SHARE = 0.2  # of the motion itself: depth errors, finite steps
TURN_SIGMA = 0.15  # radians per frame a body may turn
MIN_CELLS = 40
SAMPLES = 250
TRIALS = 12


def own_motion(flow: np.ndarray, points: np.ndarray, pixels: np.ndarray, known: np.ndarray, rig: StereoRig,
               T_next_now: Pose) -> np.ndarray:
    """Flow less that of a still world, px; zero where not known.

    Args:
        flow: [h, w, 2] image px.
        points: [h, w, 3] metres, camera axes of this frame.
        pixels: [h, w, 2] image px of the cells.
        known: [h, w] bool.
        T_next_now: motion of still points from this frame's camera axes to the next one's.
    """
    still = rig.left.project(T_next_now @ points[known]) - pixels[known]
    out = np.zeros(flow.shape, np.float32)
    out[known] = np.nan_to_num(flow[known] - still)
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
    design = _design(p, np.median(p[pick], 0), focal)
    some, m = design[pick], seen[pick]
    model = _solve(some, m)
    fits = _fits(model, some, m)
    if fits.mean() < 0.97:
        at = np.column_stack([rows[pick], columns[pick]]).astype(float)
        best, most = model, fits.sum()
        for seed in rng.choice(len(pick), min(TRIALS, len(pick)), replace=False):
            near = np.argsort(((at - at[seed]) ** 2).sum(1))[:25]
            model = _solve(some[near], m[near])
            for _ in range(2):
                fits = _fits(model, some, m)
                if fits.sum() < 10:
                    break
                model = _solve(some[fits], m[fits])
            count = _fits(model, some, m).sum()
            if count > most:
                best, most = model, count
        model = best
    off = ~_fits(model, design, seen)
    out[rows[off], columns[off]] = True
    return out


def _design(points: np.ndarray, centre: np.ndarray, focal: float) -> np.ndarray:
    """[N, 2, 6]: image motion (px) per unit of velocity (m per frame) and of turn about `centre` (rad per frame)."""
    z = points[:, 2]
    zero = np.zeros_like(z)
    jacobian = focal * np.stack([np.stack([1 / z, zero, -points[:, 0] / z**2], -1),
                                 np.stack([zero, 1 / z, -points[:, 1] / z**2], -1)], 1)
    return np.concatenate([jacobian, -jacobian @ skew(points - centre)], 2)


def _solve(design: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """[6] least squares; turns are held small where the points do not tell."""
    flat = design.reshape(-1, 6)
    prior = np.diag([1e-9, 1e-9, 1e-9, *[(0.3 / TURN_SIGMA) ** 2] * 3])
    normal = flat.T @ flat
    normal[np.arange(3), np.arange(3)] *= 1 + 1e-6
    return np.linalg.solve(normal + prior, flat.T @ motion.ravel())


def _fits(model: np.ndarray, design: np.ndarray, motion: np.ndarray) -> np.ndarray:
    expected = design @ model
    limit = np.maximum(TOLERANCE_PX, TOLERANCE_SHARE * np.linalg.norm(expected, axis=1))
    return np.linalg.norm(motion - expected, axis=1) < limit


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
