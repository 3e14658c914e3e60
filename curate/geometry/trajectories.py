"""Trajectories of rigid motions: chaining steps, path length, smoothing, and how pose errors travel along them.

A *step* is the motion of the camera from one frame to the next in the axes of the earlier one,
`T_cam@i_cam@i+1`. Its error is (rotation vector, translation), radians and metres, in the axes of the earlier
camera: R_true = exp(φ) R, t_true = t + τ.
"""

from __future__ import annotations

import numpy as np

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3, log_so3, skew


def steps(poses: Pose) -> Pose:
    """Motion from each frame to the next, `T_before_after` [T-1], of `T_world_cam` [T]."""
    poses.expect("world", "cam")
    before, after = poses[:-1].inverse(), poses[1:]
    joined = Pose("before", "world", before.rotation, before.translation) @ Pose(
        "world", "after", after.rotation, after.translation)
    return joined


def accumulate(steps_before_after: Pose) -> Pose:
    """Chains steps [T-1] to `T_world_cam` [T], world = the camera at the first frame."""
    steps_before_after.expect("before", "after")
    num = len(steps_before_after.translation)
    rotation, translation = np.empty((num + 1, 3, 3)), np.zeros((num + 1, 3))
    rotation[0] = np.eye(3)
    for i in range(num):
        rotation[i + 1] = rotation[i] @ steps_before_after.rotation[i]
        translation[i + 1] = rotation[i] @ steps_before_after.translation[i] + translation[i]
    return Pose("world", "cam", rotation, translation)


def path_length(poses: Pose) -> float:
    """Sum of the distances between consecutive camera centres of `T_world_cam` [T], metres.

    Noise of the single positions always adds to it: use it on poses whose steps stand clear of their error.
    """
    poses.expect("world", "cam")
    return float(np.linalg.norm(np.diff(poses.translation, axis=0), axis=-1).sum())


def rotation_angle(poses: Pose, i: int, j: int) -> float:
    """Angle of the rotation between frames i and j, radians in [0, π]."""
    return float(np.linalg.norm(log_so3(poses.rotation[i].T @ poses.rotation[j])))


def step_jacobians(step_rotation: np.ndarray, step_translation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How a step's error follows from the errors of its two poses.

    A pose T_world_cam is perturbed on the right: R exp(ω), t + R τ, ξ = (ω, τ). For the step T_i⁻¹ T_j with
    rotation R [..., 3, 3] and translation t [..., 3], first order:
        φ = R ω_j − ω_i                        τ = R τ_j − τ_i + t × ω_i

    Returns:
        ∂(φ, τ)/∂ξ_i and ∂(φ, τ)/∂ξ_j, each [..., 6, 6].
    """
    r = np.asarray(step_rotation, float)
    a = np.zeros(r.shape[:-2] + (6, 6))
    b = np.zeros_like(a)
    a[..., :3, :3] = a[..., 3:, 3:] = -np.eye(3)
    a[..., 3:, :3] = skew(step_translation)
    b[..., :3, :3] = b[..., 3:, 3:] = r
    return a, b


def displacement_covariance(poses: Pose, step_cov: np.ndarray, i: int, j: int,
                            pose_cov: np.ndarray | None = None) -> np.ndarray:
    """Covariance [6, 6] of the motion from frame i to frame j > i, in the axes of camera i.

    Args:
        poses: `T_world_cam` [T].
        step_cov: [T, 6, 6] covariance of the motion from the frame before, steps taken as independent.
        pose_cov: [T, 6, 6] covariance of each pose alone, R exp(ω), t + R τ.

    First order: step k (from k to k+1, k ≥ i) contributes its own error turned into the axes of camera i, and
    its rotation error swings the rest of the path: τ += φ × (t_ij − t_i,k).
    """
    poses.expect("world", "cam")
    out = np.zeros((6, 6))
    to_i = poses.rotation[i].T
    for k in range(i, j):
        turn = to_i @ poses.rotation[k]
        lever = to_i @ (poses.translation[j] - poses.translation[k + 1])
        jac = np.zeros((6, 6))
        jac[:3, :3] = jac[3:, 3:] = turn
        jac[3:, :3] = -skew(lever) @ turn
        out += jac @ step_cov[k + 1] @ jac.T
    if pose_cov is not None:
        a, b = step_jacobians(to_i @ poses.rotation[j], to_i @ (poses.translation[j] - poses.translation[i]))
        out += a @ pose_cov[i] @ a.T + b @ pose_cov[j] @ b.T
    return out


def step_totals(poses: Pose, step_cov: np.ndarray, pose_cov: np.ndarray) -> np.ndarray:
    """Covariance [T, 6, 6] of the motion from the frame before as it stands alone: the walk's and both poses' own."""
    out = np.array(step_cov, float)
    if len(poses) > 1:
        step = steps(poses)
        a, b = step_jacobians(step.rotation, step.translation)
        out[1:] += a @ pose_cov[:-1] @ np.swapaxes(a, -1, -2) + b @ pose_cov[1:] @ np.swapaxes(b, -1, -2)
    return out


def smooth(poses: Pose, time_s: np.ndarray, window_s: float) -> Pose:
    """Local quadratic fit (Savitzky–Golay on uneven times) of position and rotation over ± `window_s` / 2.

    Rotations are fitted as rotation vectors from the frame in the middle. Frames with fewer than four
    neighbours in the window stay as they are.
    """
    poses.expect("world", "cam")
    time_s = np.asarray(time_s, float)
    rotation, translation = poses.rotation.copy(), poses.translation.copy()
    for i, now in enumerate(time_s):
        near = np.abs(time_s - now) <= window_s / 2
        if near.sum() < 5:
            continue
        dt = time_s[near] - now
        design = np.stack([np.ones_like(dt), dt, dt**2], -1)
        turns = log_so3(poses.rotation[i].T @ poses.rotation[near])
        fit = np.linalg.lstsq(design, np.concatenate([poses.translation[near], turns], -1), rcond=None)[0][0]
        translation[i], rotation[i] = fit[:3], poses.rotation[i] @ exp_so3(fit[3:])
    return Pose("world", "cam", rotation, translation)
