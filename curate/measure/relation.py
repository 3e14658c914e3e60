"""Where regions are as the camera sees them, over joint draws: their places in its axes, how far they get from where
they were, and how far the camera turns. Draw n is the same world in every array; lengths are unscaled."""

from __future__ import annotations

import numpy as np

from curate.geometry.rotations import exp_so3, log_so3
from curate.measure.draws import SceneDraws
from curate.measure.paths import p_still
from curate.measure.smoothing import lengths

Span = tuple[int, int]


def point(draws: SceneDraws, region_id: int, frame: int) -> np.ndarray:
    """[S, 3] m, world, of a region's reference point."""
    return draws.region(region_id).points[:, frame - draws.scene.region(region_id).first]


def to_camera(draws: SceneDraws, vectors: np.ndarray, frame: int) -> np.ndarray:
    """World vectors [S, 3] in the axes of the camera at a frame: right, down, forward."""
    memo = draws.camera.memo
    if ("axes", frame) not in memo:
        memo["axes", frame] = exp_so3(draws.rotation_error[:, frame]) @ draws.scene.T_world_cam.rotation[frame]
    return (vectors[:, None] @ memo["axes", frame])[:, 0]


def in_camera(draws: SceneDraws, region_id: int, frame: int) -> np.ndarray:
    """R_tᵀ (P_t − c_t) [S, 3] m of a region's reference point: right, down, forward in the camera's axes at a frame."""
    path = draws.region(region_id)
    if ("in camera", frame) not in path.memo:
        offset = point(draws, region_id, frame) - draws.camera.points[:, frame]
        path.memo["in camera", frame] = to_camera(draws, offset, frame)
    return path.memo["in camera", frame]


def shift_in_camera(draws: SceneDraws, region_id: int, span: Span) -> np.ndarray:
    """R_iᵀ (P_j − P_i) [S, 3] m: what a region moves in the world, in the camera's axes at the span's first frame."""
    path = draws.region(region_id)
    if ("shift", *span) not in path.memo:
        moved = point(draws, region_id, span[1]) - point(draws, region_id, span[0])
        path.memo["shift", *span] = to_camera(draws, moved, span[0])
    return path.memo["shift", *span]


def away(draws: SceneDraws, region_id: int | None, span: Span) -> np.ndarray:
    """‖P_t − P_i‖ [S, n] m at every frame t of a span that begins at i; of the camera's centre where there is no
    region. Noise makes it larger, never smaller."""
    path = draws.camera if region_id is None else draws.region(region_id)
    if ("away", *span) not in path.memo:
        first = 0 if region_id is None else draws.scene.region(region_id).first
        points = path.points[:, span[0] - first:span[1] - first + 1]
        path.memo["away", *span] = lengths(points - points[:, :1])
    return path.memo["away", *span]


def still_p_value(draws: SceneDraws, region_id: int | None, span: Span) -> float:
    """p-value of "it does not move over this span" (chi-square), of a region or, where there is none, of the camera's
    centre."""
    if region_id is None:
        return p_still(draws.camera, draws.camera_smoother, *span)
    first = draws.scene.region(region_id).first
    return p_still(draws.region(region_id), draws.smoother(region_id), span[0] - first, span[1] - first)


def turned(draws: SceneDraws, span: Span) -> np.ndarray:
    """[S] rad: the largest angle by which the camera is turned, at any frame of a span, from its first. To first order
    in the error: ‖log(R_iᵀ R_t) + R_iᵀ (w_t − w_i)‖."""
    memo, (first, last) = draws.camera.memo, span
    if ("turned", *span) not in memo:
        rotation = draws.scene.T_world_cam.rotation[first:last + 1]
        error = draws.rotation_error[:, first:last + 1] - draws.rotation_error[:, first:first + 1]
        memo["turned", *span] = lengths(log_so3(rotation[0].T @ rotation) + error @ rotation[0]).max(1)
    return memo["turned", *span]
