"""Objects by how they move, for tests of stated errors: one of each class before a camera that moves or not."""

from __future__ import annotations

import numpy as np

from curate.scene import Scene
from tests.scenes import Noise, Path, Truth, make_scene

CLASSES = ("still", "slow", "fast", "turning", "accelerating", "swinging")
CAMERAS = ("still", "hand-held", "driving")
LENGTHS = (8, 16, 32)


def moving_path(name: str, rng: np.random.Generator, start: np.ndarray, pace: float, duration: float) -> Path:
    """Position over time [n] -> [n, 3] m.

    Args:
        pace: 1 for what people do, larger on a street. duration: of the clip, seconds.
    """
    heading = rng.uniform(0, 2 * np.pi)
    ahead = np.array([np.cos(heading), rng.normal(0, .1), np.sin(heading)])
    if name == "still":
        return lambda t: np.repeat(start[None], len(t), 0)
    if name in ("slow", "fast"):
        velocity = pace * ahead * (rng.uniform(.05, .3) if name == "slow" else rng.uniform(.7, 2))
        return lambda t: start + velocity * t[:, None]
    if name == "turning":
        speed, rate = pace * rng.uniform(.4, 2), np.radians(rng.uniform(25, 90)) * rng.choice([-1, 1])
        return lambda t: start + speed / rate * np.stack(
            [np.sin(heading + rate * t) - np.sin(heading), 0 * t, np.cos(heading) - np.cos(heading + rate * t)], -1)
    if name == "accelerating":
        speed, share = pace * rng.uniform(.2, 1.5), rng.uniform(.3, .9) * rng.choice([-1, 1])
        return lambda t: start + ahead * (speed * ((1 - share) * t + share * t**2 / duration))[:, None]
    if name == "swinging":
        reach, omega = pace * rng.uniform(.1, .4) * ahead, rng.uniform(.4, 1) * 2 * np.pi
        phase = rng.uniform(0, 2 * np.pi)
        return lambda t: start + reach * (np.sin(omega * t[:, None] + phase) - np.sin(phase))
    raise ValueError(f"no motion is called {name!r}")


def make_motions(seed: int, camera: str = "still", num_frames: int = 16, noise: Noise | None = None,
                 fps: float = 12.0, **options) -> tuple[Scene, Truth]:
    """A scene with one object of each of CLASSES: region k + 1 moves as CLASSES[k]. Options are `make_scene`'s."""
    near, far, pace = (2.0, 10.0, 1.0) if camera != "driving" else (15.0, 40.0, 4.0)
    attempt = 0
    while True:
        rng = np.random.default_rng([seed, num_frames, attempt])
        paths = []
        for name in CLASSES:
            z = rng.uniform(near, far)
            start = np.array([rng.uniform(-.25, .25) * z, rng.uniform(-.1, .1) * z, z])
            paths.append((name, moving_path(name, rng, start, pace, (num_frames - 1) / fps), name != "still"))
        try:
            return make_scene(seed, camera, num_frames, len(CLASSES), noise, fps, paths=paths, **options)
        except ValueError:  # something passed behind the camera
            attempt += 1
