"""True directions from one object's place, facing another object or the way it has moved."""

from __future__ import annotations

import math

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer
from curate.synth.answers.marks import SAME, place, shared


def _where(case: Case, facing: np.ndarray, offset: np.ndarray, frame: int) -> TrueAnswer:
    """Both in world axes; above is up in the image of the camera at a frame."""
    down = case.truth.scene.camera(case.truth.start + frame).rotation[:, 1]
    facing, offset = (v - (v @ down) * down for v in (facing, offset))
    if not (np.linalg.norm(facing) > 0 and np.linalg.norm(offset) > 0):
        return TrueAnswer(problem="no direction")
    clockwise = math.degrees(math.atan2(float(np.cross(facing, offset) @ down), float(facing @ offset)))
    if abs(clockwise) <= 45:
        name = "ahead"
    elif abs(clockwise) >= 135:
        name = "behind"
    else:
        name = "to the right" if clockwise > 0 else "to the left"
    return TrueAnswer(category=name, text=f"{name} ({clockwise:.0f}° clockwise)")


def relation(case: Case) -> TrueAnswer:
    if shared(case.asked):
        return TrueAnswer(problem=SAME)
    frame = case.span[0]
    a, b, c = (place(case, subject, frame) for subject in case.asked)
    return _where(case, c - a, b - a, frame)


def shift(case: Case) -> TrueAnswer:
    if shared(case.asked):
        return TrueAnswer(problem=SAME)
    (a, b), (start, end) = case.asked, case.span
    return _where(case, place(case, a, end) - place(case, a, start), place(case, b, end) - place(case, a, end), start)


ANSWERS = {"viewpoint_relation": relation, "viewpoint_shift": shift}
