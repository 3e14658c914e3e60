"""What a scene says of its own rig: the rotation left between its cameras, as the page shows it."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.scene import Scene

ANGLES = ("tilt", "pan", "roll")
LEAST_REACH_DEG = 0.05  # of the axis that the intervals are drawn on
CUES = {"motion": "the camera's motion", "rows": "the rows of matches", "both": "motion and rows",
        "prior": "nothing in the clip"}


def rig_facts(scene: Scene) -> dict[str, Any] | None:
    """
    Returns:
        {"angles": [{"name", "degrees", "sigma", "applied", "at", "low", "width"}], "cue", "shift_px" (disparity that
        the pan is worth at the image's centre), "applied": whether anything was corrected, "warning"}; degrees, and
        percent of the axis. None where the rig was taken as published.
    """
    rig = scene.rig
    if rig is None:
        return None
    theta, applied = np.degrees(rig.theta), np.degrees(rig.applied)
    sigma = np.degrees(np.sqrt(np.maximum(np.diag(rig.covariance), 0)))
    reach = max(LEAST_REACH_DEG, float((np.abs(theta) + 2 * sigma).max()) * 1.1)

    def at(degrees: float) -> float:
        return round(50 + 50 * degrees / reach, 2)

    angles = [{"name": name, "degrees": float(theta[i]), "sigma": float(sigma[i]), "applied": bool(applied[i] != 0),
               "at": at(theta[i]), "low": at(theta[i] - 1.96 * sigma[i]),
               "width": max(round(100 * 1.96 * float(sigma[i]) / reach, 2), 0.6)} for i, name in enumerate(ANGLES)]
    return {"angles": angles, "cue": CUES.get(rig.cue, rig.cue), "reach": reach, "warning": rig.warning,
            "shift_px": scene.camera.fx * float(rig.theta[1]), "applied": bool(np.any(applied != 0))}
