"""Several pinhole cameras as arrays: projection, epipolar distances, points from two rays and more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.geometry.rotations import skew
from curate.sources.base import View

TUKEY = 4.685  # of a robust fit, in standard deviations
WIDER = (16, 8, 4, 2, 1, 1, 1)  # than that at first: no ray is given up before the others agree


class Cameras:
    """
    Attributes:
        K: [V, 3, 3]. R, t: [V, 3, 3], [V, 3] rig to view. centre: [V, 3] metres, rig. size: [V, 2] px.
    """

    def __init__(self, views: Sequence[View]) -> None:
        poses = [view.T_rig_view.inverse() for view in views]
        self.K = np.stack([view.camera.matrix for view in views])
        self.R = np.stack([pose.rotation for pose in poses])
        self.t = np.stack([pose.translation for pose in poses])
        self.centre = np.stack([view.T_rig_view.translation for view in views])
        self.size = np.array([[view.camera.width, view.camera.height] for view in views])

    def __len__(self) -> int:
        return len(self.K)

    def project(self, view: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Pixels [M, 2] of rig points [M, 3] in views [M]; nan behind a camera."""
        return project(self.K[view], self.R[view], self.t[view], points)[0]

    def rays(self, view: int, uv: np.ndarray) -> np.ndarray:
        """[M, 3] unit directions in the rig through pixels [M, 2] of one view."""
        local = np.column_stack([uv, np.ones(len(uv))]) @ np.linalg.inv(self.K[view]).T
        return local / np.linalg.norm(local, axis=1, keepdims=True) @ self.R[view]

    def fundamental(self, a: int, b: int) -> np.ndarray:
        """[3, 3] F with x_bᵀ F x_a = 0."""
        R = self.R[b] @ self.R[a].T
        t = self.t[b] - R @ self.t[a]
        return np.linalg.inv(self.K[b]).T @ skew(t) @ R @ np.linalg.inv(self.K[a])

    def epipolar(self, a: int, uv_a: np.ndarray, b: int, uv_b: np.ndarray) -> np.ndarray:
        """Sampson distances [n] px of pairs of pixels [n, 2]."""
        xb, line_a, line_b = self._lines(a, uv_a, b, uv_b)
        slope = (line_b[:, :2] ** 2).sum(1) + (line_a[:, :2] ** 2).sum(1)
        return np.abs((line_b * xb).sum(1)) / np.sqrt(np.maximum(slope, 1e-12))

    def epipolar_table(self, a: int, uv_a: np.ndarray, b: int, uv_b: np.ndarray) -> np.ndarray:
        """Sampson distances [n, m] px of all pixels [n, 2] and [m, 2]."""
        xb, line_a, line_b = self._lines(a, uv_a, b, uv_b)
        slope = (line_b[:, :2] ** 2).sum(1)[:, None] + (line_a[:, :2] ** 2).sum(1)
        return np.abs(line_b @ xb.T) / np.sqrt(np.maximum(slope, 1e-12))

    def _lines(self, a: int, uv_a: np.ndarray, b: int, uv_b: np.ndarray):
        """Homogeneous pixels of the second view, the lines they give in the first, and the first's in the second."""
        F = self.fundamental(a, b)
        xa, xb = (np.column_stack([uv, np.ones(len(uv))]) for uv in (uv_a, uv_b))
        return xb, xb @ F, xa @ F.T


