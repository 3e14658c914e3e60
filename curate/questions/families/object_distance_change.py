"""Closer together or farther apart, and by how much: ‖P_a − P_b‖ at the end less that at the start, m.

Between the two objects' reference points, in three-dimensional space, whatever the camera does; positive where the
distance grows. Asked where the change is clear of zero (chi-square) and, as a choice, where 99 % of the joint draws
agree on its sign. Metrics: mra, accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from curate.questions.claim import Claim
from curate.questions.families import groups
from curate.questions.families.base import Item
from curate.questions.families.of_quantity import QuantityFamily

if TYPE_CHECKING:
    from curate.questions.view import View

ONE_BODY = "they may be pieces of one object"
AXES = "along a straight line in three-dimensional space"


def steps(item: Item) -> list[str]:
    first, last = item.quantity.span
    regions = [item.scene.region(i) for i in item.quantity.subjects]
    apart = []
    for frame in (first, last):
        a, b = (region.point_cam[frame] for region in regions)
        apart.append(float(((a - b) ** 2).sum() ** 0.5))
    before, after = apart
    if item.unit is None:
        places = 2 if abs(after - before) >= 0.1 else 3
        texts = [f"{x:.{places}f}" for x in apart]
        grows = item.answer == "farther apart"
        if (float(texts[1]) - float(texts[0])) * (1 if grows else -1) <= 0:
            return []
        return [f"The two points are {texts[0]} m apart at {item.words['start']} and {texts[1]} m at "
                f"{item.words['end']}.", f"Their distance has become {'larger' if grows else 'smaller'}."]
    texts = [item.number(x) for x in apart]
    change = (float(texts[1]) - float(texts[0])) / item.unit.factor
    if not item.agrees(change):
        return [f"The distance of the two points at {item.words['start']} is taken from that at {item.words['end']}."]
    symbol = item.unit.symbol
    return [f"The two points are {texts[0]} {symbol} apart at {item.words['start']} and {texts[1]} {symbol} at "
            f"{item.words['end']}.", f"The change is {texts[1]} − {texts[0]} = {item.number(change)} {symbol}."]


@dataclass(frozen=True)
class PairFamily(QuantityFamily):
    """Of two objects; two pieces of one body come neither closer together nor farther apart."""

    def make(self, view: View) -> Iterator[Claim]:
        """One claim a pair."""
        for claim in super().make(view):
            piece = not claim.refusal and groups.one_body(view, *claim.subjects)
            yield replace(claim, refusal=ONE_BODY) if piece else claim


FAMILIES = (
    PairFamily("object_object_distance_change", kind="object_object_distance_change", subjects=2,
               forms=("numeric", "choice"), dimension="length", axes=AXES, steps=steps,
               vocabulary=("closer together", "farther apart"), signed=True),
)
