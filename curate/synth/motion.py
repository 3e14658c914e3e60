"""Smooth motions of cameras and objects, as positions and rotations on a time grid.

Axes are those of a level camera: x right, y down (along gravity), z forward. Everything starts at zero.
"""

from __future__ import annotations

import numpy as np

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3
from curate.synth.distribution import Distribution


def heading_vector(heading: np.ndarray) -> np.ndarray:
    """Heading [...] (radians, 0 = forward, positive to the right) to a level unit vector [..., 3]."""
    heading = np.asarray(heading, float)
    return np.stack([np.sin(heading), np.zeros_like(heading), np.cos(heading)], -1)


def yaw(angle: np.ndarray) -> np.ndarray:
    """Rotation [..., 3, 3] about the downward axis; positive turns forward to the right."""
    angle = np.asarray(angle, float)
    return exp_so3(np.stack([np.zeros_like(angle), angle, np.zeros_like(angle)], -1))


def integrate(velocity: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """Velocity [F, 3] to position [F, 3] from zero, trapezoids."""
    steps = (velocity[1:] + velocity[:-1]) / 2 * np.diff(time_s)[:, None]
    return np.concatenate([np.zeros((1, 3)), np.cumsum(steps, 0)])


def sway(rng: np.random.Generator, time_s: np.ndarray, amplitude: float) -> np.ndarray:
    """[F, 3] sum of slow sines in each axis (0.2 to 1.1 Hz), zero at the start."""
    frequency = rng.uniform(0.2, 1.1, (3, 3))
    phase = rng.uniform(0, 2 * np.pi, (3, 3))
    weight = rng.dirichlet(np.ones(3), 3) * amplitude
    waves = weight[None] * np.sin(2 * np.pi * frequency[None] * time_s[:, None, None] + phase[None])
    return (waves - waves[:1]).sum(-1)


def camera_path(rng: np.random.Generator, kind: str, distribution: Distribution, time_s: np.ndarray, pitch: float,
                reach_m: float) -> Pose:
    """T_level_cam [F] of a camera that starts at the origin, `pitch` radians above level.

    Args:
        reach_m: the typical distance of the objects; a hand-held camera drifts less where they are near.
    """
    look = exp_so3(np.array([pitch, 0, 0]))
    zero = np.zeros((len(time_s), 3))
    if kind == "still":
        return Pose("level", "cam", np.broadcast_to(look, (len(time_s), 3, 3)), zero)
    if kind == "hand-held":
        c = distribution.hand_held
        sign = rng.choice([-1, 1])
        turn = sign * np.radians(rng.uniform(*c.turn_deg_s)) * time_s
        wobble = sway(rng, time_s, np.radians(rng.uniform(*c.sway_deg)))
        drift = heading_vector(rng.choice([0, np.pi, np.pi / 2, -np.pi / 2]) + rng.normal(0, 0.25))
        speed = min(rng.uniform(*c.drift_mps), 0.08 * reach_m)
        position = drift * speed * time_s[:, None] + sway(rng, time_s, rng.uniform(*c.sway_m))
        return Pose("level", "cam", yaw(turn) @ exp_so3(wobble) @ look, position)
    c = distribution.driving
    straight = rng.random() < c.straight_probability
    heading = 0 if straight else rng.choice([-1, 1]) * np.radians(rng.uniform(*c.turn_deg_s))
    speed = np.maximum(rng.uniform(*c.speed_mps) + rng.uniform(*c.acceleration_mps2) * time_s, 0.5)
    position = integrate(heading_vector(heading * time_s) * speed[:, None], time_s)
    shake = sway(rng, time_s, np.radians(rng.uniform(*c.shake_deg)))
    return Pose("level", "cam", yaw(heading * time_s) @ exp_so3(shake) @ look, position)


def object_path(rng: np.random.Generator, motion: str, distribution: Distribution, time_s: np.ndarray, speed: float,
                heading: float) -> tuple[np.ndarray, np.ndarray]:
    """Displacement from the start [F, 3] metres, and rotation about the vertical [F] radians.

    Args:
        speed: mean over the clip, m/s.
        heading: at the start; for "vertical", its cosine's sign says down or up.
    """
    c = distribution.objects
    duration = time_s[-1]
    spin = np.zeros_like(time_s)
    if rng.random() < c.spin_probability:
        spin = rng.choice([-1, 1]) * np.radians(rng.uniform(*c.spin_deg)) * time_s / duration
    if motion == "vertical":
        velocity = np.broadcast_to([0, np.sign(np.cos(heading)) * speed, 0], (len(time_s), 3))
    elif motion == "arc":
        turn = rng.choice([-1, 1]) * np.radians(rng.uniform(*c.arc_turn_deg)) * (time_s / duration - 0.5)
        velocity = heading_vector(heading + turn) * speed
        if rng.random() < c.follow_heading_probability:
            spin = turn - turn[0]
    elif motion == "accelerating":
        share = rng.uniform(0.5, 0.9) * rng.choice([-1, 1])
        velocity = heading_vector(np.full_like(time_s, heading)) * (
            speed * (1 + share * (2 * time_s / duration - 1)))[:, None]
    else:
        velocity = heading_vector(np.full_like(time_s, heading)) * speed
    return integrate(velocity, time_s), spin
