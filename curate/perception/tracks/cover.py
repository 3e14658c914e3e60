"""Which tracked points have something in front of them."""

from __future__ import annotations

import cv2
import numpy as np

STEP_PX = 1.0  # of disparity, by which a patch may be nearer than before
STEP_SHARE = 0.06  # the same as a share


def nearest_about(disparity: np.ndarray, valid: np.ndarray, uv: np.ndarray, side: int) -> np.ndarray:
    """[N] px: largest valid disparity of [H, W] in the side x side patch around each pixel uv [N, 2]; nan where none
    is valid."""
    level = np.where(valid, disparity, -1e6).astype(np.float32)
    most = cv2.dilate(level, np.ones((side, side), np.uint8))
    height, width = level.shape
    column, row = np.rint(uv).astype(int).T
    out = most[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)].astype(float)
    return np.where(out > -1e5, out, np.nan)


def covered(disparity: np.ndarray, valid: np.ndarray, uv: np.ndarray, before: np.ndarray, relief: np.ndarray,
            sure: np.ndarray, side: int) -> np.ndarray:
    """[N] bool: points whose patch reaches onto something nearer than their own surface, or that lie off it.

    Args:
        disparity, valid: [H, W] of this frame.
        uv: [N, 2] where the points are matched.
        before: [N] px, their disparity where they started, nan where unknown.
        relief: [N] px, by how much the nearest of the patch was nearer than the point there.
        sure: [N] bool, points that tell how the whole has come nearer since.
        side: px, of the matched patch.
    """
    if not len(uv):
        return np.zeros(0, bool)
    margin = side
    low = np.maximum(np.floor(uv.min(0)).astype(int) - margin, 0)
    high = np.ceil(uv.max(0)).astype(int) + margin + 1
    cut = (slice(low[1], high[1]), slice(low[0], high[0]))
    level, known = disparity[cut], valid[cut]
    nearest = nearest_about(level, known, uv - low, side)
    column, row = np.rint(uv - low).astype(int).T
    row, column = np.clip(row, 0, level.shape[0] - 1), np.clip(column, 0, level.shape[1] - 1)
    here = np.where(known[row, column], level[row, column], np.nan).astype(float)
    ratio = (here / before)[sure & (before > 0.5)]
    ratio = ratio[np.isfinite(ratio)]
    ratio = float(np.median(ratio)) if len(ratio) >= 4 else 1.0
    expected = before * ratio
    limit = np.maximum(STEP_PX, STEP_SHARE * expected)
    with np.errstate(invalid="ignore"):
        in_front = nearest - expected > relief * ratio + limit
        off = np.abs(here - expected) > np.maximum(2 * STEP_PX, 4 * STEP_SHARE * expected)
    return in_front | off
