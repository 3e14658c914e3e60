"""The clip in a paragraph: what the camera does, where each marked object is and how it moves. Only what is certain.

Facts, a sentence each: the camera's displacement with its direction (in its axes at the start) or that it stays within
5 cm; its turn; of every object its distance to the camera at the start, and, where it is followed over the whole clip,
its displacement with direction, its mean speed, its change of distance, or that it stays within 10 cm of its place;
which one is fastest. Reference points: surface@t0 and the camera's centre. Units: m, m/s, °.

Gate: a number with a 95 % half-width of at most 10 % of it, a name with 99.9 % of the joint draws; all numbers hold at
once within their tolerances (`extra`), all names too, in 99 % of the draws; two facts at least. Answer: text with the
list of facts as target (metric "facts").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.measure import joint
from curate.measure.quantity import Quantity
from curate.questions import gates
from curate.questions.claim import Claim, Open
from curate.questions.digits import settle, significant_digits, text
from curate.questions.families.base import Family, Item
from curate.questions.families.direction import CAMERA_AXES
from curate.questions.units import UNITS

if TYPE_CHECKING:
    from curate.questions.view import Span, View

MAX_RELATIVE = 0.1  # 95 % half-width of a number, over it
NAME_SHARE = 0.999
CAMERA_STAYS_M, OBJECT_STAYS_M = 0.05, 0.1
EXACT = 1e-6  # relative error of what is known without any
MIN_FACTS, MAX_FACTS = 2, 16
FEW = "too few certain facts"
WAYS = {"forward": "forward", "backward": "backward", "left": "to the left", "right": "to the right", "up": "up",
        "down": "down"}
UNIT_OF = {"m": "m", "m/s": "m/s", "rad": "°"}
LEAD = ("Answer with one paragraph of plain sentences, one fact each, with numbers and units; call the objects by "
        "these names.")


@dataclass(frozen=True)
class Fact:
    """
    Args:
        sentence: without its full stop, `{}` where its number with unit belongs.
        kind: of measurement; "stays" and "fastest" for the others. subjects, span: what it is of.
        quantity: of its number. draws: [S] of the number. name: its direction or mark. share: of the name.
    """

    sentence: str
    kind: str
    subjects: tuple[int, ...]
    span: Span
    quantity: Quantity | None = None
    draws: np.ndarray | None = None
    name: str = ""
    share: float = 1.0

    @property
    def half(self) -> float:
        value = abs(float(self.quantity.value))
        return value * max(gates.relative_half_width(value, self.quantity.quantiles), EXACT)

    def said(self) -> str:
        if self.quantity is None:
            return self.sentence
        value = abs(float(self.quantity.value))
        unit = UNITS[UNIT_OF[self.quantity.unit]]
        digits = significant_digits(settle(self.half / value))
        return self.sentence.format(unit.text(text(settle(value * unit.factor), digits)))

    def record(self, tolerance: float) -> dict[str, Any]:
        """For whoever checks it: values in m, m/s, rad."""
        value = None if self.quantity is None else abs(float(self.quantity.value))
        return {"kind": self.kind, "subjects": list(self.subjects), "span": list(self.span), "name": self.name,
                "value": value, "tolerance": None if value is None else settle(tolerance)}


def _number(view: View, kind: str, subjects: tuple[int, ...], span: Span, sentence: str, name: str = "",
            share: float = 1.0) -> Iterator[Fact]:
    """The fact of a quantity, where it is clear of zero, narrow, and its name is sure."""
    found = view.quantity(kind, subjects, span)
    value = float(found.value)
    if not (np.isfinite(value) and value and np.isfinite(found.quantiles).all()) or share < NAME_SHARE:
        return
    if not gates.moves(found, view.config.max_p_zero):
        return
    fact = Fact(sentence, kind, subjects, span, found, view.values(kind, subjects, span), name, share)
    if fact.half <= MAX_RELATIVE * abs(value):
        yield fact


def _way(view: View, kind: str, subjects: tuple[int, ...], span: Span) -> tuple[str, float]:
    """The main direction and its share of the draws."""
    found = view.quantity(kind, subjects, span)
    shares = found.extra.get("probabilities", {})
    return max(sorted(shares.items()), key=lambda item: item[1]) if shares else ("", 0.0)


def _stays(moved: np.ndarray, reach_m: float) -> float:
    """Share of the draws in which all places are so near to the first; `moved` [S, n] m says how far they are."""
    return float((moved < reach_m).all(1).mean())


def camera_facts(view: View) -> Iterator[Fact]:
    span, frames = view.clip, np.arange(view.scene.num_frames)
    path = joint.points(view.draws, None, frames)
    share = _stays(joint.clear_length(path - path[:, :1]), CAMERA_STAYS_M)
    if share >= NAME_SHARE:
        yield Fact(f"The camera stays within {CAMERA_STAYS_M * 100:g} cm of its place", "stays", (), span, share=share)
    else:
        name, share = _way(view, "camera_direction", (), span)
        if name:
            words = f"The camera moves {{}} {WAYS[name]}"
            yield from _number(view, "camera_displacement", (), span, words, name, share)
    name, share = _way(view, "camera_rotation", (), span)
    if name:
        words = f"The camera turns by {{}}, mainly {WAYS[name]}"
        yield from _number(view, "camera_rotation", (), span, words, name, share)


def object_facts(view: View, region_id: int) -> Iterator[Fact]:
    region, mark = view.scene.region(region_id), view.mark(region_id)
    usable = view.frames(region)
    one, start = (region_id,), int(usable[0])
    yield from _number(view, "object_camera_distance", one, (start, start),
                       f"{mark} is {{}} from the camera at {view.at(start)}")
    span = start, int(usable[-1])
    if not region.rigid or span != view.clip:
        return
    share = _stays(joint.from_start(view.draws, region_id, np.arange(span[0], span[1] + 1)), OBJECT_STAYS_M)
    if share >= NAME_SHARE:
        yield Fact(f"{mark} stays within {OBJECT_STAYS_M * 100:g} cm of its place", "stays", one, span, share=share)
    else:
        name, share = _way(view, "object_direction", one, span)
        if name:
            yield from _number(view, "object_displacement", one, span, f"{mark} moves {{}} {WAYS[name]}", name, share)
        yield from _number(view, "object_mean_speed", one, span, f"The mean speed of {mark} is {{}}")
    name, share = _way(view, "object_camera_distance_change", one, span)
    if name:
        words = f"{mark} gets {{}} {'closer to' if name == 'closer' else 'farther from'} the camera"
        yield from _number(view, "object_camera_distance_change", one, span, words, name, share)


def fastest_fact(view: View, facts: Sequence[Fact]) -> Iterator[Fact]:
    """Which of the moving ones has the highest mean speed."""
    speeds = {fact.subjects[0]: fact.draws for fact in facts if fact.kind == "object_mean_speed"}
    if len(speeds) < 2:
        return
    ids, drawn = list(speeds), np.stack(list(speeds.values()))
    best = int(np.median(drawn, axis=1).argmax())
    share = float((drawn[best] > np.delete(drawn, best, axis=0).max(0)).mean())
    if share >= NAME_SHARE:
        others, mark = [i for i in ids if i != ids[best]], view.mark(ids[best])
        yield Fact(f"{mark} is faster than {_and([view.mark(i) for i in others])}", "fastest", (ids[best], *others),
                   view.clip, name=mark, share=share)


def _and(names: Sequence[str]) -> str:
    """"a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def claims(view: View) -> Iterator[Claim]:
    regions = [r for r in view.regions if not gates.subject_refusal(view.scene, (r.id,), (r.defined_at, r.defined_at))]
    facts = list(camera_facts(view))
    for region in regions:
        facts += object_facts(view, region.id)
    facts = (facts + list(fastest_fact(view, facts)))[:MAX_FACTS]
    subjects = tuple(r.id for r in regions if any(r.id in f.subjects for f in facts))
    common = {"subjects": subjects, "span": view.clip, "frame": "camera@0", "reference": "surface@t0"}
    if len(facts) < MIN_FACTS or not subjects:
        yield Claim(**common, refusal=FEW)
        return
    numbers = [fact for fact in facts if fact.draws is not None]
    widen, sure = 0.0, 1.0
    if numbers:
        off = np.stack([np.abs(np.abs(f.draws) - abs(float(f.quantity.value))) / f.half for f in numbers]).max(0)
        widen = 1.2 * float(np.quantile(off, 0.995))
        sure = float((off <= widen).mean())
    sure -= sum(1 - fact.share for fact in facts)
    said = [fact.said() for fact in facts]
    yield Claim(**common, open=Open(". ".join(said) + ".", said, "text", "facts", LEAD, sure),
                words={"marks": _and([view.mark(i) for i in subjects]), "legend": view.legend},
                quantities=tuple(fact.quantity for fact in numbers), steps=partial(_steps, len(said)),
                extra={"facts": [f.record(widen * f.half if f.draws is not None else 0.0) for f in facts]})


def _steps(num: int, item: Item) -> list[str]:
    return ["The camera comes first: how far its centre is displaced, in its axes at the start, and how far it turns.",
            f"Then {item.words['marks']}: the distance to the camera at the start, and the motion in the world.",
            f"{num} facts are certain enough to be told."]


FAMILIES = (Family("dense_caption", claims, forms=("open",), fields=("marks", "legend"), axes=CAMERA_AXES,
                   states={"open": ("marks", "legend", "span", "reference", "axes")}),)
