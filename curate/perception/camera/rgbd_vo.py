"""Camera motion of one view whose depth is given: `stereo_vo` with disparities read from the field instead of matched.

Nothing pretends to be a right image. Features are tracked and matched in the one view as they are there, and what a
second view would have told of each, its disparity in the (virtual) rig, is taken from the depth the source gives, with
the sigma that the source states for it. Consensus of motions, bundle adjustment and covariances by the residuals are
the same, and so are the coefficients of `stereo-vo` for what features err alike.

Not Open3D's RGB-D odometry: it sums in no fixed order, so that two runs over the same eight frames were 1.7 mm apart,
and the same input must give the same scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.poses import Pose
from curate.geometry.rotations import log_so3
from curate.geometry.trajectories import steps
from curate.perception.camera.keeping import Memory
from curate.perception.camera.stereo_vo import Odometry, StereoVo
from curate.perception.estimator import Field, Resources, Window

SAME_SURFACE_PX, SAME_SURFACE_SHARE = 1.0, 0.03  # the four pixels about a feature differ by less, or it is on an edge
LEAST_SIGMA_PX = 0.02


@dataclass
class GivenDisparity:
    """Of one frame, [H, W]: pixels of disparity in the virtual rig."""

    values: np.ndarray
    sigma: np.ndarray
    valid: np.ndarray

    def at(self, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Disparity and sigma [N] at positions [N, 2], bilinear, and where all four pixels are of one surface."""
        height, width = self.valid.shape
        column, row = np.floor(uv).astype(int).T
        inside = (column >= 0) & (row >= 0) & (column < width - 1) & (row < height - 1)
        column, row = np.clip(column, 0, width - 2), np.clip(row, 0, height - 2)
        corner = row[:, None] + [0, 0, 1, 1], column[:, None] + [0, 1, 0, 1]
        known = self.valid[corner].all(1) & inside
        a, b = uv[:, 0] - column, uv[:, 1] - row
        weight = np.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b], -1)
        level = np.where(known[:, None], self.values[corner], 1.0)
        spread = np.where(known[:, None], self.sigma[corner], 1.0)
        known &= np.ptp(level, axis=1) < np.maximum(SAME_SURFACE_PX, SAME_SURFACE_SHARE * level.mean(1))
        sigma = np.maximum((weight * spread).sum(1), LEAST_SIGMA_PX)
        return (weight * level).sum(1).astype(float), sigma.astype(float), known


class RgbdVo(StereoVo):
    """See the module. Needs `disparity` as the source gives it; gives `camera`."""

    name = "rgbd-vo"
    version = "1"
    needs = ("disparity",)
    resources = Resources(cpu=1.0, memory_bytes=256 << 20)

    def for_one_view(self) -> RgbdVo:
        return self

    def second(self, window: Window) -> list[GivenDisparity]:
        """
        Raises:
            ValueError: without a rig, real or virtual, in whose pixels the disparities are.
        """
        if window.rig is None:
            raise ValueError("rgbd-vo: the source gives depth but no rig; a virtual one says what its disparities are "
                             "(Frames.rig)")
        field = window.fields["disparity"]
        valid = np.isfinite(field.values) & (field.values + window.rig.doffs_px > 0.25)
        valid &= np.isfinite(field.sigma)
        if field.valid is not None:
            valid &= field.valid
        return [GivenDisparity(*frame) for frame in zip(field.values, field.sigma, valid, strict=True)]

    def odometry(self, window: Window, memory: Memory) -> Odometry:
        return _GivenOdometry(self.config, window.rig, memory, window.seed, self.error_model)

    def run(self, window: Window) -> dict[str, Field]:
        """
        Raises:
            ValueError: without a rig, or where a later window does not overlap the one before.
        """
        found = super().run(window)["camera"]
        del found.info["rig_step"]  # no second camera, no pan of it
        given = window.fields["disparity"]
        if readout_s := given.info.get("readout_s", 0.0):
            known = given.valid & (given.values > 0)
            typical = float(window.rig.depth(np.median(given.values[known]))) if known.any() else 1.0
            found.info["frame_cov"] = found.info["frame_cov"] + shutter_covariance(found.values, window, typical,
                                                                                    readout_s)
        return {"camera": found}


def shutter_covariance(poses: Pose, window: Window, depth_m: float, readout_s: float) -> np.ndarray:
    """[n, 6, 6] what a rolling shutter does to each pose by itself, to first order.

    While the rows are read, over `readout_s`, the picture moves on: the last row lies u pixels beside where the first
    would have it. That shears and stretches the picture by u over its height, half of which is taken for a turn, and
    half of that at the distance of the scene for a shift. u follows the camera's speed, which changes its sign as a
    hand shakes; so these are errors of a pose and no drift.

    Args:
        poses: `T_world_cam` of the window's frames. depth_m: typical of the scene.
    """
    num, camera = len(poses), window.camera
    share = np.zeros(num)
    if num > 1:
        step = steps(poses)
        turn = np.linalg.norm(log_so3(step.rotation), axis=-1)
        moved = camera.fx * (turn + np.linalg.norm(step.translation, axis=-1) / depth_m)  # px from frame to frame
        speed = moved / np.diff(window.time_s)
        share[:-1], share[1:] = speed, np.maximum(share[1:], speed)
    half = share * readout_s / camera.height / 2
    size = np.column_stack([np.repeat(half[:, None], 3, 1), np.repeat(half[:, None] * depth_m / 2, 3, 1)])
    return size[:, :, None] ** 2 * np.eye(6)


class _GivenOdometry(Odometry):
    """Disparities of the source. What does not lie within one surface has none."""

    blurs = np.array([1.0, 1.0, 0.0])  # a depth is measured where the feature is taken to be, whatever its texture

    def disparity(self, left, right: GivenDisparity, uv, expected):
        value, _, known = right.at(np.asarray(uv, float))
        return value, known

    def first_disparity(self, left, right: GivenDisparity, uv):
        return right.at(np.asarray(uv, float))
