"""Stereo calibrations as published, brought to one form: two cameras and the pose between them.

What other tools write is read in `calibration_files`.

KITTI's projection matrices are used whole: P = K [R | t] with t = K⁻¹ p₄, so a translation in the third row
changes the baseline (by x = (p₁₄ - cx p₃₄) / fx) and leaves a vertical offset that rectification must remove.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3
from curate.sources import calibration_files as files
from curate.sources.base import BadInput
from curate.sources.config import BASELINE_RELATIVE_SIGMA, StereoCalibration

BASELINES_M = (1e-6, 1e6)  # from a microscope's to an aeroplane's; another number is in another unit, or none
SHOWN = 60  # characters of a value that is wrong
FOCALS_PX = (1e-2, 1e7)
PAIRS = ((2, 3), (0, 1))  # KITTI: colour, grey


@dataclass(frozen=True)
class StereoCameras:
    """Two cameras before rectification, in pixels of an image of `size` (None: of the media, whatever it is)."""

    K_left: np.ndarray  # [3, 3]; nan where the principal point is to be the image's centre
    K_right: np.ndarray  # [3, 3]
    distortion_left: np.ndarray  # [0, 4, 5, 8, 12 or 14], OpenCV's order; [0 or 4] of a fisheye lens
    distortion_right: np.ndarray
    T_right_left: Pose  # metres
    size: tuple[int, int] | None  # (width, height)
    lens_left: str = "radtan"  # or fisheye
    lens_right: str = "radtan"

    @property
    def baseline_m(self) -> float:
        return float(np.linalg.norm(self.T_right_left.translation))

    def at(self, width: int, height: int, where: str) -> StereoCameras:
        """The same cameras for images of width x height, principal points filled in.

        Raises:
            BadInput: where the image has another shape than the calibration, or does not hold its centre.
        """
        calibrated = self.size or (width, height)
        sx, sy = width / calibrated[0], height / calibrated[1]
        if abs(sx - sy) * max(calibrated) > 1.5:  # more than rounding of the scaled size
            turned = "; turned by the camera's own mark? then rotation: as-stored" if sx != sy and abs(
                height / calibrated[0] - width / calibrated[1]) * max(calibrated) <= 1.5 else ""
            raise BadInput(f"{where}: images are {width}x{height}, expected {calibrated[0]}x{calibrated[1]} (or that "
                           f"size scaled) by the calibration{turned}")
        cameras = []
        for k in (self.K_left, self.K_right):
            k = k.copy()
            for axis, size in ((0, calibrated[0]), (1, calibrated[1])):
                if np.isnan(k[axis, 2]):
                    k[axis, 2] = (size - 1) / 2
                if not 0 <= k[axis, 2] <= size:
                    raise BadInput(f"{where}: principal point {'xy'[axis]} = {k[axis, 2]:g} px is outside of the image "
                                   f"of {calibrated[0]}x{calibrated[1]}; is the calibration of another size?")
            cameras.append(scaled(k, sx, sy))
        return replace(self, K_left=cameras[0], K_right=cameras[1], size=(width, height))


def scaled(k: np.ndarray, sx: float, sy: float) -> np.ndarray:
    """Camera matrix of the image resampled by sx, sy; pixel centres at integers, as `Intrinsics.scaled`."""
    k = np.array(k, float)
    k[0, 2], k[1, 2] = (k[0, 2] + 0.5) * sx - 0.5, (k[1, 2] + 0.5) * sy - 0.5
    k[0, :2] *= sx
    k[1, 1] *= sy
    return k


def from_config(model: StereoCalibration) -> StereoCameras:
    """Inline calibration to cameras."""
    def matrix(camera) -> np.ndarray:
        cx, cy = (np.nan if v is None else v for v in (camera.cx, camera.cy))
        return np.array([[camera.fx, 0, cx], [0, camera.fy or camera.fx, cy], [0, 0, 1.0]])

    left = matrix(model)
    right = matrix(model.right) if model.right else left + np.array([[0, 0, model.doffs_px], [0, 0, 0], [0, 0, 0]])
    translation = model.translation_right_left_m or [-model.baseline_m, 0, 0]
    rotation = np.eye(3)
    if model.rotation_right_left is not None:
        given = np.asarray(model.rotation_right_left)
        rotation = exp_so3(given) if given.size == 3 else given.reshape(3, 3)
        if np.linalg.det(rotation) < 0:
            raise BadInput("calibration: rotation_right_left mirrors (its determinant is negative), expected a turn")
    try:
        pose = Pose("right", "left", rotation, np.asarray(translation, float))
    except ValueError as error:
        raise BadInput(f"calibration: rotation_right_left: {error}") from error
    pose = Pose.from_matrix("right", "left", pose.matrix())  # published digits: re-orthonormalised
    return StereoCameras(left, right, np.asarray(model.distortion, float),
                         np.asarray((model.right or model).distortion, float), pose,
                         (model.width, model.height) if model.width else None, model.lens,
                         (model.right or model).lens)


def decompose_projection(projection: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P = K [R | t] up to scale: K [3, 3] upper triangular with K₃₃ = 1, R [3, 3], t [3] metres.

    RQ decomposition (Hartley & Zisserman 2004, 6.2.4); exact and R = I where P's left part is a camera matrix.
    """
    p = np.asarray(projection, float)
    m = p[:, :3]
    if np.allclose(m[np.tril_indices(3, -1)], 0, atol=1e-12) and (np.diag(m) > 0).all():
        k, rotation = m, np.eye(3)
    else:
        flip = np.eye(3)[::-1]
        q, r = np.linalg.qr((flip @ m).T)
        k, rotation = flip @ r.T @ flip, flip @ q.T
        signs = np.diag(np.sign(np.diag(k)))
        k, rotation = k @ signs, signs @ rotation
        if np.linalg.det(rotation) < 0:
            p, rotation = -p, -rotation
    return k / k[2, 2], rotation, np.linalg.solve(k, p[:, 3])


