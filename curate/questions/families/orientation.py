"""How the camera's orientation at one time differs from that at another: yaw, pitch and roll, each with its sign.

R_iᵀ R_j = R_y(yaw) R_x(pitch) R_z(roll) in the axes of camera i: yaw turns the line of sight to the right, pitch raises
it, roll turns the camera clockwise about it as seen from behind. Signed degrees (MRA), and a choice of the two ways or
neither (accuracy), where neither is less than a margin stated in the question: the least of MARGINS that is twice the
99 % half-width of the angle's error. Needs no scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from curate.questions.claim import Claim, Number
from curate.questions.families.base import Family, Item
from curate.questions.families.over_spans import amount, camera_spans, least_margin, side
from curate.questions.units import UNITS

if TYPE_CHECKING:
    from curate.questions.view import View

MARGINS = tuple(math.radians(d) for d in (1, 2, 5, 10))
SIDES = {"camera_yaw": ("to the left", "neither", "to the right"),
         "camera_pitch": ("downwards", "neither", "upwards"),
         "camera_roll": ("anticlockwise", "neither", "clockwise")}


def steps(item: Item) -> list[str]:
    name = item.quantity.kind.removeprefix("camera_")
    degrees = round(math.degrees(float(item.quantity.value)), 2) + 0.0
    positive = SIDES[item.quantity.kind][2]
    out = ["The camera's orientation at the end is expressed in its axes at the start, as a yaw, then a pitch, then a "
           f"roll; the {name} is {degrees:.2f}° {positive} (a negative angle turns the other way)."]
    if item.unit is not None:
        return out
    margin = float(item.words["margin"].rstrip("°"))
    beyond = abs(degrees) > margin
    return [] if beyond == (item.answer == "neither") else [
        *out, f"By size that is {'' if beyond else 'not '}more than {item.words['margin']}."]


def claims(kind: str, view: View) -> Iterator[Claim]:
    for span in camera_spans(view):
        found, draws = view.quantity(kind, (), span), view.values(kind, (), span)
        margin = least_margin(found.quantiles, MARGINS)
        yield Claim((), span, found.frame, found.reference,
                    Number(float(found.value), found.quantiles, "angle", signed=True),
                    side(draws, margin, *SIDES[kind]) if margin else None,
                    words={"margin": amount(margin, UNITS["°"])} if margin else {}, steps=steps, quantities=(found,),
                    extra={"margin": margin} if margin else {})


STATES = ("span", "start", "reference")
FAMILIES = tuple(
    Family(name, partial(claims, name), ("numeric", "choice"), "category", "angle",
           {"number": STATES, "category": (*STATES, "margin")}, ("margin",), metric=False) for name in SIDES)
