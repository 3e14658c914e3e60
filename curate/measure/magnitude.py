"""From draws to stated numbers: lengths without the bias of noise, quantiles, and the error split by source.

The length of a noisy vector is too long, and draws around it are longer still: to second order each time by
the variance across the vector over twice its length. Both are taken back in the square, which also holds near zero,
where the interval then reaches down to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curate.measure.quantity import LEVELS, Quantity
from curate.measure.smoothing import lengths

SOURCES = ("own", "pose", "rig", "scale")


@dataclass
class Sample:
    """Draws of one number and what goes with it, before the scale is applied.

    Args:
        draws: [S], unscaled.
        parts: source -> [P] draws in which this source alone acts.
        scaled: whether it is a length (or a rate of one), and stretches with the scene.
        p_zero: p-value of "nothing moves", nan where not meant.
        magnitude: it cannot be negative, and its low quantiles are zero as long as `p_zero` allows zero: an
            interval then holds zero exactly where the test does.
    """

    draws: np.ndarray
    parts: dict[str, np.ndarray]
    scaled: bool = True
    p_zero: float = float("nan")
    magnitude: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


def across_variance(covariance: np.ndarray, direction: np.ndarray) -> float:
    """Variance at right angles to `direction` [..., 3] (mean over leading axes), of covariance [3, 3]."""
    norm2 = np.maximum(np.sum(direction**2, -1), 1e-300)
    along = np.einsum("...i,ij,...j->...", direction, covariance, direction) / norm2
    return float(max(np.trace(covariance) - along.mean(), 0.0))


def covariance_of(draws: np.ndarray) -> np.ndarray:
    """[S, d] to [d, d]."""
    centred = draws - draws.mean(0)
    return centred.T @ centred / len(draws)


def without_noise(drawn: np.ndarray, across: float) -> np.ndarray:
    """Lengths [S] of draws, less what noise across them has added twice; never below zero."""
    return np.sqrt(np.maximum(drawn**2 - 2 * across, 0))


def vector_length(mean: np.ndarray, draws: np.ndarray, parts: dict[str, np.ndarray]) -> tuple[np.ndarray, dict]:
    """Debiased lengths [S] of vectors [S, 3] and of their parts' [P]."""
    across = across_variance(covariance_of(draws), mean)
    return (without_noise(lengths(draws), across), {name: lengths(mean + part) for name, part in parts.items()})


def quantiles(draws: np.ndarray) -> tuple[float, ...]:
    """At LEVELS; linear between order statistics at (k + ½) / S."""
    ordered = np.sort(draws)
    position = np.clip(np.array(LEVELS) * len(ordered) - 0.5, 0, len(ordered) - 1)
    return tuple(float(q) for q in np.interp(position, np.arange(len(ordered)), ordered))


def state(sample: Sample, scale: np.ndarray, scale_sigma: float, *, kind: str, subjects: tuple[int, ...],
          span: tuple[int, int], unit: str, frame: str, reference: str) -> Quantity:
    """The Quantity of a sample; its value is the median of the draws."""
    draws = sample.draws * scale if sample.scaled else sample.draws
    levels = quantiles(draws)
    if sample.magnitude:
        levels = tuple(0.0 if level < min(sample.p_zero, 0.5) else q for level, q in zip(LEVELS, levels))
    value = levels[len(levels) // 2]
    error = {name: float(np.var(sample.parts[name])) if name in sample.parts else 0.0 for name in SOURCES[:3]}
    error["scale"] = (value * scale_sigma) ** 2 if sample.scaled else 0.0
    return Quantity(kind, subjects, span, value, unit, frame, reference, levels, error, sample.p_zero, sample.extra)
