"""What makes a single view metric: the ground it stands over, depth in files, or scans. Without any it is relative."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curate.geometry import ground as grounds
from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.ground import GroundPlane
from curate.sources import single_video_depth as depths
from curate.sources.base import BadInput, Scale, check_inside
from curate.sources.config_single import DepthConfig, GroundConfig, LidarConfig, SingleVideoConfig
from curate.sources.given_depth import GivenDepth, closed, virtual_rig

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
        # a derived focal length moves nothing on the ground, and all distances from the camera by one share
        sigma = math.hypot(config.ground.scale_sigma, plane.distance_relative_sigma)
        return ScaleOfView(plane.camera, "calibrated", None, lambda start, stop: {"ground": plane}, sigma, undistort,
                           files, stats)
    if config.depth is not None:
        return _dense(config.depth, folder, root, media, camera, undistort)
    if config.lidar is not None:
        return _scanned(config.lidar, folder, root, media)
    return ScaleOfView(camera, undistort=undistort)


def _dense(config: DepthConfig, folder: Path, root: Path, media, camera: Intrinsics, undistort: Maps | None
           ) -> ScaleOfView:
    paths = depths.listed(folder, config.files, (".png", ".npy"), root, media.num_frames, "depth images")

    def load(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        depth, valid = depths.load_depth(path, config)
        if depth.shape != (camera.height, camera.width):
            raise BadInput(f"{path}: {depth.shape[1]}x{depth.shape[0]}, expected {camera.width}x{camera.height} as the "
                           "frames: depth must be registered to them")
        if undistort is not None:  # no mixing of near and far
            depth = cv2.remap(depth, *undistort, cv2.INTER_NEAREST)
            valid = cv2.remap(valid.astype(np.uint8), *undistort, cv2.INTER_NEAREST) > 0
        return depth, valid, depths.depth_sigma(depth, config)

    return _of_depth(load, paths, camera, config.scale_sigma, undistort, [paths[0], paths[-1]])


def _scanned(config: LidarConfig, folder: Path, root: Path, media) -> ScaleOfView:
    path = folder / config.calibration
    check_inside(path, root)
    scanner = depths.read_scanner(path, config, media.width, media.height)
    paths = depths.listed(folder, config.scans, (".bin", ".npy", ".npz"), root, media.num_frames, "scans")

    def load(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        depth, valid = depths.project_scan(depths.load_scan(path), scanner)
        sigma = np.full(depth.shape, config.sigma_m, np.float32)
        return closed(depth, valid, sigma, config.fill_px) if config.fill_px else (depth, valid, sigma)

    return _of_depth(load, paths, scanner.camera, config.scale_sigma, None, [path, paths[0], paths[-1]])


def _of_depth(load: Callable[[Path], tuple[np.ndarray, np.ndarray, np.ndarray]], paths: list[Path], camera: Intrinsics,
              scale_sigma: float, undistort: Maps | None, files: list[Path]) -> ScaleOfView:
    rig = virtual_rig(camera, depths.virtual_baseline(*load(paths[0]), camera.fx))

    def given(first: int, last: int) -> dict[str, Any]:
        def read(start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            found = [load(path) for path in paths[first:last][start:stop]]
            return tuple(np.stack(parts) for parts in zip(*found, strict=True))

        return GivenDepth(read, rig).given()

    return ScaleOfView(camera, "calibrated", rig, given, scale_sigma, undistort, files)


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
