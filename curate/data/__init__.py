"""Data that comes with the package: calibrations of estimators' errors."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources
from typing import Any


@lru_cache(maxsize=1)
def _calibrations() -> dict[str, dict[str, Any]]:
    return json.loads((resources.files(__name__) / "calibration.json").read_text("utf-8"))


def calibration(name: str, version: str) -> dict[str, Any]:
    """Coefficients of an estimator's error model, fitted by `benchmarks/calibrate.py`.

    Returns:
        a fresh dict; besides the estimator's own coefficients (pixels):
        `region_correlation_px` pixels of a region that share one error (area),
        `region_floor_px` error of a region's mean that no number of pixels removes,
        `region_floor_temporal_share` the share (0..1) of that floor's variance that stays from frame to frame:
        sigma_region² = sigma_px² · region_correlation_px / N + region_floor_px², with the pixels' median sigma.

    Raises:
        KeyError: where this version has not been calibrated; its fields carry no metric sigma then.
    """
    key = f"{name}@{version}"
    table = _calibrations()
    if key not in table:
        raise KeyError(f"{key} is not calibrated (calibrated: {', '.join(sorted(table))}); "
                       f"run `python -m benchmarks.calibrate`")
    return dict(table[key])
