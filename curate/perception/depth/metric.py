"""Disparity to metric depth, with its error: the same for every stereo matcher."""

from __future__ import annotations

import numpy as np

from curate.geometry.cameras import StereoRig


def metric_depth(disparity: np.ndarray, sigma: np.ndarray, valid: np.ndarray, rig: StereoRig
                 ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """fx·B / (d + doffs), its sigma to first order, and where it is known: clear of infinity by 3 sigma. [n, H, W]."""
    depth, depth_sigma = (np.empty(disparity.shape, np.float32) for _ in range(2))
    known = np.empty(disparity.shape, bool)
    for n in range(len(disparity)):  # frame by frame: what lies between stays in the cache
        total = disparity[n] + np.float32(rig.doffs_px)
        known[n] = valid[n] & (total > 3 * sigma[n])
        safe = np.where(known[n], total, np.float32(1))
        depth[n] = np.where(known[n], np.float32(rig.left.fx * rig.baseline_m) / safe, np.float32(np.inf))
        depth_sigma[n] = np.where(known[n], depth[n] * sigma[n] / safe, np.float32(np.inf))
    return depth, depth_sigma, known
