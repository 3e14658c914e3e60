"""Which of two to five marked objects: who is faster, who moved farther, who is nearer to the camera, who goes first.

    speed_comparison         path length over duration, m/s, in the world
    displacement_comparison  ‖P_j − P_i‖, m, in the world
    distance_comparison      ‖P_t − c_t‖, m, to the camera's optical centre
    order_comparison         first time at which ‖P_t − P_i‖ reaches a stated length, between frames along a line

All of each object's reference point. The options are the objects' marks. Values are compared draw by draw, so that the
errors which the objects share (scale, camera) cancel, and one object must stand out alone in 99 % of the draws. Who is
compared with whom is drawn from the clip's name. Noise makes what stands still seem to move, so that whoever is said to
be faster, or to have moved farther, than another must move beyond doubt (`motion_state`). Metric: accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.magnitude import median
from curate.measure.relation import away
from curate.questions import gates
from curate.questions.claim import Category, Claim
from curate.questions.digits import decimals
from curate.questions.families import groups
from curate.questions.families.base import Family, Item
from curate.questions.families.motion_state import object_moves
from curate.questions.phrases import WORLD

if TYPE_CHECKING:
    from curate.questions.view import View

LADDER = (1.0, 2.0, 5.0)  # times powers of ten: round lengths that objects may reach
CAMERA = "along a straight line from the camera's optical centre"
Words = tuple[str, str]  # comparative, of two objects; superlative, of more
ENDS: dict[str, tuple[int, Words]] = {"nearest": (-1, ("nearer to the camera", "nearest to the camera")),
                                      "farthest": (1, ("farther from the camera", "farthest from the camera"))}


def claim(view: View, group: Sequence[int], span: tuple[int, int], values: np.ndarray, variant: str, most: Words,
          steps: Callable[[Item], list[str]], axes: str, frame: str = "world", refusal: str = "",
          **words: str) -> Claim:
    """The one of a group whose value, of [n, S] draws, is the largest."""
    best, share = groups.standing_out(values)
    names = groups.marks(view, group)
    said = {"objects": groups.objects(view, group), "most": most[len(group) > 2], "axes": axes} | words
    return Claim(tuple(group), span, frame, groups.reference(view, group), category=Category(names[best], share, names),
                 words=said, variant=f"{variant}{len(group)}", steps=steps, refusal=refusal,
                 extra={"marks": list(names)} | ({"length": words["length"]} if "length" in words else {}))


def ordered(view: View, group: Sequence[int], values: np.ndarray, unit: str, what: str, largest: bool) -> list[str]:
    """The members' middle values in falling or rising order, as the answer has them; as shares of the first where
    nothing metric may be said."""
    middle = median(values)
    order = np.argsort(-middle if largest else middle, kind="stable")
    top = float(middle[order[0]])
    if groups.is_metric(view):
        places = decimals(float(middle.max()), 3) if middle.max() > 0 else 2
        texts = [f"{view.mark(group[i])} {middle[i]:.{max(places, 0)}f} {unit}" for i in order]
    elif top > 0:
        texts = [f"{view.mark(group[i])} {middle[i] / top:.2f}" for i in order]
        what = f"{what}, as a multiple of the first one's"
    else:
        return []
    return [f"{what[:1].upper()}{what[1:]}: {', '.join(texts)}."]


def _of_motion(kind: str, unit: str, what: str, variants: dict[str, tuple[int, Words]]) -> Callable:
    def claims(view: View) -> Iterator[Claim]:
        for group in groups.to_choose_from(view, kind, groups.ids(view.rigid)):
            if (span := groups.common_span(view, group)) is None:
                continue
            values = np.stack([view.values(kind, (i,), span) for i in group])
            moving = _moving(view, group, span)
            for variant in groups.turns(view, kind, group, list(variants)):
                sign, most = variants[variant]
                best = groups.standing_out(sign * values)[0]
                clear = moving[best] if sign > 0 else np.delete(moving, best).all()
                yield claim(view, group, span, sign * values, variant, most,
                            lambda item, g=group, v=values, s=sign: ordered(view, g, v, unit, what, s > 0), WORLD,
                            refusal="" if clear else gates.STILL)
    return claims


def _moving(view: View, group: Sequence[int], span: tuple[int, int]) -> np.ndarray:
    """[n] bool: who moves beyond doubt."""
    return np.array([object_moves(view, i, span) is True for i in group])


def _distance(view: View) -> Iterator[Claim]:
    for frame in dict.fromkeys((0, view.scene.num_frames - 1)):
        for group in groups.to_choose_from(view, f"distance {frame}", groups.seen_at(view, view.regions, frame)):
            values = np.stack([view.values("object_camera_distance", (i,), (frame, frame)) for i in group])
            for variant in groups.turns(view, f"distance {frame}", group, list(ENDS)):
                sign, most = ENDS[variant]
                yield claim(view, group, (frame, frame), sign * values, variant, most,
                            lambda item, g=group, v=values, s=sign: ordered(
                                view, g, v, "m", "distances from the camera", s > 0), CAMERA, f"camera@{frame}")


def reached(values: np.ndarray, time_s: np.ndarray, level: float) -> np.ndarray:
    """First time [S] at which values [S, n] at times [n] reach a level, between frames along a line; inf: never.

    >>> reached(np.array([[0.0, 1.0, 3.0], [0.0, 0.5, 0.9]]), np.array([0.0, 1.0, 2.0]), 2.0).tolist()
    [1.5, inf]
    """
    there = values >= level
    after = there.argmax(1)
    before, rows = np.maximum(after - 1, 0), np.arange(len(values))
    low, high = values[rows, before], values[rows, after]
    share = np.clip((level - low) / np.where(high > low, high - low, 1.0), 0, 1)
    return np.where(there.any(1), time_s[before] + share * (time_s[after] - time_s[before]), np.inf)


def round_below(length: float) -> float:
    """The largest length of LADDER that is no larger.

    >>> round_below(0.37), round_below(7.0)
    (0.2, 5.0)
    """
    power = 10.0 ** np.floor(np.log10(length))
    return float(round(max(step for step in LADDER if step * power <= length * (1 + 1e-9)) * power, 6))


def _order(view: View) -> Iterator[Claim]:
    for group in groups.to_choose_from(view, "order", groups.ids(view.rigid)):
        if (span := groups.common_span(view, group)) is None:
            continue
        paths = np.stack([away(view.draws, i, span) for i in group]) * view.draws.scale[:, None]
        ends = np.sort(np.median(paths.max(2), 1)[_moving(view, group, span)])
        if len(ends) < 2:
            yield Claim(group, span, "world", refusal=gates.STILL)
            continue
        level = round_below(0.7 * float(ends[-2]))
        time_s = np.asarray(view.scene.time_s[span[0]:span[1] + 1], float)
        times = np.stack([reached(path, time_s, level) for path in paths])

        def steps(item: Item, group=group, times=times) -> list[str]:
            middle = np.median(times, 1) - float(view.scene.time_s[0])
            texts = [f"{view.mark(group[i])} at {view.times.moment(middle[i])}" if np.isfinite(middle[i]) else
                     f"{view.mark(group[i])} not at all" for i in np.argsort(middle, kind="stable")]
            return ["The distance of each from where it was is followed through the frames.",
                    f"It reaches {item.words['length']}: {', '.join(texts)}."]

        yield claim(view, group, span, -times, "first", ("first", "first"), steps, WORLD,
                    length=f"{level:g} m" if level >= 1 else f"{100 * level:g} cm")


FASTER, SLOWER = ("faster", "fastest"), ("slower", "slowest")
FARTHER, LESS = ("farther", "farthest"), ("less far", "least far")
SPAN = {"category": ("objects", "span", "reference", "axes")}
AT = {"category": ("objects", "at", "reference", "axes", "most")}
FAMILIES = (
    Family("speed_comparison", _of_motion("object_mean_speed", "m/s", "mean speeds", {
        "fastest": (1, FASTER), "slowest": (-1, SLOWER)}), states=SPAN, fields=("objects", "most"), metric=False),
    Family("displacement_comparison", _of_motion("object_displacement", "m", "displacements", {
        "farthest": (1, FARTHER), "least": (-1, LESS)}), states=SPAN, fields=("objects", "most"), metric=False),
    Family("distance_comparison", _distance, states=AT, fields=("objects", "most"), metric=False),
    Family("order_comparison", _order, states={"category": ("objects", "span", "reference", "axes", "length")},
           fields=("objects", "length")),
)
