"""The path of a region's reference point in camera axes: first frame by frame, then all frames together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.cameras import StereoRig
from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3, log_so3
from curate.lift.bundle import Adjusted, Body, Matches, adjust, average, small_turn
from curate.lift.config import LiftConfig
from curate.lift.gather import Gathered
from curate.lift.noise import DisparityNoise
from curate.lift.rigid import TUKEY, RigidFit, fit_rigid, project
from curate.lift.track_error import TrackError
from curate.perception.tracks.points import TrackPoints

TRACK_CORRELATION_PX = 15.0  # matches nearer to each other than a patch share image and error
MAX_SPREAD = 30.0  # of a fit to the first guess of the shape; the joint adjustment judges what is left
MAX_RIGID_SPREAD = 1.5  # of stated errors, before matches count as moving otherwise
SAME_TURN = 0.05  # radians: no mirrored turn is as near
REFERENCE_PX = 0.03  # ties the reference point to its place on the body, in each of u, v and disparity


@dataclass
class Path:
    """Arrays over the T frames of the clip; camera axes, metres.

    Args:
        measured: [T] bool.
        point: [T, 3], nan where not measured.
        cov_frame: [T, 3, 3] independent from frame to frame.
        shared: [T, 3] the error one standard deviation of the region's common depth error makes.
        cov_shared: [T, 3, 3] its outer product, and where on the object the point lies.
        step_cov: [T, 3, 3] what is added from the frame before: turn and relief not known, worn points.
        rotation: [T, 3, 3] from the first frame's camera axes to this one's, nan where not measured.
        rotation_cov: [T, 3, 3] rad², of a small turn in this frame's camera axes.
        rigidity: share of the matches that one rigid motion explains within their errors; nan where not followed.
    """

    measured: np.ndarray
    point: np.ndarray
    cov_frame: np.ndarray
    shared: np.ndarray
    cov_shared: np.ndarray
    step_cov: np.ndarray
    rotation: np.ndarray
    rotation_cov: np.ndarray
    rigidity: float = float("nan")


@dataclass
class _Start:
    """Frames that could be followed one by one: [F] indices, rotations from the first frame, points."""

    frames: np.ndarray
    rotation: np.ndarray
    point: np.ndarray


def follow(record: Gathered, rig: StereoRig, poses: Pose, config: LiftConfig, noise: DisparityNoise) -> Path:
    """Path and covariance of the region's reference point; measured in no frame where it cannot be followed."""
    num_frames = len(poses)
    path = Path(np.zeros(num_frames, bool), np.full((num_frames, 3), np.nan), np.zeros((num_frames, 3, 3)),
                np.zeros((num_frames, 3)), np.zeros((num_frames, 3, 3)), np.zeros((num_frames, 3, 3)),
                np.full((num_frames, 3, 3), np.nan), np.full((num_frames, 3, 3), np.nan))
    if len(record.seen) < config.min_frames:
        return path
    start = _one_by_one(record, rig, poses, config, noise)
    if len(start.frames) < config.min_frames:
        return path
    result = _together(record, rig, poses, start, config, noise)
    if result is None:
        return path
    agree = result.agree >= config.min_agreement
    errors = TrackError.load()
    size = np.ptp(np.percentile(record.birth.points, [5, 95], axis=0), axis=0).max()
    path.measured[start.frames] = agree
    path.point[path.measured] = result.body.point[agree]
    path.rotation[path.measured] = result.body.rotation[agree]
    path.rigidity = float((result.size < TUKEY * MAX_RIGID_SPREAD).mean())
    common_px = float(np.hypot(record.birth.disparity_sigma, noise.shared_px))
    _share_out(path, start.frames, result, rig, poses, noise, errors, float(size), common_px)
    if path.rigidity < config.min_rigidity:
        _add_deformation(path, start.frames, result, rig)
    path.cov_shared[start.frames] += (errors.reference_share * size) ** 2 * np.eye(3)
    for part in (path.cov_frame, path.cov_shared, path.shared):
        part[~path.measured] = 0
    path.rotation_cov[~path.measured] = np.nan
    return path


def _one_by_one(record: Gathered, rig: StereoRig, poses: Pose, config: LiftConfig, noise: DisparityNoise) -> _Start:
    """Fits every frame to the last key frame; a new key is taken where the tracker has started new points."""
    first = record.birth.frame
    key_point, key_rotation = record.birth.reference, np.eye(3)
    key_tracks = _with_depth(record.seen[first].tracks, rig)
    still = np.swapaxes(poses.rotation, 1, 2) @ poses.rotation[first]
    frames, rotations, points = [first], [np.eye(3)], [key_point]
    for t in sorted(f for f in record.seen if f > first):
        tracks = record.seen[t].tracks
        expected, sigma = _expected_rotation(frames, rotations, still, t, config.turn_sigma_rad)
        guess = (expected @ key_rotation.T, points[-1])
        fit = _fit(rig, key_tracks, key_point, tracks, guess, sigma, config, noise)
        if fit is None:
            continue
        frames.append(t)
        rotations.append(fit.rotation @ key_rotation)
        points.append(fit.point)
        fresh = _with_depth(tracks[~np.isin(tracks.ids, key_tracks.ids)], rig)
        if len(fresh) >= config.min_points and len(fresh) > np.isin(tracks.ids, key_tracks.ids).sum() / 2:
            key_point, key_tracks, key_rotation = fit.point, fresh, rotations[-1]
    return _Start(np.array(frames), np.array(rotations), np.array(points))


