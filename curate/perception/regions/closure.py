"""Is a piece of surface an object of its own? An object ends where what lies behind it begins: along most of its
outline the disparity drops. A patch of pavement or of foliage goes on beyond its outline.
"""

from __future__ import annotations

import numpy as np

from curate.perception.regions.config import MotionClustersConfig
from curate.perception.regions.grid import Grid

FLAT = 0.65  # cosine between the normal of a surface that lies and the camera's vertical axis
MIN_KNOWN = 0.15  # of the outline
LYING_CLOSED = 0.8  # a patch of floor must end nearly everywhere to be a thing that lies there
REACH = (3, 2, 4, 5)  # cells beyond the outline that are looked at, the first that is known


def is_object(labels: np.ndarray, grid: Grid, config: MotionClustersConfig) -> np.ndarray:
    """[n + 1] bool: labels of [h, w] that end at their outline, or move. A flat piece that lies (its normal is near the
    camera's vertical axis) is floor, unless it ends nearly everywhere."""
    count = int(labels.max()) + 1
    share, known, planes = closed_share(labels, grid, config)
    own = labels[grid.motion_valid]
    moving = np.bincount(own, grid.motion[grid.motion_valid] > 1, count) > 0.5 * np.maximum(
        np.bincount(labels.ravel(), minlength=count), 1)
    # d = a u + b v + c is the plane n·X = 1 with n ~ (a f, b f, a cx + b cy + c)
    slope = planes[:, :2] / grid.stride
    at_centre = planes[:, 2] + slope @ grid.centre
    normal = np.column_stack([slope * grid.focal, at_centre])
    upright = np.abs(normal[:, 1]) < FLAT * np.linalg.norm(normal, axis=1)
    need = np.where(upright, config.min_closed, LYING_CLOSED)
    out = moving | ((share >= need) & (known >= MIN_KNOWN))
    out[0] = False
    return out


def closed_share(labels: np.ndarray, grid: Grid, config: MotionClustersConfig
                 ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much of its outline each label ends at.

    The surface is extended over the outline as the plane that fits the piece best, so that the ground, whose disparity
    changes from row to row, does not end everywhere. Where something nearer begins, the image ends or nothing is
    known, nothing is said.

    Args:
        labels: [h, w] int, 0 = none.

    Returns:
        [n + 1] share of the outline of each label that drops to something behind, of what is known; nan where
        nothing is.
        [n + 1] share of the outline that is known.
        [n + 1, 3] plane through each label: disparity, less the rig's offset, = a u + b v + c; a, b per cell.
    """
    count = int(labels.max()) + 1
    closed, open_, every = (np.zeros(count) for _ in range(3))
    reach = max(REACH)
    level = np.pad(np.where(grid.valid, grid.disparity, np.nan).astype(np.float32), reach, constant_values=np.nan)
    owner = np.pad(labels, reach, constant_values=-1)

    def at(image: np.ndarray, dy: int, dx: int, k: int) -> np.ndarray:
        """The image `k` cells along (dy, dx)."""
        h, w = labels.shape
        return image[reach + k * dy:reach + k * dy + h, reach + k * dx:reach + k * dx + w]

    planes = _planes(labels, grid, count)
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        v, u = np.nonzero((labels > 0) & (at(owner, dy, dx, 1) != labels))
        own = labels[v, u]
        here = at(level, dy, dx, 0)[v, u]
        beyond, steps = np.full(len(v), np.nan, np.float32), np.zeros(len(v), np.float32)
        for k in REACH:
            value = at(level, dy, dx, k)[v, u]
            take = np.isnan(beyond) & np.isfinite(value) & (at(owner, dy, dx, k)[v, u] != own)
            beyond[take], steps[take] = value[take], k
        limit = np.maximum(config.step_px, config.step_relative * here)
        drop = here + steps * (dx * planes[own, 0] + dy * planes[own, 1]) - beyond
        ends = (drop > limit) & (here - beyond > 0.5 * limit)
        goes_on = ~ends & (drop > -limit)
        every += np.bincount(own, minlength=count)
        closed += np.bincount(own[ends], minlength=count)
        open_ += np.bincount(own[goes_on], minlength=count)
    known = closed + open_
    return np.where(known > 0, closed / np.maximum(known, 1), np.nan), known / np.maximum(every, 1), planes


def _planes(labels: np.ndarray, grid: Grid, count: int) -> np.ndarray:
    """[n + 1, 3] plane through each label, least squares; a, b per cell, c where the image has its origin."""
    v, u = np.nonzero((labels > 0) & grid.valid)
    own, d = labels[v, u], grid.disparity[v, u].astype(float) + grid.offset

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(own, values, count)

    number = np.maximum(total(np.ones(len(own))), 1)
    columns, rows = u.astype(float), v.astype(float)
    means = [total(values) / number for values in (columns, rows, d)]
    x, y, z = (values - mean[own] for values, mean in zip((columns, rows, d), means, strict=True))
    xx, xy, yy, xz, yz = total(x * x) + 1, total(x * y), total(y * y) + 1, total(x * z), total(y * z)
    a, b = np.stack([yy * xz - xy * yz, xx * yz - xy * xz]) / (xx * yy - xy * xy)
    return np.stack([a, b, means[2] - a * means[0] - b * means[1]], -1)
