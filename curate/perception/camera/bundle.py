"""Bundle adjustment of a few stereo frames: poses and points from (u, v, disparity) observations.

A point is (u, v, d) in a *reference frame of its own*, a constant pose near the camera that first saw it, so
that far points are as well-behaved as near ones (their error is Gaussian in disparity, and d = 0 is infinity):
    r = ((u − cx)/fx, (v − cy)/fy, 1)      ρ = (d + doffs) / (fx · baseline)
    q = Rᵀ (R_ref r + ρ (t_ref − t))       the point in camera (R, t), up to the scale ρ
    (u, v, d) = (fx q_x/q_z + cx,  fy q_y/q_z + cy,  fx · baseline · ρ/q_z − doffs)
Levenberg–Marquardt with Cauchy weights per observation; points are eliminated by the Schur complement
(Triggs et al., Bundle Adjustment: A Modern Synthesis, 2000).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.cameras import StereoRig
from curate.geometry.rotations import exp_so3, skew

CAUCHY_SQUARED = 9.0  # Mahalanobis² (3 degrees of freedom) at which an observation's weight is one half
MIN_COST_DROP = 1e-5  # relative; below it the iteration has converged


@dataclass
class Points:
    """L points: (u, v, d) px in constant reference poses `T_world_ref`."""

    ref_rotation: np.ndarray  # [L, 3, 3]
    ref_translation: np.ndarray  # [L, 3]
    uvd: np.ndarray  # [L, 3]

    def __getitem__(self, index) -> Points:
        return Points(self.ref_rotation[index], self.ref_translation[index], self.uvd[index])


@dataclass
class Observations:
    """m sightings of points: which frame, which point, where, and how well."""

    frame: np.ndarray  # [m] index into the poses
    point: np.ndarray  # [m] index into the points
    uvd: np.ndarray  # [m, 3] px
    sigma: np.ndarray  # [m, 3] px, inf where a component was not measured

    def __getitem__(self, index) -> Observations:
        return Observations(self.frame[index], self.point[index], self.uvd[index], self.sigma[index])

    def __len__(self) -> int:
        return len(self.frame)


@dataclass
class Bundle:
    """Result of `bundle_adjust`."""

    rotation: np.ndarray  # [F, 3, 3] of T_world_cam
    translation: np.ndarray  # [F, 3] metres
    points: Points
    distance2: np.ndarray  # [m] squared Mahalanobis distance of each observation
    weight: np.ndarray  # [m] 0..1 robust weight
    variance: float  # robust residual variance over the stated one (1 = the sigmas are right)


def rays(rig: StereoRig, uvd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(u, v, d) [..., 3] to ray [..., 3] with z = 1 and inverse depth [...] in 1/m."""
    cam = rig.left
    ray = np.stack([(uvd[..., 0] - cam.cx) / cam.fx, (uvd[..., 1] - cam.cy) / cam.fy, np.ones(uvd.shape[:-1])], -1)
    return ray, (uvd[..., 2] + rig.doffs_px) / (cam.fx * rig.baseline_m)


