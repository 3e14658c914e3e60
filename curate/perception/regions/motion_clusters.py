"""Regions by motion and 3D clustering, with ids that stay.

Every frame is cut into pieces of surface (`segment.pieces`), still and moving alike. Regions of the frame
before are carried over by the flow, kept to pixels whose disparity fits, and take the shape of the new piece
that covers them; so an id outlives a moment of rest. Pieces that no region claims become new regions. A region
ends when most of it is hidden or out of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from curate.perception.estimator import Field, Resources, Window
from curate.perception.regions.config import MotionClustersConfig
from curate.perception.regions.grid import Grid, make_grid
from curate.perception.regions.rigidity import disagreeing, main_part, opened
from curate.perception.regions.segment import bounds, pieces


@dataclass
class _Live:
    """What is remembered of a region: its largest area so far (cells)."""

    largest: int


class MotionClusters:
    """Stable labels of still and moving objects; gives `regions` [n, H, W] int16, 0 = scenery."""

    name = "motion-clusters"
    version = "2"
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
        state = window.carry.setdefault(self.name, {"live": {}, "next": 1, "labels": None})
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
                labels = prune(labels, grid, rng)
            elif j < first - 1:
                before = grid
                continue
            out[j] = np.repeat(np.repeat(labels, stride, 0), stride, 1)[:height, :width] if stride > 1 else labels
            before = grid
        state["labels"] = labels  # one frame of the working grid
        valid = out > 0
        return {"regions": Field(out, valid, None, f"{self.name}@{self.version}")}

    def _advance(self, found, labels, before: Grid | None, grid: Grid, state: dict) -> np.ndarray:
        """Labels [h, w] int16 of this frame from its pieces and the labels of the frame before."""
        live: dict[int, _Live] = state["live"]
        out = np.zeros(found.shape, np.int16)
        taken = np.zeros(found.max() + 1, bool)
        if labels is not None and live:
            carried = carry_over(labels, before, grid, self.config)
            # nearest first: what stands in front keeps its pixels
            for region in sorted(live, key=lambda r: -_median_disparity(carried == r, grid)):
                mask = self._shape(carried == region, found, taken, out, grid)
                area = int(mask.sum())
                if area < max(20, self.config.lost_share * live[region].largest):
                    del live[region]
                    continue
                out[mask] = region
                live[region].largest = max(live[region].largest, area)
        min_cells = self.config.min_share * out.size
        for piece in range(1, found.max() + 1):
            if taken[piece] or len(live) >= self.config.max_live:
                continue
            mask = found == piece
            free = mask & (out == 0)
            if free.sum() < max(min_cells, 0.7 * mask.sum()):
                continue
            number = state["next"]
            state["next"] += 1
            out[free] = number
            live[number] = _Live(int(free.sum()))
        return out

    def _shape(self, carried, found, taken, out, grid: Grid) -> np.ndarray:
        """The carried mask, exchanged for the piece that covers it where the two agree."""
        carried = carried & (out == 0)
        area = carried.sum()
        if area == 0:
            return carried
        counts = np.bincount(found[carried], minlength=len(taken))
        counts[0] = 0
        sizes = np.bincount(found.ravel(), minlength=len(taken))
        union = area + sizes - counts
        best = int(np.argmax(counts / np.maximum(union, 1)))
        near = cv2.dilate(carried.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        if best and counts[best] / union[best] >= self.config.match_iou:
            taken[best] = True
            return ((found == best) & near | carried & (found == best) | carried & (found == 0)) & (out == 0)
        # pieces that lie mostly inside belong to it too
        inside = np.flatnonzero(counts > 0.7 * np.maximum(sizes, 1))
        taken[inside[inside > 0]] = True
        return carried & grid.valid


def prune(labels: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Regions without the cells that move otherwise (ground under a car), and without crumbs."""
    labels = labels.copy()
    for region in np.unique(labels[labels > 0]):
        cut = bounds(labels == region)
        mask = labels[cut] == region
        other = disagreeing(mask, grid.own[cut], grid.points[cut], grid.own_valid[cut], grid.focal, rng)
        other = cv2.dilate(opened(other, 2).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        keep = main_part(mask & ~other)
        if keep.sum() > 0.5 * mask.sum():
            labels[cut][mask & ~keep] = 0
    return labels


def carry_over(labels: np.ndarray, before: Grid, grid: Grid, config: MotionClustersConfig) -> np.ndarray:
    """Labels [h, w] of the frame before, moved by its flow; kept where the disparity fits the region's.

    Cells without flow move with the median of their region. Where two regions meet, the nearer one wins.
    """
    height, width = labels.shape
    v, u = np.nonzero((labels > 0) & before.valid)
    label = labels[v, u]
    step = before.flow[v, u].astype(float)
    known = before.flow_valid[v, u]
    d = before.disparity[v, u]
    change = {}
    for region in np.unique(label):
        of = label == region
        if (of & known).any():
            step[of & ~known] = np.median(step[of & known], 0)
        else:
            step[of] = 0
        at_u = np.clip(np.rint(u[of] + step[of, 0] / grid.stride).astype(int), 0, width - 1)
        at_v = np.clip(np.rint(v[of] + step[of, 1] / grid.stride).astype(int), 0, height - 1)
        ok = grid.valid[at_v, at_u]
        difference = grid.disparity[at_v, at_u][ok] - d[of][ok]
        change[region] = np.median(difference) if len(difference) else 0.0
    nu, nv = np.rint(u + step[:, 0] / grid.stride).astype(int), np.rint(v + step[:, 1] / grid.stride).astype(int)
    inside = (nu >= 0) & (nu < width) & (nv >= 0) & (nv < height)
    expected = d + np.array([change[r] for r in label]) if len(label) else d
    ranked = np.argsort(expected[inside], kind="stable")
    nu, nv, label, expected = (x[inside][ranked] for x in (nu, nv, label, expected))
    moved = np.zeros(labels.shape, np.int16)
    level = np.zeros(labels.shape, np.float32)
    moved[nv, nu], level[nv, nu] = label, expected
    out = np.zeros_like(moved)
    kernel = np.ones((3, 3), np.uint8)
    for region in np.unique(label):
        own = (moved == region).astype(np.uint8)
        closed = cv2.morphologyEx(own, cv2.MORPH_CLOSE, kernel) > 0
        weight = cv2.boxFilter(own.astype(np.float32), -1, (3, 3), normalize=False)
        about = cv2.boxFilter(np.where(own > 0, level, 0), -1, (3, 3), normalize=False) / np.maximum(weight, 1)
        tolerance = np.maximum(1.5 * config.step_px, 3 * config.step_relative * about)
        fits = grid.valid & (np.abs(grid.disparity - about) < tolerance)
        out[closed & fits & ((moved == 0) | (moved == region))] = region
    return out


def _median_disparity(mask: np.ndarray, grid: Grid) -> float:
    values = grid.disparity[mask & grid.valid]
    return float(np.median(values)) if len(values) else 0.0
