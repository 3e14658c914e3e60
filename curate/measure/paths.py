"""Functionals of one smoothed path: displacement, arc length, mean and peak speed, direction."""

from __future__ import annotations

import numpy as np

from curate.measure.chi2 import chi2_survival, zero_p_value
from curate.measure.direction import angular_error, describe
from curate.measure.magnitude import Sample, across_variance, covariance_of, vector_length, without_noise
from curate.measure.smoothing import PathPosterior, PathSmoother, lengths


def _ends(path: PathPosterior, i: int, j: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    return (path.mean[j] - path.mean[i], path.points[:, j] - path.points[:, i],
            {name: part[:, j] - part[:, i] for name, part in path.parts.items()})


def displacement(path: PathPosterior, i: int, j: int) -> Sample:
    """Length of the vector between two frames, m."""
    mean, draws, parts = _ends(path, i, j)
    lengths, parts = vector_length(mean, draws, parts)
    return Sample(lengths, parts, p_zero=zero_p_value(mean, covariance_of(draws)), magnitude=True)


def p_still(path: PathPosterior, smoother: PathSmoother, i: int, j: int) -> float:
    """p-value of "it does not move between these frames": of all positions, and of the ends, which show slow motion
    better; twice the smaller (Bonferroni)."""
    mean, draws, _ = _ends(path, i, j)
    return min(1.0, 2 * min(zero_p_value(mean, covariance_of(draws)), chi2_survival(*smoother.still_statistic(i, j))))


def _less_excess(draws: np.ndarray, of_mean: float) -> np.ndarray:
    """Takes back what rough draws [S] have on average more than the mean path.

    With a free velocity noise adds this twice (in the estimate and in its draws), with a well-fitting prior never:
    once is between.
    """
    return without_noise(draws, max(float(draws.mean()) ** 2 - of_mean**2, 0) / 2)


def _chords(points: np.ndarray) -> np.ndarray:
    """[N, T, 3] to [N], m."""
    return lengths(np.diff(points, axis=1)).sum(1)


def _arc_over_chords(points: np.ndarray, velocity: np.ndarray, time_s: np.ndarray) -> float:
    """How much longer the spline [T, 3] is than the chords between its knots (Simpson's rule on its speed), ≥ 1."""
    h = np.diff(time_s)
    chord = np.diff(points, axis=0)
    middle = 1.5 * chord / h[:, None] - 0.25 * (velocity[:-1] + velocity[1:])
    speed = np.linalg.norm(velocity, axis=-1)
    arc = (h / 6 * (speed[:-1] + 4 * np.linalg.norm(middle, axis=-1) + speed[1:])).sum()
    chords = np.linalg.norm(chord, axis=-1).sum()
    return max(float(arc / chords), 1.0) if chords > 0 else 1.0


def path_length(path: PathPosterior, i: int, j: int) -> Sample:
    """Arc length of the smoothed path, m."""
    mean = path.mean[i:j + 1]
    bend = _arc_over_chords(mean, path.mean_velocity[i:j + 1], path.time_s[i:j + 1])
    parts = {name: bend * _chords(mean + part[:, i:j + 1]) for name, part in path.parts.items()}
    drawn = _less_excess(path.chords[:, i:j].sum(1), float(_chords(mean[None])[0]))
    return Sample(bend * drawn, parts, magnitude=True)


def mean_speed(path: PathPosterior, i: int, j: int) -> Sample:
    """Path length over duration, m/s."""
    sample = path_length(path, i, j)
    duration = float(path.time_s[j] - path.time_s[i])
    parts = {name: part / duration for name, part in sample.parts.items()}
    return Sample(sample.draws / duration, parts, magnitude=True)


def _surely_reached(velocity: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, int]:
    """Draws [S], ascending, of a speed that is reached at some instant, and the instant that shows it best.

    Each instant's speed less its error says so, but the best of many instants is noise's choice: all are held
    against the largest of their standardised errors at once (a simultaneous band, as Scheffé's or Tukey's).

    Args:
        velocity: [S, T, 3] m/s, draws. mean: [T, 3].
    """
    across = [across_variance(covariance_of(velocity[:, t]), mean[t]) for t in range(len(mean))]
    speeds = np.sqrt(np.maximum(lengths(velocity) ** 2 - 2 * np.array(across), 0))
    centre, sigma = speeds.mean(0), speeds.std(0)
    largest = np.sort(((speeds - centre) / np.maximum(sigma, 1e-12)).max(1))[::-1]
    return (centre - largest[:, None] * sigma).max(1), int(np.argmax(centre - sigma))


def peak_speed(path: PathPosterior, i: int, j: int) -> Sample:
    """Speed at the fastest instant (frame) of the smoothed path, m/s.

    The largest of many noisy speeds is noise's choice, so the truth is bracketed: it is at least what is surely
    reached at some instant, and at most the largest of all. Low draws are of the first, high draws of the second,
    and between them by rank.
    """
    mean, draws = path.mean_velocity[i:j + 1], path.velocity[:, i:j + 1]
    at_least, sure = _surely_reached(draws, mean)
    at_most = _less_excess(path.speeds[:, i:j + 1].max(1), float(lengths(mean).max()))
    order = np.argsort(np.argsort(at_most, kind="stable"), kind="stable")
    at_least, rank = np.maximum(at_least, 0)[order], order / len(at_most)
    parts = {name: lengths(mean + path.to_velocity[i:j + 1] @ part).max(1) for name, part in path.parts.items()}
    return Sample(at_least + rank * (at_most - at_least), parts, magnitude=True,
                  extra={"fastest_frame": i + sure, "fastest_s": float(path.time_s[i + sure])})


def path_direction(path: PathPosterior, i: int, j: int, rotation: np.ndarray, axes: dict) -> Sample:
    """Direction of the displacement in the axes of `rotation` [3, 3] (axes to world). Draws: angular error, rad."""
    mean, draws, parts = _ends(path, i, j)
    local, mean = draws @ rotation, mean @ rotation
    extra = describe(mean, local, axes) | {"vector_m": [float(x) for x in mean]}
    return Sample(angular_error(mean, local), {name: angular_error(mean, mean + part @ rotation)
                                               for name, part in parts.items()},
                  scaled=False, p_zero=zero_p_value(mean, covariance_of(local)), extra=extra)
