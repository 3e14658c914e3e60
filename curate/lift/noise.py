"""Error of a region's mean disparity or flow: pixels are correlated, and a floor remains however many there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.data import calibration


@dataclass(frozen=True)
class DisparityNoise:
    """How the mean disparity (or flow, per axis) of a region errs, from the estimator's calibration: its variance is
    the pixels' median sigma² over `effective`, and `floor_px`².

    Args:
        correlation_px: number of neighbouring pixels that share one error (an area).
        floor_px: standard deviation of the region's mean that averaging over pixels does not lower.
        temporal_share: share of the floor's variance that stays the same from frame to frame.
    """

    correlation_px: float = 150.0
    floor_px: float = 0.05
    temporal_share: float = 0.5

    @staticmethod
    def of(filled_by: str) -> DisparityNoise:
        """Calibration of "name@version"; of the source itself, or of an unknown estimator: the default."""
        name, _, version = filled_by.partition("@")
        try:
            table = calibration(name, version)
        except KeyError:
            return DisparityNoise()
        default = DisparityNoise()
        return DisparityNoise(float(table.get("region_correlation_px", default.correlation_px)),
                              float(table.get("region_floor_px", default.floor_px)),
                              float(table.get("region_floor_temporal_share", default.temporal_share)))

    def effective(self, num_pixels: float) -> float:
        """Number of independent pixels among `num_pixels` of one region, at least one."""
        return max(1.0, num_pixels / self.correlation_px)

    @property
    def shared_px(self) -> float:
        return float(self.floor_px * np.sqrt(self.temporal_share))

    @property
    def own_px(self) -> float:
        return float(self.floor_px * np.sqrt(1 - self.temporal_share))
