"""Whose motion: does only the camera move, only the object, both, or neither?

Both are decided as `motion_state` defines it, the camera's centre by the object's distance; asked where both are
decided and 99 % of the joint draws agree. All four options are always offered. Metric: accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.relation import away, turned
from curate.questions import gates
from curate.questions.claim import Category, Claim
from curate.questions.families import groups
from curate.questions.families.base import Family, Item
from curate.questions.families.motion_state import (
    CAMERA_RULE,
    camera_moves,
    camera_stirs,
    farthest,
    object_moves,
    stirs,
)
from curate.questions.phrases import WORLD

if TYPE_CHECKING:
    from curate.questions.view import View

NAMES = ("neither of them", "only the object", "only the camera", "both of them")
MOST = 6  # objects of a clip


def claims(view: View) -> Iterator[Claim]:
    chosen = groups.draw(view, "whose motion").shuffled(groups.ids(view.rigid))[:MOST]
    for i in sorted(chosen):
        span = view.spans(view.scene.region(i))[0]
        if object_moves(view, i, span) is None or camera_moves(view, i, span) is None:
            yield Claim((i,), span, "world", refusal=gates.UNCERTAIN)
            continue
        which = 2 * camera_stirs(view, i, span) + stirs(view, i, span)
        shares = np.bincount(which, minlength=4) / len(which)
        best = int(np.argmax(shares))

        def steps(item: Item, i=i, span=span) -> list[str]:
            turn = np.degrees(np.median(turned(view.draws, span)))
            centre = np.median(away(view.draws, None, span).max(1)) / np.median(
                np.linalg.norm(view.scene.region(i).point_cam[span[0]]))
            share = farthest(view, [i], span)[0].removeprefix(view.mark(i)).strip()
            return [f"The object gets up to {share} of its distance to the camera away from its place.",
                    f"The camera's centre gets up to {100 * centre:.1f} % of that distance away from its place, and "
                    f"the camera turns by up to {turn:.1f}°."]

        yield Claim((i,), span, "world", view.scene.region(i).reference,
                    category=Category(NAMES[best], float(shares[best]), NAMES), steps=steps,
                    words={"rule": CAMERA_RULE.format(start=view.at(span[0])), "axes": WORLD.split(",")[0]})


FAMILIES = (
    Family("whose_motion", claims, fields=("rule",), metric=False,
           states={"category": ("region", "span", "reference", "axes", "rule")}),
)
