"""The stated error of a clip's camera path: a random walk of its steps, and an error of each pose alone.

A still camera sees the same features from the first frame to the last: its poses err independently, its steps one
against the other, and nothing adds up. A driving camera renews its features: its steps err independently and all adds
up. What lies between is told by the joint covariance of a window's poses: per direction, the share r of the steps'
variance that adds up over the n steps of the window is
    r = (n λ − 1) / (n − 1),    λ = variance over all n steps / sum of the variances of the single steps,
so that n steps of walk r and two ends of white error 1 − r have together what the joint covariance has.

What a codec does to travel shows in no residual: it codes a block's motion as that of its neighbours or as none, which
flattens parallax, so that all tracks fall short together, most right after a key frame and where a stream ends. A turn
moves all blocks alike and is kept. The path is then short along the direction of travel and no worse across it
(`widened_along`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.poses import Pose
from curate.geometry.trajectories import displacement_covariance, step_totals
from curate.perception.camera.uncertainty import PoseErrors

MIN_RATIO = 0.2  # of patches over information: few patches agree by chance


@dataclass
class Stated:
    """Errors of K new frames; see `Memory.step_cov` and `Memory.frame_cov`."""

    step_cov: np.ndarray  # [K, 6, 6] of the walk, in the axes of the frame before
    frame_cov: np.ndarray  # [K, 6, 6] of the pose alone, R exp(ω), t + R τ
    frame_cov_before: np.ndarray  # [6, 6] of the frame before the first, should that be the clip's first


def stated_errors(errors: PoseErrors, frames: list[int], held: int, poses: Pose, step_cov: np.ndarray,
                  frame_cov: np.ndarray, model: dict[str, float]) -> Stated:
    """
    Args:
        errors: of the poses at `frames`, of which the last `len(frames) - held` are new and follow each other.
        poses: `T_world_cam` [T] of the whole clip so far.
        step_cov, frame_cov: [T, 6, 6] as stated before; entries of new frames are not read.
        model: coefficients, found by `benchmarks/calibrate_camera.py`: `inflation` and `common_share` of every
            covariance (`inflation_of`), `excess_share` of what a frame errs more than most.
    """
    inflation = inflation_of(model, errors)
    num, new = len(frames), range(held, len(frames))
    near = inflation * max(errors.ratio([(k - 1, k) for k in new]), MIN_RATIO)
    single = np.stack([near * errors.between(k - 1, k)[0] for k in new])
    first, last = frames[0], frames[-1]
    total = step_totals(poses, step_cov, frame_cov)
    total[frames[held]:] = single
    count = last - first
    excess = model["excess_share"] * errors.excess
    if count < 2:
        return Stated(single, excess[held:], excess[held - 1])
    far = inflation * max(errors.ratio([(0, k) for k in new if frames[k] > first + 1]), MIN_RATIO)
    joint = far * errors.between(0, num - 1)[0]
    walk, white = shares(displacement_covariance(poses, total, first, last), joint, count)
    out = Stated(np.empty_like(single), np.empty_like(single), np.empty((6, 6)))
    for at, k in enumerate(new):
        to_first = np.kron(np.eye(2), errors.rotation[0].T @ errors.rotation[k - 1])
        keep, alone = to_first.T @ walk @ to_first, to_first.T @ white @ to_first
        out.step_cov[at] = keep @ single[at] @ keep.T
        turn = np.kron(np.eye(2), errors.rotation[k].T @ errors.rotation[k - 1])
        out.frame_cov[at] = turn @ (alone @ single[at] @ alone.T) @ turn.T / 2 + excess[k]
    out.frame_cov_before = out.frame_cov[0] - excess[held] + excess[held - 1]
    return out


def shares(added: np.ndarray, joint: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Maps M_walk, M_white [6, 6] that take a step's covariance C to its two parts M C Mᵀ.

    Args:
        added: [6, 6] the sum of the `count` steps' covariances; joint: [6, 6] that of the motion over all of them.
    """
    root = np.linalg.cholesky((added + added.T) / 2)
    back = np.linalg.inv(root)
    ratio, vector = np.linalg.eigh(back @ (joint + joint.T) @ back.T / 2)
    share = np.clip((count * ratio - 1) / (count - 1), 0, 1)
    vector = root @ vector  # columns: directions in which both are independent
    inverse = np.linalg.inv(vector)
    return (vector * np.sqrt(share)) @ inverse, (vector * np.sqrt(1 - share)) @ inverse


def inflation_of(model: dict[str, float], errors: PoseErrors) -> float:
    """Factor on covariances: errors that all features of a frame have in common do not average out, so that it grows
    with their number (the design effect of cluster samples, 1 + (n − 1) ρ: Kish 1965)."""
    return model["inflation"] * (1 + model["common_share"] * errors.num_features)


def widened_along(poses: Pose, step_cov: np.ndarray, frame_cov: np.ndarray, factor: float
                  ) -> tuple[np.ndarray, np.ndarray]:
    """Both covariances [T, 6, 6] with the standard deviation of the translation `factor` times as large along the
    motion from the frame before (of the first frame: to the next), as before across it.

    A camera that stands still has no such direction: the share of the factor is L² / (L² + σ²) for a step of length L
    whose stated error is σ.

    Args:
        poses: `T_world_cam` [T]. step_cov: in the axes of the frame before. frame_cov: in those of the frame itself.
    """
    out = np.array(step_cov, float), np.array(frame_cov, float)
    if len(poses) < 2:
        return out
    index = np.arange(len(poses))
    before, after = np.maximum(index - 1, 0), np.maximum(index, 1)
    moved = poses.translation[after] - poses.translation[before]
    total = step_totals(poses, step_cov, frame_cov)[after, 3:, 3:]
    for covariance, axes in zip(out, (before, index), strict=True):
        local = (moved[:, None] @ poses.rotation[axes])[:, 0]
        square = (local**2).sum(-1)
        variance = np.trace(total, axis1=1, axis2=2)
        more = np.sqrt(1 + (factor**2 - 1) * square / np.maximum(square + variance, 1e-30)) - 1
        wider = np.broadcast_to(np.eye(6), covariance.shape).copy()
        wider[:, 3:, 3:] += (more / np.maximum(square, 1e-30))[:, None, None] * local[:, :, None] * local[:, None]
        covariance[:] = wider @ covariance @ np.swapaxes(wider, 1, 2)
    return out
