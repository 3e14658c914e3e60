"""What a variant does to its clip's teacher tensors: exact algebra as for the scene, nan where it knows nothing.

Poses and cameras are those of the variant's scene; depth and what moves change their places; backward flow is kept
where the frames keep their neighbours.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from curate.augment.mirror import POINT
from curate.augment.variant import Variant
from curate.shards.teacher import TeacherTensors, first_camera_world


def mirrored(tensors: TeacherTensors) -> TeacherTensors:
    """Left and right exchanged. Twice mirrored is the original. Latents are of what a teacher saw: there are none."""
    K = tensors.K.copy()
    K[:, 0, 2] = tensors.grid[1] - 1 - K[:, 0, 2]  # pixel centres at whole numbers
    turned = np.concatenate([np.outer(POINT, POINT), POINT[:, None]], 1).astype(np.float32)  # M R M and M t
    return replace(tensors, depth=tensors.depth[:, :, ::-1].copy(), dynamic=tensors.dynamic[:, :, ::-1].copy(),
                   flow=tensors.flow[:, :, ::-1] * np.float32([-1, 1]), K=K,
                   T_world_cam=tensors.T_world_cam * turned, latent=None, latent_id="")


def reversed_in_time(tensors: TeacherTensors) -> TeacherTensors:
    """Played backwards. Twice reversed is the original but for the flow: what was forward flow is not kept, so that
    the flow is unknown."""
    return replace(tensors, time_s=tensors.time_s[-1] - tensors.time_s[::-1], depth=tensors.depth[::-1].copy(),
                   dynamic=tensors.dynamic[::-1].copy(), flow=np.full_like(tensors.flow, np.nan),
                   K=tensors.K[::-1].copy(), T_world_cam=first_camera_world(tensors.T_world_cam[::-1]),
                   latent=None, latent_id="")


def played(tensors: TeacherTensors, rate: float) -> TeacherTensors:
    """The same frames at `rate` times the speed: times are divided by it, flow stays that of neighbouring frames."""
    return replace(tensors, time_s=tensors.time_s / rate)


def begun_at(tensors: TeacherTensors, start: int) -> TeacherTensors:
    """Without the frames before `start`: times begin there, that camera is the world, and that frame has no flow."""
    flow = tensors.flow[start:].copy()
    flow[0] = np.nan
    return replace(tensors, time_s=tensors.time_s[start:] - tensors.time_s[start], depth=tensors.depth[start:],
                   flow=flow, dynamic=tensors.dynamic[start:], K=tensors.K[start:],
                   T_world_cam=first_camera_world(tensors.T_world_cam[start:]), latent=None, latent_id="")


def apply_to_teacher(tensors: TeacherTensors, variant: Variant) -> TeacherTensors:
    """The teacher tensors of a clip as recorded, after a variant's operations."""
    return variant.through(tensors, begun_at, mirrored, reversed_in_time, played)
