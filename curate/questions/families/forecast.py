"""What comes next: only frames up to t may be used, and the answer is measured from the rest of the video.

`forecast_direction`: the nearest axis of R_tᵀ (P(t + dt) − P(t)), as `object_direction`.
`forecast_position`: R_tᵀ (P(t + dt) − c(t)) as [x, y, z], m: right, down, forward of the camera at t.

t is the middle of the object's track, t + dt its end. Reference point: surface@t0. Gate: it moves in between; the axis
holds in 99 % of the joint draws; the point's error (95 %) is at most `max_relative_half_width` of the way in between.
Answer: a choice among directions; a point in open text (metric "st", its scale is half of the way in between, at least
twice the error). `extra` says which frames may be seen: "frames_until".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from curate.measure import joint
from curate.questions import gates
from curate.questions.claim import Category, Claim, Open
from curate.questions.digits import settle
from curate.questions.families.base import Family, Item
from curate.questions.families.direction import CAMERA_AXES, IN_SPACE, object_steps
from curate.questions.followed import Followed, followed

if TYPE_CHECKING:
    from curate.questions.view import View

LEAD = "Answer with one point [x, y, z] in metres: x to the right, y down, z forward."
MAX_DECIMALS = 3
MAX_ANGLE_RAD = math.radians(20)  # 97.5 % of the error of a direction that is called one


def _halves(view: View) -> Iterator[tuple[Followed, dict]]:
    """Every region with the fields that its claims share: the span is the part of its track to be foreseen."""
    for who in followed(view):
        usable = view.frames(who.region)
        middle = int(usable[np.argmin(np.abs(usable - sum(who.span) / 2))])
        yield who, {"subjects": (who.region.id,), "span": (middle, who.span[1]), "frame": f"camera@{middle}",
                    "reference": "surface@t0", "extra": {"frames_until": middle}}


def direction_claims(view: View) -> Iterator[Claim]:
    for who, common in _halves(view):
        refusal, category, quantities = who.refusal, None, ()
        if not refusal:
            found = view.quantity("object_direction", common["subjects"], common["span"])
            quantities = (found,)
            if not (np.isfinite(found.value).all() and np.isfinite(found.quantiles).all()):
                refusal = gates.NOT_FINITE
            elif not gates.moves(found, view.config.max_p_zero):
                refusal = gates.STILL
            elif found.quantiles[7] > MAX_ANGLE_RAD:
                refusal = gates.UNCERTAIN
            else:
                category = Category(*gates.likeliest(found, IN_SPACE), IN_SPACE)
        yield Claim(**common, category=category, quantities=quantities, refusal=refusal, steps=object_steps)


def position_claims(view: View) -> Iterator[Claim]:
    for who, common in _halves(view):
        yield Claim(**common, refusal=who.refusal) if who.refusal else _position(view, common)


def _position(view: View, common: dict) -> Claim:
    (region,), (start, end) = common["subjects"], common["span"]
    axes = joint.axes(view.draws, start)
    centre = joint.points(view.draws, None, np.array([start]))
    drawn = (joint.points(view.draws, region, np.array([start, end])) - centre) @ axes  # [S, 2, 3]
    before, after = np.median(drawn, axis=0)
    off = np.linalg.norm(drawn[:, 1] - after, axis=-1)
    error = settle(float(np.quantile(off, 0.95)))
    way = settle(float(np.linalg.norm(after - before)))
    if not way > 0 or error > view.config.max_relative_half_width * way:
        return Claim(**common, refusal=gates.WIDE)
    decimals = min(max(math.ceil(-math.log10(2 * max(error, 1e-6))), 1), MAX_DECIMALS)
    tolerance = 1.2 * float(np.quantile(off, 0.995)) + 10.0**-decimals
    parts = [_text(float(x), decimals) for x in after]
    answer, marks, place = f"[{', '.join(parts)}]", [], 1
    for axis, part in enumerate(parts):
        marks.append((place, place + len(part), tuple(float(part) if k == axis else math.nan for k in range(4))))
        place += len(part) + 2
    extra = common["extra"] | {"st_scale_m": settle(max(way / 2, 2 * error)), "tolerance_m": settle(tolerance)}
    target, sure = [[float(part) for part in parts]], float((off <= tolerance).mean())
    return Claim(**common | {"extra": extra}, open=Open(answer, target, "points", "st", LEAD, sure),
                 coordinates=tuple(marks), steps=partial(_position_steps, before, decimals))


def _text(value: float, decimals: int) -> str:
    """Never "-0.0"."""
    return f"{round(settle(value), decimals) + 0.0:.{decimals}f}"


def _position_steps(before: np.ndarray, decimals: int, item: Item) -> list[str]:
    shown = ", ".join(_text(float(x), decimals) for x in before)
    return [f"At {item.words['start']} the point is at [{shown}] m in the camera's axes of that time.",
            f"By {item.words['end']} its motion brings it to {item.answer} m in the same axes, as the rest of the "
            "video shows."]


STATES = ("region", "start", "end", "reference", "axes")
AXES = "with the camera's own motion taken out, " + CAMERA_AXES
FAMILIES = (
    Family("forecast_direction", direction_claims, states={"category": STATES}, axes=AXES, metric=False),
    Family("forecast_position", position_claims, forms=("open",), states={"open": STATES},
           axes=CAMERA_AXES + ", measured from that camera's optical centre"),
)
