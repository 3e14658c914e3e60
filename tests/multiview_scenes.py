"""Rendered clips of several fixed cameras whose every pose is known: frames as a source gives them, and their files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3
from curate.sources.base import ClipSpec, View
from curate.synth.renderer import Renderer
from curate.synth.scene import SUB, Body, SceneTruth

CAMERA = Intrinsics(460.0, 460.0, 239.5, 179.5, 480, 360)


def look_at(centre, target, roll: float = 0.0) -> Pose:
    """T_world_cam of a camera at `centre` [3] that looks at `target` [3]; the world's y points down."""
    centre, target = np.asarray(centre, float), np.asarray(target, float)
    z = (target - centre) / np.linalg.norm(target - centre)
    x = np.cross([0, 1.0, 0], z)
    x /= np.linalg.norm(x)
    axes = np.column_stack([x, np.cross(z, x), z]) @ exp_so3(np.array([0, 0, roll]))
    return Pose("world", "cam", axes, centre)


FOUR = (look_at([0, -0.2, 0], [0, 0, 2.2]), look_at([0.9, -0.3, 0.2], [0, 0, 2.2]),
        look_at([-0.8, 0.2, 0.1], [0, 0, 2.2]), look_at([0.3, -0.9, 0.4], [0, 0, 2.2], 0.1))


@dataclass
class MultiviewScene:
    """bodies: 0 the still world. poses: T_world_cam of each camera."""

    bodies: tuple[Body, ...]
    poses: tuple[Pose, ...]
    num_frames: int
    fps: float
    camera: Intrinsics = CAMERA

    def point_rig(self, body_id: int, point_obj=(0.0, 0.0, 0.0)) -> np.ndarray:
        """[T, 3] where a point of a body is at each frame, in the axes of camera 0, metres."""
        body = next(b for b in self.bodies if b.id == body_id)
        world = body.points(np.asarray(point_obj, float), np.arange(self.num_frames) * SUB)
        return self.poses[0].inverse() @ world

    def pose_rig(self, body_id: int, frame: int) -> Pose:
        """T_rig_obj."""
        pose = next(b for b in self.bodies if b.id == body_id).pose(frame * SUB)
        back = self.poses[0].inverse()
        return Pose("rig", "world", back.rotation, back.translation) @ pose

    def renderers(self) -> list[Renderer]:
        fine = (self.num_frames - 1) * SUB + 1
        out = []
        for number, pose in enumerate(self.poses):
            path = Pose("world", "cam", np.tile(pose.rotation, (fine, 1, 1)), np.tile(pose.translation, (fine, 1)))
            out.append(Renderer(SceneTruth(f"view{number}", (1, number), "room", "still", self.fps, self.num_frames,
                                           StereoRig(self.camera, 1.0), path, self.bodies,
                                           np.array([0.3, -0.8, -0.5]), 1.5, 1.0, 18)))
        return out


class MultiviewSceneFrames:
    """Frames of a `MultiviewScene`, rendered when made."""

    def __init__(self, scene: MultiviewScene) -> None:
        self.images = []
        for renderer in scene.renderers():
            self.images.append(np.stack([picture(renderer, t) for t in range(scene.num_frames)]))
        first = scene.poses[0].inverse()
        self.views = tuple(
            View(f"cam{k}", scene.camera, Pose("rig", f"cam{k}", first.rotation @ pose.rotation,
                                               first.rotation @ pose.translation + first.translation))
            for k, pose in enumerate(scene.poses))
        self.time_s = np.arange(scene.num_frames) / scene.fps
        self.num_frames = scene.num_frames
        self.rig, self.scale, self.is_grey, self.scale_sigma = None, "calibrated", False, 0.002
        self.given: dict[str, Any] = {}

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        return [images[start:stop] for images in self.images]

    def close(self) -> None:
        pass


def picture(renderer: Renderer, frame: int) -> np.ndarray:
    """[H, W, 3] uint8 of one view, without the second one that `Renderer.render` makes."""
    camera, pose = renderer.scene.rig.left, renderer._pose(frame, 0)
    depth, facet = renderer._cast(renderer._world(frame), pose, renderer._rays)
    colour = renderer._shade(depth, facet, pose, renderer._rays, renderer._ray_norm, frame)
    return renderer._expose(colour.reshape(camera.height, camera.width, 3), frame, 0)


def box(number: int, size, position: np.ndarray, turn: np.ndarray, seed: int) -> Body:
    """A textured box: centre `position` [F, 3] and rotation vectors `turn` [F, 3] on the fine time grid."""
    colours = np.random.default_rng(seed).uniform(0.15, 0.95, (2, 3))
    return Body(number, "box", np.asarray(size, float), Pose("world", "obj", exp_so3(turn), position),
                "still" if len(position) == 1 else "constant", seed, 0.05 if number else 0.15, 1.0, colours)


def room() -> Body:
    """A still wall behind everything."""
    return box(0, [8, 6, 0.2], np.array([[0, 0, 4.0]]), np.zeros((1, 3)), 5)


def along(num_frames: int, fps: float) -> np.ndarray:
    """[F] seconds of the fine time grid."""
    return np.arange((num_frames - 1) * SUB + 1) / (fps * SUB)


def moving_box(num_frames: int = 16, fps: float = 8.0, velocity=(0.15, 0.03, -0.08), turning=(0.1, 0.3, 0.2),
               size=(0.5, 0.4, 0.06), start=(-0.15, 0.0, 2.2), seed: int = 11, number: int = 1) -> Body:
    """A flat box, like a board, that moves and turns evenly."""
    t = along(num_frames, fps)[:, None]
    return box(number, size, np.asarray(start) + t * np.asarray(velocity), t * np.asarray(turning), seed)


def clip_spec(scene: MultiviewScene, key: str = "a" * 24) -> ClipSpec:
    return ClipSpec(key, "multiview", ".", "rendered", 0, scene.num_frames)
