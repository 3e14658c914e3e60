"""The error of one pixel from what the matcher itself knows of it; the coefficients are calibrated data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def sigma_px(model: Mapping[str, float], terms: Mapping[str, np.ndarray]) -> np.ndarray:
    """sigma² = floor² + Σ (coefficient² · term).

    Args:
        model: "floor_px" and a coefficient for each term (`curate.data.calibration`).
        terms: name to [H, W] px², float32.

    Returns:
        [H, W] px.
    """
    variance = np.float32(model["floor_px"] ** 2)
    for name, term in terms.items():
        variance = variance + np.float32(model[name] ** 2) * term
    return np.sqrt(variance)
