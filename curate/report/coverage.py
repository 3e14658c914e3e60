"""Do stated intervals hold as often as they say? Shares with a confidence interval that knows about clips.

Answers of one clip share its errors: a hundred of them are no hundred witnesses. The share's variance is that of whole
clips drawn at random (Kish, Survey Sampling, 1965); it gives the effective number of answers, and that a Wilson score
interval with Student's t for the few clips there are (Dean & Pagano, J. of Survey Statistics and Methodology, 2015).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from curate.measure.quantity import LEVELS

STATED = (0.50, 0.80, 0.95, 0.99)  # what an interval says of itself
PAIRS = tuple((LEVELS.index(round((1 - s) / 2, 3)), LEVELS.index(round((1 + s) / 2, 3))) for s in STATED)
DEVIATES = np.array([NormalDist().inv_cdf(p) for p in LEVELS])
CONFIDENCE = 0.99
MANY = 300  # degrees of freedom from which on Student's t is taken as normal


@dataclass(frozen=True)
class Point:
    """Of `n` intervals that say `level`, `hits` hold; [low, high] is the share's confidence interval."""

    level: float
    hits: int
    n: int
    n_eff: float
    low: float
    high: float

    @property
    def share(self) -> float:
        return self.hits / self.n if self.n else math.nan

    @property
    def honest(self) -> bool:
        """Whether the stated level is among those that these answers allow."""
        return self.low <= self.level <= self.high


@dataclass(frozen=True)
class Curve:
    """One family: a point for each stated level, and the normal scores of the truth where they are known."""

    family: str
    points: tuple[Point, ...]
    z: tuple[float, ...] = ()
    num_clusters: int = 0


def student_t(confidence: float, dof: int) -> float:
    """Half-width of the central interval of Student's t, for whole degrees of freedom.

    By bisection of the finite series in Abramowitz & Stegun 26.7.3 and 26.7.4.

    >>> round(student_t(0.95, 10), 3)
    2.228
    """
    if dof < 1:
        return math.inf
    if dof >= MANY:
        return NormalDist().inv_cdf((1 + confidence) / 2)
    first = 1 if dof % 2 else 0
    k = np.arange(first + 2, dof - 1, 2)
    weights = np.concatenate([[1.0], np.cumprod((k - 1) / k)]) if dof > 1 else np.zeros(1)
    powers = first + 2 * np.arange(len(weights))

    def inside(angle: float) -> float:
        series = math.sin(angle) * float((weights * math.cos(angle) ** powers).sum())
        return 2 / math.pi * (angle + series) if first else series

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < confidence else (low, middle)
    return math.tan((low + high) / 2) * math.sqrt(dof)


def effective_number(hits_by_cluster: Sequence[np.ndarray], expected: float | None = None) -> float:
    """How many independent answers would know the share as well as these.

    Args:
        hits_by_cluster: one array of 0 or 1 a cluster, none empty.
        expected: the share that is held against them.

    Returns:
        n over the design effect, at most n. Where all hit or all miss, how alike the answers of a clip are cannot be
        seen in their spread: then their correlation is taken by moments about `expected` ((1 − p) / p where all hit),
        and without it each clip counts once.
    """
    hits, counts = (np.array([f(c) for c in hits_by_cluster], float) for f in (np.sum, len))
    n, share = counts.sum(), hits.sum() / counts.sum()
    within = n * share * (1 - share)
    num = len(counts)
    if num < 2 or (within == 0 and expected is None):
        return float(num)
    if within == 0:
        odds = (1 - expected) / expected
        alike = min(odds if share == 1 else 1 / odds, 1.0)
        return float(n / (1 + ((counts**2).sum() / n - 1) * alike))
    between = float(((hits - share * counts) ** 2).sum()) * num / (num - 1)
    return float(n / max(1.0, between / within))


def wilson(share: float, n_eff: float, critical: float) -> tuple[float, float]:
    """Wilson's score interval of a share known from `n_eff` answers; everything where `critical` is infinite."""
    if not n_eff > 0 or math.isinf(critical):
        return 0.0, 1.0
    k = critical**2 / n_eff
    half = critical * math.sqrt(share * (1 - share) / n_eff + k / (4 * n_eff))
    low, high = (share + k / 2 - half) / (1 + k), (share + k / 2 + half) / (1 + k)
    return max(low, 0.0) if share > 0 else 0.0, min(high, 1.0) if share < 1 else 1.0


