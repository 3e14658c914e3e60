"""Quantity: one measured value of a scene, with the distribution of its error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

LEVELS = (0.005, 0.025, 0.10, 0.25, 0.50, 0.75, 0.90, 0.975, 0.995)


def plain_copy(value: Any) -> Any:
    """A list's or dict's copy; anything else itself."""
    return value.copy() if isinstance(value, (list, dict)) else value


@dataclass(frozen=True)
class Quantity:
    """A value and its error.

    Args:
        kind: family of measurement ("object_displacement", ...).
        subjects: ids of the regions it speaks of; empty for the camera alone.
        span: (first, last) frame index in the clip; equal for an instant.
        value: in `unit` (m, s, m/s, rad, px); a vector for directions.
        frame: the axes it is expressed in: "world", "camera@i", "image".
        reference: "surface@t0", "cuboid centre", "box-centre", "nearest", or "camera-centre".
        quantiles: of the value at LEVELS; for a direction, of its angular error in radians.
        error: variance split by source: {"own", "pose", "rig", "scale"} in unit².
        p_zero: p-value of "the underlying vector is zero" (chi-square), nan where not meant.
        extra: further numbers a family needs (option probabilities, components), JSON-serialisable.
    """

    kind: str
    subjects: tuple[int, ...]
    span: tuple[int, int]
    value: Any
    unit: str
    frame: str
    reference: str
    quantiles: tuple[float, ...]
    error: dict[str, float]
    p_zero: float = float("nan")
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def interval95(self) -> tuple[float, float]:
        return self.quantiles[1], self.quantiles[7]

    @property
    def half_width(self) -> float:
        low, high = self.interval95
        return (high - low) / 2

    @property
    def relative_half_width(self) -> float:
        scale = float(np.linalg.norm(self.value))
        return self.half_width / scale if scale > 0 else float("inf")

    def to_json(self) -> dict[str, Any]:
        """Every field by name; containers are copied one level deep (`asdict` takes longer than all the rest)."""
        return {name: plain_copy(value) for name, value in vars(self).items()}
