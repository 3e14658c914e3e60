"""Regions that are hidden for a moment, and how they are known again: by place, distance and looks.

Of every region its picture from when most of it was seen is kept. A new piece of surface is compared with the
pictures of those that are lost: it must lie where the region would have moved to, at the disparity it would have,
and look like the part of the picture it covers.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from curate.perception.regions.config import MotionClustersConfig
from curate.perception.regions.grid import Grid

WHOLE = 0.8  # of the largest surface: the picture is renewed
SMOOTHING = 0.5  # of the motion from frame to frame
MIN_LIKENESS = 0.7  # normalised correlation
MIN_CONTRAST = 3.0  # grey levels; what is flat looks like anything
MIN_INSIDE = 0.6  # of a piece within the silhouette


@dataclass
class Picture:
    """A region when most of it was seen. Cells of the working grid.

    Args:
        grey: [h, w] uint8 around the region, mask: [h, w] bool.
        corner: [2] (u, v) of grey[0, 0], moved along with the region since.
        disparity: px, median when it was taken.
    """

    grey: np.ndarray
    mask: np.ndarray
    corner: np.ndarray
    disparity: float


@dataclass
class Live:
    """What is remembered of a region.

    Args:
        largest: largest surface so far, cells over squared disparity: as if it kept its distance.
        disparity: px, median now (or where it would be).
        motion: [3] smoothed motion per second, cells and px of disparity.
        time_s: of the last update.
        seen_s: when it was last seen.
    """

    largest: float
    disparity: float
    motion: np.ndarray
    time_s: float
    seen_s: float
    picture: Picture | None = None

    @staticmethod
    def born(mask: np.ndarray, grid: Grid) -> Live:
        disparity = median_disparity(mask, grid)
        live = Live(surface(mask, disparity, grid), disparity, np.zeros(3), grid.time_s, grid.time_s)
        live.picture = _take(mask, disparity, grid)
        return live

    def move(self, step: np.ndarray | None, grid: Grid) -> None:
        """On to this frame: by `step` [3] (cells, px) where it was measured, else as before."""
        elapsed = grid.time_s - self.time_s
        if elapsed <= 0:
            return
        if step is not None:
            fresh = not self.motion.any()
            self.motion = step / elapsed if fresh else (1 - SMOOTHING) * self.motion + SMOOTHING * step / elapsed
        else:
            step = self.motion * elapsed
        self.time_s = grid.time_s
        self.disparity = max(self.disparity + float(step[2]), 0.5)
        if self.picture is not None:
            self.picture.corner = self.picture.corner + step[:2]

    def see(self, mask: np.ndarray, grid: Grid) -> None:
        """Seen in this frame as `mask` [h, w]."""
        self.disparity, self.seen_s = median_disparity(mask, grid), grid.time_s
        now = surface(mask, self.disparity, grid)
        self.largest = max(self.largest, now)
        if now >= WHOLE * self.largest:
            self.picture = _take(mask, self.disparity, grid)


def surface(mask: np.ndarray, disparity: float, grid: Grid) -> float:
    """Cells over squared disparity: what does not change with distance."""
    return float(mask.sum()) / max(disparity + grid.offset, 0.5) ** 2


def median_disparity(mask: np.ndarray, grid: Grid) -> float:
    values = grid.disparity[mask & grid.valid]
    return float(np.median(values)) if len(values) else 0.0


def _take(mask: np.ndarray, disparity: float, grid: Grid) -> Picture:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    cut = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return Picture(grid.grey[cut].copy(), mask[cut].copy(), np.array([columns[0], rows[0]], float), disparity)


def known_again(piece: np.ndarray, cut: tuple[slice, slice], disparity: float, lost: Live, grid: Grid,
                config: MotionClustersConfig) -> tuple[float, np.ndarray] | None:
    """How alike a piece of this frame and a lost region are.

    Args:
        piece: [a, b] bool over its box `cut`; disparity: its median, px.

    Returns:
        normalised correlation where they fit best, and by how many cells the region lies beside its prediction there;
        None where the piece cannot be it, by its place and disparity.
    """
    picture = lost.picture
    hidden_s = grid.time_s - lost.seen_s
    tolerance = max(2 * config.step_px, 4 * config.step_relative * disparity, 0.5 * abs(lost.motion[2]) * hidden_s)
    if picture is None or abs(disparity - lost.disparity) > tolerance:
        return None
    scale = (disparity + grid.offset) / max(picture.disparity + grid.offset, 0.5)
    height, width = picture.mask.shape
    size = max(2, round(width * scale)), max(2, round(height * scale))
    if not 0.4 < scale < 2.5:
        return None
    centre = picture.corner + np.array([width, height]) / 2
    corner = np.rint(centre - np.array(size) / 2).astype(int)
    reach = int(np.ceil(4 + 0.1 * max(size) + 0.25 * np.abs(lost.motion[:2]).max() * hidden_s))
    piece = piece.astype(np.uint8)
    # the seen part against the picture, wherever within reach of the prediction it may lie
    pad = reach + max(piece.shape)
    offset = np.array([cut[1].start, cut[0].start]) - corner + pad
    low = offset - reach
    if (low < 0).any() or (low + 2 * reach + piece.shape[::-1] > np.array(size) + 2 * pad).any():
        return None
    grey = cv2.resize(picture.grey, size, interpolation=cv2.INTER_LINEAR).astype(np.float32)
    inside = cv2.resize(picture.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    span = (slice(low[1], low[1] + 2 * reach + piece.shape[0]), slice(low[0], low[0] + 2 * reach + piece.shape[1]))
    view = np.ascontiguousarray(np.pad(grey, pad, mode="edge")[span])
    shape = np.ascontiguousarray(np.pad(inside, pad)[span].astype(np.float32))
    template, weight = grid.grey[cut].astype(np.float32), piece.astype(np.float32)
    covered = cv2.matchTemplate(shape, weight, cv2.TM_CCORR) / piece.sum()
    if covered.max() < MIN_INSIDE:
        return None
    if template[piece > 0].std() < MIN_CONTRAST:
        return 0.0, np.zeros(2)
    alike = cv2.matchTemplate(view, template, cv2.TM_CCOEFF_NORMED, mask=weight)
    alike = np.where(np.isfinite(alike) & (covered >= MIN_INSIDE), alike, 0)
    best = np.unravel_index(int(np.argmax(alike)), alike.shape)
    return float(alike[best]), reach - np.array(best[::-1], float)
