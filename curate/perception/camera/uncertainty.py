"""How far refined poses may be off, from the bundle's information and from what its residuals have in common.

*information*  the inverse of the reduced normal equations: right, were all observations independent, and their
               sigmas true. `residual_scale` makes them so, frame by frame.
*patches*      how the poses would move without each patch of the image, in all frames together (the sandwich of an
               M-estimator, clustered by patch: Huber 1981, 6.3; Cameron and Miller 2015): a codec, a light or a
               template's slant errs alike over a patch and for longer than a frame. Too few to give a covariance of
               their own, they scale the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.cameras import StereoRig
from curate.geometry.trajectories import step_jacobians
from curate.perception.camera.bundle import CAUCHY_SQUARED, Bundle, Observations, _damped, _Problem, _reduce, _sum_by

PATCHES_ACROSS, FEW_PATCHES = 8, 8
TAKEN_UP = 1.25  # what poses and points fitted to a patch take from its variance; Monte Carlo, independent noise
PRIOR_OBSERVATIONS = 10
MIN_SCALE, MAX_SCALE, MAX_FRAME_RATIO = 0.05, 20.0, 400.0  # of sigmas; of variances of all frames over one's
GAUSSIAN = 1.08  # of Gaussian residuals, mean square over the robust one


@dataclass
class PoseErrors:
    """Of F poses, perturbed R exp(ω), t + R τ, relative to one of them."""

    rotation: np.ndarray  # [F, 3, 3]
    translation: np.ndarray  # [F, 3]
    information: np.ndarray  # [F, 6, F, 6]
    patches: np.ndarray  # [G, F, 6], Σ over G of the outer products is the covariance
    num_features: float  # seen in a frame, mean
    excess: np.ndarray  # [F, 6, 6] pose covariance, were all that is worse in a frame than in most the same everywhere

    def step_map(self, i: int, j: int) -> np.ndarray:
        """∂(motion from i to j)/∂(ξ_i, ξ_j) [6, 12], in the axes of i."""
        inverse = self.rotation[i].T
        return np.concatenate(step_jacobians(
            inverse @ self.rotation[j], inverse @ (self.translation[j] - self.translation[i])), -1)

    def between(self, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Covariance of the motion from i to j by information, and by patches, each [6, 6]."""
        jac, pair = self.step_map(i, j), [i, j]
        by_information = jac @ self.information[np.ix_(pair, range(6), pair, range(6))].reshape(12, 12) @ jac.T
        moved = self.patches[:, pair].reshape(-1, 12) @ jac.T
        return (by_information + by_information.T) / 2, moved.T @ moved

    def ratio(self, pairs) -> float:
        """Mean variance by patches over that by information, of the motions between `pairs` of frames.

        At least 1 where there are too few patches to tell.
        """
        out = []
        for i, j in pairs:
            by_information, by_patches = self.between(i, j)
            out.append(np.trace(np.linalg.solve(by_information, by_patches)) / 6)
        return max(float(np.mean(out)), 1.0 if len(self.patches) < FEW_PATCHES else 0.0)


def pose_errors(rig: StereoRig, bundle: Bundle, obs: Observations, scale: np.ndarray, gauge: int = 0) -> PoseErrors:
    """
    Args:
        bundle: at its minimum over `obs`.
        scale: [F, 3] from `residual_scale`, by which the sigmas of `obs` were multiplied.
        gauge: the frame that errors are relative to; all other poses are taken as unknown, held or not, so that the
            motion between any two of them gets the error it really has.
    """
    num = len(bundle.rotation)
    free = np.arange(num) != gauge
    chosen = np.flatnonzero(free)
    problem = _Problem(rig, obs, bundle.points, num, free)
    residual, parts = problem.residuals(bundle.rotation, bundle.translation, bundle.points.uvd)
    h_pp, _, h_ll, g_l, cross = problem.normal(residual, parts, bundle.weight)
    s, inverse, w = _reduce(h_pp, h_ll + _damped(h_ll, 1e-9), cross, free)
    root = np.linalg.inv(s + 1e-6 * np.eye(len(s)))  # a prior of 1 km and 1000 rad: keeps a lone frame finite
    information = np.zeros((num, 6, num, 6))
    information[np.ix_(chosen, range(6), chosen, range(6))] = root.reshape(len(chosen), 6, len(chosen), 6)

    pose, _ = problem.jacobians(parts)
    weighted = np.swapaxes(pose, -1, -2) * bundle.weight[:, None, None]
    patch = _patches(rig, obs, problem.num_points)
    num_patches = int(patch.max()) + 1
    own = (weighted @ residual[..., None])[..., 0]
    score = _sum_by(patch[obs.point] * num + obs.frame, own, num_patches * num).reshape(num_patches, num, 6)[:, chosen]
    taken = (w.reshape(len(w), -1, 3) * (inverse @ g_l[..., None])[..., 0]).sum(-1)  # by the points, [6f, L]
    score = score.reshape(num_patches, -1) - _sum_by(patch, taken.T, num_patches)
    patches = np.zeros((num_patches, num, 6))
    patches[:, chosen] = (score @ root).reshape(num_patches, -1, 6)
    patches *= np.sqrt(TAKEN_UP * num_patches / max(num_patches - 1, 1)) * _slope(residual)

    frame_variance = (scale**2).mean(-1)
    share = np.clip(1 - np.median(frame_variance) / frame_variance, 0, 1)
    excess = (share * np.bincount(obs.frame, minlength=num))[:, None, None] * np.linalg.inv(
        h_pp + _damped(h_pp, 1e-9) + 1e-6 * np.eye(6))
    return PoseErrors(bundle.rotation, bundle.translation, information, patches, len(obs) / num, excess)


