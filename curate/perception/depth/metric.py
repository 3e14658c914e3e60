"""Disparity to metric depth, with its error: the same for every stereo matcher."""

from __future__ import annotations

import numpy as np

from curate.geometry.cameras import StereoRig


def metric_depth(disparity: np.ndarray, sigma: np.ndarray, valid: np.ndarray, rig: StereoRig
                 ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """fx·B / (d + doffs), its sigma to first order, and where it is known: clear of infinity by 3 sigma. [n, H, W]."""
    total = disparity + np.float32(rig.doffs_px)
    known = valid & (total > 3 * sigma)
    safe = np.where(known, total, np.float32(1))
    depth = np.where(known, np.float32(rig.left.fx * rig.baseline_m) / safe, np.float32(np.inf))
    return depth, np.where(known, depth * sigma / safe, np.float32(np.inf)), known
