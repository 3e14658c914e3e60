"""Options that are places in the image: the truth's role is drawn first, in a set that is symmetric under the mistake.

    {p, p + s, q, q + s}: s a plausible mistake (the camera's motion left in, no motion, no shift between the views) or
    any other shift; q where another object's point is, or where one could be.

The truth is p or p + s with equal chance, and the other object's point takes the same role in its pair, so that
nothing in the set tells which pair is the asked object's, or which of a pair the true one. Places leave one side of the
image to come in on the other, so that a truth near a border is no corner of its set more often than any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from curate.questions.draw import Draw

BORDER = 0.03  # of the size, which options keep clear of
LEAST_GAP = 0.06  # of the width: nearer places are no choice for a reader of pixels
LARGEST_SLIP = 0.4  # of the width
ATTEMPTS = 12


def point_options(truth: Sequence[float], others: Sequence[Sequence[float]], slips: Sequence[Sequence[float]],
                  gap: float, size: tuple[int, int], num_options: int, draw: Draw,
                  along_row: bool = False) -> list[np.ndarray] | None:
    """Places, the truth first; None where they cannot stand clear of each other.

    Args:
        truth: [2] pixels from the image's corner. others: places of other objects' points, [2] each.
        slips: vectors [2] from the truth to plausible mistakes.
        gap: least distance between two options, pixels.
        size: width and height, pixels. along_row: all have the truth's row.
    """
    width, height = size
    low, high = BORDER * np.array([width, height]), (1 - BORDER) * np.array([width, height])
    truth = np.asarray(truth, float)
    if not ((truth >= low) & (truth <= high)).all():
        return None
    gap = max(gap, LEAST_GAP * width)
    sign = draw.pick((-1.0, 1.0))
    known = [np.asarray(p, float) for p in others]
    for _ in range(ATTEMPTS):
        shift = _slip(slips, gap, width, draw, along_row)
        if shift is None:
            return None
        other = _other(known, low, high, draw)
        found = [truth, truth + sign * shift, other, other + sign * shift]
        if num_options > 4:
            found.append(_other([], low, high, draw))
        found = [low + np.mod(p - low, high - low) for p in found]
        found[0] = truth
        if along_row:
            found = [np.array([p[0], truth[1]]) for p in found]
        if all(math.dist(a, b) >= gap for a, b in combinations(found, 2)):
            return found
    return None


def _slip(slips: Sequence[Sequence[float]], gap: float, width: int, draw: Draw, along_row: bool) -> np.ndarray | None:
    if gap > LARGEST_SLIP * width / 2:
        return None
    near, far = gap, LARGEST_SLIP * width
    fitting = [np.asarray(s, float) for s in slips if near <= math.hypot(*s) <= far]
    length = draw.uniform(near, min(2.5 * near, far))
    angle = 0.0 if along_row else draw.uniform(0, 2 * math.pi)
    own = draw.pick((-1.0, 1.0)) * length * np.array([math.cos(angle), math.sin(angle)])
    chosen = draw.pick([*fitting, own])
    return np.array([chosen[0], 0.0]) if along_row else chosen


def _other(known: Sequence[np.ndarray], low: np.ndarray, high: np.ndarray, draw: Draw) -> np.ndarray:
    """Where another object's point is, or a place as objects have it: rather in the middle of the image."""
    anywhere = [(draw.uniform(low[i], high[i]) + draw.uniform(low[i], high[i])) / 2 for i in (0, 1)]
    return draw.pick(known) if known and draw.uniform() < 0.8 else np.array(anywhere)
