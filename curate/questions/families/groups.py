"""Several marked objects in one question: who they are, how a sentence lists them, and who of them stands out.

Which objects go together is drawn from the clip's name alone, never from what is true of them, and they are listed in
the order drawn: neither the group nor a place in it tells an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from curate.questions import gates, region_words
from curate.questions.draw import Draw
from curate.scene import Region

if TYPE_CHECKING:
    from curate.questions.view import View

MARK_DIALECTS = ("<R1>", "[R1]", "region 1", "<obj_1>")  # those that speak of marks, so that several share one noun
INSIDE = 3**-0.5  # of the mean diagonal: the centres of two equal cubes that touch are as far apart
PAIRS, LARGER = 3, 1  # groups drawn of two objects, and of each larger number
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def draw(view: View, *name: object) -> Draw:
    """A stream of this clip's and this name's own."""
    return Draw("group", view.scene.key, view.config.seed, *name)


def drawn(view: View, name: str, members: Sequence[int], size: int, most: int) -> list[tuple[int, ...]]:
    """Up to `most` groups of so many of the members, each in drawn order, without those that may be one object."""
    stream = draw(view, name, size)
    if size == 2:
        found = [tuple(stream.shuffled(pair)) for pair in stream.shuffled(list(combinations(members, 2)))[:most]]
    elif len(members) >= size:
        found = list(dict.fromkeys(tuple(stream.shuffled(list(members))[:size]) for _ in range(most)))
    else:
        found = []
    return [group for group in found if not one_of_many(view, group)]


def one_of_many(view: View, group: Sequence[int]) -> bool:
    """Whether any two of them may be one object."""
    return any(one_body(view, *pair) for pair in combinations(group, 2))


def one_body(view: View, a: int, b: int) -> bool:
    """Whether two regions may be pieces of one object: their centres are nearer to each other than two bodies of their
    size have room for."""
    key = "one body", min(a, b), max(a, b)
    if key not in view.memo:
        view.memo[key] = _one_body(view, a, b)
    return view.memo[key]


def _one_body(view: View, a: int, b: int) -> bool:
    regions = [view.scene.region(i) for i in (a, b)]
    if all(region.point == "cuboid" for region in regions):
        return False  # their source tells them apart
    apart = np.linalg.norm(regions[0].point_cam[gates.MARK_FRAME] - regions[1].point_cam[gates.MARK_FRAME])
    size = sum(float(np.linalg.norm(r.extent_m)) for r in regions) / 2  # mean diagonal
    return bool(apart < INSIDE * size)


def to_choose_from(view: View, name: str, members: Sequence[int]) -> list[tuple[int, ...]]:
    """Groups whose members can be a question's options: of two objects up to as many as there are options."""
    return [group for size in range(2, view.config.num_options + 1)
            for group in drawn(view, name, members, size, PAIRS if size == 2 else LARGER)]


def turns(view: View, name: str, group: Sequence[int], variants: Sequence[str]) -> list[str]:
    """Ways to ask of a group: of two objects one, drawn, as the one who is not the nearer is the farther; else all."""
    return [draw(view, name, *group).pick(variants)] if len(group) == 2 else list(variants)


def ids(regions: Sequence[Region]) -> list[int]:
    return [region.id for region in regions]


def seen_at(view: View, regions: Sequence[Region], frame: int) -> list[int]:
    """Ids of those that are measured at a frame; what is not rigid is spoken of in its first frame alone."""
    return [r.id for r in regions if frame in view.frames(r) and (r.rigid or frame == r.defined_at)]


def common_span(view: View, group: Sequence[int]) -> tuple[int, int] | None:
    return view.common_span([view.scene.region(i) for i in group])


def listed(names: Sequence[str]) -> str:
    """
    >>> listed(["<R1>"]), listed(["<R1>", "<R2>"]), listed(["<R1>", "<R2>", "<R3>"])
    ('<R1>', '<R1> and <R2>', '<R1>, <R2> and <R3>')
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def marks(view: View, group: Sequence[int]) -> tuple[str, ...]:
    """As options write them."""
    return tuple(view.mark(i) for i in group)


def objects(view: View, group: Sequence[int]) -> str:
    """"the objects marked <R1>, <R2> and <R4> in the first frame"."""
    if len(group) > 1 and view.config.region_dialect in MARK_DIALECTS:
        where = region_words.marked_where(view.config.region_dialect, view.picture_size)
        return f"the objects marked {listed(marks(view, group))} in the {where}"
    return listed([view.marked(i) for i in group])


def reference(view: View, group: Sequence[int]) -> str:
    """The reference point of the group's members."""
    return view.scene.region(group[0]).reference


def standing_out(values: np.ndarray) -> tuple[int, float]:
    """Of values [n, S] the row that is most often the largest, and the share of draws in which it alone is.

    >>> standing_out(np.array([[1.0, 1.0], [2.0, 1.0]]))
    (1, 0.5)
    """
    top = values.max(0)
    alone = (np.count_nonzero(values == top, 0) == 1) & np.isfinite(top)
    counts = np.bincount(values.argmax(0)[alone], minlength=len(values))
    best = int(np.argmax(counts))
    return best, float(counts[best] / values.shape[1])


def is_metric(view: View) -> bool:
    """Whether metres may be spoken of."""
    return view.scene.scale in gates.METRIC_SCALES
