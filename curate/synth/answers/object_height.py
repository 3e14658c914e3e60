"""The height of an object's visible surface: of the true points of all its visible pixels, along the camera's axis."""

from __future__ import annotations

import numpy as np

from curate.synth.answers.base import Case, TrueAnswer


def height(case: Case) -> TrueAnswer:
    subject, frame = case.asked[0], case.truth.start + case.span[0]
    if subject.object_id == 0:
        return TrueAnswer(problem="asked how tall an object is, but it is a part of the still world")
    depth, ids = case.renderer.geometry(frame)
    v, u = np.nonzero(ids == subject.object_id)
    points = case.truth.scene.rig.left.lift(np.stack([u, v], -1), depth[v, u])
    # half a pixel to each side: the surface ends between pixels
    pixel = float(np.median(depth[v, u])) / case.truth.scene.rig.left.fy
    return TrueAnswer(float(np.ptp(points[:, 1])) + pixel)


ANSWERS = {"object_height": height}
