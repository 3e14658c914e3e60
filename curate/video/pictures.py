"""Pictures brought to another size."""

from __future__ import annotations

import numpy as np


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Mean of the covered pixels where it shrinks, linear where it grows.

    Args:
        image: [H, W, 3] uint8.

    Returns:
        [height, width, 3] uint8.
    """
    import cv2

    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
