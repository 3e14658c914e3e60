"""The formulas behind the rewards, on numbers and lists: no text is read here. Each is 0 (worst) to 1 (best)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
Vector = Sequence[float]

THRESHOLDS = tuple(t / 100 for t in range(50, 100, 5))  # of mean relative accuracy: 0.50, 0.55 .. 0.95
# A truth nearer to zero than this is compared by absolute error, in units of it. Metres, m/s, m/s², radians, seconds.
FLOORS = {"length": 0.05, "speed": 0.05, "acceleration": 0.05, "angle": math.radians(1), "time": 0.1, "count": 1.0}
SLACK = 1e-9


def relative_error(given: float, truth: float, floor: float = 0.0) -> float:
    """|given − truth| / max(|truth|, floor); inf where that is no number, 0 where both are zero.

    Args:
        floor: above zero, in the unit of both.
    """
    error, scale = abs(given - truth), max(abs(truth), floor)
    if not math.isfinite(error):
        return math.inf
    return error / scale if scale > 0 else (0.0 if error == 0 else math.inf)


def mean_relative_accuracy(given: float, truth: float, floor: float = 0.0) -> float:
    """Mean over θ in 0.50, 0.55 .. 0.95 of [relative error ≤ 1 − θ] (VSI-Bench, arXiv 2412.14171).

    The magnitude of the truth counts, never below `floor`: a negative truth earns nothing by its sign, zero does not
    divide.

    >>> mean_relative_accuracy(2.2, 2.0), mean_relative_accuracy(-2.0, 2.0), mean_relative_accuracy(0.0, 0.0, 0.05)
    (0.9, 0.0, 1.0)
    """
    error = relative_error(given, truth, floor)
    return sum(error <= 1 - t + SLACK for t in THRESHOLDS) / len(THRESHOLDS)


def relative_closeness(given: float, truth: float, floor: float = 0.0) -> float:
    """1 − min(1, relative error).

    >>> round(relative_closeness(1.5, 2.0), 6)
    0.75
    """
    return 1 - min(1.0, relative_error(given, truth, floor))


def interval_score(low: float, high: float, truth: float, level: float) -> float:
    """Width plus 2/α times how far the truth lies outside, α = 1 − level (Gneiting & Raftery 2007, eq. 43).

    Lower is better; its mean is least for the true quantiles at α/2 and 1 − α/2.

    >>> round(interval_score(1.0, 2.0, 2.5, 0.8), 6)
    6.0
    """
    outside = max(low - truth, 0.0) + max(truth - high, 0.0)
    return (high - low) + 2 / (1 - level) * outside


def interval_reward(low: float, high: float, truth: float, level: float, floor: float, worst: float = 2.0) -> float:
    """The interval score of asinh(x / 2 floor), which is a logarithm away from zero, as 1 − score / worst, not below 0.

    A monotone change of the axis leaves quantiles quantiles, so that the score stays proper; so does the straight line
    to 0..1, as long as it is not cut off at 0.

    Args:
        floor: above zero. worst: score that earns nothing; 2 is an interval over a factor of 7.4.
    """
    a, b, y = (math.asinh(x / (2 * floor)) for x in (low, high, truth))
    score = interval_score(a, b, y, level)
    return max(0.0, 1 - score / worst) if math.isfinite(score) else 0.0


def edit_distance(given: Sequence[T], truth: Sequence[T], cost: Callable[[T, T], float] | None = None) -> float:
    """Levenshtein's: insertions and deletions cost 1, substitutions `cost` (0 to 1; by default 0 where equal).

    >>> edit_distance("abc", "axc"), edit_distance([], "ab")
    (1.0, 2.0)
    """
    cost = cost or (lambda a, b: float(a != b))
    row = [float(j) for j in range(len(truth) + 1)]
    for i, a in enumerate(given, 1):
        before, row = row, [float(i)]
        for j, b in enumerate(truth, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + cost(a, b)))
    return row[-1]


def sequence_closeness(given: Sequence[T], truth: Sequence[T], cost: Callable[[T, T], float] | None = None) -> float:
    """1 − edit distance / length of the longer one; 1 where both are empty."""
    length = max(len(given), len(truth))
    return 1 - edit_distance(given, truth, cost) / length if length else 1.0


def span_iou(a: Vector, b: Vector) -> float:
    """Intersection over union of two spans [start, end]; of two instants 1 where they are the same.

    >>> round(span_iou([1, 3], [2, 4]), 6)
    0.333333
    """
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = max(a[1], b[1]) - min(a[0], b[0])
    return shared / union if union > 0 else float(a[0] == b[0])


def box_iou(a: Vector, b: Vector) -> float:
    """Intersection over union of two boxes, low corner then high corner, in any number of dimensions.

    A box that is turned inside out, or has no extent, has no area: 0.

    >>> box_iou([0, 0, 2, 2], [1, 0, 3, 2]) == 1 / 3
    True
    """
    assert len(a) == len(b) and len(a) % 2 == 0
    n = len(a) // 2
    if any(a[i] >= a[i + n] or b[i] >= b[i + n] for i in range(n)):
        return 0.0
    shared = math.prod(max(0.0, min(a[i + n], b[i + n]) - max(a[i], b[i])) for i in range(n))
    union = math.prod(a[i + n] - a[i] for i in range(n)) + math.prod(b[i + n] - b[i] for i in range(n)) - shared
    return shared / union if math.isfinite(union) else 0.0


def keypoints_within(given: Sequence[Vector | None], truth: Sequence[Vector | None], threshold: float) -> float:
    """PCK: share of points within `threshold` of the truth, in their order (Yang & Ramanan 2013).

    A point that cannot be seen (None) is right where it is said to be so. What is missing is wrong; where more points
    are given than asked for, the share is of those given.
    """
    hits = sum(math.dist(p[:len(t)], t) <= threshold if t is not None and p is not None and len(p) >= len(t)
               else t is None and p is None for p, t in zip(given, truth))
    return hits / max(len(given), len(truth), 1)


def centre_closeness(given: Sequence[Vector | None], truth: Sequence[Vector | None], scale: float = 1.0) -> float:
    """exp(−mean distance / scale) over the centres that both know, times the share that is known or rightly unknown.

    With all of them known it is MLLM-4D's (arXiv 2603.00515), whose scale is 1.

    Args:
        given, truth: one a time, in the same order; None where it is not visible.
        scale: above zero, in the unit of the centres.

    >>> round(centre_closeness([[0, 0, 1.5]], [[0, 0, 1]]), 4)   # exp(-0.5)
    0.6065
    """
    total = max(len(given), len(truth))
    if total == 0:
        return 1.0
    distances, unknown = [], 0
    for p, t in zip(given, truth):
        if p is None or t is None:
            unknown += p is None and t is None
        elif len(p) == len(t):
            distances.append(math.dist(p, t))
    mean = sum(distances) / len(distances) if distances else 0.0
    known = len(distances) * math.exp(-mean / scale) if math.isfinite(mean) else 0.0
    return (known + unknown) / total


def scene_scale(truth: Mapping[str, Sequence[Vector | None]], sigma: float = 0.0) -> float:
    """The distance at which `centre_closeness` falls to 1/e: a tenth of the scene's size, and twice its own error.

    Args:
        truth: centres by name. sigma: of the truth, in the same unit.

    Returns:
        hypot(0.1 · size, 2 · sigma), the size being the diagonal of the box about all centres and the origin (the
        first camera), at least 0.5.
    """
    points = [p[:3] for centres in truth.values() for p in centres if p is not None]
    sides = [max(0.0, *axis) - min(0.0, *axis) for axis in zip(*points)]
    size = max(math.hypot(*sides), 0.5)
    return math.hypot(0.1 * size, 2 * (sigma if math.isfinite(sigma) else 0.0))


def cosine(a: Vector, b: Vector) -> float:
    """max(0, cosine of the angle between two directions); of two zero vectors 1, of one of them 0.

    >>> round(cosine([1, 0], [1, 1]), 4), cosine([1, 0], [-1, 0])
    (0.7071, 0.0)
    """
    long = math.hypot(*a), math.hypot(*b)
    if not all(map(math.isfinite, long)) or len(a) != len(b):
        return 0.0
    if 0 in long:
        return float(long == (0, 0))
    return min(max(0.0, sum(x / long[0] * (y / long[1]) for x, y in zip(a, b))), 1.0)
