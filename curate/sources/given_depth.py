"""Depth that a source brings, as perception works on it: in pixels of disparity of a virtual rig.

Perception is written for disparity: a matcher's error is even there, thresholds of surfaces are pixels, and infinity is
zero. Depth of a sensor is brought to the same form. The virtual rig is the colour camera with a right camera that does
not exist, beside it by a baseline that is a unit and no length of anything; nothing that is asked or stored speaks of
it. A good baseline makes the sensor's noise a twentieth to a tenth of a pixel at the distances that matter, as that of
a matcher: the thresholds are made for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.perception.estimator import Field

Reader = Callable[[int, int], tuple[np.ndarray, np.ndarray, np.ndarray]]


def virtual_rig(camera: Intrinsics, baseline_m: float) -> StereoRig:
    """The rig whose disparities stand for the depth of one camera: d = fx · baseline / z."""
    return StereoRig(camera, baseline_m)


def error_model(correlation_px: float, floor_px: float, temporal_share: float) -> dict[str, float]:
    """What pixels of a region share, under the names of the calibration's table (`curate.data.calibration`).

    Args:
        correlation_px: neighbouring pixels with one error (an area).
        floor_px: standard deviation of the mean disparity of a region that no number of pixels lowers.
        temporal_share: share of that variance that stays from frame to frame.
    """
    return {"region_correlation_px": float(correlation_px), "region_floor_px": float(floor_px),
            "region_floor_temporal_share": float(temporal_share)}


def depth_fields(depth: np.ndarray, valid: np.ndarray, sigma: np.ndarray, rig: StereoRig,
                 model: dict[str, float] | None = None, readout_s: float = 0.0) -> dict[str, Field]:
    """Fields `disparity` and `depth` of a window.

    Args:
        depth: [n, H, W] metres along the optical axis; whatever where it is not valid.
        valid: [n, H, W] bool.
        sigma: [n, H, W] metres, standard deviation of a pixel.
        rig: in whose pixels disparities are.
        model: from `error_model`; without one half of the typical sigma is taken to be shared by all of a region.
        readout_s: of the colour camera, from its first row to its last (rolling shutter); widens the camera's errors.
    """
    known = valid & np.isfinite(depth) & (depth > 0) & np.isfinite(sigma)
    z = np.where(known, depth, 1).astype(np.float32)
    scale = np.float32(rig.left.fx * rig.baseline_m)
    disparity = np.where(known, scale / z - np.float32(rig.doffs_px), 0).astype(np.float32)
    spread = np.where(known, scale / z**2 * sigma, np.inf).astype(np.float32)
    info: dict[str, Any] = {"readout_s": readout_s} | ({"error_model": model} if model else {})
    return {"disparity": Field(disparity, known, spread, "source", info),
            "depth": Field(np.where(known, z, np.float32(np.inf)), known,
                           np.where(known, sigma, np.inf).astype(np.float32), "source", info)}


class GivenDepth:
    """The entries "disparity" and "depth" of `Frames.given`, read window by window.

    Args:
        read: (start, stop) to depth [n, H, W] metres, valid [n, H, W] and sigma [n, H, W] metres.
        rig: in whose pixels disparities are.
        model, readout_s: as `depth_fields`.
    """

    def __init__(self, read: Reader, rig: StereoRig, model: dict[str, float] | None = None,
                 readout_s: float = 0.0) -> None:
        self._read, self._rig, self._model, self._readout_s = read, rig, model, readout_s
        self._last: tuple[tuple[int, int], dict[str, Field]] | None = None

    def fields(self, start: int, stop: int) -> dict[str, Field]:
        """Both fields of frames start to stop; the last window asked for is remembered."""
        if self._last is None or self._last[0] != (start, stop):
            self._last = None  # one window at a time
            self._last = (start, stop), depth_fields(*self._read(start, stop), self._rig, self._model,
                                                        self._readout_s)
        return self._last[1]

    def given(self) -> dict[str, Callable[[int, int], Field]]:
        return {name: lambda start, stop, name=name: self.fields(start, stop)[name] for name in ("disparity", "depth")}


def closed(depth: np.ndarray, valid: np.ndarray, sigma: np.ndarray, reach_px: int, max_step: float = 0.03
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sparse depth (a projected scan) spread over the surfaces between its points; what lies at a step stays unknown.

    A pixel takes the mean inverse depth (planes stay planes) of the points in its window, weighted by their nearness,
    where there are at least three, some on both sides of it, and all of one surface. What they differ by, their own
    error and what the surface may do between them make its sigma.

    Args:
        depth, sigma: [H, W] metres. valid: [H, W] bool, pixels with a point.
        reach_px: half the window's side; about the distance between the scan's lines.
        max_step: points are of one surface if their depths differ by less than this share.

    Returns:
        depth, valid, sigma as given; pixels with a point keep theirs.
    """
    side = 2 * reach_px + 1
    ramp = 1 - np.abs(np.arange(-reach_px, reach_px + 1, dtype=np.float32)) / (reach_px + 1)
    inverse = np.where(valid, 1 / np.where(valid, depth, 1), 0).astype(np.float32)
    weight = valid.astype(np.float32)

    def spread(image: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(image.astype(np.float32), -1, ramp, ramp, borderType=cv2.BORDER_CONSTANT)

    total = spread(weight)
    count = cv2.boxFilter(weight, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    mean = spread(inverse) / np.maximum(total, 1e-6)
    mean_square = spread(inverse**2) / np.maximum(total, 1e-6)
    near = cv2.dilate(np.where(valid, inverse, -1).astype(np.float32), np.ones((side, side), np.uint8))
    far = cv2.erode(np.where(valid, inverse, 1e6).astype(np.float32), np.ones((side, side), np.uint8))
    own = spread(np.where(valid, (sigma * inverse**2) ** 2, 0)) / np.maximum(total, 1e-6)
    above = _has_point(valid, reach_px, down=False)
    below = _has_point(valid, reach_px, down=True)
    known = (count >= 3) & above & below & (near - far < max_step * near)
    new = known & ~valid
    between = np.maximum(mean_square - mean**2, 0) + own
    out = np.where(new, 1 / np.maximum(mean, 1e-6), depth)
    return out, valid | new, np.where(new, np.sqrt(between) * out**2, sigma)


def _has_point(valid: np.ndarray, reach: int, down: bool) -> np.ndarray:
    """[H, W] whether there is a point in the rows up to `reach` above (or below, `down`) within `reach` columns."""
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    kernel[(slice(reach, None) if down else slice(0, reach + 1))] = 1
    return cv2.dilate(valid.astype(np.uint8), kernel) > 0
