"""Functionals of one smoothed path: displacement, arc length, mean speed, direction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from curate.measure.chi2 import chi2_survival, zero_p_value
from curate.measure.direction import angular_error, describe
from curate.measure.magnitude import Parts, Sample, by_part, covariance_of, vector_length, without_noise
from curate.measure.smoothing import PathPosterior, PathSmoother, lengths


def _ends(path: PathPosterior, i: int, j: int) -> tuple[np.ndarray, np.ndarray, Parts]:
    if ("ends", i, j) not in path.memo:
        path.memo["ends", i, j] = (path.mean[j] - path.mean[i], path.points[:, j] - path.points[:, i],
                                   Parts(lambda: {name: part[:, j] - part[:, i] for name, part in path.parts.items()}))
    return path.memo["ends", i, j]


def _ends_covariance(path: PathPosterior, i: int, j: int) -> tuple[np.ndarray, float]:
    """Covariance [3, 3] of the vector between two frames, and the p-value of "it is zero"."""
    if ("ends covariance", i, j) not in path.memo:
        mean, draws, _ = _ends(path, i, j)
        covariance = covariance_of(draws)
        path.memo["ends covariance", i, j] = covariance, zero_p_value(mean, covariance)
    return path.memo["ends covariance", i, j]


def displacement(path: PathPosterior, i: int, j: int) -> Sample:
    """Length of the vector between two frames, m."""
    mean, draws, parts = _ends(path, i, j)
    covariance, p_zero = _ends_covariance(path, i, j)
    lengths, parts = vector_length(mean, draws, parts, covariance, path.stated)
    return Sample(lengths, parts, p_zero=p_zero, magnitude=True)


def p_still(path: PathPosterior, smoother: PathSmoother, i: int, j: int) -> float:
    """p-value of "it does not move between these frames": of all positions, and of the ends, which show slow motion
    better; twice the smaller (Bonferroni)."""
    if ("p still", i, j) not in path.memo:
        statistic, dof = smoother.still_statistic(i, j)
        ends, all_of = _ends_covariance(path, i, j)[1], chi2_survival(statistic, dof) if dof else 1.0
        path.memo["p still", i, j] = min(1.0, 2 * min(ends, all_of))
    return path.memo["p still", i, j]


def _less_excess(draws: np.ndarray, of_mean: float) -> np.ndarray:
    """Takes back what rough draws [S] have on average more than the mean path.

    With a free velocity noise adds this twice (in the estimate and in its draws), with a well-fitting prior never:
    once is between.
    """
    return without_noise(draws, max(float(draws.mean()) ** 2 - of_mean**2, 0) / 2)


def _chords(points: np.ndarray) -> np.ndarray:
    """[N, T, 3] to [N], m."""
    return lengths(points[:, 1:] - points[:, :-1]).sum(1)


def _arc_over_chords(points: np.ndarray, velocity: np.ndarray, time_s: np.ndarray) -> float:
    """How much longer the spline [T, 3] is than the chords between its knots (Simpson's rule on its speed), ≥ 1."""
    h = time_s[1:] - time_s[:-1]
    chord = points[1:] - points[:-1]
    middle = 1.5 * chord / h[:, None] - 0.25 * (velocity[:-1] + velocity[1:])
    speed = lengths(velocity)
    arc = (h / 6 * (speed[:-1] + 4 * lengths(middle) + speed[1:])).sum()
    chords = lengths(chord).sum()
    return max(float(arc / chords), 1.0) if chords > 0 else 1.0


def path_length(path: PathPosterior, i: int, j: int) -> Sample:
    """Arc length of the smoothed path, m."""
    if ("length", i, j) not in path.memo:
        path.memo["length", i, j] = _path_length(path, i, j)
    return replace(path.memo["length", i, j])


def _path_length(path: PathPosterior, i: int, j: int) -> Sample:
    mean = path.mean[i:j + 1]
    bend = _arc_over_chords(mean, path.mean_velocity[i:j + 1], path.time_s[i:j + 1])
    parts = by_part({name: part[:, i:j + 1] for name, part in path.parts.items()},
                    lambda all_parts: bend * _chords(mean + all_parts))
    drawn = _less_excess(path.chords[:, i:j].sum(1), float(_chords(mean[None])[0]))
    return Sample(bend * drawn, parts, magnitude=True)


def mean_speed(path: PathPosterior, i: int, j: int) -> Sample:
    """Path length over duration, m/s."""
    sample = path_length(path, i, j)
    duration = float(path.time_s[j] - path.time_s[i])
    parts = Parts(lambda: {name: part / duration for name, part in sample.parts.items()})
    return Sample(sample.draws / duration, parts, magnitude=True)


def path_direction(path: PathPosterior, i: int, j: int, rotation: np.ndarray, axes: dict) -> Sample:
    """Direction of the displacement in the axes of `rotation` [3, 3] (axes to world). Draws: angular error, rad."""
    mean, draws, parts = _ends(path, i, j)
    local, mean = (rotation.T @ draws.T).T, mean @ rotation
    extra = describe(mean, local, axes) | {"vector_m": [float(x) for x in mean]}
    turned = by_part(parts, lambda all_parts: angular_error(mean, mean + (rotation.T @ all_parts.T).T))
    return Sample(angular_error(mean, local), turned,
                  scaled=False, p_zero=zero_p_value(mean, covariance_of(local)), extra=extra)
