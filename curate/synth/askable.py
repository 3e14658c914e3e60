"""What could be asked of a scene by someone who knows it: clear motions of objects that are really seen.

"Clear" is measured against an ideal rig that matches to `MATCH_PX`: its depth error at z is z² · MATCH_PX / (f · B).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from curate.synth.renderer import Renderer
from curate.synth.scene import SceneTruth
from curate.synth.truth import Subject, Truth, boundary_margin, match

MIN_AREA = 0.004  # of the image, at the first frame
MIN_WHOLE = 0.8  # of the object's outline that is inside the image and not hidden, at the first frame
MIN_END_WHOLE = 0.5  # the same at the last frame
MIN_SEEN = 0.2  # at every frame looked at between
LOOK_EVERY = 4  # frames
MATCH_PX = 0.25
CLEAR_SIGMAS = 4
CAMERA_POINTS = 100  # independent points the camera's motion rests on
MIN_TURN_RAD = np.radians(1)
MIN_MARGIN_RAD = np.radians(10)


@dataclass(frozen=True)
class Askable:
    """A family, and the ids of the objects it could be asked of, ascending; none for the camera's own."""

    family: str
    objects: tuple[int, ...]


def seen_objects(scene: SceneTruth, renderer: Renderer | None = None) -> tuple[dict[int, Subject], set[int]]:
    """Objects well seen at the first frame in both views, with their reference point; and those seen to the end."""
    renderer = renderer or Renderer(scene)
    last = scene.num_frames - 1
    views = {frame: renderer.geometry(frame) for frame in sorted({*range(0, last, LOOK_EVERY), last})}
    right_ids = renderer.geometry(0, view=1)[1]
    depth, ids = views[0]
    found, lasting = {}, set()
    for body in scene.objects:
        area = (ids == body.id).sum()
        if area < MIN_AREA * ids.size or (right_ids == body.id).sum() < MIN_AREA * ids.size:
            continue
        if area < MIN_WHOLE * renderer.outline(body.id, 0):
            continue
        found[body.id] = match(scene, ids == body.id, depth, ids)
        whole = {frame: (seen == body.id).sum() / max(renderer.outline(body.id, frame), 1)
                 for frame, (_, seen) in views.items()}
        if whole[last] >= MIN_END_WHOLE and min(whole.values()) >= MIN_SEEN:
            lasting.add(body.id)
    return found, lasting


def askable(scene: SceneTruth, renderer: Renderer | None = None) -> list[Askable]:
    """Every (family, objects) that could be asked of the whole clip, from the truth alone."""
    renderer = renderer or Renderer(scene)
    truth, span = Truth(scene), (0, scene.num_frames - 1)
    found, lasting = seen_objects(scene, renderer)
    out = [Askable(family, ()) for family in _of_camera(scene, truth, span, renderer)]
    for object_id, subject in found.items():
        out.append(Askable("object_camera_distance", (object_id,)))
        if object_id in lasting:
            out += [Askable(family, (object_id,)) for family in _of_object(scene, truth, subject, span)]
    for a, b in combinations(sorted(found), 2):
        sigma = sum(depth_sigma(scene, truth, found[i], 0) ** 2 for i in (a, b)) ** 0.5
        if truth.value("object_object_distance", (found[a], found[b])).value > CLEAR_SIGMAS * sigma:
            out.append(Askable("object_object_distance", (a, b)))
    return sorted(out, key=lambda item: (item.family, item.objects))


def depth_sigma(scene: SceneTruth, truth: Truth, subject: Subject, frame: int) -> float:
    """Error of an ideal rig's depth at a subject, metres."""
    z = (scene.camera(truth.start + frame).inverse() @ truth.path(subject, (frame, frame))[0])[2]
    return float(z**2 * MATCH_PX / (scene.rig.left.fx * scene.rig.baseline_m))


def _of_object(scene: SceneTruth, truth: Truth, subject: Subject, span: tuple[int, int]) -> list[str]:
    sigma = np.hypot(*(depth_sigma(scene, truth, subject, frame) for frame in span))
    out = []
    if truth.value("object_displacement", [subject], span).value > CLEAR_SIGMAS * sigma:
        out += ["object_displacement", "object_path_length", "object_mean_speed", "object_peak_speed"]
        if boundary_margin(truth.value("object_direction", [subject], span).vector) > MIN_MARGIN_RAD:
            out.append("object_direction")
    if abs(truth.value("object_camera_distance_change", [subject], span).value) > CLEAR_SIGMAS * sigma:
        out.append("object_camera_distance_change")
    shift = truth.value("apparent_direction", [subject], span).vector
    if np.linalg.norm(shift) > CLEAR_SIGMAS * MATCH_PX * 2**0.5 and boundary_margin(shift) > MIN_MARGIN_RAD:
        out.append("apparent_direction")
    return out


def _of_camera(scene: SceneTruth, truth: Truth, span: tuple[int, int], renderer: Renderer) -> list[str]:
    depth = renderer.geometry(0)[0]
    z = float(np.median(depth[np.isfinite(depth)]))
    sigma = (2 / CAMERA_POINTS) ** 0.5 * z**2 * MATCH_PX / (scene.rig.left.fx * scene.rig.baseline_m)
    out = []
    if truth.value("camera_displacement", (), span).value > CLEAR_SIGMAS * sigma:
        out += ["camera_displacement", "camera_path_length"]
        if boundary_margin(truth.value("camera_direction", (), span).vector) > MIN_MARGIN_RAD:
            out.append("camera_direction")
    if truth.value("camera_rotation", (), span).value > MIN_TURN_RAD:
        out.append("camera_rotation")
    return out
