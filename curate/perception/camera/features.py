"""Corner features of a stereo sequence: found on a grid, tracked from frame to frame, matched left to right.

Each feature keeps the small grey patch in which it was first seen (its *template*). A frame-to-frame track only
says where to look; the position is then that of the template, so errors do not add up from frame to frame and
a still camera sees still features. The template is resized as its surface comes nearer or goes farther; beyond
what it bears, the feature begins anew with a fresh template and a fresh identity.
"""

from __future__ import annotations

import cv2
import numpy as np

LK = {"criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.005), "minEigThreshold": 1e-5}
TRACK_WINDOW, TEMPLATE_WINDOW, STEREO_WINDOW = (21, 21), (17, 17), (17, 17)
TILE = 23  # side of a template as matched: the window, its gradient and its interpolation border
PATCH = 31  # side of a template as kept: room to shrink it to three quarters
MIN_SCALE, MAX_SCALE = 0.75, 1.5  # of a template, before it is renewed
LEVELS = 4
FORWARD_BACKWARD_PX = 0.5
EPIPOLAR_PX = 1.0
MIN_CORRELATION = 0.7
MIN_PEAK_GAP = 0.03  # best correlation minus the best elsewhere on the row
BORDER = 14


def corner_strength(image: np.ndarray) -> np.ndarray:
    """[H, W] smaller eigenvalue of the mean squared gradient over the tracking window, (grey levels/px)²."""
    size = TEMPLATE_WINDOW[0]
    # cv2 scales Sobel (8 times the gradient) by 1 / (4 · size · 255) and sums over the window of size² pixels
    return cv2.cornerMinEigenVal(image, size, 3) * (255.0**2 / 4)


def localisation_sigma(strength: np.ndarray, grey_noise: float) -> np.ndarray:
    """Error of a matched position from image noise in both images, px: σ² = 2 σ_grey² / (n λ_min)."""
    return grey_noise * np.sqrt(2 / (TEMPLATE_WINDOW[0] ** 2 * np.maximum(strength, 1e-6)))


def detect(image: np.ndarray, existing: np.ndarray, num_features: int, grey_noise: float) -> tuple[
        np.ndarray, np.ndarray]:
    """New corners that fill the grid's cells up to their share, away from `existing` [N, 2].

    Returns:
        positions [M, 2] float px (whole pixels) and strengths [M].
    """
    height, width = image.shape
    cell = max(16.0, np.sqrt(height * width / max(num_features / 4, 1)))  # about four features a cell
    num_x, num_y = max(1, round(width / cell)), max(1, round(height / cell))
    capacity = max(1, round(num_features / (num_x * num_y)))
    strength = corner_strength(image)
    # corners rather than edges: strongest over a small block, localised by a small gradient window
    sharp = cv2.cornerMinEigenVal(image, 5, 3)
    radius = max(3, int(cell / 6))
    peak = sharp == cv2.dilate(sharp, np.ones((2 * radius + 1,) * 2, np.uint8))
    enough = strength > (grey_noise / 0.35) ** 2 * 2 / TEMPLATE_WINDOW[0] ** 2  # at most 0.35 px of noise
    peak &= enough
    peak[:BORDER], peak[-BORDER:], peak[:, :BORDER], peak[:, -BORDER:] = False, False, False, False
    if len(existing):
        near = np.zeros(image.shape, np.uint8)
        at = np.clip(np.rint(existing).astype(int), 0, [width - 1, height - 1])
        near[at[:, 1], at[:, 0]] = 1
        peak &= cv2.dilate(near, np.ones((2 * radius + 1,) * 2, np.uint8)) == 0
    y, x = np.nonzero(peak)
    if not len(x):
        return np.zeros((0, 2), np.float32), np.zeros(0)

    def cell_of(px, py):
        return (py * num_y // height).astype(int) * num_x + (px * num_x // width).astype(int)

    which = cell_of(x, y)
    room = np.full(num_x * num_y, capacity)
    if len(existing):
        inside = np.clip(existing, 0, [width - 1, height - 1])
        room -= np.bincount(cell_of(inside[:, 0], inside[:, 1]), minlength=len(room))[:len(room)]
    order = np.lexsort((-sharp[y, x], which))
    first = np.searchsorted(which[order], np.arange(len(room)))
    rank = np.arange(len(order)) - first[which[order]]
    keep = order[rank < room[which[order]]]
    return np.stack([x[keep], y[keep]], -1).astype(np.float32), strength[y[keep], x[keep]].astype(float)


def track(before: np.ndarray, after: np.ndarray, points: np.ndarray, guess: np.ndarray) -> tuple[
        np.ndarray, np.ndarray]:
    """Positions [N, 2] in the next left image, and which came back to their start."""
    if not len(points):
        return np.zeros((0, 2), np.float32), np.zeros(0, bool)
    p, g = np.ascontiguousarray(points, np.float32), np.ascontiguousarray(guess, np.float32).copy()
    flags = cv2.OPTFLOW_USE_INITIAL_FLOW
    there, ok, _ = cv2.calcOpticalFlowPyrLK(before, after, p, g, winSize=TRACK_WINDOW, maxLevel=LEVELS,
                                            flags=flags, **LK)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, p.copy(), winSize=TRACK_WINDOW,
                                                maxLevel=1, flags=flags, **LK)
    good = (ok[:, 0] > 0) & (ok_back[:, 0] > 0) & (np.linalg.norm(back - p, axis=-1) < FORWARD_BACKWARD_PX)
    return there, good & _inside(there, after.shape)


def cut_templates(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patches [N, PATCH, PATCH] uint8 around positions [N, 2], and where in it each lies (its sub-pixel rest)."""
    half = PATCH // 2
    padded = cv2.copyMakeBorder(image, half, half, half, half, cv2.BORDER_REPLICATE)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (PATCH, PATCH))
    whole = np.clip(np.rint(points).astype(int), 0, [image.shape[1] - 1, image.shape[0] - 1])
    return windows[whole[:, 1], whole[:, 0]].copy(), (points - whole).astype(np.float32)


def template_capacity(shape: tuple[int, int]) -> int:
    """How many templates fit the picture they are matched from."""
    return (shape[0] // TILE) * (shape[1] // TILE)


def match_templates(patches: np.ndarray, rest: np.ndarray, scale: np.ndarray, image: np.ndarray,
                    guess: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each template lies in `image`, and whether it was found there.

    The templates, resized, are laid out as a picture of the image's size, so that one call of the tracker does
    them all.

    Args:
        patches, rest: from `cut_templates`.
        scale: [N] size of the surface now over its size in the patch.
        guess: [N, 2] px, where to look; reach: [N] px, how far from there it may be.
    """
    if not len(patches):
        return np.zeros((0, 2), np.float32), np.zeros(0, bool)
    rows, columns = image.shape[0] // TILE, image.shape[1] // TILE
    index = np.arange(len(patches))
    at = np.stack([index % columns, index // columns], -1) * TILE
    tiles = np.zeros((rows * columns, TILE, TILE), np.uint8)
    tiles[:len(patches)] = _resized(patches, rest, scale)
    picture = np.zeros(image.shape, np.uint8)
    picture[:rows * TILE, :columns * TILE] = tiles.reshape(rows, columns, TILE, TILE).transpose(0, 2, 1, 3).reshape(
        rows * TILE, columns * TILE)
    start, guess = (at + TILE // 2).astype(np.float32), np.ascontiguousarray(guess, np.float32)
    found, ok, _ = cv2.calcOpticalFlowPyrLK(picture, image, start, guess.copy(), winSize=TEMPLATE_WINDOW, maxLevel=0,
                                            flags=cv2.OPTFLOW_USE_INITIAL_FLOW, **LK)
    return found, (ok[:, 0] > 0) & (np.linalg.norm(found - guess, axis=-1) < reach) & _inside(found, image.shape)


def _resized(patches: np.ndarray, rest: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Patches about their features, `scale` times as large: [N, TILE, TILE] with the feature in the middle."""
    offset = (np.arange(TILE) - TILE // 2) / scale[:, None]
    x, y = (np.clip(offset + rest[:, k, None] + PATCH // 2, 0, PATCH - 1 - 1e-4) for k in (0, 1))
    x += (np.arange(len(patches)) % 32 * PATCH)[:, None]  # 32 patches side by side
    y += (np.arange(len(patches)) // 32 * PATCH)[:, None]
    rows = -(-len(patches) // 32)
    sheet = np.zeros((rows * 32, PATCH, PATCH), np.uint8)
    sheet[:len(patches)] = patches
    sheet = sheet.reshape(rows, 32, PATCH, PATCH).transpose(0, 2, 1, 3).reshape(rows * PATCH, 32 * PATCH)
    map_x = np.broadcast_to(x[:, None, :], (len(patches), TILE, TILE)).reshape(-1, TILE)
    map_y = np.broadcast_to(y[:, :, None], (len(patches), TILE, TILE)).reshape(-1, TILE)
    return cv2.remap(sheet, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR).reshape(
        -1, TILE, TILE)


def match_right(left: np.ndarray, right: np.ndarray, points: np.ndarray, guess: np.ndarray) -> tuple[
        np.ndarray, np.ndarray]:
    """Disparity [N] of left positions [N, 2] near a guess [N], and which are matched both ways on the row."""
    if not len(points):
        return np.zeros(0), np.zeros(0, bool)
    p = np.ascontiguousarray(points, np.float32)
    start = p.copy()
    start[:, 0] -= guess
    flags = cv2.OPTFLOW_USE_INITIAL_FLOW
    there, ok, _ = cv2.calcOpticalFlowPyrLK(left, right, p, start, winSize=STEREO_WINDOW, maxLevel=1,
                                            flags=flags, **LK)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(right, left, there, p.copy(), winSize=STEREO_WINDOW,
                                                maxLevel=0, flags=flags, **LK)
    good = ((ok[:, 0] > 0) & (ok_back[:, 0] > 0) & (np.abs(there[:, 1] - p[:, 1]) < EPIPOLAR_PX)
            & (np.linalg.norm(back - p, axis=-1) < FORWARD_BACKWARD_PX))
    good &= _inside(there, right.shape, 4) & (np.linalg.norm(there - start, axis=-1) < 4.0)
    return (p[:, 0] - there[:, 0]).astype(float), good


def search_right(left: np.ndarray, right: np.ndarray, points: np.ndarray, min_disparity: float,
                 max_disparity: float) -> np.ndarray:
    """Disparity [N] to about a pixel by correlation along the row at half size; nan where not unique.

    Args:
        left, right: [H, W] uint8.
        points: [N, 2] px in the left image.
    """
    small_left, small_right = (cv2.resize(i, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for i in (left, right))
    half, slack = 5, 1
    out = np.full(len(points), np.nan)
    height, width = small_left.shape
    for i, (u, v) in enumerate(np.rint((points + 0.5) / 2 - 0.5).astype(int)):
        x0 = max(half, int(u - max_disparity / 2))
        x1 = min(width - half - 1, int(np.ceil(u - min_disparity / 2)) + 1)
        if v < half + slack or v >= height - half - slack or u < half or u >= width - half or x1 - x0 < 4:
            continue
        patch = small_left[v - half:v + half + 1, u - half:u + half + 1]
        strip = small_right[v - half - slack:v + half + slack + 1, x0 - half:x1 + half + 1]
        score = cv2.matchTemplate(strip, patch, cv2.TM_CCOEFF_NORMED).max(0)
        best = int(score.argmax())
        elsewhere = np.concatenate([score[:max(best - 3, 0)], score[best + 4:]])
        if score[best] < MIN_CORRELATION or (len(elsewhere) and score[best] - elsewhere.max() < MIN_PEAK_GAP):
            continue
        shift = 0.0
        if 0 < best < len(score) - 1:
            a, b, c = score[best - 1:best + 2]
            shift = 0.5 * (a - c) / min(a - 2 * b + c, -1e-6)
        out[i] = 2 * (u - (x0 + best + shift))
    return out


def _inside(points: np.ndarray, shape: tuple[int, int], border: int = 8) -> np.ndarray:
    return ((points >= border) & (points < np.array([shape[1] - border, shape[0] - border]))).all(-1)
