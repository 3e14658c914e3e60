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
from functools import cached_property, lru_cache

import numpy as np

from curate.geometry.rotations import exp_so3
from curate.measure.pose_errors import PoseErrors, at_points
from curate.measure.rig_effect import pan_motion, pan_stretch
from curate.measure.smoothing import PathPosterior, PathSmoother, lengths
from curate.measure.strata import stratified_normals, stratified_tails
from curate.scene import Region, Scene

NUM_DRAWS = 1024
NUM_PARTS = 128


def ray_root(covariance: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Square roots [T, 3, 3] that carry one error through all frames, m.

    The symmetric root is taken in axes turned with the viewing ray, so that a bias along the ray (disparity)
    stays along it while the region moves through the image. `point` [T, 3] and `covariance` in camera axes.
    """
    x, y, z = np.moveaxis(point, -1, 0) / lengths(point)
    # shortest turn from z to the ray: R = I + [v]x + [v]x² / (1 + c), v = (−y, x, 0); rays point forward, so 1 + c > 0
    turn = np.empty((*point.shape, 3))
    inverse = 1 / (1 + z)
    turn[..., 0, 0], turn[..., 1, 1], turn[..., 2, 2] = 1 - x * x * inverse, 1 - y * y * inverse, z
    turn[..., 0, 1] = turn[..., 1, 0] = -x * y * inverse
    turn[..., 0, 2], turn[..., 1, 2], turn[..., 2, 0], turn[..., 2, 1] = x, y, -x, -y
    inside = np.swapaxes(turn, -1, -2) @ covariance @ turn
    value, vector = np.linalg.eigh((inside + np.swapaxes(inside, -1, -2)) / 2)
    root = (vector * np.sqrt(np.maximum(value, 0))[:, None, :]) @ np.swapaxes(vector, -1, -2)
    return turn @ root


def calm(values: np.ndarray, time_s: np.ndarray, degree: int = 3, from_zero: bool = False) -> np.ndarray:
    """Least-squares polynomial through values [n, k] over time, of lower degree for short paths.

    The size of a shared error goes with what is measured, and so with its noise: were it taken from the noisy values,
    the smaller ones would look the better known, and all would be drawn to them (Peelle's puzzle; D'Agostini 1994).

    Args:
        from_zero: the polynomial is zero at the first time, as `values` are.
    """
    degree = min(degree, max((len(values) - 1) // 3, 1 if from_zero else 0))
    phase = (time_s - time_s[0]) / max(time_s[-1] - time_s[0], 1e-9)
    return _projection(phase.tobytes(), degree, from_zero) @ values


@lru_cache(maxsize=64)
def _projection(phase: bytes, degree: int, from_zero: bool) -> np.ndarray:
    """[n, n] onto polynomials, once for all that is measured at the same times; not to be written to."""
    basis = np.frombuffer(phase)[:, None] ** np.arange(1 if from_zero else 0, degree + 1)
    return basis @ np.linalg.pinv(basis)


def drift_covariance(total: np.ndarray, steady: float) -> np.ndarray:
    """[n, 3, n, 3] of a drift whose variance grows as `total` [n, 3, 3]: a random walk, and a `steady` share of the
    variance at the end that grows in one direction, as what a template's slant or a wrong axis does to a track."""
    index = np.arange(len(total))
    size = np.trace(total, axis1=1, axis2=2)
    phase = size / max(size[-1], 1e-30)
    covariance = total[np.minimum.outer(index, index)] * (1 - steady)  # [n, n, 3, 3], a walk
    covariance += np.outer(steady * phase, phase)[..., None, None] * total[-1]
    return covariance.transpose(0, 2, 1, 3)


def straight(points: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """[n, 3] the uniform motion nearest to positions [n, 3] (least squares); their mean where they are under four.

    An error of the distance stretches a path about the camera, its bends with it. That they are small says nothing of
    the distance, yet to a smoother with additive errors it does: a nearer path bends less, and each bend that it sees
    draws the distance to it, by the variance of the distance's relative error. What stretches a bend is therefore
    kept from the smoother, and added to its draws.
    """
    return calm(points, time_s, degree=1)


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
        half = num_draws // 2
        sigma = scene.scale_sigma
        offset = sigma * stratified_normals(self.rng("scale"), 1, half)[0]
        self.scale_sigma = sigma
        self.scale = 1 + np.concatenate([offset, -offset])
        self._pose_errors = PoseErrors(scene.T_world_cam, scene.step_cov, scene.pose_cov)
        noise = stratified_normals(self.rng("pose"), self._pose_errors.dimension, half)
        self._motions = self._pose_errors.motions(noise)  # [T, 6, S/2]
        self.pan_sigma = 0.0 if scene.rig is None else scene.rig.pan_sigma
        self._pan_motion = pan_motion(scene)  # [T, 6]
        self._pan = stratified_normals(self.rng("pan"), 1, half)[0] * self.pan_sigma  # [S/2] rad
        self._regions: dict[int, PathPosterior] = {}
        self._smoothers: dict[int, PathSmoother] = {}
        self.memo: dict[tuple, np.ndarray] = {}  # what several measurements have in common, by name
        self._relative: dict[tuple[int, int], np.ndarray] = {}

    def rng(self, name: str) -> np.random.Generator:
        """Random numbers of this name alone, so that the order of asking changes nothing."""
        return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{self.seed} {name}".encode()).digest()[:16]))

    def normals(self, name: str, dimension: int) -> np.ndarray:
        """[S, dimension] standard normals in mirrored pairs, of this name alone; not to be written to."""
        if ("normals", name, dimension) not in self.memo:
            half = stratified_normals(self.rng(name), dimension, self.num_draws // 2)
            both = self.memo["normals", name, dimension] = np.concatenate([half, -half], 1).T
            both.flags.writeable = False
        return self.memo["normals", name, dimension]

    def _pose_draws(self, at: np.ndarray, frames: slice) -> np.ndarray:
        """[3n, S/2] m, how the poses' errors move points seen at `frames`; `at` [n, 3, 6] as `at_points`."""
        return (at @ self._motions[frames]).reshape(-1, self.num_draws // 2)

    @cached_property
    def camera_smoother(self) -> PathSmoother:
        scene, centre = self.scene, self.scene.T_world_cam.translation
        self._camera_at, whole = at_points(centre), slice(0, scene.num_frames)
        pan = (self._camera_at @ self._pan_motion[..., None])[..., 0]
        self._camera_pan = calm(pan, scene.time_s, degree=5, from_zero=True).ravel()
        pan = self.pan_sigma * self._camera_pan
        return PathSmoother(scene.time_s, centre, self._pose_errors.covariance(centre, whole) + np.outer(pan, pan))

    @cached_property
    def camera(self) -> PathPosterior:
        """Path of the camera centre, world, unscaled."""
        smoother = self.camera_smoother
        pose = self._pose_draws(self._camera_at, slice(0, self.scene.num_frames))
        errors = {"own": np.zeros_like(pose).T, "pose": pose.T, "rig": np.outer(self._camera_pan, self._pan).T}
        path = smoother.draw(errors, NUM_PARTS, self.rng("camera"))
        return path.at(self.scene.T_world_cam.translation) if self.scene.is_given else path

    @cached_property
    def rotation_error(self) -> np.ndarray:
        turns = self._motions[:, :3] + self._pan_motion[:, :3, None] * self._pan  # [T, 3, S/2]
        # the camera's path takes the error off first, then adds it
        return np.concatenate([-turns, turns], -1).transpose(2, 0, 1)

    def relative_rotation(self, i: int, j: int) -> np.ndarray:
        """Draws [S, 3, 3] of R_cam@i_cam@j; not to be written to."""
        if (i, j) not in self._relative:
            rotation = self.scene.T_world_cam.rotation
            between = exp_so3(self.rotation_error[:, j] - self.rotation_error[:, i]).transpose(1, 2, 0)
            turned = np.kron(rotation[i].T, rotation[j].T) @ between.reshape(9, -1)  # of all draws at once
            self._relative[i, j] = turned.reshape(3, 3, -1).transpose(2, 0, 1)
        return self._relative[i, j]

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
        frames = slice(region.first, region.last + 1)
        point_cam, time_s = region.point_cam[frames], scene.time_s[frames]
        num, half = len(time_s), self.num_draws // 2
        poses = scene.T_world_cam
        rotation, centre = poses.rotation[frames], poses.translation[frames]
        back = rotation.transpose(0, 2, 1)
        seen = region.seen[frames] & np.isfinite(point_cam).all(-1)
        index = np.arange(num)
        cam = point_cam if seen.all() else np.stack([np.interp(index, index[seen], point_cam[seen, a])
                                                     for a in range(3)], -1)
        from_camera = (rotation @ cam[..., None])[..., 0]
        world = from_camera + centre
        line = straight(world, time_s)
        range_m = lengths(cam)[:, None]
        steady = calm(range_m, time_s) / range_m
        about = cam * steady  # where errors that go with the range are taken
        about_world = from_camera * steady + centre
        at = at_points(about_world)

        def known(covariance: np.ndarray) -> np.ndarray:
            of = covariance[frames]
            return np.where(seen[:, None, None] & np.isfinite(of), of, 0)

        def turned(covariance: np.ndarray) -> np.ndarray:
            return rotation @ known(covariance) @ back

        steps = turned(region.step_cov)
        steps[0] = 0
        if region.defined == "first":
            own = drift_covariance(np.cumsum(steps, 0), region.steady)
        else:  # the drift grows towards the start
            before = np.concatenate([np.zeros((1, 3, 3)), np.cumsum(steps[:0:-1], 0)])
            own = drift_covariance(before, region.steady)[::-1, :, ::-1]
        own[index, :, index, :] += turned(region.cov_frame)
        own = own.reshape(3 * num, 3 * num)
        shared = known(region.cov_shared)
        rig_effect = rotation @ ray_root(shared, cam) * steady[:, :, None]
        by_depth = lengths(rig_effect[..., 2]) / lengths(about)  # share of the distance, of one standard deviation
        rig_effect[..., 2] = by_depth[:, None] * (line - centre)
        rig_effect = rig_effect.reshape(3 * num, 3)
        by_pan = pan_stretch(about, scene.baseline_m)
        pan_effect = by_pan[:, None, None] * (line - centre)[..., None]
        pan_effect = (pan_effect + at @ self._pan_motion[frames, :, None]).ravel()

        data = np.where(seen[:, None], world, np.nan)
        shared_by_all = np.column_stack([rig_effect, self.pan_sigma * pan_effect])
        noise = own + shared_by_all @ shared_by_all.T + self._pose_errors.covariance(about_world, frames)
        ray = from_camera[seen].mean(0)
        smoother = PathSmoother(time_s, data, noise, ray / np.linalg.norm(ray))
        rng = self.rng(f"region {region.id}")
        # singular covariances too
        np.fill_diagonal(own, np.diagonal(own) + 1e-12 * max(float(np.diagonal(own).max()), 1e-12))
        alone = np.linalg.cholesky(own) @ stratified_normals(rng, 3 * num, half)
        normal = stratified_normals(rng, 3, half)
        bias = rig_effect @ normal
        # Regions err by different amounts that nothing in them tells (a patch that slides, a piece of something else),
        # so that most err less than stated and a few far more.
        tail = stratified_tails(rng, half)
        errors = {"own": tail * alone, "rig": tail * bias + np.outer(pan_effect, self._pan),
                  "pose": self._pose_draws(at, frames)}
        stretch = by_depth[:, None] * (tail * normal[2]) + by_pan[:, None] * self._pan
        bends = ((world - line)[:, :, None] * stretch[:, None]).reshape(3 * num, half)
        self._smoothers[region.id] = smoother
        path = smoother.draw({name: error.T for name, error in errors.items()}, NUM_PARTS, rng, {"rig": bends})
        return path.at(data) if scene.is_given else path
