"""Annotated cuboids and camera poses as a Scene. Nothing is estimated: the recipe says how accurate they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, exp, pi, radians, sqrt

import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.scene import Region, Scene
from curate.sources.annotated.outlines import Sight, look
from curate.sources.base import ClipSpec
from curate.sources.config_annotated import AnnotatedConfig

MIN_FRAMES = 3  # that an object is annotated in
STEADY = 0.5  # share of what builds up that goes on in one direction; the rest is a walk
MOVES_P = 1e-3
NO_PICTURE = Intrinsics(1.0, 1.0, 0.0, 0.0, 1, 1)


@dataclass(frozen=True)
class Track:
    """One annotated object over a clip of T frames.

    Args:
        name: its id in the files. label: what it is.
        centre: [T, 3] m, world, nan where it is not annotated.
        rotation: [T, 3, 3] box to world: x along its length to its front, z up.
        size: [T, 3] m: length, width, height.
        in_sight: [T] bool, whether its annotators could see it, as far as the files say.
    """

    name: str
    label: str
    centre: np.ndarray
    rotation: np.ndarray
    size: np.ndarray
    in_sight: np.ndarray

    @property
    def annotated(self) -> np.ndarray:
        """[T] bool."""
        return np.isfinite(self.centre).all(-1)


@dataclass(frozen=True)
class Annotated:
    """A clip as its files give it.

    Args:
        time_s: [T]. poses: T_world_cam, T frames, any world, metres. tracks: of all objects.
        up: gravity | ground-plane | camera. up_world: [3] unit; None where `up` is "camera".
        camera: of the pictures; None where there are none.
    """

    time_s: np.ndarray
    poses: Pose
    tracks: Sequence[Track]
    up: str
    up_world: np.ndarray | None
    camera: Intrinsics | None


def chi2_3_tail(x: float) -> float:
    """P(chi-square with 3 degrees of freedom > x), closed form."""
    return erfc(sqrt(x / 2)) + sqrt(2 * x / pi) * exp(-x / 2)


def still_p_value(track: Track, centre_m: float) -> float:
    """p-value of "it stands still": chi-square of its displacement over its track, by what builds up of its error."""
    frames = np.flatnonzero(track.annotated)
    shift = track.centre[frames[-1]] - track.centre[frames[0]]
    return chi2_3_tail(min(float(shift @ shift) / centre_m**2, 1400.0))


def given_scene(clip: ClipSpec, given: Annotated, config: AnnotatedConfig) -> Scene:
    """The scene of a clip. Its world is the camera at the first frame; regions are numbered from the nearest on, and
    `origin` says which annotation each is ("R3": "track 17")."""
    poses = Pose("world", "cam", given.poses.rotation, given.poses.translation)
    home = Pose("world", "city", poses.rotation[0].T, -poses.rotation[0].T @ poses.translation[0])
    poses = home @ Pose("city", "cam", poses.rotation, poses.translation)
    tracks = [_moved(track, home) for track in given.tracks]
    sights = look(tracks, poses, given.camera, config.min_visible)
    chosen = choose(tracks, sights, poses, config)
    accuracy, num = config.accuracy, len(given.time_s)
    step = np.repeat([radians(accuracy.pose_deg) ** 2, accuracy.pose_m**2], 3) / max(num - 1, 1)
    step_cov = np.repeat(np.diag(step)[None], num, 0)
    step_cov[0] = 0
    up_world = np.array([0.0, -1.0, 0.0]) if given.up_world is None else home.rotation @ given.up_world
    regions = [_region(number, tracks[i], sights[i], poses, config) for number, i in enumerate(chosen, 1)]
    return Scene(
        key=clip.key, clip=clip.to_json(), time_s=np.asarray(given.time_s - given.time_s[0], float),
        camera=given.camera or NO_PICTURE, baseline_m=0.0, baseline_sigma_m=0.0, scale="calibrated", up=given.up,
        up_world=up_world / np.linalg.norm(up_world), T_world_cam=poses, step_cov=step_cov,
        camera_valid=np.ones(num, bool), regions=regions, has_pictures=given.camera is not None,
        origin={"scene": "source", "camera": "source", "regions": "source",
                **{f"R{number}": f"track {tracks[i].name}" for number, i in enumerate(chosen, 1)}},
        stats={"scale_sigma": 0.0, "size_sigma_m": accuracy.size_m,
               "heading_sigma_rad": radians(accuracy.heading_deg), "regions_seen": float(len(tracks)),
               "regions_measured": float(len(regions))})


def _moved(track: Track, home: Pose) -> Track:
    return Track(track.name, track.label, track.centre @ home.rotation.T + home.translation,
                 home.rotation @ track.rotation, track.size, track.in_sight)


def choose(tracks: Sequence[Track], sights: Sequence[Sight], poses: Pose, config: AnnotatedConfig) -> list[int]:
    """Places in `tracks` of the objects that become regions: seen in the clip's first frame or near then, by turns one
    that moves and one that stands, the nearest first."""
    groups: dict[bool, list[tuple]] = {True: [], False: []}
    for i, (track, sight) in enumerate(zip(tracks, sights)):
        frames = np.flatnonzero(sight.seen)
        if len(frames) < MIN_FRAMES:
            continue
        first = frames[0]
        away = float(np.linalg.norm(track.centre[first] - poses.translation[first]))
        if away <= config.max_distance_m:
            moves = still_p_value(track, config.accuracy.centre_m) < MOVES_P
            groups[moves].append((int(first), away, track.name, i))
    moving, still = (sorted(groups[name]) for name in (True, False))
    taken = []
    while (moving or still) and len(taken) < config.max_objects:
        group = moving if moving and (len(taken) % 2 == 0 or not still) else still
        taken.append(group.pop(0))
    return [i for *_, i in sorted(taken)]


def _region(number: int, track: Track, sight: Sight, poses: Pose, config: AnnotatedConfig) -> Region:
    accuracy, num = config.accuracy, len(poses)
    seen, camera = sight.seen, np.swapaxes(poses.rotation, -1, -2)
    frames = np.flatnonzero(seen)
    first, last = int(frames[0]), int(frames[-1])

    def where_seen(values: np.ndarray) -> np.ndarray:
        return np.where(seen.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan)

    point = where_seen((camera @ (track.centre - poses.translation)[..., None])[..., 0])
    body = camera @ track.rotation  # box to camera axes
    own = np.broadcast_to(np.eye(3), (num, 3, 3))
    turns = np.where((np.arange(num) == first)[:, None, None], 0.0, 2 * own * radians(accuracy.heading_deg) ** 2)
    nothing = np.full((num, 2), np.nan)
    return Region(
        id=number, first=first, last=last, seen=seen, box=sight.box, centroid_px=sight.centre_px, flow_px=nothing,
        flow_sigma_px=nothing[:, 0], visible_fraction=sight.visible, point_cam=point,
        cov_frame=where_seen(own * accuracy.jitter_m**2), cov_shared=where_seen(own * accuracy.centre_m**2),
        step_cov=where_seen(own * accuracy.centre_m**2 / max(last - first, 1)), steady=STEADY,
        nearest_m=where_seen(_nearest(point, body, track.size)),
        nearest_sigma_m=where_seen(np.full(num, accuracy.centre_m)),
        extent_m=np.sort(track.size[first])[::-1].copy(), mask_first=sight.mask_first,
        motion_p=still_p_value(track, accuracy.centre_m), label=track.label,
        rotation_cam=where_seen(body @ body[first].T), rotation_cov=where_seen(turns), rigidity=1.0, point="cuboid",
        size_m=track.size[first].copy(), heading_cam=where_seen(body[..., 0]))


def _nearest(centre: np.ndarray, body: np.ndarray, size: np.ndarray) -> np.ndarray:
    """[T] m from the camera's centre to the nearest point of a box."""
    inside = -(np.swapaxes(body, -1, -2) @ centre[..., None])[..., 0]  # the camera in the box's axes
    return np.linalg.norm(np.maximum(np.abs(inside) - size / 2, 0), axis=-1)
