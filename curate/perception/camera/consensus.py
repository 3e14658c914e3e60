"""The camera's motion between two stereo frames, found among movers and mismatches.

Hypotheses from three features each (Gauss–Newton on their stereo reprojection, all at once), scored by MSAC on
the Mahalanobis distance of (u, v, disparity), which includes the depth error of the first frame. A hypothesis
counts for more where its features are spread over the image and have agreed with the camera before: a near
object that fills much of the image moves as rigidly as the world does, but it is compact and new.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.cameras import StereoRig
from curate.geometry.rotations import exp_so3, skew
from curate.perception.camera.bundle import project, rays

NUM_HYPOTHESES = 256
INLIER_DISTANCE2 = 25.0  # on stated sigmas, which are floors
GAUSS_NEWTON_STEPS = 7
STILL_SHARE = 0.9  # of the best score: a far wall fits any small travel, so that a near mover could choose it
RIVAL_SHARE = 0.6  # of the best score, from which another motion is a rival
LEAST_STILL = 0.3
ALONE_SHARE = 0.1  # of the best one's gain, that features which follow one motion alone have at least
CHI2_3_MEDIAN = 2.366
LEAST_NOISE = 0.04  # of the stated variance


@dataclass
class Motion:
    """p_after = rotation @ p_before + translation, and which features [N] follow it."""

    rotation: np.ndarray
    translation: np.ndarray
    inlier: np.ndarray
    distance2: np.ndarray


def find_motion(rig: StereoRig, before: np.ndarray, after: np.ndarray, sigma: np.ndarray, record: np.ndarray,
                guess: tuple[np.ndarray, np.ndarray], seed: int) -> Motion | None:
    """Motion of the scene in camera axes from one frame to the next.

    Args:
        before, after: [N, 3] (u, v, disparity) px of the same features; `before` has a finite disparity.
        sigma: [N, 3] px of either; inf where `after` has no disparity.
        record: [N] how often the feature has agreed with the camera's motion before, negative where it disagreed.
        guess: rotation and translation expected (constant velocity), tried beside "still".

    Returns:
        None where fewer than three features can be used.
    """
    num = len(before)
    if num < 3:
        return None
    ray, rho = rays(rig, before)
    depth_step = sigma_of_rho(rig, sigma)
    inv_sigma = 1 / (sigma * np.sqrt([2, 2, 1]))  # the earlier position errs too; its disparity is counted apart
    rng = np.random.default_rng(seed)
    weight = np.clip(1 + 0.5 * record, 0.25, 3)
    sample = _triplets(rng, num, weight)
    start_r = np.where((np.arange(len(sample)) % 2 == 0)[:, None, None], guess[0], np.eye(3))
    start_t = np.where((np.arange(len(sample)) % 2 == 0)[:, None], guess[1], 0.0)
    rotation, translation = _gauss_newton(rig, ray[sample], rho[sample], after[sample], inv_sigma[sample],
                                          np.ones(sample.shape), start_r, start_t)
    rotation = np.concatenate([rotation, guess[0][None], np.eye(3)[None]])
    translation = np.concatenate([translation, guess[1][None], np.zeros((1, 3))])
    usable = np.isfinite(rotation).all((1, 2)) & np.isfinite(translation).all(1)
    rotation, translation = rotation[usable], translation[usable]

    distance2 = _distance2(rig, ray, rho, depth_step, after, inv_sigma, rotation, translation)
    score = _score(distance2, weight, before[:, :2])
    still = len(score) - 1  # the last one
    best = _choose(score, distance2, weight, before[:, :2])
    r, t = rotation[best:best + 1], translation[best:best + 1]

    def scaled(d2: np.ndarray) -> np.ndarray:
        # what rests is matched far better than its floor, and a slow mover stands out only against that
        return d2 / np.clip(np.median(d2) / CHI2_3_MEDIAN, LEAST_NOISE, 1) if best == still else d2

    d2 = scaled(distance2[best])
    for _ in range(3):
        if (d2 < INLIER_DISTANCE2).sum() < 3:
            break
        soft = np.where(d2 < 2 * INLIER_DISTANCE2, 1 / (1 + d2 / 9), 0.0)
        new_r, new_t = _gauss_newton(rig, ray[None], rho[None], after[None],
                                     (inv_sigma * _shrink(rig, ray, rho, depth_step, inv_sigma, r, t))[None],
                                     soft[None], r, t)
        if not (np.isfinite(new_r).all() and np.isfinite(new_t).all()):
            break
        r, t = new_r, new_t
        d2 = scaled(_distance2(rig, ray, rho, depth_step, after, inv_sigma, r, t)[0])
    return Motion(r[0], t[0], d2 < INLIER_DISTANCE2, d2)


def _choose(score: np.ndarray, distance2: np.ndarray, weight: np.ndarray, uv: np.ndarray) -> int:
    """The motion [M] to go on with: the best score, unless a rival holds where the two differ.

    Far features follow any small travel, the world's as well as a near mover's, and lend a compact mover their spread.
    So the best is held against every good rival (and against rest, which comes last) by the features that follow one
    of the two alone.
    """
    still, champion = len(score) - 1, int(np.argmax(score))
    if score[still] >= STILL_SHARE * score[champion]:
        return still
    gain = weight * np.maximum(0, 1 - distance2 / INLIER_DISTANCE2)
    rivals = np.flatnonzero(score >= np.where(np.arange(len(score)) == still, LEAST_STILL, RIVAL_SHARE) * score.max())
    own, other = gain[champion], gain[rivals]
    own_alone, other_alone = np.where(other > 0, 0.0, own), np.where(own > 0, 0.0, other)
    least = np.minimum(own_alone.sum(1), other_alone.sum(1))  # little: much the same motion, or part of the best one
    beats = (least >= ALONE_SHARE * own.sum()) & (_spread_score(other_alone, uv) > _spread_score(own_alone, uv))
    return int(rivals[beats][np.argmax(score[rivals[beats]])]) if beats.any() else champion


def sigma_of_rho(rig: StereoRig, sigma: np.ndarray) -> np.ndarray:
    """[N] error of the inverse depth in the earlier frame, 1/m."""
    measured = sigma[:, 2][np.isfinite(sigma[:, 2])]
    fallback = float(np.median(measured)) if len(measured) else 1.0
    return np.where(np.isfinite(sigma[:, 2]), sigma[:, 2], fallback) / (rig.left.fx * rig.baseline_m)


def _triplets(rng: np.random.Generator, num: int, weight: np.ndarray) -> np.ndarray:
    """[M, 3] different indices, drawn by weight (Efraimidis and Spirakis: largest u^(1/w))."""
    keys = np.log(rng.random((NUM_HYPOTHESES, num))) / weight
    return np.argpartition(-keys, 2, axis=1)[:, :3]


def _move(ray, rho, rotation, translation):
    """Features [..., N, 3] under motions [..., 3, 3]: q [..., N, 3]."""
    return ray @ np.swapaxes(rotation, -1, -2) + rho[..., None] * translation[..., None, :]


def _gauss_newton(rig, ray, rho, after, inv_sigma, weight, rotation, translation):
    """Batched [M] motions from [M, n] features; nan where it runs away."""
    inv = np.where(np.isfinite(inv_sigma), inv_sigma, 0.0)
    for _ in range(GAUSS_NEWTON_STEPS):
        turned = ray @ np.swapaxes(rotation, -1, -2)
        q = turned + rho[..., None] * translation[:, None, :]
        predicted, jac, _ = project(rig, q, rho)
        residual = (after - predicted) * inv
        white = jac * inv[..., None]
        j = np.concatenate([-white @ skew(turned), rho[..., None, None] * white], -1)
        jt = np.swapaxes(j, -1, -2) * weight[..., None, None]
        h = (jt @ j).sum(1)
        h += np.eye(6) * (1e-6 * np.diagonal(h, axis1=-2, axis2=-1) + 1e-9)[:, None, :]
        dx = np.linalg.solve(h, (jt @ residual[..., None]).sum(1))[..., 0]
        # a far-off first step is cut: half a radian, and a few metres, are more than a frame's motion
        dx[:, :3] *= np.minimum(1, 0.5 / np.maximum(np.linalg.norm(dx[:, :3], axis=-1, keepdims=True), 1e-12))
        dx[:, 3:] *= np.minimum(1, 5.0 / np.maximum(np.linalg.norm(dx[:, 3:], axis=-1, keepdims=True), 1e-12))
        rotation = exp_so3(dx[:, :3]) @ rotation
        translation = translation + dx[:, 3:]
    return rotation, translation


def _distance2(rig, ray, rho, depth_step, after, inv_sigma, rotation, translation):
    """Squared Mahalanobis distance [M, N]; the earlier depth's error enters as a rank-one covariance."""
    q = _move(ray, rho, rotation, translation)
    fb, cam = rig.left.fx * rig.baseline_m, rig.left
    behind = q[..., 2] <= 1e-3
    z = 1 / np.maximum(q[..., 2], 1e-3)
    du = (after[:, 0] - cam.cx - cam.fx * q[..., 0] * z) * inv_sigma[:, 0]
    dv = (after[:, 1] - cam.cy - cam.fy * q[..., 1] * z) * inv_sigma[:, 1]
    dd = (after[:, 2] + rig.doffs_px - fb * rho * z) * inv_sigma[:, 2]
    tx, ty, tz = (translation[:, k, None] for k in range(3))
    su = cam.fx * z * (tx - q[..., 0] * z * tz) * depth_step * inv_sigma[:, 0]
    sv = cam.fy * z * (ty - q[..., 1] * z * tz) * depth_step * inv_sigma[:, 1]
    sd = fb * z * (1 - rho * z * tz) * depth_step * inv_sigma[:, 2]
    along = du * su + dv * sv + dd * sd
    out = du**2 + dv**2 + dd**2 - along**2 / (1 + su**2 + sv**2 + sd**2)
    return np.where(behind, np.inf, out)


