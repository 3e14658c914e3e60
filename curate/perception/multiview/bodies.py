"""A body grown from its seed: along the clip, to the tracks of single views, and adjusted as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from curate.geometry.rotations import exp_so3, log_so3
from curate.perception.multiview.adjust import Adjusted, Observed, adjust, resect
from curate.perception.multiview.cameras import Cameras, triangulate
from curate.perception.multiview.config import ViewsConfig
from curate.perception.multiview.places import Places
from curate.perception.multiview.seeds import Seed
from curate.perception.multiview.tracks import Tracks

ROUNDS = 4
MAX_GAP = 3  # frames that a body may be lost for
MIN_SEEN = 5  # observations of a frame's pose, of at least four points
MIN_AGREE = 0.5  # share of a frame's observations that its pose explains
MIN_SHARE = 0.75  # of a track's observations that the body's motion explains
OF_EXTENT = 0.2  # what is left of a track's motion by the body's is a smaller share of it
MAX_SIGMA = 0.2  # of the body's size: points known worse are left out
REACH = 0.7  # of the body's size: how far from those of its points that several views see a place may lie to be of it
REACH_ALONE = 0.25  # the same of a track of one view: what moves elsewhere is explained too, at a wrong distance
MIN_SIZE_M = 1e-3
LOOKED_AT = 6  # frames
MIN_OF_SEEN = 0.5  # share of what is seen within a body's outline that must go with it


@dataclass
class Body:
    """A rigid body in the making.

    Args:
        known: [T] bool, frames whose pose is known.
        rotation, translation: [T, 3, 3], [T, 3] body to rig.
        shape: [N, 3] its points.
        owner: [number of tracks] index of the point that a track is of, -1 of none.
        fit: the adjustment, over the frames `fit_frames`.
    """

    known: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    shape: np.ndarray
    owner: np.ndarray
    fit: Adjusted | None = None
    fit_frames: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    seen: Observed | None = None

    @property
    def anchors(self) -> np.ndarray:
        """[n, 3] those of its points that several tracks see: a track is of one view, and a place has one of each."""
        several = np.bincount(self.owner[self.owner >= 0], minlength=len(self.shape)) > 1
        return self.shape[several] if several.sum() >= 3 else self.shape

    @property
    def size_m(self) -> float:
        """Radius that holds most of its points that several views see."""
        anchors = self.anchors
        away = np.linalg.norm(anchors - np.median(anchors, 0), axis=1)
        return max(float(np.percentile(away, 90)), MIN_SIZE_M)


def grow_body(cameras: Cameras, tracks: Tracks, places: Places, seed: Seed, free: np.ndarray, num_frames: int,
              config: ViewsConfig) -> Body | None:
    """
    Args:
        free: [number of tracks] bool, those that no other body has.

    Returns:
        None where the adjustment fails or too little is left of the seed.
    """
    body = Body(np.zeros(num_frames, bool), np.full((num_frames, 3, 3), np.nan), np.full((num_frames, 3), np.nan),
                seed.shape, np.full(len(tracks), -1))
    body.known[seed.frames] = True
    body.rotation[seed.frames], body.translation[seed.frames] = seed.rotation, seed.point
    longest = np.argsort(-np.isfinite(places.points[seed.places][:, seed.frames, 0]).sum(1), kind="stable")
    longest = longest[:config.max_points * 2 // 3]  # room for those of single views
    body.shape = seed.shape[longest]
    for number, place in enumerate(seed.places[longest]):
        body.owner[places.members[place]] = number
    by_frame = np.argsort(tracks.frame, kind="stable")
    edges = np.searchsorted(tracks.frame[by_frame], np.arange(num_frames + 1))
    if not _adjust(body, cameras, tracks, config):
        return None
    for _ in range(ROUNDS):
        before = int(body.known.sum()), int((body.owner >= 0).sum())
        _extend(body, cameras, tracks, by_frame, edges, config)
        _claim(body, cameras, tracks, places, free, config)
        if not _adjust(body, cameras, tracks, config):
            return None
        if (int(body.known.sum()), int((body.owner >= 0).sum())) == before:
            break
    if body.known.sum() < config.min_frames or len(body.shape) < config.min_points:
        return None
    return body


def _extend(body: Body, cameras: Cameras, tracks: Tracks, by_frame: np.ndarray, edges: np.ndarray,
            config: ViewsConfig) -> None:
    """Poses of further frames, one after another away from those known; a predicted pose is refined by what is seen."""
    num_frames = len(body.known)
    frames = np.flatnonzero(body.known)
    orders = [range(int(frames[0]) + 1, num_frames), range(int(frames[-1]) - 1, -1, -1)]
    for order in orders:
        lost = 0
        for t in order:
            if body.known[t]:
                lost = 0
                continue
            if lost > MAX_GAP:
                continue
            rows = by_frame[edges[t]:edges[t + 1]]
            rows = rows[body.owner[tracks.track[rows]] >= 0]
            if not _place(body, cameras, tracks, t, rows, order.step, config):
                lost += 1
            else:
                lost = 0


def _place(body: Body, cameras: Cameras, tracks: Tracks, t: int, rows: np.ndarray, step: int,
           config: ViewsConfig) -> bool:
    point = body.owner[tracks.track[rows]]
    if len(rows) < MIN_SEEN or len(np.unique(point)) < 4:
        return False
    known = np.flatnonzero(body.known)
    nearest = known[np.argsort(np.abs(known - t), kind="stable")]
    last = int(nearest[0])
    guesses = [(body.rotation[last], body.translation[last])]
    before = last - step
    if 0 <= before < len(body.known) and body.known[before]:
        gap = abs(t - last)
        turn = exp_so3(log_so3(body.rotation[last] @ body.rotation[before].T) * gap)
        move = (body.translation[last] - body.translation[before]) * gap
        guesses.append((turn @ body.rotation[last], body.translation[last] + move))
    view, uv, shape = tracks.view[tracks.track[rows]], tracks.at[rows], body.shape[point]
    tries = [resect(cameras, shape, view, uv, *guess, config.sigma_px) for guess in guesses]
    rotation, translation, residual, covariance = min(tries, key=lambda r: float(np.median(r[2])))
    ok = residual < config.agree_px
    if ok.sum() < MIN_SEEN or len(np.unique(point[ok])) < 4 or ok.mean() < MIN_AGREE:
        return False
    if np.sqrt(np.linalg.eigvalsh(covariance[3:, 3:])[-1]) > MAX_SIGMA * body.size_m:
        return False
    body.rotation[t], body.translation[t], body.known[t] = rotation, translation, True
    return True


def _claim(body: Body, cameras: Cameras, tracks: Tracks, places: Places, free: np.ndarray,
           config: ViewsConfig) -> None:
    """Tracks that the body's motion explains become points of it: places as a whole, then tracks of single views, which
    the body's own motion triangulates."""
    taken = body.owner >= 0
    joined = [m for m in places.members if free[m].all() and not taken[m].any()
              and tracks.extent[m].max() > config.still_px]
    in_place = np.zeros(len(tracks), bool)
    for members in joined:
        in_place[members] = True
    alone = np.flatnonzero(free & ~taken & ~in_place & (tracks.extent > config.still_px))
    refused = _claim_units(body, cameras, tracks, joined, config)
    _claim_units(body, cameras, tracks, [[int(k)] for k in alone] + [[k] for members in refused for k in members],
                 config)


