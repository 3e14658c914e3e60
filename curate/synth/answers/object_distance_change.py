"""True change of the distance between two objects, from their true places at both times."""

from __future__ import annotations

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer
from curate.synth.answers.marks import SAME, place, shared


def change(case: Case) -> TrueAnswer:
    a, b = case.asked
    if shared((a, b)):
        return TrueAnswer(problem=SAME)
    start, end = (float(np.linalg.norm(place(case, a, frame) - place(case, b, frame))) for frame in case.span)
    return TrueAnswer(end - start, "closer together" if end < start else "farther apart")


ANSWERS = {"object_object_distance_change": change}
