"""What makes a single view metric: the ground it stands over, depth in files, or scans. Without any it is relative."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curate.geometry import ground as grounds
from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.ground import GroundPlane
from curate.sources.base import BadInput, Scale, check_inside
from curate.sources.config_single import GroundConfig, SingleVideoConfig

MAX_FILE_BYTES = 1 << 20
Maps = tuple[np.ndarray, np.ndarray]


def nothing(start: int, stop: int) -> dict[str, Any]:
    return {}


@dataclass
class ScaleOfView:
    """The camera, and what says how large things are.

    Args:
        given: (start, stop) of the recording to the entries of `Frames.given`.
        undistort: OpenCV's maps, where frames are to be undistorted.
        files: what it was read from.
    """

    camera: Intrinsics
    scale: Scale = "relative"
    rig: StereoRig | None = None
    given: Callable[[int, int], dict[str, Any]] = nothing
    scale_sigma: float = 0.0
    undistort: Maps | None = None
    files: list[Path] = field(default_factory=list)
    stats: dict[str, float] = field(default_factory=dict)


def scale_of(config: SingleVideoConfig, folder: Path, root: Path, media, camera: Intrinsics,
             undistort: Maps | None) -> ScaleOfView:
    """
    Args:
        media: the open recording (its size and number of frames).

    Raises:
        BadInput: what the recipe names is missing or does not fit the frames.
    """
    if config.ground is not None:
        plane, files = ground_plane(config.ground, folder, root, camera, config.calibration is not None)
        stats = {"ground_camera_height_m": plane.height_m, "ground_focal_relative_sigma": plane.focal_relative_sigma,
                 "ground_residual": plane.residual}
        return ScaleOfView(plane.camera, "calibrated", None, lambda start, stop: {"ground": plane},
                           config.ground.scale_sigma, undistort, files, stats)
    return ScaleOfView(camera, undistort=undistort)


def ground_plane(config: GroundConfig, folder: Path, root: Path, camera: Intrinsics, is_calibrated: bool
                 ) -> tuple[GroundPlane, list[Path]]:
    """The plane, and the file that it was read from.

    Raises:
        BadInput: a homography that is missing, singular, or of no camera over the ground.
    """
    if config.homography is None:
        pitch = math.radians(config.pitch_deg) if config.pitch_deg is not None else grounds.pitch_of_horizon(
            camera, config.horizon_row)
        try:
            return grounds.from_height(camera, config.camera_height_m, pitch, math.radians(config.roll_deg)), []
        except ValueError as error:
            raise BadInput(f"source.ground: {error}") from error
    files: list[Path] = []
    matrix, where = config.homography, "source.ground.homography"
    if isinstance(matrix, str):
        path = folder / matrix
        check_inside(path, root)
        matrix, where, files = read_homography(path), str(path), [path]
    try:
        return grounds.from_homography(np.array(matrix, float), camera.width, camera.height,
                                       camera.fx if is_calibrated else None), files
    except ValueError as error:
        raise BadInput(f"{where}: {error}") from error


def read_homography(path: Path) -> np.ndarray:
    """[3, 3] of the one key of a json file that has `homography` in its name.

    Raises:
        BadInput: no such file, no json, no such key or several, or no 3x3 numbers.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadInput(f"{path}: {path.stat().st_size} bytes, expected a small json file with a homography")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: no ground-plane homography: {error.strerror}; write one, or state its rows in the "
                       "recipe (source.ground.homography)") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not readable as json: {str(error)[:100]}") from error
    found = {k: v for k, v in content.items() if "homography" in k.lower()} if isinstance(content, dict) else {}
    if len(found) != 1:
        raise BadInput(f"{path}: {len(found)} keys with `homography` in their name, expected one")
    (key, rows), = found.items()
    try:
        matrix = np.array(rows, float)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.size == 9:
        matrix = matrix.reshape(3, 3)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise BadInput(f"{path}: {key} is not three rows of three finite numbers")
    return matrix
