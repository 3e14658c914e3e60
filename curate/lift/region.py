"""One region over the clip: its reference point carried by its rigid motion, and how well that is known."""

from __future__ import annotations

from math import erfc, exp, pi, sqrt

import numpy as np

from curate.geometry.cameras import StereoRig
from curate.geometry.poses import Pose
from curate.geometry.rotations import skew
from curate.lift.config import LiftConfig
from curate.lift.gather import Gathered
from curate.lift.noise import DisparityNoise
from curate.lift.path import Path, follow
from curate.lift.track_error import TrackError
from curate.perception.regions.segment import GROUP_SHARE, gap
from curate.scene import Region

STEP_PX, STEP_RELATIVE = 1.0, 0.03  # of disparity, between two surfaces


def build_region(number: int, record: Gathered, rig: StereoRig, poses: Pose, step_cov: np.ndarray,
                 pose_cov: np.ndarray, config: LiftConfig, noise: DisparityNoise) -> Region | None:
    """The scene's record of a region; None where it is seen too briefly, cannot be followed or is two bodies."""
    if record.birth is None or in_two(record.birth.points, rig):
        return None
    num_frames = len(poses)
    path = follow(record, rig, poses, config, noise)
    measured = np.flatnonzero(path.measured)
    if len(measured) < config.min_frames:
        return None

    def filled(*shape):
        return np.full((num_frames, *shape), np.nan)

    box, flow, flow_sigma, nearest, nearest_sigma = filled(4), filled(2), filled(), filled(), filled()
    visible = np.zeros(num_frames)
    largest = max(seen.area_m2 for seen in record.seen.values())
    for t in measured:
        seen = record.seen[int(t)]
        box[t], flow[t], flow_sigma[t] = seen.box, seen.flow, seen.flow_sigma
        nearest[t], nearest_sigma[t] = seen.nearest_m, seen.nearest_sigma_m
        visible[t] = min(1.0, seen.area_m2 / largest)
    return Region(
        id=number, first=record.birth.frame, last=int(measured[-1]), seen=path.measured, box=box,
        centroid_px=rig.left.project(path.point), flow_px=flow, flow_sigma_px=flow_sigma, visible_fraction=visible,
        point_cam=path.point, cov_frame=path.cov_frame, cov_shared=path.cov_shared, step_cov=path.step_cov,
        steady=TrackError.load().steady,
        nearest_m=nearest, nearest_sigma_m=nearest_sigma, extent_m=extent(record.birth.points),
        mask_first=record.birth.mask, motion_p=still_p_value(path, poses, step_cov, pose_cov),
        rotation_cam=path.rotation, rotation_cov=path.rotation_cov, rigidity=path.rigidity,
        rigid=path.rigidity >= config.min_rigidity)


def in_two(points: np.ndarray, rig: StereoRig) -> bool:
    """Whether surface points [N, 3] lie at two depths with next to none between: bodies that were taken for one, which
    have no common distance."""
    disparity = np.sort(rig.left.fx * rig.baseline_m / points[:, 2])
    at = gap(disparity, max(STEP_PX, STEP_RELATIVE * float(np.median(disparity))))
    return at is not None and GROUP_SHARE <= float(np.mean(disparity > at)) <= 1 - GROUP_SHARE


def extent(points: np.ndarray) -> np.ndarray:
    """Sorted side lengths [3], metres, of the oriented box around points [N, 3] less their outer 2 %: along the
    principal axes of the corners of their convex hull, as open3d's `OrientedBoundingBox.create_from_points`."""
    from scipy.spatial import ConvexHull

    away = np.linalg.norm(points - np.median(points, 0), axis=1)
    core = points[away <= np.percentile(away, 98)]
    # a flat face has no hull: a fleck of thickness, the same every time
    core = core + np.random.default_rng(0).normal(0, 1e-3 * np.ptp(core, axis=0).max() + 1e-9, core.shape)
    corners = core[ConvexHull(core).vertices]
    axes = np.linalg.eigh(np.cov(corners.T))[1]
    return np.sort(np.ptp(corners @ axes, axis=0))[::-1].copy()


def still_p_value(path: Path, poses: Pose, step_cov: np.ndarray, pose_cov: np.ndarray,
                  num_spans: int = 4) -> float:
    """p-value of "the reference point rests in the world": chi-square of its displacement from the first frame
    over a few spans, Bonferroni; the camera's own error is part of the covariance."""
    frames = np.flatnonzero(path.measured)
    first = frames[0]
    ends = np.unique(frames[np.linspace(len(frames) / num_spans, len(frames) - 1, num_spans).astype(int)])
    ends = ends[ends > first]
    if not len(ends):
        return float("nan")
    R0 = poses.rotation[first]
    lowest = 1.0
    camera = np.zeros((3, 3))
    drift = np.zeros((3, 3))
    at = first
    for t in ends:
        for k in range(at + 1, t + 1):
            # camera step k in the axes of camera k-1: a turn acts on the arm from that camera to the point
            R_first = R0.T @ poses.rotation[k - 1]
            world = poses.rotation[first] @ path.point[first] + poses.translation[first]
            arm = poses.rotation[k - 1].T @ (world - poses.translation[k - 1])
            jacobian = R_first @ np.hstack([-skew(arm), np.eye(3)])
            camera += jacobian @ step_cov[k] @ jacobian.T
            R_k = R0.T @ poses.rotation[k]
            drift += R_k @ path.step_cov[k] @ R_k.T
        at = t
        R_t = R0.T @ poses.rotation[t]
        now = R0.T @ (poses.rotation[t] @ path.point[t] + poses.translation[t] - poses.translation[first])
        shift = now - path.point[first]
        shared = R_t @ path.shared[t] - path.shared[first]
        ends_alone = np.zeros((3, 3))  # each end's pose by itself
        for k, R_k in ((first, np.eye(3)), (t, R_t)):
            jacobian = R_k @ np.hstack([-skew(path.point[k]), np.eye(3)])
            ends_alone += jacobian @ pose_cov[k] @ jacobian.T
        covariance = (path.cov_frame[first] + R_t @ path.cov_frame[t] @ R_t.T + camera + ends_alone + drift
                      + np.outer(shared, shared))
        lowest = min(lowest, chi2_3_tail(float(shift @ np.linalg.solve(covariance, shift))))
    return min(1.0, lowest * len(ends))


def chi2_3_tail(x: float) -> float:
    """P(chi-square with 3 degrees of freedom > x), closed form."""
    return erfc(sqrt(x / 2)) + sqrt(2 * x / pi) * exp(-x / 2)
