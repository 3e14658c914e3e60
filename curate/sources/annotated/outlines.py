"""Where cuboids are seen in a picture: outline, box, mask, and how much of them is in the image and not hidden.

A cuboid is convex, so its picture is the convex hull of its corners; of one that reaches behind the camera, of its
part in front. What is hidden is decided by whole boxes: the one whose centre is nearer hides what lies behind it; and
by the annotation, where that says that its object cannot be seen (for what hides it may be no annotated object).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose

if TYPE_CHECKING:
    from curate.sources.annotated.cuboids import Track

NEAR_M = 0.1  # in front of the camera
COARSE = 480  # pixels: width of the grid on which hiding is decided
FAR_PX = 1e5  # outlines are cut to so much around the image
CORNERS = np.array(list(product((-0.5, 0.5), repeat=3)))  # [8, 3] of the size, from the centre
EDGES = [(i, j) for i in range(8) for j in range(i + 1, 8) if np.abs(CORNERS[i] - CORNERS[j]).sum() == 1]


@dataclass(frozen=True)
class Sight:
    """How one object is seen over T frames.

    Args:
        seen: [T] bool. box: [T, 4] x0, y0, x1, y1 px. centre_px: [T, 2]; nan where it is not seen.
        visible: [T] share of its outline that is in the image and not hidden; 0 where it is not seen.
        mask_first: [H, W] bool of its first seen frame; [0, 0] without pictures.
    """

    seen: np.ndarray
    box: np.ndarray
    centre_px: np.ndarray
    visible: np.ndarray
    mask_first: np.ndarray


def outline(centre: np.ndarray, rotation: np.ndarray, size: np.ndarray, camera: Intrinsics) -> np.ndarray | None:
    """Convex hull [n, 2] px of a box's picture, of its part in front of the camera; None where there is none.

    Args:
        centre [3], rotation [3, 3] (box to camera axes), size [3]: metres.
    """
    corners = centre + (CORNERS * size) @ rotation.T
    front = corners[:, 2] > NEAR_M
    points = list(corners[front])
    for i, j in EDGES:
        if front[i] != front[j]:
            share = (NEAR_M - corners[i, 2]) / (corners[j, 2] - corners[i, 2])
            points.append(corners[i] + share * (corners[j] - corners[i]))
    if len(points) < 3:
        return None
    pixels = np.clip(camera.project(np.array(points)), -FAR_PX, FAR_PX)
    return cv2.convexHull(pixels.astype(np.float32))[:, 0]


def _filled(hull: np.ndarray, size: tuple[int, int], scale: float) -> np.ndarray:
    """[H, W] bool of a convex outline; `scale`: pixels of the grid over those of the image."""
    image = np.zeros(size, np.uint8)
    corners = ((hull + 0.5) * scale - 0.5) * 16  # in sixteenths of a pixel
    cv2.fillConvexPoly(image, np.round(corners).astype(np.int32), 1, cv2.LINE_8, 4)
    return image > 0


def look(tracks: Sequence[Track], poses: Pose, camera: Intrinsics | None, min_visible: float) -> list[Sight]:
    """How each object is seen. Without a camera: wherever it is annotated."""
    num = len(poses)
    if camera is None:
        nothing = np.full((num, 4), np.nan)
        return [Sight(track.annotated, nothing, nothing[:, :2], track.annotated.astype(float),
                      np.zeros((0, 0), bool)) for track in tracks]
    sights = [Sight(np.zeros(num, bool), np.full((num, 4), np.nan), np.full((num, 2), np.nan), np.zeros(num),
                    np.zeros((camera.height, camera.width), bool)) for _ in tracks]
    for frame in range(num):
        _look_at(frame, tracks, poses, camera, min_visible, sights)
    return sights


def _look_at(frame: int, tracks: Sequence[Track], poses: Pose, camera: Intrinsics, min_visible: float,
             sights: list[Sight]) -> None:
    rotation, place = poses.rotation[frame].T, poses.translation[frame]
    scale = min(1.0, COARSE / camera.width)
    grid = (round(camera.height * scale), round(camera.width * scale))
    hulls: dict[int, np.ndarray] = {}
    away: dict[int, float] = {}
    centres: dict[int, np.ndarray] = {}
    for i, track in enumerate(tracks):
        if not track.annotated[frame]:
            continue
        centre = rotation @ (track.centre[frame] - place)
        hull = outline(centre, rotation @ track.rotation[frame], track.size[frame], camera)
        if hull is not None:
            hulls[i], away[i], centres[i] = hull, float(np.linalg.norm(centre)), camera.project(centre)
    hidden = np.zeros(grid, bool)
    nearer: list[int] = []
    for i in sorted(hulls, key=lambda i: (away[i], i)):
        shape, hull, pixel = _filled(hulls[i], grid, scale), hulls[i], centres[i]
        whole = max(float(cv2.contourArea(hull)) * scale**2, 1.0)
        share = min(1.0, float((shape & ~hidden).sum()) / max(whole, float(shape.sum())))
        inside = bool(np.isfinite(pixel).all() and (pixel >= 0).all()
                      and pixel[0] <= camera.width - 1 and pixel[1] <= camera.height - 1)
        if inside and share >= min_visible and tracks[i].in_sight[frame]:
            in_front = [hulls[j] for j in nearer] if (shape & hidden).any() else []
            _note(sights[i], frame, share, hull, pixel, in_front, camera)
        hidden |= shape
        nearer.append(i)


def _note(sight: Sight, frame: int, share: float, hull: np.ndarray, pixel: np.ndarray, nearer: list[np.ndarray],
          camera: Intrinsics) -> None:
    is_first = not sight.seen.any()
    sight.seen[frame], sight.visible[frame], sight.centre_px[frame] = True, share, pixel
    limits = np.array([camera.width, camera.height, camera.width, camera.height], float)
    sight.box[frame] = np.clip([*(hull.min(0)), *(hull.max(0) + 1)], 0, limits)
    if not (is_first or nearer):
        return
    shape = _filled(hull, (camera.height, camera.width), 1.0)
    for other in nearer:
        shape &= ~_filled(other, (camera.height, camera.width), 1.0)
    if nearer and shape.any():  # the box of what is left to be seen
        rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
        sight.box[frame] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    if is_first:
        sight.mask_first[:] = shape
