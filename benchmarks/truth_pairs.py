"""Depth of real pairs against a dense disparity or LiDAR: wrong pixels by density, bias, sigma, region means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.calibration_stats import inside, normal_score
from benchmarks.discover import Pair
from benchmarks.table import Row, at_most, row
from curate.lift.noise import DisparityNoise
from curate.measure.quantity import LEVELS

DENSITY = 0.8
DENSITIES = (0.5, 0.9, 1.0)
DENSE_PX = 2.0
SPARSE_PX, SPARSE_SHARE = 3.0, 0.05
MAX_BAD_PERCENT = 4.0
MAX_BIAS_PX = 0.05
WITHIN = (93.0, 98.0)
TILES = (24, 48, 96)  # pixels; regions of a picture
MIN_TILE_SHARE = {False: 0.5, True: 0.01}  # of a tile's pixels with an estimate and a truth: dense, LiDAR
MAX_TILE_SPREAD = 0.1  # of its size: disparities of one tile are of one surface


@dataclass(frozen=True)
class Depth:
    """What the estimator says of a pair: [H, W] px."""

    disparity: np.ndarray
    sigma: np.ndarray
    valid: np.ndarray
    filled_by: str


def estimate(pair: Pair) -> Depth:
    """Disparity by the default estimator, of one frame."""
    from curate.geometry.cameras import Intrinsics, StereoRig
    from curate.perception import make_estimators
    from curate.perception.config import PerceptionConfig
    from curate.perception.estimator import Window

    height, width = pair.left.shape
    rig = pair.rig or StereoRig(Intrinsics(float(width), float(width), (width - 1) / 2, (height - 1) / 2, width,
                                           height), 1.0)
    estimator = next(e for e in make_estimators(PerceptionConfig()) if "disparity" in e.gives)
    estimator.setup()
    grey = [view[None] for view in (pair.left, pair.right)]
    images = [np.repeat(view[..., None], 3, -1) for view in grey]
    field = estimator.run(Window(0, 0, True, images, grey, np.zeros(1), rig, rig.left, 0, {}, {}))["disparity"]
    return Depth(field.values[0], field.sigma[0], field.valid[0], field.filled_by)


def visible_in_both(disparity: np.ndarray) -> np.ndarray:
    """[H, W] bool: pixels of the left view that the right one sees too, by warping the truth: what lands where
    something nearer lands is hidden."""
    height, width = disparity.shape
    v, u = np.nonzero(np.isfinite(disparity))
    d = disparity[v, u]
    at = u - d
    nearest = np.full((height, width + 2), -np.inf)
    low = np.floor(at).astype(int)
    inside_view = (low >= 0) & (at <= width - 1)
    for column in (low, low + 1):
        ok = inside_view & (column >= 0)
        np.maximum.at(nearest, (v[ok], column[ok]), d[ok])
    seen = np.zeros(disparity.shape, bool)
    ok = inside_view.copy()
    blocked = np.minimum(nearest[v[ok], low[ok]], nearest[v[ok], low[ok] + 1])
    ok[ok] = d[inside_view] >= blocked - 1.0
    seen[v[ok], u[ok]] = True
    return seen


def scored(pair: Pair, depth: Depth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(error px, truth px, sigma px) [n] of the pixels whose truth both views see; sigma inf where nothing is known."""
    both = visible_in_both(pair.disparity) if not pair.sparse else (
        np.isfinite(pair.disparity) & (np.indices(pair.disparity.shape)[1] - np.nan_to_num(pair.disparity) >= 0))
    truth = pair.disparity[both]
    known = depth.valid[both]
    return np.where(known, depth.disparity[both] - truth, np.inf), truth, np.where(known, depth.sigma[both], np.inf)


def bad_share(error: np.ndarray, truth: np.ndarray, sigma: np.ndarray, sparse: bool, density: float) -> float:
    """Share of wrong pixels among the `density` of all [n] that are stated the surest; what is missing is wrong."""
    count = max(1, round(density * len(error)))
    pick = np.argsort(sigma, kind="stable")[:count]
    size = np.abs(error[pick])
    wrong = size > SPARSE_PX if sparse else size > DENSE_PX
    if sparse:
        wrong &= size > SPARSE_SHARE * truth[pick]
    return float(wrong.mean())


