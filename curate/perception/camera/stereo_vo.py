"""Camera motion of a rectified stereo pair: sparse stereo odometry with windowed bundle adjustment.

For every frame: track, match left to right, find the motion that the scattered majority agrees on. For every
window: refine its poses and points together with a few earlier frames, whose published poses are held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from curate.data import calibration
from curate.geometry.cameras import StereoRig
from curate.geometry.poses import Pose
from curate.perception.camera import features
from curate.perception.camera.bundle import Observations, bundle_adjust, project, rays
from curate.perception.camera.config import StereoVoConfig
from curate.perception.camera.consensus import find_motion
from curate.perception.camera.keeping import Live, Memory
from curate.perception.camera.response import step_responses
from curate.perception.camera.stated import stated_errors, widened_along
from curate.perception.camera.uncertainty import PoseErrors, pose_errors, residual_scale, whitened
from curate.perception.estimator import Field, Resources, Window

SAME_SCALE = 0.02  # templates within this share of their first size are matched as they are
REACH_PX = 2.5  # how far from where it was expected a feature that was not tracked may be found
MIN_INLIER_SHARE = 0.2
LOST_ROTATION_SIGMA, LOST_SPEED_SIGMA_M = 0.1, 0.5  # of a step that could not be measured
OUTLIER_DISTANCE2 = 16.3  # chi-square, 3 degrees of freedom, 0.1 %
RECORD_RANGE = (-8, 6)
DEDUPLICATE_PX = 3.0


class StereoVo:
    """See the module. Needs nothing but pixels and the rig; gives `camera`."""

    name = "stereo-vo"
    version = "5"
    needs: tuple[str, ...] = ()
    gives = ("camera",)
    overlap = 1
    resources = Resources(cpu=1.0, memory_bytes=256 << 20)

    def __init__(self, config: StereoVoConfig):
        self.config = config
        self.window = config.window
        self.error_model = calibration(StereoVo.name, StereoVo.version)

    def setup(self) -> None:
        cv2.setNumThreads(1)

    def for_one_view(self) -> StereoVo:
        """The estimator that does this without a second view, where depth is given."""
        from curate.perception.camera.rgbd_vo import RgbdVo

        return RgbdVo(self.config)

    def odometry(self, window: Window, memory: Memory) -> Odometry:
        return Odometry(self.config, window.rig, memory, window.seed, self.error_model)

    def second(self, window: Window) -> Sequence:
        """What tells disparities beside the left images, a frame each: here the right images.

        Raises:
            ValueError: without a stereo rig.
        """
        if window.rig is None or len(window.grey) < 2:
            raise ValueError("stereo-vo: expected a rectified stereo pair, got a single view; "
                             "take poses from the source or use another camera estimator")
        return window.grey[1]

    def run(self, window: Window) -> dict[str, Field]:
        """
        Raises:
            ValueError: without a stereo rig, or where a later window does not overlap the one before.
        """
        right = self.second(window)
        memory: Memory = window.carry.setdefault(self.name, Memory())
        if memory.num_frames and window.overlap < 1:
            raise ValueError(f"{self.name}: window at frame {window.start} overlaps the one before by "
                             f"{window.overlap} frames; expected at least 1")
        done = memory.num_frames - window.start
        odometry = self.odometry(window, memory)
        if not memory.num_frames:
            odometry.begin(window.grey[0][0], right[0])
            done = 1
        since = 0
        for i in range(done, window.num_frames):
            odometry.step(window.grey[0][i - 1], window.grey[0][i], right[i])
            since += 1
            if since >= max(self.config.window, 2) and i + 1 < window.num_frames:
                odometry.refine()
                since = 0
        odometry.refine()
        span = slice(window.start, window.start + window.num_frames)
        before = min(window.start, 1)  # the frame that the first step leads from
        known = slice(window.start - before, span.stop)
        path = Pose("world", "cam", np.stack(memory.rotation[known]), np.stack(memory.translation[known]))
        step_cov, frame_cov = widened_along(path, np.stack(memory.step_cov[known]), np.stack(memory.frame_cov[known]),
                                            self.error_model["along"])
        return {"camera": Field(
            path[before:], np.array(memory.valid[span]), step_cov[before:], f"{self.name}@{self.version}",
            {"residual_variance": memory.variance, "num_features": len(memory.live),
             "frame_cov": frame_cov[before:], "rig_step": np.stack(memory.rig_step[span])})}


class Odometry:
    """The work on one clip's memory. `right`: of one frame, what tells the disparities beside its left image."""

    blurs = np.ones(3)  # how much of a corner's noise is in u, v and disparity

    def __init__(self, config: StereoVoConfig, rig: StereoRig, memory: Memory, seed: int,
                 error_model: dict[str, float]):
        self.config, self.rig, self.memory, self.seed, self.error_model = config, rig, memory, seed, error_model
        fb = rig.left.fx * rig.baseline_m
        self.min_disparity = -rig.doffs_px - 2.0
        self.max_disparity = min(fb / config.min_depth_m, 0.6 * rig.left.width) - rig.doffs_px
        self.capacity = min(config.num_features, features.template_capacity((rig.left.height, rig.left.width)))

    def begin(self, left: np.ndarray, right: np.ndarray) -> None:
        """The clip's first frame is the world."""
        self._append(np.eye(3), np.zeros(3), np.zeros((6, 6)), True)
        self._find_new(left, right, 0)

    def step(self, left_before: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
        """One frame on from the last."""
        memory, config = self.memory, self.config
        frame, live = memory.num_frames, memory.live
        expected = self._expected(live.uvd)
        tracked, ok = features.track(left_before, left, live.uvd[:, :2], expected[:, :2])
        scale = (expected[:, 2] + self.rig.doffs_px) / np.maximum(live.template_disparity, 0.5)
        scale = np.where(np.abs(scale - 1) < SAME_SCALE, 1.0, scale)
        worn = (scale < features.MIN_SCALE) | (scale > features.MAX_SCALE)
        sharp, found = features.match_templates(
            live.patches, live.rest, np.clip(scale, features.MIN_SCALE, features.MAX_SCALE), left,
            np.where(ok[:, None], tracked, expected[:, :2]), np.where(ok, 1.0, REACH_PX))
        found &= ~worn
        keep = found | ok
        live, tracked, sharp, expected = live[keep], tracked[keep], sharp[keep], expected[keep]
        stale = ~found[keep]
        live = self._renewed(live, stale, left_before, frame - 1)
        uv = np.where(stale[:, None], tracked, sharp)
        disparity, ok = self.disparity(left, right, uv, expected[:, 2])
        live, before = live[ok], live.uvd[ok]
        after = np.concatenate([uv, disparity[:, None]], -1)[ok]
        motion = find_motion(self.rig, before, after, live.sigma, live.record, memory.velocity, self.seed + frame)
        if motion is None or motion.inlier.sum() < max(config.min_inliers, MIN_INLIER_SHARE * len(before)):
            self._lose(left, right, frame)
            return
        memory.velocity = (motion.rotation, motion.translation)
        self._append(*self._next_pose(), np.zeros((6, 6)), True)
        record = np.clip(live.record + np.where(motion.inlier, 1, -1), *RECORD_RANGE)
        live = replace(live, uvd=after, record=record)
        memory.see(frame, live.point[motion.inlier], after[motion.inlier], live.sigma[motion.inlier])
        memory.live = live[self._distinct(live) & (record > RECORD_RANGE[0])]
        if len(memory.live) < 0.9 * self.capacity:
            self._find_new(left, right, frame)

    def refine(self) -> None:
        """Adjusts the frames since the last refinement, with a few before them held, and publishes them."""
        memory = self.memory
        new = list(range(memory.refined, memory.num_frames))
        memory.refined = memory.num_frames
        if not new:
            return
        frames = memory.history + [f for f in new if f not in memory.history]
        held = len(memory.history)
        if held == 0:  # the first frame of the clip, or of what follows a lost one, holds the gauge
            frames = ([new[0] - 1] if new[0] - 1 >= 0 and memory.valid[new[0]] else []) + new
            held = 1
        seen = memory.all_sightings()
        local = np.full(memory.num_frames, -1)
        local[frames] = np.arange(len(frames))
        seen = seen[local[seen.frame] >= 0]
        if len(frames) > held and len(seen):
            self._adjust(frames, held, replace(seen, frame=local[seen.frame]))
        memory.forget(self.config.history)

    def _adjust(self, frames: list[int], held: int, seen: Observations) -> None:
        memory = self.memory
        rotation, translation = np.stack([memory.rotation[f] for f in frames]), np.stack(
            [memory.translation[f] for f in frames])
        fixed = np.arange(len(frames)) < held
        bundle, seen, which = self._solve(rotation, translation, fixed, seen)
        if bundle is None:
            return
        bad = bundle.distance2 > OUTLIER_DISTANCE2 * max(1.0, bundle.variance)
        if bad.any():
            self._blame(which[seen.point], bad)
            bundle, seen, which = self._solve(
                bundle.rotation, bundle.translation, fixed, replace(seen, point=which[seen.point])[~bad],
                (which, bundle.points.uvd))
            if bundle is None:
                return
        memory.variance = bundle.variance
        scale = residual_scale(whitened(self.rig, bundle, seen), seen, len(frames))
        bundle, seen, which = self._solve(
            bundle.rotation, bundle.translation, fixed,
            replace(seen, point=which[seen.point], sigma=seen.sigma * scale[seen.frame]), (which, bundle.points.uvd))
        by_pan = step_responses(self.rig, bundle, seen)
        for k in range(held, len(frames)):
            memory.rotation[frames[k]], memory.translation[frames[k]] = bundle.rotation[k], bundle.translation[k]
            memory.rig_step[frames[k]] = by_pan[k]
        self._state_errors(frames, held, pose_errors(self.rig, bundle, seen, scale))
        memory.points.uvd[which] = bundle.points.uvd
        lonely = np.ones(len(memory.born), bool)
        lonely[which] = False
        lonely &= np.isin(memory.born, frames[held:])
        memory.points.ref_rotation[lonely] = np.stack(memory.rotation)[memory.born[lonely]]
        memory.points.ref_translation[lonely] = np.stack(memory.translation)[memory.born[lonely]]
        memory.velocity = self._last_motion()

    def _state_errors(self, frames: list[int], held: int, errors: PoseErrors) -> None:
        memory = self.memory
        path = Pose("world", "cam", np.stack(memory.rotation), np.stack(memory.translation))
        stated = stated_errors(errors, frames, held, path, np.stack(memory.step_cov), np.stack(memory.frame_cov),
                               self.error_model)
        for k, step, alone in zip(frames[held:], stated.step_cov, stated.frame_cov):
            memory.step_cov[k], memory.frame_cov[k] = step, alone
        if frames[held - 1] == 0:
            memory.frame_cov[0] = stated.frame_cov_before

    def _solve(self, rotation, translation, fixed, seen: Observations, start=None) -> tuple:
        """Adjusts with the points that are seen at least twice; None where no frame can be moved by them."""
        count = np.bincount(seen.point, minlength=len(self.memory.born))
        seen = seen[count[seen.point] >= 2]
        which, compact = np.unique(seen.point, return_inverse=True)
        if len(which) < self.config.min_inliers or len(np.unique(seen.frame)) < len(fixed):
            return None, seen, which
        points = self.memory.points[which]
        if start is not None:
            points.uvd = start[1][np.searchsorted(start[0], which)]
        seen = replace(seen, point=compact)
        return bundle_adjust(self.rig, rotation, translation, fixed, points, seen), seen, which

    def _blame(self, point: np.ndarray, bad: np.ndarray) -> None:
        """Features that disagree in a third of their sightings count as movers from now on."""
        num = len(self.memory.born)
        share = np.bincount(point, bad, num) / np.maximum(np.bincount(point, minlength=num), 1)
        guilty = share[self.memory.live.point] > 0.34
        self.memory.live.record[guilty] = np.minimum(self.memory.live.record[guilty], -2)

    def _expected(self, uvd: np.ndarray) -> np.ndarray:
        """Where features [N, 3] of the last frame should be now, at constant velocity; where they were, if that is
        outside the image."""
        ray, rho = rays(self.rig, uvd)
        rotation, translation = self.memory.velocity
        q = ray @ rotation.T + rho[:, None] * translation
        out = project(self.rig, q, rho)[0]
        size = np.array([self.rig.left.width, self.rig.left.height])
        sane = (q[:, 2] > 0.05) & (out[:, :2] >= 0).all(-1) & (out[:, :2] < size).all(-1)
        return np.where(sane[:, None], out, uvd)

    def _renewed(self, live: Live, stale: np.ndarray, image: np.ndarray, frame: int) -> Live:
        """Stale features become new ones, born in the last frame with a template from there."""
        if not stale.any():
            return live
        old = live[stale]
        patches, rest = features.cut_templates(image, old.uvd[:, :2])
        point = self.memory.add_points(old.uvd, frame)
        trusted = old.record > 0
        self.memory.see(frame, point[trusted], old.uvd[trusted], old.sigma[trusted])
        live = live[np.arange(len(live))]
        live.point[stale], live.patches[stale], live.rest[stale] = point, patches, rest
        live.template_disparity[stale] = old.uvd[:, 2] + self.rig.doffs_px
        return live

    def _find_new(self, left: np.ndarray, right: np.ndarray, frame: int) -> None:
        """Fills the grid with new corners that have a unique match in the right image."""
        memory, config = self.memory, self.config
        uv, strength = features.detect(left, memory.live.uvd[:, :2], self.capacity, config.grey_noise)
        room = self.capacity - len(memory.live)
        if len(uv) > room:
            best = np.sort(np.argsort(-strength, kind="stable")[:room])
            uv, strength = uv[best], strength[best]
        disparity, by_depth, ok = self.first_disparity(left, right, uv)
        uvd = np.concatenate([uv, disparity[:, None]], -1)[ok].astype(float)
        noise = features.localisation_sigma(strength[ok], config.grey_noise)
        floor = np.column_stack([np.broadcast_to(config.track_sigma_px, (len(uvd), 2)), by_depth[ok]])
        sigma = np.hypot(noise[:, None] * self.blurs, floor)
        patches, rest = features.cut_templates(left, uvd[:, :2])
        point = memory.add_points(uvd, frame)
        memory.see(frame, point, uvd, sigma)
        memory.live = memory.live.joined(
            Live(point, uvd, sigma, patches, rest, uvd[:, 2] + self.rig.doffs_px, np.zeros(len(point))))

    def disparity(self, left, right, uv: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Disparity [N] at left positions [N, 2], about as expected [N], and where it was found."""
        return features.match_right(left, right, uv, expected)

    def first_disparity(self, left, right, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Disparity [N] at left positions [N, 2] of which nothing is known, least sigma [N] px, where it was found."""
        disparity = features.search_right(left, right, uv, self.min_disparity, self.max_disparity)
        known = np.isfinite(disparity)
        found = known.copy()
        disparity[known], found[known] = features.match_right(left, right, uv[known], disparity[known])
        return disparity, np.full(len(uv), self.config.disparity_sigma_px), found

    def _distinct(self, live: Live) -> np.ndarray:
        """Of features that ran onto one spot, the one with the best record."""
        spot = np.floor(live.uvd[:, :2] / DEDUPLICATE_PX).astype(int)
        order = np.argsort(-live.record, kind="stable")
        _, first = np.unique(spot[order], axis=0, return_index=True)
        keep = np.zeros(len(live), bool)
        keep[order[first]] = True
        return keep

    def _lose(self, left: np.ndarray, right: np.ndarray, frame: int) -> None:
        """A frame that cannot be tied to the last: constant velocity, large covariance, a fresh start."""
        self.refine()
        rotation, translation = self._next_pose()
        reach = LOST_SPEED_SIGMA_M + np.linalg.norm(self.memory.velocity[1])
        self._append(rotation, translation, np.diag([LOST_ROTATION_SIGMA**2] * 3 + [reach**2] * 3), False)
        self.memory.restart()
        self.memory.refined = self.memory.num_frames
        self._find_new(left, right, frame)
        self.memory.history = [frame]

    def _append(self, rotation, translation, step_cov, valid: bool) -> None:
        self.memory.rotation.append(rotation)
        self.memory.translation.append(translation)
        self.memory.step_cov.append(step_cov)
        self.memory.frame_cov.append(np.zeros((6, 6)))
        self.memory.rig_step.append(np.zeros(6))
        self.memory.valid.append(valid)

    def _next_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """The last pose moved on by the velocity (p_after = R p_before + t, so the camera moves by its inverse)."""
        r, t = self.memory.velocity
        last_r, last_t = self.memory.rotation[-1], self.memory.translation[-1]
        return last_r @ r.T, last_t - last_r @ (r.T @ t)

    def _last_motion(self) -> tuple[np.ndarray, np.ndarray]:
        r0, r1 = self.memory.rotation[-2:]
        t0, t1 = self.memory.translation[-2:]
        return r1.T @ r0, r1.T @ (t0 - t1)
