"""Stereo4D: camera paths and 3D tracks as published, with the video they belong to. Its scale assumes 63 mm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose
from curate.scene import Scene
from curate.sources.base import BadInput, ClipSpec, Scale, View, check_inside, clip_key, file_digest
from curate.sources.config import ClipConfig
from curate.sources.config_spherical import EYE_DISTANCE_M, Stereo4DConfig
from curate.sources.equirect import Equirectangular, Resampler
from curate.sources.folders import FolderSource, Look, closed_on_error, glob, planned_span
from curate.sources.frames import ClipFrames
from curate.sources.images import natural
from curate.sources.packed import Layout
from curate.sources.stereo4d_npz import Stereo4D, read_stereo4d
from curate.video.decode import VideoReader, open_video

LEFT = {"rectified": "processed/{name}/{name}-left_rectified.mp4", "side_by_side": "processed/{name}/{name}.mp4",
        "raw": "raw/{video_id}.mp4"}
FRAMES_SHARE, LEAST_FRAMES = 0.2, 5  # of a clip that a track must be seen in
KEPT_FILES = 2  # clips of one npz follow each other in a worker


@dataclass
class Media:
    """The videos of one npz: how many frames of the clip they hold, and how to read them."""

    camera: Intrinsics
    num_views: int
    is_grey: bool
    read: Callable[[int, int], list[np.ndarray]]  # frames of the npz to [left] or [left, right]
    close: Callable[[], None]


class Stereo4DFrames(ClipFrames):
    """Frames of one clip: one view or both; `given` holds the scene, or the camera path alone."""

    def __init__(self, media: Media, start: int, time_s: np.ndarray, config: Stereo4DConfig,
                 given: dict[str, Any]) -> None:
        self._media, self._start = media, start
        self.time_s, self.num_frames = time_s - time_s[0], len(time_s)
        both = media.num_views == 2
        self.rig = StereoRig(media.camera, config.eye_distance_m) if both else None
        self.views = (View("left", media.camera, Pose.identity("rig", "left")),
                      View("right", media.camera, Pose("rig", "right", np.eye(3), [config.eye_distance_m, 0, 0])))
        self.views = self.views[: media.num_views]
        self.scale: Scale = "assumed"
        self.baseline_sigma_m = config.eye_distance_sigma_m
        self.is_grey, self.given = media.is_grey, given

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """[left] or [left, right], each [stop - start, H, W, 3] uint8 RGB.

        Raises:
            IndexError: outside of the clip.
            BadInput: where the media cannot be decoded.
        """
        self._check(start, stop)
        return self._media.read(self._start + start, self._start + stop)

    def close(self) -> None:
        self._media.close()


@dataclass
class Stereo4DLook(Look):
    recording: str = ""  # the video's id


class Stereo4DSource(FolderSource):
    """kind: stereo4d. A file of annotations is a recording's clip; longer ones are divided as any recording is."""

    kind = "stereo4d"
    config: Stereo4DConfig

    def __init__(self, config: Stereo4DConfig, clip: ClipConfig) -> None:
        super().__init__(config, clip)
        self._read: OrderedDict[Path, Stereo4D] = OrderedDict()

    def _unseen(self, place: Path) -> Look:
        return Stereo4DLook(recording=place.stem)

    def look(self, place: Path, found: Stereo4DLook) -> None:
        check_inside(place, self.root)
        found.digests.append(file_digest(place))
        data = self._data(place)
        found.recording, found.num_frames = data.video_id, data.num_frames
        media = self._media(place, data)
        media.close()
        found.digests += [file_digest(video) for video in self._videos(place, data)]

    def open(self, clip: ClipSpec) -> Stereo4DFrames:
        """
        Raises:
            BadInput: where a file is no longer what was planned.
        """
        path = self.root / clip.uri
        check_inside(path, self.root)
        data = self._data(path)
        span = planned_span(clip, data.num_frames, path)
        media = self._media(path, data)
        with closed_on_error(media):
            time_s = (data.time_us[span] - data.time_us[clip.start]) * 1e-6
            poses, tracks = self._places(data, span.start, span.stop)
            given = {"scene": lambda: self._scene(clip, time_s, media, poses, tracks)}
            if self.config.use == "pixels":
                from curate.sources.stereo4d_scene import camera_step_cov

                given = {"poses": (poses, camera_step_cov(poses, self.config))}
            return Stereo4DFrames(media, clip.start, time_s, self.config, given)

    def _scene(self, clip: ClipSpec, time_s: np.ndarray, media: Media, poses: Pose, tracks: np.ndarray) -> Scene:
        from curate.sources.stereo4d_scene import make_scene

        return make_scene(clip, time_s, media.camera, poses, tracks, self.config, media.num_views)

    def _places(self, data: Stereo4D, start: int, stop: int) -> tuple[Pose, np.ndarray]:
        """Camera path and tracks of a span: the world is the camera at its first frame, and lengths are those of the
        configured distance of the eyes."""
        size = self.config.eye_distance_m / EYE_DISTANCE_M
        R, origin = data.T_world_cam.rotation[start], data.T_world_cam.translation[start]
        rotation = R.T @ data.T_world_cam.rotation[start:stop]
        least = max(LEAST_FRAMES, int(FRAMES_SHARE * (stop - start)))
        return (Pose("world", "cam", rotation, (data.T_world_cam.translation[start:stop] - origin) @ R * size),
                (data.tracks(start, stop, least, self.config.max_tracks) - origin) @ R * size)

    def _data(self, path: Path) -> Stereo4D:
        if path not in self._read:
            self._read[path] = read_stereo4d(path)
            while len(self._read) > KEPT_FILES:
                self._read.popitem(last=False)
        return self._read[path]

    def recordings(self) -> list[Path]:
        """The annotations."""
        if not self.root.is_dir():
            raise BadInput(f"{self.root}: no such folder (source.root)")
        patterns = [self.config.annotations] if isinstance(self.config.annotations, str) else self.config.annotations
        for pattern in patterns:
            if Path(pattern).is_absolute():
                raise BadInput(f"{pattern}: expected a name or a pattern relative to source.root (source.annotations)")
        found = {path for pattern in patterns for path in glob(self.root, pattern) if not path.is_dir()}
        if not found:
            raise BadInput(f"{self.root}: no file matches {', '.join(patterns)!r} (source.annotations)")
        return sorted(found, key=natural)

    def _videos(self, path: Path, data: Stereo4D) -> list[Path]:
        """[left] or [left, right] of the files that are there."""
        def named(pattern: str) -> Path:
            video = self.root / pattern.replace("{name}", path.stem).replace("{video_id}", data.video_id)
            check_inside(video, self.root)
            return video

        videos = [named(self.config.left or LEFT[self.config.video])]
        if not videos[0].is_file():
            raise BadInput(f"{path}: no video {videos[0]} (source.left), expected the {self.config.video} video of "
                           "these annotations")
        right = named(self.config.right) if self.config.video == "rectified" and self.config.right else None
        return videos + ([right] if right is not None and right.is_file() else [])

    def _media(self, path: Path, data: Stereo4D) -> Media:
        """
        Raises:
            BadInput: where the videos are not those of the annotations, or one eye is too few for `use: pixels`.
        """
        videos: list[VideoReader] = []
        try:
            for file in self._videos(path, data):
                videos.append(open_video(file, self.config.decoder))
            media = (_raw if self.config.video == "raw" else _rectified)(path, data, videos, self.config)
            if self.config.use == "pixels" and media.num_views < 2:
                raise BadInput(f"{path}: the left eye alone, expected both for use: pixels (source.right)")
            return media
        except BaseException:
            for video in videos:
                video.close()
            raise

    def _spec(self, uri: str, start: int, num_frames: int, found: Stereo4DLook) -> ClipSpec:
        return ClipSpec(clip_key(uri, start, num_frames, found.digests), self.kind, uri, found.recording, start,
                        num_frames, {"licence": self.config.licence, "sha256": next(iter(found.digests), "")})