def followers(body: Body, cameras: Cameras, tracks: Tracks, free: np.ndarray, config: ViewsConfig) -> np.ndarray:
    """Free tracks [n] that go with a body though it was adjusted without them: more were there than it needs."""
    units = [[int(k)] for k in np.flatnonzero(free & (body.owner < 0) & (tracks.extent > config.still_px))]
    if not units:
        return np.zeros(0, int)
    good, *_ = _fitting(body, cameras, tracks, units, config)
    return np.array([units[k][0] for k in np.flatnonzero(good)], int)


def moves_along(body: Body, cameras: Cameras, places: Places, chosen: np.ndarray, config: ViewsConfig) -> bool:
    """Whether most of the chosen places [n] go with a body as far as their errors tell."""
    points, sigma = places.points[chosen][:, body.known], places.sigma[chosen][:, body.known]
    local = np.einsum("tji,gtj->gti", body.rotation[body.known], points - body.translation[body.known])
    seen = np.isfinite(local[..., 0])
    some = seen.sum(1) >= 3
    if not some.any():
        return False
    local, sigma, seen, points = local[some], sigma[some], seen[some], points[some]
    away = np.linalg.norm(local - np.nanmedian(local, axis=1, keepdims=True), axis=2)
    nearest = np.linalg.norm(points[:, :, None] - cameras.centre, axis=3).min(2)
    allowed = 3 * sigma + config.agree_px / cameras.K[:, 0, 0].mean() * nearest
    share = ((away < allowed) & seen).sum(1) / seen.sum(1)
    return bool(np.mean(share >= MIN_SHARE) > 0.5)


