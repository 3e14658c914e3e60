"""Where the camera is at a second time, in its own axes at the first: place [right, down, forward] m and yaw, degrees.

R_iᵀ (c_j − c_i) and the yaw of R_iᵀ R_j (`orientation`), as JSON {"position": [x, y, z], "yaw": degrees}, judged field
by field. Each number is written, and asked for, in steps of a ladder: the least step that is twice the 99 % half-width
of its error (of the worst of three for the place). Certain where 99 % of the joint draws lie within a step of every
number written. Asked of a camera that clearly moves or turns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.magnitude import quantiles
from curate.questions import gates
from curate.questions.claim import Claim, Open
from curate.questions.families.base import Family, Item
from curate.questions.families.over_spans import Span, camera_spans, least_margin

if TYPE_CHECKING:
    from curate.questions.view import View

METRES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
DEGREES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def steps(item: Item) -> list[str]:
    return ["The camera's displacement is turned into its axes at the start, and so is its orientation at the end.",
            f"In these axes it stands, to the right, down and forward, at {item.words['place']} m, and its line of "
            f"sight has turned by {item.words['turn']}° to the right (negative numbers: the other way)."]


def _in_steps(value: float, step: float) -> float:
    return round(round(value / step) * step, 6) + 0.0


def _claim(view: View, span: Span) -> Claim:
    i, j = span
    moved = view.quantity("camera_displacement", (), span)
    turned = view.quantity("camera_rotation", (), span)
    draws, path = view.draws, view.draws.camera
    world = (path.points[:, j] - path.points[:, i]) * draws.scale[:, None]
    world = world - np.cross(draws.rotation_error[:, i], world)
    place = world @ view.scene.T_world_cam.rotation[i]
    yaw = np.degrees(view.values("camera_yaw", (), span))
    by_metres = [least_margin(levels, METRES) for levels in quantiles(place.T)]
    by_degrees = least_margin(quantiles(yaw), DEGREES)
    refusal = gates.NOT_FINITE if not np.isfinite(place).all() or not np.isfinite(yaw).all() else \
        gates.STILL if not (gates.moves(moved, view.config.max_p_zero) or gates.moves(turned, view.config.max_p_zero)) \
        else gates.UNCERTAIN if None in by_metres or by_degrees is None else ""
    if refusal:
        return Claim((), span, f"camera@{i}", "camera-centre", refusal=refusal)
    metres = max(by_metres)
    target = {"position": [_in_steps(float(x), metres) for x in np.median(place, 0)],
              "yaw": _in_steps(float(np.median(yaw)), by_degrees)}
    within = (np.abs(place - target["position"]) <= metres).all(1) & (np.abs(yaw - target["yaw"]) <= by_degrees)
    text = json.dumps(target)
    written = json.dumps(target["position"])
    at = text.index(written)
    lead = (f'Answer with JSON: {{"position": [right, down, forward], "yaw": degrees}}, the position to the nearest '
            f"{metres:g} m and the yaw to the nearest {by_degrees:g}°.")
    end_s = float(view.scene.time_s[j] - view.scene.time_s[0])
    return Claim((), span, f"camera@{i}", moved.reference,
                 open=Open(text, target, "json", "st", lead, float(within.mean())),
                 words={"place": written, "turn": f"{target['yaw']:g}"}, steps=steps, quantities=(moved, turned),
                 extra={"step_m": metres, "step_deg": by_degrees},
                 coordinates=((at, at + len(written), (*target["position"], end_s)),))


def claims(view: View) -> Iterator[Claim]:
    for span in camera_spans(view):
        yield _claim(view, span)


FAMILIES = (Family("camera_pose", claims, ("open",), states={"open": ("span", "start", "end", "reference")}),)