def rows_of(pair: Pair, depth: Depth) -> list[Row]:
    """Figures of one pair. A truth in whole pixels has no targets: its rounding is as large as the errors."""
    error, truth, sigma = scored(pair, depth)
    known = np.isfinite(error)
    what = "more than 3 px and 5 % wrong" if pair.sparse else "bad-2px"
    bad = 100 * bad_share(error, truth, sigma, pair.sparse, DENSITY)
    name = f"{pair.name}: {what} at 80 % density"
    rows = [row(f"{name} (truth in whole pixels)", bad, "%") if pair.whole_pixels else
            at_most(name, bad, "%", MAX_BAD_PERCENT)]
    for density in DENSITIES:
        rows.append(row(f"{pair.name}: {what} at {density:.0%} density",
                        100 * bad_share(error, truth, sigma, pair.sparse, density), "%"))
    rows.append(row(f"{pair.name}: density reached", 100 * float(known.mean()), "%"))
    fine = known & (np.abs(np.where(known, error, 0)) < DENSE_PX)
    bias = float(np.median(error[fine]))
    if pair.sparse or pair.whole_pixels:
        rows.append(row(f"{pair.name}: bias (median)", bias, "px"))
    else:
        rows.append(row(f"{pair.name}: bias (median)", bias, "px", f"≤ {MAX_BIAS_PX} by size",
                        abs(bias) <= MAX_BIAS_PX))
    within = 100 * float(np.mean(np.abs(error[known]) <= 2 * sigma[known]))
    rows.append(row(f"{pair.name}: within 2 sigma", within, "%") if pair.sparse or pair.whole_pixels else
                row(f"{pair.name}: within 2 sigma", within, "%", f"{WITHIN[0]:g} to {WITHIN[1]:g}",
                    WITHIN[0] <= within <= WITHIN[1]))
    rows.append(row(f"{pair.name}: error, median size", float(np.median(np.abs(error[known]))), "px"))
    return rows


def curve(pair: Pair, depth: Depth) -> list[tuple[float, float]]:
    """(density, wrong share) from the surest pixels to all that are known."""
    error, truth, sigma = scored(pair, depth)
    top = float(np.isfinite(error).mean())
    return [(d, bad_share(error, truth, sigma, pair.sparse, d)) for d in np.linspace(0.05, 1, 20) if d <= top]


def region_items(pair: Pair, depth: Depth) -> list[dict[str, Any]]:
    """Mean distances of tiles, as the lift would state them of a region, against the truth; one tile size by place.

    The region's error is that of its mean disparity: correlated pixels, and a floor (`DisparityNoise`).
    """
    noise = DisparityNoise.of(depth.filled_by)
    height, width = depth.disparity.shape
    items = []
    for number, side in enumerate(TILES):
        for top in range(0, height - side + 1, side):
            for left in range(0, width - side + 1, side):
                if (top // max(TILES) + left // max(TILES)) % len(TILES) != number:
                    continue  # each place once
                cut = (slice(top, top + side), slice(left, left + side))
                use = depth.valid[cut] & np.isfinite(pair.disparity[cut])
                if use.sum() < max(8, MIN_TILE_SHARE[pair.sparse] * side**2):
                    continue
                truth = pair.disparity[cut][use]
                if np.subtract(*np.percentile(truth, [95, 5])) > MAX_TILE_SPREAD * side:
                    continue
                error = np.median(depth.disparity[cut][use] - truth)
                own = float(np.mean(depth.sigma[cut][use] ** 2)) / noise.effective(use.sum())
                sigma = float(np.sqrt(own + noise.floor_px**2))
                quantiles = list(error + sigma * _DEVIATES)
                held = inside(0.0, quantiles, False)
                items.append({"kind": "region_disparity", "scene": pair.name, "z": normal_score(0.0, quantiles),
                              "inside": held, "miss": 0, "at_zero": False, "depth_m": 1 / float(np.median(truth)),
                              "relative_error": abs(error) / float(np.median(truth)), "half_width": 1.96 * sigma,
                              "value": float(error), "truth": 0.0, "error": {}, "quantiles": quantiles})
    return items


def _deviates() -> np.ndarray:
    from scipy.stats import norm

    return norm.ppf(LEVELS)


_DEVIATES = _deviates()
