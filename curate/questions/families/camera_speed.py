"""How fast the camera moves, m/s: mean speed (arc length of its smoothed path over the time, as `camera_path_length`)
and peak speed (at the fastest frame of that path). World frame, optical centre. Asked of a camera that clearly moves,
as a number (MRA) and as a choice of numbers (accuracy).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.questions.families.base import Item, ratio
from curate.questions.families.of_quantity import quantity_family
from curate.questions.families.speed import METRES_AND_HOURS
from curate.questions.phrases import WORLD


def mean_steps(item: Item) -> list[str]:
    path = item.other("camera_path_length")
    duration = f"{item.seconds:.3f}"
    if not (path > 0 and item.agrees(float(f"{path:.4g}") / float(duration))):
        return [f"The length of the camera's path is divided by the {duration} s it takes."]
    speed = float(f"{path:.4g}") / float(duration)
    return [f"The camera's path from {item.words['start']} to {item.words['end']} is {path:.4g} m long.",
            f"It takes {duration} s, so the mean speed is {path:.4g} m / {duration} s = "
            + (f"{item.number(speed)} {item.unit.symbol}." if item.unit.factor == 1 else
               f"{speed:.4g} m/s = {item.number(speed)} {item.unit.symbol}.")]


def peak_steps(item: Item) -> list[str]:
    out = ["The camera's velocity is the slope of its smoothed path, frame by frame."]
    fastest = item.quantity.extra.get("fastest_frame")
    if fastest is not None:
        at = f"frame {fastest}" if "frame" in item.words["start"] else \
            f"{float(item.scene.time_s[fastest] - item.scene.time_s[0]):.2f} s"
        out.append(f"It is fastest at {at}, with {item.stated}.")
    mean = item.other("camera_mean_speed")
    if math.isfinite(mean) and float(item.number(mean)) <= item.value:
        out.append(f"The mean over the span is {item.number(mean)} {item.unit.symbol}.")
    return out


def mean_slips(item: Item) -> Sequence[float]:
    value = float(item.quantity.value)
    return (METRES_AND_HOURS, *ratio(item.other("camera_displacement") / item.seconds, value),
            *ratio(item.other("camera_peak_speed"), value))


def peak_slips(item: Item) -> Sequence[float]:
    return (METRES_AND_HOURS, *ratio(item.other("camera_mean_speed"), float(item.quantity.value)))


FIXED = WORLD.split(",")[0]
FAMILIES = (
    quantity_family("camera_mean_speed", "camera_mean_speed", 0, "speed", FIXED, mean_steps, slips=mean_slips),
    quantity_family("camera_peak_speed", "camera_peak_speed", 0, "speed", FIXED, peak_steps, slips=peak_slips),
)