def whitened(rig: StereoRig, bundle: Bundle, obs: Observations) -> np.ndarray:
    """Residuals [m, 3] over their stated sigmas."""
    problem = _Problem(rig, obs, bundle.points, len(bundle.rotation), np.ones(len(bundle.rotation), bool))
    return problem.residuals(bundle.rotation, bundle.translation, bundle.points.uvd)[0]


def residual_scale(residual: np.ndarray, obs: Observations, num_frames: int) -> np.ndarray:
    """[F, 3] size of the residuals [m, 3] of each frame over the stated one, in u, v and disparity.

    Frames differ: a codec writes some anew and repeats others. Robust (weights of `bundle_adjust` at the size itself),
    for the degrees of freedom left, and drawn towards the size of all frames where a frame has few observations.
    """
    seen = np.bincount(obs.point)
    counted = (seen[obs.point] > 1)[:, None] & np.isfinite(obs.sigma)
    out = np.ones((num_frames, 3))
    for k in range(3):
        frame, square = obs.frame[counted[:, k]], residual[counted[:, k], k] ** 2
        if len(square) < 30:
            continue
        left = 1 - (2 * (num_frames - 1) + int((seen > 1).sum())) / len(square)  # of one component
        whole = _spread(square, np.zeros_like(frame), 1, np.array([np.median(square) / 0.4549]), 0)
        each = _spread(square, frame, num_frames, np.full(num_frames, whole[0]), PRIOR_OBSERVATIONS)
        out[:, k] = np.sqrt(np.maximum(each, whole / MAX_FRAME_RATIO) / max(left, 0.1))
    return np.clip(out, MIN_SCALE, MAX_SCALE)


def _spread(square: np.ndarray, group: np.ndarray, num: int, start: np.ndarray, prior: float) -> np.ndarray:
    """[num] robust mean of squares by group, with `prior` observations at `start` added to each."""
    now = np.maximum(start, 1e-12)
    for _ in range(4):
        weight = 1 / (1 + square / (CAUCHY_SQUARED * now[group]))
        now = (np.bincount(group, weight * square, num) * GAUSSIAN + prior * start) / (
            np.bincount(group, weight, num) + prior)
        now = np.maximum(now, 1e-12)
    return now


def _slope(residual: np.ndarray) -> float:
    """Weights over the slope of the influence function, E[w] / E[ψ']: what is in the bend holds less than it weighs."""
    distance2 = np.sum(residual**2, -1)
    weight = 1 / (1 + distance2 / CAUCHY_SQUARED)
    slope = weight - 2 / 3 * weight**2 * distance2 / CAUCHY_SQUARED
    return float(weight.mean() / max(slope.mean(), 0.3 * weight.mean()))


def _patches(rig: StereoRig, obs: Observations, num_points: int) -> np.ndarray:
    """[L] index of the patch in which a point was seen on the whole."""
    count = np.maximum(np.bincount(obs.point, minlength=num_points), 1)
    at = np.stack([np.bincount(obs.point, obs.uvd[:, k], num_points) / count for k in (0, 1)], -1)
    cells = np.floor(at / (rig.left.width / PATCHES_ACROSS)).astype(int)
    return np.unique(cells, axis=0, return_inverse=True)[1].ravel()
