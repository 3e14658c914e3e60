"""Whether a premise is true, and what follows if it is."""

from __future__ import annotations

import math
import re

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer
from curate.synth.answers.marks import SAME, camera_centre, marks, place, shared
from curate.synth.answers.motion_state import object_moves
from curate.synth.truth import PER_UNIT


def false_premise(case: Case) -> TrueAnswer:
    if not case.asked:
        mark = case.qa["extra"]["absent"]
        shown = [r["id"] for r in case.record.get("regions", ()) if r["seen"][case.qa["mark_frame"]]]
        return TrueAnswer(problem="there is such a mark") if mark in shown else TrueAnswer(
            category="no object has this mark", text="no object has this mark")
    (subject,) = case.asked
    if not object_moves(case, subject):
        return TrueAnswer(category="it does not move", text="it does not move")
    if ".direction" in case.qa["id"]:
        name = case.truth.value("object_direction", [subject], case.span).category
        return TrueAnswer(category=name, text=name)
    first, last = case.span
    length = float(np.linalg.norm(place(case, subject, last) - place(case, subject, first)))
    options = {}
    for option in case.qa["options"]:
        if found := re.fullmatch(r"([\d.]+) (\w+)", option):
            options[option] = abs(math.log(float(found[1]) / PER_UNIT[found[2]] / max(length, 1e-9)))
    best = min(options, key=options.get, default="")
    # half of the way to the next rung of the ladder
    name = best if best and options[best] < 0.24 else ""
    return TrueAnswer(category=name, text=f"{length:.4g} m")


def undetermined(case: Case) -> TrueAnswer:
    if shared(case.asked):
        return TrueAnswer(problem=SAME)
    first, last = case.span
    if ".distance" in case.qa["id"]:
        a, b = (-float(np.linalg.norm(place(case, s, first) - camera_centre(case, first))) for s in case.asked)
    else:
        seconds = (last - first) / case.truth.scene.fps
        a, b = (float(np.linalg.norm(np.diff(np.asarray(case.truth.path(s, case.span, fine=True)), axis=0),
                                     axis=-1).sum()) / seconds for s in case.asked)
    name = "cannot be determined" if abs(a - b) <= case.qa["extra"]["tolerance"] else marks(case)[0 if a > b else 1]
    return TrueAnswer(category=name, text=f"{name} ({a:.4g}, {b:.4g})")


ANSWERS = {"false_premise": false_premise, "cannot_be_determined": undetermined}
