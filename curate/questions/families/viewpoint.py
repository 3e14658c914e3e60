"""Where an object is for somebody who stands at another one: ahead, behind, to the left or to the right.

    viewpoint_relation  at time t, standing at A and facing C, where is B?
    viewpoint_shift     at time t, standing at A and facing the way that A has come since the start, where is B?
    viewpoint_heading   at time t, standing at A and facing the way that A's front faces, where is B? (Of objects whose
                        headings are given.)

Seen from above, in the plane of the camera's right and forward axes (the camera's own up is taken as up): with v from
A to B and f the facing direction in that plane, the angle from f to v, clockwise positive, is within 45° of 0 (ahead),
90° (right), 180° (behind) or −90° (left). Points are the reference points; the second takes the axes of the camera at
the start. Asked where 99 % of the joint draws fall into one quarter and, for the second, where A moves beyond doubt
(`motion_state`). Metric: accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.relation import in_camera, point, shift_in_camera, to_camera
from curate.questions import gates
from curate.questions.claim import Category, Claim
from curate.questions.families import groups
from curate.questions.families.base import Family, Item
from curate.questions.families.motion_state import object_moves

if TYPE_CHECKING:
    from curate.questions.view import View

QUARTERS = ("ahead", "to the right", "behind", "to the left")  # clockwise, seen from above
AXES = ("seen from above, with up as in the image of the camera at {at}, where each of the four directions reaches 45° "
        "to both sides")
MOST = 5  # objects that are put together
Group = tuple[int, ...]
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


def evenly(view: View, name: str, found: Sequence[tuple[Group, np.ndarray]]) -> Iterator[tuple[Group, np.ndarray]]:
    """Of groups and their angles [S] one for each quarter, as far as there are any, by lot: three objects chosen freely
    would mostly have the one ahead of the other. What is uncertain comes too, to be refused."""
    stream = groups.draw(view, name)
    by_quarter: dict[str, list[tuple[Group, np.ndarray]]] = {}
    for group, angles in found:
        where, share = quarter(angles)
        if gates.certain(share, view.config.min_confidence):
            by_quarter.setdefault(where, []).append((group, angles))
        else:
            yield group, angles
    for where in stream.shuffled([name for name in QUARTERS if name in by_quarter]):
        yield stream.pick(by_quarter[where])


def _turn(angles: np.ndarray, facing: str) -> list[str]:
    middle = np.degrees(np.angle(np.exp(1j * angles).mean()))
    way = "clockwise" if middle >= 0 else "anticlockwise"
    return [f"Both directions are seen from above, in the camera's plane; one faces {facing}.",
            f"From there to the object asked about it is a turn of {abs(middle):.0f}° {way}."]


def _members(view: View, name: str, members: Sequence[int]) -> list[int]:
    return groups.draw(view, name, "members").shuffled(list(members))[:MOST]


def facing_object(view: View) -> Iterator[Claim]:
    for frame in dict.fromkeys((0, view.scene.num_frames - 1)):
        name = f"viewpoint {frame}"
        members = _members(view, name, groups.seen_at(view, view.regions, frame))
        places = {i: in_camera(view.draws, i, frame) for i in members}
        triples = [((a, b, c), bearing(places[c] - places[a], places[b] - places[a]))
                   for a, b, c in permutations(members, 3) if not groups.one_of_many(view, (a, b, c))]
        for (a, b, c), angles in evenly(view, name, triples):
            def steps(item: Item, angles=angles, c=c) -> list[str]:
                return _turn(angles, f"from there towards {view.mark(c)}")

            yield Claim((a, b, c), (frame, frame), f"region{a}@{frame}", groups.reference(view, (a, b, c)),
                        category=Category(*quarter(angles), QUARTERS), steps=steps,
                        words={"axes": AXES.format(at=view.at(frame)), "region_c": view.marked(c)})


def facing_motion(view: View) -> Iterator[Claim]:
    found, spans = [], {}
    for a, b in permutations(_members(view, "viewpoint shift", groups.ids(view.rigid)), 2):
        span = groups.common_span(view, (a, b))
        if span is None or groups.one_body(view, a, b):
            continue
        if not object_moves(view, a, span):
            yield Claim((a, b), span, f"region{a}@{span[1]}", refusal=gates.STILL)
            continue
        facing = shift_in_camera(view.draws, a, span)
        offset = to_camera(view.draws, point(view.draws, b, span[1]) - point(view.draws, a, span[1]), span[0])
        found.append(((a, b), bearing(facing, offset)))
        spans[a, b] = span
    for (a, b), angles in evenly(view, "viewpoint shift", found):
        span = spans[a, b]
        yield Claim((a, b), span, f"region{a}@{span[1]}", groups.reference(view, (a, b)),
                    category=Category(*quarter(angles), QUARTERS), words={"axes": AXES.format(at=view.at(span[0]))},
                    steps=lambda item, angles=angles: _turn(angles, "the way in which the first one has moved"))


def facing_ahead(view: View) -> Iterator[Claim]:
    sigma = float(view.scene.stats.get("heading_sigma_rad", 0.0))
    for frame in dict.fromkeys((0, view.scene.num_frames - 1)):
        name = f"viewpoint heading {frame}"
        known = [r for r in view.rigid if r.heading_cam is not None and np.isfinite(r.heading_cam[frame]).all()]
        members = _members(view, name, groups.seen_at(view, known, frame))
        found = []
        for a, b in permutations(members, 2):
            facing = np.broadcast_to(view.scene.region(a).heading_cam[frame], (view.draws.num_draws, 3))
            offset = in_camera(view.draws, b, frame) - in_camera(view.draws, a, frame)
            off = sigma * view.draws.normals(f"heading {a} {frame}", 1)[:, 0]
            found.append(((a, b), bearing(facing, offset) + off))
        for (a, b), angles in evenly(view, name, found):
            yield Claim((a, b), (frame, frame), f"region{a}@{frame}", groups.reference(view, (a, b)),
                        category=Category(*quarter(angles), QUARTERS),
                        words={"axes": AXES.format(at=view.at(frame))},
                        steps=lambda item, angles=angles: _turn(angles, "the way in which the first one faces"))


COMMON = ("region_a", "region_b", "reference", "axes")
FAMILIES = (
    Family("viewpoint_relation", facing_object, fields=("region_c",), metric=False,
           states={"category": (*COMMON, "region_c", "at")}),
    Family("viewpoint_shift", facing_motion, metric=False, states={"category": (*COMMON, "span", "end")}),
    Family("viewpoint_heading", facing_ahead, metric=False, states={"category": (*COMMON, "at")}),
)
