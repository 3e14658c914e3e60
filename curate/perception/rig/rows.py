"""The rows cue: what the rows of matches say of tilt, roll and pan.

A lens that is not quite as published shifts rows too, in smooth patterns of which some look like a pan (x y). How
large such a pattern may be is read off the other patterns of its order, which no rotation makes: rows are fitted with
all polynomials up to the third degree, and the mean square of those left over from the rotation is what a stray
pattern adds. So a perfect lens gives a sharp pan, a real one a blunt one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.perception.rig.cells import clustered

TUKEY = 4.7
ITERATIONS = 8
MIN_MATCHES = 40


@dataclass
class RowsCue:
    """theta [3] (tilt, pan, roll), radians; covariance [3, 3]; pattern_px: RMS of one stray pattern of the rows."""

    theta: np.ndarray
    covariance: np.ndarray
    pattern_px: float


def rows_cue(xy: np.ndarray, rows: np.ndarray, focal_px: float, cell: np.ndarray) -> RowsCue | None:
    """Robust regression of rows on the rotation.

    Args:
        xy: [m, 2] right-image positions in focal lengths. rows: [m] right minus left row, px.
        cell: [m] place in the image, the same in all frames: errors of one place are one error.

    Returns:
        None with too few matches.
    """
    if len(rows) < MIN_MATCHES:
        return None
    x, y = xy.T
    turn = focal_px * np.stack([1 + y**2, -x * y, -x], -1)
    weight = np.ones(len(rows))
    for _ in range(ITERATIONS):
        theta = np.linalg.lstsq(turn * np.sqrt(weight)[:, None], rows * np.sqrt(weight), rcond=None)[0]
        residual = rows - turn @ theta
        scale = 1.4826 * np.median(np.abs(residual)) + 1e-6
        weight = np.clip(1 - (residual / (TUKEY * scale)) ** 2, 0, None) ** 2
    normal = (turn * weight[:, None]).T @ turn
    if np.linalg.cond(normal) > 1e8:
        return None
    inverse = np.linalg.inv(normal)
    covariance = clustered(inverse, turn * (weight * residual)[:, None], cell)
    stray = _stray(x, y, turn, residual, weight)
    pattern2 = float(np.mean(stray**2)) * len(stray) / (len(stray) - 2)  # variance of Student's t of so many terms
    return RowsCue(theta, covariance + pattern2 * weight.sum() * inverse, float(np.sqrt(pattern2)))


def _stray(x, y, turn, residual, weight) -> np.ndarray:
    """Sizes, px RMS, of the rows' patterns up to degree three that the rotation does not take up."""
    root = np.sqrt(weight / weight.sum())
    sx, sy = x / np.std(x), y / np.std(y)
    terms = np.stack([sy, sx**2, sy**2, sx**3, sx**2 * sy, sx * sy**2, sy**3], -1) * root[:, None]
    base = np.linalg.qr(turn * root[:, None])[0]
    terms -= base @ (base.T @ terms)
    u, size, _ = np.linalg.svd(terms, full_matrices=False)
    u = u[:, size > 1e-3 * size[0]]
    return u.T @ (residual * root)
