"""Regions by motion and 3D clustering, with ids that stay.

Every frame is cut into pieces of surface (`segment.pieces`), still and moving alike. Regions of the frame
before are carried over by the flow, kept to pixels whose disparity fits, and take the shape of the new piece
that covers them; so an id outlives a moment of rest. Pieces that no region claims become new regions where they are
objects (`closure`). A region whose larger part is hidden or out of the image is lost: it is seen nowhere, is
remembered for a while, and gets its id back where it comes out again (`memory`).
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from curate.perception.estimator import Field, Resources, Window
from curate.perception.regions.carry import carry_over
from curate.perception.regions.closure import is_object
from curate.perception.regions.config import MotionClustersConfig
from curate.perception.regions.grid import Grid, make_grid
from curate.perception.regions.memory import MIN_LIKENESS, WHOLE, Live, known_again, surface
from curate.perception.regions.rigidity import disagreeing, main_part, opened
from curate.perception.regions.segment import pieces

MIN_CELLS = 20
GROWTH = 0.1  # of its size a region may grow on each side from frame to frame
MOSTLY = 0.7  # of a carried region lies on one piece


class MotionClusters:
    """Stable labels of still and moving objects; gives `regions` [n, H, W] int16, 0 = scenery."""

    name = "motion-clusters"
    version = "5"
    needs = ("disparity", "flow", "camera", "motion")
    gives = ("regions",)
    window = 2
    overlap = 1
    resources = Resources(memory_bytes=200 << 20)

    def __init__(self, config: MotionClustersConfig | None = None) -> None:
        self.config = config or MotionClustersConfig()

    def setup(self) -> None:
        cv2.setNumThreads(1)

    def run(self, window: Window) -> dict[str, Field]:
        state = window.carry.setdefault(self.name, {"live": {}, "lost": {}, "next": 1, "labels": None})
        height, width = window.grey[0].shape[1:]
        stride = max(1, round(width / self.config.work_width))
        out = np.zeros((window.num_frames, height, width), np.int16)
        labels = state["labels"]
        first = window.overlap if labels is not None else 0
        before = None
        for j in range(window.num_frames):
            grid = make_grid(window, j, stride, self.config.min_disparity_px)
            if j >= first:
                rng = np.random.default_rng([window.seed, window.start + j])
                found = pieces(grid, self.config, rng)
                labels = self._advance(found, labels, before, grid, state)
                labels = prune(labels, found, grid, rng)
            elif j < first - 1:
                before = grid
                continue
            out[j] = np.repeat(np.repeat(labels, stride, 0), stride, 1)[:height, :width] if stride > 1 else labels
            before = grid
        state["labels"] = labels  # one frame of the working grid
        valid = out > 0
        return {"regions": Field(out, valid, None, f"{self.name}@{self.version}")}

    def _advance(self, found: np.ndarray, labels: np.ndarray | None, before: Grid | None, grid: Grid,
                 state: dict) -> np.ndarray:
        """Labels [h, w] int16 of this frame from its pieces and the labels of the frame before."""
        live: dict[int, Live] = state["live"]
        lost: dict[int, Live] = state["lost"]
        out = np.zeros(found.shape, np.int16)
        taken = np.zeros(found.max() + 1, bool)
        sizes = np.bincount(found.ravel(), minlength=len(taken))
        if labels is not None and live:
            carried, motion = carry_over(labels, before, grid, self.config)
            where, piece_boxes = ndimage.find_objects(carried), ndimage.find_objects(found)
            for region, known in live.items():
                known.move(motion.get(region), grid)
            # nearest first: what stands in front keeps its pixels
            for region in sorted(live, key=lambda r: -live[r].disparity):
                cut = where[region - 1] if region <= len(where) else None
                area = 0
                if cut is not None:
                    under = np.unique(found[cut][carried[cut] == region])
                    cut = _around([cut, *(piece_boxes[piece - 1] for piece in under if piece)])
                    mask = self._shape(carried[cut] == region, found[cut], sizes, taken, out[cut], grid.valid[cut],
                                       self._largest(live[region], grid))
                    area = int(mask.sum())
                if area < MIN_CELLS or area < self.config.lost_share * self._largest(live[region], grid):
                    lost[region] = live.pop(region)
                    continue
                out[cut][mask] = region
                live[region].see(out == region, grid)
        self._find_lost(found, taken, out, grid, live, lost)
        objects = is_object(found, grid, self.config)
        min_cells = self.config.min_share * out.size
        for piece in np.flatnonzero(objects & ~taken):
            if len(live) >= self.config.max_live:
                break
            mask = found == piece
            free = mask & (out == 0)
            if free.sum() < max(min_cells, 0.7 * mask.sum()):
                continue
            number = state["next"]
            state["next"] += 1
            out[free] = number
            live[number] = Live.born(free, grid)
        return out

    @staticmethod
    def _largest(known: Live, grid: Grid) -> float:
        """Cells the region would cover here if all of it were seen."""
        return known.largest * max(known.disparity + grid.offset, 0.5) ** 2

    def _find_lost(self, found, taken, out, grid: Grid, live: dict[int, Live], lost: dict[int, Live]) -> None:
        """Gives lost regions the pieces they come back as; forgets those that are gone for too long."""
        for region in [r for r, known in lost.items() if grid.time_s - known.seen_s > self.config.keep_lost_s]:
            del lost[region]
        for known in lost.values():
            known.move(None, grid)
        if not lost:
            return
        free = {}
        for piece, cut in enumerate(ndimage.find_objects(found), 1):
            if cut is not None and not taken[piece]:
                mask = (found[cut] == piece) & (out[cut] == 0)
                if mask.sum() >= MIN_CELLS and (mask & grid.valid[cut]).any():
                    free[piece] = mask, cut, float(np.median(grid.disparity[cut][mask & grid.valid[cut]]))
        pairs = [(known_again(*look, known, grid, self.config), region, piece)
                 for region, known in lost.items() for piece, look in free.items()]
        pairs = [pair for pair in pairs if pair[0] is not None]
        for (alike, shift), region, piece in sorted(pairs, key=lambda p: (-p[0][0], p[1], p[2])):
            if taken[piece] or region not in lost:
                continue
            known, (mask, cut, disparity) = lost[region], free[piece]
            now = surface(mask, disparity, grid)
            if now < self.config.lost_share * known.largest:
                taken[piece] = True  # too little is seen to tell; it is nothing new yet
                continue
            if alike < MIN_LIKENESS:
                continue
            taken[piece] = True
            out[cut][mask] = region
            known.picture.corner = known.picture.corner + shift
            live[region] = lost.pop(region)
            known.see(out == region, grid)

    def _shape(self, carried, found, sizes, taken, out, valid, whole: float) -> np.ndarray:
        """The carried mask, exchanged for the piece that covers it where the two agree. All arrays around it.

        Args:
            whole: cells the region would cover if all of it were seen; what comes out of hiding grows up to that.
        """
        carried = carried & (out == 0)
        area = carried.sum()
        if area == 0:
            return carried
        counts = np.bincount(found[carried], minlength=len(taken))
        counts[0] = 0
        union = area + sizes - counts
        best = int(np.argmax(counts / np.maximum(union, 1)))
        if (best and area < WHOLE * whole and counts[best] > MOSTLY * area
                and sizes[best] < whole / WHOLE and not taken[best]):
            taken[best] = True
            return (found == best) & (out == 0)
        side = 2 * round(2 + GROWTH * np.sqrt(area)) + 1
        near = cv2.dilate(carried.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
        if best and counts[best] / union[best] >= self.config.match_iou:
            taken[best] = True
            return (((found == best) & near) | (carried & (found == 0))) & (out == 0)
        # pieces that lie mostly inside belong to it too
        inside = np.flatnonzero(counts > 0.7 * np.maximum(sizes, 1))
        taken[inside[inside > 0]] = True
        return carried & valid


def _around(boxes: list[tuple[slice, slice]]) -> tuple[slice, slice]:
    """The box around boxes, two cells wider."""
    return tuple(slice(max(min(b[axis].start for b in boxes) - 2, 0), max(b[axis].stop for b in boxes) + 2)
                 for axis in (0, 1))


def prune(labels: np.ndarray, found: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Regions without the cells that move otherwise (ground under a car), and without crumbs. One that is a piece of
    this frame, or part of one, moves as one already."""
    labels = labels.copy()
    for region, cut in enumerate(ndimage.find_objects(labels), 1):
        if cut is None:
            continue
        mask = labels[cut] == region
        keep = mask
        under = found[cut][mask]
        if under[0] == 0 or (under != under[0]).any():
            other = disagreeing(mask, grid.own[cut], grid.points[cut], grid.own_valid[cut], grid.focal, rng)
            if other.any():
                keep = mask & ~(cv2.dilate(opened(other, 2).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
        keep = main_part(keep)
        if keep.sum() > 0.5 * mask.sum():
            labels[cut][mask & ~keep] = 0
    return labels