def _expected_rotation(frames: list[int], rotations: list[np.ndarray], still: np.ndarray, t: int,
                       turn_sigma: float) -> tuple[np.ndarray, float]:
    """Rotation [3, 3] first frame to frame t for a body that keeps turning in the world as it last did, and the
    sigma of that, radians. A flat face seen from afar fits two mirrored turns; continuity tells them apart."""
    gap = t - frames[-1]
    turned = still[frames[-1]].T @ rotations[-1]
    if len(frames) < 3:
        return still[t] @ turned, 2 * turn_sigma * np.sqrt(gap)
    before = still[frames[-3]].T @ rotations[-3]
    rate = log_so3(turned @ before.T) / (frames[-1] - frames[-3])
    return still[t] @ exp_so3(rate * gap) @ turned, turn_sigma * np.sqrt(gap)


def _with_depth(tracks: TrackPoints, rig: StereoRig) -> TrackPoints:
    return tracks[np.isfinite(tracks.disparity) & (tracks.disparity + rig.doffs_px > 0.5)]


def _effective(uv: np.ndarray) -> float:
    """Independent matches among those at pixels [N, 2]."""
    return float(max(3.0, min(len(uv), np.prod(np.ptp(uv, axis=0) + 1) / TRACK_CORRELATION_PX**2)))


def _fit(rig: StereoRig, key_tracks: TrackPoints, key_point: np.ndarray, tracks: TrackPoints,
         guess: tuple[np.ndarray, np.ndarray], turn_sigma: float, config: LiftConfig,
         noise: DisparityNoise) -> RigidFit | None:
    """Rigid motion from the key frame to the tracks' frame over the points they share; `guess` is the expected
    (rotation, reference point)."""
    _, a, b = np.intersect1d(key_tracks.ids, tracks.ids, return_indices=True)
    if len(a) < config.min_points:
        return None
    start, now = key_tracks[a], tracks[b]
    shape = rig.point(np.column_stack([start.uv, start.disparity]))
    known = np.isfinite(now.disparity) & (now.disparity + rig.doffs_px > 0.5)
    position = rig.point(np.column_stack([now.uv, np.where(known, now.disparity, 1.0)]))
    guesses = [guess]
    if known.any():
        turned = (shape - key_point) @ guess[0].T
        guesses.append((guess[0], np.median(position[known] - turned[known], 0)))
    # a wrong depth of the shape shows in the image as much as the point has moved across, in baselines
    moved = np.linalg.norm(np.median(position[known], 0) - np.median(shape, 0)) if known.any() else 0.0
    parallax = start.disparity_sigma * min(moved / rig.baseline_m, 5.0) * 0.5
    across = np.hypot(now.uv_sigma, parallax)
    along = np.hypot(now.disparity_sigma, start.disparity_sigma)
    fit = fit_rigid(rig, shape, key_point, np.column_stack([now.uv, np.where(known, now.disparity, np.nan)]),
                    np.column_stack([across, across, along]), _effective(start.uv), guess[0], turn_sigma,
                    np.sqrt(2) * noise.own_px + 1e-3, guesses)
    if fit is None or fit.inliers.sum() < config.min_points or fit.spread > MAX_SPREAD:
        return None
    return fit


def _together(record: Gathered, rig: StereoRig, poses: Pose, start: _Start, config: LiftConfig,
              noise: DisparityNoise) -> Adjusted | None:
    """All frames and points at once, from where the frame-by-frame fits left off."""
    tracks = [_with_depth(record.seen[int(f)].tracks, rig) if k == 0 else record.seen[int(f)].tracks
              for k, f in enumerate(start.frames)]
    ids = np.concatenate([t.ids for t in tracks])
    frame = np.repeat(np.arange(len(tracks)), [len(t) for t in tracks])
    joined = TrackPoints.join(tracks)
    usable = np.isfinite(joined.disparity) & (joined.disparity + rig.doffs_px > 0.5)
    _, began, point = np.unique(ids, return_index=True, return_inverse=True)
    seen_again = np.bincount(point)[point] > 1
    keep = usable[began][point] & seen_again  # a track must begin with a depth
    _, began, point = np.unique(ids[keep], return_index=True, return_inverse=True)
    if len(began) < config.min_points:
        return None
    frame, joined, usable = frame[keep], joined[keep], usable[keep]
    uvd = np.column_stack([joined.uv, np.where(usable, joined.disparity, np.nan)])
    sigma = np.column_stack([joined.uv_sigma, joined.uv_sigma, np.maximum(joined.disparity_sigma, 0.02)])
    later = np.ones(len(frame), bool)
    later[began] = False
    matches = Matches(frame[began], uvd[began], sigma[began, 2], point[later], frame[later], uvd[later], sigma[later])
    effective = np.array([_effective(uvd[frame == f, :2]) if (frame == f).any() else 1.0
                          for f in range(len(tracks))])
    reference = project(rig, record.birth.reference[None])[0][0]
    still = np.swapaxes(poses.rotation[start.frames], 1, 2) @ poses.rotation[start.frames[0]]
    wide = (config.turn_sigma_rad, config.turn_change_rad)
    tight = (config.steady_sigma_rad, config.steady_sigma_rad)
    # errors of the first frame-by-frame turns can lead to a mirrored one: start from "does not turn" as well
    def solve(body: Body, prior: tuple[float, float]) -> Adjusted | None:
        return adjust(rig, matches, body, reference, np.full(3, REFERENCE_PX), effective, still, prior,
                      noise.own_px + 1e-3)

    steady = solve(Body(still, start.point), tight)
    results = [solve(Body(still, start.point) if steady is None else steady.body, wide)]
    if np.linalg.norm(small_turn(start.rotation @ np.swapaxes(still, 1, 2)), axis=1).max() > SAME_TURN:
        results.append(solve(Body(start.rotation, start.point), wide))
    turning = min((r for r in results if r is not None), key=lambda r: r.cost, default=None)
    if steady is None or turning is None:
        return steady or turning
    unit = min(turning.spread, steady.spread) ** 2  # of the cost: errors may be larger than stated
    odds = (np.log(config.turning_share / (1 - config.turning_share)) + turning.volume - steady.volume
            + (steady.cost - turning.cost) / (2 * unit))
    share = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
    return average([(share, turning), (1 - share, steady)])


