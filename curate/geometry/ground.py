"""A camera that looks at a ground plane: from pixels to metres on the ground and back, and the pose that follows.

Ground coordinates are (X, Y) metres on the plane and a height above it; the plane's axes may be of either handedness.
Pixels are joined to them by one projection matrix, whose columns for X, Y and the origin are the homography's inverse
as it was given, so that feet land exactly where it says; the column for the height follows from the camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from curate.geometry.cameras import Intrinsics

MIN_HEIGHT_M = 0.05
SINGULAR = 1e-9
MAX_SHIFT = 0.1  # of the principal point from the centre, of the image's width


@dataclass(frozen=True, eq=False)
class GroundPlane:
    """
    Args:
        camera: square pixels where it was derived from a homography.
        projection: [3, 4]; pixel ~ projection @ (X, Y, height, 1), with a positive last entry in front of the camera.
        axes: [3, 3] whose columns are the plane's X, its Y and up, unit vectors in camera axes.
        origin: [3] m, the point (0, 0) of the plane in camera axes.
        focal_relative_sigma: error of the focal length, where it was derived.
        distance_relative_sigma: what it makes of distances from the camera; places on the ground do not depend on it.
        residual: share by which X and Y of a given homography are not two legs of a square seen by such a camera.
    """

    camera: Intrinsics
    projection: np.ndarray
    axes: np.ndarray
    origin: np.ndarray
    focal_relative_sigma: float = 0.0
    residual: float = 0.0
    distance_relative_sigma: float = 0.0

    @property
    def up(self) -> np.ndarray:
        """[3] unit, off the ground, in camera axes."""
        return self.axes[:, 2]

    @property
    def height_m(self) -> float:
        """Of the camera's centre over the plane."""
        return float(-self.up @ self.origin)

    def at_height(self, height: float | np.ndarray = 0.0) -> np.ndarray:
        """[..., 3, 3] from (X, Y, 1) on the plane `height` metres up to pixels."""
        p = self.projection
        last = p[:, 3] + np.asarray(height, float)[..., None] * p[:, 2]
        out = np.empty((*last.shape[:-1], 3, 3))
        out[..., :2], out[..., 2] = p[:, :2], last
        return out

    def to_pixels(self, ground: np.ndarray, height: float | np.ndarray = 0.0) -> np.ndarray:
        """(X, Y) [..., 2] metres at a height to pixels [..., 2]; nan behind the camera."""
        ground = np.asarray(ground, float)
        place = np.concatenate([ground, np.ones((*ground.shape[:-1], 1))], -1)
        seen = (self.at_height(height) @ place[..., None])[..., 0]
        depth = np.where(seen[..., 2:] > 0, seen[..., 2:], np.nan)
        return seen[..., :2] / depth

    def to_ground(self, pixels: np.ndarray, height: float | np.ndarray = 0.0) -> np.ndarray:
        """Pixels [..., 2] to (X, Y) [..., 2] metres where their ray meets the plane at a height; nan above the horizon
        of that plane."""
        return self._on_plane(pixels, height)[0]

    def ground_jacobian(self, pixels: np.ndarray, height: float | np.ndarray = 0.0) -> np.ndarray:
        """∂(X, Y)/∂(u, v), m/px, [..., 2, 2]."""
        return self._on_plane(pixels, height)[1]

    def _on_plane(self, pixels: np.ndarray, height: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.asarray(pixels, float)
        back = np.linalg.inv(self.at_height(height))
        q = (back @ np.concatenate([pixels, np.ones((*pixels.shape[:-1], 1))], -1)[..., None])[..., 0]
        scale = np.where(q[..., 2:] > 0, q[..., 2:], np.nan)
        ground = q[..., :2] / scale
        jacobian = (back[..., :2, :2] - ground[..., :, None] * back[..., 2, None, :2]) / scale[..., None]
        return ground, jacobian

    def to_camera(self, ground: np.ndarray, height: float | np.ndarray = 0.0) -> np.ndarray:
        """(X, Y) [..., 2] metres at a height to points [..., 3] in camera axes."""
        ground = np.asarray(ground, float)
        height = np.broadcast_to(np.asarray(height, float), ground.shape[:-1])
        return np.concatenate([ground, height[..., None]], -1) @ self.axes.T + self.origin


def from_homography(matrix: np.ndarray, width: int, height: int, focal_px: float | None = None) -> GroundPlane:
    """The camera behind a ground-plane homography: square pixels, the principal point nearest to the image's centre.

    The plane's axes are perpendicular and of one scale, which is two equations of focal length and principal point
    (Zhang, PAMI 2000, eqs. 3 and 4). With the principal point at the centre both speak of the focal length, and their
    disagreement is its error; then the principal point moves as little as brings both into accord, so that the camera
    and the homography see the ground at the same pixels.

    Args:
        matrix: [3, 3] pixel of a foot (u, v, 1) to (X, Y, 1) metres on the ground, up to scale.
        width, height: of the image, pixels.
        focal_px: the focal length, where it is known; the principal point is then the centre.

    Raises:
        ValueError: a singular matrix, one whose ground is not seen at the image's lower edge, or one that leaves the
            focal length open (a camera that looks straight down).
    """
    matrix = np.asarray(matrix, float)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise ValueError(f"homography must be 3x3 finite numbers, got {matrix.tolist()}")
    unit = np.diag([width, height, 1.0])  # from the unit square, so that conditions can be compared
    value = np.linalg.svd(matrix @ unit, compute_uv=False)
    if not value[-1] > SINGULAR * value[0]:
        raise ValueError(f"homography is singular (singular values {value[0]:.3g} to {value[-1]:.3g}): its plane is "
                         "seen edge-on, or its rows repeat")
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    below = matrix @ [centre[0], height - 1, 1]
    seen = np.linalg.inv(matrix) * np.sign(below[2])  # what the image's lower edge shows is in front of the camera
    spread = 0.0
    if focal_px is None:
        focal_px, spread = _focal(seen, centre)
        nearer = _principal_point(seen, centre, MAX_SHIFT * width)
        if nearer is not None:
            centre, (focal_px, _) = nearer, _focal(seen, nearer)
    camera = Intrinsics(focal_px, focal_px, *map(float, centre), width, height)
    inside = np.linalg.solve(camera.matrix, seen)
    scale = float(np.linalg.norm(inside[:, :2], axis=0).mean())
    u, _, vt = np.linalg.svd(inside[:, :2] / scale, full_matrices=False)
    legs = u @ vt  # the nearest two perpendicular unit vectors
    residual = float(np.linalg.norm(inside[:, :2] / scale - legs))
    origin = inside[:, 2] / scale
    up = np.cross(legs[:, 0], legs[:, 1])
    up = up if up @ origin < 0 else -up  # the camera is above the ground
    if not -up @ origin > MIN_HEIGHT_M:
        raise ValueError(f"homography puts the camera {-up @ origin:.3g} m over the ground; is it from pixels to "
                         "metres, and not the other way?")
    projection = np.column_stack([seen[:, 0], seen[:, 1], scale * camera.matrix @ up, seen[:, 2]])
    found = GroundPlane(camera, projection, np.column_stack([legs, up]), origin, spread, residual)
    if not spread:
        return found
    seen_at = found.to_ground(np.array([camera.cx, 0.75 * height]))
    distances = [np.linalg.norm(from_homography(matrix, width, height, focal_px * factor).to_camera(seen_at))
                 for factor in (1 - min(spread, 0.5), 1 + spread)]
    change = abs(distances[1] - distances[0]) / 2 / np.linalg.norm(found.to_camera(seen_at))
    return replace(found, distance_relative_sigma=float(change))


def _equations(seen: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """left [2], right [2] with left / f² = right: "perpendicular" and "of one scale"."""
    a, b = seen[:, 0], seen[:, 1]
    x, y = a[:2] - centre * a[2], b[:2] - centre * b[2]
    return np.array([x @ y, (x @ x - y @ y) / 2]), -np.array([a[2] * b[2], (a[2] ** 2 - b[2] ** 2) / 2])


def _focal(seen: np.ndarray, centre: np.ndarray) -> tuple[float, float]:
    """Focal length, pixels, by least squares over both equations, and its relative error by their disagreement."""
    left, right = _equations(seen, centre)
    size = np.linalg.norm(seen[:2, 0]) * np.linalg.norm(seen[:2, 1])
    if not np.linalg.norm(left) > 1e-9 * size or not left @ right > 0:
        raise ValueError("homography leaves the focal length open (does the camera look straight down, or are pixels "
                         "not square?); state it: calibration: {fx: ...}")
    inverse2 = float(left @ right / (left @ left))
    miss = float(np.linalg.norm(right - inverse2 * left) / np.linalg.norm(left))
    return 1 / math.sqrt(inverse2), 0.5 * miss / inverse2


def _principal_point(seen: np.ndarray, centre: np.ndarray, reach: float) -> np.ndarray | None:
    """The point nearest to the centre where both equations hold at once, pixels; None where there is none in reach."""
    def disagreement(shift: np.ndarray) -> float:
        left, right = _equations(seen, centre + shift)
        return float(left[0] * right[1] - left[1] * right[0]) / scale

    left, right = _equations(seen, centre)
    scale = float(np.linalg.norm(left) * np.linalg.norm(right)) or 1.0
    shift = np.zeros(2)
    for _ in range(20):
        value = disagreement(shift)
        slope = np.array([(disagreement(shift + e) - disagreement(shift - e)) / 2 for e in np.eye(2)])
        if not slope @ slope > 0:
            return None
        step = slope * ((slope @ shift - value) / (slope @ slope))
        if np.linalg.norm(step) > reach:
            return None
        if np.linalg.norm(step - shift) < 1e-9:
            return centre + step
        shift = step
    return None


def from_height(camera: Intrinsics, height_m: float, pitch_rad: float, roll_rad: float = 0.0) -> GroundPlane:
    """A camera of known height over the ground and known horizon.

    The plane's origin is below the camera, Y points away from it and X to its right.

    Args:
        pitch_rad: how far the camera looks down from the horizon. roll_rad: how far it is turned clockwise, as the
            picture's horizon turns anticlockwise.

    Raises:
        ValueError: a height that is not positive, or a camera that looks straight up or down.
    """
    if not height_m > MIN_HEIGHT_M:
        raise ValueError(f"camera height must be above {MIN_HEIGHT_M} m, got {height_m}")
    if not abs(pitch_rad) < math.radians(89):
        raise ValueError(f"pitch must be within ±89°, got {math.degrees(pitch_rad):.1f}°")
    up = np.array([-math.sin(roll_rad) * math.cos(pitch_rad), -math.cos(roll_rad) * math.cos(pitch_rad),
                   -math.sin(pitch_rad)])
    ahead = np.array([0, 0, 1.0]) - up[2] * up
    ahead = ahead / np.linalg.norm(ahead)
    axes = np.column_stack([np.cross(ahead, up), ahead, up])
    origin = -height_m * up
    return GroundPlane(camera, camera.matrix @ np.column_stack([axes, origin]), axes, origin)


def pitch_of_horizon(camera: Intrinsics, horizon_row: float) -> float:
    """Pitch (radians, positive downwards) of a level camera whose horizon crosses the middle column at a row."""
    return math.atan((camera.cy - horizon_row) / camera.fy)
