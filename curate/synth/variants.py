"""The truth of a mirrored, reversed or faster clip: the scene itself mirrored, reversed, played faster. One that is cut
for what enters later has the truth of its frames: it begins at another frame of the same scene.

Written from the bodies and the camera's path alone; nothing of how a measured scene is turned (`curate.augment`) is
used, so that the two can be held against each other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from curate.augment.variant import Variant
from curate.geometry.cameras import StereoRig
from curate.geometry.poses import Pose
from curate.synth.scene import SceneTruth
from curate.synth.truth import Subject

SIDES = np.array([-1.0, 1, 1])
# Families without a truth here: boxes of the second view, which is rendered of the right camera alone; and those whose
# truth is taken from masks, of which a reversed clip has none where its regions are first seen.
OF_SIDES, OF_MASKS = ("view_box",), ("view_", "grounding_2d", "grounding_mark")


def scene_of(scene: SceneTruth, variant: Variant) -> SceneTruth:
    """The scene as a variant of its clips shows it."""
    def turned(poses: Pose) -> Pose:
        rotation, translation = poses.rotation, poses.translation
        if variant.mirror:
            rotation, translation = rotation * np.outer(SIDES, SIDES), translation * SIDES
        if variant.reverse:
            rotation, translation = rotation[::-1], translation[::-1]
        return Pose(poses.target, poses.source, rotation, translation)

    left = scene.rig.left
    if variant.mirror:
        left = replace(left, cx=left.width - 1 - left.cx)
    return replace(scene, fps=scene.fps * variant.rate, rig=StereoRig(left, scene.rig.baseline_m),
                   T_world_cam=turned(scene.T_world_cam),
                   bodies=tuple(replace(body, T_world_obj=turned(body.T_world_obj)) for body in scene.bodies))


def start_of(scene: SceneTruth, start: int, num_frames: int, variant: Variant) -> int:
    """First frame of the clip in that scene."""
    return scene.num_frames - start - num_frames if variant.reverse else start


def has_truth(family: str, variant: Variant) -> bool:
    """Whether what a family says of a variant can be judged."""
    return not (variant.mirror and family.startswith(OF_SIDES)) and not (variant.reverse
                                                                         and family.startswith(OF_MASKS))


def subject_of(subject: Subject | None, variant: Variant) -> Subject | None:
    """What a region is, there: the same point of the same body."""
    return replace(subject, point=subject.point * SIDES) if subject and variant.mirror else subject
