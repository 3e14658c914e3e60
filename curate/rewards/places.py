"""Rewards of places in time, image and space: spans, boxes, points, and the centres of camera and objects by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from curate.questions.coordinates import Canvas, plain_text
from curate.rewards.formulas import (
    box_iou,
    centre_closeness,
    keypoints_within,
    mean_relative_accuracy,
    scene_scale,
    span_iou,
)
from curate.rewards.judged import reward
from curate.rewards.reading import canonical_name, centres, json_value, span, vectors
from curate.rewards.record import Record, answer_of

ALPHA = 0.1  # of PCK: share of the extent of the true points
LEAST_PX = 8.0  # a point is never asked for more closely than this, where the record states no tolerance
CAMERA = "camera"
Centres = Mapping[str, Sequence[Sequence[float] | None]]
_CENTRE = ("center", "centre", "center_m", "centre_m", "central point", "central_point", "position", "location")
_SIZE = ("size", "size_m", "dimension", "dimensions", "extent", "extent_m")
_YAW = ("yaw", "heading", "orientation", "rotation")


def _coordinates(text: str, record: Record) -> list[list[float] | None]:
    """Coordinates of an answer, in the numbers of the target: tokens are written out first."""
    canvas = record["extra"].get("canvas")
    if isinstance(canvas, Mapping) and "<" in text:
        text = plain_text(text, Canvas.from_json(canvas))
    return vectors(text)


def _vector(value: Any, lengths: Sequence[int]) -> bool:
    return (isinstance(value, list) and len(value) in lengths
            and all(isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x) for x in value))


@reward()
def tiou(text: str, record: Record) -> float | None:
    """Intersection over union of the span of time answered and the true one; two times in seconds, or two frame numbers
    where the truth has such, in either order."""
    truth = record["target"]
    if not _vector(truth, (2,)):
        return None
    given = span(text)
    if given is None:
        return 0.0
    least = record["tolerance"] or 0.0  # an instant counts as being as long as its tolerance
    grown = [(a, max(b, a + least)) for a, b in (sorted(given), sorted(truth))]
    return span_iou(*grown)


@reward()
def iou(text: str, record: Record) -> float | None:
    """Intersection over union of two boxes: [x0, y0, x1, y1] of an image, or an object with centre and size in space.

    A box in space is compared along its axes; what else the object has is judged by `fields`, and both count half.
    """
    truth = record["target"]
    if _vector(truth, (4, 6)):
        given = next((v for v in _coordinates(text, record) if v is not None and len(v) == len(truth)),
                     None)
        return box_iou(_upright(given), _upright(truth)) if given else 0.0
    if not isinstance(truth, Mapping) or (box := _box(truth)) is None:
        return None
    given = json_value(text)
    if not isinstance(given, Mapping) or (other := _box(given)) is None:
        return 0.0
    rest = {name: value for name, value in truth.items() if _plain(name) not in (*_CENTRE, *_SIZE)}
    overlap = box_iou(other, box) if len(other) == len(box) else 0.0
    return overlap if not rest else 0.5 * overlap + 0.5 * _agreement(given, rest)


def _upright(box: Sequence[float]) -> list[float]:
    n = len(box) // 2
    return [min(box[i], box[i + n]) for i in range(n)] + [max(box[i], box[i + n]) for i in range(n)]


def _plain(name: Any) -> str:
    return str(name).strip().lower()


def _box(value: Mapping[str, Any]) -> list[float] | None:
    """Low corner and high corner of {"centre": [..], "size": [..]}; None where it has none."""
    named = {_plain(name): item for name, item in value.items()}
    centre = next((named[n] for n in _CENTRE if n in named), None)
    size = next((named[n] for n in _SIZE if n in named), None)
    if not _vector(centre, (2, 3)) or not _vector(size, (len(centre),)):
        return None
    return [c - abs(s) / 2 for c, s in zip(centre, size)] + [c + abs(s) / 2 for c, s in zip(centre, size)]


def _agreement(given: Any, truth: Any) -> float:
    """How well a JSON value agrees with the true one, 0..1: objects by name, numbers by relative accuracy."""
    if isinstance(truth, Mapping):
        named = {_plain(name): item for name, item in given.items()} if isinstance(given, Mapping) else {}
        pairs = [(_plain(name), named.get(_plain(name)), value) for name, value in truth.items()]
        # what is not known is no part of the mean where the answer leaves it open too, and a mistake where it does not
        parts = [_turn(there, value) if name in _YAW else _agreement(there, value)
                 for name, there, value in pairs if not (there is None and value is None)]
        return sum(parts) / len(parts) if parts else float(isinstance(given, Mapping))
    if isinstance(truth, bool) or truth is None:
        return float(given is truth)
    if isinstance(truth, (int, float)):
        numeric = isinstance(given, (int, float)) and not isinstance(given, bool)
        return mean_relative_accuracy(given, truth, 0.05) if numeric else 0.0
    if isinstance(truth, list):
        if not isinstance(given, list):
            return 0.0
        if _vector(truth, range(1, 5)) and _vector(given, (len(truth),)):
            return centre_closeness([given], [truth], max(0.1 * math.hypot(*truth), 0.05))
        parts = [_agreement(g, t) for g, t in zip(given, truth)]
        return sum(parts) / max(len(given), len(truth), 1)
    return float(_plain(given) == _plain(truth))


def _turn(given: Any, truth: Any) -> float:
    """Degrees, alike modulo a turn, or rotation vectors in degrees: 1 where equal, 0 from 90° on."""
    if _vector(truth, (3,)) and _vector(given, (3,)):
        away = math.dist(given, truth)
    elif _vector([truth], (1,)) and _vector([given], (1,)):
        away = abs((given - truth + 180) % 360 - 180)
    else:
        return _agreement(given, truth)
    return max(0.0, 1 - away / 90)


@reward()
def fields(text: str, record: Record) -> float | None:
    """How well a JSON answer agrees with the true object, field by field; a field that is missing earns nothing."""
    truth = record["target"]
    return _agreement(json_value(text), truth) if isinstance(truth, Mapping) else None


def _points(target: Any) -> list[list[float] | None] | None:
    """Points of a target: vectors of 2 to 4 numbers or null; None where it is none."""
    if _vector(target, (2, 3, 4)):
        return [target]
    if isinstance(target, list) and target and all(p is None or _vector(p, (2, 3, 4)) for p in target):
        return target
    return None


@reward()
def pck(text: str, record: Record) -> float | None:
    """Share of the points answered that lie within a threshold of the true ones, in the order asked for.

    The threshold is the record's tolerance, else `extra["threshold_px"]`, else a tenth of the extent of the true
    points, at least 8. null stands for a point that cannot be seen, in truth and answer alike.
    """
    truth = _points(record["target"])
    if truth is None:
        return None
    known = [p for p in truth if p is not None]
    extent = max((max(axis) - min(axis) for axis in zip(*(p[:2] for p in known))), default=0.0)
    threshold = record["tolerance"] or record["extra"].get("threshold_px") or max(ALPHA * extent, LEAST_PX)
    return keypoints_within(_coordinates(text, record), truth, float(threshold))


def true_centres(record: Record) -> dict[str, list[list[float] | None]]:
    """Centres of camera and objects by name, one a time asked for, null where not visible.

    From `extra["centres"]`, or from a target that is such an object: {"camera": [[x, y, z], ..], "R3": [.., null]}.
    """
    for source in (record["extra"].get("centres"), record["target"]):
        if isinstance(source, Mapping):
            found = {canonical_name(name): points for name, value in source.items()
                     if canonical_name(name) and (points := _named_points(value))}
            if found:
                return found
    return {}


def _named_points(value: Any) -> list[list[float] | None]:
    if value is None:
        return [None]
    return _points(value) or []


def _scale(record: Record, truth: Centres) -> float:
    stated = record["extra"].get("st_scale_m")
    if stated is not None:
        if not (isinstance(stated, (int, float)) and 0 < stated < math.inf):
            raise ValueError(f"the record's extra['st_scale_m'] is {stated!r}; expected metres above zero")
        return float(stated)
    sigma, tolerance = (float(record["extra"].get(name) or 0.0) for name in ("sigma_m", "tolerance_m"))
    return math.hypot(tolerance, 2 * sigma) if tolerance > 0 else scene_scale(truth, sigma)


def _named(given: Centres, name: str, truth: Centres) -> Sequence[Sequence[float] | None]:
    """What an answer says of one name. A lone object may be called just "object"; of several statements the last
    count."""
    objects = [n for n in truth if n != CAMERA]
    found = given.get(name) or (given.get("object") if objects == [name] else None) or []
    if name == "object" and not found and len(marks := [n for n in given if n != CAMERA]) == 1:
        found = given[marks[0]]
    return found[-len(truth[name]):]


def _centre_reward(text: str, record: Record, names: Sequence[str], truth: Centres) -> float | None:
    if not names:
        return None
    given, scale = centres(text), _scale(record, truth)
    parts = []
    for name in names:
        true, said = truth[name], _named(given, name, truth)
        said = [*said, *(None for _ in range(len(true) - len(said)))] if said or not any(true) else said
        parts.append(centre_closeness([p[:3] if p else p for p in said], [p[:3] if p else p for p in true], scale))
    return sum(parts) / len(parts)


@reward(whole=True)
def st_camera(text: str, record: Record) -> float | None:
    """exp(−mean distance / scale) of the camera's centres as stated anywhere in the text, thinking included."""
    truth = true_centres(record)
    return _centre_reward(text, record, [n for n in truth if n == CAMERA], truth)


