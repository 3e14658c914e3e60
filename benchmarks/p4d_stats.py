"""Differences of two trained arms on the same questions, with intervals that know what errs together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """Mean of a less b with its 95 % interval; `of_seeds`: the mean of each seed alone."""

    value: float
    low: float
    high: float
    num: int
    num_clusters: int
    of_seeds: tuple[float, ...]

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def difference(a: np.ndarray, b: np.ndarray, clusters: Sequence[str], *, draws: int = 4000,
               seed: int = 0) -> Difference:
    """The paired difference of two arms.

    Recordings and seeds are both drawn with replacement, each by itself, and a question counts as often as its
    recording times its seed was drawn (the pigeonhole bootstrap; Owen 2007, Annals of Applied Statistics 1(2)). So the
    interval holds what another test set of the same size and another few seeds would change. Bounds are percentiles.
    Of a few seeds the spread is underrated by the factor sqrt((S - 1) / S); `of_seeds` shows them.

    Args:
        a, b: [S, Q] scores, 0..1: row s of both was trained with the same seed; column q is the same question; nan in
            both where that seed was not asked it.
        clusters: [Q] the recording of each question.
        draws: of the bootstrap. seed: of its draws.

    Raises:
        ValueError: where shapes differ, a score is missing, or there is one recording alone.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    names, which = np.unique(np.asarray(clusters, str), return_inverse=True)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != len(which):
        raise ValueError(f"scores of shape {a.shape} and {b.shape} for {len(which)} questions; expected [seeds, "
                         "questions] of both arms, and one recording a question")
    asked = np.isfinite(a)
    if (asked != np.isfinite(b)).any() or not asked.any(1).all():
        raise ValueError("a score is missing; expected those of the same questions of each seed in both arms")
    if len(names) < 2:
        raise ValueError(f"{len(names)} recording; an interval needs two at least")
    num_seeds = len(a)
    counts = np.stack([np.bincount(which, row) for row in asked])  # [S, C]
    sums = np.stack([np.bincount(which, row) for row in np.where(asked, a - b, 0.0)])
    rng = np.random.default_rng(seed)
    recordings = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), draws)  # [draws, C]
    seeds = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), draws)  # [draws, S]
    total = np.einsum("ds,sc,dc->d", seeds, sums, recordings, optimize=True)
    weight = np.einsum("ds,sc,dc->d", seeds, counts, recordings, optimize=True)
    low, high = np.quantile(total / weight, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(float(np.nanmean(a - b)), float(low), float(high), a.shape[1], len(names),
                      tuple(np.nanmean(a - b, axis=1).tolist()))
