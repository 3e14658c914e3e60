"""Draws a scene: rig, camera path, still world, objects that stay in view and do not run into each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose
from curate.synth.distribution import Distribution, Setting, load_distribution
from curate.synth.motion import camera_path, heading_vector, object_path, yaw
from curate.synth.scene import SUB, Body, SceneTruth

REFERENCE_WIDTH = 640  # the distribution's pixels are those of an image this wide
MAX_DRAWS = 30
RIG_STREAM = 1 << 20
CORNERS = np.stack(np.meshgrid([-0.5, 0.5], [-0.5, 0.5], [-0.5, 0.5]), -1).reshape(8, 3)


class _Redraw(Exception):
    """This draw has no room for what it must hold."""


def sample_scene(seed: int, index: int = 0, distribution: Distribution | str | Path | None = None, width: int = 640,
                 height: int = 360) -> SceneTruth:
    """Draws scene `index` of the data set `seed`; the same arguments give the same scene.

    Raises:
        ValueError: on a distribution that is not one, or that leaves no room for a moving and a still object.
    """
    if not isinstance(distribution, Distribution):
        distribution = load_distribution(distribution)
    for attempt in range(MAX_DRAWS):
        try:
            return _draw(np.random.default_rng([seed, index, attempt]), distribution, (seed, index), width, height)
        except _Redraw:
            continue
    raise ValueError("the scene distribution leaves no room for a moving and a still object in view: "
                     "lower objects.size_px or objects.travel, or widen settings.*.distance_m")


def _pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    names = list(weights)
    p = np.array([weights[name] for name in names], float)
    return names[rng.choice(len(names), p=p / p.sum())]


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _draw(rng, distribution: Distribution, seed: tuple[int, int], width: int, height: int) -> SceneTruth:
    d = distribution
    scale = width / REFERENCE_WIDTH
    setting_name = _pick(rng, {name: s.weight for name, s in d.settings.items()})
    setting = d.settings[setting_name]
    focal = _log_uniform(rng, *setting.focal_px) * scale
    camera = Intrinsics(focal, focal, (width - 1) / 2 + rng.normal(0, 3) * scale,
                        (height - 1) / 2 + rng.normal(0, 3) * scale, width, height)
    rig = StereoRig(camera, round(_log_uniform(rng, *setting.baseline_m), 4))
    near = max(setting.distance_m[0], focal * rig.baseline_m / (d.disparity_px[1] * scale))
    far = min(setting.distance_m[1], focal * rig.baseline_m / (d.disparity_px[0] * scale))
    if near * 1.2 > far:
        raise _Redraw
    fps = round(rng.uniform(*d.fps), 2)
    num_frames = int(rng.integers(d.num_frames[0], d.num_frames[1] + 1))
    time_s = np.arange((num_frames - 1) * SUB + 1) / (fps * SUB)
    motion = _pick(rng, setting.cameras)
    middle = np.sqrt(near * far)
    T_level_cam = camera_path(rng, motion, d, time_s, np.radians(rng.uniform(*d.camera_pitch_deg)), middle)
    T_world_level = Pose("world", "level", T_level_cam.rotation[0].T, np.zeros(3))
    ground = middle * rng.uniform(*d.ground) * height / 2 / focal
    stage = _Stage(rng, d, setting, rig, T_level_cam, time_s, ground, near, far)
    objects = stage.objects()
    bodies = stage.still_world(objects) + objects
    T_world_cam = Pose("world", "cam", T_world_level.rotation @ T_level_cam.rotation,
                       (T_world_level @ T_level_cam.translation))
    light = T_world_level.rotation @ np.array([rng.uniform(-0.7, 0.7), -1.0, rng.uniform(-0.9, -0.2)])
    return SceneTruth(
        name=f"scene-{seed[0]}-{seed[1]:04d}", seed=seed, setting=setting_name, camera_motion=motion, fps=fps,
        num_frames=num_frames, rig=rig, T_world_cam=T_world_cam,
        bodies=tuple(_in_world(body, T_world_level) for body in bodies), light_world=light / np.linalg.norm(light),
        noise_grey=round(rng.uniform(*d.noise_grey), 3), gain_right=round(1 + rng.normal(0, d.gain_mismatch), 4),
        crf=int(rng.integers(d.crf[0], d.crf[1] + 1)), rig_rotation_deg=_rig_rotation(seed, d.rig_rotation_deg))


def _rig_rotation(seed: tuple[int, int], sigma_deg: float) -> tuple[float, float, float]:
    """Residual rotation of the right camera, from random numbers of its own: the scene is the same for any sigma."""
    return tuple(np.round(np.random.default_rng([*seed, RIG_STREAM]).normal(0, sigma_deg, 3), 5).tolist())


def _in_world(body: Body, T_world_level: Pose) -> Body:
    path = body.T_world_obj
    return replace(body, T_world_obj=Pose("world", "obj", T_world_level.rotation @ path.rotation,
                                          T_world_level @ path.translation))


class _Stage:
    """One draw in progress; bodies are placed in level axes (named "world" until they are turned into it)."""

    def __init__(self, rng, d: Distribution, setting: Setting, rig: StereoRig, T_level_cam: Pose, time_s, ground: float,
                 near: float, far: float) -> None:
        self.rng, self.d, self.setting, self.rig = rng, d, setting, rig
        self.T_level_cam, self.time_s = T_level_cam, time_s
        self.ground, self.near, self.far = ground, near, far
        self.frames = np.arange(0, len(time_s), SUB)
        self.occlusion = rng.random() < d.objects.occlusion_probability
        self.scale = rig.left.width / REFERENCE_WIDTH

    def objects(self) -> tuple[Body, ...]:
        """Moving objects and still controls.

        Raises:
            _Redraw: where not one of each fits.
        """
        placed: list[Body] = []
        for moving, (low, high) in ((True, self.d.objects.num_moving), (False, self.d.objects.num_still)):
            count = 0
            for _ in range(int(self.rng.integers(low, high + 1))):
                body = next((b for b in (self._candidate(moving, len(placed) + 1) for _ in range(60))
                             if b is not None and self._fits(b, placed)), None)
                if body is not None:
                    placed.append(body)
                    count += 1
            if count < low:
                raise _Redraw
        return tuple(placed)

    def _candidate(self, moving: bool, object_id: int) -> Body | None:
        rng, c, camera = self.rng, self.d.objects, self.rig.left
        shape = _pick(rng, c.shapes)
        motion = _pick(rng, c.motions) if moving else "still"
        z = _log_uniform(rng, self.near, self.far)
        side = rng.uniform(*c.size_px) * self.scale * z / camera.fx
        size = np.full(3, side) if shape == "sphere" else side * rng.uniform(0.7, 1.4, 3)
        u = rng.uniform(0.1, 0.9) * camera.width
        start_cam = camera.lift(np.array([u, camera.cy]), np.array(z))
        start = self.T_level_cam[0] @ start_cam
        floats = motion == "vertical" or (shape == "sphere" and rng.random() < 0.2)
        if floats:
            v = rng.uniform(0.15, 0.75) * camera.height
            start[1] = min((self.T_level_cam[0] @ camera.lift(np.array([u, v]), np.array(z)))[1],
                           self.ground - size[1] / 2)
        else:
            start[1] = self.ground - size[1] / 2
        turn, displacement, spin = rng.uniform(-np.pi, np.pi), np.zeros((1, 3)), np.zeros(1)
        if moving:
            heading = rng.uniform(-np.pi, np.pi)
            if rng.random() < c.axis_probability:
                heading = rng.integers(4) * np.pi / 2 + np.radians(rng.uniform(-20, 20))
            across = camera.width / camera.fx * z
            room = z * abs(np.cos(heading)) + min(z, across) * abs(np.sin(heading))
            if motion == "vertical":
                room = camera.height / camera.fy * z
            speed = rng.uniform(*c.travel) * room / self.time_s[-1]
            if self._follows_camera(heading):
                speed += np.linalg.norm(self.T_level_cam.translation[-1]) / self.time_s[-1]
            speed = float(np.clip(speed, *self.setting.speed_mps))
            displacement, spin = object_path(rng, motion, self.d, self.time_s, speed, heading)
        low = rng.random() < c.low_texture_probability
        return Body(object_id, shape, size, Pose("world", "obj", yaw(turn + spin), start + displacement), motion,
                    int(rng.integers(1 << 31)), float(side * rng.uniform(0.3, 0.7)),
                    float(rng.uniform(*(c.low_texture_contrast if low else c.texture_contrast))), self._colours())

    def _follows_camera(self, heading: float) -> bool:
        """A car ahead that drives our way keeps pace with a driving camera, or it would be overtaken at once."""
        travelled = self.T_level_cam.translation[-1]
        distance = np.linalg.norm(travelled)
        return distance > 0.2 * self.near and float(travelled @ heading_vector(heading)) > 0.8 * distance

    def _corners_px(self, body: Body, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image corners of the bounding box in the left view [n, 8, 2] px and their depth [n, 8] m."""
        index = np.zeros_like(frames) if len(body.T_world_obj) == 1 else frames
        poses = body.T_world_obj[index]
        level = (CORNERS * body.size) @ np.swapaxes(poses.rotation, -1, -2) + poses.translation[:, None]
        cam = self.T_level_cam[frames]
        local = (level - cam.translation[:, None]) @ cam.rotation
        z = np.maximum(local[..., 2], 1e-3)
        camera = self.rig.left
        uv = np.stack([camera.fx * local[..., 0] / z + camera.cx, camera.fy * local[..., 1] / z + camera.cy], -1)
        return uv, local[..., 2]

    def _fits(self, body: Body, others: list[Body]) -> bool:
        """In view, whole at the start; its centre to the end; nothing runs into, or at first hides, another."""
        camera = self.rig.left
        if body.T_world_obj.translation[:, 1].max() + body.size[1] / 2 > self.ground + 1e-6:
            return False
        uv, z = self._corners_px(body, self.frames)
        disparity = self.rig.left.fx * self.rig.baseline_m / np.maximum(z, 1e-3)
        low, high = uv.min(1), uv.max(1)
        margin = 4 * self.scale
        seen = low[:, 0] - disparity.max(1) >= margin
        seen &= (high[:, 0] < camera.width - margin) & (low[:, 1] >= margin) & (high[:, 1] < camera.height - margin)
        centre = uv.mean(1)
        inside = (centre[:, 0] - disparity.mean(1) > margin) & (centre[:, 0] < camera.width - margin)
        inside &= (centre[:, 1] > margin) & (centre[:, 1] < camera.height - margin)
        depth = z.mean(1)
        if not (seen[0] and inside.all() and (depth > 0.9 * self.near).all() and (depth < 1.25 * self.far).all()):
            return False
        for other in others:
            index = np.arange(len(self.time_s))
            gap = np.linalg.norm(body.points(np.zeros(3), index) - other.points(np.zeros(3), index), axis=-1)
            if (gap < (np.linalg.norm(body.size) + np.linalg.norm(other.size)) / 2 * 0.9).any():
                return False
            other_uv, _ = self._corners_px(other, self.frames)
            meet = (np.minimum(high, other_uv.max(1)) - np.maximum(low, other_uv.min(1)) > -3 * self.scale).all(-1)
            if meet[0] or (meet.any() and not self.occlusion):
                return False
        return True

    def still_world(self, objects: tuple[Body, ...]) -> tuple[Body, ...]:
        """Ground, a wall across the end, and clutter beyond and beside the objects."""
        rng, c = self.rng, self.d.background
        paths = np.concatenate([body.T_world_obj.translation for body in objects])
        farthest = paths[:, 2].max() + max(body.size.max() for body in objects)
        wall = max(farthest * rng.uniform(*c.wall_distance),
                   self.T_level_cam.translation[:, 2].max() + farthest * 1.2)
        wide = 3 * wall * max(1.0, self.rig.left.width / self.rig.left.fx)
        bodies = [self._block(np.array([0, self.ground + 0.5, wall / 2]), np.array([2 * wide, 1, 4 * wall]), 0,
                              0.35 * np.sqrt(self.near * self.far)),
                  self._block(np.array([0, self.ground - wall * 0.2, wall + 0.5]),
                              np.array([2 * wide, wall * rng.uniform(0.5, 1.2), 1]), rng.uniform(-0.15, 0.15),
                              0.12 * wall)]
        for _ in range(int(rng.integers(c.num_boxes[0], c.num_boxes[1] + 1))):
            for _ in range(20):
                block = self._clutter(farthest, wall)
                if self._clear(block, objects):
                    bodies.append(block)
                    break
        return tuple(bodies)

    def _clutter(self, farthest: float, wall: float) -> Body:
        rng, camera = self.rng, self.rig.left
        beside = rng.random() < 0.35
        z = rng.uniform(self.near, farthest) if beside else rng.uniform(farthest * 1.05, wall)
        side = rng.choice([rng.uniform(-0.15, 0.12), rng.uniform(0.88, 1.15)]) if beside else rng.uniform(-0.1, 1.1)
        size = z * camera.width / camera.fx * rng.uniform([0.06, 0.08, 0.06], [0.18, 0.35, 0.15])
        centre = np.array([(side * camera.width - camera.cx) / camera.fx * z, self.ground - size[1] / 2, z])
        return self._block(centre, size, rng.uniform(-0.6, 0.6), 0.35 * size.max())

    def _clear(self, block: Body, objects: tuple[Body, ...]) -> bool:
        """Off the camera's way, and neither in the way of an object nor between it and the camera."""
        radius = np.linalg.norm(block.size) / 2
        off = block.T_world_obj.translation[0] - self.T_level_cam.translation
        if (np.linalg.norm(off[:, [0, 2]], axis=-1) < radius + 0.6 * self.near).any():
            return False
        uv, z = self._corners_px(block, self.frames)
        for body in objects:
            path = body.points(np.zeros(3), np.arange(len(self.time_s)))
            gap = np.linalg.norm(path - block.T_world_obj.translation, axis=-1)
            if (gap < radius + np.linalg.norm(body.size) / 2).any():
                return False
            other, other_z = self._corners_px(body, self.frames)
            meet = (np.minimum(uv.max(1), other.max(1)) - np.maximum(uv.min(1), other.min(1)) > 0).all(-1)
            if (meet & (z.min(1) < other_z.max(1))).any():
                return False
        return True

    def _block(self, centre, size, turn: float, texture_scale: float) -> Body:
        rng = self.rng
        pose = Pose("world", "obj", yaw(np.array([turn])), np.asarray(centre, float)[None])
        return Body(0, "box", np.asarray(size, float), pose, "still", int(rng.integers(1 << 31)),
                    float(texture_scale * rng.uniform(0.7, 1.3)),
                    float(rng.uniform(*self.d.background.texture_contrast)), self._colours(0.25))

    def _colours(self, saturation: float = 0.6) -> np.ndarray:
        grey = self.rng.uniform(0.3, 0.6, (2, 1))
        return np.clip(grey + saturation * self.rng.uniform(-0.5, 0.5, (2, 3)), 0.08, 0.95)