def project(rig: StereoRig, q: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """q [..., 3] and ρ [...] to (u, v, d) [..., 3], ∂uvd/∂q [..., 3, 3] and ∂d/∂ρ [...] at fixed q.

    Points on or behind the image plane are held at a small positive depth, where they fit nothing.
    """
    cam, fb = rig.left, rig.left.fx * rig.baseline_m
    z = 1 / np.maximum(q[..., 2], 1e-3)
    x, y, inv = q[..., 0] * z, q[..., 1] * z, rho * z
    uvd = np.stack([cam.fx * x + cam.cx, cam.fy * y + cam.cy, fb * inv - rig.doffs_px], -1)
    jac = np.zeros(q.shape + (3,))
    jac[..., 0, 0], jac[..., 0, 2] = cam.fx * z, -cam.fx * x * z
    jac[..., 1, 1], jac[..., 1, 2] = cam.fy * z, -cam.fy * y * z
    jac[..., 2, 2] = -fb * inv * z
    return uvd, jac, fb * z


class _Problem:
    """Residuals and normal equations at one state; the layout of observations is fixed."""

    def __init__(self, rig: StereoRig, obs: Observations, points: Points, num_frames: int, free: np.ndarray):
        self.rig, self.obs, self.points = rig, obs, points
        self.num_frames, self.num_points, self.free = num_frames, len(points.uvd), free
        self.ref_rotation = points.ref_rotation[obs.point]
        self.ref_translation = points.ref_translation[obs.point]
        self.inv_sigma = 1 / obs.sigma

    def residuals(self, rotation, translation, uvd):
        """Whitened residuals [m, 3] (observed − predicted) and what the Jacobians need."""
        ray, rho = rays(self.rig, uvd[self.obs.point])
        inverse = np.swapaxes(rotation[self.obs.frame], -1, -2)
        lever = self.ref_translation - translation[self.obs.frame]
        in_world = (self.ref_rotation @ ray[..., None])[..., 0] + rho[:, None] * lever
        q = (inverse @ in_world[..., None])[..., 0]
        predicted, jac, dd_drho = project(self.rig, q, rho)
        return (self.obs.uvd - predicted) * self.inv_sigma, (inverse, lever, q, rho, jac, dd_drho)

    def jacobians(self, parts):
        """Whitened ∂predicted/∂pose [m, 3, 6] and ∂predicted/∂(u, v, d) [m, 3, 3]."""
        inverse, lever, q, rho, jac, dd_drho = parts
        cam = self.rig.left
        white = jac * self.inv_sigma[..., None]
        pose = np.concatenate([white @ skew(q), -rho[:, None, None] * white], -1)
        dq = np.empty((len(q), 3, 3))
        dq[..., :2] = (inverse @ self.ref_rotation)[..., :2] / np.array([cam.fx, cam.fy])
        dq[..., 2] = (inverse @ lever[..., None])[..., 0] / (cam.fx * self.rig.baseline_m)
        point = white @ dq
        point[:, 2, 2] += dd_drho * self.inv_sigma[:, 2] / (cam.fx * self.rig.baseline_m)
        return pose, point

    def normal(self, residual, parts, weight):
        """Block normal equations: H_pp [F, 6, 6], g_p [F, 6], H_ll [L, 3, 3], g_l [L, 3], W [F, 6, L, 3]."""
        pose, point = self.jacobians(parts)
        pose_t, point_t = np.swapaxes(pose, -1, -2) * weight[:, None, None], np.swapaxes(point, -1, -2) * weight[
            :, None, None]
        frame, which = self.obs.frame, self.obs.point
        h_pp = _sum_by(frame, pose_t @ pose, self.num_frames)
        g_p = _sum_by(frame, (pose_t @ residual[..., None])[..., 0], self.num_frames)
        h_ll = _sum_by(which, point_t @ point, self.num_points)
        g_l = _sum_by(which, (point_t @ residual[..., None])[..., 0], self.num_points)
        cross = np.zeros((self.num_frames, self.num_points, 6, 3))
        cross[frame, which] = pose_t @ point  # a point is seen once in a frame
        return h_pp, g_p, h_ll, g_l, cross.transpose(0, 2, 1, 3)


def _sum_by(index: np.ndarray, blocks: np.ndarray, size: int) -> np.ndarray:
    """Sum of `blocks` [m, ...] over equal `index`, [size, ...]."""
    flat = blocks.reshape(len(index), -1)
    out = np.stack([np.bincount(index, flat[:, k], size) for k in range(flat.shape[1])], -1)
    return out.reshape((size,) + blocks.shape[1:])


def _reduce(h_pp, h_ll, cross, free):
    """Schur complement over the free frames: S [6f, 6f], H_ll⁻¹ [L, 3, 3], W [6f, 3L]."""
    chosen = np.flatnonzero(free)
    size = 6 * len(chosen)
    w = cross[chosen].reshape(size, -1)
    inverse = np.linalg.inv(h_ll)
    w_inv = (cross[chosen].transpose(0, 2, 1, 3).reshape(len(chosen), -1, 6, 3) @ inverse).transpose(
        0, 2, 1, 3).reshape(size, -1)
    s = -w_inv @ w.T
    for k, f in enumerate(chosen):
        s[6 * k:6 * k + 6, 6 * k:6 * k + 6] += h_pp[f]
    return s, inverse, w


def _cost(residual: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Cauchy cost, weights and squared distances."""
    distance2 = np.sum(residual**2, -1)
    return (float(CAUCHY_SQUARED * np.log1p(distance2 / CAUCHY_SQUARED).sum()), 1 / (1 + distance2 / CAUCHY_SQUARED),
            distance2)


def bundle_adjust(rig: StereoRig, rotation: np.ndarray, translation: np.ndarray, fixed: np.ndarray, points: Points,
                  obs: Observations, iterations: int = 12) -> Bundle:
    """Refines the poses that are not fixed, and all points.

    Args:
        rotation, translation: [F, 3, 3], [F, 3] of T_world_cam, near the truth.
        fixed: [F] bool; at least one, or the gauge floats.
        points: L points; each should be seen at least twice to matter.
        obs: observations; at most one of a point in a frame.

    Raises:
        ValueError: where no frame is fixed.
    """
    fixed = np.asarray(fixed, bool)
    if not fixed.any():
        raise ValueError("bundle_adjust: expected at least one fixed frame to hold the gauge, got none")
    rotation, translation, uvd = rotation.copy(), translation.copy(), points.uvd.copy()
    problem = _Problem(rig, obs, points, len(rotation), ~fixed)
    residual, parts = problem.residuals(rotation, translation, uvd)
    cost, weight, distance2 = _cost(residual)
    damping, free = 1e-4, np.flatnonzero(~fixed)
    for _ in range(iterations if len(free) else 0):
        h_pp, g_p, h_ll, g_l, cross = problem.normal(residual, parts, weight)
        improved = False
        for _ in range(4):
            h_ll_d = h_ll + _damped(h_ll, damping)
            s, inverse, w = _reduce(h_pp + _damped(h_pp, damping), h_ll_d, cross, ~fixed)
            rhs = g_p[free].ravel() - w @ (inverse @ g_l[..., None]).ravel()
            dx = np.linalg.solve(s, rhs)
            dl = (inverse @ (g_l - (w.T @ dx).reshape(-1, 3))[..., None])[..., 0]
            xi = dx.reshape(-1, 6)
            new_r, new_t = rotation.copy(), translation.copy()
            new_t[free] += (rotation[free] @ xi[:, 3:, None])[..., 0]
            new_r[free] = rotation[free] @ exp_so3(xi[:, :3])
            new_uvd = uvd + np.clip(dl, -50, 50)
            residual_new, parts_new = problem.residuals(new_r, new_t, new_uvd)
            cost_new, weight_new, distance2_new = _cost(residual_new)
            if np.isfinite(cost_new) and cost_new < cost:
                improved = True
                break
            damping *= 10
        if not improved:
            break
        drop = (cost - cost_new) / max(cost, 1e-12)
        rotation, translation, uvd = new_r, new_t, new_uvd
        residual, parts, cost, weight, distance2 = residual_new, parts_new, cost_new, weight_new, distance2_new
        damping = max(damping / 10, 1e-7)
        if drop < MIN_COST_DROP:
            break
    return Bundle(rotation, translation, Points(points.ref_rotation, points.ref_translation, uvd), distance2, weight,
                  _variance(residual, obs, len(free)))


def _damped(h: np.ndarray, damping: float) -> np.ndarray:
    """Marquardt's diagonal, with a floor for what nothing has seen."""
    return np.eye(h.shape[-1]) * (damping * np.diagonal(h, axis1=-2, axis2=-1) + 1e-12)[..., None, :]


def _variance(residual: np.ndarray, obs: Observations, num_free: int) -> float:
    """Robust variance of whitened residuals (median of squares over that of χ²₁), for the degrees of freedom left."""
    measured = np.isfinite(obs.sigma)
    if not measured.any():
        return 1.0
    seen = np.bincount(obs.point)
    counted = np.repeat(seen[obs.point] > 1, 3).reshape(-1, 3) & measured
    num = int(counted.sum())
    left = num - 6 * num_free - 3 * int((seen > 1).sum())
    if left < 10:
        return 1.0
    return float(np.median(residual[counted] ** 2) / 0.4549 * num / left)
