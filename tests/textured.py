"""Smooth random textures that can be sampled anywhere, for closed-form image pairs."""

from __future__ import annotations

import cv2
import numpy as np

FINE = 4  # texture samples per pixel


class Texture:
    """A band-limited random pattern over `size` pixels (width, height) with a margin around it."""

    def __init__(self, size: tuple[int, int], seed: int, margin: int = 80, contrast: float = 40.0) -> None:
        width, height = ((s + 2 * margin) * FINE for s in size)
        noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
        fine = cv2.GaussianBlur(noise, (0, 0), 1.3 * FINE)
        coarse = cv2.GaussianBlur(noise, (0, 0), 5.0 * FINE)
        pattern = fine / fine.std() + 0.7 * coarse / coarse.std()
        self.pattern, self.margin = 120 + contrast * pattern, margin

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Grey levels at pixel positions (arrays of one shape)."""
        x, y = (np.float32((a + self.margin) * FINE) for a in np.broadcast_arrays(x, y))
        return cv2.remap(self.pattern, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixel positions x, y [H, W] of an image of (width, height)."""
    x, y = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    return x, y


def picture(values: np.ndarray, rng: np.random.Generator, noise: float = 1.0) -> np.ndarray:
    """Grey levels to uint8 with sensor noise."""
    return np.clip(np.rint(values + noise * rng.standard_normal(values.shape)), 0, 255).astype(np.uint8)
