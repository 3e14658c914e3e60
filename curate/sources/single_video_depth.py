"""Depth of a single view from files: dense images, or scans projected as KITTI's are."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.sources.base import BadInput, check_inside
from curate.sources.calibration import decompose_projection
from curate.sources.config_single import DepthConfig, LidarConfig
from curate.sources.images import natural

MAX_FILE_BYTES = 256 << 20
MIN_DEPTH_M, FAR_M = 0.1, 1e6
SHADOW, SHADOW_PX = 1.1, 5  # a scanner looks over edges: a point this much behind one so near in the picture is hidden
NAMES = {"R_rect": "R0_rect", "Tr_velo_cam": "Tr_velo_to_cam"}  # of KITTI's tracking files, as its object files say it
TYPICAL_PX = 0.1  # of disparity: what a pixel's typical error is to be in the virtual rig
Maps = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Scanner:
    """How scans fall into the pictures. camera: of the pictures. T: [4, 4] scan to camera axes."""

    camera: Intrinsics
    T: np.ndarray


def listed(folder: Path, pattern: str, suffixes: tuple[str, ...], root: Path, num_frames: int, what: str) -> list[Path]:
    """The files of a folder or a glob, in natural order.

    Raises:
        BadInput: none, another number than frames, or outside of the source's root.
    """
    place = folder / pattern
    found = list(place.iterdir()) if place.is_dir() else list(folder.glob(pattern)) if any(
        c in pattern for c in "*?[") else []
    paths = sorted((p for p in found if p.suffix.lower() in suffixes), key=natural)
    if not paths:
        raise BadInput(f"{place}: no {what} ({' '.join(suffixes)}), expected one for each frame")
    if len(paths) != num_frames:
        raise BadInput(f"{place}: {len(paths)} {what}, expected {num_frames} (one a frame)")
    for path in paths:
        check_inside(path, root)
    return paths


def load_depth(path: Path, config: DepthConfig) -> tuple[np.ndarray, np.ndarray]:
    """[H, W] metres along the optical axis, and where it is known.

    Raises:
        BadInput: not readable, or not one number a pixel.
    """
    if path.suffix.lower() == ".npy":
        values = _array(path)
    else:
        try:
            values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        except (OSError, cv2.error):
            values = None
        if values is None or values.dtype != np.uint16:
            raise BadInput(f"{path}: not a 16-bit depth image")
    if values.ndim != 2:
        raise BadInput(f"{path}: depth of shape {list(values.shape)}, expected one number a pixel")
    depth = values.astype(np.float32) * np.float32(config.scale)
    return depth, np.isfinite(depth) & (depth > MIN_DEPTH_M)


def depth_sigma(depth: np.ndarray, config: DepthConfig) -> np.ndarray:
    return np.hypot(config.sigma_m, config.sigma_relative * depth).astype(np.float32)


def read_scanner(path: Path, config: LidarConfig, width: int, height: int) -> Scanner:
    """
    Raises:
        BadInput: no such file, or a matrix that is missing or of another shape.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: no calibration of the scans (P{config.camera}, R0_rect, Tr_velo_to_cam): "
                       f"{getattr(error, 'strerror', error)}") from error
    found = _matrices(text, path)
    parts = {}
    for name, shape in ((f"P{config.camera}", (3, 4)), ("R0_rect", (3, 3)), ("Tr_velo_to_cam", (3, 4))):
        values = found.get(name)
        if values is None:
            raise BadInput(f"{path}: no {name}, expected P{config.camera}, R0_rect and Tr_velo_to_cam; found "
                           f"{', '.join(found) or 'no matrix'}")
        if values.size != shape[0] * shape[1] or not np.isfinite(values).all():
            raise BadInput(f"{path}: {name} has {values.size} numbers, expected {shape[0]}x{shape[1]} finite ones")
        parts[name] = np.eye(4)
        parts[name][:3, :shape[1]] = values.reshape(shape)
    projection = parts[f"P{config.camera}"][:3]
    if not abs(np.linalg.det(projection[:, :3])) > 0:
        raise BadInput(f"{path}: P{config.camera} is singular, expected K [R | t]")
    K, rotation, translation = decompose_projection(projection)
    if not (0 <= K[0, 2] <= width and 0 <= K[1, 2] <= height):
        raise BadInput(f"{path}: principal point ({K[0, 2]:g}, {K[1, 2]:g}) is outside of the image of {width}x"
                       f"{height}; is the calibration of another size?")
    camera = np.eye(4)
    camera[:3, :3], camera[:3, 3] = rotation, translation
    return Scanner(Intrinsics(float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]), width, height),
                   camera @ parts["R0_rect"] @ parts["Tr_velo_to_cam"])


