"""Stereo4D's camera path and 3D tracks as a scene: bodies of tracks become regions with stated errors.

Nothing is published about the accuracy of either, so it is stated here, by settings: what matching of stereo errs by
(`disparity_sigma_px`, shared by all frames of a region, since the published tracks are smoothed), the drift of tracks,
and the camera's. What the tracks themselves show of their noise counts where it is more.
"""

from __future__ import annotations

from math import erfc, exp, pi, sqrt

import numpy as np
from scipy.spatial import cKDTree

from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.geometry.rotations import skew
from curate.scene import Region, Scene
from curate.sources.base import ClipSpec
from curate.sources.config_spherical import Stereo4DConfig
from curate.sources.stereo4d_groups import StereoNoise, group, spacing, surfaces
from curate.sources.stereo4d_rigid import Body, fit

VERSION = "stereo4d-bodies@1"
MAX_REGIONS = 12
AREA_SHARE = (0.001, 0.25)  # of the picture that a region covers where it is defined
LEAST_RIGID = 0.7  # of the observations explained, or the region is said to be non-rigid
MASK_REACH = 1.5  # spacings of tracks, to a pixel that belongs to one
EDGE_SHARE = 0.2  # of the tracks' spacing: how far the surface's centroid is off, since its edges lie between tracks
SPANS = 4  # of the clip, over which a region is asked whether it rests


def make_scene(clip: ClipSpec, time_s: np.ndarray, camera: Intrinsics, poses: Pose, tracks: np.ndarray,
               config: Stereo4DConfig, num_views: int = 1) -> Scene:
    """
    Args:
        time_s: [T]. poses: T_world_cam [T], the world being the camera at the first frame.
        tracks: [N, T, 3] metres in that world, nan where not observed.
    """
    noise = StereoNoise(camera.fx, config.eye_distance_m, config.disparity_sigma_px, config.disparity_sigma_px)
    step_cov = camera_step_cov(poses, config)
    regions, still = [], np.zeros(0, int)
    if len(tracks):
        groups = group(tracks, poses, noise)
        still = groups.still
        candidates = [(members, True) for members in groups.moving]
        candidates += [(still[members], False) for members in surfaces(tracks[still], poses, noise, 0)]
        regions = _regions(candidates, tracks, camera, poses, step_cov, noise, groups.threshold, config)
    baseline, sigma = config.eye_distance_m, config.eye_distance_sigma_m
    return Scene(
        key=clip.key, clip=clip.to_json(), time_s=time_s, camera=camera, baseline_m=baseline if num_views > 1 else 0.0,
        baseline_sigma_m=sigma if num_views > 1 else 0.0, scale="assumed", up="camera",
        up_world=poses.rotation[0] @ np.array([0.0, -1.0, 0.0]), T_world_cam=poses, step_cov=step_cov,
        camera_valid=np.ones(len(poses), bool), regions=regions,
        origin={"camera": "source", "tracks": "source", "regions": VERSION},
        stats={"tracks": float(len(tracks)), "tracks_still": float(len(still)),
               "regions_measured": float(len(regions)), "scale_sigma": sigma / baseline})


def camera_step_cov(poses: Pose, config: Stereo4DConfig) -> np.ndarray:
    """[T, 6, 6] of (turn, shift) from the frame before, as stated by the settings."""
    step = np.linalg.norm(np.diff(poses.translation, axis=0), axis=1)
    shift = np.hypot(config.camera_step_sigma_m, config.camera_step_share * step)
    turn = np.full(len(step), np.radians(config.camera_step_sigma_deg))
    out = np.zeros((len(poses), 6, 6))
    out[1:] = np.stack([turn, turn, turn, shift, shift, shift], 1)[:, :, None] ** 2 * np.eye(6)
    return out


def _regions(candidates: list[tuple[np.ndarray, bool]], tracks: np.ndarray, camera: Intrinsics, poses: Pose,
             step_cov: np.ndarray, noise: StereoNoise, limit: float, config: Stereo4DConfig) -> list[Region]:
    picture = _Picture(tracks, camera, poses)
    found = []
    for members, moves in candidates:
        body = fit(tracks[members], poses, noise, limit, may_turn=moves)
        if body is None:
            continue
        mask = picture.mask(members, body.first)
        share = mask.sum() / mask.size
        if AREA_SHARE[0] <= share <= AREA_SHARE[1]:
            found.append((moves, share, members, body, mask))
    found.sort(key=lambda f: (-f[0], -f[1], int(f[2][0])))
    return [_region(number, members, body, mask, picture, step_cov, noise, config)
            for number, (_, _, members, body, mask) in enumerate(found[:MAX_REGIONS], 1)]


