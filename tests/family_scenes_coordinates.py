"""Scenes for grounding, correspondence and stereo: objects and a camera on straight lines, turning evenly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3
from curate.questions import Question, QuestionsConfig, ask
from curate.scene import Scene
from tests.scenes import Noise, make_scene

Vector = Callable[[np.ndarray], np.ndarray]  # time [n] s -> [n, 3]
SMALL = Noise(own_px=.02, own_disparity_px=.005, shared_px=.005, shared_disparity_px=.005, drift_px=.001, scale=.001)
FPS, NUM_FRAMES = 10.0, 21  # two seconds


def straight(start: tuple[float, ...], velocity: tuple[float, ...] = (0, 0, 0)) -> Vector:
    """Metres, and metres a second."""
    return lambda t: np.array(start, float) + np.array(velocity, float) * t[:, None]


def turning(rate_deg: tuple[float, ...]) -> Vector:
    """Rotation vector over time, degrees a second about (right, down, forward)."""
    return lambda t: np.radians(np.array(rate_deg, float)) * t[:, None]


STILL = straight((0, 0, 0))


def moving_scene(objects: tuple[Vector, ...], turns: tuple[Vector, ...] = (), camera: Vector = STILL,
                 camera_turn: Vector = STILL, noise: Noise = SMALL, turn_sigma: float = 1e-3) -> Scene:
    """World = camera 0; region k + 1 is objects[k].

    Args:
        objects: positions. turns: rotation vectors of the objects in the world, those that turn.
        camera, camera_turn: position and rotation vector of the camera, zero at time 0, stated with next to no error.
        turn_sigma: stated error of the objects' rotations, rad.
    """
    scene, _ = make_scene(0, "still", NUM_FRAMES, len(objects), noise, FPS,
                          paths=[("object", path, True) for path in objects])
    time, num = scene.time_s, scene.num_frames
    pose = Pose("world", "cam", exp_so3(camera_turn(time)), camera(time))
    to_camera, regions = np.swapaxes(pose.rotation, 1, 2), []
    for index, region in enumerate(scene.regions):
        point = (to_camera @ (region.point_cam - pose.translation)[..., None])[..., 0]
        turn = exp_so3(turns[index](time)) if index < len(turns) else np.tile(np.eye(3), (num, 1, 1))
        regions.append(replace(region, point_cam=point, centroid_px=scene.camera.project(point),
                               rotation_cam=to_camera @ turn,
                               rotation_cov=np.tile(turn_sigma**2 * np.eye(3), (num, 1, 1))))
    step_cov = np.tile(1e-10 * np.eye(6), (num, 1, 1))
    step_cov[0] = 0
    return replace(scene, T_world_cam=pose, step_cov=step_cov, regions=regions)


def asked(scene: Scene, *families: str, **config) -> list[Question]:
    return ask(scene, QuestionsConfig(**{"families": list(families)} | config))[0]
