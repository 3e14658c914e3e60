"""How long the way is: arc length of the smoothed path of the camera's centre or of an object's reference point."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.questions.families.base import Item, ratio
from curate.questions.families.displacement import apparent_for_true
from curate.questions.families.of_quantity import quantity_family
from curate.questions.phrases import WORLD


def steps(item: Item) -> list[str]:
    what = item.quantity.kind.split("_")[0]
    first, last = item.quantity.span
    out = [f"The path of the {what} is followed through its {last - first + 1} frames and smoothed by what its "
           "error allows.",
           f"The lengths of the {last - first} pieces between neighbouring frames add up to {item.stated}."]
    straight = item.other(f"{what}_displacement")
    if math.isfinite(straight) and float(item.number(straight)) <= item.value:
        out.append(f"The straight line from start to end is {item.number(straight)} {item.unit.symbol}, "
                   "which the path cannot fall short of.")
    return out


def camera_slips(item: Item) -> Sequence[float]:
    return ratio(item.other("camera_displacement"), float(item.quantity.value))


def object_slips(item: Item) -> Sequence[float]:
    return ratio(item.other("object_displacement"), float(item.quantity.value)) + apparent_for_true(item)


FAMILIES = (
    quantity_family("camera_path_length", "camera_path_length", 0, "length", WORLD.split(",")[0], steps,
                    slips=camera_slips),
    quantity_family("object_path_length", "object_path_length", 1, "length", WORLD, steps, slips=object_slips),
)
