"""True comparisons of marked objects, from their true paths: who stands out, and their order in depth."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer
from curate.synth.answers.marks import SAME, camera_centre, in_camera, marks, place, shared
from curate.synth.scene import SUB
from curate.synth.truth import Subject

Value = Callable[[Case, Subject], float]
LOWEST = ("slowest", "least", "nearest", "first")  # variants whose answer has the lowest value


def _speed(case: Case, subject: Subject) -> float:
    path = np.asarray(case.truth.path(subject, case.span, fine=True))
    return float(np.linalg.norm(np.diff(path, axis=0), axis=-1).sum())  # all over the same time


def _displacement(case: Case, subject: Subject) -> float:
    first, last = case.span
    return float(np.linalg.norm(place(case, subject, last) - place(case, subject, first)))


def _distance(case: Case, subject: Subject) -> float:
    return float(np.linalg.norm(place(case, subject, case.span[0]) - camera_centre(case, case.span[0])))


def _depth(case: Case, subject: Subject) -> float:
    return float(in_camera(case, subject, case.span[0])[2])


def _time(case: Case, subject: Subject) -> float:
    found = re.search(r"([\d.]+) (cm|m)\b", case.qa["extra"]["length"])
    level = float(found[1]) * (0.01 if found[2] == "cm" else 1)
    path = np.asarray(case.truth.path(subject, case.span, fine=True))
    there = np.linalg.norm(path - path[0], axis=-1) >= level
    return float(np.argmax(there)) / SUB if there.any() else np.inf


def standing_out(value: Value) -> Callable[[Case], TrueAnswer]:
    """Who has the largest, or the lowest, value, as the question's id says."""
    def answer(case: Case) -> TrueAnswer:
        if shared(case.asked):
            return TrueAnswer(problem=SAME)
        values = np.array([value(case, subject) for subject in case.asked])
        variant = re.search(r"\.([a-z]+)\d+-\w+$", case.qa["id"])[1]
        if variant == "order":
            name = ", ".join(marks(case)[i] for i in np.argsort(values, kind="stable"))
            return TrueAnswer(category=name, text=name)
        best = int(np.argmin(values) if variant in LOWEST else np.argmax(values))
        if not np.isfinite(values[best]) or (values == values[best]).sum() > 1:
            return TrueAnswer(problem="no one stands out")
        listed = ", ".join(f"{mark} {v:.4g}" for mark, v in zip(marks(case), values))
        return TrueAnswer(category=marks(case)[best], text=f"{marks(case)[best]} ({listed})")
    return answer


ANSWERS = {"speed_comparison": standing_out(_speed), "displacement_comparison": standing_out(_displacement),
           "distance_comparison": standing_out(_distance), "order_comparison": standing_out(_time),
           "depth_order": standing_out(_depth)}