def _share_out(path: Path, frames: np.ndarray, result: Adjusted, rig: StereoRig, poses: Pose,
               noise: DisparityNoise, errors: TrackError, size: float, common_px: float) -> None:
    """The joint covariance in the scene's form: common depth error, what each frame has to itself, drift.

    The common error, `common_px` of the disparity where the reference point is defined, scales the path about the
    camera: tracks tell how a body moves, the mean disparity of its pixels alone how far it is. Of what is left, each
    frame's own part is what would remain if all else were known; the rest grows along the clip and is given as steps,
    and so is what the turn of a body of `size` metres and a change of its disparity add.
    """
    point = result.body.point
    rays = point / np.linalg.norm(point, axis=1, keepdims=True)
    stretch = errors.stretch(rays)
    joint = np.einsum("kab,kblc,lcd->kald", stretch, result.covariance, stretch)
    alone = errors.own**2 * (stretch @ result.own @ stretch)
    own_z = joint[0, 2, 0, 2]
    disparity = float(rig.disparity(point[0, 2])) + rig.doffs_px
    path.shared[frames] = point * (common_px / disparity)
    path.cov_shared[frames] = path.shared[frames, :, None] * path.shared[frames, None, :]
    R = poses.rotation[frames]
    still = np.swapaxes(R, 1, 2) @ R[0]
    turns = small_turn(result.body.rotation @ np.swapaxes(still, 1, 2))
    turned = np.maximum.accumulate(np.linalg.norm(turns, axis=1))
    # the bias of a sub-pixel match goes with the fraction of the disparity: it is shared by frames of one disparity
    level = rig.disparity(point[:, 2]) + rig.doffs_px
    parted = 2 * (noise.shared_px / level) ** 2 * (1 - np.exp(-np.abs(level - level[0])))
    by_depth = np.maximum.accumulate(parted * (point**2).sum(1))[:, None, None] * rays[:, :, None] * rays[:, None]
    more = errors.by_turn(rays, size, turned) + by_depth
    path.rotation_cov[frames] = (result.turn_covariance
                                 + ((errors.turn_turn * turned) ** 2)[:, None, None] * np.eye(3))
    grown = np.zeros((3, 3))
    ratio = point / point[0, 2]
    for k in range(len(frames)):
        # error of point k once the error of the first depth is scaled out of it
        left = (joint[k, :, k] - np.outer(joint[k, :, 0, 2], ratio[k]) - np.outer(ratio[k], joint[k, :, 0, 2])
                + own_z * np.outer(ratio[k], ratio[k])) + more[k]
        step = R[k] @ (left - alone[k]) @ R[k].T - grown
        step = _positive(step) if k else np.zeros((3, 3))
        grown = grown + step
        path.step_cov[frames[k]] = R[k].T @ step @ R[k]
        path.cov_frame[frames[k]] = alone[k]


def _add_deformation(path: Path, frames: np.ndarray, result: Adjusted, rig: StereoRig) -> None:
    """Where one rigid motion does not explain the matches, the reference point goes with no one of them: their
    scatter about it is its error."""
    depth = result.body.point[:, 2]
    scatter = float(np.sqrt(np.mean(np.minimum(np.abs(result.residual[:, :2]), 50.0) ** 2)))
    path.cov_frame[frames] += ((scatter * depth / rig.left.fx) ** 2)[:, None, None] * np.eye(3)


def _positive(matrix: np.ndarray) -> np.ndarray:
    """The nearest symmetric matrix [3, 3] without negative eigenvalues."""
    value, vector = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vector * np.clip(value, 0, None)) @ vector.T
