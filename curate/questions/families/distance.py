"""How far apart at one time: an object and the camera's centre, or two objects. Straight lines in metric space."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from curate.questions.families.base import Item, ratio
from curate.questions.families.of_quantity import quantity_family

STRAIGHT = "in three-dimensional space, along a straight line"


def _places(item: Item) -> list[np.ndarray]:
    """Reference points in the camera's axes at the instant."""
    frame = item.quantity.span[0]
    return [item.scene.region(i).point_cam[frame] for i in item.quantity.subjects]


def _norm(item: Item, parts: list[str]) -> float:
    return math.hypot(*(float(p) for p in parts)) / item.unit.factor


def camera_steps(item: Item) -> list[str]:
    symbol = item.unit.symbol
    parts = [item.number(float(x)) for x in _places(item)[0]]
    if not item.agrees(_norm(item, parts)):
        return ["The distance is the length of the line from the camera's optical centre to the point."]
    return [f"At {item.words['start']} the point lies {parts[0]} {symbol} to the right of, {parts[1]} {symbol} below "
            f"and {parts[2]} {symbol} in front of the camera's optical centre (negative numbers: the other way).",
            f"Its distance is √(({parts[0]})² + ({parts[1]})² + ({parts[2]})²) = "
            f"{item.number(_norm(item, parts))} {symbol}.", *item.median_step(_norm(item, parts))]


def pair_steps(item: Item) -> list[str]:
    symbol = item.unit.symbol
    places = [[item.number(float(x)) for x in place] for place in _places(item)]
    parts = [item.number((float(b) - float(a)) / item.unit.factor) for a, b in zip(*places)]
    if not item.agrees(_norm(item, parts)):
        return ["The distance is the length of the line between the two points."]
    return [f"At {item.words['start']}, in the camera's axes (right, down, forward), the points lie at "
            f"({', '.join(places[0])}) {symbol} and ({', '.join(places[1])}) {symbol}.",
            f"Their difference is ({', '.join(parts)}) {symbol}, and its length "
            f"{item.number(_norm(item, parts))} {symbol}.", *item.median_step(_norm(item, parts))]


def camera_slips(item: Item) -> Sequence[float]:
    """The distance at the other end of the region's track, for that at the time asked about."""
    region, frame = item.scene.region(item.quantity.subjects[0]), item.quantity.span[0]
    usable = np.flatnonzero(np.isfinite(region.point_cam).all(-1))
    if len(usable) < 2:
        return ()
    other = usable[0] if frame == usable[-1] else usable[-1]
    return ratio(float(np.linalg.norm(region.point_cam[other])), float(item.quantity.value))


def pair_slips(item: Item) -> Sequence[float]:
    """One object's distance to the camera for that between the two; the difference of those distances."""
    a, b = (float(np.linalg.norm(place)) for place in _places(item))
    value = float(item.quantity.value)
    return ratio(a, value) + ratio(b, value) + ratio(abs(a - b), value)


FAMILIES = (
    quantity_family("object_camera_distance", "object_camera_distance", 1, "length",
                    STRAIGHT + " from the camera's optical centre", camera_steps, instant=True, moves=False,
                    slips=camera_slips),
    quantity_family("object_object_distance", "object_object_distance", 2, "length", STRAIGHT, pair_steps, instant=True,
                    slips=pair_slips),
)
