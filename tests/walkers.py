"""Rendered people who walk over a plane before a camera that stands still, and where they are: for tests of the ground.

Heads, trunks, arms and swinging legs are capsules in space, drawn with the painter's algorithm, with shadows on the
ground, light that changes, and noise. Nothing of it is shared with what perceives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.ground import GroundPlane, from_height

WIDTH, HEIGHT = 640, 480
SUN = np.array([0.5, 0.3])  # metres of shadow on the ground for a metre of height


@dataclass
class Walk:
    """A way over the ground: places [n, 2] m that are passed at times [n] s, and what walks it."""

    at_s: np.ndarray
    place: np.ndarray
    height: float
    upper: tuple[int, int, int]
    lower: tuple[int, int, int]

    def where(self, seconds: float) -> np.ndarray:
        return np.array([np.interp(seconds, self.at_s, self.place[:, k]) for k in (0, 1)])

    def gone(self, seconds: float) -> float:
        """Metres walked."""
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(self.place, axis=0), axis=1))])
        return float(np.interp(seconds, self.at_s, length))


def plane(height_m: float = 6.0, pitch_deg: float = 20.0, roll_deg: float = 1.0, focal: float = 800.0) -> GroundPlane:
    camera = Intrinsics(focal, focal, (WIDTH - 1) / 2, (HEIGHT - 1) / 2, WIDTH, HEIGHT)
    return from_height(camera, height_m, math.radians(pitch_deg), math.radians(roll_deg))


def homography(of: GroundPlane) -> np.ndarray:
    """[3, 3] pixel of a foot to metres."""
    return np.linalg.inv(of.at_height(0.0))


def random_walks(rng: np.random.Generator, of: GroundPlane, num: int, seconds: float) -> list[Walk]:
    """People who walk from one place in sight to another, some of whom stand for a while."""
    walks = []
    while len(walks) < num:
        ends = of.to_ground(np.column_stack([rng.uniform(60, WIDTH - 60, 2), rng.uniform(190, HEIGHT - 40, 2)]))
        length = float(np.linalg.norm(ends[1] - ends[0]))
        speed = rng.uniform(0.8, 1.6)
        stand = rng.uniform(0.2, 0.5) * seconds if rng.random() < 0.3 else 0.0
        way = speed * (seconds - stand)
        if length < 0.5 * way:
            continue
        ends[1] = ends[0] + (ends[1] - ends[0]) * min(1.0, way / length)
        walked = np.linalg.norm(ends[1] - ends[0]) / speed
        start = rng.uniform(0, max(seconds - walked, 1e-3))
        colours = [tuple(int(c) for c in rng.integers(15, 235, 3)) for _ in range(2)]
        walks.append(Walk(np.array([0, start, start + walked, seconds + 1]),
                          np.array([ends[0], ends[0], ends[1], ends[1]]), float(rng.uniform(1.55, 1.9)), *colours))
    return walks


def ground_picture(rng: np.random.Generator, of: GroundPlane) -> np.ndarray:
    """[H, W, 3] float32: grass, asphalt, a wall above the horizon."""
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    place = of.to_ground(np.stack([u, v], -1).astype(float))
    far = ~np.isfinite(place).all(-1) | (np.linalg.norm(place, axis=-1) > 60)
    place = np.where(far[..., None], np.stack([u, v], -1) / 40.0, place)
    picture = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for metres, strength in ((0.15, 12), (0.6, 14), (3.0, 22)):
        noise = rng.normal(0, 1, (512, 512, 3)).astype(np.float32)
        noise = 0.7 * noise[..., :1] + 0.3 * noise
        index = (place / metres).astype(np.float32)
        at = np.mod(index, 511)
        picture += strength * cv2.remap(noise, at[..., 0], at[..., 1], cv2.INTER_LINEAR)
    base = np.array(rng.uniform(90, 190, 3), np.float32)
    other = np.array(rng.uniform(60, 180, 3), np.float32)
    lawn = np.sin(place[..., 0] * 0.7 + 1) + np.sin(place[..., 1] * 0.5) > 0.4
    return np.clip(picture + np.where(lawn[..., None], other, base), 0, 255)


def limbs(walk: Walk, seconds: float) -> list[tuple[np.ndarray, np.ndarray, float, tuple[int, int, int]]]:
    """(end [3], end [3], radius, colour) in ground coordinates: x, y, height."""
    here = walk.where(seconds)
    ahead = walk.where(seconds + 0.05) - walk.where(seconds - 0.05)
    speed = np.linalg.norm(ahead) / 0.1
    facing = ahead / np.linalg.norm(ahead) if speed > 1e-3 else np.array([1.0, 0.0])
    side = np.array([-facing[1], facing[0]])
    h = walk.height
    phase = 2 * math.pi * walk.gone(seconds) / (0.8 * h)
    swing = min(speed / 1.2, 1.0)

    def at(forward: float, across: float, up: float) -> np.ndarray:
        return np.array([*(here + forward * facing + across * side), up]) * [1, 1, 1]

    out = []
    for sign in (-1, 1):
        move = sign * swing * math.sin(phase)
        lift = max(0.0, sign * swing * math.cos(phase)) * 0.05 * h
        hip, knee = at(0, sign * 0.05 * h, 0.5 * h), at(0.10 * h * move, sign * 0.05 * h, 0.27 * h)
        foot = at(0.17 * h * move, sign * 0.05 * h, 0.03 * h + lift)
        out += [(hip, knee, 0.045 * h, walk.lower), (knee, foot, 0.035 * h, walk.lower),
                (foot, foot + np.array([*(0.08 * h * facing), 0]), 0.025 * h, (40, 35, 30))]
        hand = at(-0.13 * h * move, sign * 0.13 * h, 0.45 * h)
        out.append((at(0, sign * 0.11 * h, 0.8 * h), hand, 0.028 * h, walk.upper))
    out.append((at(0, 0, 0.52 * h), at(0, 0, 0.78 * h), 0.085 * h, walk.upper))
    out.append((at(0, 0, 0.9 * h), at(0, 0, 0.94 * h), 0.055 * h, (70, 50, 45)))
    return out


def draw(picture: np.ndarray, of: GroundPlane, walks: list[Walk], seconds: float, shadow: float) -> np.ndarray:
    """[H, W, 3] float32 of one time. shadow: share of light that stays in it."""
    out = picture.copy()
    dark = np.zeros((HEIGHT, WIDTH), np.uint8)
    parts = []
    for walk in walks:
        for a, b, radius, colour in limbs(walk, seconds):
            ends = [of.to_pixels(p[:2] + SUN * p[2]) for p in (a, b)]
            centre = of.to_camera((a[:2] + b[:2]) / 2, (a[2] + b[2]) / 2)
            wide = of.camera.fx * radius / centre[2]
            _line(dark, ends, wide * 0.7, 255)
            parts.append((centre[2], [of.to_pixels(p[:2], p[2]) for p in (a, b)], wide, colour))
    dark = cv2.GaussianBlur(dark, (5, 5), 1).astype(np.float32)[..., None] / 255
    out *= 1 - (1 - shadow) * dark
    for _, ends, wide, colour in sorted(parts, key=lambda part: -part[0]):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        _line(mask, ends, wide, 255)
        x0, y0, w, h = cv2.boundingRect(mask)
        window = np.s_[y0:y0 + h, x0:x0 + w]
        share = mask[window].astype(np.float32)[..., None] / 255
        cloth = np.array(colour, np.float32) * (1 + 0.08 * np.sin(np.arange(h)[:, None, None] * 0.9))
        out[window] = out[window] * (1 - share) + share * cloth
    return out


def _line(image: np.ndarray, ends: list[np.ndarray], radius: float, value: int) -> None:
    """A capsule whose edges are smooth, in eighths of a pixel."""
    if not np.isfinite(ends).all():
        return
    a, b = (np.asarray(e) for e in ends)
    along = b - a
    length = np.linalg.norm(along)
    across = np.array([-along[1], along[0]]) / length if length > 1e-6 else np.array([1.0, 0.0])
    corners = np.array([a + across * radius, b + across * radius, b - across * radius, a - across * radius])
    cv2.fillPoly(image, [np.rint(corners * 8).astype(np.int32)], value, cv2.LINE_AA, 3)
    for end in (a, b):
        cv2.circle(image, tuple(round(c * 8) for c in end), round(radius * 8), value, -1, cv2.LINE_AA, 3)


def film(seed: int, of: GroundPlane, walks: list[Walk], num_frames: int, fps: float, shadow: float = 0.6,
         noise: float = 2.0, drift: float = 0.05) -> np.ndarray:
    """[T, H, W, 3] uint8. drift: by how much the light changes over the clip."""
    rng = np.random.default_rng(seed)
    picture = ground_picture(rng, of)
    frames = np.empty((num_frames, HEIGHT, WIDTH, 3), np.uint8)
    for t in range(num_frames):
        light = 1 + drift * math.sin(2 * math.pi * t / num_frames)
        image = light * draw(picture, of, walks, t / fps, shadow) + rng.normal(0, noise, picture.shape)
        frames[t] = np.clip(np.rint(image), 0, 255)
    return frames


def frames_of(pictures: np.ndarray, fps: float, ground: GroundPlane | None):
    """Pictures [T, H, W, 3] as a source opens them; without a ground their scale is relative."""
    from curate.sources.single_video import SingleFrames, camera_of

    camera = ground.camera if ground is not None else camera_of(None, pictures.shape[2], pictures.shape[1])[0]
    return SingleFrames(lambda start, stop: pictures[start:stop], lambda: None, np.arange(len(pictures)) / fps, 0,
                        camera, is_grey=False, scale="calibrated" if ground is not None else "relative",
                        given={"ground": ground} if ground is not None else {})


def perceived(pictures: np.ndarray, fps: float, ground: GroundPlane | None):
    """The scene of pictures [T, H, W, 3]."""
    from curate.perception.config import PerceptionConfig
    from curate.perception.pipeline import perceive
    from curate.sources.base import ClipSpec

    clip = ClipSpec(f"{len(pictures):024x}", "single_video", "made", "made", 0, len(pictures), {})
    return perceive(clip, frames_of(pictures, fps, ground), PerceptionConfig())
