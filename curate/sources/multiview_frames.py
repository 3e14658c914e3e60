"""Frames of several calibrated cameras: undistorted, upright as shown, at the reference camera's instants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.sources.base import BadInput, Scale, View
from curate.sources.frames import ClipFrames
from curate.sources.rigs import RigCamera

PADDING_PX = 16  # codecs store whole macroblocks; what is cut off again lies at the right and below
MAX_ZOOM = 1.3  # of the focal length, to keep pixels without content out of the picture
ZOOM_STEP = 1.01
IDENTITY_PX = 1e-3


@dataclass(frozen=True)
class Undistortion:
    """How one camera's pictures become those of a pinhole camera.

    Args:
        camera: the pinhole camera.
        T_cam_world: world to its axes (turned with the picture), in the calibration's unit.
        maps: where each pixel is found in the picture as shown; None where pixels stay as they are.
    """

    camera: Intrinsics
    T_cam_world: Pose
    maps: tuple[np.ndarray, np.ndarray] | None

    def apply(self, images: np.ndarray) -> np.ndarray:
        """[n, H, W, 3] undistorted."""
        if self.maps is None:
            return images
        return np.stack([cv2.remap(image, *self.maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
                         for image in images])


def undistortion(camera: RigCamera, width: int, height: int, turned: int, where: str) -> Undistortion:
    """
    Args:
        width, height: pixels of the pictures as shown.
        turned: degrees by which they are turned clockwise against those calibrated.

    Raises:
        BadInput: where the pictures are no pictures of this camera: another shape, or sideways.
    """
    quarters = turned // 90
    shown = (width, height)
    calibrated = camera.size or (shown if quarters % 2 == 0 else shown[::-1])
    expected = calibrated if quarters % 2 == 0 else calibrated[::-1]
    scale = (width / expected[0], height / expected[1])
    if abs(scale[0] - scale[1]) * max(expected) > 1.5:  # more than rounding of the scaled size
        if all(0 <= e - s < PADDING_PX for e, s in zip(expected, shown)):
            scale = (1.0, 1.0)
        elif abs(width / expected[1] - height / expected[0]) * max(expected) <= 1.5:
            raise BadInput(f"{where}: pictures of {width}x{height} lie sideways to the calibration of "
                           f"{expected[0]}x{expected[1]}; say by how much they are turned clockwise: turned: "
                           f"{{{camera.name}: 90}} or 270")
        else:
            raise BadInput(f"{where}: pictures are {width}x{height}, expected {expected[0]}x{expected[1]} (or that "
                           "size scaled) by the calibration")
    K, turn, size = camera.K, np.eye(3), calibrated
    for _ in range(quarters):  # pixel (x, y) of a picture of height h comes to (h - 1 - y, x)
        K = np.array([[K[1, 1], 0, size[1] - 1 - K[1, 2]], [0, K[0, 0], K[0, 2]], [0, 0, 1.0]])
        turn = np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]]) @ turn
        size = size[::-1]
    K = K.copy()
    K[0, 2], K[1, 2] = (K[0, 2] + 0.5) * scale[0] - 0.5, (K[1, 2] + 0.5) * scale[1] - 0.5
    K[0, 0], K[1, 1] = K[0, 0] * scale[0], K[1, 1] * scale[1]
    pose = Pose("cam", "cam", turn, np.zeros(3)) @ camera.T_cam_world
    if not np.abs(camera.distortion).max(initial=0) > 0:
        return Undistortion(_pinhole(K, width, height), pose, None)
    zoom = 1.0
    while True:
        zoomed = K * np.array([[zoom, 1, 1], [1, zoom, 1], [1, 1, 1]])
        x, y = _sources(camera, turn, zoomed, shown)
        size = calibrated
        for _ in range(quarters):
            x, y, size = size[1] - 1 - y, x, size[::-1]
        x, y = (x + 0.5) * scale[0] - 0.5, (y + 0.5) * scale[1] - 0.5
        inside = x.min() >= -0.5 and y.min() >= -0.5 and x.max() <= width - 0.5 and y.max() <= height - 0.5
        if inside or zoom * ZOOM_STEP > MAX_ZOOM:
            return Undistortion(_pinhole(zoomed, width, height), pose, (np.float32(x), np.float32(y)))
        zoom *= ZOOM_STEP


def _sources(camera: RigCamera, turn: np.ndarray, K: np.ndarray, shown: tuple[int, int]):
    """x, y [H, W] in the calibrated picture of every pixel of the undistorted, turned one."""
    if camera.lens == "fisheye":
        return cv2.fisheye.initUndistortRectifyMap(camera.K, camera.distortion.reshape(4, 1), turn, K, shown,
                                                   cv2.CV_32FC1)
    return cv2.initUndistortRectifyMap(camera.K, camera.distortion, turn, K, shown, cv2.CV_32FC1)


def _pinhole(K: np.ndarray, width: int, height: int) -> Intrinsics:
    return Intrinsics(float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]), width, height)


def in_step(times: Sequence[np.ndarray], names: Sequence[str], where: str) -> tuple[np.ndarray, np.ndarray]:
    """Frames of all cameras that belong together: to each of the first camera the nearest of every other one.

    Args:
        times: of each camera [n] increasing seconds on one clock.

    Returns:
        indices [V, T] of frames, and their times [V, T]. Frames of the first camera before another one has begun, or
        after it has ended, are left out.

    Raises:
        BadInput: no instant that all saw, or a gap: a camera without a frame within half an interval.
    """
    reference = times[0]
    half = float(np.median(np.diff(reference))) / 2 if len(reference) > 1 else np.inf
    start, stop = (pick(t[end] for t in times) for pick, end in ((max, 0), (min, -1)))
    kept = np.flatnonzero((reference >= start - half) & (reference <= stop + half))
    if not len(kept):
        late = int(np.argmax([t[0] for t in times]))
        early = int(np.argmin([t[-1] for t in times]))
        raise BadInput(f"{where}: camera {names[late]} begins at {times[late][0]:.3f} s, after camera {names[early]} "
                       f"has ended at {times[early][-1]:.3f} s; expected cameras that saw the same instants "
                       "(offsets_s)")
    indices = [kept]
    for time_s, name in zip(times[1:], names[1:]):
        every = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 0.0
        if every > 3 * half:
            raise BadInput(f"{where}: camera {name} has a frame every {every * 1e3:.1f} ms, {names[0]} every "
                           f"{2 * half * 1e3:.1f} ms; expected a reference camera that is no faster than the others "
                           "(source.reference)")
        after = np.clip(np.searchsorted(time_s, reference[kept]), 1, max(len(time_s) - 1, 1))
        near = np.where(len(time_s) > 1, after - (reference[kept] - time_s[after - 1]
                                                  < time_s[np.minimum(after, len(time_s) - 1)] - reference[kept]), 0)
        away = np.abs(time_s[near] - reference[kept])
        if away.max() > half:
            worst = int(np.argmax(away > half))
            raise BadInput(f"{where}: camera {name} has no frame within {half * 1e3:.1f} ms of {names[0]}'s frame "
                           f"{kept[worst]} at {reference[kept[worst]]:.3f} s (the nearest is {away[worst] * 1e3:.1f} "
                           "ms away); a frame gap, or clocks out of step (offsets_s)")
        if (np.diff(near) <= 0).any():
            twice = int(np.argmax(np.diff(near) <= 0))
            raise BadInput(f"{where}: camera {name}'s frame {near[twice]} would stand for two of {names[0]}'s; "
                           "expected a reference camera that is no faster than the others")
        indices.append(near)
    return np.stack(indices), np.stack([time_s[index] for time_s, index in zip(times, indices)])


class MultiviewFrames(ClipFrames):
    """Frames of one clip, read window by window.

    Attributes beyond the protocol:
        view_time_s: [V, T] seconds of each view's frames on the clock of `time_s`: cameras are in step to within half
            a frame, and by how much they are not is known.
        scale_sigma: standard deviation of the scale, relative.
        T_rig_world: the calibration's world to view 0, metres.
    """

    def __init__(self, read: Sequence[Callable[[int, int], np.ndarray]], close: Callable[[], None],
                 undistortions: Sequence[Undistortion], names: Sequence[str], indices: np.ndarray, times: np.ndarray, *,
                 unit_m: float, scale: Scale, scale_sigma: float, is_grey: bool, up_world: np.ndarray | None) -> None:
        """
        Args:
            read: of each camera, (start, stop) of its media to [n, H, W, 3] uint8 as shown.
            indices, times: [V, T] of `in_step`, of this clip.
            unit_m: metres of one unit of the poses.
        """
        self._read, self._close, self._undistortions, self._indices = read, close, undistortions, indices
        self.time_s = times[0] - times[0, 0]
        self.view_time_s = times - times[0, 0]
        self.num_frames = len(self.time_s)
        self.rig = None
        self.scale: Scale = scale
        self.scale_sigma = scale_sigma
        self.is_grey = is_grey
        self.views = views_of(undistortions, names, unit_m)
        reference = undistortions[0].T_cam_world
        self.T_rig_world = Pose("rig", "world", reference.rotation, reference.translation * unit_m)
        self.given: dict[str, Any] = {}
        if up_world is not None:
            self.given["up"] = reference.rotation @ up_world

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """One array [stop - start, H, W, 3] uint8 RGB for each view.

        Raises:
            IndexError: outside of the clip.
            BadInput: where the media cannot be decoded.
        """
        self._check(start, stop)
        out = []
        for read, undistorted, index in zip(self._read, self._undistortions, self._indices[:, start:stop]):
            if len(index) and index[-1] - index[0] == len(index) - 1:
                images = read(int(index[0]), int(index[-1]) + 1)
            else:  # a camera that is faster than the reference
                one_by_one = [read(int(i), int(i) + 1) for i in index]
                images = np.concatenate(one_by_one) if one_by_one else np.zeros(
                    (0, undistorted.camera.height, undistorted.camera.width, 3), np.uint8)
            out.append(undistorted.apply(images) if len(images) else images)
        return out

    def close(self) -> None:
        self._close()


def views_of(undistortions: Sequence[Undistortion], names: Sequence[str], unit_m: float) -> tuple[View, ...]:
    """Views whose rig frame is the first one, metres."""
    reference = undistortions[0].T_cam_world
    views = []
    for number, (one, name) in enumerate(zip(undistortions, names)):
        if number == 0:
            views.append(View(name, one.camera, Pose.identity("rig", name)))
            continue
        pose = reference @ one.T_cam_world.inverse()
        views.append(View(name, one.camera, Pose("rig", name, pose.rotation, pose.translation * unit_m)))
    return tuple(views)
