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

    A plane is fitted to the points in the window of each pixel, weighted by their nearness; planes are linear in
    inverse depth. A pixel takes its value where there are at least four points, some above and some below, and all lie
    on the plane but for their own error. That error and what they are off the plane by make its sigma.

    Args:
        depth, sigma: [H, W] metres. valid: [H, W] bool, pixels with a point.
        reach_px: half the window's side; about the distance between the scan's lines.
        max_step: points are of one surface if they are off by a quarter of this share (rms), as at a step of that size,
            beside twice their own error.

    Returns:
        depth, valid, sigma as given; pixels with a point keep theirs. As many pixels as a point fills err together:
        that is the least `correlation_px` to state (`error_model`).
    """
    offset = np.arange(-reach_px, reach_px + 1.0)
    ramp = 1 - np.abs(offset) / (reach_px + 1)
    inverse = np.where(valid, 1 / np.where(valid, depth, 1), 0.0)

    def moment(image: np.ndarray, in_x: int = 0, in_y: int = 0) -> np.ndarray:
        """[H, W] weighted sum over the window of image · dx^in_x · dy^in_y."""
        return cv2.sepFilter2D(image, cv2.CV_64F, ramp * offset**in_x, ramp * offset**in_y,
                               borderType=cv2.BORDER_CONSTANT)

    weight = valid.astype(float)
    orders = ((0, 0), (1, 0), (0, 1))
    total = np.maximum(moment(weight), 1e-9)
    normal = np.empty((*depth.shape, 3, 3))
    for a, (ax, ay) in enumerate(orders):
        for b, (bx, by) in enumerate(orders[:a + 1]):
            normal[..., a, b] = normal[..., b, a] = moment(weight, ax + bx, ay + by) / total
    normal[..., (1, 2), (1, 2)] += 0.05  # px²: points on a line tell no slope across it
    normal[..., 0, 0] += 1e-9
    right = np.stack([moment(inverse, *order) / total for order in orders], -1)
    plane = np.linalg.solve(normal, right[..., None])[..., 0]
    level = plane[..., 0]
    off = np.maximum(moment(inverse**2) / total - (plane * right).sum(-1), 0)
    own = moment(np.where(valid, (sigma * inverse**2) ** 2, 0.0)) / total
    side = 2 * reach_px + 1
    count = cv2.boxFilter(weight, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    known = (count >= 4) & (level > 1e-6) & (off < (max_step / 4 * level) ** 2 + 4 * own)
    known &= _has_point(valid, reach_px, down=False) & _has_point(valid, reach_px, down=True)
    new = known & ~valid
    out = np.where(new, 1 / np.maximum(level, 1e-6), depth)
    return out, valid | new, np.where(new, np.sqrt(off + own) * out**2, sigma)


def _has_point(valid: np.ndarray, reach: int, down: bool) -> np.ndarray:
    """[H, W] whether there is a point in the rows up to `reach` above (or below, `down`) within `reach` columns."""
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    kernel[(slice(reach, None) if down else slice(0, reach + 1))] = 1
    return cv2.dilate(valid.astype(np.uint8), kernel) > 0
