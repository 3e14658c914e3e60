"""The first guess of a rigid body: the motion of three places that explains the most others (RANSAC)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.perception.multiview.config import ViewsConfig
from curate.perception.multiview.places import Places

NEIGHBOURS = 12  # the second and third place of a triple are among so many next to the first
TOLERANCE = 3.0  # standard deviations
FLOOR = 0.003  # of the distance between places, beside their own errors
MIN_SHARE = 0.7  # of a place's frames that must agree
MIN_SIDE = 8.0  # of a triple's sides, in standard deviations of its points
MOVED = 5.0  # standard deviations that a body must move


@dataclass
class Seed:
    """frames: [F]. rotation, point: [F, 3, 3], [F, 3] body to rig; places: [n] indices of those that move with it;
    shape: [n, 3] where they lie on the body."""

    frames: np.ndarray
    rotation: np.ndarray
    point: np.ndarray
    places: np.ndarray
    shape: np.ndarray


def find_seed(places: Places, free: np.ndarray, config: ViewsConfig, rng: np.random.Generator) -> Seed | None:
    """The rigid motion that most of the `free` [G] moving places follow; None where too few follow any.

    A triple's motion is fitted frame by frame (Kabsch) over the frames that it is seen in.
    """
    index = np.flatnonzero(free & places.moving)
    if len(index) < config.min_points:
        return None
    X, s = places.points[index], places.sigma[index]
    valid = np.isfinite(X[..., 0])
    best, best_score = None, 0
    for _ in range(config.max_triples):
        triple = _triple(X, valid, rng)
        if triple is None:
            continue
        frames = np.flatnonzero(valid[triple].all(0))
        if len(frames) < config.min_frames or not _is_stiff(X[triple][:, frames], s[triple][:, frames]):
            continue
        seed = _fit(X, s, valid, np.array(triple), frames)
        if seed is None or len(seed.places) < config.min_points:
            continue
        score = int(valid[seed.places][:, frames].sum())
        if score > best_score:
            best, best_score = seed, score
    if best is None:
        return None
    for _ in range(3):  # by all that agree, over all frames where enough of them are seen
        frames = np.flatnonzero(valid[best.places].sum(0) >= 4)
        if len(frames) < config.min_frames:
            break
        again = _fit(X, s, valid, best.places, frames)
        if again is None or len(again.places) < len(best.places):
            break
        best = again
    moved = np.linalg.norm(best.point - best.point[0], axis=1).max()
    turned = np.linalg.norm(best.rotation - best.rotation[0], axis=(1, 2)).max() * np.linalg.norm(
        best.shape - best.shape.mean(0), axis=1).max()
    if max(moved, turned) < MOVED * np.nanmedian(s[best.places]):
        return None
    best.places = index[best.places]
    return best


def _triple(X: np.ndarray, valid: np.ndarray, rng: np.random.Generator) -> list[int] | None:
    first = int(rng.integers(len(X)))
    frame = int(rng.choice(np.flatnonzero(valid[first])))
    there = np.flatnonzero(valid[:, frame])
    away = np.linalg.norm(X[there, frame] - X[first, frame], axis=1)
    near = there[np.argsort(away, kind="stable")][1:NEIGHBOURS + 1]
    if len(near) < 2:
        return None
    return [first, *(int(k) for k in rng.choice(near, 2, replace=False))]


def _is_stiff(X: np.ndarray, s: np.ndarray) -> bool:
    """Whether three points [3, F, 3] keep their distances, which are long beside their errors [3, F]."""
    for a, b in ((0, 1), (0, 2), (1, 2)):
        length = np.linalg.norm(X[a] - X[b], axis=1)
        error = np.hypot(s[a], s[b])
        middle = np.median(length)
        if middle < MIN_SIDE * np.median(error):
            return False
        if np.mean(np.abs(length - middle) < TOLERANCE * error + FLOOR * middle) < MIN_SHARE:
            return False
    side = X[1:] - X[0]
    height = np.linalg.norm(np.cross(side[0], side[1]), axis=1) / np.linalg.norm(side[0], axis=1)
    return bool(np.median(height) > MIN_SIDE * np.median(s))


def _fit(X: np.ndarray, s: np.ndarray, valid: np.ndarray, chosen: np.ndarray, frames: np.ndarray) -> Seed | None:
    """Motion of the chosen places over `frames`, and all places that follow it."""
    shape = _mean_shape(X, valid, chosen, frames)
    if shape is None:
        return None
    known = np.isfinite(shape[:, 0])
    chosen, shape = chosen[known], shape[known]
    if len(chosen) < 3:
        return None
    target, seen = X[chosen][:, frames], valid[chosen][:, frames]
    rotation, point = kabsch(shape, np.where(seen[..., None], target, 0), seen)
    local = np.einsum("fji,gfj->gfi", rotation, X[:, frames] - point)
    sigma = s[:, frames]
    weight = np.where(valid[:, frames], 1 / np.maximum(sigma, 1e-6) ** 2, 0)
    enough = valid[:, frames].sum(1) >= 4
    with np.errstate(invalid="ignore"):
        middle = np.full((len(X), 3), np.nan)
        middle[enough] = np.nanmedian(np.where(valid[:, frames][enough][..., None], local[enough], np.nan), axis=1)
        away = np.linalg.norm(local - middle[:, None], axis=2)
        arm = np.linalg.norm(middle - shape.mean(0), axis=1)[:, None]
        ok = (away < TOLERANCE * sigma + FLOOR * arm * 3) & valid[:, frames]
    share = ok.sum(1) / np.maximum(valid[:, frames].sum(1), 1)
    follow = np.flatnonzero(enough & (share >= MIN_SHARE) & (weight.sum(1) > 0))
    if len(follow) < 3:
        return None
    return Seed(frames, rotation, point, follow, middle[follow])


def _mean_shape(X, valid, chosen, frames) -> np.ndarray | None:
    """[n, 3] the chosen places in the axes of the frame where most of them are seen, averaged over frames."""
    seen = valid[chosen][:, frames]
    base = int(seen.sum(0).argmax())
    shape = np.where(seen[:, base, None], X[chosen, frames[base]], np.nan)
    for _ in range(2):
        known = np.isfinite(shape[:, 0])
        if known.sum() < 3:
            return None
        use = seen & known[:, None]
        enough = use.sum(0) >= 3
        if not enough.any():
            return None
        target = np.where(use[..., None], X[chosen][:, frames], 0)[:, enough]
        rotation, point = kabsch(np.where(known[:, None], shape, 0), target, use[:, enough])
        local = np.einsum("fji,gfj->gfi", rotation, X[chosen][:, frames[enough]] - point)
        there = seen[:, enough]
        shape = np.full((len(chosen), 3), np.nan)
        some = there.any(1)
        shape[some] = np.nanmedian(np.where(there[some][..., None], local[some], np.nan), axis=1)
    return shape


def kabsch(shape: np.ndarray, target: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations [F, 3, 3] and translations [F, 3] that bring `shape` [n, 3] nearest to `target` [n, F, 3] where `seen`
    [n, F] (Kabsch 1976)."""
    w = seen / np.maximum(seen.sum(0), 1)
    from_mean = np.einsum("nf,ni->fi", w, shape)
    to_mean = np.einsum("nf,nfi->fi", w, target)
    a = shape[:, None] - from_mean
    b = target - to_mean
    H = np.einsum("nf,nfi,nfj->fij", w, a, b)
    u, _, vt = np.linalg.svd(H)
    flip = np.linalg.det(np.swapaxes(vt, 1, 2) @ np.swapaxes(u, 1, 2))
    vt[:, 2] *= flip[:, None]
    rotation = np.swapaxes(vt, 1, 2) @ np.swapaxes(u, 1, 2)
    return rotation, to_mean - (rotation @ from_mean[..., None])[..., 0]
