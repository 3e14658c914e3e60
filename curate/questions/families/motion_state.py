"""Does it move, or does it stand still? Decided of objects and of the camera, or left open.

Stillness cannot be measured, only bounded. So "moves" is defined by a length that the questions state: an object moves
over a span if max_t ‖P_t − P_i‖ > 2 % of ‖P_i − c_i‖, its distance to the camera at the start i; the camera moves if
its optical centre gets as far (2 % of the distance to the object spoken of) or if it turns by more than 2°. A share of
the distance means the same in every clip, and is what a viewer sees. It is decided by joint draws (noise makes
‖P_t − P_i‖ larger, never smaller) together with the chi-square test of "it does not move": what moves must move beyond
doubt, what stands still must not; whatever is between is not asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.magnitude import median
from curate.measure.relation import away, in_camera, still_p_value, turned
from curate.measure.smoothing import lengths
from curate.questions import gates

if TYPE_CHECKING:
    from curate.questions.view import View

SHARE, TURN = 0.02, math.radians(2)
RULE = ("An object counts as moving if, at any time in between, it is farther from its place at {start} than 2 % of "
        "its distance to the camera at {start}; otherwise it counts as standing still.")
CAMERA_RULE = ("Something counts as moving if, at any time in between, it is farther from its place at {start} than "
               "2 % of the distance between the object and the camera at {start}; the camera, for which its optical "
               "centre is taken, also if it turns by more than 2°.")
Span = tuple[int, int]


def threshold(view: View, region_id: int, span: Span) -> np.ndarray:
    """[S] m, unscaled: what an object must get away from its place to count as moving."""
    key = "threshold", region_id, span[0]
    if key not in view.memo:
        view.memo[key] = SHARE * lengths(in_camera(view.draws, region_id, span[0]))
    return view.memo[key]


def _reach(view: View, region_id: int | None, span: Span) -> np.ndarray:
    """[S] m, unscaled: how far it gets from its place."""
    key = "reach", region_id, *span
    if key not in view.memo:
        view.memo[key] = away(view.draws, region_id, span).max(1)
    return view.memo[key]


def stirs(view: View, region_id: int, span: Span) -> np.ndarray:
    """[S] bool: whether it moves in each draw."""
    return _reach(view, region_id, span) > threshold(view, region_id, span)


def camera_stirs(view: View, region_id: int, span: Span) -> np.ndarray:
    """[S] bool: whether the camera moves in each draw, by the distance of an object."""
    return (_reach(view, None, span) > threshold(view, region_id, span)) | (turned(view.draws, span) > TURN)


def decided(view: View, moves: np.ndarray, p_still: float) -> bool | None:
    """Whether it moves, or None where that is open.

    Args:
        moves: [S] bool, by draws. p_still: of "it does not move".
    """
    share = float(moves.mean())
    if gates.certain(share, view.config.min_confidence) and p_still <= view.config.max_p_zero:
        return True
    if gates.certain(1 - share, view.config.min_confidence) and p_still > view.config.max_p_zero:
        return False
    return None


def object_moves(view: View, region_id: int, span: Span) -> bool | None:
    """Whether an object moves over a span, or None where that is open."""
    key = "moves", region_id, *span
    if key not in view.memo:
        view.memo[key] = decided(view, stirs(view, region_id, span), still_p_value(view.draws, region_id, span))
    return view.memo[key]


def camera_moves(view: View, region_id: int, span: Span) -> bool | None:
    """Whether the camera moves, by the distance of an object, or None where that is open."""
    moves = camera_stirs(view, region_id, span)
    turns = gates.certain(float((turned(view.draws, span) > TURN).mean()), view.config.min_confidence)
    return decided(view, moves, 0.0 if turns else still_p_value(view.draws, None, span))


def farthest(view: View, region_ids: Sequence[int], span: Span) -> list[str]:
    """For the steps: how far each gets from its place, as a share of its distance to the camera."""
    out = []
    for i in region_ids:
        middle = float(median(_reach(view, i, span) / lengths(in_camera(view.draws, i, span[0]))))
        out.append(f"{view.mark(i)} {100 * middle:.1f} %")
    return out