class _Picture:
    """Where tracks are in the picture, and which pixels are nearest to which."""

    def __init__(self, tracks: np.ndarray, camera: Intrinsics, poses: Pose) -> None:
        self.tracks, self.camera, self.poses = tracks, camera, poses
        self._owners: dict[int, tuple[np.ndarray, np.ndarray, float]] = {}

    def at(self, points: np.ndarray, frame: int) -> np.ndarray:
        """World points [..., 3] to pixels [..., 2]."""
        return self.camera.project((points - self.poses.translation[frame]) @ self.poses.rotation[frame])

    def owners(self, frame: int) -> tuple[np.ndarray, float]:
        """[H, W] number of the nearest track, -1 where none is near; and the tracks' spacing, pixels."""
        if frame not in self._owners:
            seen = np.flatnonzero(np.isfinite(self.tracks[:, frame, 0]))
            uv = self.at(self.tracks[seen, frame], frame)
            inside = np.isfinite(uv).all(1) & (uv > -1).all(1) & (uv < [self.camera.width, self.camera.height]).all(1)
            seen, uv = seen[inside], uv[inside]
            owner, apart = np.full((self.camera.height, self.camera.width), -1), spacing(uv)
            if len(seen):
                v, u = np.mgrid[: self.camera.height, : self.camera.width]
                far, nearest = cKDTree(uv).query(np.stack([u, v], -1).reshape(-1, 2),
                                                 distance_upper_bound=MASK_REACH * apart)
                near = np.isfinite(far)
                owner.ravel()[near] = seen[nearest[near]]
            self._owners[frame] = owner, apart
        return self._owners[frame]

    def mask(self, members: np.ndarray, frame: int) -> np.ndarray:
        """[H, W] bool, the pixels of these tracks."""
        return np.isin(self.owners(frame)[0], members)


def _region(number: int, members: np.ndarray, body: Body, mask: np.ndarray, picture: _Picture, step_cov: np.ndarray,
            noise: StereoNoise, config: Stereo4DConfig) -> Region:
    camera, poses, tracks = picture.camera, picture.poses, picture.tracks[members]
    num_frames, seen = len(poses), body.seen
    owner, apart = picture.owners(body.first)
    weight = np.array([(owner == member).sum() for member in members], float)  # pixels of each track
    visible = np.isfinite(body.places[:, 0])
    centre = np.average(body.places[visible], axis=0, weights=weight[visible] if weight[visible].any() else None)
    world = np.einsum("tij,j->ti", body.rotation, centre - body.centre) + body.centre + body.shift
    point = np.einsum("tji,tj->ti", poses.rotation, world - poses.translation)
    arm = np.einsum("tij,j->ti", body.rotation, centre - body.centre)
    reach = np.linalg.norm(point, axis=1)
    ray = point / reach[:, None]
    along, across = noise.sigmas(reach)

    formal = np.empty((num_frames, 3, 3))
    turn_cov = np.empty((num_frames, 3, 3))
    for t in range(num_frames):
        lever = np.hstack([-skew(arm[t]), np.eye(3)])
        R = poses.rotation[t].T
        formal[t] = R @ lever @ body.covariance[t] @ lever.T @ R.T
        turn_cov[t] = R @ body.covariance[t][:3, :3] @ R.T
    by_ray = np.einsum("ti,tij,tj->t", ray, formal, ray)
    beside = (np.trace(formal, axis1=1, axis2=2) - by_ray) / 2
    jitter = np.einsum("tji,tj->ti", poses.rotation, _jitter(body))
    ray_jitter = _spread((jitter * ray).sum(1)[seen])
    side_jitter = _spread((jitter - (jitter * ray).sum(1)[:, None] * ray)[seen].ravel())
    cov_frame = _about(ray, np.maximum(by_ray, ray_jitter), np.maximum(beside, side_jitter))
    edge = EDGE_SHARE * apart / camera.fx * reach
    cov_shared = _about(ray, along**2, across**2 + edge**2)
    drift = config.track_drift_px / config.disparity_sigma_px
    drifted = _about(ray, (along * drift) ** 2, (across * drift) ** 2)
    drifted[body.first] = 0

    box, flow, flow_sigma, nearest = (np.full((num_frames, *shape), np.nan) for shape in ((4,), (2,), (), ()))
    area = np.zeros(num_frames)
    uv = np.stack([picture.at(tracks[:, t], t) for t in range(num_frames)], 1)  # [n, T, 2]
    for t in np.flatnonzero(seen):
        here = uv[np.isfinite(uv[:, t]).all(1), t]
        if not len(here):
            continue
        low, high = here.min(0) - apart / 2 + 0.5, here.max(0) + apart / 2 + 0.5
        box[t] = np.clip([*low, *high], 0, [camera.width, camera.height] * 2)
        area[t] = len(np.unique(np.floor(here / (MASK_REACH * apart)), axis=0)) * reach[t] ** 2
        nearest[t] = np.nanpercentile(np.linalg.norm(tracks[:, t] - poses.translation[t], axis=1), 2)
        if t + 1 < num_frames and np.isfinite(step := uv[:, t + 1] - uv[:, t]).any():
            flow[t] = np.nanmedian(step, 0)
            flow_sigma[t] = config.track_drift_px + config.disparity_sigma_px / np.sqrt(np.isfinite(step[:, 0]).sum())
    turned = np.einsum("tji,tjk,kl->til", poses.rotation, body.rotation, poses.rotation[body.first])
    unseen = ~seen
    point_seen = np.where(unseen[:, None], np.nan, point)
    return Region(
        id=number, first=body.first, last=int(np.flatnonzero(seen)[-1]), seen=seen, box=box,
        centroid_px=camera.project(point_seen), flow_px=flow, flow_sigma_px=flow_sigma,
        visible_fraction=np.where(seen, area / max(area.max(), 1e-9), 0.0), point_cam=point_seen, cov_frame=cov_frame,
        cov_shared=cov_shared, step_cov=drifted, nearest_m=nearest, nearest_sigma_m=np.where(seen, along, np.nan),
        extent_m=_extent(body.places[visible]), mask_first=mask,
        motion_p=_rests_p(seen, world, poses, cov_frame, cov_shared, drifted, step_cov),
        rotation_cam=np.where(unseen[:, None, None], np.nan, turned), rotation_cov=turn_cov, rigidity=body.explained,
        rigid=body.explained >= LEAST_RIGID)


