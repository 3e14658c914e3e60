"""Where one object is with respect to another at one time: left or right, above or below, in front or behind.

R_tᵀ (P_a − P_b) of the two reference points, in space, along the axes of the camera at time t (x right, y down, z
forward): left where x < 0, above where y < 0, in front (nearer along the line of sight) where z < 0. It compares
centres, so it holds for extended objects too, and it is not their order in the picture. One question for each axis,
and one of four quarters for left or right together with in front or behind. Asked where 99 % of the joint draws agree,
and in them the centres are farther apart, along each axis, than a tenth of the larger object's size: what is nearer to
the boundary than its error, or than anybody sees, is not asked. Metric: accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.relation import in_camera
from curate.questions.claim import Category, Claim
from curate.questions.families import groups
from curate.questions.families.base import Family, Item

if TYPE_CHECKING:
    from curate.questions.view import View

MOST_PAIRS = 6  # of one instant
EYE = 0.1  # of an object's size: nobody sees the centre of its surface better


@dataclass(frozen=True)
class Aspect:
    """
    Args:
        axes: of the camera that it looks at. names: by whether each of them is negative, the last axis fastest.
        sides, meaning: how the question asks, and what the words mean.
    """

    name: str
    axes: tuple[int, ...]
    names: tuple[str, ...]
    sides: str
    meaning: str


ASPECTS = (
    Aspect("lateral", (0,), ("right", "left"), "to the left or to the right",
           "in space, along the axis that points to the right in the image of the camera at {at}, not by places in the "
           "picture"),
    Aspect("vertical", (1,), ("below", "above"), "above or below",
           "in space, along the axis that points up in the image of the camera at {at}, not by places in the picture"),
    Aspect("depth", (2,), ("behind", "in front"), "in front or behind",
           "along the line of sight of the camera at {at}, where in front means nearer to the camera and behind "
           "farther from it"),
    Aspect("quarter", (0, 2), ("right and behind", "right and in front", "left and behind", "left and in front"),
           "to the left or to the right, and in front or behind",
           "in space, along the axes of the camera at {at}: left and right as they point in its image, in front nearer "
           "along its line of sight and behind farther"),
)
WAYS = (("to the right", "to the left"), ("down", "up"), ("farther along the line of sight",
                                                            "nearer along the line of sight"))


def claims(view: View) -> Iterator[Claim]:
    for frame in dict.fromkeys((0, view.scene.num_frames - 1)):
        members = groups.seen_at(view, view.regions, frame)
        for a, b in groups.drawn(view, f"relation {frame}", members, 2, MOST_PAIRS):
            offset = in_camera(view.draws, a, frame) - in_camera(view.draws, b, frame)
            margin = EYE * max(float(view.scene.region(i).extent_m.max()) for i in (a, b))
            for aspect in ASPECTS:
                yield _claim(view, a, b, frame, offset, margin, aspect)


def _claim(view: View, a: int, b: int, frame: int, offset: np.ndarray, margin: float, aspect: Aspect) -> Claim:
    which, clear = np.zeros(len(offset), int), np.ones(len(offset), bool)
    for axis in aspect.axes:
        which = 2 * which + (offset[:, axis] < 0)
        clear &= np.abs(offset[:, axis]) > margin
    shares = np.bincount(which[clear], minlength=len(aspect.names)) / len(which)
    best = int(np.argmax(shares))
    mean = offset.mean(0)

    def steps(item: Item) -> list[str]:
        out = [f"At {view.at(frame)} both points are placed in the axes of the camera."]
        for axis in aspect.axes:
            way = WAYS[axis][int(mean[axis] < 0)]
            size = f"{abs(mean[axis]):.2f} m " if groups.is_metric(view) and abs(mean[axis]) >= 0.005 else ""
            out.append(f"From {view.mark(b)} to {view.mark(a)} it is {size}{way}.")
        return out

    return Claim((a, b), (frame, frame), f"camera@{frame}", groups.reference(view, (a, b)),
                 category=Category(aspect.names[best], float(shares[best]), aspect.names), variant=aspect.name,
                 words={"sides": aspect.sides, "axes": aspect.meaning.format(at=view.at(frame))}, steps=steps)


FAMILIES = (
    Family("object_object_relation", claims, fields=("sides",), metric=False,
           states={"category": ("at", "region_a", "region_b", "sides", "reference", "axes")}),
)
