"""Dominant planes of a scene, found in disparity space.

A plane in 3D is a plane in (u, v, disparity) under a pinhole pair, and noise is even there, which it is not in
3D. A wide plane is scenery: the ground, a wall, a far backdrop.
"""

from __future__ import annotations

import numpy as np


def dominant_planes(disparity: np.ndarray, valid: np.ndarray, count: int, min_share: float, tolerance_px: float,
                    rng: np.random.Generator, trials: int = 300) -> list[np.ndarray]:
    """Planes d = a·u + b·v + c that cover a wide part of the image, greedily, largest first (RANSAC).

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
    pick = rng.choice(len(rows), min(4000, len(rows)), replace=False)
    v, u = rows[pick].astype(float), columns[pick].astype(float)
    d = disparity[rows[pick], columns[pick]].astype(float)
    weight = len(rows) / (len(pick) * height * width)  # one vote as a share of the image
    planes: list[np.ndarray] = []
    left = np.ones(len(d), bool)
    for _ in range(2 * count + 2):
        if len(planes) == count:
            break
        index = np.flatnonzero(left)
        if len(index) * weight < min_share:
            break
        points = np.column_stack([u, v, np.ones_like(u)])
        triples = rng.choice(index, (trials, 3))
        systems = points[triples]
        good = np.abs(np.linalg.det(systems)) > 200  # twice the triangle's area, px²
        if not good.any():
            break
        candidates = np.linalg.solve(systems[good], d[triples[good]][..., None])[..., 0]
        near = np.abs(candidates @ points[index].T - d[index]) < tolerance_px
        best = index[near[np.argmax(near.sum(1))]]
        for _ in range(3):
            plane = np.linalg.lstsq(points[best], d[best], rcond=None)[0]
            best = index[np.abs(points[index] @ plane - d[index]) < tolerance_px]
            if len(best) < 10:
                break
        if len(best) * weight < min_share:
            break
        left[best] = False
        span = np.ptp(np.percentile(u[best], [5, 95])) / width
        if span > 0.55:
            planes.append(plane)
    return planes


def off_planes(disparity: np.ndarray, planes: list[np.ndarray], margin_px: np.ndarray) -> np.ndarray:
    """[H, W] bool: nearer than every plane by more than `margin_px` [H, W], wherever that plane is in front."""
    height, width = disparity.shape
    u, v = np.arange(width)[None], np.arange(height)[:, None]
    stands = np.ones(disparity.shape, bool)
    for a, b, c in planes:
        level = a * u + b * v + c
        stands &= (np.abs(disparity - level) > margin_px) | (level <= 0)
    return stands


def above_ground(disparity: np.ndarray, planes: list[np.ndarray], margin_px: np.ndarray) -> np.ndarray:
    """[H, W] bool: not below the ground (first plane whose disparity grows downwards); noise lies there."""
    height, width = disparity.shape
    u, v = np.arange(width)[None], np.arange(height)[:, None]
    for a, b, c in planes:
        if b > 0 and b * height > 3 * abs(a) * width * 0.3 and b * height > 2:
            return disparity > a * u + b * v + c - margin_px
    return np.ones(disparity.shape, bool)
