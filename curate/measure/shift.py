"""An object's displacement by components: to the side and ahead, in the axes of the camera at the start."""

from __future__ import annotations

import numpy as np

from curate.measure.draws import SceneDraws
from curate.measure.magnitude import Sample, as_stated

Span = tuple[int, int]


def _shift(draws: SceneDraws, region_id: int, span: Span) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """R_iᵀ (P_j − P_i): draws [S, 3] and parts [P, 3], m, unscaled. A turned camera i has turned axes in its draw."""
    path, first = draws.region(region_id), draws.scene.region(region_id).first
    if ("shift", span) not in path.memo:
        i, j = span[0] - first, span[1] - first
        rotation = draws.scene.T_world_cam.rotation[span[0]]
        world = path.points[:, j] - path.points[:, i]
        turned = world - np.cross(draws.rotation_error[:, span[0]], world)
        path.memo["shift", span] = (turned @ rotation, {name: (part[:, j] - part[:, i]) @ rotation
                                                        for name, part in path.parts.items()})
    return path.memo["shift", span]


def _component(draws: SceneDraws, region_id: int, span: Span, axis: int) -> Sample:
    vectors, parts = _shift(draws, region_id, span)
    drawn = vectors[:, axis]
    if (path := draws.region(region_id)).stated:
        i, j = (frame - draws.scene.region(region_id).first for frame in span)
        moved = (path.mean[j] - path.mean[i]) @ draws.scene.T_world_cam.rotation[span[0]]
        drawn = as_stated(drawn, float(moved[axis]))
    return Sample(drawn, {name: part[:, axis] for name, part in parts.items()})


def lateral_shift(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """m, positive to the right as the camera at the start of the span sees it; its own motion is taken out."""
    return _component(draws, subjects[0], span, 0)


def longitudinal_shift(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """m along the optical axis of the camera at the start of the span, positive away from it."""
    return _component(draws, subjects[0], span, 2)
