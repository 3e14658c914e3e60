"""Features of a stereo clip followed over a few dozen frames, each sighting with its row in the right image too.

The camera's motion is found on the way, with the rig taken as published, to tell movers from the world.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from curate.geometry.cameras import StereoRig
from curate.perception.camera import features
from curate.perception.camera.bundle import project, rays
from curate.perception.camera.consensus import find_motion
from curate.perception.rig.config import RigConfig
from curate.sources.base import Frames

GREY_NOISE = 2.0
TRACK_SIGMA_PX, DISPARITY_SIGMA_PX = 0.08, 0.10
MIN_DEPTH_M = 0.8
REACH_PX = 2.5
ROW_REACH_PX = 3.0  # rows within which left and right are matched, about the shift found at first
ROW_SHIFTS = (0, -4, 4, -8, 8)  # whole rows that are tried at first
FLOW_PER_STEP = 0.03  # of the width; frames are skipped up to this
MIN_INLIERS = 12


@dataclass
class Sightings:
    """m sightings of L points in F frames, and the camera's motion as first found.

    uv: [m, 2] left image, px. right: [m, 2] right image, px. sigma: [m, 3] of u, v, disparity, px.
    rotation, translation: [F, 3, 3], [F, 3] T_world_cam; born: [L] frame that first saw the point.
    segment: [F] frames that the motion ties together carry one number.
    """

    frame: np.ndarray
    point: np.ndarray
    uv: np.ndarray
    right: np.ndarray
    sigma: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    segment: np.ndarray
    born: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def where(self, keep: np.ndarray) -> Sightings:
        return replace(self, **{name: getattr(self, name)[keep] for name in ("frame", "point", "uv", "right", "sigma")})


def chosen_frames(frames: Frames, config: RigConfig) -> np.ndarray:
    """Frames to look at: all of a short clip; of a long one as many, evenly apart about its middle, as far apart as
    the flow allows."""
    total, num = frames.num_frames, config.num_frames
    if total <= num:
        return np.arange(total)
    middle = total // 2
    left = [_grey(image) for image in frames.read(middle - 1, middle + 1)[0]]
    uv, _ = features.detect(left[0], np.zeros((0, 2)), 100, GREY_NOISE)
    after, ok = features.track(left[0], left[1], uv, uv)
    flow = float(np.median(np.linalg.norm(after - uv, axis=-1)[ok])) if ok.any() else 0.0
    apart = int(np.clip(FLOW_PER_STEP * left[0].shape[1] / max(flow, 1e-3), 1, total // num))
    return middle - apart * (num // 2) + apart * np.arange(num)


def follow(frames: Frames, config: RigConfig, seed: int) -> Sightings:
    """Sightings over the chosen frames of a clip. Deterministic; one frame is in memory at a time.

    Raises:
        BadInput: where the media cannot be decoded.
    """
    cv2.setNumThreads(1)
    follower = _Follower(frames.rig, config, seed)
    for index in chosen_frames(frames, config):
        left, right = (_grey(view[0]) for view in frames.read(int(index), int(index) + 1)[:2])
        follower.step(left, right)
    return follower.finish()


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


@dataclass
class _Live:
    """Features [N] of the last frame. `uvd` disparity as matched; `rows` right row minus left."""

    point: np.ndarray
    uvd: np.ndarray
    rows: np.ndarray
    sigma: np.ndarray
    patches: np.ndarray
    rest: np.ndarray
    first_disparity: np.ndarray
    record: np.ndarray

    def __getitem__(self, index) -> _Live:
        return _Live(*(value[index] for value in vars(self).values()))

    def __len__(self) -> int:
        return len(self.point)

    def joined(self, other: _Live) -> _Live:
        return _Live(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(other).values())))


class _Follower:
    def __init__(self, rig: StereoRig, config: RigConfig, seed: int) -> None:
        self.rig, self.seed = rig, seed
        self.capacity = config.num_features
        self.max_disparity = min(rig.left.fx * rig.baseline_m / MIN_DEPTH_M, 0.6 * rig.left.width) - rig.doffs_px
        self.shift: int | None = None  # whole rows that the right image lies lower
        self.before: np.ndarray | None = None
        self.live: _Live | None = None
        self.num_points = 0
        self.velocity = (np.eye(3), np.zeros(3))
        self.rotation, self.translation, self.segment = [], [], []
        self.seen: list[tuple] = []
        self.born: list[np.ndarray] = []

    def step(self, left: np.ndarray, right: np.ndarray) -> None:
        frame = len(self.rotation)
        if self.shift is None:
            self.shift = self._whole_rows(left, right)
        right = _moved_up(right, self.shift)
        moved = self.live is not None and self._track(left, right, frame)
        if not moved:
            last = self.segment[-1] if self.segment else -1
            self.rotation.append(np.eye(3))
            self.translation.append(np.zeros(3))
            self.segment.append(last + 1)
            self.velocity = (np.eye(3), np.zeros(3))
            self.live = None
        if self.live is None or len(self.live) < 0.85 * self.capacity:
            self._find_new(left, right, frame)
        self.before = left

    def _track(self, left, right, frame: int) -> bool:
        live, rig = self.live, self.rig
        ray, rho = rays(rig, live.uvd)
        expected = project(rig, ray @ self.velocity[0].T + rho[:, None] * self.velocity[1], rho)[0]
        size = np.array([rig.left.width, rig.left.height])
        sane = (expected[:, :2] >= 0).all(-1) & (expected[:, :2] < size).all(-1)
        expected = np.where(sane[:, None], expected, live.uvd)
        tracked, ok = features.track(self.before, left, live.uvd[:, :2], expected[:, :2])
        scale = (expected[:, 2] + rig.doffs_px) / np.maximum(live.first_disparity + rig.doffs_px, 0.5)
        worn = (scale < features.MIN_SCALE) | (scale > features.MAX_SCALE)
        scale = np.where(np.abs(scale - 1) < 0.02, 1.0, np.clip(scale, features.MIN_SCALE, features.MAX_SCALE))
        uv, found = _match_templates(live, scale, left, np.where(ok[:, None], tracked, expected[:, :2]),
                                     np.where(ok, 1.0, REACH_PX))
        there, matched = _match_right(left, right, uv, expected[:, 2], live.rows - self.shift)
        keep = found & ~worn & matched
        live, uv, there = live[keep], uv[keep].astype(float), there[keep]
        after = np.column_stack([uv, uv[:, 0] - there[:, 0]])
        motion = find_motion(rig, live.uvd, after, live.sigma, live.record, self.velocity, self.seed + frame)
        if motion is None or motion.inlier.sum() < max(MIN_INLIERS, 0.2 * len(live)):
            return False
        self.velocity = (motion.rotation, motion.translation)
        back = motion.rotation.T
        self.rotation.append(self.rotation[-1] @ back)
        self.translation.append(self.translation[-1] - self.rotation[-1] @ motion.translation)
        self.segment.append(self.segment[-1])
        live.uvd, live.rows = after, there[:, 1] - uv[:, 1] + self.shift
        live.record = np.clip(live.record + np.where(motion.inlier, 1, -1), -4, 4)
        self._see(frame, live[motion.inlier])
        self.live = live[live.record > -3]
        return True

    def _find_new(self, left, right, frame: int) -> None:
        existing = self.live.uvd[:, :2] if self.live is not None else np.zeros((0, 2))
        uv, strength = features.detect(left, existing, self.capacity, GREY_NOISE)
        room = max(self.capacity - len(existing), 0)
        if len(uv) > room:
            best = np.sort(np.argsort(-strength, kind="stable")[:room])
            uv, strength = uv[best], strength[best]
        rough = features.search_right(left, right, uv, -self.rig.doffs_px - 2.0, self.max_disparity)
        known = np.isfinite(rough)
        uv, strength = uv[known], strength[known]
        there, ok = _match_right(left, right, uv, rough[known], np.zeros(len(uv)))
        uv, strength, there = uv[ok].astype(float), strength[ok], there[ok]
        noise = features.localisation_sigma(strength, GREY_NOISE)[:, None]
        sigma = np.hypot(noise, [TRACK_SIGMA_PX, TRACK_SIGMA_PX, DISPARITY_SIGMA_PX])
        patches, rest = features.cut_templates(left, uv)
        disparity = uv[:, 0] - there[:, 0]
        point = self.num_points + np.arange(len(uv))
        self.num_points += len(uv)
        self.born.append(np.full(len(uv), frame))
        new = _Live(point, np.column_stack([uv, disparity]), there[:, 1] - uv[:, 1] + self.shift, sigma, patches, rest,
                    disparity, np.zeros(len(uv)))
        self._see(frame, new)
        self.live = new if self.live is None else self.live.joined(new)

    def _see(self, frame: int, live: _Live) -> None:
        uv = live.uvd[:, :2]
        right = np.column_stack([uv[:, 0] - live.uvd[:, 2], uv[:, 1] + live.rows])
        self.seen.append((np.full(len(live), frame), live.point.copy(), uv.copy(), right, live.sigma.copy()))

    def _whole_rows(self, left, right) -> int:
        """Rows, to a few, by which the right image lies lower: where most features find a match."""
        uv, _ = features.detect(left, np.zeros((0, 2)), 120, GREY_NOISE)
        found = [np.isfinite(features.search_right(left, _moved_up(right, s), uv, -self.rig.doffs_px - 2.0,
                                                   self.max_disparity)).sum() for s in ROW_SHIFTS]
        best = int(np.argmax(found))
        return ROW_SHIFTS[best] if found[best] > 1.2 * found[0] else 0

    def finish(self) -> Sightings:
        parts = [np.concatenate(part) for part in zip(*self.seen)]
        return Sightings(*parts, np.stack(self.rotation), np.stack(self.translation), np.array(self.segment),
                         np.concatenate(self.born))


def _moved_up(image: np.ndarray, rows: int) -> np.ndarray:
    """The image moved up by whole rows; what comes in at the border repeats the last row."""
    if rows == 0:
        return image
    index = np.clip(np.arange(image.shape[0]) + rows, 0, image.shape[0] - 1)
    return np.ascontiguousarray(image[index])


def _match_templates(live: _Live, scale, image, guess, reach) -> tuple[np.ndarray, np.ndarray]:
    """As `features.match_templates`, of as many as there are."""
    room = features.template_capacity(image.shape)
    parts = [features.match_templates(live.patches[s], live.rest[s], scale[s], image, guess[s], reach[s])
             for s in (slice(k, k + room) for k in range(0, max(len(live), 1), room))]
    return tuple(np.concatenate(part) for part in zip(*parts))


def _match_right(left, right, points, disparity, rows) -> tuple[np.ndarray, np.ndarray]:
    """Right positions [N, 2] of left ones near a disparity and a row offset, and which are matched both ways."""
    if not len(points):
        return np.zeros((0, 2)), np.zeros(0, bool)
    p = np.ascontiguousarray(points, np.float32)
    start = np.column_stack([p[:, 0] - disparity, p[:, 1] + rows]).astype(np.float32)
    flags = cv2.OPTFLOW_USE_INITIAL_FLOW
    there, ok, _ = cv2.calcOpticalFlowPyrLK(left, right, p, start.copy(), winSize=features.STEREO_WINDOW, maxLevel=1,
                                            flags=flags, **features.LK)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(right, left, there, p.copy(), winSize=features.STEREO_WINDOW,
                                                maxLevel=0, flags=flags, **features.LK)
    size = np.array([right.shape[1], right.shape[0]])
    good = ((ok[:, 0] > 0) & (ok_back[:, 0] > 0) & (np.abs(there[:, 1] - p[:, 1]) < ROW_REACH_PX)
            & (np.linalg.norm(back - p, axis=-1) < features.FORWARD_BACKWARD_PX)
            & (np.linalg.norm(there - start, axis=-1) < 4.0) & (there >= 4).all(-1) & (there < size - 4).all(-1))
    return there.astype(float), good
