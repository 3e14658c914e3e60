"""TrackPoints: the points of one frame that are followed over the clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TrackPoints:
    """Points matched in one frame; a point that is not matched there (occluded, left) is absent.

    Args:
        ids: [N] int64, the same physical point in every frame.
        region: [N] int16 id of the region the point started in, 0 = background.
        uv: [N, 2] pixels in view 0.
        uv_sigma: [N] pixels per axis.
        disparity: [N] pixels, nan where it could not be measured.
        disparity_sigma: [N] pixels.
    """

    ids: np.ndarray
    region: np.ndarray
    uv: np.ndarray
    uv_sigma: np.ndarray
    disparity: np.ndarray
    disparity_sigma: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, region: int) -> TrackPoints:
        return self[self.region == region]

    def __getitem__(self, index) -> TrackPoints:
        return TrackPoints(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @staticmethod
    def empty() -> TrackPoints:
        return TrackPoints(np.zeros(0, np.int64), np.zeros(0, np.int16), np.zeros((0, 2)), np.zeros(0), np.zeros(0),
                           np.zeros(0))

    @staticmethod
    def join(parts: list[TrackPoints]) -> TrackPoints:
        parts = [p for p in parts if len(p)]
        if not parts:
            return TrackPoints.empty()
        return TrackPoints(*(np.concatenate([getattr(p, name) for p in parts])
                             for name in TrackPoints.__dataclass_fields__))
