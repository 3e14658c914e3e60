"""Pictures of half the world and more, and the rectified perspective pair that is cut out of two of them.

Axes of an eye are OpenCV's about the middle of its picture: x right, y down, z forward. The eyes lie along x. A pair of
pinhole views is rectified where both have the same axes and their x axis is the line between the eyes. So a pair may be
pitched at will (a turn about x), but not turned to the side: there the window is moved along the picture plane instead,
which is a pinhole camera too, with its principal point off the middle.

Equirectangular pictures have longitude along columns and latitude along rows, both linear; the outer edges of the outer
pixels are the bounds (Spherical Video V2 RFC, `equi`). An equidistant fisheye has the angle from its axis along radii.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.rotations import exp_so3
from curate.sources.base import BadInput
from curate.sources.config_spherical import VirtualPair

MAX_FINE = 4  # samples a side of an output pixel, at most
MAX_FINE_PIXELS = 1 << 24  # of one eye's sampling map
FULL_TURN = 2 * np.pi - 1e-6


@dataclass(frozen=True)
class Equirectangular:
    """One eye's picture: bounds in radians (longitude to the right, latitude upwards), size in pixels."""

    left: float
    right: float
    bottom: float
    top: float
    width: int
    height: int

    def pixels(self, rays: np.ndarray) -> np.ndarray:
        """Directions [..., 3], any length, to pixels [..., 2], pixel centres at integers; nan off the picture."""
        x, y, z = np.moveaxis(np.asarray(rays, float), -1, 0)
        longitude, latitude = np.arctan2(x, z), np.arctan2(-y, np.hypot(x, z))
        u = (longitude - self.left) / (self.right - self.left) * self.width - 0.5
        v = (self.top - latitude) / (self.top - self.bottom) * self.height - 0.5
        inside = (v >= -0.5) & (v <= self.height - 0.5)
        if not self.is_closed:
            inside &= (u >= -0.5) & (u <= self.width - 0.5)
        return np.where(inside[..., None], np.stack([u, v], -1), np.nan)

    @property
    def is_closed(self) -> bool:
        """The right edge continues at the left one."""
        return self.right - self.left >= FULL_TURN

    def rays(self) -> np.ndarray:
        """[H, W, 3] unit directions through every pixel centre: what a renderer casts."""
        longitude = self.left + (np.arange(self.width) + 0.5) / self.width * (self.right - self.left)
        latitude = self.top - (np.arange(self.height) + 0.5) / self.height * (self.top - self.bottom)
        lon, lat = np.meshgrid(longitude, latitude)
        return np.stack([np.cos(lat) * np.sin(lon), -np.sin(lat), np.cos(lat) * np.cos(lon)], -1)


@dataclass(frozen=True)
class Fisheye:
    """An equidistant lens: r = f θ about the middle. Its image circle, `fov` radians across, fits the shorter side."""

    fov: float
    width: int
    height: int
    is_closed = False

    def pixels(self, rays: np.ndarray) -> np.ndarray:
        """As `Equirectangular.pixels`; nan outside of the image circle."""
        x, y, z = np.moveaxis(np.asarray(rays, float), -1, 0)
        across = np.hypot(x, y)
        angle = np.arctan2(across, z)
        radius = angle / self.fov * min(self.width, self.height)
        scale = radius / np.where(across > 0, across, 1)
        uv = np.stack([(self.width - 1) / 2 + x * scale, (self.height - 1) / 2 + y * scale], -1)
        inside = (angle <= self.fov / 2) & (uv >= -0.5).all(-1) & (uv <= [self.width - 0.5, self.height - 0.5]).all(-1)
        return np.where(inside[..., None], uv, np.nan)

    def rays(self) -> np.ndarray:
        """[H, W, 3] unit directions through every pixel centre, those outside of the image circle too."""
        u, v = np.meshgrid(np.arange(self.width) - (self.width - 1) / 2, np.arange(self.height) - (self.height - 1) / 2)
        radius = np.hypot(u, v)
        angle = radius / min(self.width, self.height) * self.fov
        scale = np.sin(angle) / np.where(radius > 0, radius, 1)
        return np.stack([u * scale, v * scale, np.cos(angle)], -1)


Lens = Equirectangular | Fisheye


def aim(pair: VirtualPair, turns: bool = False) -> tuple[Intrinsics, np.ndarray]:
    """The camera of both views of a pair, and R_eye_view [3, 3].

    Args:
        turns: the eyes turn with the direction of view (omnidirectional stereo): yaw turns the pair.
    """
    half, yaw, pitch = (np.radians(a) for a in (pair.fov_deg / 2, pair.yaw_deg, pair.pitch_deg))
    axes = exp_so3(np.array([pitch, 0.0, 0.0]))
    if turns:
        axes, yaw = exp_so3(np.array([0.0, yaw, 0.0])) @ axes, 0.0
    low, high = np.tan(yaw - half), np.tan(yaw + half)
    focal = pair.width / (high - low)
    return Intrinsics(float(focal), float(focal), float(-0.5 - focal * low), (pair.height - 1) / 2, pair.width,
                      pair.height), axes


class Resampler:
    """Cuts a perspective view out of one eye's picture.

    Where the picture is denser than the view, several samples a side are taken in each pixel of the view and averaged;
    samples are bicubic.

    Raises:
        BadInput: where the view reaches beyond the picture.
    """

    def __init__(self, lens: Lens, camera: Intrinsics, R_eye_view: np.ndarray, where: str) -> None:
        uv = lens.pixels(camera.rays() @ np.asarray(R_eye_view).T)
        if np.isnan(uv).any():
            raise BadInput(f"{where}: a virtual pair looks beyond the picture ({np.isnan(uv).any(-1).mean():.0%} of "
                           "its pixels have no content); lower its fov_deg, height or angles, or say what the picture "
                           "spans (source.fov_deg)")
        self.size = camera.width, camera.height
        fine = int(np.clip(np.ceil(_density(uv, lens) - 0.25), 1, MAX_FINE))
        while fine > 1 and fine**2 * camera.width * camera.height > MAX_FINE_PIXELS:
            fine -= 1
        self.fine = fine
        if fine > 1:
            dense = camera.scaled(fine * camera.width, fine * camera.height)
            uv = lens.pixels(dense.rays() @ np.asarray(R_eye_view).T)
            uv = np.where(np.isnan(uv), np.nanmax(uv, (0, 1)), uv)  # at most half a pixel of the border
        self._maps = np.float32(uv[..., 0]), np.float32(uv[..., 1])
        self._border = cv2.BORDER_WRAP if lens.is_closed else cv2.BORDER_REPLICATE

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """One eye's picture [h, w, 3] uint8 to the view [H, W, 3] uint8."""
        view = cv2.remap(image, *self._maps, cv2.INTER_CUBIC, borderMode=self._border)
        return view if self.fine == 1 else cv2.resize(view, self.size, interpolation=cv2.INTER_AREA)


def _density(uv: np.ndarray, lens: Lens) -> float:
    """Pixels of the picture to a pixel of the view along each axis, the median over the view."""
    steps = np.concatenate([np.linalg.norm(np.diff(uv, axis=axis), axis=-1).ravel() for axis in (0, 1)])
    return float(np.median(steps[steps < lens.width / 2]))  # not across the seam
