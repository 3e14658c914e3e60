"""One way, the other or neither: a true signed number against the margin that the question states."""

from __future__ import annotations

from collections.abc import Callable

from curate.synth.answers.base import Case, TrueAnswer

# below minus the margin, within, above
NAMES = {"lateral_shift": ("to the left", "neither", "to the right"),
         "longitudinal_shift": ("toward the camera", "neither", "away from the camera"),
         "camera_yaw": ("to the left", "neither", "to the right"),
         "camera_pitch": ("downwards", "neither", "upwards"),
         "camera_roll": ("anticlockwise", "neither", "clockwise")}


def _of(kind: str) -> Callable[[Case], TrueAnswer]:
    def answer(case: Case) -> TrueAnswer:
        value = case.truth.value(kind, case.asked, case.span, case.qa["reference"]).value
        if case.qa["form"] == "numeric":
            return TrueAnswer(value)
        margin = case.qa["extra"]["margin"]
        return TrueAnswer(value, NAMES[kind][1 + (value > margin) - (value < -margin)], text=f"{value:.4g}")
    return answer


ANSWERS = {kind: _of(kind) for kind in NAMES}
