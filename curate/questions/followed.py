"""Regions that may be followed over their whole track, and why others may not: for families of paths and events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.quantity import Quantity
from curate.questions import gates

if TYPE_CHECKING:
    from curate.questions.view import Span, View
    from curate.scene import Region

MIN_FRAMES = 6  # fewer show no course of anything
MAX_RELATIVE = 0.5  # half-width of the path's length, over it


@dataclass(frozen=True)
class Followed:
    """A region over its track.

    Args:
        frames: every frame of the span, ascending. time_s: of the frames, from the clip's start.
        path: its path length over the span; None where it may not be asked about.
        refusal: why nothing may be said of its course, "" where it may.
    """

    region: Region
    span: Span
    frames: np.ndarray
    time_s: np.ndarray
    path: Quantity | None
    refusal: str = ""

    @property
    def seconds(self) -> float:
        return float(self.time_s[-1] - self.time_s[0])


def moves_clearly(view: View, path: Quantity) -> bool:
    """Whether it moves, and its path's length is known to half of itself: of what is not, no course is known either."""
    return bool(gates.moves(path, view.config.max_p_zero) and path.value > 0
                and gates.relative_half_width(float(path.value), path.quantiles) <= MAX_RELATIVE)


def followed(view: View, moves: bool = True) -> Iterator[Followed]:
    """Every region that may be asked about, in the scene's order.

    Args:
        moves: only of what clearly moves in the world; others are refused as still.
    """
    for region in view.regions:
        usable = view.frames(region)
        span = int(usable[0]), int(usable[-1])
        frames = np.arange(span[0], span[1] + 1)
        time_s = np.asarray(view.times.seconds)[frames]
        refusal = gates.subject_refusal(view.scene, (region.id,), span) or ""
        if not refusal and len(usable) < MIN_FRAMES:
            refusal = gates.NOT_MEASURED
        path = None
        if not refusal:
            path = view.quantity("object_path_length", (region.id,), span)
            if moves and not moves_clearly(view, path):
                refusal = gates.STILL
        yield Followed(region, span, frames, time_s, path, refusal)
