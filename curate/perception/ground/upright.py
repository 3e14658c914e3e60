"""An upright object on the ground from its silhouette: foot, head and middle column to a place with covariance.

An object of height h at the place (X, Y) shows its foot at π(X, Y, 0) and its head at π(X, Y, h). A silhouette tells
the row of each, and the column half-way between. Once the height is known, either row alone says the distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.geometry.ground import GroundPlane
from curate.perception.ground.config import GroundConfig
from curate.perception.ground.figures import Figure

STEP = 1e-4  # of the height, for slopes
NEWTON_STEPS = 10  # at most; two or three do
ALONE = 3.0  # by how much more a place errs than stated where foot or head is hidden
END, END_SIGMA = 0.15, 0.06  # head or feet: share of the silhouette's rows; sigma of their column, of its height


@dataclass
class Sighting:
    """What a silhouette tells.

    Args:
        z: [3] px: middle column, row of the foot, row of the head. sigma: [3] px, inf where it is hidden.
    """

    z: np.ndarray
    sigma: np.ndarray

    @property
    def known(self) -> np.ndarray:
        return np.isfinite(self.sigma)


def sight(figure: Figure, size: tuple[int, int], config: GroundConfig) -> Sighting:
    """
    Args:
        size: (width, height) of the image. What its border or a nearer object cuts is not known.
    """
    x0, y0, x1, y1 = figure.box
    height, width = y1 - y0, x1 - x0
    wide = max(width - 0.5 * height, 0.0)  # of a broad object no row is that of its middle
    z = np.array([(x0 + x1 - 1) / 2, y1 - 0.5, y0 - 0.5])
    sigma = np.hypot(config.pixel_sigma, np.array([config.side_sigma, config.foot_sigma, config.head_sigma]) * height)
    sigma = np.hypot(sigma, np.array([0.1, 0.1, 0.1]) * wide)
    middle = middle_column(figure)
    sigma[0] = np.hypot(sigma[0], 0.25 * (z[0] - middle))  # an arm held out, or a neighbour's
    z[0] = middle
    cut = np.array([x0 <= 1 or x1 >= size[0] - 1, y1 >= size[1] - 1 or figure.is_open[0], y0 <= 1 or figure.is_open[1]])
    if figure.is_shared and not cut[1:].all():  # the end that is seen says the column
        z[0], sigma[0] = end_column(figure, top=not cut[2]), np.hypot(config.pixel_sigma, END_SIGMA * height)
    sigma[cut] = np.inf
    return Sighting(z, sigma)


def middle_column(figure: Figure) -> float:
    """Median column, px, of a silhouette: what is carried beside the body moves it little."""
    _, u = np.nonzero(figure.crop)
    return float(np.median(u) + figure.box[0])


def end_column(figure: Figure, top: bool) -> float:
    """Middle column, px, of the highest or lowest part of a silhouette."""
    rows = max(round(END * len(figure.crop)), 1)
    _, u = np.nonzero(figure.crop[:rows] if top else figure.crop[-rows:])
    return float(u.mean() + figure.box[0])


def seen_at(plane: GroundPlane, ground: np.ndarray, height: float) -> np.ndarray:
    """[3] what an object at a place (X, Y) with a height shows: middle column, row of foot, row of head."""
    foot, head = plane.to_pixels(ground), plane.to_pixels(ground, height)
    return np.array([(foot[0] + head[0]) / 2, foot[1], head[1]])


def slopes(plane: GroundPlane, ground: np.ndarray, height: float) -> tuple[np.ndarray, np.ndarray]:
    """∂`seen_at`/∂(X, Y) [3, 2], and by the height [3]."""
    step = STEP * height
    by_place = np.stack([(seen_at(plane, ground + d, height) - seen_at(plane, ground - d, height)) / (2 * step)
                         for d in step * np.eye(2)], -1)
    by_height = (seen_at(plane, ground, height + step) - seen_at(plane, ground, height - step)) / (2 * step)
    return by_place, by_height


def from_foot(plane: GroundPlane, sighting: Sighting) -> tuple[np.ndarray, float]:
    """Place (X, Y) and height of an object whose foot and head are seen; nan where there are none such."""
    u, foot, head = sighting.z
    ground = plane.to_ground(np.array([u, foot]))
    height = height_at(plane, ground, head)
    for _ in range(NEWTON_STEPS):  # the axis leans in the picture: the foot is not quite below the middle
        if not np.isfinite(height) or not height > 0:
            return np.full(2, np.nan), np.nan
        by_place, by_height = slopes(plane, ground, height)
        miss = sighting.z - seen_at(plane, ground, height)
        if not (np.isfinite(miss).all() and np.isfinite(by_place).all() and np.isfinite(by_height).all()):
            return np.full(2, np.nan), np.nan
        step = np.linalg.lstsq(np.column_stack([by_place, by_height]), miss, rcond=None)[0]
        ground, height = ground + step[:2], height + float(step[2])
        if np.abs(step).max() < 1e-7 * plane.height_m:
            break
    return (ground, height) if height > 0 else (np.full(2, np.nan), np.nan)


def height_at(plane: GroundPlane, ground: np.ndarray, row: float) -> float:
    """Height whose picture above a place is at a row."""
    p = plane.projection
    at = p[:, :2] @ ground + p[:, 3]
    height = (at[1] - row * at[2]) / (row * p[2, 2] - p[1, 2])
    return float(height) if height > 0 else np.nan


def place(plane: GroundPlane, sighting: Sighting, height: float, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares for (X, Y) [2] and its covariance [2, 2] from what is known, with the height known.

    Where foot and head put it at two places, one of them is wrong, and the covariance grows by how far (Birge's ratio);
    where one is hidden there is nothing to tell by. Where only the column is known, or nothing, both are nan.
    """
    known = sighting.known
    if known.sum() < 2 or not known[1:].any():
        return np.full(2, np.nan), np.full((2, 2), np.nan)
    ground = np.array(start, float)
    weight = 1 / sighting.sigma[known] ** 2
    for _ in range(4):
        by_place, _ = slopes(plane, ground, height)
        a = by_place[known]
        normal = a.T @ (weight[:, None] * a)
        if not np.isfinite(normal).all():
            return np.full(2, np.nan), np.full((2, 2), np.nan)
        ground = ground + np.linalg.solve(normal, a.T @ (weight * (sighting.z - seen_at(plane, ground, height))[known]))
    miss = (sighting.z - seen_at(plane, ground, height))[known]
    doubt = max(1.0, float(miss @ (weight * miss))) if known.all() else ALONE**2
    return ground, doubt * np.linalg.inv(normal)
