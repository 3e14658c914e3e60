"""Scenes for the families of motion: any path and turn of the camera and of objects, in closed form."""

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
STEADY = Noise(own_px=.02, own_disparity_px=.005, shared_px=.005, shared_disparity_px=.005, drift_px=.001, scale=.001)
FPS, NUM_FRAMES = 10.0, 21  # two seconds: the middle is at 1 s


def straight(start: tuple[float, ...], velocity: tuple[float, ...] = (0, 0, 0),
             acceleration: tuple[float, ...] = (0, 0, 0)) -> Vector:
    """start + velocity t + acceleration t² / 2."""
    a, b, c = (np.array(x, float) for x in (start, velocity, acceleration))
    return lambda t: a + b * t[:, None] + c * t[:, None] ** 2 / 2


def still(t: np.ndarray) -> np.ndarray:
    return np.zeros((len(t), 3))


def turning(rate_deg: tuple[float, ...]) -> Vector:
    """Rotation vector over time, degrees a second about (right, down, forward)."""
    return lambda t: np.radians(np.array(rate_deg, float)) * t[:, None]


def motion_scene(objects: tuple[Vector, ...] = (straight((0, 0, 5)),), turns: tuple[Vector, ...] = (),
                 camera: Vector = still, camera_turn: Vector = still, noise: Noise = STEADY, turn_sigma: float = 1e-3,
                 step_m: float = 1e-4, step_rad: float = 1e-5, **options) -> Scene:
    """World = camera 0.

    Args:
        objects: positions; region k + 1 is objects[k]. turns: their rotation vectors in the world, where they turn.
        camera, camera_turn: position and rotation vector of the camera, both zero at time 0; stated with an error of
            step_m, step_rad a frame and exact. turn_sigma: stated error of the objects' rotations, rad.
    """
    scene, _ = make_scene(0, "still", NUM_FRAMES, len(objects), noise, FPS,
                          paths=[("object", path, True) for path in objects], **options)
    time, num = scene.time_s, scene.num_frames
    pose = Pose("world", "cam", exp_so3(camera_turn(time)), camera(time))
    regions = []
    for index, region in enumerate(scene.regions):
        world = region.point_cam  # the camera of `make_scene` stands at the origin
        point = np.einsum("tji,tj->ti", pose.rotation, world - pose.translation)
        turn = exp_so3(turns[index](time)) if index < len(turns) else np.tile(np.eye(3), (num, 1, 1))
        covariance = np.tile(turn_sigma**2 * np.eye(3), (num, 1, 1))
        covariance[0] = 0
        regions.append(replace(region, point_cam=point, centroid_px=scene.camera.project(point),
                               rotation_cam=np.swapaxes(pose.rotation, 1, 2) @ turn, rotation_cov=covariance))
    step_cov = np.tile(np.diag([step_rad**2] * 3 + [step_m**2] * 3), (num, 1, 1))
    step_cov[0] = 0
    return replace(scene, T_world_cam=pose, step_cov=step_cov, regions=regions)


def asked(scene: Scene, *families: str, **config) -> list[Question]:
    return ask(scene, QuestionsConfig(**{"families": list(families)} | config))[0]


def whole(questions: list[Question], form: str = "", region: int | None = None) -> Question:
    """The one question of a form about the whole clip."""
    found = [q for q in questions if (q.start_frame, q.end_frame) == (0, NUM_FRAMES - 1) and form in ("", q.form)
             and (region is None or q.regions == [region])]
    assert len(found) == 1, [q.id for q in found]
    return found[0]


def reasons(scene: Scene, family: str) -> set[str]:
    """Why a family is not asked of the whole clip."""
    return {d.reason for d in ask(scene, QuestionsConfig(families=[family]))[1] if d.span == (0, NUM_FRAMES - 1)}
