"""One video, or one folder of images, of one camera: one recording, or a folder of recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose
from curate.sources.base import BadInput, ClipSpec, Scale, View, check_inside, file_digest
from curate.sources.config_single import OneCamera, SingleVideoConfig
from curate.sources.folders import FolderSource, Look, closed_on_error, planned_span
from curate.sources.frames import ClipFrames
from curate.sources.images import ImageSequence
from curate.sources.single_video_scale import ScaleOfView, scale_of
from curate.sources.stereo_pair import check_media, digest_of, open_media
from curate.sources.times import check_increasing, read_times, times_of_names
from curate.video.decode import VideoReader

UNKNOWN_FOCAL = 1.2  # of the longer side: a common lens


@dataclass
class Recording:
    media: ImageSequence | VideoReader
    time_s: np.ndarray  # [T]
    scale: ScaleOfView

    def close(self) -> None:
        self.media.close()


class SingleFrames(ClipFrames):
    """Frames of one clip of one camera, undistorted; nothing is kept between windows.

    Attributes beyond the protocol:
        scale_sigma: relative standard deviation of every length.
        stats: what the record says beside.
    """

    def __init__(self, read: Callable[[int, int], np.ndarray], close: Callable[[], None], time_s: np.ndarray,
                 start: int, camera: Intrinsics, *, is_grey: bool, scale: Scale = "relative",
                 rig: StereoRig | None = None, given: dict[str, Any] | None = None, scale_sigma: float = 0.0,
                 undistort: tuple[np.ndarray, np.ndarray] | None = None,
                 stats: dict[str, float] | None = None) -> None:
        """
        Args:
            read: (start, stop) of the recording to [n, H, W, 3] uint8.
            time_s: [T] presentation times of the clip's frames, seconds, any origin.
            start: the clip's first frame in the recording.
            rig: the virtual one where depth is given.
            undistort: OpenCV's maps, where the lens distorts.
        """
        self._read, self._close, self._start, self._undistort = read, close, start, undistort
        self.time_s = np.asarray(time_s, float) - time_s[0]
        self.num_frames = len(self.time_s)
        self.rig, self.scale, self.is_grey = rig, scale, is_grey
        self.given, self.scale_sigma, self.stats = dict(given or {}), scale_sigma, dict(stats or {})
        self.views = (View("single", camera, Pose.identity("rig", "single")),)

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """[one array [stop - start, H, W, 3] uint8 RGB].

        Raises:
            IndexError: outside of the clip.
            BadInput: where the media cannot be decoded.
        """
        self._check(start, stop)
        images = self._read(self._start + start, self._start + stop)
        if self._undistort is not None and len(images):
            images = np.stack([cv2.remap(image, *self._undistort, cv2.INTER_LINEAR) for image in images])
        return [images]

    def close(self) -> None:
        self._close()


class SingleVideo(FolderSource):
    kind = "single_video"
    config: SingleVideoConfig

    def look(self, place: Path, found: Look) -> None:
        recording = self._open(place)
        recording.close()
        found.digests, found.num_frames = self._digests(place, recording), len(recording.time_s)

    def open(self, clip: ClipSpec) -> SingleFrames:
        """
        Raises:
            BadInput: where the recording is no longer what was planned.
        """
        folder = self.root / clip.uri
        recording = self._open(folder)
        with closed_on_error(recording):
            span = planned_span(clip, len(recording.time_s), folder)
            media, of = recording.media, recording.scale
            return SingleFrames(
                media.read, media.close, recording.time_s[span], clip.start, of.camera,
                is_grey=media.is_grey, scale=of.scale, rig=of.rig, given=of.given(span.start, span.stop),
                scale_sigma=of.scale_sigma, undistort=of.undistort, stats=of.stats)

    def _open(self, folder: Path) -> Recording:
        """
        Raises:
            BadInput: whatever is wrong with the recording, in one line.
        """
        media = open_media(folder, self.config.media, self.config.decoder)
        with closed_on_error(media):
            check_media(media, self.root)
            time_s = self._times(folder, media)
            camera, undistort = camera_of(self.config.calibration, media.width, media.height)
            scale = scale_of(self.config, folder, self.root, media, camera, undistort)
            return Recording(media, time_s, scale)

    def _times(self, folder: Path, media: ImageSequence | VideoReader) -> np.ndarray:
        """[T] seconds: of a file, of the recipe's rate, of the video, of the images' names; in this order."""
        config = self.config
        if config.timestamps is not None:
            path = folder / config.timestamps
            check_inside(path, self.root)
            times = read_times(path)
            if len(times) != media.num_frames:
                raise BadInput(f"{path}: {len(times)} times, expected {media.num_frames} (one a frame)")
        elif config.fps is not None:
            return np.arange(media.num_frames) / config.fps
        elif isinstance(media, VideoReader):
            times = np.round(media.time_s * 1e9).astype(np.int64)
        else:
            times = times_of_names(media.paths)
            if times is None:
                raise BadInput(f"{folder}: images without times; give timestamps (a file) or fps")
            check_increasing(times, str(media.paths[0].parent))
        return (times - times[0]) * 1e-9

    def _digests(self, folder: Path, recording: Recording) -> list[str]:
        """Of the media, the times and what the scale is taken from: what the clip's key stands for."""
        more = [folder / self.config.timestamps] if self.config.timestamps else []
        return [digest_of(recording.media), *(file_digest(p) for p in [*more, *recording.scale.files])]


def unknown_camera(width: int, height: int) -> Intrinsics:
    """Where nobody says what the camera was; nothing is measured by it."""
    focal = UNKNOWN_FOCAL * max(width, height)
    return Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)


def camera_of(model: OneCamera | None, width: int, height: int
              ) -> tuple[Intrinsics, tuple[np.ndarray, np.ndarray] | None]:
    """The pinhole camera of the frames as they are read, and OpenCV's maps that make them so.

    Raises:
        BadInput: a principal point outside of the image.
    """
    if model is None:
        return unknown_camera(width, height), None
    cx = (width - 1) / 2 if model.cx is None else model.cx
    cy = (height - 1) / 2 if model.cy is None else model.cy
    if not (0 <= cx <= width and 0 <= cy <= height):
        raise BadInput(f"source.calibration: principal point ({cx:g}, {cy:g}) is outside of the image of {width}x"
                       f"{height}; is the calibration of another size?")
    camera = Intrinsics(model.fx, model.fy or model.fx, cx, cy, width, height)
    if not any(model.distortion):
        return camera, None
    maps = cv2.initUndistortRectifyMap(camera.matrix, np.array(model.distortion), None, camera.matrix, (width, height),
                                       cv2.CV_32FC1)
    return camera, maps
