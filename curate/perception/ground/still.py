"""Does the camera stand still? Told by the pictures: features of the background stay where they are."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

STILL_PX = 1.0  # how far a feature may be from its place
MIN_SHARE = 0.6  # of the features that are found again; the rest is of what moves
MIN_FOUND = 0.2  # of all: others are hidden by who walked there
MIN_FEATURES = 20
FEATURES = {"maxCorners": 400, "qualityLevel": 0.01, "minDistance": 8}
FLOW = {"winSize": (15, 15), "maxLevel": 3}
BACK_PX = 0.5


@dataclass(frozen=True)
class Stillness:
    """
    Args:
        share: least share, over the frames looked at, of the features found again that are where they were in the first
            frame; 0 where hardly any is found again.
        shake_px: root mean square of how far the picture as a whole is from its place.
        num_features: that could be looked for.
    """

    share: float
    shake_px: float
    num_features: int

    @property
    def is_still(self) -> bool:
        return self.num_features >= MIN_FEATURES and self.share >= MIN_SHARE

    @property
    def reason(self) -> str:
        """Why it is not taken to stand still."""
        if self.num_features < MIN_FEATURES:
            return f"{self.num_features} features in the first frame, at least {MIN_FEATURES} are needed to tell"
        return (f"only {self.share:.0%} of the features found again stay within {STILL_PX:g} px of their place, at "
                f"least {MIN_SHARE:.0%} are needed")


def stillness(grey: list[np.ndarray]) -> Stillness:
    """
    Args:
        grey: [H, W] uint8 frames spread over the clip, the first first.
    """
    first = cv2.goodFeaturesToTrack(grey[0], **FEATURES)
    if first is None or len(first) < MIN_FEATURES:
        return Stillness(0.0, float("nan"), 0 if first is None else len(first))
    shares, shakes = [], []
    for later in grey[1:]:
        there, found, _ = cv2.calcOpticalFlowPyrLK(grey[0], later, first, None, **FLOW)
        back, found_back, _ = cv2.calcOpticalFlowPyrLK(later, grey[0], there, None, **FLOW)
        move = (there - first)[:, 0]
        sure = (found[:, 0] > 0) & (found_back[:, 0] > 0) & (np.abs(back - first)[:, 0].max(-1) < BACK_PX)
        near = sure & (np.linalg.norm(move, axis=-1) < STILL_PX)
        shares.append(near.sum() / max(sure.sum(), 1) if near.mean() >= MIN_FOUND else 0.0)
        shakes.append(np.median(move[near], axis=0) if near.any() else np.zeros(2))
    return Stillness(float(min(shares)), float(np.sqrt((np.array(shakes) ** 2).sum(-1).mean())), len(first))
