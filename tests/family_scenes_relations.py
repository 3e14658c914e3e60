"""A small world whose relations can be worked out by hand, for the families about several marked objects.

Metres in the axes of camera 0 (x right, y down, z forward), seconds; 25 frames at 24 a second, from 0 to 1 s:

    <R1>  stands still at (-1.0, 0.0, 4.0)
    <R2>  stands still at (1.0, 0.2, 6.0)
    <R3>  moves right at 1 m/s from (-0.5, -0.3, 5.0)
    <R4>  moves forward at 2 m/s from (0.5, 0.3, 5.0)
"""

from __future__ import annotations

import numpy as np

from curate.questions import Question, QuestionsConfig, ask
from curate.scene import Scene
from tests.scenes import Noise, Path, make_scene

START = {1: (-1.0, 0.0, 4.0), 2: (1.0, 0.2, 6.0), 3: (-0.5, -0.3, 5.0), 4: (0.5, 0.3, 5.0)}
VELOCITY = {1: (0, 0, 0), 2: (0, 0, 0), 3: (1.0, 0, 0), 4: (0, 0, 2.0)}
NUM_FRAMES, LAST_S = 25, 1.0
FINE = Noise(own_px=.02, own_disparity_px=.01, shared_px=.01, shared_disparity_px=.01, drift_px=.001, step_rad=1e-5,
             step_m=3e-5, step_share=2e-4, scale=.002)


def place(region: int, time_s: float) -> np.ndarray:
    """[3] m, where it is."""
    return np.array(START[region]) + time_s * np.array(VELOCITY[region])


def _path(region: int) -> Path:
    return lambda t: np.array(START[region]) + np.array(VELOCITY[region], float) * t[:, None]


def world(camera: str = "still", noise: Noise = FINE, more: dict[int, Path] | None = None, seed: int = 0,
          **options) -> Scene:
    """The scene as perception would give it. `more`: further regions, 5 and on."""
    paths = [("", _path(i), any(VELOCITY[i])) for i in START] + [("", path, True) for path in (more or {}).values()]
    return make_scene(seed, camera, NUM_FRAMES, len(paths), noise, paths=paths, **options)[0]


def street() -> Scene:
    """From a car that drives: <R1> and <R2> stand still at the roadside, <R3> and <R4> drive ahead."""
    paths = [("", lambda t, x=x, z=z, v=v: np.array([x, .5, z]) + t[:, None] * np.array([0, 0, v]), v > 0)
             for x, z, v in ((-4, 30, 0.0), (4, 36, 0.0), (-1.5, 28, 9.0), (2, 33, 14.0))]
    return make_scene(1, "driving", NUM_FRAMES, 4, FINE, paths=paths)[0]


def asked(scene: Scene, *families: str, **config) -> list[Question]:
    return ask(scene, QuestionsConfig(families=families, **config))[0]


def reasons(scene: Scene, *families: str, **config) -> set[str]:
    return {dropped.reason for dropped in ask(scene, QuestionsConfig(families=families, **config))[1]}
