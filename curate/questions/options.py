"""Options by the role rule: the set's shape is drawn first, then which member is the truth, each with equal chance.

In logarithms the set {a, g·a, b, g·b} is the shape {0, γ, δ, δ + γ}, with γ a plausible slip (path for displacement,
apparent for true, a unit) and δ another plausible value. Shape and role are drawn independently of each other, so that
whatever depends on the ratios of the options alone (rank, nearest to a mean, hub of ratios) is right by chance.
Everything that decides whether a set is possible depends on the truth's relative error, never on the role.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from curate.questions.digits import round_to
from curate.questions.draw import Draw

LEAST_GAP = math.log(1.25)  # options nearer than this are no choice for a reader of pixels
LARGEST_GAP = math.log(2.2)  # beyond it, four options would span more than plausible values do
LARGEST_SLIP = math.log(4.0)
OTHER_RANGE = math.log(2.2)  # how far beyond its nearest allowed place the other value may lie
LETTERS = "ABCDE"


@dataclass(frozen=True)
class OptionSet:
    """Options in printed order."""

    values: list
    index: int  # of the truth

    @property
    def letter(self) -> str:
        return LETTERS[self.index]


def _slip(gap: float, slips: Sequence[float], draw: Draw) -> float:
    """γ > 0: one of the given mistakes' |log-ratio| that stands clear, or half/double."""
    sizes = [abs(math.log(s)) for s in slips if s > 0 and math.isfinite(s)]
    least = max(gap, math.log(1.6))
    candidates = [s for s in sizes if gap <= s <= LARGEST_SLIP] + [draw.uniform(least, least + math.log(1.5))]
    # a slip that is a known constant (3.6) would be recognised among printed digits: blur it
    return max(gap, draw.pick(candidates) + draw.uniform(-0.04, 0.04))


def _in_gaps(ranges: Sequence[tuple[float, float]], draw: Draw) -> float:
    """Uniform over a union of ranges; empty ones do not count."""
    lengths = [max(high - low, 0.0) for low, high in ranges]
    at = draw.uniform(0, sum(lengths))
    for (low, _), length in zip(ranges, lengths):
        if at < length:
            return low + at
        at -= length
    return ranges[-1][1]


def shape(gap: float, slips: Sequence[float], num_options: int, draw: Draw) -> list[float]:
    """Log-positions of the options, the first at 0, each at least `gap` from every other."""
    slip = _slip(gap, slips, draw)
    other = _in_gaps([(gap, slip - gap), (slip + gap, slip + gap + OTHER_RANGE)], draw)
    at = [0.0, slip, other, other + slip]
    while len(at) < num_options:
        ordered = sorted(at)
        between = [(a + gap, b - gap) for a, b in pairwise(ordered)]
        ends = [(ordered[0] - gap - OTHER_RANGE / 2, ordered[0] - gap),
                (ordered[-1] + gap, ordered[-1] + gap + OTHER_RANGE / 2)]
        at.append(_in_gaps(between + ends, draw))
    return at


def number_options(truth: float, gap: float, num_digits: int, slips: Sequence[float], num_options: int,
                   draw: Draw) -> OptionSet | None:
    """Numbers of `num_digits` significant digits, shuffled; None where they cannot stand clear of the error.

    Args:
        truth: the answer, positive, already rounded to `num_digits`.
        gap: least log-ratio (see `gates.option_gap`).
        slips: ratios of plausible mistakes to the truth.
    """
    rounding = math.log1p(0.5 * 10.0 ** (1 - num_digits))
    gap = max(gap, LEAST_GAP) + 2 * rounding
    if not gap <= LARGEST_GAP:
        return None
    at = shape(gap, slips, num_options, draw)
    role = draw.integer(num_options)
    values = [truth if i == role else round_to(truth * math.exp(x - at[role]), num_digits) for i, x in enumerate(at)]
    order = draw.shuffled(range(num_options))
    return OptionSet([values[i] for i in order], order.index(role))


def category_options(truth: str, vocabulary: Sequence[str], num_options: int, draw: Draw) -> OptionSet:
    """The truth among others of its vocabulary, every subset with equal chance, shuffled."""
    others = draw.shuffled([name for name in vocabulary if name != truth])[:num_options - 1]
    order = draw.shuffled([truth, *others])
    return OptionSet(order, order.index(truth))
