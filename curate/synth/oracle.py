"""The error of an ideal estimator, which knows the truth, its own noise, and nothing about how answers are stated.

It bounds what any estimator of this kind of image can do (Cramér and Rao), by first-order propagation:

- A region of N pixels at depth z is a point (u, v, d) with independent errors of variance `flow_px`² A_f / N on u and
  v, and `disparity_px`² A_d / N on d; of the latter the share `shared` is one bias over all frames, the rest is new in
  each. It moves the point by J = ∂(x, y, z)/∂(u, v, d), with z = f B / d.
- The camera's motion from the span's first frame to each later one rests on the pieces of the still world, a cell of
  `camera_cell_px` each, that both frames see, with errors `point_px` on u and v and √2 `point_disparity_px` on d (what
  cells of this size really err by; smaller ones err together): the covariance
  of rotation and translation is the inverse of the sum of their information, Σ Jᵀ W J. It moves what is seen by the
  lever arm.
- The positions at the frames of the span are then known with one covariance; the estimator fits a parabola in time to
  them (generalised least squares; motion without sudden changes), and the error of a quantity is that of the fit along
  the quantity's gradient.
- The rig is what its calibration says but for a pan between the cameras, a bias f · pan of every disparity. It is
  known to `pan_deg` beforehand, and as well as those points tell it at the clip's first and last frame, where it leaves
  residuals that no motion of the camera explains. What is left of it moves positions by J and the camera's path by
  what the same least squares make of it. The baseline is known to `scale`, relative. Both are what the product
  assumes of a published calibration.

Noise is that of the matchers at work here, measured on rendered H.264 video as robust deviations of region means with
no regard to the sigma that they state: an optimistic error model makes nobody's oracle better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.geometry.rotations import skew
from curate.sources.config import BASELINE_RELATIVE_SIGMA
from curate.synth.renderer import Renderer
from curate.synth.truth import Subject, Truth

DEGREE = 2
RAYLEIGH, HALF_NORMAL = 2.716, 2.241  # their 97.5 % quantiles
MOTION = {"displacement", "path_length", "mean_speed", "peak_speed", "direction"}


def polynomials(num: int) -> np.ndarray:
    """[T, K]: powers of time, which runs from 0 to 1 over `num` frames."""
    return np.linspace(0, 1, num)[:, None] ** np.arange(min(DEGREE, num - 1) + 1)


@dataclass(frozen=True)
class Noise:
    """Pixels, areas in square pixels; see the module."""

    disparity_px: float = 0.20
    disparity_area: float = 64.0
    shared: float = 0.5
    flow_px: float = 0.10
    flow_area: float = 500.0
    camera_cell_px: int = 64
    point_px: float = 0.05
    point_disparity_px: float = 0.07
    scale: float = BASELINE_RELATIVE_SIGMA
    pan_deg: float = 0.02


class Oracle:
    """Errors of an ideal estimator in one clip.

    Args:
        truth: the clip.
        renderer: of its scene.
        noise: what images and rig allow.
    """

    def __init__(self, truth: Truth, renderer: Renderer | None = None, noise: Noise | None = None) -> None:
        self.truth, self.scene, self.noise = truth, truth.scene, noise or Noise()
        self.renderer = renderer or Renderer(truth.scene)
        self._geometry: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._cameras: dict[tuple[int, int], tuple[np.ndarray, np.ndarray, float]] = {}
        self._pan: float | None = None

    def error(self, kind: str, subjects: Sequence[Subject] = (), span: tuple[int, int] = (0, 0),
              areas: Sequence[float] = ()) -> float:
        """Standard deviation of an ideal estimate, m, m/s or rad.

        Args:
            kind, subjects, span: as in `Truth.value`.
            areas: visible pixels of each subject.

        Returns:
            of a direction the deviation of its angle along either axis across it. Where the quantity has no gradient
            (a displacement of zero), that of its vector along any axis.

        Raises:
            ValueError: on an unknown kind.
        """
        truth = self.truth.value(kind, subjects, span)
        scale = self.noise.scale * (0.0 if not np.isfinite(truth.value) else truth.value)
        if kind == "camera_rotation":
            return self._rotation(span)
        if kind == "apparent_direction":
            shift = max(float(np.linalg.norm(truth.vector)), 1e-9)
            return self._image_px(areas[0]) * 2**0.5 / shift
        if kind == "object_camera_distance":
            return float(np.hypot(self._distance(subjects[0], span, areas[0], span[0] == span[1]), scale))
        if kind == "object_camera_distance_change":
            return float(np.hypot(self._distance(subjects[0], span, areas[0], False), scale))
        if kind == "object_object_distance":
            return float(np.hypot(self._pair(subjects, span[0], areas), scale))
        who, _, name = kind.partition("_")
        if name not in MOTION or who not in ("camera", "object"):
            raise ValueError(f"no oracle for the measurement kind {kind!r}")
        frames = np.arange(span[0], span[1] + 1)
        subject, area = (subjects[0], areas[0]) if subjects else (None, 0.0)
        return float(np.hypot(self._motion(name, frames, subject, area), 0 if name == "direction" else scale))

    def half_width95(self, kind: str, error: float) -> float:
        """Half the 95 % interval that belongs to an `error`; of a direction the angle that 97.5 % stay below, which
        is how intervals of angles are stated: Rayleigh's in space, half-normal's in the image."""
        return error * {"camera_direction": RAYLEIGH, "object_direction": RAYLEIGH, "apparent_direction": HALF_NORMAL
                        }.get(kind, 1.96)

    def _image_px(self, area: float) -> float:
        return self.noise.flow_px * (self.noise.flow_area / max(area, self.noise.flow_area)) ** 0.5

    def _disparity_px(self, area: float) -> float:
        return self.noise.disparity_px * (self.noise.disparity_area / max(area, self.noise.disparity_area)) ** 0.5

    def _in_camera(self, subject: Subject, frame: int) -> np.ndarray:
        world = self.truth.path(subject, (frame, frame))[0]
        return self.scene.camera(self.truth.start + frame).inverse() @ world

    def _lift(self, point: np.ndarray) -> np.ndarray:
        """∂(x, y, z)/∂(u, v, d) [..., 3, 3], m/px, at points [..., 3] in camera axes."""
        camera, baseline = self.scene.rig.left, self.scene.rig.baseline_m
        x, y, z = np.moveaxis(point, -1, 0)
        dz = -z**2 / (camera.fx * baseline)
        out = np.zeros((*z.shape, 3, 3))
        out[..., 0, 0], out[..., 1, 1] = z / camera.fx, z / camera.fy
        out[..., 0, 2], out[..., 1, 2], out[..., 2, 2] = x / z * dz, y / z * dz, dz
        return out

    def _own(self, points: np.ndarray, area: float) -> tuple[np.ndarray, np.ndarray]:
        """Camera-axes covariance of each frame alone [T, 3, 3], and what biases of all frames do [2, T, 3] (the
        region's own, the rig's pan), of points [T, 3]."""
        lift, image, depth = self._lift(points), self._image_px(area), self._disparity_px(area)
        root = lift * np.array([image, image, depth * (1 - self.noise.shared) ** 0.5])
        biases = np.array([depth * self.noise.shared**0.5, self._pan_px()])
        return root @ np.swapaxes(root, -1, -2), lift[..., 2] * biases[:, None, None]

    def _pan_px(self) -> float:
        """What is not known of the pan, as px of disparity."""
        if self._pan is None:
            prior = self.scene.rig.left.fx * np.radians(self.noise.pan_deg)
            try:
                told = self._camera(0, self.scene.num_frames - 1 - self.truth.start)[2]
            except ValueError:
                told = 0.0
            self._pan = float((1 / max(prior, 1e-12) ** 2 + told) ** -0.5)
        return self._pan

    def _motion(self, name: str, frames: np.ndarray, subject: Subject | None, area: float) -> float:
        span = (int(frames[0]), int(frames[-1]))
        poses = [self.scene.camera(self.truth.start + int(k)) for k in frames]
        rotation = np.array([p.rotation for p in poses])
        centre = np.array([p.translation for p in poses])
        num = len(frames)
        if subject is None:
            path, covariance, pan = centre, np.zeros((num, 3, num, 3)), np.zeros((num, 3))
        else:
            path = self.truth.path(subject, span)
            seen = np.array([self._in_camera(subject, int(k)) for k in frames])
            own, biases = self._own(seen, area)
            shared, pan = (rotation @ biases[..., None])[..., 0]
            covariance = np.einsum("ta,sb->tasb", shared, shared)
            index = np.arange(num)
            covariance[index, :, index, :] += rotation @ own @ np.swapaxes(rotation, -1, -2)
        for i in range(1, num):
            turn, response, _ = self._camera(span[0], int(frames[i]))
            effect = np.concatenate([-skew(path[i] - centre[i]), np.eye(3)], 1)
            covariance[i, :, i, :] += effect @ turn @ effect.T
            pan[i] += effect @ response * self._pan_px()
        covariance += np.einsum("ta,sb->tasb", pan, pan)
        return self._functional(name, path, covariance.reshape(3 * num, 3 * num), frames)

    def _functional(self, name: str, path: np.ndarray, covariance: np.ndarray, frames: np.ndarray) -> float:
        num = len(path)
        covariance = covariance + 1e-12 * max(np.trace(covariance), 1e-12) * np.eye(3 * num)
        phase, basis = np.linspace(0, 1, num), polynomials(num)
        full = np.kron(basis, np.eye(3))
        fit = np.linalg.inv(full.T @ np.linalg.solve(covariance, full))
        duration = (num - 1) / self.scene.fps
        steps = np.diff(path, axis=0)
        ends = basis[-1] - basis[0]
        way = path[-1] - path[0]

        def sigma(gradient: np.ndarray) -> float:  # [K, 3]
            g = gradient.reshape(-1)
            return float(np.sqrt(max(g @ fit @ g, 0)))

        across = np.kron(ends[:, None], np.eye(3))
        ends_cov = across.T @ fit @ across
        length = float(np.linalg.norm(way))
        still = float(np.sqrt(np.trace(ends_cov) / 3))
        if name == "direction":
            unit = way / max(length, 1e-9)
            off = np.eye(3) - np.outer(unit, unit)
            return float(np.sqrt(np.trace(off @ ends_cov @ off) / 2)) / max(length, 1e-9)
        if not np.linalg.norm(steps, axis=-1).sum() > 0:
            return still / (duration if name.endswith("speed") else 1)
        if name == "displacement":
            return sigma(np.outer(ends, way / length)) if length > 0 else still
        unit = steps / np.maximum(np.linalg.norm(steps, axis=-1, keepdims=True), 1e-12)
        if name == "peak_speed":
            at = int(np.argmax(np.linalg.norm(steps, axis=-1)))
            slope = np.array([k * ((phase[at] + phase[at + 1]) / 2) ** max(k - 1, 0) for k in range(basis.shape[1])])
            return sigma(np.outer(slope, unit[at])) / duration
        gradient = np.einsum("tk,ta->ka", np.diff(basis, axis=0), unit)
        return sigma(gradient) / (duration if name == "mean_speed" else 1)

    def _seen(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        if frame not in self._geometry:
            self._geometry[frame] = self.renderer.geometry(frame)
        return self._geometry[frame]

    def _camera(self, first: int, frame: int) -> tuple[np.ndarray, np.ndarray, float]:
        """How the camera's motion between two frames is known, by rotation (rad) and translation (m) in world axes.

        Returns:
            covariance [6, 6]; what a pixel of disparity bias makes of the motion [6]; how well the two frames tell
            such a bias, 1/px².

        Raises:
            ValueError: where the two frames share too few points of the still world.
        """
        if (first, frame) not in self._cameras:
            self._cameras[first, frame] = self._camera_known(first, frame)
        return self._cameras[first, frame]

    def _camera_known(self, first: int, frame: int) -> tuple[np.ndarray, np.ndarray, float]:
        cell, camera = self.noise.camera_cell_px, self.scene.rig.left
        depth, ids = self._seen(self.truth.start + first)
        v, u = (a.ravel() for a in np.mgrid[cell // 2:camera.height:cell, cell // 2:camera.width:cell])
        use = np.isfinite(depth[v, u]) & (ids[v, u] == 0)
        start, end = (self.scene.camera(self.truth.start + k) for k in (first, frame))
        seen = camera.lift(np.stack([u[use], v[use]], -1).astype(float), depth[v, u][use].astype(float))
        world = start @ seen
        local = end.inverse() @ world
        uv = camera.project(local)
        keep = (local[:, 2] > 0.1) & (uv >= 0).all(-1) & (uv <= [camera.width - 1, camera.height - 1]).all(-1)
        if keep.sum() < 6:
            raise ValueError(f"frames {first} and {frame} share {int(keep.sum())} points of the still world")
        local, world, seen = local[keep], world[keep], seen[keep]
        # (u, v, d) of a still point by the pose's error (w, t): the point moves by −Rᵀ (w × (X − c) + t)
        moved = np.concatenate([-skew(world - end.translation), np.broadcast_to(np.eye(3), (len(world), 3, 3))], -1)
        to_pixels = np.linalg.inv(self._lift(local))
        jacobian = to_pixels @ (-end.rotation.T @ moved)
        sigma = np.array([self.noise.point_px, self.noise.point_px, 2**0.5 * self.noise.point_disparity_px])
        weighted = (jacobian / sigma[:, None]).reshape(-1, 6)
        # a bias of disparity in both frames: the point is lifted to a wrong place, and not seen where that would be
        wrong = (end.rotation.T @ start.rotation @ self._lift(seen)[..., 2:])
        residual = ((np.array([0, 0, 1.0]) - (to_pixels @ wrong)[..., 0]) / sigma).reshape(-1)
        covariance = np.linalg.inv(weighted.T @ weighted + 1e-9 * np.eye(6))
        response = covariance @ (weighted.T @ residual)
        return covariance, response, float(((residual - weighted @ response) ** 2).sum())

    def _rotation(self, span: tuple[int, int]) -> float:
        covariance = self._camera(*span)[0][:3, :3]
        first, last = (self.scene.camera(self.truth.start + k).rotation for k in span)
        turn = first @ (first.T @ last) @ first.T
        axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
        size = np.linalg.norm(axis)
        if size < 1e-12:
            return float(np.sqrt(np.trace(covariance) / 3))
        return float(np.sqrt(axis @ covariance @ axis) / size)

    def _distance(self, subject: Subject, span: tuple[int, int], area: float, instant: bool) -> float:
        """Of a distance to the camera, or of its change over the span: camera axes, so that the pose drops out."""
        points = np.array([self._in_camera(subject, k) for k in range(span[0], span[1] + 1)])
        own, biases = self._own(points, area)
        ray = points / np.linalg.norm(points, axis=-1, keepdims=True)
        own = np.einsum("ti,tij,tj->t", ray, own, ray)
        biases = np.einsum("ti,kti->kt", ray, biases)
        if instant:
            return float(np.sqrt(own[0] + (biases[:, 0] ** 2).sum()))
        basis = polynomials(len(points))
        fit = np.linalg.inv((basis / own[:, None]).T @ basis)
        ends = basis[-1] - basis[0]
        return float(np.sqrt(ends @ fit @ ends + ((biases[:, -1] - biases[:, 0]) ** 2).sum()))

    def _pair(self, subjects: Sequence[Subject], frame: int, areas: Sequence[float]) -> float:
        points = np.array([self._in_camera(s, frame) for s in subjects])
        between = points[1] - points[0]
        unit = between / max(np.linalg.norm(between), 1e-9)
        own, biases = zip(*(self._own(point[None], area) for point, area in zip(points, areas)))
        regions = sum(unit @ cov[0] @ unit + (unit @ bias[0, 0]) ** 2 for cov, bias in zip(own, biases))
        pan = unit @ (biases[1][1, 0] - biases[0][1, 0])  # moves both together
        return float(np.sqrt(regions + pan**2))
