"""From draws to stated numbers: lengths without the bias of noise, quantiles, and the error split by source.

The length of a noisy vector is too long, and draws around it are longer still: to second order each time by
the variance across the vector over twice its length. Both are taken back in the square, which also holds near zero,
where the interval then reaches down to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from curate.measure.quantity import LEVELS, Quantity
from curate.measure.smoothing import lengths

SOURCES = ("own", "pose", "rig", "scale")


class Parts(Mapping[str, np.ndarray]):
    """Draws by source of error, worked out when they are first looked at: comparisons use a sample's draws alone."""

    def __init__(self, make: Callable[[], dict[str, np.ndarray]]) -> None:
        self._make = make

    @cached_property
    def _known(self) -> dict[str, np.ndarray]:
        return self._make()

    def __getitem__(self, name: str) -> np.ndarray:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


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
    parts: Mapping[str, np.ndarray]
    scaled: bool = True
    p_zero: float = float("nan")
    magnitude: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


def across_variance(covariance: np.ndarray, direction: np.ndarray) -> float:
    """Variance at right angles to `direction` [..., 3] (mean over leading axes), of covariance [3, 3]."""
    norm2 = np.maximum((direction * direction).sum(-1), 1e-300)
    along = ((direction @ covariance) * direction).sum(-1) / norm2
    return max(float(covariance[0, 0] + covariance[1, 1] + covariance[2, 2] - along.mean()), 0.0)


def covariance_of(draws: np.ndarray) -> np.ndarray:
    """[S, d] to [d, d]."""
    of = draws.T  # as they lie in memory
    centred = of - of.mean(1, keepdims=True)
    return centred @ centred.T / len(draws)


def without_noise(drawn: np.ndarray, across: float) -> np.ndarray:
    """Lengths [S] of draws, less what noise across them has added twice; never below zero."""
    return np.sqrt(np.maximum(drawn**2 - 2 * across, 0))


def vector_length(mean: np.ndarray, draws: np.ndarray, parts: Mapping[str, np.ndarray], covariance: np.ndarray,
                  stated: bool = False) -> tuple[np.ndarray, Parts]:
    """Debiased lengths [S] of vectors [S, 3], of that covariance [3, 3], and of their parts' [P]. Of a `stated` vector
    the length is that of `mean`, and the draws are only how far it may be off."""
    if stated:
        centred = np.maximum(as_stated(lengths(draws), float(lengths(mean))), 0)
        return centred, by_part(parts, lambda all_parts: lengths(mean + all_parts))
    across = across_variance(covariance, mean)
    return without_noise(lengths(draws), across), by_part(parts, lambda all_parts: lengths(mean + all_parts))


def as_stated(draws: np.ndarray, value: float) -> np.ndarray:
    """Draws [S] whose median is `value`."""
    return draws + (value - float(median(draws)))


def by_part(parts: Mapping[str, np.ndarray], of: Callable[[np.ndarray], np.ndarray]) -> Parts:
    """A function of vectors [n, ..., 3] to numbers [n], taken of all parts in one step, when they are looked at."""
    return Parts(lambda: _by_part(parts, of))


def _by_part(parts: Mapping[str, np.ndarray], of: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    if not parts:
        return {}
    first, *rest = parts.values()
    back, forth = (*range(1, first.ndim), 0), (first.ndim - 1, *range(first.ndim - 1))
    # draws are the last axis in memory
    numbers = of(np.concatenate([part.transpose(back) for part in (first, *rest)], -1).transpose(forth))
    out, start = {}, 0
    for name, part in parts.items():
        out[name] = numbers[start:start + len(part)]
        start += len(part)
    return out


def quantiles(draws: np.ndarray) -> np.ndarray:
    """[..., L] at LEVELS of draws [..., S]; linear between order statistics at (k + ½) / S."""
    ordered, (below, above, share) = np.sort(draws, -1), _places(draws.shape[-1])
    low, high = ordered[..., below], ordered[..., above]
    return np.where(high > low, (high - low) * share + low, low)


@lru_cache(maxsize=16)
def _places(num: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[L] each: the order statistics below and above LEVELS, and where between them."""
    position = np.clip(np.array(LEVELS) * num - 0.5, 0, num - 1)
    below = position.astype(int)
    return below, np.minimum(below + 1, num - 1), position - below


def median(draws: np.ndarray) -> np.ndarray:
    """[...] of draws [..., S]; the number that `np.median` gives, in a fraction of its time."""
    half, odd = divmod(draws.shape[-1], 2)
    ordered = np.partition(draws, [half - 1 + odd, half], -1)  # both: numpy takes three times longer for one
    middle = ordered[..., half] if odd else (ordered[..., half - 1] + ordered[..., half]) / 2
    missing = np.isnan(ordered[..., half:].max(-1))  # they are sorted to the end
    return np.where(missing, np.nan, middle) if missing.any() else middle


def variances(samples: Sequence[Sample]) -> list[dict[str, float]]:
    """Of each sample's parts, by source."""
    out: list[dict[str, float]] = [{} for _ in samples]
    by_size: dict[int, list[tuple[int, str]]] = {}
    for index, sample in enumerate(samples):
        for name, part in sample.parts.items():
            by_size.setdefault(len(part), []).append((index, name))
    for places in by_size.values():
        found = np.var(np.stack([samples[index].parts[name] for index, name in places]), 1).tolist()
        for (index, name), variance in zip(places, found):
            out[index][name] = variance
    return out


@dataclass(frozen=True)
class Stated:
    """A sample in numbers: quantiles at LEVELS, and the variance of each of its parts."""

    levels: tuple[float, ...]
    variance: dict[str, float]


def summarise(samples: Sequence[Sample], scale: np.ndarray) -> list[Stated]:
    """All samples of a scene at once: one sort of all draws takes less than many."""
    if not samples:
        return []
    levels = quantiles(np.stack([s.draws * scale if s.scaled else s.draws for s in samples])).tolist()
    return [Stated(tuple(row), variance) for row, variance in zip(levels, variances(samples))]


def state(sample: Sample, stated: Stated, scale_sigma: float, *, kind: str, subjects: tuple[int, ...],
          span: tuple[int, int], unit: str, frame: str, reference: str) -> Quantity:
    """The Quantity of a sample; its value is the median of the draws."""
    levels = stated.levels
    if sample.magnitude:
        levels = tuple(0.0 if level < min(sample.p_zero, 0.5) else q for level, q in zip(LEVELS, levels))
    value = levels[len(levels) // 2]
    error = {name: stated.variance.get(name, 0.0) for name in SOURCES[:3]}
    error["scale"] = (value * scale_sigma) ** 2 if sample.scaled else 0.0
    return Quantity(kind, subjects, span, value, unit, frame, reference, levels, error, sample.p_zero, sample.extra)
