"""How far from start to end: ‖p_j − p_i‖ of the camera's centre or of an object's reference point."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from curate.questions.families.base import Item, ratio
from curate.questions.families.of_quantity import quantity_family
from curate.questions.phrases import WORLD


def vector_step(item: Item, kind: str, noun: str) -> list[str]:
    """The displacement by components, where its direction was measured and agrees with the stated length."""
    direction = item.related(kind, None)
    if direction is None or "vector_m" not in direction.extra:
        return []
    parts = [item.number(x) for x in direction.extra["vector_m"]]
    length = math.hypot(*(float(p) for p in parts)) / item.unit.factor
    if not item.agrees(length):
        return []
    symbol = item.unit.symbol
    return [f"From {item.words['start']} to {item.words['end']}, {noun} shifts by {parts[0]} {symbol} to the right, "
            f"{parts[1]} {symbol} down and {parts[2]} {symbol} forward, in the camera's axes at "
            f"{item.words['start']} (negative numbers point the other way).",
            f"The length of that shift is √(({parts[0]})² + ({parts[1]})² + ({parts[2]})²) = "
            f"{item.number(length)} {symbol}.", *item.median_step(length)]


def camera_steps(item: Item) -> list[str]:
    return ["The camera's displacement is the straight line between its optical centres at both times.",
            *vector_step(item, "camera_direction", "the camera")]


def object_steps(item: Item) -> list[str]:
    return ["The same point of the object is placed in the world at both times, so that the camera's motion drops out.",
            *vector_step(item, "object_direction", "the object")]


def apparent_for_true(item: Item) -> tuple[float, ...]:
    """Displacement in the camera's own moving axes, over the true one."""
    region, (first, last) = item.scene.region(item.quantity.subjects[0]), item.quantity.span
    return ratio(float(np.linalg.norm(region.point_cam[last] - region.point_cam[first])), float(item.quantity.value))


def camera_slips(item: Item) -> Sequence[float]:
    return ratio(item.other("camera_path_length"), float(item.quantity.value))


def object_slips(item: Item) -> Sequence[float]:
    return ratio(item.other("object_path_length"), float(item.quantity.value)) + apparent_for_true(item)


FAMILIES = (
    quantity_family("camera_displacement", "camera_displacement", 0, "length", WORLD.split(",")[0], camera_steps,
                    slips=camera_slips),
    quantity_family("object_displacement", "object_displacement", 1, "length", WORLD, object_steps, slips=object_slips),
)
