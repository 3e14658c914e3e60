"""Does the image itself say that something moved? A flow that is wrong (a repeated pattern, a road without texture)
contradicts the camera's motion as a moving thing does; but then the picture fits the still world as well."""

from __future__ import annotations

import cv2
import numpy as np

NOISE_VARIANCE = 3.0  # grey levels²: sensor, compression, interpolation
FACTOR = 1.5  # by which the still world must fit worse


def fits_still(first: np.ndarray, second: np.ndarray, flowed: tuple[np.ndarray, np.ndarray],
               still: tuple[np.ndarray, np.ndarray], stride: int, window: int) -> np.ndarray:
    """[h, w] bool: cells whose surroundings look in the second image like the first about as well where a still world
    would put them as where the flow leads.

    Args:
        first, second: [H, W] uint8.
        flowed, still: (u, v) [h, w] px in the second image, by the flow and by the camera's motion alone.
        stride: cells are every `stride`-th pixel, from stride // 2 on.
        window: cells that are compared, odd; their mean brightness may differ.
    """
    here = np.ascontiguousarray(first[stride // 2::stride, stride // 2::stride]).astype(np.float32)
    size = (window, window)
    spread = []
    for u, v in (flowed, still):
        there = cv2.remap(second, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)
        difference = np.clip(here - there, -60, 60)
        mean = cv2.boxFilter(difference, -1, size)
        spread.append(cv2.boxFilter(difference * difference, -1, size) - mean * mean)
    return spread[1] < FACTOR * (spread[0] + NOISE_VARIANCE)
