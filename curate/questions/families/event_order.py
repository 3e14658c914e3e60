"""What comes first: which of two objects gets a round distance away from its place sooner; and when one is fastest.

`event_order`: tₓ = first time at which ‖P(t) − P(t₀)‖ reaches a distance that both reach; the smaller tₓ comes first.
`fastest_time`: the half of the span that holds the highest (lowest) speed ‖dP/dt‖.

Reference point: surface@t0, in the fixed world. Gate: in 99 % of the joint draws, `event_order` by more than a frame
and a twentieth of the span, `fastest_time` by more than a fifth of the highest speed. Answer: a choice of the two
marks; of the two halves.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np

from curate.measure import joint
from curate.questions import gates
from curate.questions.claim import Category, Claim
from curate.questions.draw import Draw
from curate.questions.families.base import Family, Item
from curate.questions.families.event_time import SURE, part_frames, part_names
from curate.questions.followed import Followed, followed
from curate.questions.happenings import blurred, frame_interval, round_level
from curate.questions.phrases import WORLD

if TYPE_CHECKING:
    from curate.questions.view import View

NUM_PARTS = 2  # of three, the middle one would hardly ever be the answer
CLEARLY = 0.2  # of the highest speed, by which it exceeds that of the other parts


def order_claims(view: View) -> Iterator[Claim]:
    moving = [who for who in followed(view) if not who.refusal]
    for a, b in combinations(moving, 2):
        yield _order_claim(view, a, b)


def _order_claim(view: View, a: Followed, b: Followed) -> Claim:
    ids = a.region.id, b.region.id
    span = max(a.span[0], b.span[0]), min(a.span[1], b.span[1])
    common = {"subjects": ids, "span": span, "frame": "world", "reference": "surface@t0"}
    if span[1] - span[0] < 2:
        return Claim(**common, refusal=gates.NOT_MEASURED)
    frames = np.arange(span[0], span[1] + 1)
    time_s = np.asarray(view.times.seconds)[frames]
    values = [joint.from_start(view.draws, i, frames) for i in ids]
    lower = np.minimum(*(np.median(v, axis=0) for v in values))
    level = round_level(lower, Draw(view.scene.key, "order", *ids, view.config.seed))
    if level is None:
        return Claim(**common, refusal=gates.STILL)
    first, second = (blurred(view, joint.first_time(v, time_s, level), "order", i) for v, i in zip(values, ids))
    if (np.isfinite(first) & np.isfinite(second)).mean() < SURE:
        return Claim(**common, refusal=gates.UNCERTAIN)
    gap = max(frame_interval(view), 0.05 * float(time_s[-1] - time_s[0]))
    sooner, later = float((first < second - gap).mean()), float((second < first - gap).mean())
    names = view.mark(ids[0]), view.mark(ids[1])
    when = tuple(view.times.moment(float(np.median(times))) for times in (first, second))
    return Claim(**common, category=Category(names[sooner < later], max(sooner, later), names),
                 words={"level": f"{level:g} m"}, extra={"level_m": level, "marks": list(names)},
                 steps=partial(_order_steps, names, when))


def _order_steps(names: tuple[str, str], when: tuple[str, str], item: Item) -> list[str]:
    return [f"{names[0]} is {item.words['level']} away from its place at {item.words['start']} for the first time at "
            f"{when[0]}, {names[1]} at {when[1]}.", f"So {item.answer} comes first."]


def fastest_claims(view: View) -> Iterator[Claim]:
    for who in followed(view):
        common = {"subjects": (who.region.id,), "span": who.span, "frame": "world", "reference": "surface@t0"}
        if who.refusal:
            yield Claim(**common, refusal=who.refusal)
            continue
        speeds = joint.speeds(view.draws, who.region.id, who.span)
        frames = part_frames(who, NUM_PARTS)
        names = part_names(view, frames)
        for extreme, sign in (("fastest", 1), ("slowest", -1)):
            tops = np.stack([(sign * speeds[:, a - frames[0]:b - frames[0] + 1]).max(1)
                             for a, b in pairwise(frames)], -1)
            best = int(np.bincount(tops.argmax(1), minlength=NUM_PARTS).argmax())
            others = np.delete(tops, best, axis=1).max(1)
            margin = CLEARLY * speeds.max(1)
            share = float((tops[:, best] >= others + margin).mean())
            yield Claim(**common, category=Category(names[best], share, names), words={"extreme": extreme},
                        variant=extreme, extra={"extreme": extreme, "part_frames": [int(f) for f in frames]},
                        steps=partial(_fastest_steps, names, np.abs(np.median(tops, axis=0))))


def _fastest_steps(names: tuple[str, ...], tops: np.ndarray, item: Item) -> list[str]:
    """In shares of the larger one: the scene's scale may not be known."""
    word = "highest" if item.words["extreme"] == "fastest" else "lowest"
    shares = tops / max(float(tops.max()), 1e-12)
    said = " and ".join(f"{share:.2f} {name}" for share, name in zip(shares, names))
    return [f"As shares of the larger of the two, the {word} speeds of the halves are {said}.",
            f"So it is {item.words['extreme']} {item.answer}."]


FAMILIES = (
    Family("event_order", order_claims, fields=("level",), axes=WORLD,
           states={"category": ("region_a", "region_b", "span", "reference", "axes", "level")}),
    Family("fastest_time", fastest_claims, fields=("extreme",), axes=WORLD, metric=False,
           states={"category": ("region", "span", "reference", "axes", "extreme")}),
)