def _rectified(path: Path, data: Stereo4D, videos: list[VideoReader], config: Stereo4DConfig) -> Media:
    """Perspective videos, whose frames are those of the annotations whatever times the container gives them."""
    for video in videos:
        if video.num_frames != data.num_frames:
            raise BadInput(f"{video.path}: {video.num_frames} frames, expected {data.num_frames}, one for each of the "
                           f"timestamps of {path.name}")
    layout = None
    width, height = videos[0].width, videos[0].height
    if config.video == "side_by_side":
        layout = Layout("side_by_side", "full", "left", width, height, str(videos[0].path))
        width, height = layout.size
    elif any((v.width, v.height) != (width, height) for v in videos):
        raise BadInput(f"{videos[1].path}: {videos[1].width}x{videos[1].height}, expected {width}x{height} as the left "
                       "eye's")
    camera = _camera(config.fov_deg, width, height)

    def read(start: int, stop: int) -> list[np.ndarray]:
        frames = [video.read(start, stop) for video in videos]
        return layout.split(frames[0]) if layout else frames

    return Media(camera, 2 if layout else len(videos), videos[0].is_grey, read, lambda: _close(videos))


def _raw(path: Path, data: Stereo4D, videos: list[VideoReader], config: Stereo4DConfig) -> Media:
    """The original VR180 video: frames nearest the timestamps, each eye turned by its calibration."""
    video = videos[0]
    missing = [name for name in ("fov_bounds", "rectified2rig") if getattr(data, name) is None]
    if missing:
        raise BadInput(f"{path}: has no {', '.join(missing)}, expected them to cut views out of the raw video")
    layout = Layout("side_by_side", "full", "left", video.width, video.height, str(video.path))
    frames = _nearest(data.time_us * 1e-6, video, path)
    left, right, top, bottom = np.radians(data.fov_bounds)
    width, height = layout.size
    inside = abs(left) <= 2 * np.pi and right <= left + 2 * np.pi and max(-top, bottom) <= np.pi / 2 + 1e-6
    if not (inside and left < right and top < bottom):
        raise BadInput(f"{path}: fov_bounds are {data.fov_bounds.tolist()}, expected degrees: yaw of the left and "
                       "right edge, tilt of the top and bottom edge")
    # the published bounds are those of the outer pixels' centres
    aside, down = (right - left) / (width - 1) / 2, (bottom - top) / (height - 1) / 2
    lens = Equirectangular(left - aside, right + aside, -(bottom + down), -(top - down), width, height)
    camera = _camera(config.fov_deg, config.size, config.size)
    eyes = [Resampler(lens, camera, _rotation(turn, path), str(path)) for turn in data.rectified2rig]

    def read(start: int, stop: int) -> list[np.ndarray]:
        cv2.setNumThreads(1)
        views = [np.empty((stop - start, config.size, config.size, 3), np.uint8) for _ in eyes]
        for i in range(start, stop):  # frames of 4K and more: one at a time is held
            for view, eye, resampler in zip(views, layout.split(video.read(frames[i], frames[i] + 1)), eyes):
                view[i - start] = resampler(eye[0])
        return views

    return Media(camera, 2, video.is_grey, read, lambda: _close(videos))