def _matrices(text: str, path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix.lower() == ".json":
            content = {k: v for k, v in json.loads(text).items() if isinstance(v, list)}
        else:
            lines = [line.replace(":", " ").split() for line in text.splitlines()]
            content = {words[0]: words[1:] for words in lines if words}
        return {NAMES.get(k, k): np.array(v, float).reshape(-1) for k, v in content.items() if len(v) in (3, 9, 12)}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"{path}: not readable as a KITTI calibration: {str(error)[:100]}") from error


def load_scan(path: Path) -> np.ndarray:
    """[N, 3] float32 metres in the scanner's axes.

    Raises:
        BadInput: not readable, or not rows of x, y, z.
    """
    if path.suffix.lower() == ".bin":
        if path.stat().st_size > MAX_FILE_BYTES or path.stat().st_size % 16:
            raise BadInput(f"{path}: {path.stat().st_size} bytes, expected rows of four float32 (x, y, z, intensity)")
        points = np.fromfile(path, np.float32).reshape(-1, 4)
    else:
        points = _array(path)
    if points.ndim != 2 or points.shape[1] < 3 or not np.issubdtype(points.dtype, np.number):
        raise BadInput(f"{path}: a scan of shape {list(points.shape)}, expected rows of x, y, z")
    points = np.asarray(points[:, :3], np.float32)
    return points[np.isfinite(points).all(1)]


def _array(path: Path) -> np.ndarray:
    """Of an npy file, or the first of an npz file (that named like a scan goes before)."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadInput(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_FILE_BYTES}")
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = sorted(loaded.files, key=lambda name: not ("xyz" in name or "velo" in name))
            if not names:
                raise BadInput(f"{path}: an archive without arrays")
            return loaded[names[0]]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path}: not readable: {str(error)[:100]}") from error


def project_scan(points: np.ndarray, scanner: Scanner) -> tuple[np.ndarray, np.ndarray]:
    """Depth [H, W] metres of the nearest point in each pixel, and where there is one that the camera sees.

    The scanner stands above the camera and looks over what hides things from it: a point right beside one that is much
    nearer is left out.
    """
    camera = scanner.camera
    seen = points.astype(float) @ scanner.T[:3, :3].T + scanner.T[:3, 3]
    seen = seen[seen[:, 2] > MIN_DEPTH_M]
    uv = np.rint(camera.project(seen)).astype(int)
    inside = (uv >= 0).all(1) & (uv[:, 0] < camera.width) & (uv[:, 1] < camera.height)
    uv, z = uv[inside], seen[inside, 2]
    order = np.argsort(-z, kind="stable")  # the nearest is written last
    depth = np.full((camera.height, camera.width), FAR_M, np.float32)
    depth[uv[order, 1], uv[order, 0]] = z[order]
    near = cv2.erode(depth, np.ones((2 * SHADOW_PX + 1, SHADOW_PX), np.uint8))
    valid = (depth < FAR_M) & (depth < SHADOW * near)
    return np.where(valid, depth, 0), valid


def virtual_baseline(depth: np.ndarray, valid: np.ndarray, sigma: np.ndarray, fx: float) -> float:
    """Metres at which a typical pixel of a frame [H, W] errs by a tenth of a pixel of disparity."""
    if not valid.any():
        return 0.1
    per_metre = np.median(fx * sigma[valid] / depth[valid] ** 2)
    return float(np.clip(TYPICAL_PX / max(per_metre, 1e-9), 0.01, 10.0))
