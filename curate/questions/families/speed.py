"""How fast: mean speed (path over duration) and peak speed (at the fastest frame of the smoothed path)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.questions.families.base import Item, ratio
from curate.questions.families.of_quantity import quantity_family
from curate.questions.phrases import WORLD

METRES_AND_HOURS = 3.6  # m/s read as km/h, or the other way about


def mean_steps(item: Item) -> list[str]:
    path = item.other("object_path_length")
    duration = f"{item.seconds:.3f}"
    if not (path > 0 and item.agrees(float(f"{path:.4g}") / float(duration))):
        return [f"The length of the object's path in the world is divided by the {duration} s it takes."]
    speed = float(f"{path:.4g}") / float(duration)
    out = [f"In the world, the object's path from {item.words['start']} to {item.words['end']} is {path:.4g} m long.",
           f"It takes {duration} s, so the mean speed is {path:.4g} m / {duration} s = "
           + (f"{item.number(speed)} {item.unit.symbol}." if item.unit.factor == 1 else
              f"{speed:.4g} m/s = {item.number(speed)} {item.unit.symbol}.")]
    return out


def peak_steps(item: Item) -> list[str]:
    out = ["The object's velocity in the world is the slope of its smoothed path, frame by frame."]
    fastest = item.quantity.extra.get("fastest_frame")
    if fastest is not None:
        at = f"frame {fastest}" if "frame" in item.words["start"] else \
            f"{float(item.scene.time_s[fastest] - item.scene.time_s[0]):.2f} s"
        out.append(f"It is fastest at {at}, with {item.stated}.")
    mean = item.other("object_mean_speed")
    if math.isfinite(mean) and float(item.number(mean)) <= item.value:
        out.append(f"The mean over the span is {item.number(mean)} {item.unit.symbol}.")
    return out


def mean_slips(item: Item) -> Sequence[float]:
    value, displacement = float(item.quantity.value), item.other("object_displacement")
    return (METRES_AND_HOURS, *ratio(displacement / item.seconds, value),
            *ratio(item.other("object_peak_speed"), value))


def peak_slips(item: Item) -> Sequence[float]:
    return (METRES_AND_HOURS, *ratio(item.other("object_mean_speed"), float(item.quantity.value)))


FAMILIES = (
    quantity_family("object_mean_speed", "object_mean_speed", 1, "speed", WORLD, mean_steps, slips=mean_slips),
    quantity_family("object_peak_speed", "object_peak_speed", 1, "speed", WORLD, peak_steps, slips=peak_slips),
)