def share_of_what_is_seen(body: Body, cameras: Cameras, tracks: Tracks, mine: np.ndarray) -> float:
    """Share of the tracks within the body's outline, in some frames and all views, that go with it. A body hides what
    is behind it; where most of what is seen inside moves otherwise, or rests, its matches are wrong (from one part of a
    pattern to another, or dragged along an edge).

    Args:
        mine: [number of tracks] bool, those that go with it.
    """
    own = inside = 0
    known = np.flatnonzero(body.known)
    for t in known[np.unique(np.linspace(0, len(known) - 1, LOOKED_AT).astype(int))]:
        rows = np.flatnonzero(tracks.frame == t)
        track = tracks.track[rows]
        points = body.anchors @ body.rotation[t].T + body.translation[t]
        for view in range(len(cameras)):
            uv = cameras.project(np.full(len(points), view), points)
            here = tracks.view[track] == view
            if not np.isfinite(uv).all() or not (mine[track] & here).any():
                continue
            hull = cv2.convexHull(np.float32(uv))
            within = np.array([cv2.pointPolygonTest(hull, (float(u), float(v)), False) >= 0
                               for u, v in tracks.at[rows[here]]])
            inside += int(within.sum())
            own += int((within & mine[track[here]]).sum())
    return own / inside if inside else 0.0


def _claim_units(body: Body, cameras: Cameras, tracks: Tracks, units: list[list[int]],
                 config: ViewsConfig) -> list[list[int]]:
    """Adds those units [tracks of one point] that fit, the longest where there are too many; returns those that do
    not."""
    if not units:
        return []
    good, count, points = _fitting(body, cameras, tracks, units, config)
    chosen = np.flatnonzero(good)
    room = max(config.max_points - len(body.shape), 0)
    chosen = np.sort(chosen[np.argsort(-count[chosen], kind="stable")][:room])
    for number, k in enumerate(chosen, len(body.shape)):
        body.owner[units[k]] = number
    body.shape = np.vstack([body.shape, points[chosen]])
    return [units[k] for k in np.flatnonzero(~good)]


