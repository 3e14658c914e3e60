"""Sub-pixel refinement of a disparity by one-dimensional Lucas-Kanade steps, and how well the image fixes it."""

from __future__ import annotations

import cv2
import numpy as np

SMOOTH_PX = 1.0  # neighbours this far apart in disparity are taken for one surface
SMOOTH_BEFORE, SMOOTH_AFTER = 7, 7  # windows of the bilateral filters, px: costly, so no larger than it pays
FAR_PX = -1e4  # stands for unknown in the bilateral filter: no valid disparity is near it
# Grey levels² per px²: below it in texture the first disparity is trusted more than the image.
PRIOR = np.float32(1.0)
FLAT = np.float32(0.5)  # grey levels²: windows with less spread are flat


def refine_disparity(left: np.ndarray, right: np.ndarray, disparity: np.ndarray, valid: np.ndarray, window: int = 13,
                     steps: int = 2, max_change_px: float = 1.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss-Newton on the photometric error of each pixel's window, brightness offset removed (Lucas, Kanade 1981).

    Every pixel of the window is warped with its own disparity, so slanted surfaces stay slanted; pixels weigh
    less where the photometric error sets them apart. Changes are averaged over the window by how well the image
    fixes them. A bilateral filter before the first and after the last step takes out the stairs that semi-global
    matching leaves on slanted surfaces, and keeps edges. Sums over windows vary slowly and are taken on every second
    pixel of sums over 2 x 2.

    Args:
        left, right: [H, W] float32, grey.
        disparity: [H, W] float32 px, left minus right; finite everywhere.
        valid: [H, W] bool.
        window: side of the window, px, odd.
        max_change_px: a pixel that would move further keeps its first disparity and gets an infinite variance.

    Returns:
        disparity [H, W] float32 px, and its variance by the photometric residual over the curvature of the error
        (Cramér-Rao for white noise), [H, W] float32 px², inf where the image does not fix it, and the normalised
        correlation of the window with its match, [H, W] float32, -1..1.
    """
    grid_x = np.arange(left.shape[1], dtype=np.float32)[None]
    grid_y = np.repeat(np.arange(left.shape[0], dtype=np.float32)[:, None], left.shape[1], 1)
    slope_left, slope_right = slope_x(left), slope_x(right)
    known = valid.astype(np.float32)
    refined = smooth(disparity, valid, SMOOTH_PX, SMOOTH_BEFORE) if steps else disparity.copy()
    for step in range(max(steps, 1)):
        at = grid_x - refined
        # OpenCV's linear and cubic kernels blur or shift the phase (0.03 px of bias), which the last step must not
        kernel = cv2.INTER_LANCZOS4 if step >= steps - 1 else cv2.INTER_LINEAR
        warped = cv2.remap(right, at, grid_y, kernel, borderMode=cv2.BORDER_REPLICATE)
        slope_there = cv2.remap(slope_right, at, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        slope = 0.5 * (slope_left + slope_there)
        error = warped - left
        weight = robust_weight(error, known, window)
        total = window_mean(weight, window) + 1e-6

        def mean(weighted, total=total):
            return window_mean(weighted, window) / total

        weighted, weighted_error = weight * slope, weight * error
        mean_error, mean_slope = mean(weighted_error), mean(weighted)
        curvature = mean(weighted * slope) - mean_slope**2
        moment = mean(weighted * error) - mean_slope * mean_error
        if step < steps:
            change = np.clip(moment / (np.maximum(curvature, 0.05) + PRIOR), -0.5, 0.5)
            trust, half = total * (curvature + np.float32(0.5)), (half_window(window),) * 2
            refined += whole_size(cv2.boxFilter(trust * change, -1, half) / cv2.boxFilter(trust, -1, half), left.shape)
    if steps:
        refined = smooth(refined, valid, SMOOTH_PX, SMOOTH_AFTER)
    # what the two views have in common is texture; the noise of each has slopes too, which fix nothing
    weighted = weight * slope_left
    common = mean(weighted * slope_there) - mean(weighted) * mean(weight * slope_there)
    spread = mean(weighted_error * error) - mean_error**2
    spread -= moment**2 / np.maximum(curvature, 0.05)  # what the last step explains
    count = np.maximum(total * window**2, 1)
    variance = whole_size((np.maximum(spread, 0) + 0.25) / (np.maximum(common, 1e-3) * count), left.shape)
    lost = ~(np.abs(refined - disparity) <= max_change_px)
    refined[lost] = disparity[lost]
    variance[lost] = np.inf
    return refined, variance, correlation(left, warped, window)


def smooth(disparity: np.ndarray, valid: np.ndarray, range_px: float, size: int = 9) -> np.ndarray:
    """Bilateral filter of the valid disparities [H, W] float32; the others stay as they are."""
    filtered = cv2.bilateralFilter(np.where(valid, disparity, np.float32(FAR_PX)), size, range_px, size / 2.5)
    return np.where(valid, filtered, disparity)


def correlation(a: np.ndarray, b: np.ndarray, window: int) -> np.ndarray:
    """Normalised correlation [H, W] of the windows of two images [H, W] float32; 0 where both are flat."""
    mean_a, mean_b = window_mean(a, window), window_mean(b, window)
    together = window_mean(a * b, window) - mean_a * mean_b
    spread_a, spread_b = (np.maximum(window_mean(i * i, window) - m * m, FLAT) for i, m in ((a, mean_a), (b, mean_b)))
    return whole_size(together / np.sqrt(spread_a * spread_b), a.shape)


def half_window(window: int) -> int:
    """The odd window at half size that covers about `window` px."""
    return window // 2 // 2 * 2 + 1


def window_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Means over windows of an image [H, W] float32, about every second pixel: [H // 2, W // 2]."""
    height, width = (n // 2 for n in values.shape)
    small = cv2.resize(values[:2 * height, :2 * width], (width, height), interpolation=cv2.INTER_AREA)
    return cv2.boxFilter(small, -1, (half_window(window),) * 2)


def whole_size(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """[H // 2, W // 2] brought back to `shape` [H, W], linearly."""
    height, width = values.shape
    even = cv2.resize(values, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    return cv2.copyMakeBorder(even, 0, shape[0] - 2 * height, 0, shape[1] - 2 * width, cv2.BORDER_REPLICATE)


def slope_x(image: np.ndarray) -> np.ndarray:
    """Derivative along x, grey levels per pixel: five-point formula, exact to the fourth order."""
    kernel = np.array([[1, -8, 0, 8, -1]], np.float32) / 12
    return cv2.filter2D(image, cv2.CV_32F, kernel, borderType=cv2.BORDER_REPLICATE)


def robust_weight(error: np.ndarray, valid: np.ndarray, window: int) -> np.ndarray:
    """Cauchy weights of a photometric error [H, W], zero where not valid; scaled by the local mean deviation."""
    mean = cv2.boxFilter(error, -1, (window, window))
    deviation = np.abs(error - mean)
    scale = 2.5 * cv2.boxFilter(deviation, -1, (window, window)) + 2
    return valid / (1 + (deviation / scale) ** 2)


def local_step(values: np.ndarray, valid: np.ndarray, size: int = 5) -> np.ndarray:
    """Range of the valid values in a window, px: large at the edges of surfaces, small on them."""
    kernel = np.ones((size, size), np.uint8)
    big = np.float32(1e6)
    high = cv2.dilate(np.where(valid, values, -big), kernel)
    low = cv2.erode(np.where(valid, values, big), kernel)
    return np.where(high >= low, high - low, np.float32(0))
