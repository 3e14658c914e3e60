"""How a path goes, seen from above, as instructions: "move forward 3.0 m, turn left 80°, move 1.0 m".

Definition: the span is cut at given frames into K parts of about the same time. Each part is a leg: the straight line
between the places at its ends, in the plane of the camera's right and forward axes at the span's start (heights are
left out). The first leg that moves is named by the nearest of forward, right, backward, left; each later one by its
turn from the one before, "go straight on" below 15°. A leg shorter than 0.1 m is "stay". These constants define the
words and are said in the question.

Reference point: the object's surface@t0, or the camera's centre. Units: m, °. Gate: every word holds in 99 % of the
joint draws, every length is within `max_relative_half_width`, every turn within 10°. K is 3 where that allows it, else
2. Answer: the list of instructions (metric "sequence"), or a choice: the lengths as they are or all longer (shorter) by
one factor, left and right as they are or exchanged; of a path without left and right, lengths by the role rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from curate.measure import joint
from curate.measure.magnitude import quantiles
from curate.questions import gates
from curate.questions.claim import Category, Claim, Open
from curate.questions.digits import settle, significant_digits, text
from curate.questions.draw import Draw
from curate.questions.families.base import Family, Item
from curate.questions.followed import MIN_FRAMES, followed
from curate.questions.options import LARGEST_GAP, LEAST_GAP, shape

if TYPE_CHECKING:
    from curate.questions.view import Span, View

STAY_M, STRAIGHT_RAD = 0.1, math.radians(15)
CLEAR_RAD = math.radians(2)  # a turn is never called so near to the border
MAX_TURN_ERROR_RAD = math.radians(10)  # 95 % half-width
EXACT = 1e-6  # relative error of what is known without any
LEGS = (3, 2)
SIDES = ("forward", "right", "backward", "left")
TURNS = ("go straight on", "turn right", "turn left")
STAY = "stay"
MIRROR = {"left": "right", "right": "left", "turn left": "turn right", "turn right": "turn left"}
RULES = (f"Take each part's straight line, seen from above and without heights; name the first direction by the "
         f"nearest of forward, right, backward and left; call a turn of less than 15° \"{TURNS[0]}\" and a part "
         f"shorter than 0.1 m \"{STAY}\"")
LEAD = ("Answer with the instructions in order, such as \"move forward 3.0 m, turn left 80°, move 1.0 m\" (lengths in "
        "metres, turns in degrees).")


@dataclass(frozen=True)
class Told:
    """A path in words, one instruction a row.

    Args:
        words: "move forward", "turn left", "stay" ...
        numbers: in m or rad; nan where the instruction has none. tolerance: that the truth is within, of each.
        digits: significant ones of each.
        share: of the draws in which all words are so and all numbers within tolerance. of_words: the words alone.
        length: draws [S] of the whole length, m.
    """

    words: tuple[str, ...]
    numbers: tuple[float, ...]
    tolerance: tuple[float, ...]
    digits: tuple[int, ...]
    share: float
    of_words: float
    length: np.ndarray

    def say(self, factor: float = 1.0, other: dict[str, str] | None = None) -> list[str]:
        """The instructions; with all lengths by a factor, and words exchanged."""
        out = []
        for words, number, digits in zip(self.words, self.numbers, self.digits):
            words = _exchanged(words, other or {})
            is_turn = words.startswith("turn")
            value = math.degrees(number) if is_turn else number * factor
            out.append(words + ("" if math.isnan(number) else f" {text(value, digits)}{'°' if is_turn else ' m'}"))
        return out


def _exchanged(words: str, other: dict[str, str]) -> str:
    """"turn left" or "move left" with its side exchanged."""
    verb, _, side = words.partition(" ")
    return other.get(words, f"{verb} {other.get(side, side)}".strip() if verb == "move" else words)


def _turns(headings: np.ndarray) -> np.ndarray:
    """[S, K - 1] rad between one leg and the next, positive to the right."""
    turn = np.diff(headings, axis=1)
    return (turn + math.pi) % (2 * math.pi) - math.pi


def tell(lengths: np.ndarray, headings: np.ndarray, max_relative: float) -> Told | str:
    """Joint draws [S, K] of legs in words, or why not."""
    stays = lengths < STAY_M
    rests = stays.mean(0) > 0.5
    if rests.all():
        return gates.STILL
    so = (stays == rests).all(1)
    rows, before = [], None  # words, values [S] or None
    for leg, rest in enumerate(rests):
        if rest:
            rows.append((STAY, None))
        elif before is None:
            side = np.round(headings[:, leg] / (math.pi / 2)).astype(int) % 4
            best = int(np.bincount(side, minlength=4).argmax())
            so &= side == best
            rows.append((f"move {SIDES[best]}", lengths[:, leg]))
        else:
            turn = _turns(headings[:, [before, leg]])[:, 0]
            kind = np.where(np.abs(turn) < STRAIGHT_RAD, 0, np.where(turn > 0, 1, 2))
            best = int(np.bincount(kind, minlength=3).argmax())
            so &= (kind == best) & (np.abs(np.abs(turn) - STRAIGHT_RAD) > CLEAR_RAD)
            rows.append((TURNS[best], np.abs(turn) if best else None))
            rows.append(("move", lengths[:, leg]))
        before = before if rest else leg
    values, halves, digits = [], [], []
    for words, drawn in rows:
        if drawn is None:
            values.append(math.nan), halves.append(0.0), digits.append(0)
            continue
        levels = quantiles(drawn)
        value = settle(float(levels[4]))
        relative = max(settle(gates.relative_half_width(value, levels)), EXACT) if value > 0 else math.inf
        if relative > max_relative or (words in TURNS and relative * value > MAX_TURN_ERROR_RAD):
            return gates.WIDE
        values.append(value), halves.append(relative * value), digits.append(significant_digits(relative))
    off = np.stack([np.abs(drawn - value) / half for (_, drawn), value, half in zip(rows, values, halves)
                    if drawn is not None])
    widen = 1.2 * float(np.quantile(off.max(0), 0.995))  # so that all numbers hold at once
    within = off.max(0) <= widen
    return Told(tuple(words for words, _ in rows), tuple(values), tuple(settle(widen * half) for half in halves),
                tuple(digits), float((so & within).mean()), float(so.mean()), lengths.sum(1))


def _cuts(span: Span, num: int) -> np.ndarray:
    """Frames [num + 1] that part a span into about equal times."""
    return np.round(np.linspace(*span, num + 1)).astype(int)


def _options(told: Told, num_options: int, draw: Draw) -> tuple[str, ...] | str:
    """The truth and its likes, its role drawn at random; or why there are none.

    A path with a side (a turn, or a first leg to the left or right): two lengths times two mirror images. One without:
    lengths alone, by the role rule; backward beside forward would be no choice, as cameras drive forward.
    """
    low, middle, high = quantiles(told.length)[[0, 4, 8]]
    gap = max(gates.option_gap(float(middle), (low, *[middle] * 7, high)), LEAST_GAP) + 2 * math.log1p(0.05)
    if not gap <= LARGEST_GAP:
        return gates.CROWDED
    first = next(words for words in told.words if words.startswith("move ")).removeprefix("move ")
    if any(words in TURNS[1:] for words in told.words):
        other = {side: MIRROR[side] for side in TURNS[1:]}
    elif first in MIRROR:
        other = {side: MIRROR[side] for side in ("left", "right")}
    else:
        at = shape(gap, (), num_options, draw)
        role = draw.integer(num_options)
        return tuple(", ".join(told.say(math.exp(x - at[role]))) for x in at)
    factor = math.exp(draw.pick((-1, 1)) * (gap + draw.uniform(0, math.log(1.5))))
    return tuple(", ".join(told.say(by, words)) for by in (1.0, factor) for words in ({}, other))


def _claim(view: View, region_id: int | None, span: Span, refusal: str) -> Claim:
    subjects = () if region_id is None else (region_id,)
    reference = "camera-centre" if region_id is None else "surface@t0"
    common = {"subjects": subjects, "span": span, "frame": f"camera@{span[0]}", "reference": reference}
    if refusal:
        return Claim(**common, refusal=refusal)
    told: Told | str = gates.NOT_MEASURED
    for num in LEGS:
        cuts = _cuts(span, num)
        told = tell(*joint.legs(view.draws, region_id, cuts), view.config.max_relative_half_width)
        if isinstance(told, Told) and gates.certain(told.share, view.config.min_confidence):
            break
    if isinstance(told, str):
        return Claim(**common, refusal=told)
    parts = told.say()
    answer = ", ".join(parts)
    options = _options(told, view.config.num_options,
                       Draw(view.scene.key, "trajectory", *subjects, view.config.seed))
    words = {"cuts": " and ".join(view.at(int(f)) for f in cuts[1:-1]),
             "num_parts": {2: "two", 3: "three"}[len(cuts) - 1], "rules": RULES}
    return Claim(**common, words=words, open=Open(answer, parts, "sequence", "sequence", LEAD, told.share),
                 category=None if isinstance(options, str) else Category(answer, told.of_words, options),
                 steps=partial(_steps, view, told, cuts),
                 extra={"cuts_frame": [int(f) for f in cuts],
                        "tolerance": [math.degrees(t) if w.startswith("turn") else t
                                      for w, t in zip(told.words, told.tolerance)]})


def _steps(view: View, told: Told, cuts: np.ndarray, item: Item) -> list[str]:
    at = [view.at(int(frame)) for frame in cuts]
    who = "camera" if item.words.get("region") is None else "object"
    out = [f"Seen from above, in the camera's axes at {at[0]}, the {who}'s path is taken in straight legs."]
    leg = 0
    for words, said in zip(told.words, told.say()):
        if words.startswith(("move", "stay")):
            out.append(f"From {at[leg]} to {at[leg + 1]}: {said}.")
            leg += 1
        else:
            out.append(f"At {at[leg]}: {said}.")
    return out


def object_claims(view: View) -> Iterator[Claim]:
    for who in followed(view):
        yield _claim(view, who.region.id, who.span, who.refusal)


def camera_claims(view: View) -> Iterator[Claim]:
    path = view.quantity("camera_path_length", (), view.clip)
    refusal = "" if gates.moves(path, view.config.max_p_zero) else gates.STILL
    if view.scene.num_frames < MIN_FRAMES:
        refusal = gates.NOT_MEASURED
    yield _claim(view, None, view.clip, refusal)


AXES = "in the axes of the camera at {start} (forward along its line of sight, right as in its image)"
FIELDS = ("cuts", "num_parts", "rules")
STATES = ("span", "reference", "axes", "cuts", "num_parts", "rules")
FAMILIES = tuple(
    Family(name, claims, forms=("choice", "open"), choice_of="category", fields=FIELDS, axes=more + AXES,
           states={section: (*STATES, *of) for section in ("category", "open")})
    for name, claims, of, more in (("object_trajectory", object_claims, ("region",),
                                    "in the fixed world, with the camera's own motion taken out, "),
                                   ("camera_trajectory", camera_claims, (), "in the fixed world, ")))
