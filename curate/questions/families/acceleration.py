"""How fast the speed changes, m/s²: the mean speed over the second half of the span less that over the first, over the
time between the middles of the halves (`curate.measure.change`), negative for what slows down. World frame; an
object's reference point or the camera's optical centre. Asked of what clearly moves, as a number (MRA); the choice is
`speed_trend`'s, since only numbers above zero have number options.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from curate.measure.change import middle
from curate.questions import gates
from curate.questions.claim import Claim, Number
from curate.questions.families.base import Family, Item
from curate.questions.families.over_spans import Span, of_camera, of_objects
from curate.questions.phrases import WORLD

if TYPE_CHECKING:
    from curate.questions.view import View


def steps(item: Item) -> list[str]:
    extra, half = item.quantity.extra, item.seconds / 2
    before, after = (f"{extra[name]:.4g}" for name in ("speed_before", "speed_after"))
    out = [f"The mean speed is {before} m/s from {item.words['start']} to {item.words['middle']} and {after} m/s from "
           f"{item.words['middle']} to {item.words['end']}."]
    again = (float(after) - float(before)) / half
    if item.agrees(again):
        out.append(f"The middles of the two parts are {half:.3f} s apart: ({after} − {before}) m/s / {half:.3f} s = "
                   f"{item.number(again)} m/s².")
    return out


def why_no_change(view: View, of: str, subjects: tuple[int, ...], span: Span) -> str:
    """Why nothing may be asked of a change of speed, or "". Looks at the speed, which is mostly at hand."""
    if middle(span) == span[0]:
        return gates.NOT_MEASURED
    speed = view.quantity(f"{of}_mean_speed", subjects, span)
    return gates.NOT_FINITE if speed.value != speed.value else \
        "" if gates.moves(speed, view.config.max_p_zero) else gates.STILL


def _claim(view: View, of: str, subjects: tuple[int, ...], span: Span, refusal: str) -> Claim:
    refusal = refusal or why_no_change(view, of, subjects, span)
    if refusal:
        return Claim(subjects, span, "world", refusal=refusal)
    found = view.quantity(f"{of}_acceleration", subjects, span)
    return Claim(subjects, span, found.frame, found.reference,
                 Number(found.value, found.quantiles, "acceleration", signed=True),
                 words={"middle": view.at(middle(span))}, steps=steps, quantities=(found,))


STATES = ("span", "middle", "reference", "axes")
FAMILIES = (
    Family("camera_acceleration", partial(of_camera, _claim), ("numeric",), "number", "acceleration",
           {"number": STATES}, ("middle",), axes=WORLD.split(",")[0]),
    Family("object_acceleration", partial(of_objects, _claim), ("numeric",), "number", "acceleration",
           {"number": ("region", *STATES)}, ("middle",), axes=WORLD),
)
