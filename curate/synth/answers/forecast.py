"""What really comes next: the true displacement and the true place, in the axes of the true camera at the cut."""

from __future__ import annotations

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer

NAMES = (("right", "left"), ("down", "up"), ("forward", "backward"))


def _places(case: Case) -> np.ndarray:
    """[2, 3] m, right, down and forward of the camera at the span's first frame."""
    camera = case.truth.scene.camera(case.truth.start + case.span[0])
    world = np.stack([case.truth.path(case.asked[0], (frame, frame))[0] for frame in case.span])
    return (world - camera.translation) @ camera.rotation


def forecast_direction(case: Case) -> TrueAnswer:
    before, after = _places(case)
    shift = after - before
    axis = int(np.abs(shift).argmax())
    return TrueAnswer(category=NAMES[axis][int(shift[axis] < 0)], text=str(np.round(shift, 3).tolist()))


def forecast_position(case: Case) -> TrueAnswer:
    after = _places(case)[1]
    off = float(np.linalg.norm(np.array(case.qa["target"][0]) - after))
    return TrueAnswer(right=off <= case.qa["extra"]["tolerance_m"],
                      text=f"{np.round(after, 3).tolist()}, {off:.3f} m off")


ANSWERS = {"forecast_direction": forecast_direction, "forecast_position": forecast_position}
