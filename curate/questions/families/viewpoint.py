"""Where an object is for somebody who stands at another one: ahead, behind, to the left or to the right.

    viewpoint_relation  at time t, standing at A and facing C, where is B?
    viewpoint_shift     at time t, standing at A and facing the way that A has come since the start, where is B?

Seen from above, in the plane of the camera's right and forward axes (the camera's own up is taken as up): with v from
A to B and f the facing direction in that plane, the angle from f to v, clockwise positive, is within 45° of 0 (ahead),
90° (right), 180° (behind) or −90° (left). Points are the reference points; the second takes the axes of the camera at
the start. Asked where 99 % of the joint draws fall into one quarter and, for the second, where A moves beyond doubt
(chi-square). Metric: accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.relation import point, shift_in_camera, still_p_value, to_camera
from curate.questions import gates
from curate.questions.claim import Category, Claim
from curate.questions.families import groups
from curate.questions.families.base import Family, Item

if TYPE_CHECKING:
    from curate.questions.view import View

QUARTERS = ("ahead", "to the right", "behind", "to the left")  # clockwise, seen from above
AXES = ("seen from above, with up as in the image of the camera at {at}, where each of the four directions reaches 45° "
        "to both sides")
MOST = 4  # groups of one instant
GROUND = [0, 2]  # right and forward of the camera's axes


def bearing(facing: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Angle [S] from facing [S, 3] to offset [S, 3], camera axes, seen from above, clockwise positive, radians.

    >>> float(bearing(np.array([[0, 0, 1.0]]), np.array([[2.0, 5, 0]]))[0])  # facing forward, it is to the right
    1.5707963267948966
    """
    (fx, fz), (x, z) = facing[:, GROUND].T, offset[:, GROUND].T
    return np.arctan2(fz * x - fx * z, fx * x + fz * z)


def quarter(angles: np.ndarray) -> tuple[str, float]:
    """Where most of the angles [S] fall, and their share."""
    which = np.round(angles / (np.pi / 2)).astype(int) % 4
    shares = np.bincount(which, minlength=4) / len(which)
    best = int(np.argmax(shares))
    return QUARTERS[best], float(shares[best])


def _category(angles: np.ndarray) -> Category:
    return Category(*quarter(angles), QUARTERS)


def _turn(angles: np.ndarray, facing: str) -> list[str]:
    middle = np.degrees(np.angle(np.exp(1j * angles).mean()))
    way = "clockwise" if middle >= 0 else "anticlockwise"
    return [f"Both directions are seen from above, in the camera's plane; one faces {facing}.",
            f"From there to the object asked about it is a turn of {abs(middle):.0f}° {way}."]


def facing_object(view: View) -> Iterator[Claim]:
    for frame in dict.fromkeys((0, view.scene.num_frames - 1)):
        members = groups.seen_at(view, view.regions, frame)
        for a, b, c in groups.drawn(view, f"viewpoint {frame}", members, 3, MOST):
            places = [point(view.draws, i, frame) for i in (a, b, c)]
            offset, facing = (to_camera(view.draws, place - places[0], frame) for place in places[1:])
            angles = bearing(facing, offset)

            def steps(item: Item, angles=angles, c=c) -> list[str]:
                return _turn(angles, f"from there towards {view.mark(c)}")

            yield Claim((a, b, c), (frame, frame), f"region{a}@{frame}", groups.reference(view, (a, b, c)),
                        category=_category(angles), steps=steps,
                        words={"axes": AXES.format(at=view.at(frame)), "region_c": view.marked(c)})


def facing_motion(view: View) -> Iterator[Claim]:
    for a, b in _both_ways(groups.drawn(view, "viewpoint shift", groups.ids(view.rigid), 2, MOST)):
        if (span := groups.common_span(view, (a, b))) is None:
            continue
        refusal = "" if still_p_value(view.draws, a, span) <= view.config.max_p_zero else gates.STILL
        facing = shift_in_camera(view.draws, a, span)
        offset = to_camera(view.draws, point(view.draws, b, span[1]) - point(view.draws, a, span[1]), span[0])
        angles = bearing(facing, offset)
        yield Claim((a, b), span, f"region{a}@{span[1]}", groups.reference(view, (a, b)), category=_category(angles),
                    steps=lambda item, angles=angles: _turn(angles, "the way in which the first one has moved"),
                    words={"axes": AXES.format(at=view.at(span[0]))}, refusal=refusal)


def _both_ways(pairs: list[tuple[int, ...]]) -> Iterator[tuple[int, int]]:
    for a, b in pairs:
        yield a, b
        yield b, a


COMMON = ("region_a", "region_b", "reference", "axes")
FAMILIES = (
    Family("viewpoint_relation", facing_object, fields=("region_c",), metric=False,
           states={"category": (*COMMON, "region_c", "at")}),
    Family("viewpoint_shift", facing_motion, metric=False, states={"category": (*COMMON, "span", "end")}),
)
