"""Rigid motion of a set of surface points, fitted where their errors are simple: in pixels and disparity.

Positions are matched to about a tenth of a pixel while depth from disparity errs by per cents, so a fit of 3D
points to 3D points (Kabsch) would be led by its worst coordinate. Here the pose is moved until the projected
points meet the matched pixels and disparities: Gauss-Newton with Tukey weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.cameras import StereoRig
from curate.geometry.rotations import exp_so3, log_so3, skew

MEDIAN_LENGTH = 1.538  # of three unit normals
TUKEY = 6.0  # lengths of three normals are cut here
MAX_ITERATIONS = 25


@dataclass
class RigidFit:
    """Motion from a key frame to this one.

    Args:
        rotation: [3, 3], key frame's camera axes to this frame's.
        point: [3] metres, the reference point in this frame's camera axes.
        covariance: [3, 3] of `point` that is this frame's own.
        inliers: [N] bool.
        spread: robust standard deviation of the residuals in units of their sigma.
    """

    rotation: np.ndarray
    point: np.ndarray
    covariance: np.ndarray
    inliers: np.ndarray
    spread: float


def project(rig: StereoRig, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Camera points [N, 3] to (u, v, disparity) [N, 3], and its Jacobian [N, 3, 3]."""
    z = np.maximum(points[:, 2], 1e-3)
    fx, fy, fb = rig.left.fx, rig.left.fy, rig.left.fx * rig.baseline_m
    uvd, jacobian = np.empty((len(z), 3)), np.zeros((len(z), 3, 3))
    uvd[:, 0], uvd[:, 1], uvd[:, 2] = fx * points[:, 0] / z, fy * points[:, 1] / z, fb / z
    jacobian[:, 0, 0], jacobian[:, 1, 1] = fx / z, fy / z
    jacobian[:, :, 2] = -uvd / z[:, None]
    uvd += (rig.left.cx, rig.left.cy, -rig.doffs_px)
    return uvd, jacobian


def fit_rigid(rig: StereoRig, shape: np.ndarray, reference: np.ndarray, uvd: np.ndarray, sigma: np.ndarray,
              effective: float, rotation_prior: np.ndarray, rotation_sigma: float, bias_sigma: float,
              guesses: list[tuple[np.ndarray, np.ndarray]]) -> RigidFit | None:
    """Pose of `shape` in this frame from matched pixels and disparities.

    Args:
        rig: rectified pair.
        shape: [N, 3] points in the key frame's camera axes, metres.
        reference: [3] reference point in the same axes.
        uvd: [N, 3] matched (u, v, disparity); disparity nan where unknown.
        sigma: [N, 3] their standard deviations, pixels.
        effective: number of independent points among the N.
        rotation_prior: [3, 3] rotation expected of a body that does not turn in the world.
        rotation_sigma: radians about it.
        bias_sigma: px, an offset that all disparities of this frame share.
        guesses: (rotation, reference point) to start from; the best is refined.

    Returns:
        None where fewer than four points can be used or the fit does not settle in front of the camera.
    """
    offset = shape - reference
    has_depth = np.isfinite(uvd[:, 2])
    observed = np.where(has_depth[:, None], uvd, np.column_stack([uvd[:, :2], np.zeros(len(uvd))]))
    information = np.where(np.isfinite(sigma), 1 / np.where(np.isfinite(sigma), sigma, 1) ** 2, 0.0)
    information[:, 2] *= has_depth

    def residuals(rotation, point, bias):
        predicted, jacobian = project(rig, offset @ rotation.T + point)
        error = observed - predicted
        error[:, 2] -= bias
        error[:, 2] *= has_depth
        return error, jacobian

    def cost(rotation, point):
        error, _ = residuals(rotation, point, 0.0)
        return np.median(np.sqrt((error**2 * information).sum(1)))

    guesses = [g for g in guesses if g[1][2] > 0]
    if len(uvd) < 4 or not guesses:
        return None
    rotation, point = min(guesses, key=lambda g: cost(*g))
    bias, down = 0.0, min(1.0, effective / len(uvd))
    hessian = np.eye(7)
    for iteration in range(MAX_ITERATIONS):
        error, jacobian = residuals(rotation, point, bias)
        size = np.sqrt((error**2 * information).sum(1))
        spread = max(1.0, np.median(size) / MEDIAN_LENGTH)
        robust = np.clip(1 - (size / (TUKEY * spread)) ** 2, 0, None) ** 2
        if (robust > 0.1).sum() < 4:
            return None
        weight = information * (robust * down / spread**2)[:, None]
        turned = offset @ rotation.T
        whole = np.zeros((len(uvd), 3, 7))
        whole[:, :, :3] = -jacobian @ skew(turned)
        whole[:, :, 3:6] = jacobian
        whole[:, 2, 6] = has_depth
        scaled = whole * weight[..., None]
        hessian = np.einsum("nij,nik->jk", scaled, whole)
        gradient = np.einsum("nij,ni->j", scaled, error)
        away = log_so3(rotation @ rotation_prior.T)
        hessian[:3, :3] += np.eye(3) / rotation_sigma**2
        gradient[:3] -= away / rotation_sigma**2
        hessian[6, 6] += 1 / bias_sigma**2
        gradient[6] -= bias / bias_sigma**2
        step = np.linalg.solve(hessian, gradient)
        limit = min(1.0, 0.3 / max(np.linalg.norm(step[:3]), 1e-9))
        rotation = exp_so3(limit * step[:3]) @ rotation
        point = point + limit * step[3:6]
        bias += limit * step[6]
        if point[2] <= 0.05:
            return None
        if iteration > 3 and np.abs(step[3:6]).max() < 1e-5 * point[2] and np.abs(step[:3]).max() < 1e-5:
            break
    covariance = np.linalg.inv(hessian)[3:6, 3:6]
    return RigidFit(rotation, point, (covariance + covariance.T) / 2, robust > 0.1, float(spread))
