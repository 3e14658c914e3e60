"""Error of a region's mean disparity or flow: pixels are correlated, and a floor remains however many there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.data import calibration
from curate.perception.estimator import Field

SOURCE_FLOOR_SHARE = 0.5  # of a source's own sigma, that all pixels of a region are taken to share if it does not say


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
        """Calibration of "name@version"; of an unknown estimator: the default."""
        name, _, version = filled_by.partition("@")
        try:
            return DisparityNoise._from(calibration(name, version))
        except KeyError:
            return DisparityNoise()

    @staticmethod
    def of_field(field: Field) -> DisparityNoise:
        """Of a field as its source states it (`info["error_model"]`, entries as in the calibration), else by who filled
        it. A source that states a sigma alone has a floor in proportion to it: nothing is known of what pixels share,
        and pixels of a virtual rig have no size of their own."""
        if stated := field.info.get("error_model"):
            return DisparityNoise._from(stated)
        if field.filled_by != "source" or field.sigma is None:
            return DisparityNoise.of(field.filled_by)
        sigma = field.sigma[np.isfinite(field.sigma) & (True if field.valid is None else field.valid)]
        typical = float(np.median(sigma[:: max(1, len(sigma) // 100_000)])) if len(sigma) else 0.0
        return DisparityNoise(floor_px=SOURCE_FLOOR_SHARE * typical)

    @staticmethod
    def _from(table: dict[str, float]) -> DisparityNoise:
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
