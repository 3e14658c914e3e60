"""May it be asked? Every refusal is a record with its reason."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from curate.measure.quantity import Quantity

NOT_METRIC = "the scene's scale is not metric"
NOT_VISIBLE = "not visible in the marked frame"
NOT_KNOWN = "region unknown to the scene"
NOT_FINITE = "no finite value"
STILL = "not clear of zero"
WIDE = "95 % interval too wide for a number"
UNCERTAIN = "category not certain"
CROWDED = "options would not stand clear of the error"

METRIC_SCALES = ("calibrated", "predicted", "assumed")


@dataclass(frozen=True)
class Dropped:
    """A question that is not asked. `reason` is one of a few fixed texts, so that reasons can be counted."""

    family: str
    subjects: tuple[int, ...]
    reason: str
    form: str = ""
    span: tuple[int, int] = (0, 0)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def moves(quantity: Quantity, max_p_zero: float) -> bool:
    """False where the vector may be zero; an unknown p-value (nan) means that zero is not a question."""
    return not quantity.p_zero > max_p_zero


def category(quantity: Quantity, vocabulary: tuple[str, ...], min_confidence: float) -> str | None:
    """The category whose share of the quantity's draws is large enough, or None.

    Raises:
        ValueError: where the quantity carries a category that the family cannot name.
    """
    shares = quantity.extra["probabilities"]
    if unknown := set(shares) - set(vocabulary):
        raise ValueError(f"{quantity.kind} has categories {sorted(unknown)}; the family names {vocabulary}")
    best = max(sorted(shares), key=lambda name: shares[name])
    # compared in draws' units of 1e-6, so that a share such as 0.99 is the same on every machine
    return best if round(shares[best], 6) >= min_confidence else None


def option_gap(value: float, quantiles: tuple[float, ...]) -> float:
    """Least log-ratio between options, so that a truth anywhere in the 99.5 % interval stays nearest to its option,
    by difference as by ratio; inf where none will do.

    Args:
        value: the rounded answer, positive. quantiles: at LEVELS, in the same unit.
    """
    low, high = min(quantiles[0], value) / value, max(quantiles[8], value) / value
    if low <= 0.5:
        return math.inf
    return max(2 * math.log(high), -math.log(2 * low - 1))
