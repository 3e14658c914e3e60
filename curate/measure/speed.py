"""How fast along a path, instant by instant: the peak is that of a speed that varies no more than the data ask for.

The largest of many noisy speeds is noise's choice. So the speeds of a path's posterior are taken as a measurement
(their mean, with the joint covariance of all instants) of a speed that is constant but for a Wiener process and a
steady change, and how much it varies is weighed by the data as for paths (`modes`). What runs at constant speed, on
a bend too, then has the peak of its mean and its error; what brakes keeps the speed it began with.
"""

from __future__ import annotations

import numpy as np

from curate.measure.magnitude import Sample, by_part, without_noise
from curate.measure.modes import Contrasts, systematic
from curate.measure.smoothing import PathPosterior, lengths
from curate.measure.strata import stratified_normals

STEADY = 100.0  # variance of a steady change of speed over the fluctuating one's
POWER = 0.75  # the prior is flat in this power of the variation's variance: between flat in its size (½) and in it (1)
FLOOR = 0.3  # of the largest standard deviation, white: how smooth a smoothed path looks says nothing of its speed


def debiased_speeds(mean: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """[S, T] m/s of draws [S, T, 3], less what noise across the mean velocity [T, 3] adds twice (`magnitude`)."""
    drawn = velocity.transpose(1, 2, 0)  # as they lie in memory
    centred = drawn - drawn.mean(-1, keepdims=True)
    covariance = centred @ centred.transpose(0, 2, 1) / len(velocity)
    norm2 = np.maximum((mean**2).sum(-1), 1e-300)
    along = (mean[:, None] @ covariance @ mean[..., None])[:, 0, 0] / norm2
    across = np.maximum(np.trace(covariance, axis1=1, axis2=2) - along, 0)
    x, y, z = drawn[:, 0], drawn[:, 1], drawn[:, 2]
    return np.sqrt(np.maximum(x * x + y * y + z * z - 2 * across[:, None], 0)).T


def speed_profile(path: PathPosterior, i: int, j: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Speeds from frame i to j.

    Returns:
        draws [S, n] m/s, in mirrored pairs as the path's, and their mean [n].
    """
    if ("speeds",) not in path.memo:
        path.memo["speeds",] = debiased_speeds(path.mean_velocity, path.velocity)
    speeds = path.memo["speeds",][:, i:j + 1].T  # as they lie in memory
    num, half = len(speeds), speeds.shape[1] // 2
    data = speeds.mean(1)
    error = (speeds[:, :half] - speeds[:, half:]) / 2  # of mirrored pairs
    centred = speeds - data[:, None]
    covariance = centred @ centred.T / (2 * half)
    floor = FLOOR**2 * float(np.diagonal(covariance).max()) + (1e-9 * float(data.max()) + 1e-12) ** 2
    phase = (path.time_s[i:j + 1] - path.time_s[i]) / (path.time_s[j] - path.time_s[i]) - 0.5
    kernel = np.minimum.outer(phase, phase) + 0.5 + STEADY * np.outer(phase, phase)
    contrasts = Contrasts.of(covariance + floor * np.eye(num), np.ones((num, 1)))
    modes = contrasts.modes(contrasts.to_contrast.T @ kernel @ contrasts.to_contrast, data)
    grid, log = modes.evidence(POWER)
    picks = systematic(np.exp(log - log.max()), half, rng)
    gain = grid * modes.energy[:, None]  # [m, amplitudes]
    shrink = 1 / (1 + gain)
    base = (data[:, None] - modes.to_data @ (shrink * modes.coefficient[:, None])).take(picks, 1)
    wander = (np.sqrt(gain) * shrink).take(picks, 1) * (modes.turn.T @ stratified_normals(rng, len(gain), half))
    deviation = error - modes.to_data @ (wander + (modes.contrast.T @ error) * shrink.take(picks, 1))
    profile = np.concatenate([base + deviation, base - deviation], 1)
    return np.maximum(profile, 0, out=profile).T, base.mean(1)


def peak_speed(path: PathPosterior, i: int, j: int, rng: np.random.Generator) -> Sample:
    """Speed at the fastest instant (frame) of the smoothed path, m/s.

    What the largest of a draw's speeds has on average more than the mean profile's is taken back once: with a free
    profile noise adds it twice (in the estimate and in its draws), with a well-fitting prior never.
    """
    profile, level = speed_profile(path, i, j, rng)
    drawn = profile.T.max(0)
    drawn = without_noise(drawn, max(float(drawn.mean()) ** 2 - float(level.max()) ** 2, 0) / 2)
    fastest = int(np.argmax(level))
    mean = path.mean_velocity[i:j + 1]

    def speed_there(deviations: np.ndarray) -> np.ndarray:
        change = path.to_velocity[i + fastest] @ deviations.transpose(1, 2, 0).reshape(len(path.mean), -1)
        return lengths(mean[fastest] + change.reshape(3, -1).T)

    parts = by_part(path.parts, speed_there)
    return Sample(drawn, parts, magnitude=True,
                  extra={"fastest_frame": i + fastest, "fastest_s": float(path.time_s[i + fastest])})
