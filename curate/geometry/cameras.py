"""Pinhole cameras and rectified stereo rigs: projection, lifting, and how their noise travels.

Axes are OpenCV's: x right, y down, z forward; pixel centres are at integer coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Intrinsics:
    """A rectified pinhole camera.

    Args:
        fx, fy, cx, cy: pixels.
        width, height: pixels.

    Raises:
        ValueError: on a non-finite or non-positive focal length or size.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        values = (self.fx, self.fy, self.cx, self.cy)
        if not np.isfinite(values).all():
            raise ValueError(f"intrinsics must be finite, got fx={self.fx} fy={self.fy} cx={self.cx} cy={self.cy}")
        if self.fx <= 0 or self.fy <= 0:
            raise ValueError(f"focal lengths must be positive pixels, got fx={self.fx} fy={self.fy}")
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"image size must be positive, got {self.width}x{self.height}")

    @property
    def matrix(self) -> np.ndarray:
        """[3, 3]."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    def scaled(self, width: int, height: int) -> Intrinsics:
        """The same camera at another image size; pixel centres stay where they are on the sensor."""
        sx, sy = width / self.width, height / self.height
        return replace(self, fx=self.fx * sx, fy=self.fy * sy, cx=(self.cx + 0.5) * sx - 0.5,
                       cy=(self.cy + 0.5) * sy - 0.5, width=width, height=height)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Camera points [..., 3] metres to pixels [..., 2]; nan behind the camera."""
        p = np.asarray(points, float)
        z = np.where(p[..., 2] > 0, p[..., 2], np.nan)
        return np.stack([self.fx * p[..., 0] / z + self.cx, self.fy * p[..., 1] / z + self.cy], -1)

    def lift(self, uv: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Pixels [..., 2] and depth [...] metres (along z) to camera points [..., 3]."""
        uv, z = np.asarray(uv, float), np.asarray(depth, float)
        return np.stack([(uv[..., 0] - self.cx) / self.fx * z, (uv[..., 1] - self.cy) / self.fy * z, z], -1)

    def rays(self) -> np.ndarray:
        """[H, W, 3] directions with z = 1 through every pixel centre."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        return self.lift(np.stack([u, v], -1), np.ones((self.height, self.width)))


@dataclass(frozen=True)
class StereoRig:
    """A rectified pair: the right camera sits `baseline_m` along +x of the left one.

    Args:
        left: intrinsics shared by both views, up to `doffs_px`.
        baseline_m: metres, positive.
        doffs_px: cx_right − cx_left, pixels; depth = fx · baseline / (disparity + doffs).

    Raises:
        ValueError: on a baseline that is not a positive number.
    """

    left: Intrinsics
    baseline_m: float
    doffs_px: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite(self.baseline_m) or self.baseline_m <= 0:
            raise ValueError(f"baseline_m must be a positive number of metres, got {self.baseline_m}")
        if not np.isfinite(self.doffs_px):
            raise ValueError(f"doffs_px must be finite, got {self.doffs_px}")

    def depth(self, disparity: np.ndarray) -> np.ndarray:
        """Disparity (pixels, left minus right) to metres along z; inf where it is not positive."""
        d = np.asarray(disparity, float) + self.doffs_px
        return np.where(d > 0, self.left.fx * self.baseline_m / np.where(d > 0, d, 1), np.inf)

    def disparity(self, depth: np.ndarray) -> np.ndarray:
        """Metres along z to pixels."""
        return self.left.fx * self.baseline_m / np.asarray(depth, float) - self.doffs_px

    def point(self, uvd: np.ndarray) -> np.ndarray:
        """(u, v, disparity) [..., 3] to camera points [..., 3], metres."""
        uvd = np.asarray(uvd, float)
        return self.left.lift(uvd[..., :2], self.depth(uvd[..., 2]))

    def point_covariance(self, uvd: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """Covariance [..., 3, 3] of `point(uvd)` for independent `sigma` [..., 3] of (u, v, d), first order."""
        j = self.point_jacobian(uvd)
        return (j * np.asarray(sigma, float)[..., None, :] ** 2) @ np.swapaxes(j, -1, -2)

    def point_jacobian(self, uvd: np.ndarray) -> np.ndarray:
        """∂(x, y, z)/∂(u, v, d), [..., 3, 3]."""
        uvd = np.asarray(uvd, float)
        z = self.depth(uvd[..., 2])
        x = (uvd[..., 0] - self.left.cx) / self.left.fx
        y = (uvd[..., 1] - self.left.cy) / self.left.fy
        dz = -z / (uvd[..., 2] + self.doffs_px)
        zero = np.zeros_like(z)
        return np.stack([np.stack([z / self.left.fx, zero, x * dz], -1),
                         np.stack([zero, z / self.left.fy, y * dz], -1),
                         np.stack([zero, zero, dz], -1)], -2)
