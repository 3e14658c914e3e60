"""Whether every fact of a caption is true of the scene, each number within what it allows."""

from __future__ import annotations

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer
from curate.synth.scene import SUB
from curate.synth.truth import Subject

STAYS_M = {True: 0.1, False: 0.05}  # of an object, of the camera


def _farthest(case: Case, subjects: list[Subject], span: tuple[int, int]) -> float:
    """m from where it is first, at any time of the span."""
    if subjects:
        path = case.truth.path(subjects[0], span, fine=True)
    else:
        index = np.arange((case.truth.start + span[0]) * SUB, (case.truth.start + span[1]) * SUB + 1)
        path = case.truth.scene.T_world_cam.translation[index]
    return float(np.linalg.norm(path - path[0], axis=-1).max())


def _way(case: Case, kind: str, subjects: list[Subject], span: tuple[int, int]) -> str:
    """The true name beside a number: a direction for a displacement, the number's own else."""
    return case.truth.value(kind.replace("displacement", "direction"), subjects, span).category


def _problem(case: Case, fact: dict) -> str:
    """What is wrong with one fact, "" where nothing is."""
    kind, span = fact["kind"], tuple(fact["span"])
    subjects = [case.subjects[i] for i in fact["subjects"]]
    if kind == "stays":
        far = _farthest(case, subjects, span)
        return "" if far < STAYS_M[bool(subjects)] else f"{fact['subjects']} goes {far:.3f} m"
    if kind == "fastest":
        speeds = [case.truth.value("object_mean_speed", [s], span).value for s in subjects]
        return "" if speeds[0] == max(speeds) else f"speeds {np.round(speeds, 3).tolist()}"
    true = abs(case.truth.value(kind, subjects, span).value)
    if abs(true - fact["value"]) > fact["tolerance"]:
        return f"{kind} {fact['subjects']}: {true:.4g}, not {fact['value']:.4g} ± {fact['tolerance']:.2g}"
    if fact["name"] and (name := _way(case, kind, subjects, span)) != fact["name"]:
        return f"{kind} {fact['subjects']}: {name}, not {fact['name']}"
    return ""


def dense_caption(case: Case) -> TrueAnswer:
    problems = [p for p in (_problem(case, fact) for fact in case.qa["extra"]["facts"]) if p]
    return TrueAnswer(right=not problems, text="; ".join(problems))


ANSWERS = {"dense_caption": dense_caption}
