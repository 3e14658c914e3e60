"""What a window leaves behind of each region: small arrays, no dense field."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy import ndimage

from curate.geometry.cameras import StereoRig
from curate.lift.config import LiftConfig
from curate.lift.noise import DisparityNoise
from curate.perception.estimator import Window
from curate.perception.tracks.points import TrackPoints

OUTLIER = 4.0  # robust standard deviations


@dataclass
class Birth:
    """A region at its first measured frame."""

    frame: int
    mask: np.ndarray  # [H, W] bool, the pixels that define the reference point
    reference: np.ndarray  # [3] metres, camera axes
    disparity_sigma: float  # px, of the reference point's disparity by the noise of single pixels (`DisparityNoise`)
    points: np.ndarray  # [M, 3] metres, at most 2,000 of the surface


@dataclass
class Seen:
    """A region in one frame."""

    box: np.ndarray  # [4] x0, y0, x1, y1
    area_m2: float  # of the mask, as if it faced the camera
    disparity: float  # median over the inner mask
    nearest_m: float
    nearest_sigma_m: float
    flow: np.ndarray  # [2] px to the next frame, nan where unknown
    flow_sigma: float
    tracks: TrackPoints


@dataclass
class Gathered:
    birth: Birth | None = None
    seen: dict[int, Seen] = field(default_factory=dict)


def gather(window: Window, regions: dict[int, Gathered], config: LiftConfig, noise: DisparityNoise) -> None:
    """Adds what the window shows of every region to `regions`, in place."""
    labels = window.fields["regions"].values
    for j in range(window.num_frames):
        frame = window.start + j
        again = j < window.overlap
        for region, box in boxes(labels[j]).items():
            record = regions.setdefault(region, Gathered())
            if again:
                if frame in record.seen and not np.isfinite(record.seen[frame].flow_sigma):
                    inner, cut = inner_pixels(window, j, region, box, config.erode_px)
                    record.seen[frame].flow, record.seen[frame].flow_sigma = mean_flow(window, j, inner, cut)
                continue
            inner, cut = inner_pixels(window, j, region, box, config.erode_px)
            count = int(inner.sum())
            if count < config.min_pixels:
                continue
            d = window.fields["disparity"].values[j][cut][inner].astype(float)
            tracks = window.fields["tracks"].values[j].of(region)
            if record.birth is None:
                if len(tracks) < config.min_points:
                    continue
                record.birth = _birth(window, j, inner, cut, noise)
            flow, flow_sigma = mean_flow(window, j, inner, cut)
            depth = float(window.rig.depth(np.median(d)))
            area = int((labels[j][cut] == region).sum()) * depth**2 / (window.rig.left.fx * window.rig.left.fy)
            nearest, nearest_sigma = nearest_range(window, j, inner, cut, noise)
            record.seen[frame] = Seen(np.array(box, float), area, float(np.median(d)), nearest, nearest_sigma, flow,
                                      flow_sigma, tracks)


def boxes(labels: np.ndarray) -> dict[int, tuple[int, int, int, int]]:
    """Half-open x0, y0, x1, y1 of every label above 0 in [H, W], by rising label."""
    found = ndimage.find_objects(labels)
    return {k: (cut[1].start, cut[0].start, cut[1].stop, cut[0].stop)
            for k, cut in enumerate(found, 1) if cut is not None}


def inner_pixels(window: Window, j: int, region: int, box, border: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Pixels to measure on: away from the border, valid, and on the region's surface (no stray disparity).

    Small regions give up less of their border, never more than a sixth of their size.

    Returns:
        mask over the box [h, w], and the box as slices.
    """
    x0, y0, x1, y1 = box
    cut = (slice(y0, y1), slice(x0, x1))
    mask = window.fields["regions"].values[j][cut] == region
    field_ = window.fields["disparity"]
    values = field_.values[j][cut]
    valid = field_.valid[j][cut] & np.isfinite(values) & (values + window.rig.doffs_px > 0.5)
    # small holes of invalid disparity are not the object's border
    filled = cv2.morphologyEx(np.pad(mask, 4).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))[3:-3, 3:-3]
    border = min(border, np.sqrt(mask.sum()) / 6)
    inner = (cv2.distanceTransform(filled, cv2.DIST_L2, 3)[1:-1, 1:-1] > border) & mask & valid
    if inner.sum() >= 20:
        d = np.where(inner, field_.values[j][cut], 0).astype(np.float32)
        weight = cv2.boxFilter(inner.astype(np.float32), -1, (9, 9), normalize=False)
        about = cv2.boxFilter(d, -1, (9, 9), normalize=False) / np.maximum(weight, 1)
        off = np.abs(d - about)
        limit = max(0.5, OUTLIER * 1.4826 * float(np.median(off[inner])))
        whole = field_.values[j][cut][inner]
        middle = np.median(whole)
        wide = max(1.0, OUTLIER * 1.4826 * float(np.median(np.abs(whole - middle))))
        inner &= (off < limit) & (np.abs(d - middle) < wide)
    return inner, cut


