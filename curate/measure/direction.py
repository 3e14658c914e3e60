"""Which way: the nearest of the named axes, how likely each name is, and how clear of the next one."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.geometry.rotations import angle_between

AXES_3D = {"right": (1, 0, 0), "left": (-1, 0, 0), "down": (0, 1, 0), "up": (0, -1, 0),
           "forward": (0, 0, 1), "backward": (0, 0, -1)}
AXES_2D = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}


def probabilities(draws: np.ndarray, axes: dict[str, tuple[int, ...]]) -> dict[str, float]:
    """Share of draws [S, d] whose dominant axis has each name."""
    names, matrix = list(axes), np.array(list(axes.values()), float)
    counts = np.bincount(np.argmax(matrix @ draws.T, 0), minlength=len(names))
    return {name: float(count / len(draws)) for name, count in zip(names, counts)}


def describe(mean: np.ndarray, draws: np.ndarray, axes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Extra fields of a direction.

    Returns:
        category: nearest axis. probabilities: by name. angle_to_axis: rad. axis_margin: rad, how much nearer it is
        than the second nearest.
    """
    share = probabilities(draws, axes)
    matrix = np.array(list(axes.values()), float)
    angles = np.arccos(np.clip(matrix @ mean / max(float(np.linalg.norm(mean)), 1e-300), -1, 1))
    order = np.argsort(angles, kind="stable")
    return {"category": list(axes)[order[0]], "probabilities": share, "angle_to_axis": float(angles[order[0]]),
            "axis_margin": float(angles[order[1]] - angles[order[0]])}


def angular_error(mean: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Angles [S] between draws [S, d] and their mean, radians; d is 2 or 3."""
    if mean.shape[-1] == 2:
        cross = mean[0] * draws[:, 1] - mean[1] * draws[:, 0]
        return np.abs(np.arctan2(cross, draws @ mean))
    return angle_between(draws, mean)
