"""Phases in order: "(1) grows (2) constant (3) shrinks" of the distance to the camera, and of an object's speed.

`procedural_change`: d(t) = ‖P(t) − c(t)‖ grows (shrinks) where it changes by more than 0.1 m/s, else it is constant;
phases shorter than a stated time (an eighth of the span, at least 0.2 s; in the dialect of frames as many steps from
frame to frame) are left out, and equal neighbours are one.
`speed_phases`: an object speeds up (slows down) where its speed ‖dP/dt‖ in the world rises (falls) by at least a
quarter of its highest value before it turns; where it never does, it is constant. These constants define the words and
are said.

Reference point: surface@t0. Gate: the list of phases is the same in 99 % of the joint draws, also with each constant
smaller and larger by half (of speed: by a third). Answer: list of phases (metric "sequence"), or a choice among all
lists of as many phases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from curate.measure import joint, runs
from curate.questions import gates
from curate.questions.claim import Category, Claim, Open
from curate.questions.families.base import Family, Item
from curate.questions.followed import Followed, followed
from curate.questions.phrases import WORLD

if TYPE_CHECKING:
    from curate.questions.view import View

RATE_MPS = 0.1
SWING = 0.25  # of the highest speed
MAX_PHASES = 3  # more are no description
DISTANCE = ("constant", "grows", "shrinks")  # by label
SPEED = ("speeds up", "slows down", "constant")
LEAD = "Answer with the phases in order, such as \"(1) {} (2) {}\"."


def numbered(phases: Sequence[str]) -> str:
    """("grows", "constant") to "(1) grows (2) constant"."""
    return " ".join(f"({i}) {phase}" for i, phase in enumerate(phases, 1))


def lists_like(phases: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """All lists of as many phases, no two neighbours the same."""
    return tuple(numbered(found) for found in product(words, repeat=len(phases))
                 if all(a != b for a, b in pairwise(found)))


def _claim(who: Followed, frame: str, code: int, share: float, words: Sequence[str], others: Sequence[str],
           rules: str, steps: Callable[[Item], list[str]]) -> Claim:
    phases = [words[label] for label in runs.decode(code)]
    common = {"subjects": (who.region.id,), "span": who.span, "frame": frame, "reference": "surface@t0"}
    if not 1 <= len(phases) <= MAX_PHASES:
        return Claim(**common, refusal=gates.UNCERTAIN)
    answer = numbered(phases)
    return Claim(**common, words={"rules": rules}, category=Category(answer, share, lists_like(phases, others)),
                 open=Open(answer, phases, "sequence", "sequence", LEAD.format(*others[:2]), share),
                 steps=steps)


def distance_claims(view: View) -> Iterator[Claim]:
    """Of every rigid region, moving or not: the camera may."""
    for who in followed(view, moves=False):
        if who.refusal:
            yield Claim((who.region.id,), who.span, f"camera@{who.span[0]}", "surface@t0", refusal=who.refusal)
            continue
        shortest, stated = _shortest(view, who)
        distance = joint.camera_distance(view.draws, who.region.id, who.frames)
        rate = np.diff(distance, axis=1) / np.diff(who.time_s)

        def codes(of_rate: float, of_time: float, rate=rate, who=who, shortest=shortest) -> np.ndarray:
            labels = np.where(rate > of_rate * RATE_MPS, 1, np.where(rate < -of_rate * RATE_MPS, 2, 0))
            return runs.phases(labels, who.time_s, of_time * shortest)

        code, share = runs.likeliest(codes(1, 1), [codes(1.5, 1), codes(0.5, 1), codes(1, 1.5), codes(1, 0.5)])
        rules = (f"The distance grows where it gets larger by more than {RATE_MPS} m/s, shrinks where it gets smaller "
                 f"by more than that, and is constant in between; leave out phases shorter than {stated}")
        course = joint.median(view.draws, who.region.id, "camera distance", who.span, distance)
        yield _claim(who, "world", code, share, DISTANCE, ("grows", "shrinks", "constant"), rules,
                     partial(_distance_steps, course, view, who))


def _shortest(view: View, who: Followed) -> tuple[float, str]:
    """The least length of a phase, s, and how it is said."""
    shortest = round(max(0.2, who.seconds / 8), 1)
    if view.config.dialect == "seconds":
        return shortest, f"{shortest:.1f} s"
    interval = who.seconds / (len(who.time_s) - 1)
    steps = max(round(shortest / interval), 2)
    return steps * interval, f"{steps} steps from frame to frame"


def _distance_steps(course: np.ndarray, view: View, who: Followed, item: Item) -> list[str]:
    shown = [f"{x:.2f}" for x in course[[0, -1]]]
    out = [f"The distance is {shown[0]} m at {item.words['start']} and {shown[1]} m at {item.words['end']}."]
    for name, k in (("smallest", int(course.argmin())), ("largest", int(course.argmax()))):
        if 0 < k < len(course) - 1 and f"{course[k]:.2f}" not in shown:
            out.append(f"It is {name} at {view.at(int(who.frames[k]))}, with {course[k]:.2f} m.")
    return [*out, f"So its phases are: {item.answer}."]


def speed_claims(view: View) -> Iterator[Claim]:
    for who in followed(view):
        if who.refusal:
            yield Claim((who.region.id,), who.span, "world", "surface@t0", refusal=who.refusal)
            continue
        speeds = joint.speeds(view.draws, who.region.id, who.span)
        top = speeds.max(1)
        codes = [runs.swings(speeds, factor * SWING * top) for factor in (1, 2 / 3, 4 / 3)]
        codes = [np.where(code == 0, 3, code) for code in codes]  # neither up nor down: constant
        code, share = runs.likeliest(codes[0], codes[1:])
        others = SPEED if runs.decode(code) in ((0,), (1,), (2,)) else SPEED[:2]
        rules = ("The object speeds up where its speed rises, and slows down where it falls, by at least a quarter of "
                 "its highest speed before the next such turn; if neither happens, its speed is constant")
        course = joint.median(view.draws, who.region.id, "speed", who.span, speeds)
        yield _claim(who, "world", code, share, SPEED, others, rules, partial(_speed_steps, course, view, who))


def _speed_steps(course: np.ndarray, view: View, who: Followed, item: Item) -> list[str]:
    middle = len(course) // 2
    shown = [f"{x:.2f} m/s" for x in (*course[[0, middle, -1]], course.max())]
    return [f"Its speed in the world is {shown[0]} at {item.words['start']}, {shown[1]} at "
            f"{view.at(int(who.frames[middle]))} and {shown[2]} at {item.words['end']}; at most {shown[3]}.",
            f"Changes of at least a quarter of that count: {item.answer}."]


def _family(name: str, claims: Callable[[View], Iterator[Claim]], axes: str) -> Family:
    states = ("region", "span", "reference", "axes", "rules")
    return Family(name, claims, forms=("choice", "open"), fields=("rules",), axes=axes,
                  states={"category": states, "open": states})


FAMILIES = (
    _family("procedural_change", distance_claims,
            "in three-dimensional space, along a straight line from the camera's optical centre"),
    _family("speed_phases", speed_claims, WORLD),
)
