"""Events of one region with their times in joint draws: when it has moved so far, is nearest, rests, goes out of sight.

An event's time is a draw of each world, inf where it does not come to it; seconds from the clip's start.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.measure import joint
from curate.measure.magnitude import quantiles
from curate.questions import places
from curate.questions.claim import Number
from curate.questions.digits import settle
from curate.questions.draw import Draw
from curate.questions.phrases import WORLD

if TYPE_CHECKING:
    from curate.questions.followed import Followed
    from curate.questions.view import View

ROUND = tuple(sorted(settle(m * 10.0**e) for m in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8) for e in (-1, 0, 1)))
REST_M = 0.1  # what rests stays within half of it; what leaves by more of it moves
RESTS = 0.25  # of the span, at least, before a start or after a stop
STRAIGHT = "in three-dimensional space, along a straight line"
BORDER_PX = 3.0
SLOWER = 1.3  # it may go out at a lower speed than it had last
BETWEEN = 0.25  # of the time between two frames: how far off a moment between them may be, either way


def blurred(view: View, times: np.ndarray, *names: object) -> np.ndarray:
    """Times [S] with what nobody knows of a course between two frames: uniform over a part of their distance."""
    if not np.isfinite(times).any():
        return times
    off = view.draws.rng(" ".join(map(str, ("moment", *names)))).uniform(-BETWEEN, BETWEEN, len(times))
    return times + off * frame_interval(view)


def frame_interval(view: View) -> float:
    """The median time between two frames, s."""
    if ("frame interval",) not in view.memo:
        view.memo["frame interval",] = float(np.median(np.diff(view.scene.time_s)))
    return view.memo["frame interval",]


@dataclass(frozen=True)
class Happening:
    """
    Args:
        kind: "reach", "nearer", "farther", "nearest", "start", "stop" or "gone".
        event: as in "the moment at which the object ... " ("is nearest to the camera's optical centre").
        times: [S] s. level: in m, nan where it has none. axes: of the wording.
    """

    kind: str
    event: str
    times: np.ndarray
    level: float = math.nan
    axes: str = WORLD
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def sure(self) -> float:
        """Share of the draws in which it happens at all."""
        return float(np.isfinite(self.times).mean())

    def number(self) -> Number:
        """Its time. What does not happen in a draw counts as later than all."""
        levels = [settle(float(q)) for q in quantiles(np.nan_to_num(self.times, posinf=1e6))]
        return Number(levels[4], tuple(levels), "time")


def round_level(values: np.ndarray, draw: Draw, edge: float = 0.05) -> float | None:
    """A round number that a course [n] takes at some time, drawn from all times but a share `edge` at either end with
    equal chance; None where there is none between its least and its largest."""
    at = draw.uniform(edge, 1 - edge) * (len(values) - 1)
    wanted = float(np.interp(at, np.arange(len(values)), values))
    low, high = float(values.min()), float(values.max())
    inside = [x for x in ROUND if low < x < high]
    return min(inside, key=lambda x: abs(math.log(x / max(wanted, 1e-9)))) if inside else None


def reach(view: View, who: Followed, draw: Draw) -> Happening | None:
    """The first time it is so far from where it was at the start."""
    values = joint.from_start(view.draws, who.region.id, who.frames)
    level = round_level(joint.median(view.draws, who.region.id, "from start", who.span, values), draw)
    if level is None:
        return None
    return Happening("reach", f"is for the first time {level:g} m away (in a straight line) from where it was at "
                     f"{view.at(who.span[0])}", joint.first_time(values, who.time_s, level), level)


def passes(view: View, who: Followed, draw: Draw) -> Happening | None:
    """The first time it is nearer to the camera, or farther from it, than a round distance."""
    values = joint.camera_distance(view.draws, who.region.id, who.frames)
    course = joint.median(view.draws, who.region.id, "camera distance", who.span, values)
    level = round_level(course, draw)
    if level is None:
        return None
    kind, sign = ("nearer", -1) if course[0] > level else ("farther", 1)
    times = joint.first_time(sign * values, who.time_s, sign * level)
    times = np.where(sign * (values[:, 0] - level) < 0, times, -math.inf)  # it has to begin on the other side
    event = f"is for the first time {'closer than' if sign < 0 else 'farther than'} {level:g} m " \
            f"{'to' if sign < 0 else 'from'} the camera's optical centre"
    return Happening(kind, event, times, level, STRAIGHT)


def nearest(view: View, who: Followed) -> Happening:
    """Its closest approach to the camera, where that is not at an end of the span."""
    values = joint.camera_distance(view.draws, who.region.id, who.frames)
    times = joint.lowest_time(values, who.time_s)
    edge = 0.1 * who.seconds
    inside = (times > who.time_s[0] + edge) & (times < who.time_s[-1] - edge)
    return Happening("nearest", "is nearest to the camera's optical centre", np.where(inside, times, math.inf),
                     axes=STRAIGHT)


def starts(view: View, who: Followed) -> Happening:
    """Leaves the place where it rested at first."""
    values = joint.from_start(view.draws, who.region.id, who.frames)
    return Happening("start", f"starts to move, that is, leaves the place where it rested by more than {REST_M} m",
                     _after_rest(values, who.time_s), REST_M)


def stops(view: View, who: Followed) -> Happening:
    """Comes to the place where it rests at last."""
    values = joint.from_start(view.draws, who.region.id, who.frames[::-1])
    return Happening("stop", f"comes to rest, that is, gets within {REST_M} m of the place where it then stays",
                     -_after_rest(values, -who.time_s[::-1]), REST_M)


def _after_rest(values: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """First time [S] beyond REST_M of the first place, inf where it has not clearly rested before or never goes far."""
    early = time_s <= time_s[0] + RESTS * (time_s[-1] - time_s[0])
    rests = (values[:, early] < REST_M / 2).all(1) & (values[:, -1] > 3 * REST_M)
    return np.where(rests, joint.first_time(values, time_s, REST_M), math.inf) if rests.any() else np.full(
        len(values), math.inf)


def gone(view: View, who: Followed) -> Happening | None:
    """Out of sight over the image's border: its track ends before the clip does, at the border and going outwards.

    A track ends while a part of the object can be seen still. So the last it is seen is between the track's end and the
    time at which the width or height that was left has gone out too, or somewhat later.
    """
    scene, region = view.scene, who.region
    last = who.span[1]
    if last >= scene.num_frames - 1 or last < 2 or not np.isfinite(region.box[[last - 2, last]]).all():
        return None
    x0, y0, x1, y1 = region.box[last]
    shift = (region.centroid_px[last] - region.centroid_px[last - 2]) / (scene.time_s[last] - scene.time_s[last - 2])
    width, height = scene.camera.width - 1, scene.camera.height - 1
    rooms = []  # s until it is out, by each border that it touches and moves to
    for at_border, speed, size in ((x0 <= BORDER_PX, -shift[0], x1 - x0), (x1 >= width - BORDER_PX, shift[0], x1 - x0),
                                   (y0 <= BORDER_PX, -shift[1], y1 - y0),
                                   (y1 >= height - BORDER_PX, shift[1], y1 - y0)):
        if at_border and speed > 0:
            rooms.append(float(size / speed))
    if not rooms:
        return None
    interval = float(scene.time_s[last + 1] - scene.time_s[last])
    spread = np.linspace(0, SLOWER * min(rooms) + interval, view.draws.num_draws)
    if who.time_s[-1] + spread[-1] >= view.times.seconds[-1]:
        return None  # a part of it may be seen to the very end
    return Happening("gone", "can last be seen, before it goes out of the image", who.time_s[-1] + spread,
                     axes=f"in the video of the {places.sides(scene)[0]} camera")


def happenings(view: View, who: Followed) -> Iterator[Happening]:
    """Everything that one region goes through, each kind once."""
    for found in _sharp(view, who):
        if found.kind != "gone":
            found = replace(found, times=blurred(view, found.times, found.kind, who.region.id))
        yield found


def _sharp(view: View, who: Followed) -> Iterator[Happening]:
    for kind, make in (("reach", reach), ("passes", passes)):
        found = make(view, who, Draw(view.scene.key, kind, who.region.id, view.config.seed))
        if found is not None:
            yield found
    yield from (nearest(view, who), starts(view, who), stops(view, who))
    if (found := gone(view, who)) is not None:
        yield found
