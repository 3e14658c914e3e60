"""Which of two objects is nearer to the camera, or faster, or is the difference too small to tell?

A difference of the distances (mean speeds) below a stated length (speed) counts as one that cannot be determined. That
length is no smaller than the 95 % interval of the measured difference, nor than 2 % of the objects' distance to the
camera (in the time of the span): what is below it is below the error. The options are always the two marks and "cannot
be determined"; of a clip's questions two others are kept for each of those, by lot, so that its being offered tells
nothing. Asked where 99 % of the joint draws agree. Metric: accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curate.questions import gates
from curate.questions.claim import Category, Claim
from curate.questions.digits import settle
from curate.questions.families import groups
from curate.questions.families.base import Family, Item
from curate.questions.families.comparison import CAMERA
from curate.questions.families.false_premise import SPARE, Span, lot
from curate.questions.families.motion_state import SHARE
from curate.questions.phrases import WORLD

if TYPE_CHECKING:
    from curate.questions.view import View

UNKNOWN = "cannot be determined"

@dataclass(frozen=True)
class Measure:
    """What two objects are compared by. `sign`: 1 where the larger value is asked for."""

    name: str
    kind: str
    most: str
    axes: str
    noun: str
    sign: int


MEASURES = (Measure("distance", "object_camera_distance", "nearer to the camera", CAMERA, "distances", -1),
            Measure("speed", "object_mean_speed", "faster, by its mean speed", WORLD, "mean speeds", 1))
LADDER = (1.0, 2.0, 5.0, 10.0)


def round_above(value: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is no smaller.

    >>> round_above(0.13), round_above(5.0)
    (0.2, 5.0)
    """
    power = 10.0 ** math.floor(math.log10(value))
    return round(min(step for step in LADDER if step * power >= value * (1 - 1e-9)) * power, 9)


def claims(view: View) -> Iterator[Claim]:
    for measure in MEASURES:
        made = [_compared(view, measure, pair, span) for pair, span in _pairs(view, measure)]
        sure = [gates.certain(claim.category.confidence, view.config.min_confidence) for claim in made]
        stream = groups.draw(view, "undetermined", measure.name)
        close = stream.shuffled([n for n, c in enumerate(made) if sure[n] and c.category.name == UNKNOWN])
        clear = stream.shuffled([n for n, c in enumerate(made) if sure[n] and c.category.name != UNKNOWN])
        clear_kept = clear[:2 * len(close)]
        kept = {*clear_kept, *close[:lot(len(clear_kept) / 2, stream)]}
        for n, claim in enumerate(made):
            yield claim if n in kept or not sure[n] else replace(claim, refusal=SPARE)


def _pairs(view: View, measure: Measure) -> Iterator[tuple[tuple[int, ...], Span]]:
    if measure.name == "distance":
        for frame in dict.fromkeys((0, view.scene.num_frames - 1)):
            members = groups.seen_at(view, view.regions, frame)
            for pair in groups.drawn(view, f"undetermined {frame}", members, 2, 10):
                yield pair, (frame, frame)
        return
    for pair in groups.drawn(view, "undetermined speed", groups.ids(view.rigid), 2, 10):
        if (span := groups.common_span(view, pair)) is not None:
            yield pair, span


def _compared(view: View, measure: Measure, pair: tuple[int, ...], span: Span) -> Claim:
    a, b = (view.values(measure.kind, (i,), span) for i in pair)
    difference = measure.sign * (a - b)
    low, high = np.quantile(difference, [0.025, 0.975])
    near = np.mean([view.values("object_camera_distance", (i,), (span[0], span[0])).mean() for i in pair])
    least = SHARE * float(near) / (view.seconds(span) if measure.name == "speed" else 1.0)
    tolerance = round_above(settle(max(float(high - low), least)))
    shares = {view.mark(pair[0]): float((difference > tolerance).mean()),
              view.mark(pair[1]): float((difference < -tolerance).mean()),
              UNKNOWN: float((np.abs(difference) <= tolerance).mean())}
    name = max(shares, key=shares.get)
    stated = f"{tolerance:g} m/s" if measure.name == "speed" else f"{tolerance:g} m" if tolerance >= 1 else \
        f"{100 * tolerance:g} cm"

    def steps(item: Item) -> list[str]:
        return [f"The {measure.noun} differ by {_beside(stated, tolerance, abs(float(difference.mean())))}, which is "
                f"{'less' if name == UNKNOWN else 'more'} than {stated}."]

    return Claim(pair, span, f"camera@{span[0]}" if measure.name == "distance" else "world",
                 groups.reference(view, pair), category=Category(name, shares[name], tuple(shares)),
                 variant=measure.name, steps=steps,
                 extra={"marks": list(groups.marks(view, pair)), "tolerance": tolerance},
                 words={"most": measure.most, "axes": measure.axes, "tolerance": stated, "noun": measure.noun,
                        "when": view.times.instant(span[0]) if measure.name == "distance" else view.times.span(*span),
                        "objects": groups.objects(view, pair)})


def _beside(stated: str, tolerance: float, value: float) -> str:
    """A number in the unit of the tolerance it is held against, to a hundredth of it; one below that is only bounded.

    >>> _beside("5 cm", 0.05, 0.0174), _beside("0.2 m/s", 0.2, 1.8e-5)
    ('1.74 cm', 'less than 0.002 m/s')
    """
    number, unit = stated.split(" ", 1)
    factor = float(number) / tolerance
    finest = float(number) / 100
    if value * factor < finest:
        return f"less than {finest:g} {unit}"
    return f"{value * factor:.{max(0, 2 - math.floor(math.log10(float(number))))}f} {unit}"


FAMILIES = (
    Family("cannot_be_determined", claims, fields=("objects", "most", "tolerance", "noun", "when"),
           states={"category": ("objects", "when", "reference", "axes", "most", "tolerance")}),
)
