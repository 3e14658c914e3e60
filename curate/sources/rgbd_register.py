"""Depth of one camera seen from the colour camera beside it, and how the two stand where nobody says.

Warping is done twice over: forwards, every depth pixel with a footprint into a z-buffer, which tells what is in front;
then backwards, each colour pixel to the depth camera and the depth read there between pixels, which tells it exactly.
Where the two disagree, something is hidden or there is an edge, and nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3

SAME_SURFACE = 0.03  # of the distance, between what is one surface
STEPS_BACK = 3
EDGE_SHARE = 0.05  # of the distance, by which what is behind an edge is farther
EDGE_REACH = 3  # px over which a depth image goes from one side of an edge to the other, shadow included
AGREE_PX = 6.0
MAX_EDGES = 3000  # of one frame, that are looked at


def warp_depth(depth: np.ndarray, valid: np.ndarray, camera: Intrinsics, T_color_depth: Pose, color: Intrinsics
               ) -> tuple[np.ndarray, np.ndarray]:
    """Depth [H, W] of the depth camera as the colour camera would measure it.

    Args:
        depth: metres along the depth camera's axis. valid: [H, W] bool.
        camera, color: pinholes without distortion.
        T_color_depth: maps points of the depth camera to those of the colour camera.

    Returns:
        depth [h, w] metres along the colour camera's axis, and where it is known: seen by both, not hidden, not an
        edge.
    """
    T_color_depth.expect("color", "depth")
    front = _splat(depth, valid, camera, T_color_depth, color)
    known = np.isfinite(front)
    rays = color.rays()
    back = T_color_depth.inverse()
    level = np.where(known, front, 1.0)
    for _ in range(STEPS_BACK):
        there = back @ (rays * level[..., None]).reshape(-1, 3)
        z, seen = _read(depth, valid, camera.project(there).reshape(*level.shape, 2))
        uv = camera.project(there)
        points = T_color_depth @ camera.lift(np.nan_to_num(uv), np.where(seen, z, 1.0).ravel())
        known &= seen
        level = np.where(known, points[:, 2].reshape(level.shape), 1.0)
    known &= (level > 0) & (np.abs(level - front) < SAME_SURFACE * np.where(known, front, 1))
    return np.where(known, level, 0), known


def _splat(depth: np.ndarray, valid: np.ndarray, camera: Intrinsics, T_color_depth: Pose, color: Intrinsics
           ) -> np.ndarray:
    """[h, w] nearest depth that any depth pixel brings to a colour pixel, as wide as it is seen; inf where none."""
    v, u = np.nonzero(valid)
    points = T_color_depth @ camera.lift(np.column_stack([u, v]), depth[v, u])
    points = points[points[:, 2] > 0]
    at = color.project(points)
    z = points[:, 2]
    buffer = np.full(color.height * color.width, np.inf)
    reach = int(np.ceil(max(color.fx / camera.fx, color.fy / camera.fy) / 2 + 0.5))
    column, row = np.rint(at).astype(int).T
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            x, y = column + dx, row + dy
            inside = (x >= 0) & (x < color.width) & (y >= 0) & (y < color.height)
            np.minimum.at(buffer, (y * color.width + x)[inside], z[inside])
    return buffer.reshape(color.height, color.width)


def _read(depth: np.ndarray, valid: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth at pixels uv [h, w, 2], linear in its inverse, where the four around are valid and of one surface."""
    u, v = (np.nan_to_num(uv[..., k], nan=-1e6).astype(np.float32) for k in (0, 1))
    border = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": 0}
    inverse = np.where(valid, 1 / np.where(valid, depth, 1), 0).astype(np.float32)
    share = cv2.remap(valid.astype(np.float32), u, v, cv2.INTER_LINEAR, **border)
    value = cv2.remap(inverse, u, v, cv2.INTER_LINEAR, **border)
    near = cv2.dilate(np.where(valid, inverse, -1).astype(np.float32), np.ones((3, 3), np.uint8))
    far = cv2.erode(np.where(valid, inverse, 1e3).astype(np.float32), np.ones((3, 3), np.uint8))
    smooth = cv2.remap((near - far < 2 * SAME_SURFACE * near).astype(np.float32), u, v, cv2.INTER_NEAREST, **border)
    known = (share > 0.999) & (value > 0) & (smooth > 0)
    return np.where(known, 1 / np.where(known, value, 1), 0), known


@dataclass(frozen=True)
class Registration:
    """Found by edges. off_px: how far from it each quarter of the edges by itself would put it, in the image."""

    T_color_depth: Pose
    off_px: tuple[float, ...]

    @property
    def sigma_px(self) -> float:
        """Of the whole, from how its quarters differ."""
        return float(np.median(self.off_px)) / 2

    @property
    def agrees(self) -> bool:
        """Whether most quarters, each searched over all turns, found the same place: by chance next to none does."""
        return sorted(self.off_px)[2] <= AGREE_PX


