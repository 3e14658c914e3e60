"""How fast: mean speed (path over duration) and peak speed (at the fastest frame of the smoothed path)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from curate.questions.families.base import Family, Item, ratio
from curate.questions.families.of_quantity import quantity_family
from curate.questions.phrases import WORLD

METRES_AND_HOURS = 3.6  # m/s read as km/h, or the other way about


def mean_steps(who: str, where: str, item: Item) -> list[str]:
    path = item.other(f"{who}_path_length")
    duration = f"{item.seconds:.3f}"
    if not (path > 0 and item.agrees(float(f"{path:.4g}") / float(duration))):
        return [f"The length of the {who}'s path{where} is divided by the {duration} s it takes."]
    speed = float(f"{path:.4g}") / float(duration)
    opening = "In the world, the" if where else "The"
    return [f"{opening} {who}'s path from {item.words['start']} to {item.words['end']} is {path:.4g} m long.",
            f"It takes {duration} s, so the mean speed is {path:.4g} m / {duration} s = "
            + (f"{item.number(speed)} {item.unit.symbol}." if item.unit.factor == 1 else
               f"{speed:.4g} m/s = {item.number(speed)} {item.unit.symbol}.")]


def peak_steps(who: str, where: str, item: Item) -> list[str]:
    out = [f"The {who}'s velocity{where} is the slope of its smoothed path, frame by frame."]
    fastest = item.quantity.extra.get("fastest_frame")
    if fastest is not None:
        at = f"frame {fastest}" if "frame" in item.words["start"] else \
            f"{float(item.scene.time_s[fastest] - item.scene.time_s[0]):.2f} s"
        out.append(f"It is fastest at {at}, with {item.stated}.")
    mean = item.other(f"{who}_mean_speed")
    if math.isfinite(mean) and float(item.number(mean)) <= item.value:
        out.append(f"The mean over the span is {item.number(mean)} {item.unit.symbol}.")
    return out


def mean_slips(who: str, item: Item) -> Sequence[float]:
    value, displacement = float(item.quantity.value), item.other(f"{who}_displacement")
    return (METRES_AND_HOURS, *ratio(displacement / item.seconds, value),
            *ratio(item.other(f"{who}_peak_speed"), value))


def peak_slips(who: str, item: Item) -> Sequence[float]:
    return (METRES_AND_HOURS, *ratio(item.other(f"{who}_mean_speed"), float(item.quantity.value)))


def speed_families(who: str, num_subjects: int, axes: str, where: str = "") -> tuple[Family, Family]:
    """Mean and peak speed of "camera" or "object". `where`: what steps add to the path, as " in the world"."""
    return (quantity_family(f"{who}_mean_speed", f"{who}_mean_speed", num_subjects, "speed", axes,
                            partial(mean_steps, who, where), slips=partial(mean_slips, who)),
            quantity_family(f"{who}_peak_speed", f"{who}_peak_speed", num_subjects, "speed", axes,
                            partial(peak_steps, who, where), slips=partial(peak_slips, who)))


FAMILIES = speed_families("object", 1, WORLD, " in the world")