@reward(whole=True)
def st_object(text: str, record: Record) -> float | None:
    """The same of the objects' centres, each by its name, and their mean. null earns where the truth is null."""
    truth = true_centres(record)
    return _centre_reward(text, record, [n for n in truth if n != CAMERA], truth)


@reward(whole=True)
def st(text: str, record: Record) -> float | None:
    """Space and time: centres by name, camera and objects half each; or a path [[x, y, z, t], ..] point by point.

    Of a path, the closeness in space (scale: a tenth of its size and twice `extra["sigma_m"]`) times that in time
    (scale: a tenth of its duration, at least 0.1). An object without centres is judged by `fields`.
    """
    truth = true_centres(record)
    if truth:
        parts = [p for p in (st_camera(text, record), st_object(text, record)) if p is not None]
        return sum(parts) / len(parts)
    if isinstance(record["target"], Mapping):
        return fields(text, record)
    path = _points(record["target"])
    if path is None:
        return None
    written = _coordinates(record["answer"], record) if record["extra"].get("coordinate_dialect") == "tokens" else []
    if [p and len(p) for p in written] == [p and len(p) for p in path]:
        path = written  # as near as tokens come: the model answer earns 1
    given = _coordinates(answer_of(text, record), record)
    given += [None if true is None and given else [math.inf] for true in path[len(given):]]
    length = max(len(p) for p in path if p is not None) if any(path) else 0
    space = centre_closeness([p[:3] if p else p for p in given], [p[:3] if p else p for p in path],
                             _scale(record, {"path": path}))
    if length < 4:
        return space
    times = [p[3] for p in path if p is not None and len(p) == 4]
    scale = max(0.1 * (max(times) - min(times)), 0.1)
    return space * centre_closeness([p[3:] if p else p for p in given], [p[3:] if p else p for p in path], scale)
