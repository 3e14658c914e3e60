"""Which spans are asked of the camera and of each region, and a signed number against a margin that is stated.

The margin of "to the left, to the right, or neither by more than ..." is the least of a ladder that is twice the
99 % half-width of the number's error. It follows from the error alone, never from the number, so that it does not
tell which of the three is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from curate.measure.measure import HALF_SPAN_FRAMES
from curate.questions import gates
from curate.questions.claim import Category, Claim
from curate.questions.units import Unit

if TYPE_CHECKING:
    from curate.questions.view import View

Span = tuple[int, int]
# (view, "camera" or "object", subjects, span, why nothing may be asked or "")
Maker = Callable[["View", str, tuple[int, ...], Span, str], Claim]


def camera_spans(view: View) -> list[Span]:
    """The whole clip, and of a long one its first half."""
    last = view.scene.num_frames - 1
    return [(0, last)] + ([(0, last // 2)] if view.scene.num_frames >= HALF_SPAN_FRAMES else [])


def object_spans(view: View) -> Iterator[tuple[int, Span, str]]:
    """(region id, span, why nothing may be asked of it or "")."""
    for region in view.regions:
        for span in view.spans(region):
            yield region.id, span, gates.subject_refusal(view.scene, (region.id,), span) or ""


def of_camera(claim: Maker, view: View) -> Iterator[Claim]:
    """A claim of the camera for each of its spans."""
    for span in camera_spans(view):
        yield claim(view, "camera", (), span, "")


def of_objects(claim: Maker, view: View) -> Iterator[Claim]:
    """A claim of each region for each of its spans."""
    for region, span, refusal in object_spans(view):
        yield claim(view, "object", (region,), span, refusal)


def least_margin(levels: Sequence[float], ladder: Sequence[float]) -> float | None:
    """The least step of an ascending ladder that is twice the 99 % half-width of a number with these quantiles (at
    LEVELS), None where none is."""
    return next((step for step in ladder if step >= levels[-1] - levels[0]), None)


def side(draws: np.ndarray, margin: float, negative: str, neither: str, positive: str) -> Category:
    """On which side of ±margin draws [S] lie, with the share that does."""
    above, below = float((draws > margin).mean()), float((draws < -margin).mean())
    shares = {negative: below, neither: 1 - above - below, positive: above}
    name = max(shares, key=lambda n: shares[n])
    return Category(name, shares[name], (negative, neither, positive))


def amount(value: float, unit: Unit) -> str:
    """A step of a ladder with its unit, without superfluous digits: "0.2 m", "5°"."""
    return unit.text(f"{value * unit.factor:.6g}")
