"""Regions of one frame carried into the next one by the flow."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from curate.perception.regions.config import MotionClustersConfig
from curate.perception.regions.grid import Grid


def carry_over(labels: np.ndarray, before: Grid, grid: Grid,
               config: MotionClustersConfig) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Labels [h, w] of the frame before, moved by its flow; kept where the disparity fits the region's.

    Cells without flow move with the median of their region. Where two regions meet, the nearer one wins.

    Returns:
        labels [h, w] int16, and of each region its median motion (u, v, disparity), cells and px.
    """
    height, width = labels.shape
    v, u = np.nonzero((labels > 0) & before.valid)
    label = labels[v, u]
    by_label = np.argsort(label, kind="stable")
    v, u, label = v[by_label], u[by_label], label[by_label]
    step = before.flow[v, u].astype(np.float32) / before.stride
    known = before.flow_valid[v, u]
    d = before.disparity[v, u]
    present, starts = np.unique(label, return_index=True)
    expected = d.copy()
    motion: dict[int, np.ndarray] = {}
    for region, low, high in zip(present, starts, [*starts[1:], len(label)], strict=True):
        own, sure = step[low:high], known[low:high]
        middle = np.median(own[sure], 0) if sure.any() else np.zeros(2, np.float32)
        own[~sure] = middle
        at_u = np.clip(np.rint(u[low:high] + own[:, 0]).astype(int), 0, width - 1)
        at_v = np.clip(np.rint(v[low:high] + own[:, 1]).astype(int), 0, height - 1)
        # a cell without flow may be hidden by now: what is seen in its place tells nothing of it
        difference = (grid.disparity[at_v, at_u] - d[low:high])[grid.valid[at_v, at_u] & (sure | ~sure.any())]
        change = float(np.median(difference)) if len(difference) else 0.0
        expected[low:high] += change
        motion[int(region)] = np.array([*middle, change], float)
    nu, nv = np.rint(u + step[:, 0]).astype(int), np.rint(v + step[:, 1]).astype(int)
    inside = (nu >= 0) & (nu < width) & (nv >= 0) & (nv < height)
    ranked = np.argsort(expected[inside], kind="stable")
    nu, nv, label, expected = (x[inside][ranked] for x in (nu, nv, label, expected))
    moved = np.zeros(labels.shape, np.int16)
    level = np.zeros(labels.shape, np.float32)
    moved[nv, nu], level[nv, nu] = label, expected
    out = np.zeros_like(moved)
    kernel = np.ones((3, 3), np.uint8)
    for region, cut in enumerate(ndimage.find_objects(moved), 1):
        if cut is None:
            continue
        cut = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in cut)
        own = (moved[cut] == region).astype(np.uint8)
        closed = cv2.morphologyEx(own, cv2.MORPH_CLOSE, kernel) > 0
        weight = cv2.boxFilter(own.astype(np.float32), -1, (3, 3), normalize=False)
        about = cv2.boxFilter(np.where(own > 0, level[cut], 0), -1, (3, 3), normalize=False) / np.maximum(weight, 1)
        tolerance = np.maximum(1.5 * config.step_px, 3 * config.step_relative * about)
        fits = grid.valid[cut] & (np.abs(grid.disparity[cut] - about) < tolerance)
        out[cut][closed & fits & ((moved[cut] == 0) | (own > 0))] = region
    return out, motion