def project(K: np.ndarray, R: np.ndarray, t: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [M, 2] of points [M, 3] in cameras [M, ...], nan behind them, and ∂(pixels)/∂(points) [M, 2, 3]."""
    local = (R @ points[..., None])[..., 0] + t
    z = np.where(local[:, 2] > 1e-6, local[:, 2], np.nan)
    fx, fy = K[:, 0, 0], K[:, 1, 1]
    uv = np.stack([fx * local[:, 0] / z + K[:, 0, 2], fy * local[:, 1] / z + K[:, 1, 2]], -1)
    jacobian = np.zeros((len(points), 2, 3))
    jacobian[:, 0, 0], jacobian[:, 1, 1] = fx / z, fy / z
    jacobian[:, 0, 2], jacobian[:, 1, 2] = -fx * local[:, 0] / z**2, -fy * local[:, 1] / z**2
    return uv, jacobian @ R


@dataclass
class Triangulated:
    """points: [N, 3], nan where rays are too near to parallel. information: [N, 3, 3] of unit pixel noise. residual:
    [M] px of each observation. angle: [N] radians, the widest between two rays, at most a right angle."""

    points: np.ndarray
    information: np.ndarray
    residual: np.ndarray
    angle: np.ndarray


def triangulate(K: np.ndarray, R: np.ndarray, t: np.ndarray, uv: np.ndarray, point: np.ndarray, num_points: int,
                sigma_px: float, min_angle: float) -> Triangulated:
    """Points from any number of rays each: nearest to the rays first, then least reprojection error, robust.

    Args:
        K, R, t: [M, ...] the camera of each observation, from the points' frame.
        uv: [M, 2]. point: [M] index of the point each is of.
        sigma_px: beyond a few of it an observation counts less and less.
        min_angle: radians; points whose rays are nearer to parallel are nan.
    """
    local = np.stack([(uv[:, 0] - K[:, 0, 2]) / K[:, 0, 0], (uv[:, 1] - K[:, 1, 2]) / K[:, 1, 1], np.ones(len(uv))], -1)
    ray = np.einsum("mji,mj->mi", R, local)
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    centre = -np.einsum("mji,mj->mi", R, t)
    across = np.eye(3) - ray[:, :, None] * ray[:, None]
    A = total(across, point, num_points)
    b = total((across @ centre[..., None])[..., 0], point, num_points)
    count = np.maximum(np.bincount(point, minlength=num_points), 1)
    # for unit rays: the least eigenvalue of A / count is about half the variance of their directions
    spread = np.linalg.eigvalsh(A)[:, 0] / count
    pair = np.maximum(count / np.maximum(count - 1, 1), 1)
    angle = 2 * np.arcsin(np.sqrt(np.clip(spread * pair, 0, 0.5)))
    good = angle >= min_angle
    A[~good] = np.eye(3)
    X = np.linalg.solve(A, b[..., None])[..., 0]
    X[~good] = np.nan
    weight = np.ones(len(uv))
    H = np.tile(np.eye(3), (num_points, 1, 1))
    with np.errstate(invalid="ignore"):
        for wider in WIDER:
            seen, J = project(K, R, t, X[point])
            error = uv - seen
            size = np.linalg.norm(error, axis=1)
            weight = np.nan_to_num(np.clip(1 - (size / (TUKEY * 2 * sigma_px * wider)) ** 2, 0, None) ** 2)
            J, error = np.nan_to_num(J), np.nan_to_num(error)
            weighted = J * weight[:, None, None]
            H = total(np.swapaxes(weighted, 1, 2) @ J, point, num_points)
            g = total((np.swapaxes(weighted, 1, 2) @ error[..., None])[..., 0], point, num_points)
            damped = H + 1e-9 * np.trace(H, axis1=1, axis2=2)[:, None, None] * np.eye(3) + 1e-12 * np.eye(3)
            X = X + np.linalg.solve(damped, g[..., None])[..., 0]
        seen, _ = project(K, R, t, X[point])
        residual = np.linalg.norm(uv - seen, axis=1)
    return Triangulated(X, H, np.where(np.isfinite(residual), residual, np.inf), angle)


def total(values: np.ndarray, key: np.ndarray, length: int) -> np.ndarray:
    """[length, ...] sums of `values` [M, ...] by `key` [M]."""
    flat = values.reshape(len(values), -1)
    out = np.stack([np.bincount(key, flat[:, i], length) for i in range(flat.shape[1])], -1)
    return out.reshape(length, *values.shape[1:])