def _about(ray: np.ndarray, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """[T, 3, 3] covariances with these variances along and across unit rays [T, 3]."""
    along, across = (np.broadcast_to(v, len(ray))[:, None, None] for v in (along, across))
    return across * np.eye(3) + (along - across) * ray[:, :, None] * ray[:, None]


def _jitter(body: Body) -> np.ndarray:
    """[T, 3] second differences of the shift over root six: the size of a frame's own error where the motion is even,
    and more where it is not."""
    frames = np.flatnonzero(body.seen)
    out = np.zeros_like(body.shift)
    if len(frames) >= 3:
        out[frames[1:-1]] = np.diff(body.shift[frames], 2, axis=0) / np.sqrt(6)
    return out


def _spread(values: np.ndarray) -> float:
    """Variance by the median of squares: single peaks do not count."""
    return float(np.median(values**2) / 0.4549) if len(values) else 0.0


def _extent(places: np.ndarray) -> np.ndarray:
    """[3] sides along the principal axes of the visible surface, less the outer 2 % at each end, longest first."""
    _, _, axes = np.linalg.svd(places - places.mean(0), full_matrices=False)
    sides = np.ptp(np.percentile((places - places.mean(0)) @ axes.T, [2, 98], axis=0), axis=0)
    return np.sort(np.concatenate([sides, np.zeros(3 - len(sides))]))[::-1].copy()


def _rests_p(seen, world, poses: Pose, cov_frame, cov_shared, drift, step_cov) -> float:
    """p-value of "rests in the world": chi-square of the displacement from the first frame over a few spans,
    Bonferroni. Of the shared error only its change counts."""
    frames = np.flatnonzero(seen)
    first = frames[0]
    ends = np.unique(frames[np.linspace(len(frames) / SPANS, len(frames) - 1, SPANS).astype(int)])
    ends = ends[ends > first]
    lowest = 1.0
    for t in ends:
        covariance = sum(R @ c @ R.T for R, c in ((poses.rotation[k], cov_frame[k]) for k in (first, t)))
        for k in range(first + 1, t + 1):
            R = poses.rotation[k]
            lever = np.hstack([-skew(world[k] - poses.translation[k]), np.eye(3)])
            covariance = covariance + R @ drift[k] @ R.T + lever @ step_cov[k] @ lever.T
        stays = [R @ _root(c) @ R.T for R, c in ((poses.rotation[k], cov_shared[k]) for k in (first, t))]
        covariance = covariance + (stays[1] - stays[0]) @ (stays[1] - stays[0]).T
        shift = world[t] - world[first]
        lowest = min(lowest, _tail(float(shift @ np.linalg.solve(covariance, shift))))
    return min(1.0, lowest * len(ends)) if len(ends) else float("nan")


def _root(covariance: np.ndarray) -> np.ndarray:
    value, vector = np.linalg.eigh(covariance)
    return (vector * np.sqrt(np.maximum(value, 0))) @ vector.T


def _tail(x: float) -> float:
    """P(chi-square with 3 degrees of freedom > x), closed form."""
    return erfc(sqrt(x / 2)) + sqrt(2 * x / pi) * exp(-x / 2)
