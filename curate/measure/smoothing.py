"""Smooth paths from noisy positions: the Bayesian cubic smoothing spline, with joint draws.

The prior of a path is an integrated Wiener process with free start and velocity, which knows no axes but the viewing
ray; its posterior mean is the cubic smoothing spline (Wahba 1978). To it comes a
steady acceleration of ten times the fluctuating one's size: what brakes or falls does so for a while, and an
amplitude found from rough modes that are empty would otherwise flatten the bend. A steady change of the acceleration
comes on top: on a turn of a radian it is as large as the acceleration itself, and a path that may only bend steadily
then leaves the turn at its ends. The noise has one dense covariance over all frames and axes, so that depth noise along
the ray, a bias shared by all frames and the random walk of the camera's pose are told from motion by their shape.

How much a path bends is weighed by what start and velocity leave free (`modes`). Along the viewing ray the amplitude
may be larger than across it (`RAY_SHARES`): across the ray a stereo camera sees millimetres, along it decimetres, and
of what approaches and brakes an amplitude common to all axes is settled by the two axes in which nothing happens.

Draws use the pathwise form of conditioning (Matheron's rule): a draw of the *errors* goes in, so that paths
which share an error (the camera's pose) also share it in their draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from curate.measure.modes import Contrasts, Modes, systematic
from curate.measure.strata import stratified_normals

UNSEEN = 100.0  # standard deviation at unseen frames, in extents of the path: no information
STEADY = 100.0  # variance of a steady acceleration, and of a steady change of it, over the fluctuating one's
RAY_SHARES = (1.0, 1e-2)  # variance of the prior across the viewing ray over that along it
POWER = 0.35  # the prior is flat in this power of the bend's variance: between scale-free (0) and flat in its size (½)
FLOOR = 1e-6  # m, and share of the extent: smallest noise, keeps exact input invertible


def path_kernel(time: np.ndarray) -> np.ndarray:
    """Covariance [T, T] of a path of amplitude 1 at times 0..1: integrated Wiener process, steady acceleration, turn.

    ∫ (s−u)₊ (t−u)₊ du + STEADY · (s² t² / 4 + g(s) g(t)), g = t³/6 − t²/4: an acceleration that grows steadily
    through zero at half time.
    """
    s, t = np.minimum.outer(time, time), np.maximum.outer(time, time)
    cubic = time**3 / 6 - time**2 / 4
    return s**2 * (3 * t - s) / 6 + STEADY * (s**2 * t**2 / 4 + np.outer(cubic, cubic))


def velocity_given_positions(time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The derivative at the knots, given the values there, for amplitude 1 and free start and velocity.

    Without the steady turn: between two knots it is the neighbours that count, and a trend of the whole clip would
    upset the ends of a path that swings.

    Returns:
        map [T, T] from values to the mean derivative (that of the natural interpolating cubic spline), and a
        square root [T, T] of its conditional covariance.
    """
    num = len(time)
    if num < 2:
        return np.zeros((num, num)), np.zeros((num, num))
    low, high = np.minimum.outer(time, time), np.maximum.outer(time, time)
    k = low**2 * (3 * high - low) / 6 + STEADY * low**2 * high**2 / 4
    s, t = time[None, :], time[:, None]
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


@lru_cache(maxsize=16)
def _velocity_maps(phase: bytes) -> tuple[np.ndarray, np.ndarray]:
    """`velocity_given_positions`, once for all paths over the same frames; not to be written to."""
    return velocity_given_positions(np.frombuffer(phase))


