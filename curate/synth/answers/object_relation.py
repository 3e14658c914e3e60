"""True place of one object with respect to another, in the axes of the true camera."""

from __future__ import annotations

from curate.synth.answers.base import Case, TrueAnswer
from curate.synth.answers.marks import SAME, in_camera, shared


def relation(case: Case) -> TrueAnswer:
    a, b = case.asked
    if shared((a, b)):
        return TrueAnswer(problem=SAME)
    frame = case.span[0]
    x, y, z = in_camera(case, a, frame) - in_camera(case, b, frame)
    side, height, depth = "left" if x < 0 else "right", "above" if y < 0 else "below", "in front" if z < 0 else "behind"
    options = set(case.qa["options"])
    for name in (side, height, depth, f"{side} and {depth}"):
        if name in options:
            return TrueAnswer(category=name, text=f"{name} ({x:.3g}, {y:.3g}, {z:.3g}) m")
    return TrueAnswer(problem=f"no relation among the options {sorted(options)}")


ANSWERS = {"object_object_relation": relation}
