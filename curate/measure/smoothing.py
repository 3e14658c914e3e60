"""Smooth paths from noisy positions: the Bayesian cubic smoothing spline, with joint draws.

The prior of a path is an integrated Wiener process with free start and velocity, the same on every axis, so that
nothing depends on the choice of axes; its posterior mean is the cubic smoothing spline (Wahba 1978). To it comes a
steady acceleration of ten times the fluctuating one's size: what brakes or falls does so for a while, and an
amplitude found from rough modes that are empty would otherwise flatten the bend. Where the speed at the ends matters,
a steady change of the acceleration comes on top: on a turn of a radian it is as large as the acceleration itself, and
a path that may only bend steadily then leaves the turn at its ends, too fast. The noise has one dense covariance over
all frames and axes, so that depth noise along the ray, a bias shared by all frames and the random walk of the
camera's pose are told from motion by their shape. The prior's amplitude is weighed on a grid by the marginal
likelihood of what start and velocity leave free (Wecker & Ansley 1983) and drawn from there: a single best amplitude
would be too sure of itself on a short clip.

Draws use the pathwise form of conditioning (Matheron's rule): a draw of the *errors* goes in, so that paths
which share an error (the camera's pose) also share it in their draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

GRID = 48  # amplitudes of the prior
UNSEEN = 100.0  # standard deviation at unseen frames, in extents of the path: no information
STEADY = 100.0  # variance of a steady acceleration over that of the fluctuating one's mean
FLOOR = 1e-6  # m, and share of the extent: smallest noise, keeps exact input invertible


def path_kernel(time: np.ndarray, turning: float = 0.0) -> np.ndarray:
    """Covariance [T, T] of a path of amplitude 1 at times 0..1: integrated Wiener process and steady acceleration.

    ∫ (s−u)₊ (t−u)₊ du + STEADY · s² t² / 4 + turning · g(s) g(t), g = t³/6 − t²/4: an acceleration that grows
    steadily through zero at half time, of variance `turning`.
    """
    s, t = np.minimum.outer(time, time), np.maximum.outer(time, time)
    cubic = time**3 / 6 - time**2 / 4
    return s**2 * (3 * t - s) / 6 + STEADY * s**2 * t**2 / 4 + turning * np.outer(cubic, cubic)


def velocity_given_positions(time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The derivative at the knots, given the values there, for amplitude 1 and free start and velocity.

    Without `turning`: between two knots it is the neighbours that count, and a trend of the whole clip would upset
    the ends of a path that swings.

    Returns:
        map [T, T] from values to the mean derivative (that of the natural interpolating cubic spline), and a
        square root [T, T] of its conditional covariance.
    """
    num = len(time)
    if num < 2:
        return np.zeros((num, num)), np.zeros((num, num))
    k = path_kernel(time)
    low, s, t = np.minimum.outer(time, time), time[None, :], time[:, None]
    # cov(f'(t), f(s)) and cov(f'(t), f'(s)) of the kernel above
    cross = low * s - low**2 / 2 + STEADY * t * s**2 / 2
    slopes = low + STEADY * t * s
    basis, dbasis = np.stack([np.ones(num), time], -1), np.stack([np.zeros(num), np.ones(num)], -1)
    system = np.block([[k, basis], [basis.T, np.zeros((2, 2))]])
    right = np.concatenate([cross, dbasis], 1)
    solved = np.linalg.solve(system, right.T).T  # [T, T + 2]
    conditional = slopes - solved @ right.T
    value, vector = np.linalg.eigh((conditional + conditional.T) / 2)
    return solved[:, :num], vector * np.sqrt(np.clip(value, 0, None))


def lengths(vectors: np.ndarray) -> np.ndarray:
    """[..., 3] to [...]."""
    return np.sqrt(np.einsum("...a,...a->...", vectors, vectors))


