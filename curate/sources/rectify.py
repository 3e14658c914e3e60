"""Any calibrated pair to a rectified one: rows match, disparity is depth alone.

Pixels are resampled only where it matters: a pair whose worst row error, from infinity to a disparity of a
quarter of the width, is below `ROW_TOLERANCE_PX` is taken as it is. Otherwise both views are turned (Bouguet's
rotations, `cv2.stereoRectify`) so that the baseline is the common x axis, and sampled once, bicubic, through one
map that also undistorts.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.sources.base import BadInput
from curate.sources.calibration import StereoCameras

ROW_TOLERANCE_PX = 0.05  # a tenth of what stereo matching resolves
NEAREST_DISPARITY = 0.25  # of the width
MIN_SIDE = 32  # pixels; blocks, windows and borders of every estimator fit
MAX_ZOOM = 2.0  # of the focal length, to keep pixels without content out of the picture


@dataclass(frozen=True)
class Rectification:
    """The rectified rig and how to get there. `maps` is None where pixels stay as they are."""

    rig: StereoRig
    right: Intrinsics
    R_rectified_left: np.ndarray  # [3, 3] turns axes of the left camera as published into the rectified ones
    maps: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None
    row_error_px: float  # worst row error without resampling

    def apply(self, view: int, images: np.ndarray) -> np.ndarray:
        """[n, H, W, 3] of view 0 or 1, rectified."""
        if self.maps is None:
            return images
        map_x, map_y = self.maps[view]
        return np.stack([cv2.remap(image, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
                         for image in images])


def rectify(cameras: StereoCameras, where: str) -> Rectification:
    """
    Args:
        cameras: with `size` and principal points filled in (`StereoCameras.at`).

    Raises:
        BadInput: where no rectified picture of a sensible size exists.
    """
    width, height = cameras.size
    if min(width, height) < MIN_SIDE:
        raise BadInput(f"{where}: pictures of {width}x{height} for an eye, expected at least {MIN_SIDE} pixels a side")
    error = row_error(cameras)
    if error <= ROW_TOLERANCE_PX:
        left, right = (Intrinsics(*(float(k[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2))), width, height)
                       for k in (cameras.K_left, cameras.K_right))
        rig = StereoRig(left, cameras.baseline_m, float(right.cx - left.cx))
        return Rectification(rig, right, np.eye(3), None, error)
    return _resampled(cameras, error, where)


def row_error(cameras: StereoCameras) -> float:
    """Worst departure, pixels, from a rectified pair with these cameras' own matrices, over the whole picture.

    Points on a grid of left pixels at infinity and at the nearest disparity are projected into the right view,
    and compared with (u - d + doffs, v). inf where there is distortion.
    """
    if "fisheye" in (cameras.lens_left, cameras.lens_right):
        return float("inf")
    if any(np.abs(d).max(initial=0) > 0 for d in (cameras.distortion_left, cameras.distortion_right)):
        return float("inf")
    width, height = cameras.size
    u, v = np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9))
    pixels = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3)
    rays = pixels @ np.linalg.inv(cameras.K_left).T
    worst = 0.0
    for disparity in (0.0, NEAREST_DISPARITY * width):
        # p / z, so that infinity is a number: rays are points at z = 1 with the baseline scaled to d / fx
        inverse_z = disparity / (cameras.K_left[0, 0] * cameras.baseline_m)
        pose = cameras.T_right_left
        seen = (rays @ pose.rotation.T + pose.translation * inverse_z) @ cameras.K_right.T
        if (seen[:, 2] <= 0).any():
            return float("inf")
        right = seen[:, :2] / seen[:, 2:]
        expected = pixels[:, :2] + [cameras.K_right[0, 2] - cameras.K_left[0, 2] - disparity, 0]
        worst = max(worst, float(np.abs(right - expected).max()))
    return worst


def _resampled(cameras: StereoCameras, error: float, where: str) -> Rectification:
    size = cameras.size
    width, height = size
    matrices = (cameras.K_left, cameras.K_right)
    lenses = (cameras.lens_left, cameras.lens_right)
    distortion = [d if d.size else np.zeros(4 if lens == "fisheye" else 5)
                  for d, lens in zip((cameras.distortion_left, cameras.distortion_right), lenses)]
    published = float(np.mean([m[i, i] for m in matrices for i in (0, 1)]))
    rotations, (focal, cx, cy) = _turned(cameras, distortion, published)
    if not np.isfinite([focal, cx, cy]).all() or not published / 4 < focal < published * MAX_ZOOM:
        raise BadInput(f"{where}: cannot be rectified to {width}x{height}: focal length would be {focal:.4g} px, "
                       f"expected about {published:.4g}; check distortion and the rotation between the cameras")
    # stereoRectify looks at few points of the border: zoom until every pixel of both views has content.
    while True:
        k = np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1.0]])
        maps = tuple(MAPS[lens](m, d, r, k, size, cv2.CV_32FC1)
                     for lens, m, d, r in zip(lenses, matrices, distortion, rotations))
        if all(_within(x, width) and _within(y, height) and not _folded(x, y) for x, y in maps):
            break
        focal *= 1.005
        if focal > published * MAX_ZOOM:
            raise BadInput(f"{where}: cannot be rectified: at {MAX_ZOOM} times the focal length parts of the picture "
                           "are still without content; check distortion and the rotation between the cameras")
    camera = Intrinsics(float(focal), float(focal), float(cx), float(cy), width, height)
    return Rectification(StereoRig(camera, cameras.baseline_m), camera, np.asarray(rotations[0]), maps, error)


def _turned(cameras: StereoCameras, distortion: list[np.ndarray], published: float
            ) -> tuple[tuple[np.ndarray, np.ndarray], tuple[float, float, float]]:
    """Rotations [3, 3] of both cameras to the rectified axes; (focal length, cx, cy) to begin with.

    The rotations depend on the pose between the cameras alone. A fisheye picture holds more than a perspective one
    can: the focal length stays, so that the picture's middle keeps its resolution and its rim is left out, and the
    principal point is where both cameras' optical axes are as near as can be to the published ones.
    """
    is_fisheye = "fisheye" in (cameras.lens_left, cameras.lens_right)
    pose = cameras.T_right_left
    seen = [np.zeros(5) if is_fisheye else d for d in distortion]
    out = cv2.stereoRectify(cameras.K_left, seen[0], cameras.K_right, seen[1], cameras.size, pose.rotation,
                            pose.translation.reshape(3, 1), flags=cv2.CALIB_ZERO_DISPARITY, alpha=0)
    rotations, projection = out[:2], out[2]
    if not is_fisheye:
        return rotations, (projection[0, 0], projection[0, 2], projection[1, 2])
    axes = [r[:2, 2] / r[2, 2] for r in rotations]
    centre = np.mean([k[:2, 2] - published * axis for k, axis in zip((cameras.K_left, cameras.K_right), axes)], 0)
    return rotations, (published, centre[0], centre[1])


MAPS = {"radtan": cv2.initUndistortRectifyMap, "fisheye": cv2.fisheye.initUndistortRectifyMap}


def _within(coordinates: np.ndarray, size: int) -> bool:
    return bool(coordinates.min() >= -0.5 and coordinates.max() <= size - 0.5)


def _folded(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether neighbours change places: beyond its calibrated field a distortion polynomial turns back."""
    return bool((np.diff(x, axis=1) <= 0).any() or (np.diff(y, axis=0) <= 0).any())
