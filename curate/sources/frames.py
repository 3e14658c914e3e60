"""Frames of a clip: what all kinds of them share, and those of a stereo clip, whatever stores them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np

from curate.geometry.cameras import StereoRig
from curate.geometry.poses import Pose
from curate.sources.base import Scale, View
from curate.sources.rectify import Rectification

Reader = Callable[[int, int], list[np.ndarray]]


class ClipFrames:
    """What the frames of a clip do alike, whatever they are read from."""

    num_frames: int

    def _check(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.num_frames:
            raise IndexError(f"frames {start}..{stop} of a clip of {self.num_frames}")

    def close(self) -> None:
        """Lets go of the media; here: there are none."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()


class StereoFrames(ClipFrames):
    """The rectified pair of one clip, read window by window; nothing is kept between windows.

    Attributes beyond the protocol:
        baseline_sigma_m: standard deviation of the baseline, metres: the scale's own error.
        R_rectified_left: [3, 3] turns axes of the left camera as published into those of view 0; the identity where
            the media came rectified.
        row_error_px: worst row error that the published calibration has without resampling.
    """

    def __init__(self, read: Reader, close: Callable[[], None], time_s: np.ndarray, start: int,
                 rectification: Rectification, *, baseline_sigma_m: float, is_grey: bool,
                 given: dict[str, Any] | None = None, scale: Scale = "calibrated") -> None:
        """
        Args:
            read: (start, stop) of the recording to [left, right], each [n, H, W, 3] uint8, not yet rectified.
            time_s: [T] presentation times of the clip's frames, seconds, any origin.
            start: the clip's first frame in the recording.
        """
        self._read, self._close, self._start = read, close, start
        self._rectification = rectification
        self.time_s = np.asarray(time_s, float) - time_s[0]
        self.num_frames = len(self.time_s)
        self.rig: StereoRig = rectification.rig
        self.scale: Scale = scale
        self.is_grey = is_grey
        self.given = dict(given or {})
        self.baseline_sigma_m = baseline_sigma_m
        self.R_rectified_left = rectification.R_rectified_left
        self.row_error_px = rectification.row_error_px
        self.views = (
            View("left", self.rig.left, Pose.identity("rig", "left")),
            View("right", rectification.right, Pose("rig", "right", np.eye(3), [self.rig.baseline_m, 0, 0])))

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """[left, right], each [stop - start, H, W, 3] uint8 RGB, rectified.

        Raises:
            IndexError: outside of the clip.
            BadInput: where the media cannot be decoded.
        """
        self._check(start, stop)
        pair = self._read(self._start + start, self._start + stop)
        return [self._rectification.apply(view, images) for view, images in enumerate(pair)]

    def close(self) -> None:
        self._close()
