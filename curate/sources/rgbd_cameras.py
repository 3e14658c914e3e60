"""Cameras of an RGB-D sensor: from the recipe, or as Open3D writes them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.sources.base import BadInput
from curate.sources.config_rgbd import PinholeConfig

MAX_INTRINSIC_BYTES = 1 << 16


def read_open3d_intrinsics(path: Path) -> tuple[PinholeConfig, tuple[int, int]]:
    """Open3D's PinholeCameraIntrinsic json: `width`, `height`, `intrinsic_matrix` (nine numbers, column by column).

    Raises:
        BadInput: anything else.
    """
    try:
        if path.stat().st_size > MAX_INTRINSIC_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes")
        data = json.loads(path.read_text(encoding="utf-8"))
        k = np.array(data["intrinsic_matrix"], float).reshape(3, 3).T
        size = int(data["width"]), int(data["height"])
        if not (np.isfinite(k).all() and np.allclose(k[2], [0, 0, 1])):
            raise ValueError("intrinsic_matrix is no camera matrix, column by column")
        return PinholeConfig(fx=k[0, 0], fy=k[1, 1], cx=k[0, 2], cy=k[1, 2]), size
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{path}: not Open3D's intrinsics (width, height, intrinsic_matrix of nine numbers): "
                       f"{str(error).splitlines()[0][:120] if str(error) else type(error).__name__}") from error


def intrinsics(config: PinholeConfig, width: int, height: int, where: str) -> Intrinsics:
    cx = (width - 1) / 2 if config.cx is None else config.cx
    cy = (height - 1) / 2 if config.cy is None else config.cy
    for name, value, size in (("cx", cx, width), ("cy", cy, height)):
        if not 0 <= value <= size:
            raise BadInput(f"{where}: {name} = {value:g} px is outside of the image of {width}x{height}; is the "
                           "calibration of another size?")
    return Intrinsics(config.fx, config.fy or config.fx, cx, cy, width, height)


def undistortion(config: PinholeConfig, camera: Intrinsics) -> tuple[np.ndarray, np.ndarray] | None:
    """What undistorts images of a camera, None where there is nothing to undistort."""
    if not any(config.distortion):
        return None
    return cv2.initUndistortRectifyMap(camera.matrix, np.asarray(config.distortion, float), None, camera.matrix,
                                       (camera.width, camera.height), cv2.CV_32FC1)


def undistorted(image: np.ndarray, maps: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    return image if maps is None else cv2.remap(image, *maps, cv2.INTER_LINEAR)
