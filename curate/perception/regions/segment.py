"""One frame cut into pieces of surface: connected, without a depth step inside, off the scenery, moving as one."""

from __future__ import annotations

import cv2
import numpy as np

from curate.perception.regions.config import MotionClustersConfig
from curate.perception.regions.grid import Grid
from curate.perception.regions.planes import dominant_planes, in_front
from curate.perception.regions.rigidity import disagreeing, main_part, opened

GROUP_SHARE = 0.1  # of a piece that the smaller of two bodies covers
GAP_SHARE = 0.06  # of a piece that may lie between them; a plane has 0.2 there


def pieces(grid: Grid, config: MotionClustersConfig, rng: np.random.Generator) -> np.ndarray:
    """Labels [h, w] int32 of candidate objects, 0 = scenery, largest first.

    Surfaces are cut where the disparity steps; what lies on a dominant plane is scenery unless it moves; pieces
    of which a part moves and a part does not are cut in two.
    """
    moving = moving_mask(grid)
    tolerance = config.plane_px
    planes = dominant_planes(grid.disparity, grid.valid & ~moving, config.max_planes, config.plane_share, tolerance,
                             rng)
    margin = np.maximum(config.plane_px, config.plane_relative * grid.disparity)
    margin = np.maximum(margin, np.minimum(2.5 * grid.sigma, 3 * margin))
    stands = in_front(grid.disparity, planes, margin)
    solid = grid.valid & (stands | moving)
    labels = connected(solid, grid, config)
    min_cells = max(20, config.min_share * labels.size)
    labels = split_by_depth(labels, grid, min_cells, config)
    labels = split_by_motion(labels, grid, min_cells, rng)
    return select(labels, grid, config, min_cells)


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


def split_by_depth(labels: np.ndarray, grid: Grid, min_cells: float, config: MotionClustersConfig) -> np.ndarray:
    """Pieces whose disparities leave a gap are cut there: two bodies, joined where matching smeared the step.

    Otsu's threshold (1979) parts the disparities in two; a slanted surface has as many between the two means as
    elsewhere, two bodies have next to none.
    """
    labels = labels.copy()
    area = np.bincount(labels.ravel())
    queue = [piece for piece in np.flatnonzero(area >= min_cells) if piece > 0]
    count = len(area)
    while queue:
        piece = queue.pop(0)
        inside = labels == piece
        cut = bounds(inside)
        inside = inside[cut] & grid.valid[cut]
        if not inside.any():
            continue
        step = max(config.step_px, config.step_relative * float(np.median(grid.disparity[cut][inside])))
        at = gap(np.sort(grid.disparity[cut][inside & flat(grid.disparity[cut], inside, step)]), step)
        if at is None:
            continue
        near = inside & (grid.disparity[cut] > at)
        number, parts, stats, _ = cv2.connectedComponentsWithStats(near.astype(np.uint8), connectivity=4)
        for k in range(1, number):
            labels[cut][parts == k] = count
            if stats[k, cv2.CC_STAT_AREA] >= min_cells:
                queue.append(count)
            count += 1
        queue.append(piece)
    return labels


def flat(disparity: np.ndarray, inside: np.ndarray, step: float) -> np.ndarray:
    """[h, w] cells that differ from none of their eight neighbours inside by half a step: no smear between bodies."""
    far = np.float32(1e6)  # disparities are pixels
    largest = cv2.dilate(np.where(inside, disparity, -far).astype(np.float32), np.ones((3, 3), np.uint8))
    least = cv2.erode(np.where(inside, disparity, far).astype(np.float32), np.ones((3, 3), np.uint8))
    return largest - least < step / 2


def gap(ascending: np.ndarray, step: float) -> float | None:
    """Where sorted values [N] fall into two groups with less than GAP_SHARE of them between; None where they do not.

    Args:
        step: the means of the groups are at least this far apart.
    """
    num = len(ascending)
    low = int(np.ceil(GROUP_SHARE * num))
    if num < 40:
        return None
    total = np.cumsum(ascending, dtype=float)
    count = np.arange(low, num - low + 1)
    below, above = total[count - 1] / count, (total[-1] - total[count - 1]) / (num - count)
    best = int(np.argmax(count * (num - count) * (above - below) ** 2))
    below, above = below[best], above[best]
    middle = np.searchsorted(ascending, [below + 0.3 * (above - below), above - 0.3 * (above - below)])
    if above - below < step or middle[1] - middle[0] > GAP_SHARE * num:
        return None
    return float((below + above) / 2)


def split_by_motion(labels: np.ndarray, grid: Grid, min_cells: float, rng: np.random.Generator) -> np.ndarray:
    """Pieces whose parts move differently are cut apart, where the part that differs is large enough."""
    labels = labels.copy()
    area = np.bincount(labels.ravel())
    queue = [piece for piece in np.flatnonzero(area >= min_cells) if piece > 0]
    count = len(area)
    while queue:
        piece = queue.pop(0)
        inside = labels == piece
        cut = bounds(inside)
        inside = inside[cut]
        other = opened(disagreeing(inside, grid.own[cut], grid.points[cut], grid.own_valid[cut], grid.focal, rng), 3)
        if other.sum() < max(min_cells / 2, 0.05 * inside.sum()):
            continue
        number, parts, stats, _ = cv2.connectedComponentsWithStats(other.astype(np.uint8), connectivity=4)
        for k in range(1, number):
            size = stats[k, cv2.CC_STAT_AREA]
            if size >= min_cells / 2:
                labels[cut][parts == k] = count
                if min_cells <= size < inside.sum():
                    queue.append(count)
                count += 1
    return labels


def bounds(mask: np.ndarray) -> tuple[slice, slice]:
    """Slices around the true cells of [h, w]."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def select(labels: np.ndarray, grid: Grid, config: MotionClustersConfig, min_cells: float) -> np.ndarray:
    """Pieces of a size that objects have, renumbered 1.. by falling area."""
    area = np.bincount(labels.ravel())
    area[0] = 0
    keep = np.flatnonzero((area >= min_cells) & (area <= config.max_share * labels.size))
    keep = keep[np.argsort(-area[keep], kind="stable")]
    out = np.zeros_like(labels)
    number = 0
    for piece in keep:
        cut = bounds(labels == piece)
        mask = main_part(labels[cut] == piece)
        if mask.sum() < min_cells or extent_m(grid.points[cut][mask & grid.valid[cut]]) > config.max_extent_m:
            continue
        number += 1
        out[cut][mask] = number
        if number == config.max_live:
            break
    return out


def extent_m(points: np.ndarray) -> float:
    """Longest side, metres, of points [N, 3] between their 5 % and 95 % quantiles along the camera's axes."""
    if len(points) < 10:
        return 0.0
    low, high = np.percentile(points[:: max(1, len(points) // 2000)], [5, 95], axis=0)
    return float((high - low).max())
