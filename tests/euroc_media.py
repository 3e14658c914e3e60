"""A small stereo recording as EuRoC lays it out: points seen through a distorted lens, and what the lens does to them.

The lens formulas are written here a second time, from their papers: radial-tangential (Brown 1966) and equidistant
(Kannala & Brandt 2006, first four terms).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import yaml

WIDTH, HEIGHT = 320, 240
RADTAN = (-0.28, 0.074, 2e-4, -1e-4)
FISHEYE = (-0.013, 0.021, -0.012, 0.003)
LEFT_K = (190.0, 189.0, 158.2, 121.4)
RIGHT_K = (191.5, 190.6, 162.1, 118.3)
START_NS = 1_403_715_273_262_142_976
LAYOUT = {"left": "mav0/cam0/data", "right": "mav0/cam1/data",
          "calibration": ["mav0/cam0/sensor.yaml", "mav0/cam1/sensor.yaml"], "fps": None}
EVEN = [START_NS + i * 50_000_000 for i in range(8)]
POINTS = np.array([[-0.7, -0.4, 2.0], [0.6, 0.45, 2.5], [0.1, -0.1, 1.4], [-0.5, 0.5, 3.0], [0.75, -0.45, 2.2]])


def distort(points: np.ndarray, k: tuple, distortion: tuple, model: str) -> np.ndarray:
    """[N, 2] pixels of [N, 3] metres in the camera's axes."""
    x, y = (points[:, :2] / points[:, 2:]).T
    r = np.hypot(x, y)
    if model == "equidistant":
        angle = np.arctan(r)
        bent = angle * (1 + sum(c * angle ** (2 * i) for i, c in enumerate(distortion, 1)))
        x, y = x * bent / r, y * bent / r
    else:
        k1, k2, p1, p2 = distortion
        radial = 1 + k1 * r**2 + k2 * r**4
        x, y = (x * radial + 2 * p1 * x * y + p2 * (r**2 + 2 * x**2),
                y * radial + p1 * (r**2 + 2 * y**2) + 2 * p2 * x * y)
    return np.stack([k[0] * x + k[2], k[1] * y + k[3]], -1)


@dataclass
class Rig:
    """Two cameras askew in a body that is turned itself, as sensor.yaml files state them."""

    model: str  # radial-tangential or equidistant
    distortion: tuple = field(init=False)

    def __post_init__(self) -> None:
        self.distortion = FISHEYE if self.model == "equidistant" else RADTAN
        body = np.eye(4)
        body[:3, :3] = cv2.Rodrigues(np.array([0.3, -1.1, 0.8]))[0]
        body[:3, 3] = [0.02, -0.06, 0.01]
        self.T_right_left = np.eye(4)
        self.T_right_left[:3, :3] = cv2.Rodrigues(np.array([0.012, -0.02, 0.008]))[0]
        self.T_right_left[:3, 3] = [-0.11, 0.0004, -0.001]
        self.T_BS = body, body @ np.linalg.inv(self.T_right_left)

    def seen(self, points: np.ndarray, view: int) -> np.ndarray:
        """[N, 2] pixels of [N, 3] in the left camera's axes."""
        if view:
            points = points @ self.T_right_left[:3, :3].T + self.T_right_left[:3, 3]
        return distort(points, (LEFT_K, RIGHT_K)[view], self.distortion, self.model)

    def image(self, points: np.ndarray, view: int) -> np.ndarray:
        """[H, W] in 0..1: a bright blob at each point."""
        v, u = np.mgrid[:HEIGHT, :WIDTH]
        image = np.full((HEIGHT, WIDTH), 0.1)
        for x, y in self.seen(points, view):
            image += 0.8 * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * 2.0**2))
        return np.clip(image, 0, 1)

    def sensor(self, view: int) -> dict:
        return {"sensor_type": "camera", "rate_hz": 20, "resolution": [WIDTH, HEIGHT], "camera_model": "pinhole",
                "T_BS": {"cols": 4, "rows": 4, "data": self.T_BS[view].ravel().tolist()},
                "intrinsics": list((LEFT_K, RIGHT_K)[view]), "distortion_model": self.model,
                "distortion_coefficients": list(self.distortion)}


def write_euroc(root: Path, rig: Rig, times_ns: tuple[list[int], list[int]], *, bits: int = 8, points=POINTS) -> Path:
    """mav0/cam{0,1}/{data/{time}.png, data.csv, sensor.yaml}; 12-bit and 14-bit values in 16-bit files."""
    for view in (0, 1):
        folder = root / "mav0" / f"cam{view}"
        (folder / "data").mkdir(parents=True)
        text = yaml.safe_dump(rig.sensor(view), default_flow_style=None)
        (folder / "sensor.yaml").write_text(f"%YAML:1.0\n{text}")
        image = rig.image(points, view)
        image = (image * ((1 << bits) - 1)).astype(np.uint8 if bits == 8 else np.uint16)
        lines = ["#timestamp [ns],filename"]
        for time in times_ns[view]:
            cv2.imwrite(str(folder / "data" / f"{time}.png"), image)
            lines.append(f"{time},{time}.png")
        (folder / "data.csv").write_text("\n".join(lines) + "\n")
    return root


def blobs(image: np.ndarray, near: np.ndarray, radius: int = 9) -> np.ndarray:
    """[N, 2] centres of brightness around [N, 2] pixels."""
    grey = image[..., 0].astype(float)
    found = []
    for x, y in near:
        columns, rows = (np.arange(round(c) - radius, round(c) + radius + 1) for c in (x, y))
        patch = grey[np.ix_(rows, columns)]
        patch = np.clip(patch - np.median(patch) - 5, 0, None)
        found.append([patch.sum(0) @ columns / patch.sum(), patch.sum(1) @ rows / patch.sum()])
    return np.array(found)
