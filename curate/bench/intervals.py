"""Means with intervals that know that questions of one recording err together. Needs numpy alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
# Student's t at 97.5 % for few degrees of freedom, where the expansion below is not exact
_T = (math.nan, 12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


@dataclass(frozen=True)
class Mean:
    """A mean in 0..1 with its interval. Of no items it is nan, from 0 to 1."""

    value: float
    low: float
    high: float
    num: int
    num_clusters: int


def student(dof: int) -> float:
    """The 97.5 % point of Student's t (Abramowitz & Stegun 26.7.5)."""
    if dof < len(_T):
        return _T[dof]
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    return (z + (z**3 + z) / (4 * dof) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
            + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * dof**3))


def clustered_mean(values: Sequence[float], clusters: Sequence[str], groups: Sequence[str] | None = None) -> Mean:
    """
    Args:
        values: 0..1. clusters: what errs together (a recording), one a value.
        groups: where given, the mean is that of the groups' means: each counts alike, however many items it has.

    Returns:
        The mean and its 95 % interval: Wilson's, with the number of items that independent ones would need for the
        same cluster-robust variance, and Student's t of the clusters less one. All alike, as many as there are
        clusters. One cluster tells nothing: 0 to 1.
    """
    x = np.asarray(values, float)
    num = len(x)
    if num == 0:
        return Mean(math.nan, 0.0, 1.0, 0, 0)
    if groups is None:
        weights, centre = np.full(num, 1 / num), np.full(num, x.mean())
    else:
        _, index, counts = np.unique(np.asarray(groups, str), return_inverse=True, return_counts=True)
        weights = 1 / (len(counts) * counts[index])
        centre = (np.bincount(index, x) / counts)[index]
    mean = float(x.mean() if groups is None else min(weights @ x, x.max()))
    names, which = np.unique(np.asarray(clusters, str), return_inverse=True)
    if len(names) == 1:
        return Mean(mean, 0.0, 1.0, num, 1)
    sums = np.bincount(which, weights * (x - centre))
    variance = float((sums**2).sum()) * len(names) / (len(names) - 1)
    inside = mean * (1 - mean)
    effective = inside / variance if variance > 1e-15 and inside > 0 else float(len(names))
    t = student(len(names) - 1)
    middle = (mean + t**2 / (2 * effective)) / (1 + t**2 / effective)
    half = t / (1 + t**2 / effective) * math.sqrt(max(inside / effective + t**2 / (4 * effective**2), 0))
    return Mean(mean, max(0.0, min(middle - half, mean)), min(1.0, max(middle + half, mean)), num, len(names))
