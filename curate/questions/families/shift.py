"""Sideways and along the line of sight: an object's own displacement by components, R_iᵀ (P_j − P_i).

`lateral_shift` is its part to the right, `longitudinal_shift` its part along the optical axis of the camera at the
start of the span: the camera's own motion is taken out, and neither how far the object is nor where it appears in the
image counts. Reference point: surface@t0; metres. As a number (signed, MRA) and as a choice among left, right and
neither, or toward, away and neither (accuracy), where neither is less than a margin stated in the question: the least
of MARGINS that is twice the 99 % half-width of the number's error.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from curate.questions.claim import Claim, Number
from curate.questions.families.base import Family, Item
from curate.questions.families.over_spans import amount, least_margin, object_spans, side
from curate.questions.units import UNITS

if TYPE_CHECKING:
    from curate.questions.view import View

MARGINS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # m
SIDES = {"lateral_shift": ("to the left", "neither", "to the right"),
         "longitudinal_shift": ("toward the camera", "neither", "away from the camera")}


def steps(item: Item) -> list[str]:
    value, negative = float(item.quantity.value), item.quantity.kind == "lateral_shift"
    words = ("to the left", "to the right") if negative else ("against the line of sight", "along the line of sight")
    out = ["The same point of the object is placed in the world at both times, so that the camera's motion drops out, "
           f"and its displacement is turned into the camera's axes at {item.words['start']}."]
    if item.unit is None:
        size = f"{abs(value):.{3 if abs(value) < 1 else 2}f}"
        beyond = float(size) > float(item.words["margin"].split()[0])
        return out + ([] if beyond == (item.answer == "neither") else [
            f"It has a part of {size} m {words[value > 0]}, which is {'' if beyond else 'not '}more than "
            f"{item.words['margin']}."])
    return [*out, f"Its part {words[1]} is {item.number(value)} {item.unit.symbol} (a negative number points the other "
                  "way)."]


def claims(kind: str, view: View) -> Iterator[Claim]:
    for region, span, refusal in object_spans(view):
        if refusal:
            yield Claim((region,), span, f"camera@{span[0]}", refusal=refusal)
            continue
        found, draws = view.quantity(kind, (region,), span), view.values(kind, (region,), span)
        margin = least_margin(found.quantiles, MARGINS)
        yield Claim((region,), span, found.frame, found.reference,
                    Number(float(found.value), found.quantiles, "length", signed=True),
                    side(draws, margin, *SIDES[kind]) if margin else None,
                    words={"margin": amount(margin, UNITS["m"])} if margin else {}, steps=steps, quantities=(found,),
                    extra={"margin": margin} if margin else {})


STATES = ("region", "span", "start", "reference")
FAMILIES = tuple(
    Family(name, partial(claims, name), ("numeric", "choice"), "category", "length",
           {"number": STATES, "category": (*STATES, "margin")}, ("margin",)) for name in SIDES)