def from_projections(left: np.ndarray, right: np.ndarray, size: tuple[int, int] | None, where: str) -> StereoCameras:
    """Two 3 x 4 projection matrices of one world to cameras.

    Raises:
        BadInput: on another shape, or anything not finite.
    """
    parts = []
    for name, p in (("left", left), ("right", right)):
        p = np.asarray(p, float)
        if p.shape != (3, 4) or not np.isfinite(p).all():
            raise BadInput(f"{where}: the {name} P matrix is {p.tolist()}, expected 3 x 4 finite numbers")
        if not abs(np.linalg.det(p[:, :3])) > 0:
            raise BadInput(f"{where}: the {name} P matrix is singular, expected K [R | t]")
        parts.append(decompose_projection(p))
    (k_left, r_left, t_left), (k_right, r_right, t_right) = parts
    T_left_world = Pose("left", "world", r_left, t_left)
    T_right_world = Pose("right", "world", r_right, t_right)
    return StereoCameras(k_left, k_right, np.zeros(0), np.zeros(0), T_right_world @ T_left_world.inverse(), size)


def load(path: Path, cameras: tuple[int, int] | None = None, is_grey: bool | None = None, *,
         lens: str | None = None, unit: str | None = None) -> StereoCameras:
    """A calibration file: json (fields of `StereoCalibration`, or P0..P3), KITTI's calib.txt, or OpenCV or Kalibr yaml.

    Args:
        cameras: numbers of the left and right camera; default: of a KITTI file the only pair there is, else by
            `is_grey`; of a camchain 0 and 1.
        lens, unit: what the file may leave unsaid, see `calibration_files`.

    Raises:
        BadInput: missing, unreadable, or not a usable calibration; names the file and the entry.
    """
    if path.suffix.lower() in (".yaml", ".yml", ".xml"):
        return load_files([path], cameras, lens=lens, unit=unit)
    text = files.read_text(path)
    if path.suffix.lower() == ".json":
        return check(_from_json(text, path, cameras, is_grey), str(path))
    projections = {int(n): _numbers(rest, f"{path}: P{n}")
                   for n, rest in re.findall(r"^P(?:_rect_0)?([0-3]):(.*)$", text, re.MULTILINE)}
    if not projections:
        raise BadInput(f"{path}: no P0..P3 line, expected KITTI's calib.txt, or a .json, .yaml or .xml calibration")
    return check(_from_pair(projections, None, path, cameras, is_grey), str(path))


def load_files(paths: Sequence[Path], cameras: tuple[int, int] | None = None, *, lens: str | None = None,
               unit: str | None = None) -> StereoCameras:
    """One yaml or xml file, or two (left, right, or intrinsics and extrinsics); see `calibration_files`.

    Raises:
        BadInput: as `load`.
    """
    where = " and ".join(map(str, paths))
    fields = files.fields_of([files.read_plain(path) for path in paths], where, cameras, lens=lens, unit=unit)
    return check(_validated(fields, where), where)


