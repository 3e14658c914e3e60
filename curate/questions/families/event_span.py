"""From when to when an object is closer to the camera than a round distance, or faster than a round speed.

Formula: {t: ‖P(t) − c(t)‖ < D} with D in m, {t: ‖dP/dt‖ > V} with V in m/s; D and V are taken where the span has one
beginning and one end, at least one of them inside of the time asked about. Reference point: surface@t0, straight from
the camera's centre; in the fixed world. Unit: s. Gate: in 99 % of the joint draws the span's overlap (intersection over
union) with the stated one is at least 0.85. Answer: two times (metric "tiou"); in the dialect of frames, two frame
numbers with a decimal, and so is the target.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from curate.measure import joint
from curate.questions.claim import Claim, Open
from curate.questions.draw import Draw
from curate.questions.families.base import Family, Item
from curate.questions.families.event_time import NOTHING
from curate.questions.followed import Followed, followed, moves_clearly
from curate.questions.happenings import STRAIGHT, blurred, round_level
from curate.questions.phrases import WORLD

if TYPE_CHECKING:
    from curate.questions.view import View

LEAST_IOU = 0.85
LEAST_SHARE = 0.15  # of the time asked about, that the span and the rest have at least
NEVER_S = 1e6  # a time that overlaps with nothing
LEADS = {"seconds": "Answer with two times in seconds from the start of the video, such as \"from 0.50 s to 1.20 s\".",
         "frames": "Answer with two frame numbers, counted from 0 and with one decimal for times between two frames, "
                   "such as \"from frame 2.5 to frame 8.0\"."}


def claims(view: View) -> Iterator[Claim]:
    for who in followed(view, moves=False):
        common = {"subjects": (who.region.id,), "span": who.span, "frame": "world", "reference": "surface@t0"}
        if who.refusal:
            yield Claim(**common, refusal=who.refusal)
            continue
        distance = joint.camera_distance(view.draws, who.region.id, who.frames)
        yield _claim(view, who, common, "closer", distance)
        if moves_clearly(view, who.path):
            yield _claim(view, who, common, "faster", joint.speeds(view.draws, who.region.id, who.span))


def _claim(view: View, who: Followed, common: dict, kind: str, values: np.ndarray) -> Claim:
    name = "camera distance" if kind == "closer" else "speed"
    course = joint.median(view.draws, who.region.id, name, who.span, values)
    level = round_level(course, Draw(view.scene.key, "span", kind, who.region.id, view.config.seed), LEAST_SHARE)
    if level is None:
        return Claim(**common, refusal=NOTHING, variant=kind)
    sign = -1 if kind == "closer" else 1
    inside = sign * values > sign * level
    middle = sign * course > sign * level
    begins, ends = bool(middle[0]), bool(middle[-1])
    changes = (inside[:, 1:] != inside[:, :-1]).sum(1)
    once = (changes == (not begins) + (not ends)) & (inside[:, 0] == begins) & (inside[:, -1] == ends)
    if (begins and ends) or not middle.any():
        return Claim(**common, refusal=NOTHING, variant=kind)
    size = len(values)
    low = np.full(size, who.time_s[0]) if begins else blurred(
        view, joint.first_time(sign * values, who.time_s, sign * level), kind, "low", who.region.id)
    high = np.full(size, who.time_s[-1]) if ends else blurred(
        view, joint.first_time(sign * values[:, ::-1], who.time_s[::-1], sign * level), kind, "high", who.region.id)
    low, high = (np.nan_to_num(x, posinf=NEVER_S, neginf=NEVER_S) for x in (low, high))
    a, b = round(float(np.median(low)), 2), round(float(np.median(high)), 2)
    if not LEAST_SHARE * who.seconds <= b - a <= (1 - LEAST_SHARE) * who.seconds:
        return Claim(**common, refusal=NOTHING, variant=kind)
    shared = np.minimum(high, b) - np.maximum(low, a)
    overlap = shared / (np.maximum(high, b) - np.minimum(low, a))
    sure = float((once & (overlap >= LEAST_IOU)).mean())
    state = f"is closer than {level:g} m to the camera's optical centre" if kind == "closer" else \
        f"is faster than {level:g} m/s"
    answer = f"from {view.times.moment(a)} to {view.times.moment(b)}"
    dialect = view.config.dialect
    target = [a, b] if dialect == "seconds" else [round(view.times.frames(x), 1) for x in (a, b)]
    return Claim(**common, variant=kind, words={"state": state, "axes": STRAIGHT if kind == "closer" else WORLD},
                 open=Open(answer, target, "span", "tiou", LEADS[dialect], sure),
                 extra={"event": kind, "level": level, "least_iou": LEAST_IOU},
                 steps=partial(_steps, kind, level, course[[0, -1]], answer))


def _steps(kind: str, level: float, ends: np.ndarray, span: str, item: Item) -> list[str]:
    what, unit = ("distance", "m") if kind == "closer" else ("speed", "m/s")
    return [f"The {what} is {ends[0]:.3g} {unit} at {item.words['start']} and {ends[1]:.3g} {unit} at "
            f"{item.words['end']}.",
            f"It is {'below' if kind == 'closer' else 'above'} {level:g} {unit} {span}."]


FAMILIES = (Family("event_span", claims, forms=("open",), fields=("state",),
                   states={"open": ("region", "span", "reference", "axes", "state")}),)
