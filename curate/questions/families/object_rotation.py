"""How an object itself turns in the world: R_world(j) R_world(i)ᵀ of its rigid motion, the camera's own turn taken out.

`object_rotation`: the angle of that one rotation, degrees (MRA). No choice: options above half a turn would give
themselves away.
`object_rotation_direction`: clockwise or anticlockwise (accuracy), by the sign of the rotation vector's part along an
axis that the question states: the upward one, seen from above (up along gravity or off the ground where the scene
knows it, else the camera's own up at the start of the span), or the one that leads from the camera's place at the start
to the object, seen from the camera. Asked where 99 % of the draws turn by more than LEAST_RAD, half of that about the
axis. Of what does not clearly turn nothing is asked: a body far away may turn unseen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.quantity import Quantity
from curate.measure.turn import object_rotation, turn_estimate, turn_vectors
from curate.questions import gates
from curate.questions.claim import Category, Claim, Number
from curate.questions.families.base import Family, Item
from curate.questions.families.over_spans import Span, object_spans

if TYPE_CHECKING:
    from curate.questions.view import View

LEAST_RAD = math.radians(8)  # less is hardly seen, and the relief it shows fits a mirrored turn as well
# Of its matches, that its rigid motion must explain: a turn of the wrong sense (a mirrored relief) explains fewer. Of
# senses on 440 rendered scenes, three of four wrong ones were below and 12 of 214 right ones.
LEAST_RIGIDITY = 0.95
SHARE = 0.5  # of the turn that must be about the axis asked about: within 60°
SENSES = ("clockwise", "anticlockwise")
UP = {"gravity": "seen from above (up is opposite to gravity)",
      "ground-plane": "seen from above (up is at right angles to the ground)"}


def number_steps(item: Item) -> list[str]:
    return ["The object's orientation in the world is followed from its own rigid motion, with the camera's turn taken "
            "out.", f"One rotation takes it from that at {item.words['start']} to that at {item.words['end']}; its "
                    f"angle is {item.stated}."]


def sense_steps(item: Item) -> list[str]:
    return ["The object's orientation in the world is followed from its own rigid motion, with the camera's turn taken "
            "out.", f"From {item.words['start']} to {item.words['end']} it turns by "
                    f"{math.degrees(float(item.quantity.value)):.1f}°, and {item.words['seen']} that is {item.answer}."]


def turns(view: View) -> Iterator[tuple[int, Span, Quantity | None, str]]:
    """(region, span, how far it turns, why nothing may be asked or "")."""
    for region, span, refusal in object_spans(view):
        if not refusal and any(gates.cut_off(view.scene, region, frame) for frame in span):
            refusal = gates.CUT_OFF
        if not refusal and view.scene.region(region).rigidity < LEAST_RIGIDITY:
            refusal = gates.NOT_RIGID
        if not refusal and np.linalg.norm(turn_estimate(view.draws, region, span)) <= LEAST_RAD:
            refusal = gates.STILL  # and no need to draw its error
        found = None if refusal else object_rotation(view.draws, region, span)
        if not refusal:
            refusal = gates.NOT_MEASURED if found is None else \
                "" if gates.moves(found, view.config.max_p_zero) and found.quantiles[0] > LEAST_RAD else gates.STILL
        yield region, span, found, refusal


def angles(view: View) -> Iterator[Claim]:
    for region, span, found, refusal in turns(view):
        yield Claim((region,), span, "world", found.reference if found else "",
                    None if refusal else Number(found.value, found.quantiles, "angle"), steps=number_steps,
                    quantities=(found,) if found else (), refusal=refusal)


def senses(view: View) -> Iterator[Claim]:
    for region, span, found, refusal in turns(view):
        if refusal:
            yield Claim((region,), span, "world", refusal=refusal)
            continue
        for variant, axis, seen in axes(view, region, span):
            _, drawn = turn_vectors(view.draws, region, span)
            part = drawn @ axis
            about = np.abs(part) > SHARE * np.linalg.norm(drawn, axis=-1)
            clockwise, other = float((about & (part > 0)).mean()), float((about & (part < 0)).mean())
            category = Category(SENSES[other > clockwise], max(clockwise, other), SENSES)
            yield Claim((region,), span, "world", found.reference, category=category, words={"seen": seen},
                        steps=sense_steps, quantities=(found,), variant=variant,
                        extra={"axis": [round(float(x), 6) for x in axis]})


def axes(view: View, region: int, span: Span) -> list[tuple[str, np.ndarray, str]]:
    """(variant, the direction [3] in the world in which the onlooker looks, in words).

    Seen along a direction a right-handed turn about it is clockwise.
    """
    scene, start = view.scene, view.at(span[0])
    pose, place = scene.T_world_cam[span[0]], scene.region(region).point_cam[span[0]]
    down = -np.asarray(scene.up_world, float) if scene.up in UP else pose.rotation[:, 1]
    above = UP.get(scene.up, f"seen from above (up is the upward direction of the camera's image at {start})")
    ray = pose.rotation @ place
    return [("above", down / np.linalg.norm(down), above),
            ("camera", ray / np.linalg.norm(ray), f"seen from where the camera is at {start}, looking at it")]


STATES = ("region", "span", "start")
FAMILIES = (
    Family("object_rotation", angles, ("numeric",), "number", "angle", {"number": STATES}, metric=False),
    Family("object_rotation_direction", senses, states={"category": ("region", "span", "seen")}, fields=("seen",),
           metric=False),
)
