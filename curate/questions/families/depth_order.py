"""Depth order: which marked object is nearest, which farthest, and all of them in order, along the line of sight.

The depth z_t = (R_tᵀ (P_t − c_t))_z of the reference points in the axes of the camera at time t: not the distance,
which also grows sideways. The options of "nearest" and "farthest" are the marks; those of the whole order are orders of
the same marks, drawn from all permutations with equal chance. Compared draw by draw; asked where 99 % agree.
Metric: accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.relation import in_camera
from curate.questions.claim import Category, Claim
from curate.questions.families import groups
from curate.questions.families.base import Family
from curate.questions.families.comparison import ENDS, claim, ordered

if TYPE_CHECKING:
    from curate.questions.view import View

AXES = "along the line of sight of the camera at {at} (depth, not straight-line distance)"
ORDERED = (3, 4)  # sizes of groups that are put in order


def claims(view: View) -> Iterator[Claim]:
    for frame in dict.fromkeys((0, view.scene.num_frames - 1)):
        members = groups.seen_at(view, view.regions, frame)
        depth = {i: in_camera(view.draws, i, frame)[:, 2] * view.draws.scale for i in members}
        axes, span, place = AXES.format(at=view.at(frame)), (frame, frame), f"camera@{frame}"
        for group in groups.to_choose_from(view, f"depth {frame}", members):
            values = np.stack([depth[i] for i in group])
            for variant in groups.turns(view, f"depth {frame}", group, list(ENDS)):
                sign, most = ENDS[variant]
                yield claim(view, group, span, sign * values, variant, most,
                            lambda item, g=group, v=values, s=sign: ordered(view, g, v, "m", "depths", s > 0), axes,
                            place, asked="one")
        for size in ORDERED:
            for group in groups.drawn(view, f"depth order {frame}", members, size, 1):
                yield _order(view, group, frame, np.stack([depth[i] for i in group]), axes)


def _order(view: View, group: tuple[int, ...], frame: int, values: np.ndarray, axes: str) -> Claim:
    best = np.argsort(np.median(values, 1), kind="stable")
    share = float((np.diff(values[best], axis=0) > 0).all(0).mean())
    names = groups.marks(view, group)
    vocabulary = tuple(", ".join(order) for order in permutations(names))
    return Claim(group, (frame, frame), f"camera@{frame}", groups.reference(view, group),
                 category=Category(", ".join(names[i] for i in best), share, vocabulary), variant=f"order{len(group)}",
                 words={"objects": groups.objects(view, group), "most": "", "axes": axes, "asked": "order"},
                 steps=lambda item: ordered(view, group, values, "m", "depths", False), extra={"marks": list(names)})


FAMILIES = (
    Family("depth_order", claims, states={"category": ("objects", "at", "reference", "axes", "asked")},
           fields=("objects", "most", "asked"), metric=False),
)