@dataclass
class PathPosterior:
    """Posterior of a path in 3D.

    Args:
        time_s: [T].
        mean: [T, 3] m.
        points: [S, T, 3] m, draws. velocity: [S, T, 3] m/s, of the same draws.
        parts: source of error -> [P, T, 3] m, deviations of the path that this source alone brings.
        mean_velocity: [T, 3] m/s.
        amplitude, weight: grid of the prior's variance and what the data make of it.
        to_velocity: [T, T] 1/s, values at the frames to mean derivatives.
    """

    time_s: np.ndarray
    mean: np.ndarray
    mean_velocity: np.ndarray
    points: np.ndarray
    velocity: np.ndarray
    parts: dict[str, np.ndarray]
    amplitude: np.ndarray
    weight: np.ndarray
    to_velocity: np.ndarray  # [T, T] 1/s

    @cached_property
    def chords(self) -> np.ndarray:
        """[S, T-1] m, between successive frames."""
        return lengths(np.diff(self.points, axis=1))

    @cached_property
    def speeds(self) -> np.ndarray:
        """[S, T] m/s."""
        return lengths(self.velocity)


class PathSmoother:
    """Smoother of one path, factorised once.

    Args:
        time_s: [T], increasing, seconds.
        points: [T, 3] m, nan where unseen.
        noise: [3T, 3T] m², covariance of the errors, frame-major; rows of unseen frames are not used.
        turning: variance of a steady change of acceleration (`path_kernel`).
    """

    def __init__(self, time_s: np.ndarray, points: np.ndarray, noise: np.ndarray, turning: float = 0.0) -> None:
        self.turning = turning
        num = len(time_s)
        seen = np.isfinite(points).all(-1)
        filled = np.stack([np.interp(time_s, time_s[seen], points[seen, axis]) for axis in range(3)], -1)
        spread = float(np.ptp(filled, axis=0).max())
        sigma = np.sqrt(np.diagonal(noise).reshape(num, 3)[seen].max(initial=0))
        floor = max(FLOOR, FLOOR * spread)
        extra = np.where(seen, floor, UNSEEN * (spread + sigma + floor))
        self.extra_sigma = np.repeat(extra, 3)  # [3T] of the independent noise added here
        self.seen, self.time_s, self.data = seen, time_s, filled
        self.duration = float(time_s[-1] - time_s[0]) or 1.0
        self.phase = (time_s - time_s[0]) / self.duration
        keep = np.repeat(seen, 3)
        self.noise = np.where(keep[:, None] & keep[None], noise, 0) + np.diag(self.extra_sigma**2)
        self._still: dict[tuple[int, int], tuple[float, int]] = {}
        self._factorise()

    def _factorise(self) -> None:
        num = len(self.time_s)
        self.root = np.linalg.cholesky(self.noise)
        self.inverse_root = np.linalg.inv(self.root)
        basis = np.stack([np.ones(num), self.phase], -1)[:, :min(num, 2)]
        basis = np.kron(basis, np.eye(3))
        q, _ = np.linalg.qr(self.inverse_root @ basis, mode="complete")
        free = q[:, basis.shape[1]:]  # contrasts in which start and velocity do not appear
        # K = kernel ⊗ I3 applied from the left, without forming it
        contrast = self.inverse_root.T @ free
        prior = np.einsum("ts,sam->tam", path_kernel(self.phase, self.turning), contrast.reshape(num, 3, -1))
        gram = contrast.T @ prior.reshape(3 * num, -1)
        value, vector = np.linalg.eigh((gram + gram.T) / 2)
        self.energy = np.clip(value, 0, None)  # [m], prior variance over noise variance at amplitude 1
        self.modes = free @ vector  # [3T, m]
        self.contrast = self.inverse_root.T @ self.modes
        self.to_data = self.root @ self.modes
        self.coefficient = self.contrast.T @ self.data.reshape(-1)

    def amplitudes(self) -> tuple[np.ndarray, np.ndarray]:
        """Grid of variances q of the prior and their posterior weights; flat prior on √q."""
        if not len(self.energy) or self.energy[-1] <= 0:
            return np.zeros(1), np.ones(1)
        low = 1e-4 / self.energy[-1]
        high = 1e4 / max(self.energy[0], 1e-12 * self.energy[-1])
        grid = np.geomspace(low, high, GRID)
        variance = 1 + grid[:, None] * self.energy
        log = -0.5 * (np.log(variance) + self.coefficient**2 / variance).sum(-1) + 0.5 * np.log(grid)
        weight = np.exp(log - log.max())
        return grid, weight / weight.sum()

    def still_statistic(self, first: int, last: int) -> tuple[float, int]:
        """Chi-square and degrees of freedom of "the point does not move between these frames (inclusive)"."""
        if (first, last) in self._still:
            return self._still[first, last]
        frames = np.arange(first, last + 1)[self.seen[first:last + 1]]
        rows = (3 * frames[:, None] + np.arange(3)).reshape(-1)
        y = self.data[frames].reshape(-1)
        ones = np.kron(np.ones((len(frames), 1)), np.eye(3))
        solved = np.linalg.solve(self.noise[np.ix_(rows, rows)], np.column_stack([y, ones]))
        normal = ones.T @ solved[:, 1:]
        shift = ones.T @ solved[:, 0]
        statistic = float(y @ solved[:, 0] - shift @ np.linalg.solve(normal, shift)), 3 * (len(frames) - 1)
        self._still[first, last] = statistic
        return statistic

    def draw(self, errors: dict[str, np.ndarray], num_parts: int, rng: np.random.Generator) -> PathPosterior:
        """Joint draws, in antithetic pairs.

        Args:
            errors: source -> [S/2, 3T] draws of the errors from their covariances (their sum has `noise`, less the
                floor and the unseen frames' noise, which are added here to "own").
            num_parts: draws kept for the split of the error.
        """
        num, half = len(self.time_s), len(next(iter(errors.values())))
        grid, weight = self.amplitudes()
        # systematic sampling of the grid: each amplitude gets its share of the draws
        picks = np.searchsorted(np.cumsum(weight), (np.arange(half) + .5) / half).clip(0, len(grid) - 1)
        amplitude = rng.permutation(grid[picks])
        gain = amplitude[:, None] * self.energy
        shrink = 1 / (1 + gain)
        keep = np.repeat(self.seen, 3)
        errors = {name: np.where(keep, error, 0) for name, error in errors.items()}
        errors["own"] = errors["own"] + self.extra_sigma * rng.standard_normal((half, 3 * num))
        wander = np.sqrt(gain) * shrink * rng.standard_normal(gain.shape)

        def smoothed(error: np.ndarray, rows: slice) -> np.ndarray:
            return error[rows] - ((error[rows] @ self.contrast) * shrink[rows]) @ self.to_data.T

        total = sum(errors.values())
        base = self.data.reshape(-1) - (shrink * self.coefficient) @ self.to_data.T  # posterior mean given amplitude
        deviation = wander @ self.to_data.T - smoothed(total, slice(None))
        points = np.concatenate([base + deviation, base - deviation]).reshape(2 * half, num, 3)
        mean = base.mean(0)
        rows = slice(0, num_parts)
        parts = {name: -smoothed(error, rows) for name, error in errors.items()}
        parts["own"] = parts["own"] + wander[rows] @ self.to_data.T + base[rows] - mean
        to_velocity, root = velocity_given_positions(self.phase)
        to_velocity = to_velocity / self.duration
        jitter = rng.standard_normal(deviation.shape) @ np.kron(root / self.duration, np.eye(3)).T
        jitter *= np.sqrt(amplitude)[:, None]
        derivative = np.kron(to_velocity, np.eye(3)).T
        base, deviation = base @ derivative, deviation @ derivative + jitter
        velocity = np.concatenate([base + deviation, base - deviation]).reshape(2 * half, num, 3)
        mean = mean.reshape(num, 3)
        return PathPosterior(
            self.time_s, mean, to_velocity @ mean, points, velocity,
            {name: part.reshape(-1, num, 3) for name, part in parts.items()}, grid, weight, to_velocity)
