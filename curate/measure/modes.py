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
PLACES = np.linspace(0, 1, GRID)  # of them, in the logarithm
BEYOND = 1e4  # the grid reaches this far past the variances at which the stiffest and the loosest mode give way


@dataclass(frozen=True)
class Modes:
    """
    Args:
        energy: [m], ascending, prior variance over noise variance at q = 1.
        contrast: [n, m], data to modes. to_data: [n, m], modes to data. coefficient: [m], of the data.
        turn: [m, m] orthonormal, modes to contrasts. White noise is drawn in contrasts and turned, so that a draw does
            not depend on which of a mode's two signs, or which basis of equal modes, rounding has chosen.
    """

    energy: np.ndarray
    contrast: np.ndarray
    to_data: np.ndarray
    coefficient: np.ndarray
    turn: np.ndarray

    def evidence(self, power: float) -> tuple[np.ndarray, np.ndarray]:
        """Grid of q and the log of its posterior weights; the prior is flat in q to the `power`."""
        if not len(self.energy) or self.energy[-1] <= 0:
            return np.zeros(1), np.zeros(1)
        low = 1 / BEYOND / self.energy[-1]
        high = BEYOND / max(self.energy[0], 1e-12 * self.energy[-1])
        width = np.log(high / low)
        log_grid = np.log(low) + width * PLACES
        grid = np.exp(log_grid)
        variance = 1 + grid[:, None] * self.energy
        log = -0.5 * (np.log(variance) + self.coefficient**2 / variance).sum(-1)
        return grid, log + power * log_grid + np.log(width)


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
        return Modes(np.clip(value, 0, None), contrast, self.to_data @ vector, contrast.T @ data, vector)


def systematic(weight: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Indices [num] by weight, each with its share of the draws, in random order."""
    total = np.cumsum(weight)
    upto = np.ceil(total * (num / total[-1]) - 0.5)  # how many of the places (n + ½) / num lie below each sum
    return rng.permutation(np.repeat(np.arange(len(weight)), np.diff(upto, prepend=0).astype(int)))
