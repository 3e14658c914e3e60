"""Poses of a rigid body in every frame and its points, adjusted together in all views (bundle adjustment).

Levenberg-Marquardt on reprojection errors with Tukey weights; the points are eliminated (Schur complement). The body's
axes are the rig's at one frame, whose pose is held. A body in calibrated views is calibrated: no scale is free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.rotations import exp_so3, skew
from curate.perception.multiview.cameras import Cameras, project, total

ITERATIONS = 10
TUKEY = 4.685
MEDIAN_LENGTH = 1.1774  # of two unit normals
HELD = 1e12


@dataclass
class Observed:
    """What is seen of a body: of point [M], in frame [M] (index among the body's), in view [M], at uv [M, 2]."""

    point: np.ndarray
    frame: np.ndarray
    view: np.ndarray
    uv: np.ndarray


@dataclass
class Adjusted:
    """rotation [F, 3, 3], translation [F, 3] body to rig; shape [N, 3]; covariance [F, 6, F, 6] of the poses (turn in
    the rig's axes, then translation; of unit-weight pixel errors of the stated sigma and the residuals' spread); own
    [F, 6, 6] the part each frame has to itself; weight [M] 0..1; residual [M] px; spread: of residuals in sigmas, at
    least 1."""

    rotation: np.ndarray
    translation: np.ndarray
    shape: np.ndarray
    covariance: np.ndarray
    own: np.ndarray
    weight: np.ndarray
    residual: np.ndarray
    spread: float


def adjust(cameras: Cameras, seen: Observed, rotation: np.ndarray, translation: np.ndarray, shape: np.ndarray,
           held: int, sigma_px: float) -> Adjusted | None:
    """
    Args:
        rotation, translation, shape: to start from.
        held: frame whose pose is taken as it is.
        sigma_px: standard deviation of a position.

    Returns:
        None where the equations cannot be solved.
    """
    state = rotation.copy(), translation.copy(), shape.copy()
    damping = 1e-4
    error, *_ = _errors(cameras, seen, state)
    weight, spread = _weights(error, sigma_px)
    cost = _cost(error, weight)
    for _ in range(ITERATIONS):
        system = _equations(cameras, seen, state, weight, held)
        for _ in range(4):
            moved = _step(state, system, damping)
            if moved is not None:
                new_error, *_ = _errors(cameras, seen, moved)
                if _cost(new_error, weight) < cost:
                    break
            damping *= 10
        else:
            break
        gain = (cost - _cost(new_error, weight)) / max(cost, 1e-12)
        state, damping = moved, max(damping / 5, 1e-8)
        weight, spread = _weights(new_error, sigma_px)
        error, cost = new_error, _cost(new_error, weight)
        if gain < 1e-4:
            break
    reduced, _, poses, *_ = _equations(cameras, seen, state, weight, held)
    unit = (sigma_px * spread) ** 2
    try:
        covariance = np.linalg.inv(reduced + 1e-9 * np.diag(np.diag(reduced)) + 1e-9 * np.eye(len(reduced))) * unit
        own = np.linalg.inv(poses + 1e-9 * np.eye(6)) * unit
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(covariance).all():
        return None
    num = len(rotation)
    return Adjusted(*state, ((covariance + covariance.T) / 2).reshape(num, 6, num, 6), own, weight,
                    np.linalg.norm(error, axis=1), spread)


def _errors(cameras: Cameras, seen: Observed, state):
    rotation, translation, shape = state
    turned = (rotation[seen.frame] @ shape[seen.point][..., None])[..., 0]
    view = seen.view
    uv, J = project(cameras.K[view], cameras.R[view], cameras.t[view], turned + translation[seen.frame])
    error = seen.uv - uv
    behind = ~np.isfinite(error).all(1)
    error[behind], J[behind] = 1e4, 0
    return error, J, turned


def _weights(error: np.ndarray, sigma_px: float) -> tuple[np.ndarray, float]:
    size = np.linalg.norm(error, axis=1) / sigma_px
    spread = max(1.0, float(np.median(size)) / MEDIAN_LENGTH)
    return np.clip(1 - (size / (TUKEY * spread)) ** 2, 0, None) ** 2, spread


def _cost(error: np.ndarray, weight: np.ndarray) -> float:
    return float((weight * (error**2).sum(1)).sum())


def _equations(cameras: Cameras, seen: Observed, state, weight: np.ndarray, held: int):
    """Reduced Hessian [6F, 6F] and slope, the poses' own blocks, and what gives the points back."""
    rotation, _, shape = state
    error, J, turned = _errors(cameras, seen, state)
    num, count = len(rotation), len(shape)
    pose = np.concatenate([-J @ skew(turned), J], -1)  # [M, 2, 6]
    point = J @ rotation[seen.frame]  # [M, 2, 3]
    wp, wq = pose * weight[:, None, None], point * weight[:, None, None]
    own = total(np.swapaxes(wp, 1, 2) @ pose, seen.frame, num)
    slope = total((np.swapaxes(wp, 1, 2) @ error[..., None])[..., 0], seen.frame, num).ravel()
    inner = total(np.swapaxes(wq, 1, 2) @ point, seen.point, count)
    inner = inner + (1e-9 * np.trace(inner, axis1=1, axis2=2)[:, None, None] + 1e-9) * np.eye(3)
    inner_slope = total((np.swapaxes(wq, 1, 2) @ error[..., None])[..., 0], seen.point, count)
    cross = total(np.swapaxes(wp, 1, 2) @ point, seen.frame * count + seen.point, num * count)
    cross = cross.reshape(num, count, 6, 3)
    own = own.copy()
    own[held] += HELD * np.eye(6)
    back = cross @ np.linalg.inv(inner)  # [F, N, 6, 3]
    flat = back.transpose(0, 2, 1, 3).reshape(6 * num, 3 * count)
    reduced = -flat @ cross.transpose(0, 2, 1, 3).reshape(6 * num, 3 * count).T
    at = np.arange(num)
    reduced.reshape(num, 6, num, 6)[at, :, at] += own
    return reduced, slope - flat @ inner_slope.ravel(), own, cross, inner, inner_slope


def _step(state, system, damping: float):
    reduced, slope, _, cross, inner, inner_slope = system
    rotation, translation, shape = state
    try:
        step = np.linalg.solve(reduced + damping * np.diag(np.diag(reduced)) + 1e-9 * np.eye(len(reduced)), slope)
    except np.linalg.LinAlgError:
        return None
    each = step.reshape(len(rotation), 6)
    rest = inner_slope - np.einsum("fnij,fi->nj", cross, each)
    moved = np.linalg.solve(inner, rest[..., None])[..., 0]
    return exp_so3(each[:, :3]) @ rotation, translation + each[:, 3:], shape + moved


def resect(cameras: Cameras, shape: np.ndarray, view: np.ndarray, uv: np.ndarray, rotation: np.ndarray,
           translation: np.ndarray, sigma_px: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pose of a body in one frame from what all views see of it, robust, from a first guess.

    Args:
        shape: [n, 3] the body's points seen. view, uv: [n], [n, 2].

    Returns:
        rotation, translation, residuals [n] px, covariance [6, 6] for errors of `sigma_px`.
    """
    K, R, t = cameras.K[view], cameras.R[view], cameras.t[view]
    H = np.eye(6)
    for k in range(15):
        turned = shape @ rotation.T
        seen, J = project(K, R, t, turned + translation)
        error = uv - seen
        bad = ~np.isfinite(error).all(1)
        error[bad], J[bad] = 1e4, 0
        size = np.linalg.norm(error, axis=1)
        spread = max(1.0, float(np.median(size)) / (MEDIAN_LENGTH * sigma_px))
        # a poor first guess: everything counts until it settles
        weight = np.clip(1 - (size / (TUKEY * spread * sigma_px)) ** 2, 0, None) ** 2
        full = np.concatenate([-J @ skew(turned), J], -1)
        weighted = full * weight[:, None, None]
        H = np.einsum("nij,nik->jk", weighted, full) + 1e-9 * np.eye(6)
        step = np.linalg.solve(H + 1e-6 * np.diag(np.diag(H)), np.einsum("nij,ni->j", weighted, error))
        limit = min(1.0, 0.3 / max(np.linalg.norm(step[:3]), 1e-9))
        rotation, translation = exp_so3(limit * step[:3]) @ rotation, translation + limit * step[3:]
        if k > 3 and np.abs(step).max() < 1e-6:
            break
    seen, _ = project(K, R, t, shape @ rotation.T + translation)
    residual = np.linalg.norm(uv - seen, axis=1)
    return rotation, translation, np.where(np.isfinite(residual), residual, np.inf), np.linalg.inv(H) * sigma_px**2