def _camera(fov_deg: float, width: int, height: int) -> Intrinsics:
    """Looking straight ahead."""
    focal = width / 2 / np.tan(np.radians(fov_deg) / 2)
    return Intrinsics(float(focal), float(focal), (width - 1) / 2, (height - 1) / 2, width, height)


def _nearest(time_s: np.ndarray, video: VideoReader, path: Path) -> np.ndarray:
    """[T] frames of the video that are shown at these times, to half a frame."""
    after = np.clip(np.searchsorted(video.time_s, time_s), 1, video.num_frames - 1) if video.num_frames > 1 else 0
    frames = np.asarray(after - (time_s - video.time_s[after - 1] < video.time_s[after] - time_s))
    off = np.abs(video.time_s[frames] - time_s)
    limit = 0.51 * float(np.median(np.diff(video.time_s))) if video.num_frames > 1 else 0.0
    if (off > limit).any() or (np.diff(frames) <= 0).any():
        at = int(np.argmax(off > limit)) if (off > limit).any() else int(np.argmax(np.diff(frames) <= 0)) + 1
        raise BadInput(f"{video.path}: no frame of its own at {time_s[at]:.4f} s, timestamp {at} of {path.name}; it "
                       f"goes from {video.time_s[0]:.3f} to {video.time_s[-1]:.3f} s; is it the original?")
    return frames


def _rotation(matrix: np.ndarray, path: Path) -> np.ndarray:
    u, _, vt = np.linalg.svd(matrix)
    if np.abs(u @ vt - matrix).max() > 1e-3 or np.linalg.det(matrix) < 0:
        raise BadInput(f"{path}: rectified2rig holds {np.round(matrix, 3).tolist()}, expected rotations")
    return u @ vt


def _close(videos: list[VideoReader]) -> None:
    for video in videos:
        video.close()


