"""Faster, slower or the same: true mean speeds on both sides of the middle, along the motion's fine steps."""

from __future__ import annotations

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer
from curate.synth.scene import SUB


def _trend(case: Case, path: np.ndarray) -> TrueAnswer:
    steps = np.linalg.norm(np.diff(path, axis=0), axis=-1)
    if steps.sum() < 1e-9:
        return TrueAnswer(problem="asked how its speed changes, but it stands still")
    parted = (case.qa["extra"]["middle_frame"] - case.span[0]) * SUB
    slow, fast = steps[:parted].mean(), steps[parted:].mean()
    change = (fast - slow) / max(slow, fast)
    name = "it keeps its speed" if abs(change) <= case.qa["extra"]["margin"] else \
        "it speeds up" if change > 0 else "it slows down"
    return TrueAnswer(category=name, text=f"{name} ({100 * change:+.1f} %)")


def of_camera(case: Case) -> TrueAnswer:
    start = case.truth.start
    first, last = ((start + frame) * SUB for frame in case.span)
    return _trend(case, case.truth.scene.T_world_cam.translation[first:last + 1])


def of_object(case: Case) -> TrueAnswer:
    return _trend(case, case.truth.path(case.asked[0], case.span, fine=True))


ANSWERS = {"camera_speed_trend": of_camera, "object_speed_trend": of_object}
