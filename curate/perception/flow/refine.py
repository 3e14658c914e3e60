"""Refinement of a dense flow by Lucas-Kanade steps, and how well the image fixes it."""

from __future__ import annotations

import cv2
import numpy as np

from curate.perception.depth.refine import (
    correlation,
    half_window,
    robust_weight,
    slope_x,
    whole_size,
    window_mean,
)

# Grey levels² per px²: the image's noise over the spread of the first flow's errors (1.5 grey levels over a window
# of some ten independent pixels, 0.1 px). Below it in texture the first flow is trusted more than the image.
PRIOR = np.float32(20)


def refine_flow(first: np.ndarray, second: np.ndarray, flow: np.ndarray, valid: np.ndarray, window: int = 13,
                steps: int = 1, max_change_px: float = 0.75) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss-Newton on the photometric error of each pixel's window, brightness offset removed (Lucas, Kanade 1981).

    Every pixel of the window is warped with its own flow, so that the step corrects the flow and does not
    flatten it. A prior keeps the flow where the image does not fix it (aperture problem). The change is
    averaged over the window: it takes out the bias of the flow, and adds little noise of its own. Sums over windows
    vary slowly and are taken on every second pixel of sums over 2 x 2.

    Args:
        first, second: [H, W] float32, grey.
        flow: [H, W, 2] float32 px from first to second.
        valid: [H, W] bool.
        max_change_px: a pixel that would move further keeps its first flow and gets an infinite variance.

    Returns:
        flow [H, W, 2] float32 px, and its variance per axis (mean of the two), photometric residual times the
        inverse structure tensor (Cramér-Rao for white noise), [H, W] float32 px², and the normalised correlation of
        the window with where the flow leads, [H, W] float32, -1..1.
    """
    height, width = first.shape
    grid = np.empty((height, width, 2), np.float32)
    grid[..., 0], grid[..., 1] = np.arange(width)[None], np.arange(height)[:, None]
    slopes_first = (slope_x(first), slope_y(first))
    slopes_second = (slope_x(second), slope_y(second))
    refined = flow.copy()
    known = valid.astype(np.float32)
    for step in range(max(steps, 1)):
        at = grid + refined
        # OpenCV's cubic kernel shifts the phase, which would bias the flow by 0.03 px
        warped = cv2.remap(second, at, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
        error = first - warped
        gx, gy = (0.5 * (own + cv2.remap(other, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
                  for own, other in zip(slopes_first, slopes_second, strict=True))
        weight = robust_weight(error, known, window)
        wx, wy, we = weight * gx, weight * gy, weight * error
        total = window_mean(weight, window) + 1e-6

        def mean(weighted, total=total):
            return window_mean(weighted, window) / total

        me, mx, my = mean(we), mean(wx), mean(wy)
        a, b, c = mean(wx * gx) - mx * mx, mean(wx * gy) - mx * my, mean(wy * gy) - my * my
        ex, ey = mean(wx * error) - mx * me, mean(wy * error) - my * me
        determinant = (a + PRIOR) * (c + PRIOR) - b * b
        dx, dy = ((c + PRIOR) * ex - b * ey) / determinant, ((a + PRIOR) * ey - b * ex) / determinant
        if step < steps:
            half = (half_window(window),) * 2
            around = cv2.boxFilter(total, -1, half)
            for axis, change in enumerate((dx, dy)):
                change = cv2.boxFilter(total * np.clip(change, -0.5, 0.5), -1, half) / around
                refined[..., axis] += whole_size(change, first.shape)
    spread = mean(we * error) - me * me - (dx * ex + dy * ey)
    count = np.maximum(total * window**2, 1)
    a, c = a + 0.05, c + 0.05
    variance = (np.maximum(spread, 0) + 0.25) * (a + c) / (2 * np.maximum(a * c - b * b, 1e-6) * count)
    variance = whole_size(variance, first.shape)
    change = refined - flow
    lost = ~(change[..., 0] ** 2 + change[..., 1] ** 2 <= max_change_px**2)
    refined[lost] = flow[lost]
    variance[lost] = np.inf
    return refined, variance, correlation(first, warped, window)


def slope_y(image: np.ndarray) -> np.ndarray:
    """Derivative along y, grey levels per pixel, as `slope_x`."""
    kernel = np.array([[1, -8, 0, 8, -1]], np.float32).T / 12
    return cv2.filter2D(image, cv2.CV_32F, kernel, borderType=cv2.BORDER_REPLICATE)
