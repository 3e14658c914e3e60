"""Mirror: the scene as seen in a mirror, left and right exchanged.

M = diag(−1, 1, 1) acts on points in the world's and in every camera's axes, a pose T becomes M T M, and a rotation
vector, which is a pseudovector, det(M) M w = diag(1, −1, −1) w.

The first view stays the first: its marks, boxes and distances are asked about. In the mirror it is the pair's right
camera and the second view its left one, so that the rig stays rectified with the baseline negative. Answers about the
camera remain answers about the same camera; were the files exchanged, they would be about the other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from curate.augment.variant import renamed, variant_of
from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.scene import Region, RigState, Scene

POINT = np.array([-1.0, 1, 1])
TURN = -POINT  # of rotation vectors
STEP = np.concatenate([TURN, POINT])  # of (rotation vector, translation)


def mirror(scene: Scene) -> Scene:
    """The mirrored scene. Twice mirrored is the original.

    Reflected are paths, points, rotations with their covariances, boxes, masks, flow, the rig's angles and the order of
    the views; distances, sizes, times and what is a share stay.
    """
    variant = variant_of(scene)
    camera, poses = scene.camera, scene.T_world_cam
    stats = dict(scene.stats)
    if "doffs_px" in stats:  # cx of the second view less cx of the first
        stats["doffs_px"] = -stats["doffs_px"]
    return renamed(replace(
        scene, camera=_camera(camera), baseline_m=-scene.baseline_m, up_world=scene.up_world * POINT,
        T_world_cam=Pose(poses.target, poses.source, _turned(poses.rotation), poses.translation * POINT),
        step_cov=_covariance(scene.step_cov, STEP), pose_cov=_covariance(scene.pose_cov, STEP),
        rig=None if scene.rig is None else _rig(scene.rig),
        rig_step=-scene.rig_step * STEP,  # per radian of the mirrored pan, which has the other sign
        regions=[_region(region, camera.width) for region in scene.regions], stats=stats),
        replace(variant, mirror=not variant.mirror))


def _camera(camera: Intrinsics) -> Intrinsics:
    return replace(camera, cx=camera.width - 1 - camera.cx)  # pixel centres at whole numbers


def _turned(rotation: np.ndarray) -> np.ndarray:
    return rotation * np.outer(POINT, POINT)


def _covariance(covariance: np.ndarray, signs: np.ndarray) -> np.ndarray:
    return covariance * np.outer(signs, signs)


def _rig(rig: RigState) -> RigState:
    return replace(rig, theta=rig.theta * TURN, covariance=_covariance(rig.covariance, TURN),
                   applied=rig.applied * TURN)


def _region(region: Region, width: int) -> Region:
    x0, y0, x1, y1 = np.moveaxis(region.box, -1, 0)  # half-open: x1 is one past the last column
    u, v = np.moveaxis(region.centroid_px, -1, 0)
    return replace(
        region, box=np.stack([width - x1, y0, width - x0, y1], -1), centroid_px=np.stack([width - 1 - u, v], -1),
        flow_px=region.flow_px * POINT[:2], point_cam=region.point_cam * POINT,
        cov_frame=_covariance(region.cov_frame, POINT), cov_shared=_covariance(region.cov_shared, POINT),
        step_cov=_covariance(region.step_cov, POINT), mask_first=region.mask_first[:, ::-1].copy(),
        rotation_cam=None if region.rotation_cam is None else _turned(region.rotation_cam),
        rotation_cov=None if region.rotation_cov is None else _covariance(region.rotation_cov, TURN),
        heading_cam=None if region.heading_cam is None else region.heading_cam * POINT)
