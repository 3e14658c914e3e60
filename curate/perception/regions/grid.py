"""A frame of a window on a coarser grid, with what segmentation looks at."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from curate.geometry.poses import relative
from curate.perception.estimator import Window
from curate.perception.regions.rigidity import own_motion


@dataclass
class Grid:
    """`stride` image pixels a cell; arrays [h, w]."""

    stride: int
    focal: float
    centre: np.ndarray  # [2] principal point, image px
    offset: float  # of the rig, px: disparity + offset is inverse to depth
    time_s: float
    grey: np.ndarray  # [h, w] uint8
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
    level, valid = fill_holes(np.where(valid, level, 0), valid)
    rig = window.rig
    v, u = (np.arange(n, dtype=np.float32) * stride for n in level.shape)
    pixels = np.stack(np.broadcast_arrays(u[None], v[:, None]), -1)
    z = np.where(valid, np.float32(rig.left.fx * rig.baseline_m) / np.where(valid, level + np.float32(rig.doffs_px), 1),
                 0)
    points = np.stack([z * ((u - np.float32(rig.left.cx)) / np.float32(rig.left.fx)),
                       z * ((v - np.float32(rig.left.cy)) / np.float32(rig.left.fy))[:, None], z], -1)
    own, own_valid = np.zeros((*level.shape, 2), np.float32), np.zeros(level.shape, bool)
    camera = window.fields["camera"]
    if j + 1 < window.num_frames and (camera.valid is None or camera.valid[j + 1]):
        own_valid = valid & flow.valid[cut]
        own = own_motion(flow.values[cut], points, pixels, own_valid, rig, relative(camera.values, j + 1, j))
    sigma = np.where(disparity.valid[cut], np.nan_to_num(disparity.sigma[cut]), 0).astype(np.float32)
    return Grid(stride, rig.left.fx, np.array([rig.left.cx, rig.left.cy]), rig.doffs_px, float(window.time_s[j]),
                np.ascontiguousarray(window.grey[0][cut]), level, valid, sigma, points, flow.values[cut],
                flow.valid[cut], own, own_valid, motion.values[cut] / motion.info["threshold"], motion.valid[cut])


def fill_holes(disparity: np.ndarray, valid: np.ndarray, rounds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Disparity [h, w] and validity with speckled holes closed where all that surrounds them is one surface:
    weak texture must not break an object into crumbs. For segmentation only; nothing is measured there.
    """
    near = np.ones((5, 5), np.uint8)
    disparity, valid = disparity.astype(np.float32), valid.copy()
    for _ in range(rounds):
        highest = cv2.dilate(np.where(valid, disparity, -1e6).astype(np.float32), near)
        lowest = cv2.erode(np.where(valid, disparity, 1e6).astype(np.float32), near)
        count = cv2.boxFilter(valid.astype(np.float32), -1, (5, 5), normalize=False)
        mean = cv2.boxFilter(np.where(valid, disparity, 0), -1, (5, 5), normalize=False) / np.maximum(count, 1)
        hole = ~valid & (count >= 7) & (highest - lowest < np.maximum(1.5, 0.1 * mean))
        disparity[hole] = mean[hole]
        valid |= hole
    smooth = cv2.medianBlur(np.where(valid, disparity, 0), 5)
    near_it = np.abs(smooth - disparity) < np.minimum(np.maximum(3.0, 0.2 * disparity), 0.5 * disparity)
    return np.where(valid & near_it, smooth, disparity), valid
