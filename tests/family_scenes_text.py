"""Scenes whose course of events is written down by hand: polylines and speeds before a still camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.questions import QuestionsConfig
from curate.questions.asker import ask
from tests.scenes import Noise, make_scene

FPS, NUM_FRAMES = 10.0, 25  # 0.0 s .. 2.4 s


def polyline(corners: Sequence[tuple[float, Sequence[float]]]):
    """Path through places [x, y, z] m at given times, straight and at constant speed between them."""
    when, where = np.array([t for t, _ in corners]), np.array([p for _, p in corners], float)
    return lambda t: np.stack([np.interp(t, when, where[:, axis]) for axis in range(3)], -1)


def scene_of(*paths, noise: Noise | None = None, seed: int = 0, num_frames: int = NUM_FRAMES, camera: str = "still",
             scale: str = "calibrated"):
    """Region k + 1 goes along paths[k]; exact unless noise is given."""
    objects = [("thing", path, True) for path in paths]
    return make_scene(seed, camera, num_frames, len(objects), noise or Noise.none(), FPS, paths=objects, scale=scale)


def asked(scene, family: str, **config):
    """Questions by form (the last of each), and the reasons of what is not asked."""
    questions, dropped = ask(scene, QuestionsConfig(families=[family], **config))
    return {q.form: q for q in questions}, {d.reason for d in dropped}
