"""Survival function of the chi-square distribution for whole degrees of freedom, in closed form."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

FEW = 16  # degrees of freedom


def chi2_survival(x: float, dof: int) -> float:
    """P(χ²_dof > x).

    Finite sums for whole degrees of freedom (Abramowitz & Stegun 26.4.4 and 26.4.5): a Poisson tail for even
    dof, erfc plus a sum over odd double factorials for odd dof. Terms are added in the log, so that hundreds of
    degrees of freedom neither overflow nor vanish.

    Raises:
        ValueError: where dof is not a positive whole number.
    """
    if dof < 1 or dof != int(dof):
        raise ValueError(f"degrees of freedom must be a positive whole number, got {dof}")
    half = x / 2
    if not half > 0:  # a denormal x too
        return 1.0
    if math.isinf(half):
        return 0.0
    if dof < FEW:  # a few terms take less one by one
        tail, term = (math.erfc(math.sqrt(half)), math.sqrt(half) / math.gamma(1.5)) if dof % 2 else (0.0, 1.0)
        if half < 700:  # e⁻ʰ is a number
            scale = math.exp(-half)
            for power in range(dof // 2):
                tail += scale * term
                term *= half / (power + (1.5 if dof % 2 else 1.0))
            return min(1.0, tail)
    start = 0.0 if dof % 2 == 0 else 0.5
    powers = start + np.arange(dof // 2)
    log_terms = powers * math.log(half) - half - _log_factorials(start, dof // 2)
    tail = math.erfc(math.sqrt(half)) if dof % 2 else 0.0
    return float(min(1.0, tail + np.exp(log_terms).sum()))


@lru_cache(maxsize=256)
def _log_factorials(start: float, num: int) -> np.ndarray:
    """log Γ(p + 1) of p = start, start + 1, ..; not to be written to."""
    return np.array([math.lgamma(start + p + 1) for p in range(num)])


def zero_p_value(mean: np.ndarray, covariance: np.ndarray) -> float:
    """p-value of "the vector is zero" for an estimate [d] with covariance [d, d]. Exact zeros give 1."""
    mean = np.atleast_1d(np.asarray(mean, float))
    covariance = np.atleast_2d(covariance)
    size = max(float(mean @ mean), float(np.trace(covariance)))
    if size == 0:
        return 1.0
    floor = 1e-18 * size * np.eye(len(mean))
    return chi2_survival(float(mean @ np.linalg.solve(covariance + floor, mean)), len(mean))
