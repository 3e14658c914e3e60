"""Errors that stay at a place of the image: covariance of an estimate where they are counted once."""

from __future__ import annotations

import numpy as np

COLUMNS = 8


def cells(uv: np.ndarray, width: int) -> np.ndarray:
    """[m] number of the square of an eighth of the width in which a position [m, 2] px lies."""
    at = np.floor(uv / (width / COLUMNS)).astype(int)
    return np.unique(at, axis=0, return_inverse=True)[1].ravel()


def clustered(inverse: np.ndarray, scores: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Sandwich covariance [k, k] of an M-estimate whose scores [m, k] agree within clusters [m] (Liang and Zeger,
    Biometrika 1986), never below that of single scores.

    Args:
        inverse: [k, k] inverse of the estimate's information.
    """
    k = scores.shape[1]
    num = int(cluster.max()) + 1
    sums = np.stack([np.bincount(cluster, scores[:, j], num) for j in range(k)], -1)
    used = max(int((np.abs(sums).sum(-1) > 0).sum()), 2)
    together = inverse @ (sums.T @ sums * used / (used - 1)) @ inverse
    alone = inverse @ (scores.T @ scores) @ inverse
    short = np.clip(np.diag(alone) - np.diag(together), 0, None)
    return together + np.diag(short)
