"""What real stereo pairs have and rendered ones lack, added to rendered frames.

Ranges are those of rectified pairs with automatic exposure: a tenth in gain, a fraction of a pixel in the rows,
lenses that are not equally sharp and leave some distortion, reflections that differ between the views, and posts
and railings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from curate.geometry.poses import Pose
from curate.synth import SceneTruth
from curate.synth.scene import Body


@dataclass(frozen=True)
class Disturbance:
    """One draw for a clip; view 1 (right) differs from view 0.

    Args:
        gain, gamma, offset: of the right view, on grey levels / 255.
        blur_px: [2] standard deviation of each view's blur.
        rows_px: [3] vertical shift of the right view: constant, at the right edge, at the lower edge.
        columns_px: [6, 8] horizontal shift of the right view on a coarse grid: what is left of the lenses' distortion.
        reflections: [2, 6, 8] gain of each view on a coarse grid, about 1.
        vignette: loss of light in the corners.
    """

    gain: float
    gamma: float
    offset: float
    blur_px: np.ndarray
    rows_px: np.ndarray
    columns_px: np.ndarray
    reflections: np.ndarray
    vignette: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Disturbance:
        return Disturbance(
            gain=float(np.exp(rng.normal(0, 0.08))), gamma=float(np.exp(rng.normal(0, 0.06))),
            offset=float(rng.normal(0, 0.01)), blur_px=rng.uniform(0, 0.6) + rng.uniform(0, 0.4, 2),
            rows_px=rng.normal(0, [0.15, 0.12, 0.12]), columns_px=rng.normal(0, 0.07, (6, 8)),
            reflections=1 + rng.normal(0, 0.03, (2, 6, 8)),
            vignette=float(rng.uniform(0, 0.25)))

    def apply(self, image: np.ndarray, view: int) -> np.ndarray:
        """[H, W, 3] uint8 as this view's camera would have it."""
        height, width = image.shape[:2]
        x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
        out = image.astype(np.float32)
        if view == 1:
            shift = self.rows_px[0] + self.rows_px[1] * x + self.rows_px[2] * y
            rows = np.arange(height, dtype=np.float32)[:, None] + shift.astype(np.float32)
            columns = np.arange(width, dtype=np.float32)[None] + _smooth(self.columns_px, width, height)
            out = cv2.remap(out, columns, rows, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
        if self.blur_px[view] > 0.15:
            out = cv2.GaussianBlur(out, (0, 0), float(self.blur_px[view]))
        field = _smooth(self.reflections[view], width, height)
        field *= 1 - np.float32(self.vignette / 2) * (x**2 + y**2)
        out = np.clip(out * field[..., None] / 255, 0, 1)
        if view == 1:
            out = np.clip(self.gain * out**self.gamma + self.offset, 0, 1)
        return (255 * out + 0.5).astype(np.uint8)


def _smooth(grid: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)


def with_posts(scene: SceneTruth, rng: np.random.Generator, count: int = 5) -> SceneTruth:
    """The scene with thin upright posts of 2 to 10 px width at any depth; two of them may make a railing."""
    camera, ground = scene.rig.left, scene.bodies[0]
    rotation = ground.pose(0).rotation
    disparities = scene.rig.left.fx * scene.rig.baseline_m / np.array([0.02, 0.12]) / camera.width
    posts = []
    for number in range(count):
        z = float(np.exp(rng.uniform(*np.sort(np.log(disparities)))))
        width = rng.uniform(2, 10) * z / camera.fx
        u, v = rng.uniform(0.05, 0.95) * camera.width, rng.uniform(0.2, 0.8) * camera.height
        tall = rng.uniform(0.3, 1.2) * camera.height * z / camera.fy
        repeats = int(rng.integers(3, 9)) if number == 0 else 1
        for i in range(repeats):
            centre = camera.lift(np.array([u, v]), np.array(z)) + rotation[:, 0] * (3.5 * width * i)
            posts.append(Body(0, "box", np.array([width, tall, width]), Pose("world", "obj", rotation[None],
                              centre[None]), "still", int(rng.integers(1 << 31)), 8 * width,
                              float(rng.uniform(0.2, 1.0)), rng.uniform(0.1, 0.9, (2, 3))))
    return replace(scene, bodies=(*scene.bodies, *posts))