def lengths(vectors: np.ndarray) -> np.ndarray:
    """[..., 3] to [...]. By columns: sums over an axis of three take several times longer."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return np.sqrt(x * x + y * y + z * z)


@dataclass
class PathPosterior:
    """Posterior of a path in 3D. Draws are the last axis in memory, where what is done to all of them is fast.

    Args:
        time_s: [T].
        mean: [T, 3] m.
        points: [S, T, 3] m, draws. draw_velocity: gives [S, T, 3] m/s of the same draws.
        parts: source of error -> [P, T, 3] m, deviations of the path that this source alone brings.
        mean_velocity: [T, 3] m/s.
        to_velocity: [T, T] 1/s, values at the frames to mean derivatives.
        stated: the places are as their source gives them, and lengths between them are taken as they are; else they
            were measured, and noise makes lengths longer (`magnitude`).
        memo: what several measurements of the path have in common, by name and frames.
    """

    time_s: np.ndarray
    mean: np.ndarray
    mean_velocity: np.ndarray
    points: np.ndarray
    draw_velocity: Callable[[], np.ndarray] = field(repr=False)
    parts: dict[str, np.ndarray]
    to_velocity: np.ndarray  # [T, T] 1/s
    stated: bool = False
    memo: dict[tuple, Any] = field(default_factory=dict, repr=False)

    def at(self, places: np.ndarray) -> PathPosterior:
        """The same path through `places` [T, 3] m, nan where there is none: of what a source gives, the places are its
        own, and the spline is for what lies between them."""
        shift = np.where(np.isfinite(places), places - self.mean, 0.0)
        return replace(self, mean=self.mean + shift, points=self.points + shift, stated=True, memo={})

    @cached_property
    def velocity(self) -> np.ndarray:
        """[S, T, 3] m/s. Made when first asked for: of the camera nobody does."""
        return self.draw_velocity()

    @cached_property
    def chords(self) -> np.ndarray:
        """[S, T-1] m, between successive frames."""
        return lengths(self.points[:, 1:] - self.points[:, :-1])

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
        ray: [3] unit, the mean viewing ray, along which the path may bend more than across it; None: nowhere.
    """

    def __init__(self, time_s: np.ndarray, points: np.ndarray, noise: np.ndarray,
                 ray: np.ndarray | None = None) -> None:
        num = len(time_s)
        seen = np.isfinite(points).all(-1)
        filled = points if seen.all() else np.stack([np.interp(time_s, time_s[seen], points[seen, axis])
                                                     for axis in range(3)], -1)
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
        self.ray, self.shapes = ray, self._factorise(ray)

    def _factorise(self, ray: np.ndarray | None) -> list[Modes]:
        """The modes for each share of RAY_SHARES."""
        num = len(self.time_s)
        basis = np.stack([np.ones(num), self.phase], -1)[:, :min(num, 2)]
        contrasts = Contrasts.of(self.noise, np.kron(basis, np.eye(3)))
        contrast = contrasts.to_contrast
        # kernel ⊗ I3 applied from the left, without forming it
        prior = (path_kernel(self.phase) @ contrast.reshape(num, -1)).reshape(num, 3, -1)
        along = np.eye(3) if ray is None else np.outer(ray, ray)
        part = contrast.T @ (along @ prior).reshape(3 * num, -1)
        rest = 0 if ray is None else contrast.T @ prior.reshape(3 * num, -1) - part
        shares = (1.0,) if ray is None else RAY_SHARES
        return [contrasts.modes(part + share * rest, self.data.reshape(-1)) for share in shares]

    def amplitudes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shape of the prior (index), variance q of its amplitude, and their posterior weight: [n] each."""
        grids = [shape.evidence(POWER) for shape in self.shapes]
        index = np.repeat(np.arange(len(grids)), [len(grid) for grid, _ in grids])
        log = np.concatenate([log for _, log in grids])
        weight = np.exp(log - log.max())
        return index, np.concatenate([grid for grid, _ in grids]), weight / weight.sum()

    def still_statistic(self, first: int, last: int) -> tuple[float, int]:
        """Chi-square and degrees of freedom of "the point does not move between these frames (inclusive)"."""
        if (first, last) in self._still:
            return self._still[first, last]
        span = slice(3 * first, 3 * (last + 1))
        noise, data = self.noise[span, span], self.data[first:last + 1]
        if not (seen := self.seen[first:last + 1]).all():
            rows = np.flatnonzero(np.repeat(seen, 3))
            noise, data = noise[np.ix_(rows, rows)], data[seen]
        num = len(data)
        if num < 2:  # hidden all the time but once: nothing speaks against it
            return self._still.setdefault((first, last), (0.0, 0))
        right = np.empty((num, 3, 4))
        right[..., 0], right[..., 1:] = data, np.eye(3)
        solved = np.linalg.solve(noise, right.reshape(3 * num, 4))
        total = solved.reshape(num, 3, 4).sum(0)
        shift, normal = total[:, 0], total[:, 1:]
        statistic = (float(data.reshape(-1) @ solved[:, 0] - shift @ np.linalg.solve(normal, shift)), 3 * (num - 1))
        self._still[first, last] = statistic
        return statistic

    def draw(self, errors: dict[str, np.ndarray], num_parts: int, rng: np.random.Generator,
             beside: dict[str, np.ndarray] | None = None) -> PathPosterior:
        """Joint draws, in antithetic pairs.

        Args:
            errors: source -> [S/2, 3T] draws of the errors from their covariances (their sum has `noise`, less the
                unseen frames' noise, which is added here to "own"). Fastest where draws are the last axis in memory.
            num_parts: draws kept for the split of the error.
            rng: of this path alone; what it draws last is drawn when the velocity is first asked for.
            beside: source -> [3T, S/2] draws of errors beside `noise`, of which the data are not taken to say anything.
        """
        num, half = len(self.time_s), len(next(iter(errors.values())))
        which, grid, weight = self.amplitudes()
        picks = systematic(weight, half, rng)
        few = min(num_parts, half)
        shared = [name for name in errors if name != "own"]
        # columns: of "own" the first few draws, of all together the rest, of each other source the first few
        work = np.concatenate([errors["own"].T[:, :few], sum(error.T[:, few:] for error in errors.values()),
                               *(errors[name].T[:, :few] for name in shared)], 1)
        hidden = np.flatnonzero(~np.repeat(self.seen, 3))
        if len(hidden):
            work[hidden, half:] = 0
            work[hidden, :half] = self.extra_sigma[hidden, None] * stratified_normals(rng, len(hidden), half)
        pick = np.concatenate([picks] + [picks[:few]] * len(shared))
        normal = stratified_normals(rng, self.shapes[0].contrast.shape[1], half)
        moved, base = self._condition(work, pick, normal, which, grid)
        parts = {"own": moved[:, :few]} | {name: moved[:, half + k * few:half + (k + 1) * few]
                                           for k, name in enumerate(shared)}
        deviation = np.concatenate([sum(parts.values()), moved[:, few:half]], 1)
        for name, error in (beside or {}).items():
            deviation -= error
            parts[name] = parts[name] - error[:, :few]
        base = base.take(picks, 1)
        mean = base.mean(1)
        parts["own"] = parts["own"] + (base[:, :few] - mean[:, None])
        to_velocity, root = _velocity_maps(self.phase.tobytes())
        to_velocity, root = to_velocity / self.duration, root / self.duration

        def both(base: np.ndarray, deviation: np.ndarray) -> np.ndarray:
            """[S, T, 3] of [3T, S/2]."""
            out = np.empty((3 * num, 2 * half))
            np.add(base, deviation, out=out[:, :half])
            np.subtract(base, deviation, out=out[:, half:])
            return by_draw(out)

        def by_draw(of: np.ndarray) -> np.ndarray:
            return of.reshape(num, 3, -1).transpose(2, 0, 1)

        def velocity() -> np.ndarray:
            jitter = stratified_normals(rng, 3 * num, half).reshape(num, 3, half)  # the last drawn from `rng`
            if self.ray is not None:
                share = np.sqrt(np.array(RAY_SHARES))[which[picks]]
                jitter = share * jitter + self.ray[:, None] * ((1 - share) * (self.ray @ jitter)[:, None])
            jitter = jitter * np.sqrt(grid[picks])
            moved = to_velocity @ deviation.reshape(num, -1) + root @ jitter.reshape(num, -1)
            return both((to_velocity @ base.reshape(num, -1)).reshape(3 * num, half), moved.reshape(3 * num, half))

        mean = mean.reshape(num, 3)
        return PathPosterior(self.time_s, mean, to_velocity @ mean, both(base, deviation), velocity,
                             {name: by_draw(parts[name]) for name in errors}, to_velocity)

    def _condition(self, errors: np.ndarray, pick: np.ndarray, normal: np.ndarray, which: np.ndarray,
                   grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What errors do to the path, given the data.

        Args:
            errors: [3T, columns]. pick: [columns], the amplitude of each.
            normal: [m, S/2], by which the path itself deviates in the first S/2 columns.
            which, grid: shape and variance of each amplitude, as `amplitudes`.

        Returns:
            deviations [3T, columns], and the posterior mean [3T, amplitudes].
        """
        # one product for each shape: its columns side by side, first those where the path itself deviates
        kind = 2 * which[pick] + (np.arange(len(pick)) >= normal.shape[1])
        order = np.argsort(kind, kind="stable")
        ends = np.searchsorted(kind[order], np.arange(2 * len(self.shapes) + 1))
        pick, errors = pick[order], errors.take(order, 1)
        out, base = np.empty_like(errors), np.empty((len(errors), len(grid)))
        for index, shape in enumerate(self.shapes):
            begin, between, end = ends[2 * index:2 * index + 3]
            there = np.flatnonzero(which == index)
            gain = grid[there] * shape.energy[:, None]
            shrink = 1 / (1 + gain)
            base[:, there] = shape.to_data @ (shrink * shape.coefficient[:, None])
            if begin == end:
                continue
            own = pick[begin:end] - there[0]
            modes = (shape.contrast.T @ errors[:, begin:end]) * shrink.take(own, 1)
            wander = shape.turn.T @ normal.take(order[begin:between], 1)
            modes[:, :between - begin] += wander * (np.sqrt(gain) * shrink).take(own[:between - begin], 1)
            np.matmul(shape.to_data, modes, out=out[:, begin:end])
        out -= errors
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return out.take(back, 1), self.data.reshape(-1, 1) - base
