"""A frame of a window on a coarser grid, with what segmentation looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.poses import relative
from curate.perception.estimator import Window
from curate.perception.regions.rigidity import own_motion


@dataclass
class Grid:
    """`stride` image pixels a cell; arrays [h, w]."""

    stride: int
    focal: float
    disparity: np.ndarray  # image px, 0 where invalid
    valid: np.ndarray
    sigma: np.ndarray
    points: np.ndarray  # [h, w, 3] metres, camera axes; zeros where invalid
    flow: np.ndarray  # [h, w, 2] image px to the next frame
    flow_valid: np.ndarray
    own: np.ndarray  # [h, w, 2] image px, flow less that of a still world
    own_valid: np.ndarray
    motion: np.ndarray  # test statistic over its threshold: above 1 moves
    motion_valid: np.ndarray


def make_grid(window: Window, j: int, stride: int, min_disparity: float) -> Grid:
    """Frame j of the window; disparities under `min_disparity` px are too far to be measured and count as invalid."""
    cut = (j, slice(None, None, stride), slice(None, None, stride))
    disparity, flow, motion = (window.fields[n] for n in ("disparity", "flow", "motion"))
    level = np.nan_to_num(disparity.values[cut].astype(np.float32), posinf=0, neginf=0)
    valid = disparity.valid[cut] & (level + window.rig.doffs_px > min_disparity)
    level = np.where(valid, level, 0)
    rows, columns = (np.arange(n) * float(stride) for n in level.shape)
    pixels = np.stack(np.meshgrid(columns, rows), -1)
    points = np.zeros((*level.shape, 3))
    points[valid] = window.rig.point(np.concatenate([pixels, level[..., None]], -1)[valid])
    own, own_valid = np.zeros((*level.shape, 2), np.float32), np.zeros(level.shape, bool)
    camera = window.fields["camera"]
    if j + 1 < window.num_frames and (camera.valid is None or camera.valid[j + 1]):
        own_valid = valid & flow.valid[cut]
        own = own_motion(flow.values[cut], points, pixels, own_valid, window.rig, relative(camera.values, j + 1, j))
    sigma = np.where(valid, disparity.sigma[cut], 0).astype(np.float32)
    return Grid(stride, window.rig.left.fx, level, valid, sigma, points, flow.values[cut], flow.valid[cut], own,
                own_valid, motion.values[cut] / motion.info["threshold"], motion.valid[cut])
