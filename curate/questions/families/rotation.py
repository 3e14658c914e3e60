"""How the camera turns: the angle of log(R_iᵀ R_j) as a number, the turn of its line of sight as a choice."""

from __future__ import annotations

import math

from curate.questions.families.base import Item
from curate.questions.families.of_quantity import quantity_family

NAMES = ("yaw to the right", "pitch upwards", "roll clockwise")


def steps(item: Item) -> list[str]:
    extra = item.quantity.extra
    if not all(name in extra for name in ("yaw", "pitch", "roll")):
        return []
    degrees = [math.degrees(extra[name]) for name in ("yaw", "pitch", "roll")]
    parts = [f"{d:.2f}° of {name}" for d, name in zip(degrees, NAMES)]
    out = [f"From {item.words['start']} to {item.words['end']} the camera turns by {parts[0]}, {parts[1]} and "
           f"{parts[2]} (negative numbers turn the other way)."]
    if item.unit is None:
        yaw, pitch = (round(d, 2) for d in degrees[:2])
        larger, signs = ("yaw", ("right", "left")) if abs(yaw) > abs(pitch) else ("pitch", ("up", "down"))
        sign = yaw if larger == "yaw" else pitch
        if abs(yaw) == abs(pitch) or signs[sign < 0] != item.answer:
            return out[:1] if abs(yaw) != abs(pitch) else []
        return [*out, f"Of what turns its line of sight, the {larger} is the larger part, and points {item.answer}."]
    return [*out, f"As one rotation about a fixed axis this is an angle of {item.stated}."]


FAMILIES = (
    quantity_family("camera_rotation", "camera_rotation", 0, "angle", "in the axes of the camera at {start}", steps,
           choice_of="category", vocabulary=("left", "right", "up", "down"), metric=False),
)
