"""Poses that come with an RGB-D recording, as the colour camera's, with their errors."""

from __future__ import annotations

import numpy as np

from curate.geometry.poses import Pose
from curate.sources.config_rgbd import GivenPosesConfig


def given_poses(config: GivenPosesConfig, poses: Pose, T_color_depth: Pose | None
                ) -> tuple[tuple[Pose, np.ndarray, np.ndarray], np.ndarray | None]:
    """(T_world_cam of the colour camera, world = its first frame; step covariance; covariance of each pose), and up.

    The accuracy stated is of each pose by itself: errors of a tracker or of motion capture do not add up from frame to
    frame, as those of odometry do. The first pose's is part of the motion from it.
    """
    if config.of == "depth" and T_color_depth is not None:
        poses = Pose("world", "depth", poses.rotation, poses.translation) @ _many(T_color_depth.inverse(), len(poses))
    first = poses[0].inverse()
    rotation = first.rotation @ poses.rotation
    translation = poses.translation @ first.rotation.T + first.translation
    num = len(poses)
    sigma = [np.radians(config.rotation_sigma_deg)] * 3 + [config.translation_sigma_m] * 3
    alone = np.broadcast_to(np.diag(np.square(sigma)), (num, 6, 6)).copy()
    up = None if config.up is None else first.rotation @ np.asarray(config.up, float)
    return (Pose("world", "cam", rotation, translation), np.zeros((num, 6, 6)), alone), up


def _many(pose: Pose, num: int) -> Pose:
    return Pose(pose.target, pose.source, np.repeat(pose.rotation[None], num, 0),
                np.repeat(pose.translation[None], num, 0))
