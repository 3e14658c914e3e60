"""Functionals of one smoothed path: displacement, arc length, mean and peak speed, direction."""

from __future__ import annotations

import numpy as np

from curate.measure.chi2 import zero_p_value
from curate.measure.direction import angular_error, describe
from curate.measure.magnitude import Sample, across_variance, covariance_of, vector_length, without_noise
from curate.measure.smoothing import PathPosterior


def _ends(path: PathPosterior, i: int, j: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    return (path.mean[j] - path.mean[i], path.points[:, j] - path.points[:, i],
            {name: part[:, j] - part[:, i] for name, part in path.parts.items()})


def displacement(path: PathPosterior, i: int, j: int) -> Sample:
    """Length of the vector between two frames, m."""
    mean, draws, parts = _ends(path, i, j)
    lengths, parts = vector_length(mean, draws, parts)
    return Sample(lengths, parts, p_zero=zero_p_value(mean, covariance_of(draws)))


def _arc(points: np.ndarray) -> np.ndarray:
    """[N, T, 3] to [N], m."""
    step = np.diff(points, axis=1)
    return np.sqrt(np.einsum("nta,nta->nt", step, step)).sum(1)


def path_length(path: PathPosterior, i: int, j: int) -> Sample:
    """Arc length, m: chords between the frames of the smoothed path.

    Start and velocity are free in the smoother, so that noise in the velocity lengthens the path as it lengthens a
    vector: its part across the path is taken back. (The bends are already drawn in by their prior.)
    """
    mean = path.mean[i:j + 1]
    covariance = covariance_of(path.points[:, j] - path.points[:, i])
    across = across_variance(covariance, np.diff(mean, axis=0))
    parts = {name: _arc(mean + part[:, i:j + 1]) for name, part in path.parts.items()}
    return Sample(without_noise(_arc(path.points[:, i:j + 1]), across), parts)


def mean_speed(path: PathPosterior, i: int, j: int) -> Sample:
    """Path length over duration, m/s."""
    sample = path_length(path, i, j)
    duration = float(path.time_s[j] - path.time_s[i])
    return Sample(sample.draws / duration, {name: part / duration for name, part in sample.parts.items()})


def _peak(velocity: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("nta,nta->nt", velocity, velocity).max(1))


def peak_speed(path: PathPosterior, i: int, j: int) -> Sample:
    """Speed at the fastest instant (frame) of the smoothed path, m/s."""
    mean = path.mean_velocity[i:j + 1]
    fastest = i + int(np.argmax((mean**2).sum(-1)))
    across = across_variance(covariance_of(path.velocity[:, fastest]), path.mean_velocity[fastest])
    parts = {name: _peak(mean + path.to_velocity[i:j + 1] @ part) for name, part in path.parts.items()}
    return Sample(without_noise(_peak(path.velocity[:, i:j + 1]), across), parts,
                  extra={"fastest_frame": fastest, "fastest_s": float(path.time_s[fastest])})


def path_direction(path: PathPosterior, i: int, j: int, rotation: np.ndarray, axes: dict) -> Sample:
    """Direction of the displacement in the axes of `rotation` [3, 3] (axes to world). Draws: angular error, rad."""
    mean, draws, parts = _ends(path, i, j)
    local, mean = draws @ rotation, mean @ rotation
    extra = describe(mean, local, axes) | {"vector_m": [float(x) for x in mean]}
    return Sample(angular_error(mean, local), {name: angular_error(mean, mean + part @ rotation)
                                               for name, part in parts.items()},
                  scaled=False, p_zero=zero_p_value(mean, covariance_of(local)), extra=extra)
