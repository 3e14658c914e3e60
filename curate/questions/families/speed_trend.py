"""Does it speed up, slow down or keep its speed: mean speed after the middle of the span against that before it.

With v₁ and v₂ the arc lengths over the two halves by their durations and r = (v₂ − v₁) / max(v₁, v₂), it speeds up
where r > m, slows down where r < −m and keeps its speed within. The margin m is stated in the question as a share: the
least of MARGINS that is twice the 99 % half-width of r, from its error alone. World frame; an object's reference point
or the camera's optical centre. Asked of what clearly moves, as a choice (accuracy); certain by joint draws of both
speeds.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.change import middle
from curate.measure.magnitude import quantiles
from curate.questions import gates
from curate.questions.claim import Claim
from curate.questions.families.acceleration import why_no_change
from curate.questions.families.base import Family, Item
from curate.questions.families.over_spans import Span, least_margin, of_camera, of_objects, side
from curate.questions.phrases import WORLD

if TYPE_CHECKING:
    from curate.questions.view import View

MARGINS = (0.1, 0.2, 0.3, 0.5)
SLOWER, SAME, FASTER = "it slows down", "it keeps its speed", "it speeds up"


def steps(item: Item) -> list[str]:
    extra = item.quantity.extra
    before, after = (f"{extra[name]:.3g}" for name in ("speed_before", "speed_after"))
    larger = max(float(before), float(after))
    if not larger > 0:
        return []
    share = f"{100 * abs(float(after) - float(before)) / larger:.0f}"
    within = float(share) <= float(item.words["margin"].split()[0])
    if within != (item.answer == SAME):
        return []
    return [f"The mean speed is {before} m/s from {item.words['start']} to {item.words['middle']} and {after} m/s from "
            f"{item.words['middle']} to {item.words['end']}.",
            f"They differ by {share} % of the larger, which is {'not ' if within else ''}more than "
            f"{item.words['margin']}."]


def _claim(view: View, of: str, subjects: tuple[int, ...], span: Span, refusal: str) -> Claim:
    refusal = refusal or why_no_change(view, of, subjects, span)
    if refusal:
        return Claim(subjects, span, "world", refusal=refusal)
    found = view.quantity(f"{of}_acceleration", subjects, span)
    at = middle(span)
    before, after = (view.values(f"{of}_mean_speed", subjects, part) for part in ((span[0], at), (at, span[1])))
    change = (after - before) / np.maximum(np.maximum(before, after), 1e-12)
    margin = least_margin(quantiles(change), MARGINS)
    if margin is None:
        return Claim(subjects, span, "world", refusal=gates.UNCERTAIN)
    return Claim(subjects, span, found.frame, found.reference, category=side(change, margin, SLOWER, SAME, FASTER),
                 words={"middle": view.at(at), "margin": f"{100 * margin:.0f} %"}, steps=steps, quantities=(found,),
                 extra={"margin": margin, "middle_frame": at})


STATES = ("span", "middle", "margin", "reference", "axes")
FAMILIES = (
    Family("camera_speed_trend", partial(of_camera, _claim), states={"category": STATES}, fields=("middle", "margin"),
           axes=WORLD.split(",")[0]),
    Family("object_speed_trend", partial(of_objects, _claim), states={"category": ("region", *STATES)},
           fields=("middle", "margin"), axes=WORLD),
)