def check(cameras: StereoCameras, where: str) -> StereoCameras:
    """
    Raises:
        BadInput: where the right camera is not to the right of the left one, or a length is of no camera.
    """
    for name, k in (("left", cameras.K_left), ("right", cameras.K_right)):
        for what, focal in (("fx", k[0, 0]), ("fy", k[1, 1])):
            if not FOCALS_PX[0] <= focal <= FOCALS_PX[1]:
                raise BadInput(f"{where}: {what} of the {name} camera is {focal:g} px, expected {FOCALS_PX[0]:g} to "
                               f"{FOCALS_PX[1]:g}")
    centre = cameras.T_right_left.inverse().translation  # of the right camera, in left camera axes
    if not centre[0] > 0:
        raise BadInput(f"{where}: the right camera is at x = {centre[0]:g} m of the left one, expected a positive "
                       "number (the baseline); are left and right swapped?")
    if not BASELINES_M[0] <= centre[0] <= BASELINES_M[1]:
        raise BadInput(f"{where}: the baseline is {centre[0]:g} m, expected {BASELINES_M[0]:g} to {BASELINES_M[1]:g}; "
                       "is it in metres?")
    if abs(centre[1]) + abs(centre[2]) > 0.5 * centre[0]:
        raise BadInput(f"{where}: the right camera is at {np.round(centre, 4).tolist()} m of the left one, expected "
                       "beside it (x right, y down, z forward)")
    return cameras


def baseline_sigma(cameras: StereoCameras, stated: float | None) -> float:
    """Standard deviation of the baseline, metres: as stated, else 0.5 %."""
    return float(stated) if stated is not None else BASELINE_RELATIVE_SIGMA * cameras.baseline_m


def _from_json(text: str, path: Path, cameras, is_grey) -> StereoCameras:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}:{error.lineno}: not json: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets in brackets
        raise BadInput(f"{path}: not a calibration: {error}") from None
    if not isinstance(data, dict):
        raise BadInput(f"{path}: found a {type(data).__name__}, expected an object with fx, baseline_m ...")
    matrices = {int(name[1]): data[name] for name in data if re.fullmatch("P[0-3]", name)}
    known = {k: v for k, v in data.items() if k in StereoCalibration.model_fields}
    if len(matrices) >= 2:
        size = known.get("width"), known.get("height")
        if not all(v is None or (isinstance(v, int) and v > 0) for v in size):
            raise BadInput(f"{path}: width, height are {size}, expected positive whole numbers")
        arrays = {n: _array(m, f"{path}: P{n}") for n, m in matrices.items()}
        return _from_pair(arrays, size if all(size) else None, path, cameras, is_grey)
    if files.is_oakd(data):
        known |= files.from_oakd(data)
    return _validated(known, str(path))


def _validated(fields: dict, where: str) -> StereoCameras:
    try:
        return from_config(StereoCalibration.model_validate(fields))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"]) or "calibration"
        text = repr(first["input"])
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
        found = "" if first["type"] == "missing" or not first["loc"] else f", found {shown}"
        raise BadInput(f"{where}: {place}: {first['msg']}{found}") from error
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error


def _from_pair(matrices: dict[int, np.ndarray], size, path: Path, cameras, is_grey) -> StereoCameras:
    if cameras is None:
        there = [pair for pair in PAIRS if all(n in matrices for n in pair)]
        if not there:
            raise BadInput(f"{path}: has P{sorted(matrices)}, expected P0 and P1 or P2 and P3")
        if len(there) > 1 and is_grey is None:
            raise BadInput(f"{path}: has P0..P3; say which with cameras: [0, 1] or [2, 3]")
        cameras = there[0] if len(there) == 1 else PAIRS[int(bool(is_grey))]
    for n in cameras:
        if n not in matrices:
            raise BadInput(f"{path}: has no P{n} (found P{sorted(matrices)}), named by cameras: {list(cameras)}")
    return from_projections(matrices[cameras[0]], matrices[cameras[1]], size, str(path))


def _array(value, where: str) -> np.ndarray:
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.size != 12:
        raise BadInput(f"{where}: found {str(value)[:60]!r}, expected 3 x 4 numbers")
    return array.reshape(3, 4)


def _numbers(text: str, where: str) -> np.ndarray:
    return _array(text.split(), where)
