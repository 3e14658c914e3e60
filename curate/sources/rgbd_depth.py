"""Depth images to what is known of depth in the colour image: metres, where, and how well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.sources.base import BadInput
from curate.sources.config_rgbd import DepthNoiseConfig
from curate.sources.images import load_image
from curate.sources.rgbd_register import warp_depth

EDGE_SHARE = 0.05  # of the distance, by which two surfaces differ
SMOOTH_PX = 5  # side of the window in which a slant is told from noise
MAX_SIGMA_SHARE = 0.2  # of the distance: what is known worse is not known
ERROR_REACH = 4.0  # errors of registration go together over a surface this many times as wide as they are


def load_depth(path: Path, units_a_metre: float, invalid: Sequence[int], min_m: float, max_m: float
               ) -> tuple[np.ndarray, np.ndarray]:
    """Metres [H, W] float32 and where something was measured, of one depth image.

    Raises:
        BadInput: missing, damaged, or not 16 bits of one channel.
    """
    image = load_image(path)
    if image.ndim != 2 or image.dtype != np.uint16:
        channels = 1 if image.ndim == 2 else image.shape[2]
        raise BadInput(f"{path}: {image.dtype} of {channels} channel(s), expected a depth image of 16 bits and one "
                       "channel")
    valid = ~np.isin(image, list(invalid)) if len(invalid) else np.ones(image.shape, bool)
    depth = image.astype(np.float32) / np.float32(units_a_metre)
    return depth, valid & (depth >= min_m) & (depth <= max_m) & (depth > 0)


class DepthReader:
    """Depth of single frames in the undistorted colour camera.

    Args:
        shape: (height, width) of the depth images.
        camera: the depth camera, undistorted; None where depth is registered.
        color: the colour camera, undistorted.
        T_color_depth: needed with `camera`.
        maps: (x, y) of `cv2.initUndistortRectifyMap` that undistorts a depth image; None where it has no distortion.
        error_px: how far depth may lie beside its colour, one standard deviation.
    """

    def __init__(self, shape: tuple[int, int], camera: Intrinsics | None, color: Intrinsics, T_color_depth: Pose | None,
                 maps: tuple[np.ndarray, np.ndarray] | None, noise: DepthNoiseConfig, error_px: float) -> None:
        self.shape = shape
        self.camera, self.color, self.T_color_depth, self.maps = camera, color, T_color_depth, maps
        self.noise, self.error_px = noise, error_px

    def __call__(self, depth: np.ndarray, valid: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Raw depth [H, W] of the file `path` to depth [h, w] metres, valid, sigma metres, in the colour image.

        Raises:
            BadInput: of another size than the recording's first.
        """
        if depth.shape != self.shape:
            raise BadInput(f"{path}: {depth.shape[1]}x{depth.shape[0]}, expected {self.shape[1]}x{self.shape[0]} as "
                           "the first depth image of the recording")
        if self.maps is not None:
            depth, valid = (cv2.remap(a, *self.maps, cv2.INTER_NEAREST) for a in (depth, valid.astype(np.uint8)))
            valid = valid > 0
        if self.camera is not None:
            depth, valid = warp_depth(depth, valid, self.camera, self.T_color_depth, self.color)
        elif depth.shape != (self.color.height, self.color.width):
            size = (self.color.width, self.color.height)
            depth = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
            valid = cv2.resize(valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        sigma = sensor_sigma(depth, self.noise)
        return beside(depth.astype(np.float32), valid, sigma.astype(np.float32), self.error_px)


def sensor_sigma(depth: np.ndarray, noise: DepthNoiseConfig) -> np.ndarray:
    """Metres, of a pixel that is `depth` metres away."""
    return noise.floor_m + noise.per_m * depth + noise.per_m2 * depth**2


def beside(depth: np.ndarray, valid: np.ndarray, sigma: np.ndarray, error_px: float
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth [H, W] that may lie `error_px` beside its pixel: unknown where another surface is as near, and on a slant
    as uncertain as it changes over that way.

    Twice the error is kept from edges, of which sensors and registrations both make the wrong thing.
    """
    inverse = np.where(valid, 1 / np.where(valid, depth, 1), 0).astype(np.float32)
    count = cv2.boxFilter(valid.astype(np.float32), -1, (SMOOTH_PX, SMOOTH_PX))
    calm = cv2.boxFilter(inverse, -1, (SMOOTH_PX, SMOOTH_PX)) / np.maximum(count, 1e-6)
    side = 2 * int(np.ceil(2 * error_px)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    step = np.maximum(EDGE_SHARE, 6 * sigma / np.where(valid, depth, 1)) * inverse
    other = _beside_step(inverse, valid, step)
    near_edge = cv2.dilate(other.astype(np.uint8), kernel) > 0
    # between smoothed values a step of noise is no slant
    slope_x, slope_y = (cv2.Sobel(calm, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0))
    whole = cv2.erode(valid.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    slant = np.where(whole, np.hypot(slope_x, slope_y), 0) * error_px
    total = np.hypot(sigma, slant * depth**2)
    known = valid & ~near_edge & (total < MAX_SIGMA_SHARE * depth)
    return depth, known, np.where(known, total, np.inf).astype(np.float32)


def _beside_step(inverse: np.ndarray, valid: np.ndarray, step: np.ndarray) -> np.ndarray:
    """[H, W] pixels, and gaps between valid ones, across which the inverse depth changes by a step."""
    near = cv2.dilate(np.where(valid, inverse, -1).astype(np.float32), np.ones((3, 3), np.uint8))
    far = cv2.erode(np.where(valid, inverse, 1e3).astype(np.float32), np.ones((3, 3), np.uint8))
    at_step = valid & ((near - inverse > step) | (inverse - far > step))
    # across a shadow: holes whose surroundings are not one surface
    side = np.ones((9, 9), np.uint8)
    near, far = (op(np.where(valid, inverse, none).astype(np.float32), side)
                 for op, none in ((cv2.dilate, -1), (cv2.erode, 1e3)))
    return at_step | (~valid & (near > 0) & (near - far > EDGE_SHARE * near))
