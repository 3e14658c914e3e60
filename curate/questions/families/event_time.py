"""When something happens to an object, and how long something takes, in seconds from the video's start.

Events: it is for the first time a round distance from where it was at the start; for the first time closer to the
camera (farther from it) than a round distance; nearest to the camera; starts to move (leaves by 0.1 m the place where
it rested for a quarter of the span); comes to rest (the same backwards); goes out of the image.
`event_duration`: the time between two distances from where it was at the start, each for the first time.

Formula: the first time a level is reached, between frames along a straight line; for the nearest, the vertex of the
distance's parabola. A quarter of the time between two frames is open either way. Reference point: surface@t0, in the
world or straight from the camera's centre. Unit: s. Gate: it happens in 99.8 % of the joint draws; for the number, its
interval; for the choice, 99 % in one part of the span. Answer: number (metric "mra"), or a choice among equal parts of
the span: numbers of their own would give away those after its end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from curate.measure import joint
from curate.measure.magnitude import quantiles
from curate.questions.claim import Category, Claim, Number
from curate.questions.digits import decimals, settle
from curate.questions.draw import Draw
from curate.questions.families.base import Family, Item
from curate.questions.followed import Followed, followed, moves_clearly
from curate.questions.happenings import Happening, blurred, frame_interval, happenings, round_level
from curate.questions.phrases import WORLD

if TYPE_CHECKING:
    from curate.questions.view import View

SURE = 0.998  # of the draws in which it happens: the others count as never
MIN_FRAMES = 2  # that a duration spans
NOTHING = "nothing of the kind surely happens"


def part_names(view: View, frames: np.ndarray) -> tuple[str, ...]:
    """Names of the parts between frames: "from 0.00 s to 0.60 s"."""
    return tuple(f"from {view.at(int(a))} to {view.at(int(b))}" for a, b in pairwise(frames))


def part_frames(who: Followed, num: int) -> np.ndarray:
    """Frames [num + 1] that part the span into about equal times."""
    return np.round(np.linspace(*who.span, num + 1)).astype(int)


def time_claims(view: View) -> Iterator[Claim]:
    for who in followed(view, moves=False):
        common = {"subjects": (who.region.id,), "span": who.span, "frame": "world", "reference": "surface@t0"}
        if who.refusal:
            yield Claim(**common, refusal=who.refusal)
            continue
        is_moving = moves_clearly(view, who.path)
        of_motion = ("reach", "start", "stop", "gone")  # what stands still and goes out may be a piece of a wall
        sure = [h for h in happenings(view, who) if h.sure >= SURE and (is_moving or h.kind not in of_motion)]
        for happening in sure:
            yield _time_claim(view, who, happening, common)
        if not sure:
            yield Claim(**common, refusal=NOTHING)


def _time_claim(view: View, who: Followed, happening: Happening, common: dict) -> Claim:
    frames = part_frames(who, view.config.num_options)
    edges = np.asarray(view.times.seconds)[frames]
    part = np.searchsorted(edges[1:-1], happening.times, side="right")
    counts = np.bincount(part, minlength=len(frames) - 1)
    names, best = part_names(view, frames), int(counts.argmax())
    # what leaves the image after its track has its times beyond the span, and no parts of it
    category = None if happening.kind == "gone" else Category(names[best], float(counts[best] / len(part)), names)
    if happening.kind == "gone":
        common = common | {"span": view.clip}
    extra = {"event": happening.kind, "level_m": None if math.isnan(happening.level) else happening.level,
             "part_frames": [int(f) for f in frames]}
    return Claim(**common, number=happening.number(), category=category, variant=happening.kind, extra=extra,
                 words={"event": happening.event, "axes": happening.axes},
                 steps=partial(_time_steps, view, who, happening))


def _time_steps(view: View, who: Followed, happening: Happening, item: Item) -> list[str]:
    level = happening.level
    if happening.kind == "gone":
        return [f"Its track ends at {who.time_s[-1]:.2f} s, at the image's border and moving outwards."]
    if happening.kind in ("start", "stop"):
        rest = "at first" if happening.kind == "start" else "at last"
        return [f"The object rests {rest}; its place there is compared with its place in every frame.",
                f"The two are {level:g} m apart at {np.median(happening.times):.2f} s."]
    if happening.kind == "reach":
        values, name = joint.from_start(view.draws, who.region.id, who.frames), "from start"
        what = "From its place at the start it is"
    else:
        values, name = joint.camera_distance(view.draws, who.region.id, who.frames), "camera distance"
        what = "From the camera it is"
    course = joint.median(view.draws, who.region.id, name, who.span, values)
    time = float(np.median(happening.times))
    after = int(np.searchsorted(who.time_s, time).clip(1, len(course) - 1))
    if item.unit:
        before, behind = (f"{who.time_s[k]:.2f} s" for k in (after - 1, after))
        moment = f"at about {item.stated}"
    else:
        before, behind = (view.at(int(who.frames[k])) for k in (after - 1, after))
        moment = f"between {before} and {behind}"
    return [f"{what} {course[after - 1]:.3g} m away at {before} and {course[after]:.3g} m at {behind}.",
            f"So the moment is {moment}."]


def duration_claims(view: View) -> Iterator[Claim]:
    for who in followed(view):
        common = {"subjects": (who.region.id,), "span": who.span, "frame": "world", "reference": "surface@t0"}
        if who.refusal:
            yield Claim(**common, refusal=who.refusal)
            continue
        values = joint.from_start(view.draws, who.region.id, who.frames)
        draw = Draw(view.scene.key, "duration", who.region.id, view.config.seed)
        course = joint.median(view.draws, who.region.id, "from start", who.span, values)
        levels = sorted({round_level(course, draw) for _ in range(3)} - {None})
        if len(levels) < 2:
            yield Claim(**common, refusal=NOTHING)
            continue
        low, high = levels[0], levels[-1]
        before, after = (blurred(view, joint.first_time(values, who.time_s, level), level, who.region.id)
                         for level in (low, high))
        both = np.isfinite(before) & np.isfinite(after)
        if both.mean() < SURE or np.median(after[both] - before[both]) < MIN_FRAMES * frame_interval(view):
            yield Claim(**common, refusal=NOTHING)
            continue
        spread = [settle(float(q)) for q in quantiles(after[both] - before[both])]
        yield Claim(**common, number=Number(spread[4], tuple(spread), "time"),
                    words={"low": f"{low:g} m", "high": f"{high:g} m"}, extra={"levels_m": [low, high]},
                    steps=partial(_duration_steps, float(np.median(before[both]))))


def _duration_steps(before: float, item: Item) -> list[str]:
    times = [f"{t:.{max(decimals(item.value, item.num_digits), 0)}f}" for t in (before, before + item.value)]
    return [f"It is {item.words['low']} from its place at the start at {times[0]} s, and {item.words['high']} at "
            f"{times[1]} s, each for the first time.", f"Between the two lie {item.stated}."]


STATES = ("region", "span", "reference", "axes")
FAMILIES = (
    Family("event_time", time_claims, forms=("numeric", "choice"), dimension="time", fields=("event",),
           states={"number": (*STATES, "event"), "category": (*STATES, "event")}),
    Family("event_duration", duration_claims, forms=("numeric",), dimension="time", fields=("low", "high"), axes=WORLD,
           states={"number": (*STATES, "low", "high")}),
)
