"""One calibrated camera of a rig as its calibration states it, and what makes a statement unusable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3
from curate.sources.base import BadInput

MAX_CAMERAS = 1024
FOCALS_PX = (1e-2, 1e7)
FARTHEST = 1e7  # from the origin, in whatever unit: another number is no place
COUNTS = {"radtan": (0, 4, 5, 8, 12, 14), "fisheye": (0, 4)}


@dataclass(frozen=True)
class RigCamera:
    """
    Args:
        name: as the calibration has it.
        K: [3, 3] pixels of pictures of `size`, pixel centres at integers.
        distortion: OpenCV's order: k1 k2 p1 p2 [k3 [k4 k5 k6 ...]], or of a fisheye lens k1 k2 k3 k4.
        lens: "radtan" or "fisheye".
        size: (width, height) pixels; None where the calibration does not say.
        T_cam_world: world to camera, in the calibration's own unit.
        turned: degrees by which pictures are shown clockwise against those calibrated, as the calibration says.
    """

    name: str
    K: np.ndarray
    distortion: np.ndarray
    lens: str
    size: tuple[int, int] | None
    T_cam_world: Pose
    turned: int = 0


def make_camera(where: str, name: str, K, distortion, rotation, translation, size=None, lens: str = "radtan",
                turned: int = 0) -> RigCamera:
    """A camera from plain numbers.

    Args:
        where: file and entry, for messages.
        K: 3 x 3 numbers.
        rotation: 3 x 3 numbers, or 3 of a rotation vector (radians), world to camera.
        translation: 3 numbers, the world's origin in camera coordinates.
        size: 2 numbers, width and height, or None.

    Raises:
        BadInput: names the entry that is wrong.
    """
    matrix = numbers(K, 9, f"{where}: camera matrix").reshape(3, 3)
    for what, focal in (("fx", matrix[0, 0]), ("fy", matrix[1, 1])):
        if not FOCALS_PX[0] <= focal <= FOCALS_PX[1]:
            raise BadInput(f"{where}: {what} is {focal:g} px, expected {FOCALS_PX[0]:g} to {FOCALS_PX[1]:g}")
    if np.abs(matrix[[1, 2, 2], [0, 0, 1]]).max() > 1e-9 or abs(matrix[2, 2] - 1) > 1e-9:
        raise BadInput(f"{where}: camera matrix {matrix.tolist()}, expected [[fx, s, cx], [0, fy, cy], [0, 0, 1]]")
    if abs(matrix[0, 1]) > 1e-3 * matrix[0, 0]:
        raise BadInput(f"{where}: skew is {matrix[0, 1]:g} px, expected none")
    values = numbers(distortion, None, f"{where}: distortion")
    if len(values) not in COUNTS[lens]:
        raise BadInput(f"{where}: {len(values)} distortion numbers, expected {', '.join(map(str, COUNTS[lens]))} "
                       f"(OpenCV's order, lens {lens})")
    if np.abs(values).max(initial=0) > 1e3:
        raise BadInput(f"{where}: distortion {values.tolist()}, expected small numbers")
    turn = numbers(rotation, None, f"{where}: rotation")
    if turn.size not in (3, 9):
        raise BadInput(f"{where}: rotation has {turn.size} numbers, expected 9, or 3 of a rotation vector")
    at = numbers(translation, 3, f"{where}: translation")
    if np.abs(at).max() > FARTHEST:
        raise BadInput(f"{where}: translation {at.tolist()}, expected lengths of at most {FARTHEST:g}")
    shape = None
    if size is not None:
        wide = numbers(size, 2, f"{where}: size")
        if (wide != np.round(wide)).any() or (wide < 1).any() or (wide > 1 << 16).any():
            raise BadInput(f"{where}: size {wide.tolist()}, expected width and height in pixels")
        shape = (int(wide[0]), int(wide[1]))
        for axis in (0, 1):
            if not 0 <= matrix[axis, 2] <= wide[axis]:
                raise BadInput(f"{where}: principal point {'xy'[axis]} = {matrix[axis, 2]:g} px is outside of the "
                               f"image of {shape[0]}x{shape[1]}; is the calibration of another size?")
    try:
        matrix_of = exp_so3(turn) if turn.size == 3 else turn.reshape(3, 3)
        pose = Pose("cam", "world", matrix_of, at)
    except ValueError as error:
        raise BadInput(f"{where}: rotation: {error}") from error
    pose = Pose.from_matrix("cam", "world", pose.matrix())  # published digits: re-orthonormalised
    return RigCamera(name, matrix, values, lens, shape, pose, turned)


def numbers(value, count: int | None, where: str) -> np.ndarray:
    """Flat finite numbers; `count` of them, any where None.

    Raises:
        BadInput: otherwise.
    """
    try:
        array = np.asarray([] if value is None else value, float).ravel()
    except (TypeError, ValueError, OverflowError):
        array = np.full(1, np.nan)
    if (count is not None and array.size != count) or not np.isfinite(array).all() or array.size > 64:
        shown = str(value)
        raise BadInput(f"{where}: found {shown if len(shown) <= 60 else shown[:60] + '...'}, expected "
                       f"{count if count is not None else 'finite'} numbers")
    return array
