"""What could be asked of a scene by someone who knows it: clear motions of objects that are really seen.

Nothing here has been measured. An object counts where it is seen in at least 80 % of its span's frames and covers
600 pixels on average; as moving where it is displaced by 0.3 m, turns by 15 degrees or goes 0.2 m/s; and a quantity
where it is at least three times the error of an ideal estimator (`curate.synth.oracle`). A direction is as clear as its
angle to where the answer would change.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from curate.synth.oracle import Oracle
from curate.synth.renderer import Renderer
from curate.synth.scene import SUB, SceneTruth
from curate.synth.truth import Subject, Truth, boundary_margin, match

MIN_VISIBLE = 0.8  # of the span's frames, and there
MIN_WHOLE = 0.5  # of the object's outline inside the image and not hidden
MIN_AREA_PX = 600
MIN_DISPLACEMENT_M = 0.3
MIN_TURN_RAD = np.radians(15)
MIN_SPEED_MPS = 0.2
CLEAR = 3  # times the oracle's error
LOOK_EVERY = 3  # frames
MOTIONS = ("displacement", "path_length", "mean_speed", "peak_speed", "direction")


@dataclass(frozen=True)
class Askable:
    """A family, and the ids of the objects it could be asked of, ascending; none for the camera's own."""

    family: str
    objects: tuple[int, ...]


@dataclass(frozen=True)
class Seen:
    """An object as the left view shows it.

    Args:
        subject: with the reference point where it is first seen.
        span: first and last frame where it is.
        area_px: visible pixels, mean over the span.
    """

    subject: Subject
    span: tuple[int, int]
    area_px: float


def seen_objects(scene: SceneTruth, renderer: Renderer | None = None) -> dict[int, Seen]:
    """Objects that are seen well enough to be asked about, by id."""
    renderer = renderer or Renderer(scene)
    last = scene.num_frames - 1
    views = {frame: renderer.geometry(frame) for frame in sorted({*range(0, last, LOOK_EVERY), last})}
    found = {}
    for body in scene.objects:
        areas = {frame: int((ids == body.id).sum()) for frame, (_, ids) in views.items()}
        there = [frame for frame, area in areas.items()
                 if area and area >= MIN_WHOLE * renderer.outline(body.id, frame)]
        if not there or len(there) < MIN_VISIBLE * len(views):
            continue
        area = float(np.mean([areas[frame] for frame in views if there[0] <= frame <= there[-1]]))
        if area >= MIN_AREA_PX:
            depth, ids = views[there[0]]
            subject = match(scene, ids == body.id, depth, ids, there[0])
            found[body.id] = Seen(subject, (there[0], there[-1]), area)
    return found


def askable(scene: SceneTruth, renderer: Renderer | None = None) -> list[Askable]:
    """Every (family, objects) that could be asked of the clip, from the truth alone."""
    renderer = renderer or Renderer(scene)
    truth, whole = Truth(scene), (0, scene.num_frames - 1)
    oracle = Oracle(truth, renderer)
    found = seen_objects(scene, renderer)
    camera_moves = moves(truth, None, whole)
    out = []

    def add(family: str, seen: tuple[Seen, ...], span: tuple[int, int], objects: tuple[int, ...]) -> None:
        if clear(oracle, family, seen, span):
            out.append(Askable(family, objects))

    if camera_moves:
        for name in ("displacement", "path_length", "direction", "rotation"):
            add(f"camera_{name}", (), whole, ())
    for object_id, seen in found.items():
        first, last = seen.span
        add("object_camera_distance", (seen,), (first, first), (object_id,))
        if first == last:
            continue
        object_moves = moves(truth, seen.subject, seen.span)
        if object_moves:
            for name in MOTIONS:
                add(f"object_{name}", (seen,), seen.span, (object_id,))
        if object_moves or camera_moves:
            for family in ("object_camera_distance_change", "apparent_direction"):
                add(family, (seen,), seen.span, (object_id,))
    for a, b in combinations(sorted(found), 2):
        start = max(found[a].span[0], found[b].span[0])
        add("object_object_distance", (found[a], found[b]), (start, start), (a, b))
    return sorted(out, key=lambda item: (item.family, item.objects))


def moves(truth: Truth, subject: Subject | None, span: tuple[int, int]) -> bool:
    """Whether the camera (None) or an object clearly moves over a span."""
    who, subjects = ("camera", ()) if subject is None else ("object", (subject,))
    way = truth.value(f"{who}_path_length", subjects, span).value
    seconds = (span[1] - span[0]) / truth.scene.fps
    if truth.value(f"{who}_displacement", subjects, span).value >= MIN_DISPLACEMENT_M:
        return True
    return way / seconds >= MIN_SPEED_MPS or _turn(truth, subject, span) >= MIN_TURN_RAD


def _turn(truth: Truth, subject: Subject | None, span: tuple[int, int]) -> float:
    if subject is None:
        return truth.value("camera_rotation", (), span).value
    if subject.object_id == 0:
        return 0.0
    body = truth.scene.object(subject.object_id)
    first, last = (body.pose((truth.start + frame) * SUB).rotation for frame in span)
    return float(np.arccos(np.clip((np.trace(first.T @ last) - 1) / 2, -1, 1)))


def clear(oracle: Oracle, family: str, seen: tuple[Seen, ...], span: tuple[int, int]) -> bool:
    """Whether a true value stands three of the ideal estimator's errors clear of zero, or of another name.

    A direction in space also needs a displacement that is clear: near zero its first-order error says nothing.
    """
    subjects = tuple(s.subject for s in seen)
    if family in ("camera_direction", "object_direction") and not clear(
            oracle, family.replace("direction", "displacement"), seen, span):
        return False
    true = oracle.truth.value(family, subjects, span)
    size = abs(true.value) if true.vector is None or family == "camera_rotation" else boundary_margin(true.vector)
    try:
        return size >= CLEAR * oracle.error(family, subjects, span, [s.area_px for s in seen])
    except ValueError:  # the camera turned away from all that it saw
        return False