def refine_turn(pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]], camera: Intrinsics, color: Intrinsics,
                start: Pose, max_turn_deg: float) -> Registration | None:
    """The turn of the depth camera that brings edges of depth onto edges of colour.

    Contours of what is in front are where colour changes too, on the whole. They are projected into the colour image
    with the depth of the front, and the turn is moved until the colour's gradient along them is largest: over a grid
    in pan and tilt on a blurred image, then ever finer with the roll as well. Quarters of the edges, from left to
    right, are moved by themselves: what they differ by is the error.

    Args:
        pairs: (grey [h, w] uint8, depth [H, W] metres, valid [H, W]) of a few frames.
        start: T_color_depth, its turn within `max_turn_deg` of the truth; its translation is kept.

    Returns:
        None where there are too few edges.
    """
    edges, gradients = [], []
    for grey, depth, valid in pairs:
        edges.append(_contours(depth, valid, camera))
        gradients.append(_gradient(grey))
    if sum(map(len, edges)) < 200:
        return None

    def score(turn: np.ndarray, maps: list[np.ndarray], quarter: int | None = None) -> float:
        pose = Pose("color", "depth", exp_so3(turn) @ start.rotation, start.translation)
        total, count = 0.0, 0
        for points, image in zip(edges, maps, strict=True):
            some = points if quarter is None else np.array_split(points, 4)[quarter]
            uv = color.project(pose @ some).astype(np.float32)
            inside = (uv > 0).all(1) & (uv < [color.width - 1, color.height - 1]).all(1)
            found = cv2.remap(image, uv[None, :, 0], uv[None, :, 1], cv2.INTER_LINEAR).ravel()
            total, count = total + float(found[inside].sum()), count + int(inside.sum())
        return total / max(count, 1)

    most = np.radians(max_turn_deg)
    step = 2 / color.fx  # two pixels
    blurred = [cv2.GaussianBlur(image, (0, 0), 3.0) for image in gradients]
    turns = [np.array([tilt, pan, 0.0]) for tilt in np.arange(-most, most + step / 2, step)
             for pan in np.arange(-most, most + step / 2, step)]
    sharp = [cv2.GaussianBlur(image, (0, 0), 1.2) for image in gradients]

    def found(quarter: int | None = None) -> np.ndarray:
        best = turns[int(np.argmax([score(turn, blurred, quarter) for turn in turns]))]
        best = _climb(best, step, lambda turn: score(turn, blurred, quarter))
        return _climb(best, step / 2, lambda turn: score(turn, sharp, quarter))

    best = found()
    off = np.linalg.norm(np.stack([found(quarter) for quarter in range(4)])[:, :2] - best[:2], axis=1) * color.fx
    return Registration(Pose("color", "depth", exp_so3(best) @ start.rotation, start.translation), tuple(off))


def _climb(turn: np.ndarray, step: float, score) -> np.ndarray:
    """The nearest maximum of `score` over turns [3], by steps along the axes that halve; roll acts at the rim alone."""
    now, steps = score(turn), np.array([step, step, 2 * step])
    for _ in range(6):
        moved = True
        while moved:
            moved = False
            for axis in range(3):
                for sign in (1, -1):
                    other = turn.copy()
                    other[axis] += sign * steps[axis]
                    if (value := score(other)) > now:
                        turn, now, moved = other, value, True
        steps = steps / 2
    return turn


def _contours(depth: np.ndarray, valid: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """[N, 3] points of surfaces beside which something clearly farther is seen, in the depth camera's axes."""
    z = np.where(valid, depth, 0).astype(np.float32)
    side = 2 * EDGE_REACH + 1
    farthest = cv2.dilate(z, np.ones((side, side), np.uint8))
    middle = np.where(valid, depth, 1e3).astype(np.float32)
    nearest = cv2.erode(middle, np.ones((3, 3), np.uint8))
    beside = ~valid | (middle > nearest * (1 + EDGE_SHARE))
    rim = cv2.dilate(beside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    edge = valid & rim & (farthest > depth * (1 + EDGE_SHARE)) & (depth <= nearest * (1 + SAME_SURFACE))
    v, u = np.nonzero(edge)
    take = np.random.default_rng(0).permutation(len(v))[:MAX_EDGES]
    v, u = v[take], u[take]
    v, u = v[np.argsort(u, kind="stable")], np.sort(u)
    return camera.lift(np.column_stack([u, v]), depth[v, u])


def _gradient(grey: np.ndarray) -> np.ndarray:
    """[h, w] float32 size of the gradient against that of the neighbourhood, so that weak edges count as well."""
    image = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0)
    size = cv2.magnitude(cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1))
    return size / (cv2.GaussianBlur(size, (0, 0), 20.0) + 4.0)
