"""Random numbers in strata: of the draws of one number each comes from another part of its distribution, of equal
probability (Latin hypercube sampling, McKay, Beckman & Conover 1979). No estimate is the worse for it, and what hangs
on few numbers is far better known.

Draws are used with their mirror images, so the strata of the two interleave. The orders are taken from a table of
random permutations, each begun anywhere: making a permutation or a normal number takes ten times longer than a copy.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import numpy as np

ORDERS = 1 << 18  # numbers in the table
FEWEST = 16  # draws; fewer are no sample of a distribution: plain random numbers


@lru_cache(maxsize=4)
def _orders(half: int) -> np.ndarray:
    """[K, half, half]: (order, begin) -> standard normals in that order; not to be written to.

    The normals are quantiles at (n + ¼) / half, or mirrored, scaled to unit variance.
    """
    values = np.array([NormalDist().inv_cdf((n + 0.25) / half) for n in range(half)])
    values /= np.sqrt((values**2).mean())
    rng = np.random.default_rng(half)
    num = max(ORDERS // half, 64)
    table = np.tile(np.stack([values, -values]), ((num + 1) // 2, 1))
    table = rng.permuted(table, axis=1)
    twice = np.concatenate([table, table[:, :-1]], 1)
    return np.lib.stride_tricks.sliding_window_view(twice, half, axis=1)


def stratified_normals(rng: np.random.Generator, num: int, half: int) -> np.ndarray:
    """[num, half] standard normals; each row in strata together with its mirror image, rows independent.

    Args:
        rng: where the orders are taken from.
        half: draws, without their mirror images.
    """
    if half < FEWEST:
        return rng.standard_normal((num, half))
    orders = _orders(half)
    rows = (rng.integers(len(orders)) + np.arange(num)) % len(orders)
    return orders[rows, rng.integers(half, size=num)]


@lru_cache(maxsize=4)
def _tail_sizes(half: int) -> np.ndarray:
    """[half] ascending √(2 / χ²₄) at the middles of `half` strata; P(χ²₄ > 2h) = e⁻ʰ (1 + h)."""
    target = (np.arange(half) + 0.5) / half
    low, high = np.zeros(half), np.full(half, 64.0)
    for _ in range(60):
        middle = (low + high) / 2
        above = np.exp(-middle) * (1 + middle) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return 1 / np.sqrt(high)


def stratified_tails(rng: np.random.Generator, half: int) -> np.ndarray:
    """[half] factors that make of normals Student's t of four degrees of freedom with unit variance."""
    return rng.permutation(_tail_sizes(half))
