"""One rigid motion for the 3D tracks of a body, with the covariance of where it is in each frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3
from curate.sources.stereo4d_groups import StereoNoise, in_image

MIN_SEEN = 6  # tracks, for a frame to count
ROUNDS = 4  # of places on the body and poses in turn
STEPS = 2  # of Gauss and Newton for one pose
OUTLIER = 3.0  # standard deviations from which a track's weight falls
TURN_STEP_RAD = 0.1  # standard deviation of the turn between two frames, where the tracks do not tell
TURN_GAIN = 4.0  # a turn is believed where each of its numbers lowers the misfit by this much
FIRST_SHARE = 0.3  # of the most that is ever seen of a body, for the frame where it is defined
PATCH_PX = 16.0  # tracks within such a square share their error
LEAST_SCALE = 0.1  # of stated errors; published tracks are smoothed, and look better than they are


@dataclass(frozen=True)
class Body:
    """x_j(t) = R_t (P_j − c) + c + d_t, in the world; at `first` R = I and d = 0.

    Attributes:
        first: the frame where it is defined. seen: [T] bool.
        places: [n, 3] P, nan of a track that was never placed. centre: [3] c.
        rotation: [T, 3, 3] R. shift: [T, 3] d. Both as at the last frame seen where it is not.
        covariance: [T, 6, 6] of (turn, shift): what the tracks of each frame tell by themselves.
        explained: share of the observations that this motion explains.
    """

    first: int
    seen: np.ndarray
    places: np.ndarray
    centre: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray
    covariance: np.ndarray
    explained: float


def fit(tracks: np.ndarray, poses: Pose, noise: StereoNoise, limit: float, may_turn: bool = True) -> Body | None:
    """The body whose tracks these are; None where fewer than two frames see enough of them.

    Args:
        tracks: [n, T, 3] metres in the world, nan where not observed.
        limit: standard deviations within which an observation is explained.
        may_turn: without it the body only shifts.
    """
    there = np.isfinite(tracks[..., 0])
    seen = there.sum(0) >= min(MIN_SEEN, len(tracks))
    area = _areas(tracks, there, poses, noise)
    seen[: int(np.argmax(seen & (area >= FIRST_SHARE * area.max())))] = False  # it is still coming into view
    if seen.sum() < 2:
        return None
    problem = _Problem(tracks, there, seen, poses, noise)
    straight = problem.solve(turns=False)
    best = straight
    if may_turn:
        turned = problem.solve(turns=True)
        scale = max(turned.misfit / max(turned.dof, 1), LEAST_SCALE**2)
        if straight.misfit - turned.misfit > TURN_GAIN * 3 * (seen.sum() - 1) * scale:
            best = turned
    return problem.body(best, limit)


def _areas(tracks: np.ndarray, there: np.ndarray, poses: Pose, noise: StereoNoise) -> np.ndarray:
    """[T] how far the tracks that are seen spread, m² up to a factor. (Their number says little: tracks are begun anew
    all the time.)"""
    out = np.zeros(tracks.shape[1])
    for t in np.flatnonzero(there.sum(0) > 2):
        at = in_image(tracks[there[:, t], t], poses[int(t)], noise)
        out[t] = np.sqrt(max(np.linalg.det(np.cov(at[:, :2].T)), 0)) / np.median(at[:, 2]) ** 2
    return out


@dataclass
class _Solution:
    places: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray
    misfit: float
    dof: int


class _Problem:
    def __init__(self, tracks: np.ndarray, there: np.ndarray, seen: np.ndarray, poses: Pose,
                 noise: StereoNoise) -> None:
        self.tracks, self.there, self.seen, self.poses, self.noise = tracks, there, seen, poses, noise
        self.first = int(np.argmax(seen))
        self.centre = tracks[there[:, self.first], self.first].mean(0)
        self.sight = tracks - poses.translation[None]
        reach = np.linalg.norm(self.sight, axis=-1)
        along, across = noise.sigmas(reach)
        self.ray = self.sight / np.maximum(reach, 1e-9)[..., None]
        self.across, self.along = across**-2, along**-2  # information
        self.frames = np.flatnonzero(seen)

    def solve(self, turns: bool) -> _Solution:
        """Poses and places in turn, from the first frame on."""
        num, num_frames = self.tracks.shape[:2]
        rotation, shift = np.tile(np.eye(3), (num_frames, 1, 1)), np.zeros((num_frames, 3))
        places = np.where(self.there[:, self.first, None], self.tracks[:, self.first], np.nan)
        for round_ in range(ROUNDS):
            before = self.first
            for t in self.frames:
                if round_ == 0:
                    rotation[t], shift[t] = rotation[before], shift[before]
                known = self.there[:, t] & np.isfinite(places[:, 0])
                if known.sum() >= 3:
                    self._pose(t, known, places, rotation, shift, turns, before)
                if round_ == 0:  # tracks that come in later are placed by the pose of their first frame
                    new = self.there[:, t] & ~np.isfinite(places[:, 0])
                    places[new] = self._back(self.tracks[new, t], rotation[t], shift[t])
                before = t
            places = self._places(rotation, shift)
            places, rotation, shift = self._gauge(places, rotation, shift)
        off = self._off(places, rotation, shift)[:, self.frames]
        size = self.noise.size(off, self.sight[:, self.frames])
        size = size[np.isfinite(size)]
        dof = 3 * len(size) - 3 * num - (6 if turns else 3) * (len(self.frames) - 1)
        return _Solution(places, rotation, shift, float(np.minimum(size**2, OUTLIER**2).sum()), dof)

    def _back(self, points: np.ndarray, rotation: np.ndarray, shift: np.ndarray) -> np.ndarray:
        return (points - self.centre - shift) @ rotation + self.centre

    def _off(self, places: np.ndarray, rotation: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """[n, T, 3] observed less predicted, nan where not observed or not seen."""
        predicted = np.einsum("tij,nj->nti", rotation, places - self.centre) + self.centre + shift
        return np.where((self.there & self.seen)[..., None], self.tracks - predicted, np.nan)

    def _information(self, t: int, known: np.ndarray, places: np.ndarray, rotation: np.ndarray, shift: np.ndarray,
                     turns: bool) -> tuple[np.ndarray, np.ndarray]:
        """Normal matrix [6, 6] and right side [6] of the pose's change (turn, shift)."""
        arm = (places[known] - self.centre) @ rotation.T
        off = self.tracks[known, t] - arm - self.centre - shift
        size = self.noise.size(off, self.sight[known, t])
        weight = 1 / (1 + (size / OUTLIER) ** 2) ** 2  # Geman and McClure: drifted tracks do not pull
        across, along, ray = self.across[known, t] * weight, self.along[known, t] * weight, self.ray[known, t]
        inverse = across[:, None, None] * np.eye(3) + (along - across)[:, None, None] * ray[:, :, None] * ray[:, None]
        jacobian = np.zeros((len(arm), 3, 6))
        jacobian[:, :, 3:] = np.eye(3)
        if turns:
            x, y, z = arm.T
            jacobian[:, 0, 1], jacobian[:, 0, 2] = z, -y  # −[arm]×
            jacobian[:, 1, 0], jacobian[:, 1, 2] = -z, x
            jacobian[:, 2, 0], jacobian[:, 2, 1] = y, -x
        weighted = np.einsum("nij,nik->njk", inverse, jacobian)
        return np.einsum("nij,nik->jk", weighted, jacobian), np.einsum("nij,ni->j", weighted, off)

    def _pose(self, t: int, known: np.ndarray, places: np.ndarray, rotation: np.ndarray, shift: np.ndarray, turns: bool,
              before: int) -> None:
        for _ in range(STEPS):
            normal, right = self._information(t, known, places, rotation[t], shift[t], turns)
            if turns and t != before:
                normal[:3, :3] += np.eye(3) / (TURN_STEP_RAD**2 * abs(t - before))
            normal[:3, :3] += np.eye(3) * (1e-9 * np.trace(normal[3:, 3:]) if turns else 1.0)
            change = np.linalg.solve(normal, right)
            rotation[t], shift[t] = exp_so3(change[:3]) @ rotation[t], shift[t] + change[3:]

    def _places(self, rotation: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """[n, 3] mean of where each track's observations put it on the body."""
        used = self.there & self.seen
        back = np.einsum("tji,ntj->nti", rotation, self.tracks - self.centre - shift) + self.centre
        weight = np.where(used, self.along, 0)
        with np.errstate(invalid="ignore"):
            return np.where(used[..., None], back * weight[..., None], 0).sum(1) / weight.sum(1)[:, None]

    def _gauge(self, places: np.ndarray, rotation: np.ndarray, shift: np.ndarray):
        """The same motion with R = I and d = 0 at the first frame."""
        R, d = rotation[self.first].copy(), shift[self.first].copy()
        places = (places - self.centre) @ R.T + self.centre + d
        rotation = rotation @ R.T
        return places, rotation, shift - np.einsum("tij,j->ti", rotation, d)

    def body(self, solution: _Solution, limit: float) -> Body:
        size = self.noise.size(self._off(solution.places, solution.rotation, solution.shift), self.sight)
        scale = max(solution.misfit / max(solution.dof, 1), LEAST_SCALE**2)
        num_frames = len(self.seen)
        covariance = np.zeros((num_frames, 6, 6))
        rotation, shift = solution.rotation.copy(), solution.shift.copy()
        for t in range(num_frames):
            if not self.seen[t]:
                before = max((k for k in self.frames if k < t), default=self.first)
                rotation[t], shift[t], covariance[t] = rotation[before], shift[before], covariance[before]
                continue
            known = self.there[:, t] & np.isfinite(solution.places[:, 0])
            normal, _ = self._information(t, known, solution.places, rotation[t], shift[t], turns=True)
            normal[:3, :3] += np.eye(3) / TURN_STEP_RAD**2
            covariance[t] = np.linalg.inv(normal) * scale * self._alike(t, known)
        counted = np.isfinite(size)
        return Body(self.first, self.seen, solution.places, self.centre, rotation, shift, covariance,
                    float((size[counted] <= limit).mean()))

    def _alike(self, t: int, known: np.ndarray) -> float:
        """Tracks to one with an error of its own."""
        cam = (self.tracks[known, t] - self.poses.translation[t]) @ self.poses.rotation[t]
        cell = np.floor(self.noise.focal_px * cam[:, :2] / np.maximum(cam[:, 2:], 1e-3) / PATCH_PX)
        return len(cam) / len(np.unique(cell, axis=0))