def _shrink(rig, ray, rho, depth_step, inv_sigma, rotation, translation):
    """[N, 3] factor on the whitening so that each component also carries the earlier depth's error."""
    q = _move(ray, rho, rotation, translation)[0]
    z = 1 / np.maximum(q[:, 2], 1e-3)
    t = translation[0]
    s = np.stack([rig.left.fx * z * (t[0] - q[:, 0] * z * t[2]), rig.left.fy * z * (t[1] - q[:, 1] * z * t[2]),
                  rig.left.fx * rig.baseline_m * z * (1 - rho * z * t[2])], -1) * depth_step[:, None] * inv_sigma
    return 1 / np.sqrt(1 + s**2)


def _score(distance2: np.ndarray, weight: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """[M] MSAC score times the spread of the supporting features over the image (relative to that of all)."""
    return _spread_score(weight * np.maximum(0, 1 - distance2 / INLIER_DISTANCE2), uv)


def _spread_score(gain: np.ndarray, uv: np.ndarray) -> np.ndarray:
    total = gain.sum(1)
    unit = (uv - uv.mean(0)) / np.maximum(uv.std(0), 1e-6)
    safe = np.maximum(total, 1e-9)[:, None]
    mean = gain @ unit / safe
    var = gain @ unit**2 / safe - mean**2
    spread = np.sqrt(np.maximum(var, 0).prod(1))
    return total * np.minimum(spread, 1.5)
