"""Clockwise or anticlockwise: the true turn of the body against the line along which it is looked at."""

from __future__ import annotations

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer


def angle(case: Case) -> TrueAnswer:
    turn = float(np.linalg.norm(case.truth.turn(case.asked[0], case.span)))
    return TrueAnswer(turn) if turn > 1e-9 else TrueAnswer(problem="asked how far it turns, but it does not")


def sense(case: Case) -> TrueAnswer:
    scene, subject, first = case.truth.scene, case.asked[0], case.truth.start + case.span[0]
    turn = case.truth.turn(subject, case.span)
    if not np.linalg.norm(turn) > 1e-9:
        return TrueAnswer(problem="asked which way it turns, but it does not")
    camera = scene.camera(first)
    if "seen from above" in case.qa["question"]:
        look = camera.rotation[:, 1]
    else:
        look = case.truth.path(subject, (case.span[0], case.span[0]))[0] - camera.translation
    look = look / np.linalg.norm(look)
    return TrueAnswer(category="clockwise" if turn @ look > 0 else "anticlockwise",
                      text=f"{np.degrees(turn @ look):.1f}° of {np.degrees(np.linalg.norm(turn)):.1f}°")


ANSWERS = {"object_rotation": angle, "object_rotation_direction": sense}
