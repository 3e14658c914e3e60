"""The path of a region's reference point in camera axes, frame by frame against key frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.cameras import StereoRig
from curate.geometry.poses import Pose
from curate.lift.config import LiftConfig
from curate.lift.gather import Gathered
from curate.lift.noise import DisparityNoise
from curate.lift.rigid import RigidFit, fit_rigid
from curate.perception.tracks.points import TrackPoints

TRACK_CORRELATION_PX = 10.0  # matches nearer to each other share image and error
TRACK_FLOOR_PX = 0.03  # of the mean of all matches of a region in one frame


@dataclass
class Path:
    """Arrays over the T frames of the clip; camera axes, metres.

    Args:
        measured: [T] bool.
        point: [T, 3], nan where not measured.
        cov_frame: [T, 3, 3] independent from frame to frame.
        shared: [T, 3] the error one standard deviation of the region's common depth error makes.
        cov_shared: [T, 3, 3] its outer product.
        step_cov: [T, 3, 3] what a change of key frame adds.
    """

    measured: np.ndarray
    point: np.ndarray
    cov_frame: np.ndarray
    shared: np.ndarray
    cov_shared: np.ndarray
    step_cov: np.ndarray


def follow(record: Gathered, rig: StereoRig, poses: Pose, config: LiftConfig, noise: DisparityNoise) -> Path:
    """Fits every frame to the last key frame; the first frame is the first key, a new one is taken where the
    tracker has started new points."""
    num_frames = len(poses)
    path = Path(np.zeros(num_frames, bool), np.full((num_frames, 3), np.nan), np.zeros((num_frames, 3, 3)),
                np.zeros((num_frames, 3)), np.zeros((num_frames, 3, 3)), np.zeros((num_frames, 3, 3)))
    birth = record.birth
    first = birth.frame
    path.measured[first], path.point[first] = True, birth.reference
    path.cov_frame[first] = birth.covariance
    key, key_point, key_rotation = first, birth.reference, np.eye(3)
    key_tracks = _with_depth(record.seen[first].tracks, rig)
    last: RigidFit | None = None
    since, pending = first, np.zeros((3, 3))
    for t in sorted(f for f in record.seen if f > first):
        tracks = record.seen[t].tracks
        fit = _fit(rig, key_tracks, key_point, tracks, poses, key, t, last, config, noise) if len(tracks) else None
        if fit is None:
            continue
        path.measured[t], path.point[t] = True, fit.point
        path.cov_frame[t] = fit.covariance
        path.step_cov[t] = pending
        pending = np.zeros((3, 3))
        last, since = fit, t
        fresh = _with_depth(tracks[~np.isin(tracks.ids, key_tracks.ids)], rig)
        if len(fresh) >= config.min_points and len(fresh) > np.isin(tracks.ids, key_tracks.ids).sum() / 2:
            key, key_point, key_tracks = t, fit.point, fresh
            pending = fit.covariance
            last = None
    del since, key_rotation
    _share_depth_error(path, record, rig, noise)
    return path


def _with_depth(tracks: TrackPoints, rig: StereoRig) -> TrackPoints:
    return tracks[np.isfinite(tracks.disparity) & (tracks.disparity + rig.doffs_px > 0.5)]


def _fit(rig, key_tracks, key_point, tracks, poses, key, t, last, config, noise) -> RigidFit | None:
    """Rigid motion from the key frame to frame t over the points they share."""
    _, a, b = np.intersect1d(key_tracks.ids, tracks.ids, return_indices=True)
    if len(a) < config.min_points:
        return None
    start, now = key_tracks[a], tracks[b]
    shape = rig.point(np.column_stack([start.uv, start.disparity]))
    prior = poses.rotation[t].T @ poses.rotation[key]
    position = rig.point(np.column_stack([now.uv, now.disparity]))
    known = np.isfinite(position).all(1)
    guesses = []
    if known.any():
        turned = (shape - key_point) @ prior.T
        guesses.append((prior, np.median(position[known] - turned[known], 0)))
    if last is not None:
        guesses.append((last.rotation, last.point))
    # a wrong depth of the shape shows in the image as much as the point has moved across, in baselines
    moved = np.linalg.norm(np.median(position[known], 0) - np.median(shape, 0)) if known.any() else 0.0
    parallax = start.disparity_sigma * min(moved / rig.baseline_m, 5.0) * 0.5
    across = np.hypot(now.uv_sigma, parallax)
    along = np.hypot(now.disparity_sigma, start.disparity_sigma)
    effective = max(3.0, min(len(a), np.prod(np.ptp(start.uv, axis=0) + 1) / TRACK_CORRELATION_PX**2))
    fit = fit_rigid(rig, shape, key_point, np.column_stack([now.uv, now.disparity]),
                    np.column_stack([across, across, along]), effective, prior, config.rotation_prior_rad,
                    np.sqrt(2) * noise.own_px + 1e-3, guesses)
    if fit is None or fit.inliers.sum() < config.min_points or fit.spread > 8:
        return None
    floor = TRACK_FLOOR_PX * fit.point[2] / np.array([rig.left.fx, rig.left.fy])
    fit.covariance = fit.covariance + np.diag([floor[0] ** 2, floor[1] ** 2, 0.0])
    return fit


def _share_depth_error(path: Path, record: Gathered, rig: StereoRig, noise: DisparityNoise) -> None:
    """The floor of the disparity at the first frame scales the whole path along its rays."""
    first = record.birth.frame
    disparity = float(rig.disparity(path.point[first, 2])) + rig.doffs_px
    relative = noise.floor_px / disparity
    path.shared[path.measured] = path.point[path.measured] * relative
    path.cov_shared = path.shared[:, :, None] * path.shared[:, None, :]