def _fitting(body: Body, cameras: Cameras, tracks: Tracks, units: list[list[int]],
             config: ViewsConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which units [n] the body's motion explains, how often each is seen, and where they lie on it [n, 3]."""
    flat = np.concatenate([np.asarray(u) for u in units])
    of = np.repeat(np.arange(len(units)), [len(u) for u in units])
    rows, which = tracks.rows(flat)
    there = body.known[tracks.frame[rows]]
    rows, unit = rows[there], of[which[there]]
    count = np.bincount(unit, minlength=len(units))
    K, R, t = _cameras_of(body, cameras, tracks, rows)
    found = triangulate(K, R, t, tracks.at[rows], unit, len(units), config.sigma_px, np.radians(config.min_angle_deg))
    fits = np.bincount(unit[found.residual < config.agree_px], minlength=len(units)) / np.maximum(count, 1)
    middle = _medians(found.residual, unit, len(units))
    extent = _extents(tracks.at[rows], tracks.track[rows], unit, len(units))
    with np.errstate(invalid="ignore", divide="ignore"):
        least = np.linalg.eigvalsh(found.information)[:, 0]
        sigma = config.sigma_px / np.sqrt(np.maximum(least, 1e-12))
        size, several = body.size_m, np.array([len(u) > 1 for u in units])
        away = np.min(np.linalg.norm(found.points[:, None] - body.anchors[None], axis=2), axis=1)
        near = away < np.where(several, REACH, REACH_ALONE) * size
        good = ((count >= config.min_frames) & (fits >= MIN_SHARE) & (sigma < MAX_SIGMA * size) & near
                & (middle < OF_EXTENT * extent) & np.isfinite(found.points).all(1))
    return good, count, found.points


def _cameras_of(body: Body, cameras: Cameras, tracks: Tracks, rows: np.ndarray):
    """The cameras of observations, from the body: K [M, 3, 3], R [M, 3, 3], t [M, 3]."""
    view, frame = tracks.view[tracks.track[rows]], tracks.frame[rows]
    R = cameras.R[view] @ body.rotation[frame]
    t = (cameras.R[view] @ body.translation[frame][..., None])[..., 0] + cameras.t[view]
    return cameras.K[view], R, t


def _medians(values: np.ndarray, key: np.ndarray, length: int) -> np.ndarray:
    out = np.full(length, np.inf)
    order = np.lexsort((values, key))
    start = np.searchsorted(key[order], np.arange(length + 1))
    some = start[1:] > start[:-1]
    out[some] = values[order][(start[:-1] + start[1:])[some] // 2]
    return out


def _extents(uv: np.ndarray, track: np.ndarray, unit: np.ndarray, length: int) -> np.ndarray:
    """[length] px that the tracks of each unit reach in their own view, the largest."""
    out = np.zeros(length)
    if len(track):
        order = np.argsort(track, kind="stable")
        start = np.flatnonzero(np.diff(track[order], prepend=-1))
        reach = (np.maximum.reduceat(uv[order], start) - np.minimum.reduceat(uv[order], start)).max(1)
        np.maximum.at(out, unit[order][start], reach)
    return out


def _adjust(body: Body, cameras: Cameras, tracks: Tracks, config: ViewsConfig) -> bool:
    """All poses and points together; points that do not agree are given back."""
    for _ in range(3):
        rows = np.flatnonzero((body.owner[tracks.track] >= 0) & body.known[tracks.frame])
        point, frame = body.owner[tracks.track[rows]], tracks.frame[rows]
        frames = np.unique(frame)
        if len(frames) < config.min_frames or len(np.unique(point)) < config.min_points:
            return False
        used, renumbered = np.unique(point, return_inverse=True)
        seen = Observed(renumbered, np.searchsorted(frames, frame), tracks.view[tracks.track[rows]], tracks.at[rows])
        fit = adjust(cameras, seen, body.rotation[frames], body.translation[frames], body.shape[used], 0,
                     config.sigma_px)
        if fit is None:
            return False
        owner = np.full(len(body.shape), -1)
        owner[used] = np.arange(len(used))
        body.owner = np.where(body.owner >= 0, owner[body.owner], -1)
        body.known[:] = False
        body.known[frames] = True
        body.rotation[frames], body.translation[frames], body.shape = fit.rotation, fit.translation, fit.shape
        body.fit, body.fit_frames, body.seen = fit, frames, seen
        good = np.bincount(seen.point[fit.residual < config.agree_px], minlength=len(used)) / np.bincount(
            seen.point, minlength=len(used))
        # frames that too little agrees with
        held = np.bincount(seen.frame[fit.residual < config.agree_px], minlength=len(frames))
        share = held / np.maximum(np.bincount(seen.frame, minlength=len(frames)), 1)
        weak = (held < MIN_SEEN) | (share < MIN_AGREE)
        if (good >= MIN_SHARE).all() and not weak.any():
            return True
        body.known[frames[weak]] = False
        drop = good < MIN_SHARE
        body.owner[np.isin(body.owner, np.flatnonzero(drop))] = -1
    return True
