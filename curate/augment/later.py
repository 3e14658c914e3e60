"""A clip cut for what enters later: the same scene from the frame on where new regions are first seen.

Questions speak of regions that the marked frame, the first, shows. What enters later has its mask and its reference
point at the frame where it is first seen, so a cut that begins there can ask of it. Of regions that were there before,
neither is known at the new first frame: they are left to the clip itself.

Nothing is measured anew. The world is, as ever, the camera at the first frame, so all is turned into the axes of that
camera; what is of one frame, or of the step between two, is taken over as it stands, and so are the ids of regions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from curate.augment.config import MIN_FRAMES
from curate.augment.variant import renamed, variant_of
from curate.geometry.poses import Pose
from curate.scene import Region, Scene

MIN_SEEN = 6  # frames in which a region is measured; fewer show no course of anything


def later(scene: Scene, start: int) -> Scene:
    """The scene from frame `start` on, with the regions that are first seen there or later.

    Args:
        start: 1 to the last frame but one.

    Raises:
        ValueError: where too few frames are left, or the scene is played backwards: a cut comes first.
    """
    if not 0 < start < scene.num_frames - 1:
        raise ValueError(f"{scene.key}: a cut from frame {start} of {scene.num_frames}; expected 1 to "
                         f"{scene.num_frames - 2}")
    variant = variant_of(scene)
    if variant.reverse:
        raise ValueError(f"{scene.key}: is played backwards; cut first, then reverse")
    poses = scene.T_world_cam.expect("world", "cam")
    anchor = poses.rotation[0] @ poses.rotation[start].T  # the new world's axes from the old one's
    up = scene.up_world if scene.up == "camera" else anchor @ scene.up_world  # "camera": the first, whichever that is
    clip = scene.clip | {"start": int(scene.clip.get("start", 0)) + start, "num_frames": scene.num_frames - start}
    return renamed(replace(
        scene, clip=clip, time_s=scene.time_s[start:] - scene.time_s[start], up_world=up.copy(),
        T_world_cam=Pose("world", "cam", anchor @ poses.rotation[start:],
                         (poses.translation[start:] - poses.translation[start]) @ anchor.T + poses.translation[0]),
        step_cov=_steps(scene.step_cov, start), rig_step=_steps(scene.rig_step, start),
        pose_cov=scene.pose_cov[start:].copy(), camera_valid=scene.camera_valid[start:].copy(),
        regions=[_region(region, start) for region in scene.regions if region.first >= start]),
        replace(variant, start=variant.start + start))


def _steps(values: np.ndarray, start: int) -> np.ndarray:
    """Of steps (entry k leads from frame k − 1 to k): entry 0 has none, what stands there stays."""
    return np.concatenate([values[:1], values[start + 1:]])


def _region(region: Region, start: int) -> Region:
    num = len(region.seen)
    by_frame = {name: value[start:].copy() for name, value in vars(region).items()
                if isinstance(value, np.ndarray) and name not in ("extent_m", "mask_first", "size_m")}
    assert all(len(value) == num - start for value in by_frame.values())
    return replace(region, **by_frame, first=region.first - start, last=region.last - start)


def late_start(scene: Scene, min_frames: int = MIN_FRAMES, min_seen: int = MIN_SEEN) -> int | None:
    """The frame where a cut begins: that where most good regions enter, of these the one whose regions are measured in
    most frames, then the earliest.

    Good is what first appears there (not in the clip's first frame), is rigid and is measured in `min_seen` frames.
    Whether it moves does not count: what is seen briefly is sooner taken to move.

    Args:
        min_frames: that a cut has at least.

    Returns:
        None where no good region enters while so many frames are left.
    """
    worth: dict[int, tuple[int, int, int]] = {}
    for region in scene.regions:
        measured = region.seen & np.isfinite(region.point_cam).all(-1) & np.isfinite(region.centroid_px).all(-1)
        is_good = region.rigid and region.defined == "first" and int(measured.sum()) >= min_seen
        if is_good and 0 < region.first <= scene.num_frames - min_frames and region.seen[region.first]:
            count, frames, _ = worth.get(region.first, (0, 0, 0))
            worth[region.first] = count + 1, frames + int(measured.sum()), -region.first
    return max(worth, key=worth.__getitem__, default=None)
