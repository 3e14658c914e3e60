"""Joint draws of a scene: camera, every region's path and the scale, from one set of errors.

Sources of error, by name:
    own    of the region alone: frame noise and drift of its track
    rig    shared by all frames of the region (a bias of disparity), and the pan that is left between the two cameras,
           shared by the camera and all regions
    pose   of the camera's motion, accumulated from its steps, shared by the camera and all regions
    scale  of the baseline, shared by every length

Errors act to first order: a step's small turn w at frame k moves everything seen after it by w × (X − c_k).
"""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np

from curate.geometry.rotations import exp_so3, skew
from curate.measure.rig_effect import pan_of_path, pan_of_points, pan_turns
from curate.measure.smoothing import PathPosterior, PathSmoother
from curate.scene import Region, Scene

NUM_DRAWS = 1024
NUM_PARTS = 128
# Degrees of freedom of Student's t, scaled to the stated variance: regions err by different amounts that nothing in
# them tells (a patch that slides, a piece of something else), so that most err less than stated and a few far more.
TAIL = 4.0


def ray_root(covariance: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Square roots [T, 3, 3] that carry one error through all frames, m.

    The symmetric root is taken in axes turned with the viewing ray, so that a bias along the ray (disparity)
    stays along it while the region moves through the image. `point` [T, 3] and `covariance` in camera axes.
    """
    ray = point / np.linalg.norm(point, axis=-1, keepdims=True)
    forward = np.array([0.0, 0, 1])
    axis = np.cross(forward, ray)
    # shortest turn from z to the ray: R = I + [v]x + [v]x² / (1 + c); rays point forward, so 1 + c > 0
    v = skew(axis)
    turn = np.eye(3) + v + v @ v / (1 + ray[:, 2])[:, None, None]
    inside = np.swapaxes(turn, -1, -2) @ covariance @ turn
    value, vector = np.linalg.eigh((inside + np.swapaxes(inside, -1, -2)) / 2)
    root = (vector * np.sqrt(np.clip(value, 0, None))[:, None, :]) @ np.swapaxes(vector, -1, -2)
    return turn @ root


def _root(covariance: np.ndarray) -> np.ndarray:
    """A square root [n, k, k] of covariances, singular ones too."""
    value, vector = np.linalg.eigh(covariance)
    return vector * np.sqrt(np.clip(value, 0, None))[:, None, :]


def calm(values: np.ndarray, time_s: np.ndarray, degree: int = 3, from_zero: bool = False) -> np.ndarray:
    """Least-squares polynomial through values [n, k] over time, of lower degree for short paths.

    The size of a shared error goes with what is measured, and so with its noise: were it taken from the noisy values,
    the smaller ones would look the better known, and all would be drawn to them (Peelle's puzzle; D'Agostini 1994).

    Args:
        from_zero: the polynomial is zero at the first time, as `values` are.
    """
    degree = min(degree, max((len(values) - 1) // 3, 1 if from_zero else 0))
    phase = (time_s - time_s[0]) / max(time_s[-1] - time_s[0], 1e-9)
    basis = phase[:, None] ** np.arange(1 if from_zero else 0, degree + 1)
    return basis @ np.linalg.lstsq(basis, values, rcond=None)[0]


def drift_covariance(total: np.ndarray, steady: float) -> np.ndarray:
    """[n, 3, n, 3] of a drift whose variance grows as `total` [n, 3, 3]: a random walk, and a `steady` share of the
    variance at the end that grows in one direction, as what a template's slant or a wrong axis does to a track."""
    index = np.arange(len(total))
    walk = (1 - steady) * total[np.minimum.outer(index, index)]  # [n, n, 3, 3]
    size = np.trace(total, axis1=1, axis2=2)
    phase = size / max(size[-1], 1e-30)
    return walk.transpose(0, 2, 1, 3) + steady * np.einsum("i,j,ab->iajb", phase, phase, total[-1])


class SceneDraws:
    """Draws of everything that is uncertain in a scene. Lazy by region; draw n is the same world everywhere.

    Args:
        scene: the scene.
        num_draws: even; half are mirror images of the other half.
        seed: default: from `scene.key`, so that the same scene always gives the same numbers.

    Attributes:
        scale: [S] true length over stated length. (Paths are unscaled: multiply lengths by it.)
        rotation_error: [S, T, 3] rad, in world axes; R_draw = exp(rotation_error) R.
    """

    def __init__(self, scene: Scene, num_draws: int = NUM_DRAWS, seed: int | None = None) -> None:
        if num_draws < 2 or num_draws % 2:
            raise ValueError(f"num_draws must be a positive even number, got {num_draws}")
        self.scene, self.num_draws = scene, num_draws
        digest = hashlib.sha256(scene.key.encode()).digest()
        self.seed = int.from_bytes(digest[:8], "little") if seed is None else seed
        rng = self.rng("scene")
        half, steps = num_draws // 2, scene.num_frames - 1
        sigma = scene.baseline_sigma_m / abs(scene.baseline_m)
        offset = sigma * rng.standard_normal(half)
        self.scale_sigma = sigma
        self.scale = 1 + np.concatenate([offset, -offset])
        self._pose_noise = rng.standard_normal((half, 6 * steps))
        self._frame_root = _root(scene.pose_cov)  # [T, 6, 6]
        if self._frame_root.any():
            alone = self.normals("pose of a frame", 6 * scene.num_frames)[:half]
            self._pose_noise = np.concatenate([self._pose_noise, alone], 1)
        self.pan_sigma = 0.0 if scene.rig is None else scene.rig.pan_sigma
        self._pan = self.normals("pan", 1)[:half] * self.pan_sigma  # [S/2, 1] rad
        self._step_root = _root(scene.step_cov[1:])  # [T-1, 6, 6]
        self._regions: dict[int, PathPosterior] = {}
        self._smoothers: dict[int, PathSmoother] = {}

    def rng(self, name: str) -> np.random.Generator:
        """Random numbers of this name alone, so that the order of asking changes nothing."""
        return np.random.default_rng([self.seed, *name.encode()])

    def normals(self, name: str, dimension: int) -> np.ndarray:
        """[S, dimension] standard normals in mirrored pairs, of this name alone."""
        half = self.rng(name).standard_normal((self.num_draws // 2, dimension))
        return np.concatenate([half, -half])

    def _pose_effect(self, points: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """[3n, P] m: how unit draws of the pose errors move world points [n, 3] seen at `frames` [n].

        P is 6 (T − 1), of the steps before; and 6 T more, of each frame's own pose, where the scene states those.
        """
        poses = self.scene.T_world_cam
        earlier, centre = poses.rotation[:-1], poses.translation[1:]  # step k leads from frame k to k + 1
        lever = points[:, None] - centre[None]  # [n, T-1, 3]
        effect = np.empty((*lever.shape, 6))
        effect[..., :3] = -skew(lever) @ earlier
        effect[..., 3:] = earlier
        effect = (effect @ self._step_root) * (np.arange(len(centre)) < frames[:, None])[..., None, None]
        effect = effect.transpose(0, 2, 1, 3).reshape(3 * len(points), -1)
        if not self._frame_root.any():
            return effect
        turn, rows = poses.rotation[frames], np.arange(len(points))
        own = np.concatenate([-skew(points - poses.translation[frames]) @ turn, turn], -1) @ self._frame_root[frames]
        alone = np.zeros((len(points), 3, len(poses), 6))
        alone[rows, :, frames] = own
        return np.concatenate([effect, alone.reshape(3 * len(points), -1)], 1)

    @cached_property
    def camera_smoother(self) -> PathSmoother:
        scene = self.scene
        centre = scene.T_world_cam.translation
        self._camera_effect = self._pose_effect(centre, np.arange(scene.num_frames))
        pan = pan_of_path(scene, centre, np.arange(scene.num_frames))
        self._camera_pan = calm(pan, scene.time_s, degree=5, from_zero=True).ravel()
        pan = self.pan_sigma * self._camera_pan
        return PathSmoother(scene.time_s, centre, self._camera_effect @ self._camera_effect.T + np.outer(pan, pan))

    @cached_property
    def camera(self) -> PathPosterior:
        """Path of the camera centre, world, unscaled."""
        smoother = self.camera_smoother
        pose = self._pose_noise @ self._camera_effect.T
        errors = {"own": np.zeros_like(pose), "pose": pose, "rig": self._pan * self._camera_pan}
        return smoother.draw(errors, NUM_PARTS, self.rng("camera"))

    @cached_property
    def rotation_error(self) -> np.ndarray:
        half, steps = self.num_draws // 2, self.scene.num_frames - 1
        turns = np.einsum("kij,nkj->nki", self.scene.T_world_cam.rotation[:-1] @ self._step_root[:, :3],
                          self._pose_noise[:, :6 * steps].reshape(half, steps, 6), optimize=True)
        error = np.zeros((half, steps + 1, 3))
        error[:, 1:] = np.cumsum(turns, 1)
        if self._frame_root.any():
            error += np.einsum("kij,nkj->nki", self.scene.T_world_cam.rotation @ self._frame_root[:, :3],
                               self._pose_noise[:, 6 * steps:].reshape(half, steps + 1, 6), optimize=True)
        error += self._pan[:, :, None] * pan_turns(self.scene)
        return np.concatenate([-error, error])  # the camera's path takes the error off first, then adds it

    def relative_rotation(self, i: int, j: int) -> np.ndarray:
        """Draws [S, 3, 3] of R_cam@i_cam@j."""
        rotation = self.scene.T_world_cam.rotation
        between = self.rotation_error[:, j] - self.rotation_error[:, i]
        return rotation[i].T @ exp_so3(between) @ rotation[j]

    def smoother(self, region_id: int) -> PathSmoother:
        self.region(region_id)
        return self._smoothers[region_id]

    def region(self, region_id: int) -> PathPosterior:
        """World path of a region's reference point, frames `first` to `last`, unscaled."""
        if region_id not in self._regions:
            self._regions[region_id] = self._draw_region(self.scene.region(region_id))
        return self._regions[region_id]

    def _draw_region(self, region: Region) -> PathPosterior:
        scene = self.scene
        frames = np.arange(region.first, region.last + 1)
        num, half = len(frames), self.num_draws // 2
        poses = scene.T_world_cam[frames]
        seen = region.seen[frames] & np.isfinite(region.point_cam[frames]).all(-1)
        index = np.arange(num)
        cam = np.stack([np.interp(index, index[seen], region.point_cam[frames][seen, a]) for a in range(3)], -1)
        world = (poses.rotation @ cam[..., None])[..., 0] + poses.translation
        range_m = np.linalg.norm(cam, axis=1, keepdims=True)
        steady = calm(range_m, scene.time_s[frames]) / range_m
        about = cam * steady  # where errors that go with the range are taken
        about_world = (poses.rotation @ about[..., None])[..., 0] + poses.translation

        def turned(covariance: np.ndarray) -> np.ndarray:
            covariance = np.where(seen[:, None, None], np.nan_to_num(covariance[frames]), 0)
            return poses.rotation @ covariance @ np.swapaxes(poses.rotation, -1, -2)

        own = np.zeros((num, 3, num, 3))
        steps = turned(region.step_cov)
        steps[0] = 0
        if region.defined == "first":
            own += drift_covariance(np.cumsum(steps, 0), region.steady)
        else:  # the drift grows towards the start
            before = np.concatenate([np.zeros((1, 3, 3)), np.cumsum(steps[:0:-1], 0)])
            own += drift_covariance(before, region.steady)[::-1, :, ::-1]
        own[index, :, index, :] += turned(region.cov_frame)
        own = own.reshape(3 * num, 3 * num)
        shared = np.where(seen[:, None, None], np.nan_to_num(region.cov_shared[frames]), 0)
        rig_effect = (poses.rotation @ ray_root(shared, cam) * steady[:, :, None]).reshape(3 * num, 3)
        pose_effect = self._pose_effect(about_world, frames)
        pan_effect = (poses.rotation @ pan_of_points(about, scene.baseline_m)[..., None])[..., 0]
        pan_effect = (pan_effect + pan_of_path(scene, about_world, frames)).ravel()
        pan = self.pan_sigma * pan_effect

        data = np.where(seen[:, None], world, np.nan)
        noise = own + rig_effect @ rig_effect.T + pose_effect @ pose_effect.T + np.outer(pan, pan)
        ray = (world - poses.translation)[seen].mean(0)
        smoother = PathSmoother(scene.time_s[frames], data, noise, ray / np.linalg.norm(ray))
        rng = self.rng(f"region {region.id}")
        floor = 1e-12 * max(float(np.diagonal(own).max()), 1e-12) * np.eye(3 * num)  # singular covariances too
        alone = rng.standard_normal((half, 3 * num)) @ np.linalg.cholesky(own + floor).T
        bias = rng.standard_normal((half, 3)) @ rig_effect.T
        tail = np.sqrt((TAIL - 2) / rng.chisquare(TAIL, (half, 1)))
        errors = {"own": tail * alone, "rig": tail * bias + self._pan * pan_effect,
                  "pose": self._pose_noise @ pose_effect.T}
        self._smoothers[region.id] = smoother
        return smoother.draw(errors, NUM_PARTS, rng)
