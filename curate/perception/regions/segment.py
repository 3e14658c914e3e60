"""One frame cut into pieces of surface: connected, without a depth step inside, off the scenery, moving as one."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from curate.geometry.cameras import StereoRig
from curate.perception.regions.config import MotionClustersConfig
from curate.perception.regions.planes import above_ground, dominant_planes, off_planes


@dataclass
class Grid:
    """A frame on the working grid, `stride` image pixels a cell; arrays [h, w]."""

    stride: int
    disparity: np.ndarray  # image px, 0 where invalid
    valid: np.ndarray
    sigma: np.ndarray
    flow: np.ndarray  # [h, w, 2] image px to the next frame
    flow_valid: np.ndarray
    motion: np.ndarray  # test statistic over its threshold: above 1 moves
    motion_valid: np.ndarray

    @property
    def margin(self) -> float:
        return self.stride


def pieces(grid: Grid, rig: StereoRig, config: MotionClustersConfig, rng: np.random.Generator) -> np.ndarray:
    """Labels [h, w] int32 of candidate objects, 0 = scenery, largest first.

    Surfaces are cut where the disparity steps; what lies on a dominant plane is scenery unless it moves; pieces
    of which a part moves and a part does not are cut in two.
    """
    moving = moving_mask(grid)
    tolerance = max(0.5, 0.5 * config.plane_px)
    planes = dominant_planes(grid.disparity, grid.valid & ~moving, config.max_planes, config.plane_share, tolerance,
                             rng)
    margin = np.maximum(config.plane_px, config.plane_relative * grid.disparity)
    margin = np.maximum(margin, np.minimum(2.5 * grid.sigma, 3 * margin))
    stands = off_planes(grid.disparity, planes, margin) & above_ground(grid.disparity, planes, margin)
    solid = grid.valid & (stands | moving)
    labels = connected(solid, grid, config)
    min_cells = max(20, config.min_share * labels.size)
    labels = split_by_motion(labels, moving, grid, config, min_cells)
    return select(labels, grid, rig, config, min_cells)


def moving_mask(grid: Grid) -> np.ndarray:
    """[h, w] bool: above the threshold, without specks."""
    moving = (grid.motion > 1) & grid.motion_valid & grid.valid
    return cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0


def connected(solid: np.ndarray, grid: Grid, config: MotionClustersConfig) -> np.ndarray:
    """Connected components of [h, w] `solid` that no disparity step crosses; thin bridges are cut.

    Cells beside a step are left out first and then given back to the neighbour whose disparity they share.
    """
    d = np.where(solid, grid.disparity, 0).astype(np.float32)
    step = np.maximum(config.step_px, config.step_relative * d)
    cut = np.zeros(d.shape, bool)
    right = np.abs(d[:, 1:] - d[:, :-1]) > np.maximum(step[:, 1:], step[:, :-1])
    down = np.abs(d[1:] - d[:-1]) > np.maximum(step[1:], step[:-1])
    cut[:, 1:] |= right
    cut[:, :-1] |= right
    cut[1:] |= down
    cut[:-1] |= down
    core = cv2.morphologyEx((solid & ~cut).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels = cv2.connectedComponents(core, connectivity=4, ltype=cv2.CV_32S)
    return grow(labels, solid, d, step, rounds=3)


def grow(labels: np.ndarray, room: np.ndarray, disparity: np.ndarray, step: np.ndarray, rounds: int) -> np.ndarray:
    """Labels given to free neighbours in `room` whose disparity is within `step` of the giver's."""
    labels = labels.copy()
    for _ in range(rounds):
        for axis, shift in ((0, 1), (0, -1), (1, 1), (1, -1)):
            giver = np.roll(labels, shift, axis)
            near = np.abs(np.roll(disparity, shift, axis) - disparity) < step
            edge = [slice(None)] * 2
            edge[axis] = 0 if shift == 1 else -1
            near[tuple(edge)] = False
            take = (labels == 0) & room & (giver > 0) & near
            labels[take] = giver[take]
    return labels


def split_by_motion(labels: np.ndarray, moving: np.ndarray, grid: Grid, config: MotionClustersConfig,
                    min_cells: float) -> np.ndarray:
    """Pieces that move in part are cut into the moving and the still part, where both are large enough."""
    known = grid.motion_valid & (labels > 0)
    count = labels.max() + 1
    total = np.bincount(labels[known], minlength=count)
    share = np.bincount(labels[known & moving], minlength=count) / np.maximum(total, 1)
    area = np.bincount(labels.ravel(), minlength=count)
    labels = labels.copy()
    for piece in np.flatnonzero((share > 0.1) & (share < config.moving_share) & (area > min_cells)):
        if piece == 0:
            continue
        inside = labels == piece
        part = cv2.morphologyEx((inside & moving).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        part = cv2.morphologyEx(part, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
        part &= inside
        number, inner, stats, _ = cv2.connectedComponentsWithStats(part.astype(np.uint8), connectivity=4)
        for k in range(1, number):
            if stats[k, cv2.CC_STAT_AREA] >= min_cells:
                labels[inner == k] = count
                count += 1
    return labels


def select(labels: np.ndarray, grid: Grid, rig: StereoRig, config: MotionClustersConfig,
           min_cells: float) -> np.ndarray:
    """Pieces of a size that objects have, renumbered 1.. by falling area."""
    area = np.bincount(labels.ravel())
    area[0] = 0
    keep = np.flatnonzero((area >= min_cells) & (area <= config.max_share * labels.size))
    keep = keep[np.argsort(-area[keep], kind="stable")]
    out = np.zeros_like(labels)
    number = 0
    for piece in keep:
        mask = labels == piece
        if extent_m(mask, grid, rig) > config.max_extent_m:
            continue
        number += 1
        out[mask] = number
        if number == config.max_live:
            break
    return out


def extent_m(mask: np.ndarray, grid: Grid, rig: StereoRig) -> float:
    """Longest side, metres, between the 5 % and 95 % quantiles along the camera's axes."""
    v, u = np.nonzero(mask & grid.valid)
    if len(u) < 10:
        return 0.0
    take = slice(None, None, max(1, len(u) // 2000))
    points = rig.point(np.column_stack([u[take] * grid.stride, v[take] * grid.stride, grid.disparity[v, u][take]]))
    low, high = np.percentile(points, [5, 95], axis=0)
    return float((high - low).max())
