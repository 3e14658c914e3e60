"""A body as a region of the scene: its surface in the reference view, its path, and how well both are known."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import QhullError, cKDTree

from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.geometry.rotations import skew
from curate.lift.path import Path
from curate.lift.region import extent, still_p_value
from curate.lift.track_error import TrackError
from curate.perception.multiview.bodies import Body
from curate.perception.multiview.cameras import Cameras, project
from curate.perception.multiview.config import ViewsConfig
from curate.scene import Region

# A followed feature errs alike in neighbouring frames, and so do its neighbours: so many count as one. On a few
# rendered boxes (`tests/multiview_scenes.py`) the mean square of errors was that of about this many.
TRACK_CORRELATION = 15.0
TURN_CORRELATION = 45.0  # the same of turns: what slides along a slant turns a body, and hardly moves it
SURFACE_FRAMES = 5  # points first seen within so many frames of the first are of the surface that it shows
ALONE = 4.0  # times the usual distance to neighbours: such a point is none of the surface
SURFACE_SAMPLES = 1500
RIGID = 6.0 * 1.5  # standard deviations within which a match goes with the body, as `curate.lift.path` has it
MIN_VISIBLE = 4  # points of a body that the reference view must see
MIN_VIEW_SHARE = 0.03  # of a body's observations, for a view to count
NEAREST_PERCENT = 2


def build_region(number: int, body: Body, cameras: Cameras, camera: Intrinsics, time_s: np.ndarray, sync_s: float,
                 config: ViewsConfig) -> Region | None:
    """The scene's record of a body; None where the reference view hardly sees it.

    Args:
        camera: of the reference view, view 0.
        time_s: [T]. sync_s: standard deviation of when a frame was taken: where a body moves it errs with its speed.
    """
    num_frames = len(time_s)
    fit, frames, seen_by = body.fit, body.fit_frames, body.seen
    agree = fit.residual < config.agree_px
    in_reference = agree & (seen_by.view == 0)
    visible = np.zeros(len(frames), int)
    for f in range(len(frames)):
        visible[f] = len(np.unique(seen_by.point[in_reference & (seen_by.frame == f)]))
    if (visible >= MIN_VISIBLE).sum() < config.min_frames:
        return None
    shown = np.flatnonzero(visible >= MIN_VISIBLE)
    for start in shown:  # the first frame that shows a face of it
        surface = _surface(body, in_reference, int(start), camera)
        if surface is not None:
            break
    else:
        return None
    mask, points = surface
    first = int(frames[start])
    T_first = body.rotation[first], body.translation[first]
    shape = (points - T_first[1]) @ T_first[0]  # on the body
    reference = shape.mean(0)

    def filled(*size):
        return np.full((num_frames, *size), np.nan)

    measured = np.zeros(num_frames, bool)
    measured[frames[shown[shown >= start]]] = True
    at = np.flatnonzero(measured)
    if len(at) < config.min_frames:
        return None
    size = float(np.ptp(np.percentile(points, [5, 95], axis=0), axis=0).max())
    point, own, drift, shared, turn = _path(body, cameras, frames, int(start), reference, config)
    errors = TrackError.load()
    path = Path(measured, filled(3), np.zeros((num_frames, 3, 3)), np.zeros((num_frames, 3)),
                np.zeros((num_frames, 3, 3)), np.zeros((num_frames, 3, 3)), filled(3, 3), filled(3, 3))
    where = np.searchsorted(frames, at)
    speed = np.gradient(point[where], time_s[at], axis=0)
    path.point[at] = point[where]
    path.cov_frame[at] = own[where] + sync_s**2 * speed[:, :, None] * speed[:, None]
    path.cov_shared[at] = shared[where] + (errors.reference_share * size) ** 2 * np.eye(3)
    path.step_cov[at] = _steps(drift[where])
    path.rotation[at] = body.rotation[at] @ T_first[0].T
    path.rotation_cov[at] = turn[where]
    path.rigidity = float((fit.residual < RIGID * config.sigma_px).mean())

    box, nearest, nearest_sigma, fraction = filled(4), filled(), filled(), np.zeros(num_frames)
    areas = {}
    for t in at:
        now = shape @ body.rotation[t].T + body.translation[t]
        uv = camera.project(now)
        x0, y0 = np.clip(np.nanmin(uv, 0), 0, [camera.width, camera.height])
        x1, y1 = np.clip(np.nanmax(uv, 0) + 1, 0, [camera.width, camera.height])
        box[t] = x0, y0, x1, y1
        ranges = np.linalg.norm(now, axis=1)
        nearest[t] = np.percentile(ranges, NEAREST_PERCENT)
        ray = now[ranges.argmin()] / ranges.min()
        nearest_sigma[t] = np.sqrt(ray @ (path.cov_frame[t] + path.cov_shared[t]) @ ray)
        inside = ((uv >= 0) & (uv < [camera.width, camera.height])).all(1).mean()
        hull = cv2.contourArea(cv2.convexHull(np.float32(np.nan_to_num(uv))))
        areas[t] = hull * inside * np.median(now[:, 2]) ** 2
    largest = max(areas.values())
    for t in at:
        fraction[t] = min(1.0, areas[t] / max(largest, 1e-9))
    centroid = camera.project(path.point)
    flow = np.vstack([np.diff(centroid, axis=0), np.full((1, 2), np.nan)])
    still = Pose("world", "cam", np.broadcast_to(np.eye(3), (num_frames, 3, 3)), np.zeros((num_frames, 3)))
    none = np.zeros((num_frames, 6, 6))
    return Region(
        id=number, first=first, last=int(at[-1]), seen=measured, box=box, centroid_px=centroid, flow_px=flow,
        flow_sigma_px=np.where(np.isfinite(flow[:, 0]), config.sigma_px, np.nan), visible_fraction=fraction,
        point_cam=path.point, cov_frame=path.cov_frame, cov_shared=path.cov_shared, step_cov=path.step_cov,
        nearest_m=nearest, nearest_sigma_m=nearest_sigma, extent_m=extent(points), mask_first=mask,
        motion_p=still_p_value(path, still, none, none), rotation_cam=path.rotation, rotation_cov=path.rotation_cov,
        rigidity=path.rigidity, steady=errors.steady)


def _surface(body: Body, in_reference: np.ndarray, start: int,
             camera: Intrinsics) -> tuple[np.ndarray, np.ndarray] | None:
    """What the reference view shows of the body at frame `start`: the hull of its points as mask [H, W], and the
    surface through them [n, 3] metres at evenly spread pixels of the mask; None where they have no area."""
    seen = body.seen
    near = in_reference & (seen.frame >= start) & (seen.frame < start + SURFACE_FRAMES)
    index = np.unique(seen.point[near])
    if len(index) < MIN_VISIBLE:
        return None
    points = body.shape[index]
    if len(points) > MIN_VISIBLE:
        third = cKDTree(points).query(points, k=min(4, len(points)))[0][:, -1]
        points = points[third <= ALONE * np.median(third)]
    t = body.fit_frames[start]
    points = points @ body.rotation[t].T + body.translation[t]
    uv = camera.project(points)
    ok = np.isfinite(uv).all(1)
    uv, points = uv[ok], points[ok]
    if len(uv) < MIN_VISIBLE:
        return None
    hull = cv2.convexHull(np.float32(uv))[:, 0]
    mask = np.zeros((camera.height, camera.width), np.uint8)
    cv2.fillConvexPoly(mask, np.round(hull).astype(np.int32), 1)
    rows, columns = np.nonzero(mask)
    if len(rows) < 60:
        return None
    take = slice(None, None, max(1, len(rows) // SURFACE_SAMPLES))
    pixels = np.column_stack([columns, rows])[take].astype(float)
    try:  # of a plane the inverse depth is linear in the picture
        inverse = LinearNDInterpolator(uv, 1 / points[:, 2])(pixels)
    except QhullError:
        return None
    known = np.isfinite(inverse)
    if known.sum() < 20:
        return None
    return mask > 0, camera.lift(pixels[known], 1 / inverse[known])


def _path(body: Body, cameras: Cameras, frames: np.ndarray, start: int, reference: np.ndarray, config: ViewsConfig):
    """The reference point [F, 3] over the body's frames and its errors [F, 3, 3]: each frame's own, what the motion
    from frame `start` has gathered beside it, what calibration leaves (shared by all frames), and of the turn."""
    fit = body.fit
    arm = fit.rotation @ reference  # [F, 3]
    point = arm + fit.translation
    J = np.concatenate([-skew(arm), np.broadcast_to(np.eye(3), (len(frames), 3, 3))], -1)
    turned = fit.rotation @ fit.rotation[start].T
    # a point that is fixed to the body at frame `start` errs by both poses
    back = -turned @ J[start]
    C = fit.covariance
    at = np.arange(len(frames))
    both = J @ C[at, :, at] @ np.swapaxes(J, 1, 2) + back @ C[start, :, start] @ np.swapaxes(back, 1, 2)
    cross = J @ C[at, :, start] @ np.swapaxes(back, 1, 2)
    moved = TRACK_CORRELATION * (both + cross + np.swapaxes(cross, 1, 2))
    alone = TRACK_CORRELATION * (J @ fit.own @ np.swapaxes(J, 1, 2))
    alone[start] = alone[[k for k in (start + 1, start - 1) if 0 <= k < len(frames)]][0]
    turn_back = -turned
    turn = (C[at, :3, at, :3] + turn_back @ C[start, :3, start, :3] @ np.swapaxes(turn_back, 1, 2))
    turn_cross = C[at, :3, start, :3] @ np.swapaxes(turn_back, 1, 2)
    turn = TURN_CORRELATION * (turn + turn_cross + np.swapaxes(turn_cross, 1, 2))
    shared = _by_calibration(body, cameras, point, config)
    # calibration errs alike where the body is alike in the pictures, and otherwise half a picture away
    uv = cameras.project(np.zeros(len(frames), int), point)
    parted = np.clip(np.linalg.norm(uv - uv[start], axis=1) / (0.5 * cameras.size[0, 0]), 0, 1) ** 2
    drift = moved - alone - alone[start] + np.nan_to_num(parted, nan=1.0)[:, None, None] * shared
    drift[start] = 0
    turn[start] = 0
    return point, alone, drift, shared, (turn + np.swapaxes(turn, 1, 2)) / 2


def _by_calibration(body: Body, cameras: Cameras, point: np.ndarray, config: ViewsConfig) -> np.ndarray:
    """[F, 3, 3] m², of points [F, 3] seen by all views that see the body, each off by what calibration leaves."""
    count = np.bincount(body.seen.view, minlength=len(cameras))
    information = np.zeros((len(point), 3, 3))
    for view in np.flatnonzero(count >= MIN_VIEW_SHARE * count.sum()):
        K, R, t = (np.broadcast_to(a[view], (len(point), *a[view].shape)) for a in (cameras.K, cameras.R, cameras.t))
        _, J = project(K, R, t, point)
        J = np.nan_to_num(J)
        information += np.swapaxes(J, 1, 2) @ J / config.calibration_px**2
    weak = 1e-6 * np.trace(information, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    return np.linalg.inv(information + weak)


def _steps(total: np.ndarray) -> np.ndarray:
    """[n, 3, 3] what is added from frame to frame to an error that has grown to `total` [n, 3, 3]."""
    grown, steps = np.zeros((3, 3)), np.zeros_like(total)
    for k in range(1, len(total)):
        value, vector = np.linalg.eigh((total[k] + total[k].T) / 2 - grown)
        steps[k] = (vector * np.clip(value, 0, None)) @ vector.T
        grown = grown + steps[k]
    return steps
