"""Dominant planes of a scene, found in disparity space.

A plane in 3D is a plane in (u, v, disparity) under a pinhole pair, and noise is even there, which it is not in
3D. Scenery is a plane with next to nothing behind it: the ground, a wall, a far backdrop. A plane through the
faces of two objects has the scene behind it and is none.
"""

from __future__ import annotations

import numpy as np

SAMPLES = 2500
TRIALS = 300
FEW = 400  # votes that tell which candidates are worth counting in full
FINALISTS = 8
MIN_SPAN = 0.5  # of the image's width
MAX_BEHIND = 0.04  # share of the votes that may lie behind a plane


def dominant_planes(disparity: np.ndarray, valid: np.ndarray, count: int, min_share: float, tolerance_px: float,
                    rng: np.random.Generator) -> list[np.ndarray]:
    """Planes d = a·u + b·v + c that bound the scene, greedily, largest first (RANSAC).

    Args:
        disparity: [H, W] px.
        valid: [H, W] bool, pixels that may vote.
        count: at most this many.
        min_share: least share of the image each must cover.
        tolerance_px: inlier distance in disparity.

    Returns:
        list of [3] (a, b, c).
    """
    height, width = disparity.shape
    rows, columns = np.nonzero(valid)
    if len(rows) < 200:
        return []
    pick = rng.choice(len(rows), min(SAMPLES, len(rows)), replace=False)
    points = np.column_stack([columns[pick], rows[pick], np.ones(len(pick))]).astype(float)
    d = disparity[rows[pick], columns[pick]].astype(float)
    weight = len(rows) / (len(pick) * height * width)  # one vote as a share of the image
    planes: list[np.ndarray] = []
    left = np.ones(len(d), bool)
    while len(planes) < count:
        index = np.flatnonzero(left)
        if len(index) * weight < min_share:
            break
        triples = rng.choice(index, (TRIALS, 3))
        systems = points[triples]
        good = np.abs(np.linalg.det(systems)) > 200  # twice the triangle's area, px²
        if not good.any():
            break
        candidates = np.linalg.solve(systems[good], d[triples[good]][..., None])[..., 0]
        # the votes are drawn in random order, so that the first few are a sample
        early = _votes(candidates, points, d, index, tolerance_px, FEW)
        candidates = candidates[np.argsort(-early, kind="stable")[:FINALISTS]]
        votes = _votes(candidates, points, d, index, tolerance_px, len(d))
        best = int(np.argmax(votes))
        if votes[best] * weight < min_share:
            break
        plane = _refine(candidates[best], points[index], d[index], tolerance_px)
        near = np.abs(points[index] @ plane - d[index]) < tolerance_px
        left[index[near]] = False
        if not near.any():
            break
        planes.append(plane)
    return planes


def _votes(candidates: np.ndarray, points: np.ndarray, d: np.ndarray, index: np.ndarray, tolerance: float,
           most: int) -> np.ndarray:
    """Inliers of each candidate [C] among the first `most` of `index`; zero where it is narrow or the scene goes on
    behind it."""
    all_level = candidates @ points[:most].T
    behind = ((d[:most] - all_level < -2 * tolerance) & (all_level > 1)).mean(1)
    index = index[:most]
    near = np.abs(candidates @ points[index].T - d[index]) < tolerance
    u = points[index, 0]
    low = np.where(near, u, np.inf).min(1)
    high = np.where(near, u, -np.inf).max(1)
    wide = (high - low) > MIN_SPAN * np.ptp(points[:, 0])
    return np.where(wide & (behind < MAX_BEHIND), near.sum(1), 0)


def _refine(plane: np.ndarray, points: np.ndarray, d: np.ndarray, tolerance: float) -> np.ndarray:
    for _ in range(3):
        near = np.abs(points @ plane - d) < tolerance
        if near.sum() < 10:
            break
        plane = np.linalg.lstsq(points[near], d[near], rcond=None)[0]
    return plane


def in_front(disparity: np.ndarray, planes: list[np.ndarray], margin_px: np.ndarray) -> np.ndarray:
    """[H, W] bool: nearer than every plane by more than `margin_px` [H, W]."""
    height, width = disparity.shape
    u, v = np.arange(width)[None], np.arange(height)[:, None]
    stands = np.ones(disparity.shape, bool)
    for a, b, c in planes:
        stands &= disparity > a * u + b * v + c + margin_px
    return stands