def clustered_interval(hits_by_cluster: Mapping[str, Sequence[bool]] | Iterable[Sequence[bool]],
                       level: float = CONFIDENCE, expected: float | None = None) -> tuple[float, float, float]:
    """Confidence interval of a share, and the effective number of answers behind it.

    Args:
        hits_by_cluster: for each clip (by name, or in any order), 0 or 1 for each of its answers.
        level: confidence, 0..1. expected: the share that is held against them (`effective_number`).

    Returns:
        (low, high, n_eff); (0, 1, 0) of nothing, and (0, 1, 1) of a single clip.

    Raises:
        ValueError: where `level` is no confidence.
    """
    if not 0 < level < 1:
        raise ValueError(f"confidence {level}; expected a number between 0 and 1, such as 0.99")
    given = hits_by_cluster.values() if isinstance(hits_by_cluster, Mapping) else hits_by_cluster
    clusters = [array for c in given if len(array := np.asarray(c, float))]
    if not clusters:
        return 0.0, 1.0, 0.0
    n_eff = effective_number(clusters, expected)
    share = float(sum(c.sum() for c in clusters) / sum(len(c) for c in clusters))
    return *wilson(share, n_eff, student_t(level, len(clusters) - 1)), n_eff


def normal_scores(truths: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Where truths lie in their stated distributions, as standard normal deviates: 0 at the median, 1.96 at its 0.975.

    Linear between the quantiles, and beyond them as far as the outermost says.

    Args:
        truths: [N]. quantiles: [N, 9] at LEVELS, same units.

    Returns:
        [N]; infinite where a distribution without width misses.
    """
    out = np.empty(len(truths))
    for i, (truth, q) in enumerate(zip(np.asarray(truths, float), np.asarray(quantiles, float))):
        end = 0 if truth < q[0] else -1 if truth > q[-1] else None
        if end is None:
            out[i] = np.interp(truth, q, DEVIATES) if q[-1] > q[0] else 0.0
        else:
            reach = abs(q[end] - q[4])
            out[i] = DEVIATES[end] * abs(truth - q[4]) / reach if reach > 0 else math.copysign(math.inf, DEVIATES[end])
    return out


def curve_of_hits(family: str, hits: np.ndarray, clusters: Sequence[str], z: Sequence[float] = (),
                  confidence: float = CONFIDENCE) -> Curve:
    """The curve of one family from what held.

    Args:
        hits: [N, 4] bool, whether each answer's interval at each level of STATED holds the truth.
        clusters: [N] name of each answer's clip. z: normal scores of the truths, as many as are known.
    """
    hits = np.asarray(hits, bool).reshape(-1, len(STATED))
    members: dict[str, list[int]] = {}
    for i, name in enumerate(clusters):
        members.setdefault(name, []).append(i)
    points = []
    for level, held in zip(STATED, hits.T):
        low, high, n_eff = clustered_interval([held[m] for m in members.values()], confidence, level)
        points.append(Point(level, int(held.sum()), len(hits), n_eff, low, high))
    return Curve(family, tuple(points), tuple(float(x) for x in z), len(members))


def inside(truths: np.ndarray, quantiles: np.ndarray, one_sided: bool = False) -> np.ndarray:
    """Whether truths [N] lie in their intervals at STATED, [N, 4].

    Args:
        quantiles: [N, 9] at LEVELS. one_sided: they are of an error that cannot be negative, such as an angle; its
            interval begins at zero, and ends where a normal deviate between two levels says.
    """
    truths, quantiles = np.asarray(truths, float), np.asarray(quantiles, float).reshape(-1, len(LEVELS))
    if one_sided:
        ends = np.array([[np.interp(NormalDist().inv_cdf(s), DEVIATES, q) for s in STATED] for q in quantiles])
        return truths[:, None] <= ends.reshape(-1, len(STATED))
    low, high = (quantiles[:, list(side)] for side in zip(*PAIRS))
    slack = 1e-9 * np.maximum(1, np.abs(truths))[:, None]
    return (low - slack <= truths[:, None]) & (truths[:, None] <= high + slack)


def reliability_curve(family: str, truths: Sequence[float], quantiles: Sequence[Sequence[float]],
                      clusters: Sequence[str], confidence: float = CONFIDENCE) -> Curve:
    """The curve of one family of numbers from its stated distributions and the truth.

    Args:
        truths: [N]. quantiles: [N, 9] at LEVELS, in the truth's unit. clusters: [N] name of each answer's clip.
    """
    truths, quantiles = np.asarray(truths, float), np.asarray(quantiles, float).reshape(-1, len(LEVELS))
    return curve_of_hits(family, inside(truths, quantiles), clusters, normal_scores(truths, quantiles), confidence)
