"""How an object turns: the rotation of its rigid motion between two frames, in the world.

R_world(t) = R_cam(t) · rotation_cam(t) carries directions of the body from the camera axes where it is defined. The
turn from i to j is R_world(j) R_world(i)ᵀ; the errors of both rotations and of the camera's add up.
"""

from __future__ import annotations

import numpy as np

from curate.geometry.rotations import exp_so3, log_so3
from curate.measure.chi2 import zero_p_value
from curate.measure.draws import SceneDraws
from curate.measure.magnitude import Sample, across_variance, covariance_of, state, summarise, without_noise
from curate.measure.pose_errors import covariance_root
from curate.measure.quantity import Quantity
from curate.measure.strata import stratified_tails

Span = tuple[int, int]
# What does not turn is off by a third of a degree, whatever the lift states (median over 240 rendered scenes).
FLOOR_RAD = 0.006


def turn_vectors(draws: SceneDraws, region_id: int, span: Span) -> tuple[np.ndarray, np.ndarray]:
    """Rotation vector of an object's turn in the world, radians, world axes.

    Returns:
        estimate [3] and joint draws [S, 3]; nan where the scene does not know the object's rotation at both frames.
    """
    memo = draws.region(region_id).memo
    if ("turn", span) not in memo:
        memo["turn", span] = _turn_vectors(draws, region_id, span)
    return memo["turn", span]


def turn_estimate(draws: SceneDraws, region_id: int, span: Span) -> np.ndarray:
    """Rotation vector [3] of an object's turn in the world, radians, without its error: a cheap look; nan where it is
    not known."""
    region, frames = draws.scene.region(region_id), list(span)
    if region.rotation_cam is None or region.rotation_cov is None or not np.isfinite(region.rotation_cov[frames]).all():
        return np.full(3, np.nan)
    body = draws.scene.T_world_cam.rotation[frames] @ region.rotation_cam[frames]
    return log_so3(body[1] @ body[0].T) if np.isfinite(body).all() else np.full(3, np.nan)


def _turn_vectors(draws: SceneDraws, region_id: int, span: Span) -> tuple[np.ndarray, np.ndarray]:
    mean = turn_estimate(draws, region_id, span)
    if not np.isfinite(mean).all():
        return mean, np.full((draws.num_draws, 3), np.nan)
    region, frames = draws.scene.region(region_id), list(span)
    covariance, camera = region.rotation_cov[frames], draws.scene.T_world_cam.rotation[frames]
    known = np.trace(covariance, axis1=1, axis2=2) > 0  # not where it is defined to be none
    covariance = covariance + FLOOR_RAD**2 * known[:, None, None] * np.eye(3)
    root = camera @ covariance_root(covariance)  # [2, 3, 3]
    rng = draws.rng(f"turn {region_id} {span[0]} {span[1]}")
    half = rng.standard_normal((draws.num_draws // 2, 2, 3))
    half = half * stratified_tails(rng, len(half))[:, None, None]
    error = np.einsum("kij,nkj->nki", root, np.concatenate([half, -half])) + draws.rotation_error[:, frames]
    return mean, log_so3(exp_so3(error[:, 1]) @ exp_so3(mean) @ exp_so3(-error[:, 0]))


def object_rotation(draws: SceneDraws, region_id: int, span: Span) -> Quantity | None:
    """Angle of the one rotation that takes the object's first orientation in the world to its last, rad; None where
    the scene does not know it."""
    memo = draws.region(region_id).memo
    if ("rotation", span) not in memo:
        memo["rotation", span] = _object_rotation(draws, region_id, span)
    return memo["rotation", span]


def _object_rotation(draws: SceneDraws, region_id: int, span: Span) -> Quantity | None:
    mean, drawn = turn_vectors(draws, region_id, span)
    if not np.isfinite(mean).all():
        return None
    covariance = covariance_of(drawn)
    angles = np.linalg.norm(drawn, axis=-1)
    sample = Sample(without_noise(angles, across_variance(covariance, mean)), {"own": angles}, scaled=False,
                    magnitude=True, p_zero=zero_p_value(mean, covariance), extra={"turn": [float(x) for x in mean]})
    return state(sample, summarise([sample], draws.scale)[0], draws.scale_sigma, kind="object_rotation",
                 subjects=(region_id,), span=span, unit="rad", frame="world",
                 reference=draws.scene.region(region_id).reference)
