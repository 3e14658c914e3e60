"""Time reversal: the clip played backwards. Frame n is the clip's frame T − 1 − n.

The world is the camera at the first frame, as ever: all is turned into the axes of what was the last. A step of the
camera is the inverse of the step it was, with its error carried over; nothing that two frames have in common with each
other changes its error.

What is defined at one frame stays there, for no other is known: a region's reference point is the centre of the surface
that was visible when it was first seen, which is now when it is last seen. `Region.defined` says so, and so do the
questions, which are asked of such regions only where that is the clip's last frame.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from curate.augment.variant import renamed, variant_of
from curate.geometry.poses import Pose
from curate.geometry.rotations import skew
from curate.scene import Region, Scene


def reverse(scene: Scene) -> Scene:
    """The scene played backwards. Twice reversed is the original."""
    variant, num = variant_of(scene), scene.num_frames
    poses = scene.T_world_cam.expect("world", "cam")
    anchor = poses.rotation[0] @ poses.rotation[-1].T  # the new world's axes from the old one's
    back = Pose("world", "cam", anchor @ poses.rotation[::-1],
                (poses.translation[::-1] - poses.translation[-1]) @ anchor.T + poses.translation[0])
    steps = step_index(num)
    inverse = np.stack([np.eye(6), *inverse_steps(poses)[::-1]])  # frame 0 has no step; what stands there stays
    # "camera": against the y axis of the camera at the first frame, whichever that is
    up = scene.up_world if scene.up == "camera" else anchor @ scene.up_world
    return renamed(replace(
        scene, time_s=scene.time_s[0] + scene.time_s[-1] - scene.time_s[::-1], T_world_cam=back, up_world=up.copy(),
        step_cov=inverse @ scene.step_cov[steps] @ np.swapaxes(inverse, -1, -2),
        rig_step=(inverse @ scene.rig_step[steps][..., None])[..., 0],
        pose_cov=scene.pose_cov[::-1].copy(), camera_valid=scene.camera_valid[steps],
        regions=[_region(region, poses.rotation) for region in scene.regions]),
        replace(variant, reverse=not variant.reverse))


def step_index(num: int) -> np.ndarray:
    """[T] of the steps (entry k leads from frame k − 1 to k) those that are walked backwards; entry 0 has none."""
    return np.concatenate([[0], np.arange(num - 1, 0, -1)])


def inverse_steps(poses: Pose) -> np.ndarray:
    """[T − 1, 6, 6], entry k − 1: error of the step from camera k to k − 1, from the error of that from k − 1 to k.

    A step errs as exp(w) R, t + u. Its inverse is exp(−Rᵀw) Rᵀ, −Rᵀt − Rᵀ(u + t × w) to first order.
    """
    first, second = poses[:-1], poses[1:]
    back = np.swapaxes(second.rotation, -1, -2) @ first.rotation  # Rᵀ
    step = (np.swapaxes(first.rotation, -1, -2) @ (second.translation - first.translation)[..., None])[..., 0]
    out = np.zeros((len(back), 6, 6))
    out[:, :3, :3] = out[:, 3:, 3:] = -back
    out[:, 3:, :3] = -back @ skew(step)
    return out


def _region(region: Region, rotation: np.ndarray) -> Region:
    num = len(region.seen)
    flow = np.concatenate([np.arange(num - 2, -1, -1), [num - 1]])  # to the next frame: from the other end
    flipped = {name: getattr(region, name)[::-1].copy() for name in (
        "seen", "box", "centroid_px", "visible_fraction", "point_cam", "cov_frame", "cov_shared", "nearest_m",
        "nearest_sigma_m")}
    turns = {name: None if getattr(region, name) is None else getattr(region, name)[::-1].copy()
             for name in ("rotation_cam", "rotation_cov", "heading_cam")}
    return replace(region, **flipped, **turns, first=num - 1 - region.last, last=num - 1 - region.first,
                   flow_px=-region.flow_px[flow], flow_sigma_px=region.flow_sigma_px[flow],
                   step_cov=_drift(region, rotation),
                   defined="last" if region.defined == "first" else "first")


def _drift(region: Region, rotation: np.ndarray) -> np.ndarray:
    """[T, 3, 3] the drift of each motion between frames that see it, now of the frame where it was the one before."""
    seen, out = np.flatnonzero(region.seen), region.step_cov.copy()
    for before, after in pairwise(seen):
        turn = rotation[before].T @ rotation[after]
        out[before] = turn @ region.step_cov[after] @ turn.T
    if len(seen):  # of no motion: the entry of the first frame
        out[seen[-1]] = region.step_cov[seen[0]]
    return out[::-1].copy()