def surface(window: Window, j: int, inner: np.ndarray, cut) -> tuple[np.ndarray, np.ndarray]:
    """(u, v, disparity) [N, 3] of the inner pixels and the disparity's sigma [N]."""
    rows, columns = np.nonzero(inner)
    uvd = np.column_stack([columns + cut[1].start, rows + cut[0].start,
                           window.fields["disparity"].values[j][cut][inner].astype(float)])
    return uvd, window.fields["disparity"].sigma[j][cut][inner].astype(float)


def _birth(window: Window, j: int, inner: np.ndarray, cut, noise: DisparityNoise) -> Birth:
    """The reference point: mean of the surface points, less the bias that 1/disparity gives noisy pixels."""
    rig: StereoRig = window.rig
    uvd, sigma = surface(window, j, inner, cut)
    total = uvd[:, 2] + rig.doffs_px
    excess = 1 + np.clip(sigma / total, 0, 0.3) ** 2  # E[1/(d + e)] ≈ (1 + σ²/d²)/d
    points = rig.point(uvd) / excess[:, None]
    disparity_sigma = float(np.median(sigma) / np.sqrt(noise.effective(len(uvd))))
    mask = np.zeros(window.grey[0].shape[1:], bool)
    mask[cut] = inner
    take = slice(None, None, max(1, len(points) // 2000))
    return Birth(window.start + j, mask, points.mean(0), disparity_sigma, points[take])


def mean_flow(window: Window, j: int, inner: np.ndarray, cut) -> tuple[np.ndarray, float]:
    """Median flow [2] over the inner pixels and its sigma per axis, px; nan, nan where fewer than 20 are valid."""
    field_ = window.fields["flow"]
    ok = inner & field_.valid[j][cut]
    if ok.sum() < 20:
        return np.full(2, np.nan), float("nan")
    sigma = field_.sigma[j][cut][ok].astype(float)
    noise = DisparityNoise.of_field(field_)
    own = np.sqrt(np.median(sigma**2) / noise.effective(ok.sum()))
    return np.median(field_.values[j][cut][ok].astype(float), 0), float(np.hypot(own, noise.floor_px))


def nearest_range(window: Window, j: int, inner: np.ndarray, cut, noise: DisparityNoise) -> tuple[float, float]:
    """Distance from the camera of the nearest part of the surface (2 % quantile) and its sigma, metres.

    Noise widens the spread of ranges and so brings the quantile nearer than the surface is; the width of the
    noise at that quantile is taken off in squares.
    """
    uvd, sigma = surface(window, j, inner, cut)
    ranges = np.linalg.norm(window.rig.point(uvd), axis=1)
    low, middle = np.percentile(ranges, [2, 50])
    near = ranges <= np.percentile(ranges, 10)
    per_px = np.median(ranges[near] / (uvd[near, 2] + window.rig.doffs_px))  # ∂range/∂disparity
    noise_m = per_px * np.median(sigma[near])
    spread = np.sqrt(max((middle - low) ** 2 - (2.05 * noise_m) ** 2, 0.0))
    own = noise_m / np.sqrt(noise.effective(near.sum()))
    shift = middle - spread - low  # what was taken off is known to about a third
    return float(middle - spread), float(np.sqrt(own**2 + (per_px * noise.floor_px) ** 2 + (shift / 3) ** 2))
