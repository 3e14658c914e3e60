"""From frames of several calibrated views to a scene: windows are read once, and only tracks are kept of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from curate.geometry.poses import Pose
from curate.perception.multiview import NAME, VERSION
from curate.perception.multiview.bodies import (
    MIN_OF_SEEN,
    Body,
    followers,
    grow_body,
    moves_along,
    share_of_what_is_seen,
)
from curate.perception.multiview.cameras import Cameras
from curate.perception.multiview.config import ViewsConfig
from curate.perception.multiview.loose import loose_regions
from curate.perception.multiview.matching import group, matched_pairs
from curate.perception.multiview.places import Places, triangulate_places
from curate.perception.multiview.regions import build_region
from curate.perception.multiview.seeds import find_seed
from curate.perception.multiview.tracker import ViewTracker, change_mask
from curate.perception.multiview.tracks import Tracks
from curate.scene import Region, Scene
from curate.sources.base import BadInput, ClipSpec, Frames

if TYPE_CHECKING:
    from curate.perception.config import PerceptionConfig
    from curate.perception.pipeline import Tap

FIXED = 1e-12  # m², rad²: cameras that stand still by their calibration


def perceive_views(clip: ClipSpec, frames: Frames, config: PerceptionConfig, taps: Sequence[Tap],
                   timings: dict[str, float]) -> Scene:
    """The scene of a clip of several calibrated views that stand still. World: view 0.

    Args:
        as `curate.perception.pipeline.perceive`; stages are named tracks, taps, matches and bodies.

    Raises:
        BadInput: where the media cannot be decoded, or the clip has fewer than two frames.
    """
    from curate.perception.pipeline import clip_seed, windows

    if frames.num_frames < 2:
        raise BadInput(f"{clip.uri}: {frames.num_frames} frame in the clip; at least 2 are needed to see motion")
    settings = config.multiview or ViewsConfig()
    every = max(1, round(settings.key_interval_s / float(np.median(np.diff(frames.time_s)))))
    trackers = [ViewTracker(settings) for _ in frames.views]
    for window in windows(clip, frames, config, timings, ()):
        begin = time.perf_counter()
        for tracker, grey in zip(trackers, window.grey):
            for j in range(window.overlap, window.num_frames):
                is_key = (window.start + j) % every == 0
                tracker.add(window.start + j, grey[j], is_key, change_mask(grey, j) if is_key else None)
        begin = _spent(timings, "tracks", begin)
        for tap in taps:
            tap(window)
        _spent(timings, "taps", begin)
    begin = time.perf_counter()
    cameras = Cameras(frames.views)
    view_time_s = np.asarray(getattr(frames, "view_time_s", np.tile(frames.time_s, (len(cameras), 1))), float)
    tracks = Tracks([tracker.tracks for tracker in trackers], view_time_s)
    pairs = matched_pairs(cameras, tracks, [tracker.tracks.described for tracker in trackers], settings)
    places = triangulate_places(cameras, tracks, group(tracks, pairs, len(cameras)), frames.num_frames, settings)
    begin = _spent(timings, "matches", begin)
    rng = np.random.default_rng(clip_seed(clip.key))
    bodies, owner = find_bodies(cameras, tracks, places, frames.num_frames, settings, rng)
    # cameras that are not triggered together: what they are apart by is taken off, and known no better than it is large
    sync_s = float(np.sqrt(np.mean((view_time_s[1:] - view_time_s[0]) ** 2)))
    regions: list[Region] = []
    for body in bodies:
        region = build_region(len(regions) + 1, body, cameras, frames.views[0].camera,
                              np.asarray(frames.time_s, float), sync_s, settings)
        if region is not None:
            regions.append(region)
    camera = frames.views[0].camera
    regions += loose_regions(len(regions) + 1, cameras, tracks, bodies, owner, camera, frames.num_frames, settings)
    _spent(timings, "bodies", begin)
    stats = {"scale_sigma": float(getattr(frames, "scale_sigma", config.lift.baseline_relative_sigma)),
             "views": float(len(cameras)), "tracks": float(len(tracks)), "places": float(len(places.members)),
             "places_moving": float(places.moving.sum()),
             "regions_seen": float(len(bodies) + sum(not region.rigid for region in regions)),
             "regions_measured": float(len(regions))}
    return _scene(clip, frames, regions, stats)


def find_bodies(cameras: Cameras, tracks: Tracks, places: Places, num_frames: int, config: ViewsConfig,
                rng: np.random.Generator) -> tuple[list[Body], np.ndarray]:
    """Rigid bodies, the best supported first, and which of them each track goes with [number of tracks], -1 with none;
    each takes its tracks from the others."""
    free, owner = np.ones(len(tracks), bool), np.full(len(tracks), -1)
    bodies: list[Body] = []
    tries = 0
    while len(bodies) < config.max_bodies and tries < 2 * config.max_bodies:
        tries += 1
        unowned = np.array([free[members].all() for members in places.members], bool)
        seed = find_seed(places, unowned, config, rng)
        if seed is None:
            break
        along = next((n for n, body in enumerate(bodies)
                      if moves_along(body, cameras, places, seed.places, config)), None)
        if along is not None:  # more of one that is there
            for place in seed.places:
                free[places.members[place]], owner[places.members[place]] = False, along
            continue
        body = grow_body(cameras, tracks, places, seed, free, num_frames, config)
        if body is None:
            for place in seed.places:
                free[places.members[place]] = False
            continue
        free[body.owner >= 0] = False
        mine = body.owner >= 0
        mine[followers(body, cameras, tracks, free, config)] = True
        if share_of_what_is_seen(body, cameras, tracks, mine) < MIN_OF_SEEN:
            continue
        owner[mine] = len(bodies)
        free &= owner < 0
        bodies.append(body)
    return bodies, owner


def _scene(clip: ClipSpec, frames: Frames, regions: list[Region], stats: dict[str, float]) -> Scene:
    num = frames.num_frames
    up = frames.given.get("up")
    up_world = np.array([0.0, -1.0, 0.0]) if up is None else np.asarray(up, float) / np.linalg.norm(up)
    step_cov = np.tile(FIXED * np.eye(6), (num, 1, 1))
    step_cov[0] = 0
    still = Pose("world", "cam", np.tile(np.eye(3), (num, 1, 1)), np.zeros((num, 3)))
    by = f"{NAME}@{VERSION}"
    return Scene(
        key=clip.key, clip=clip.to_json(), time_s=np.asarray(frames.time_s, float), camera=frames.views[0].camera,
        baseline_m=0.0, baseline_sigma_m=0.0, scale=frames.scale, up="camera" if up is None else "gravity",
        up_world=up_world, T_world_cam=still, step_cov=step_cov, camera_valid=np.ones(num, bool), regions=regions,
        origin={"camera": "source", "regions": by, "tracks": by}, stats=stats)


def _spent(timings: dict[str, float], name: str, begin: float) -> float:
    now = time.perf_counter()
    timings[name] = timings.get(name, 0.0) + now - begin
    return now
