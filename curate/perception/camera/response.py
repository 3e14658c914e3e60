"""How a bundle answers to a common error of its observations: a pan of the right camera, most of all.

At the bundle's minimum an error e(ψ) = ψ · ∂e/∂ψ of the observations moves poses and points by the solution of the
same normal equations with ∂e/∂ψ in place of the residuals (implicit function theorem, Gauss–Newton Hessian).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.cameras import StereoRig
from curate.geometry.trajectories import step_jacobians
from curate.perception.camera.bundle import Bundle, Observations, _damped, _Problem, _reduce


@dataclass
class Response:
    """poses: [F, 6] shift (ω, τ) of each pose, R exp(ω), t + R τ, for a unit error; zero where held.

    left: [m, 3] whitened part of the error that neither poses nor points can take up.
    residual: [m, 3] whitened residuals of the bundle.
    """

    poses: np.ndarray
    left: np.ndarray
    residual: np.ndarray


def pan_effect(rig: StereoRig, uvd: np.ndarray) -> np.ndarray:
    """∂(u, v, disparity)/∂pan [m, 3], px per radian, of what a right camera turned by a pan sees at `uvd` [m, 3]."""
    x = (uvd[:, 0] - uvd[:, 2] - rig.left.cx - rig.doffs_px) / rig.left.fx
    out = np.zeros((len(uvd), 3))
    out[:, 2] = rig.left.fx * (1 + x**2)
    return out


def respond(rig: StereoRig, bundle: Bundle, obs: Observations, error: np.ndarray, held: np.ndarray) -> Response:
    """
    Args:
        bundle: at its minimum over `obs`.
        error: [m, 3] px, of a unit of the common error.
        held: [F] bool, poses that cannot move; at least one.
    """
    num = len(bundle.rotation)
    problem = _Problem(rig, obs, bundle.points, num, ~held)
    residual, parts = problem.residuals(bundle.rotation, bundle.translation, bundle.points.uvd)
    white = error * problem.inv_sigma
    h_pp, g_p, h_ll, g_l, cross = problem.normal(white, parts, bundle.weight)
    s, inverse, w = _reduce(h_pp, h_ll + _damped(h_ll, 1e-9), cross, ~held)
    rhs = g_p[~held].ravel() - w @ (inverse @ g_l[..., None]).ravel()
    poses = np.zeros((num, 6))
    poses[~held] = np.linalg.solve(s + 1e-6 * np.eye(len(s)), rhs).reshape(-1, 6)
    points = (inverse @ (g_l - (w.T @ poses[~held].ravel()).reshape(-1, 3))[..., None])[..., 0]
    by_pose, by_point = problem.jacobians(parts)
    taken = (by_pose @ poses[obs.frame][..., None])[..., 0] + (by_point @ points[obs.point][..., None])[..., 0]
    return Response(poses, white - taken, residual)


def distances(rig: StereoRig, bundle: Bundle, obs: Observations) -> np.ndarray:
    """Squared Mahalanobis distances [m] of observations that need not be those of the bundle."""
    problem = _Problem(rig, obs, bundle.points, len(bundle.rotation), np.ones(len(bundle.rotation), bool))
    residual, _ = problem.residuals(bundle.rotation, bundle.translation, bundle.points.uvd)
    return (residual**2).sum(-1)


def step_responses(rig: StereoRig, bundle: Bundle, obs: Observations, gauge: int = 0) -> np.ndarray:
    """∂(measured step)/∂pan [F, 6]: how far the motion from the frame before, as measured, is moved by a radian of
    pan of the right camera that is not known; (rotation vector, translation) in the axes of the earlier camera,
    zeros for the first. All poses but the gauge are free, as in `pose_errors`."""
    num = len(bundle.rotation)
    poses = respond(rig, bundle, obs, pan_effect(rig, obs.uvd), np.arange(num) == gauge).poses
    inverse = np.swapaxes(bundle.rotation[:-1], -1, -2)
    between = np.einsum("fij,fj->fi", inverse, bundle.translation[1:] - bundle.translation[:-1])
    a, b = step_jacobians(inverse @ bundle.rotation[1:], between)
    out = np.zeros((num, 6))
    out[1:] = np.einsum("fij,fj->fi", a, poses[:-1]) + np.einsum("fij,fj->fi", b, poses[1:])
    return out
