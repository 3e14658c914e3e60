"""The camera's true place and yaw at the end in its axes at the start, against what was written, to the step stated."""

from __future__ import annotations

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer


def pose(case: Case) -> TrueAnswer:
    before, after = (case.truth.scene.camera(case.truth.start + frame) for frame in case.span)
    place = before.rotation.T @ (after.translation - before.translation)
    yaw = float(np.degrees(case.truth.value("camera_yaw", (), case.span).value))
    said, steps = case.qa["target"], case.qa["extra"]
    right = (np.abs(place - said["position"]) <= steps["step_m"]).all() and \
        abs(yaw - said["yaw"]) <= steps["step_deg"]
    return TrueAnswer(right=bool(right), text=f"{np.round(place, 3).tolist()} m, {yaw:.2f}°")


ANSWERS = {"camera_pose": pose}
