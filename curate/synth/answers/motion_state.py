"""What truly moves, and how many do: by the lengths that the questions state."""

from __future__ import annotations

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer
from curate.synth.answers.marks import SAME, camera_centre, camera_path, place, shared
from curate.synth.truth import Subject

SHARE, TURN_DEG = 0.02, 2.0


def _range(case: Case, subject: Subject) -> float:
    start = case.span[0]
    return float(np.linalg.norm(place(case, subject, start) - camera_centre(case, start)))


def object_moves(case: Case, subject: Subject) -> bool:
    path = np.asarray(case.truth.path(subject, case.span, fine=True))
    return bool(np.linalg.norm(path - path[0], axis=-1).max() > SHARE * _range(case, subject))


def camera_moves(case: Case, subject: Subject) -> bool:
    rotation, centre = camera_path(case, case.span)
    cosine = (np.trace(rotation[0].T @ rotation, axis1=1, axis2=2) - 1) / 2
    far = np.linalg.norm(centre - centre[0], axis=-1).max() > SHARE * _range(case, subject)
    return bool(far or np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() > TURN_DEG)


def whose(case: Case) -> TrueAnswer:
    (subject,) = case.asked
    name = {(False, False): "neither of them", (False, True): "only the object", (True, False): "only the camera",
            (True, True): "both of them"}[camera_moves(case, subject), object_moves(case, subject)]
    return TrueAnswer(category=name, text=name)


def _count(case: Case, counted: list[bool]) -> TrueAnswer:
    if shared(case.asked):
        return TrueAnswer(problem=SAME)
    number = sum(counted)
    return TrueAnswer(value=float(number), category=str(number), text=str(number))


def moving(case: Case) -> TrueAnswer:
    still = ".still" in case.qa["id"]
    return _count(case, [object_moves(case, subject) != still for subject in case.asked])


def direction(case: Case) -> TrueAnswer:
    first, last = case.span
    axes = case.truth.scene.camera(case.truth.start + first).rotation
    side = next(s for s in ("right", "left", "forward", "backward") if f".{s}" in case.qa["id"])
    axis = axes[:, 0] if side in ("right", "left") else axes[:, 2]
    sign = 1 if side in ("right", "forward") else -1
    return _count(case, [sign * float((place(case, s, last) - place(case, s, first)) @ axis) > SHARE * _range(case, s)
                         for s in case.asked])


ANSWERS = {"whose_motion": whose, "count_moving": moving, "count_direction": direction}
