"""What the camera does: displacement, path, speed, direction, rotation."""

from __future__ import annotations

import numpy as np

from curate.geometry.rotations import log_so3, yaw_pitch_roll
from curate.measure.chi2 import zero_p_value
from curate.measure.direction import AXES_3D
from curate.measure.draws import SceneDraws
from curate.measure.magnitude import Sample, across_variance, covariance_of, without_noise
from curate.measure.paths import displacement, mean_speed, p_still, path_direction, path_length
from curate.measure.speed import peak_speed

Span = tuple[int, int]


def camera_displacement(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """‖c_j − c_i‖, m."""
    return displacement(draws.camera, *span)


def camera_path_length(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """Arc length of the smoothed path of the camera's centre, m."""
    sample = path_length(draws.camera, *span)
    sample.p_zero = p_still(draws.camera, draws.camera_smoother, *span)
    return sample


# A camera shakes faster than its smoothed path does: on rendered scenes its true speed lies by so many of the stated
# errors above (shift), and about that within so many times the stated width (spread). Fitted on 240 scenes; the widths
# anew since the poses themselves state what a codec does along the travel (`perception/camera/stated.py`).
MEAN_SHAKE, PEAK_SHAKE = (0.4, 1.0), (0.5, 1.2)


def _shaken(sample: Sample, shake: tuple[float, float]) -> Sample:
    level, error = float(np.median(sample.draws)), float(sample.draws.std())
    shift, spread = shake
    sample.draws = np.maximum(level + shift * error + spread * (sample.draws - level), 0)
    return sample


def camera_mean_speed(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """Path length over duration, m/s, with what smoothing takes off the way of a shake."""
    sample = _shaken(mean_speed(draws.camera, *span), MEAN_SHAKE)
    sample.p_zero = p_still(draws.camera, draws.camera_smoother, *span)
    return sample


def camera_peak_speed(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """Speed at the fastest frame of the smoothed path, m/s, with what smoothing takes off the peaks of a shake."""
    sample = _shaken(peak_speed(draws.camera, *span, draws.rng(f"camera speed {span[0]} {span[1]}")), PEAK_SHAKE)
    sample.p_zero = p_still(draws.camera, draws.camera_smoother, *span)
    return sample


def camera_direction(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """R_iᵀ (c_j − c_i), in the axes of camera i."""
    return path_direction(draws.camera, *span, draws.scene.T_world_cam.rotation[span[0]], AXES_3D)


TURNS = ("right", "left", "up", "down")


def camera_rotation(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """Angle of log(R_iᵀ R_j), rad; yaw right, pitch up, roll clockwise and the turn of the optical axis in extra.

    `turn_probabilities` are of the dominant turn of the optical axis: yaw (left, right) or pitch (up, down).
    """
    drawn = draws.relative_rotation(*span)
    rotation = draws.scene.T_world_cam.rotation
    mean = log_so3(rotation[span[0]].T @ rotation[span[1]])
    vectors = log_so3(drawn)
    covariance = covariance_of(vectors)
    angles = without_noise(np.linalg.norm(vectors, axis=-1), across_variance(covariance, mean))
    turns = yaw_pitch_roll(drawn)
    level = yaw_pitch_roll(rotation[span[0]].T @ rotation[span[1]])
    ends = np.stack([turns[:, 0], -turns[:, 0], turns[:, 1], -turns[:, 1]], -1)
    share = np.bincount(np.argmax(ends, -1), minlength=4) / len(ends)
    best = int(np.argmax([level[0], -level[0], level[1], -level[1]]))
    extra = {"yaw": float(level[0]), "pitch": float(level[1]), "roll": float(level[2]),
             "sigma": [float(s) for s in turns.std(0)], "category": TURNS[best],
             "probabilities": {name: float(p) for name, p in zip(TURNS, share)}}
    return Sample(angles, {"pose": np.linalg.norm(vectors, axis=-1)}, scaled=False, magnitude=True,
                  p_zero=zero_p_value(mean, covariance), extra=extra)


def _part_of_turn(draws: SceneDraws, span: Span, part: int) -> Sample:
    rotation = draws.scene.T_world_cam.rotation
    if ("turns", span) not in draws.camera.memo:
        draws.camera.memo["turns", span] = yaw_pitch_roll(draws.relative_rotation(*span))
    turns = draws.camera.memo["turns", span][:, part]
    mean = float(yaw_pitch_roll(rotation[span[0]].T @ rotation[span[1]])[part])
    turns = mean + (turns - mean + np.pi) % (2 * np.pi) - np.pi  # draws on both sides of half a turn
    return Sample(turns, {"pose": turns}, scaled=False)


def camera_yaw(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """rad, of R_iᵀ R_j = R_y(yaw) R_x(pitch) R_z(roll); positive to the right."""
    return _part_of_turn(draws, span, 0)


def camera_pitch(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """rad, of the same; positive upwards."""
    return _part_of_turn(draws, span, 1)


def camera_roll(draws: SceneDraws, subjects: tuple[int, ...], span: Span) -> Sample:
    """rad, of the same; positive clockwise, as seen from behind the camera."""
    return _part_of_turn(draws, span, 2)
