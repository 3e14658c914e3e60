"""Pictures of what is perceived: depth, flow and motion, predicted under true, frame beside frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

UNKNOWN = 60  # grey of what is not known
GAP, LEAST_SIDE = 2, 96
# Anchors of the colour map of depths, near to far (viridis reversed, ten of its colours)
_NEAR_TO_FAR = np.array([[253, 231, 37], [180, 222, 44], [109, 205, 89], [53, 183, 121], [31, 158, 137], [38, 130, 142],
                         [49, 104, 142], [62, 73, 137], [72, 40, 120], [68, 1, 84]], float)


def depth_picture(depth_m: np.ndarray, near: float, far: float) -> np.ndarray:
    """uint8 [h, w, 3] of depth [h, w], metres: yellow near, violet far, by logarithm; grey where unknown or <= 0."""
    valid = np.isfinite(depth_m) & (depth_m > 0)
    log = np.log(np.where(valid, depth_m, near))
    share = np.clip((log - np.log(near)) / max(np.log(far) - np.log(near), 1e-6), 0, 1)
    at = share * (len(_NEAR_TO_FAR) - 1)
    colour = np.stack([np.interp(at, np.arange(len(_NEAR_TO_FAR)), _NEAR_TO_FAR[:, c]) for c in range(3)], -1)
    return _with_unknown(colour, valid)


def flow_picture(flow: np.ndarray, largest: float) -> np.ndarray:
    """uint8 [h, w, 3] of flow [h, w, 2] in pixels: hue is direction, white is none, full colour is `largest`."""
    valid = np.isfinite(flow).all(-1)
    x, y = np.moveaxis(np.where(valid[..., None], flow, 0.0), -1, 0)
    hue, strength = np.arctan2(y, x) / (2 * np.pi) % 1, np.clip(np.hypot(x, y) / max(largest, 1e-6), 0, 1)
    # HSV to RGB at full value: each channel falls from 1 by the saturation where the hue is far from it
    far = np.clip(np.abs((hue[..., None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return _with_unknown(255 * (1 - strength[..., None] * (1 - far)), valid)


def motion_picture(moving: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3] of the chance 0..1 [h, w] that a point moves in 3D: black still, orange moving."""
    valid = np.isfinite(moving)
    return _with_unknown(np.clip(np.where(valid, moving, 0), 0, 1)[..., None] * np.array([255, 150, 20]), valid)


def _with_unknown(colour: np.ndarray, valid: np.ndarray) -> np.ndarray:
    return np.where(valid[..., None], colour, UNKNOWN).round().astype(np.uint8)


def picture(frames: np.ndarray, true: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray],
            max_frames: int = 6) -> np.ndarray:
    """One picture of a clip: a row of frames, then for each signal a row of what is true and one of what is predicted,
    in the same colours.

    Args:
        frames: [N, H, W, 3] uint8.
        true, predicted: "depth" [N, h, w, 1] metres, "flow" [N, h, w, 2] pixels, "motion" [N, h, w, 1]; nan is
            unknown. Others are passed over.

    Returns:
        uint8 [rows, columns, 3].
    """
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(max_frames, len(frames))).round().astype(int))
    rows = [[frames[i] for i in chosen]]
    for name in ("depth", "flow", "motion"):
        if name in true and name in predicted:
            draw = _drawer(name, true[name][chosen])
            rows += [[draw(values[i]) for i in chosen] for values in (true[name], predicted[name])]
    height = max(LEAST_SIDE, frames.shape[1])
    width = round(height * frames.shape[2] / frames.shape[1])
    return np.concatenate([np.concatenate([_framed(tile, height, width) for tile in row], 1) for row in rows], 0)


def _drawer(name: str, true: np.ndarray):
    """Draws in colours that span what is true."""
    known = true[np.isfinite(true).all(-1)]
    if name == "depth":
        known = known[known > 0]
        near, far = np.percentile(known, [2, 98]) if known.size else (1.0, 10.0)
        return lambda values: depth_picture(values[..., 0], near, far)
    if name == "flow":
        largest = float(np.percentile(np.linalg.norm(known, axis=-1), 95)) if known.size else 1.0
        return lambda values: flow_picture(values, largest)
    return lambda values: motion_picture(values[..., 0])


def _framed(tile: np.ndarray, height: int, width: int) -> np.ndarray:
    """A tile at the common size (nearest neighbour), with a margin on the right and below."""
    y = np.arange(height) * tile.shape[0] // height
    x = np.arange(width) * tile.shape[1] // width
    return np.pad(tile[y][:, x], ((0, GAP), (0, GAP), (0, 0)))
