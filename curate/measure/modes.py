"""A smooth function under a Gaussian prior of unknown amplitude: its independent modes and what the data say of them.

Data y = basis · free + f + noise, f of covariance q · K. In the contrasts that do not see the basis, whitened by the
noise and turned so that K is diagonal, each mode is on its own, for every q at once. What q may be is weighed on a
grid by the marginal likelihood (Wecker & Ansley 1983) and drawn from there: one best amplitude would be too sure of
itself on a short clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GRID = 48  # amplitudes of the prior
BEYOND = 1e4  # the grid reaches this far past the variances at which the stiffest and the loosest mode give way


@dataclass(frozen=True)
class Modes:
    """
    Args:
        energy: [m], ascending, prior variance over noise variance at q = 1.
        contrast: [n, m], data to modes. to_data: [n, m], modes to data. coefficient: [m], of the data.
    """

    energy: np.ndarray
    contrast: np.ndarray
    to_data: np.ndarray
    coefficient: np.ndarray

    def evidence(self, power: float) -> tuple[np.ndarray, np.ndarray]:
        """Grid of q and the log of its posterior weights; the prior is flat in q to the `power`."""
        if not len(self.energy) or self.energy[-1] <= 0:
            return np.zeros(1), np.zeros(1)
        low = 1 / BEYOND / self.energy[-1]
        high = BEYOND / max(self.energy[0], 1e-12 * self.energy[-1])
        grid = np.geomspace(low, high, GRID)
        variance = 1 + grid[:, None] * self.energy
        log = -0.5 * (np.log(variance) + self.coefficient**2 / variance).sum(-1)
        return grid, log + power * np.log(grid) + np.log(np.log(high / low))


@dataclass(frozen=True)
class Contrasts:
    """Whitened data without the free part.

    Args:
        to_contrast: [n, m], data to contrasts, whose noise is white. to_data: [n, m], back.
    """

    to_contrast: np.ndarray
    to_data: np.ndarray

    @staticmethod
    def of(noise: np.ndarray, basis: np.ndarray) -> Contrasts:
        """
        Args:
            noise: [n, n], positive definite. basis: [n, k], what is free.
        """
        root = np.linalg.cholesky(noise)
        inverse_root = np.linalg.inv(root)
        q, _ = np.linalg.qr(inverse_root @ basis, mode="complete")
        free = q[:, basis.shape[1]:]
        return Contrasts(inverse_root.T @ free, root @ free)

    def modes(self, gram: np.ndarray, data: np.ndarray) -> Modes:
        """
        Args:
            gram: [m, m], the prior's covariance of the contrasts at q = 1. data: [n].
        """
        value, vector = np.linalg.eigh((gram + gram.T) / 2)
        contrast = self.to_contrast @ vector
        return Modes(np.clip(value, 0, None), contrast, self.to_data @ vector, contrast.T @ data)


def systematic(weight: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Indices [num] by weight, each with its share of the draws, in random order."""
    picks = np.searchsorted(np.cumsum(weight), (np.arange(num) + .5) / num * weight.sum())
    return rng.permutation(picks.clip(0, len(weight) - 1))
