"""How many of the marked objects move, stand still, or shift to one side.

    count_moving     of the objects named those that move (or stand still), as `motion_state` defines it
    count_direction  of the objects named those that end up, along one axis of the camera at the start, farther from
                     their place than 2 % of their distance to the camera: right, left, forward or backward

Only objects of which it is certain are named, and the question names all that are counted: what is not marked is not
known. A plain number; as a choice the options are drawn from all numbers that are possible, each set with equal chance.
The count must be the same in 99 % of the joint draws. Metrics: mra, accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.magnitude import quantiles
from curate.measure.relation import shift_in_camera
from curate.questions import gates
from curate.questions.claim import Category, Claim, Number
from curate.questions.families import groups
from curate.questions.families.base import Family, Item
from curate.questions.families.motion_state import RULE, SHARE, farthest, object_moves, stirs, threshold
from curate.questions.phrases import WORLD

if TYPE_CHECKING:
    from curate.questions.view import View

MOST = 8  # objects of one question
SIDES = {"to the right": (0, 1), "to the left": (0, -1), "forward": (2, 1), "backward": (2, -1)}
SIDE_RULE = ("An object counts if, from {start} to {end}, it shifts {side} by more than 2 % of its distance to the "
             "camera at {start}.")
SIDE_AXES = (WORLD + ", along the axes of the camera at {start} (right and left as in its image, forward and backward "
             "along its line of sight)")

def _chosen(view: View, name: str, certain: Callable[[int, tuple[int, int]], bool]) -> Iterator[tuple]:
    """Groups of objects of which it is certain, and the span that all of them are measured over: all, and some."""
    members = groups.ids(view.rigid)
    stream = groups.draw(view, name)
    sizes = [len(members), 2 + stream.integer(len(members) - 2) if len(members) > 2 else 0]
    seen = set()
    for size in sizes:
        for group in groups.drawn(view, name, members, min(size, MOST), 1) if size > 1 else []:
            span = groups.common_span(view, group)
            sure = tuple(i for i in group if span is not None and certain(i, span))
            if len(sure) > 1 and frozenset(sure) not in seen:
                seen.add(frozenset(sure))
                yield sure, span


def _claim(view: View, group: tuple[int, ...], span: tuple[int, int], counts: np.ndarray, variant: str,
           steps: Callable[[Item], list[str]], **words: str) -> Claim:
    """A count [S] by draws, 0 to all of the group."""
    value = int(np.bincount(counts.astype(int)).argmax())
    return Claim(group, span, "world", groups.reference(view, group),
                 number=Number(float(value), tuple(map(float, quantiles(counts.astype(float)))), "count"),
                 category=Category(str(value), float((counts == value).mean()),
                                   tuple(str(n) for n in range(len(group) + 1))),
                 words={"objects": groups.objects(view, group), "axes": WORLD} | words, variant=variant, steps=steps,
                 extra={"marks": list(groups.marks(view, group))})


def moving(view: View) -> Iterator[Claim]:
    for group, span in _chosen(view, "count moving", lambda i, span: object_moves(view, i, span) is not None):
        counted = groups.draw(view, "count moving", *group).pick(("moving", "still"))
        counts = np.sum([stirs(view, i, span) == (counted == "moving") for i in group], 0)

        def steps(item: Item, group=group, span=span) -> list[str]:
            return ["How far does each object get from its place, as a share of its distance to the camera? "
                    f"{', '.join(farthest(view, group, span))}.", f"That makes {item.answer}."]

        yield _claim(view, group, span, counts, f"{counted}{len(group)}", steps, counted=counted,
                     rule=RULE.format(start=view.at(span[0])))


def _beside(view: View, region_id: int, span: tuple[int, int], side: str) -> np.ndarray:
    """[S] bool: whether it ends up on that side of its place."""
    axis, sign = SIDES[side]
    return sign * shift_in_camera(view.draws, region_id, span)[:, axis] > threshold(view, region_id, span)


def direction(view: View) -> Iterator[Claim]:
    stream = groups.draw(view, "count direction sides")
    order = stream.shuffled(list(SIDES))

    def certain(i: int, span: tuple[int, int]) -> bool:
        shares = [float(_beside(view, i, span, side).mean()) for side in SIDES]
        return all(gates.certain(max(s, 1 - s), view.config.min_confidence) for s in shares)

    for group, span in _chosen(view, "count direction", certain):
        counts = {side: np.sum([_beside(view, i, span, side) for i in group], 0) for side in order}
        some = [side for side in order if counts[side].mean() > 0.5]
        for side in dict.fromkeys([order[0], *some[:1]]):  # any side, and one that is not zero, so that not all are
            start, end = view.at(span[0]), view.at(span[1])

            def steps(item: Item, group=group, span=span, side=side) -> list[str]:
                axis, sign = SIDES[side]
                shares = [sign * float(np.median(shift_in_camera(view.draws, i, span)[:, axis]
                                                 / threshold(view, i, span))) * 100 * SHARE for i in group]
                listed = ", ".join(f"{view.mark(i)} {round(share, 1) + 0.0:.1f} %" for i, share in zip(group, shares))
                return [f"How far {side} does each object shift, as a share of its distance to the camera (negative "
                        f"numbers: the other way)? {listed}.",
                        f"{item.answer} of them {'shifts' if item.answer == '1' else 'shift'} by more than 2 %."]

            yield _claim(view, group, span, counts[side], f"{side.split()[-1]}{len(group)}", steps, side=side,
                         axes=SIDE_AXES.format(start=start),
                         rule=SIDE_RULE.format(start=start, end=end, side=side))


STATES = ("objects", "span", "reference", "axes", "rule")
COMMON = {"forms": ("numeric", "choice"), "dimension": "count", "metric": False}
FAMILIES = (
    Family("count_moving", moving, states=dict.fromkeys(("number", "category"), (*STATES, "counted")),
           fields=("objects", "counted", "rule"), **COMMON),
    Family("count_direction", direction, states=dict.fromkeys(("number", "category"), (*STATES, "side")),
           fields=("objects", "side", "rule"), **COMMON),
)
