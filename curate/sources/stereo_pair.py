"""Two folders of images, or two videos: one recording, or a folder of recordings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.sources import calibration as calibrations
from curate.sources.base import BadInput, ClipSpec, check_inside, file_digest
from curate.sources.calibration import StereoCameras
from curate.sources.config import StereoCalibration, StereoPairConfig
from curate.sources.folders import FolderSource, Look, closed_on_error, planned_span
from curate.sources.frames import StereoFrames
from curate.sources.images import SUFFIXES, ImageSequence, list_images
from curate.sources.media import AsStored, Picked, Readable
from curate.sources.rectify import rectify
from curate.sources.times import (
    check_in_step,
    check_increasing,
    check_numbers,
    pair_by_time,
    read_times,
    times_of_names,
)
from curate.video.decode import Decoder, VideoReader, open_video

Media = ImageSequence | VideoReader


@dataclass
class Recording:
    """One recording, open: both media agree in number, size and time."""

    left: Readable
    right: Readable
    time_s: np.ndarray  # [T]
    cameras: StereoCameras
    media: tuple[Media, Media]  # as they are stored

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        return [self.left.read(start, stop), self.right.read(start, stop)]

    def close(self) -> None:
        self.left.close()
        self.right.close()


class StereoPair(FolderSource):
    kind = "stereo_pair"
    config: StereoPairConfig

    def look(self, place: Path, found: Look) -> None:
        recording = self._open(place)
        recording.close()
        rectify(recording.cameras, str(place))
        found.digests, found.num_frames = self._digests(place, recording), len(recording.time_s)

    def open(self, clip: ClipSpec) -> StereoFrames:
        """
        Raises:
            BadInput: where the recording is no longer what was planned.
        """
        folder = self.root / clip.uri
        recording = self._open(folder)
        with closed_on_error(recording):
            span = planned_span(clip, len(recording.time_s), folder)
            rectification = rectify(recording.cameras, str(folder))
            return StereoFrames(
                recording.read, recording.close, recording.time_s[span], clip.start, rectification,
                baseline_sigma_m=calibrations.baseline_sigma(recording.cameras, self.config.baseline_sigma_m),
                is_grey=recording.left.is_grey and recording.right.is_grey)

    def _open(self, folder: Path) -> Recording:
        """
        Raises:
            BadInput: whatever is wrong with the recording, in one line.
        """
        is_turned = self.config.rotation == "as-shown"
        left = open_media(folder, self.config.left, self.config.decoder, is_turned)
        with closed_on_error(left):
            right = open_media(folder, self.config.right, self.config.decoder, is_turned)
        with closed_on_error(left, right):
            for media in (left, right):
                check_media(media, self.root)
            _check_alike(left, right, folder, self.config.pairing)
            _share_depth(left, right, self.config.bits)
            time_s, *kept = self._times(folder, left, right)
            views = [media if is_turned or isinstance(media, ImageSequence) else AsStored(media, media.turns)
                     for media in (left, right)]
            if kept[0] is not None:
                views = [Picked(view, indices) for view, indices in zip(views, kept)]
            size = views[0].width, views[0].height
            cameras = self._cameras(folder, left.is_grey).at(*size, str(folder))
            return Recording(*views, time_s, cameras, (left, right))

    def _cameras(self, folder: Path, is_grey: bool) -> StereoCameras:
        given = self.config.calibration
        if isinstance(given, StereoCalibration):
            return calibrations.check(calibrations.from_config(given), "source.calibration")
        paths, said = self._calibration_paths(folder), {"lens": self.config.lens, "unit": self.config.calibration_unit}
        if len(paths) > 1:
            return calibrations.load_files(paths, self.config.cameras, **said)
        return calibrations.load(paths[0], self.config.cameras, is_grey, **said)

    def _calibration_paths(self, folder: Path) -> list[Path]:
        """The files of the calibration: none where the recipe holds it."""
        given = self.config.calibration
        names = (given,) if isinstance(given, str) else given if isinstance(given, tuple) else ()
        return [self._calibration_path(folder, name) for name in names]

    def _calibration_path(self, folder: Path, name: str) -> Path:
        found = self._beside(folder, name)
        if found is None:
            raise BadInput(f"{folder / name}: no such calibration file; write one, or give calibration: "
                           "{fx: ..., baseline_m: ...} in the recipe")
        return found

    def _times(self, folder: Path, left: Media, right: Media
               ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """[T] seconds, of the left camera, and which frames of both are pairs (None: all)."""
        left_ns = self._times_of(folder, left, self.config.timestamps)
        # One timestamps file speaks for both; videos and time-named images say theirs themselves.
        shared = self.config.timestamps is not None and self.config.timestamps_right is None
        right_ns = None if shared else self._times_of(folder, right, self.config.timestamps_right)
        if self.config.pairing == "time":
            if left_ns is None or right_ns is None:
                raise BadInput(f"{folder}: pairing: time needs times of both cameras; give timestamps and "
                               "timestamps_right")
            kept = pair_by_time(left_ns, right_ns)
            if not len(kept[0]):
                raise BadInput(f"{folder}: no left frame is within half a frame of a right one; do the times of both "
                               "cameras count from the same moment?")
            return (left_ns[kept[0]] - left_ns[kept[0][0]]) * 1e-9, *kept
        if left_ns is None and right_ns is None:
            if self.config.fps is None:
                raise BadInput(f"{folder}: images without times; give timestamps (a file) or fps")
            for media in (left, right):
                check_numbers(media.paths)
            return np.arange(left.num_frames) / self.config.fps, None, None
        if left_ns is None:
            raise BadInput(f"{folder}: times of the right camera alone; give timestamps")
        if right_ns is not None:
            check_in_step(left_ns, right_ns, str(folder))
        return (left_ns - left_ns[0]) * 1e-9, None, None

    def _times_of(self, folder: Path, media: Media, file: str | None) -> np.ndarray | None:
        """[T] nanoseconds, or None where nothing says."""
        if file is not None:
            check_inside(folder / file, self.root)
            times = read_times(folder / file)
            if len(times) != media.num_frames:
                raise BadInput(f"{folder / file}: {len(times)} times, expected {media.num_frames} (one a frame)")
            return times
        if isinstance(media, VideoReader):
            return np.round(media.time_s * 1e9).astype(np.int64)
        times = times_of_names(media.paths)
        if times is not None:
            check_increasing(times, str(media.paths[0].parent))
        return times

    def _digests(self, folder: Path, recording: Recording) -> list[str]:
        """Of the media, the calibration and the times: what the clip's key stands for."""
        digests = [*map(digest_of, recording.media), *map(file_digest, self._calibration_paths(folder))]
        return digests + [file_digest(folder / f) for f in (self.config.timestamps, self.config.timestamps_right) if f]


def open_media(folder: Path, pattern: str, decoder: Decoder = "av", is_turned: bool = True) -> Media:
    """A folder or glob of images, or a video.

    Args:
        is_turned: images are turned as their EXIF asks. Videos always are; `AsStored` undoes it.

    Raises:
        BadInput: nothing there, or not readable.
    """
    path = folder / pattern
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        return open_video(path, decoder)
    if path.is_file():
        raise BadInput(f"{path}: one image, expected a folder of images, a glob of images or a video")
    return ImageSequence(list_images(folder, pattern), is_turned)


def check_media(media: Media, root: Path) -> None:
    """
    Raises:
        BadInput: where a file of it leads out of `root`.
    """
    for path in media.paths if isinstance(media, ImageSequence) else [media.path]:
        check_inside(path, root)


def digest_of(media: Media) -> str:
    """Of a video its own; of images all names and sizes, and the contents of the first and last."""
    if isinstance(media, VideoReader):
        return file_digest(media.path)
    digest = hashlib.sha256()
    for path in media.paths:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
    for path in (media.paths[0], media.paths[-1]):
        digest.update(file_digest(path).encode())
    return digest.hexdigest()


def _share_depth(left: Media, right: Media, bits: int | None) -> None:
    """One factor for 16-bit images of both cameras: by the brighter first one, or as the recipe says."""
    deep = [media for media in (left, right) if isinstance(media, ImageSequence) and media.is_deep]
    for media in deep:
        media.bits = bits or max(one.bits for one in deep)


def _check_alike(left: Media, right: Media, folder: Path, pairing: str) -> None:
    if left.num_frames != right.num_frames and pairing == "number":
        raise BadInput(f"{folder}: {left.num_frames} left but {right.num_frames} right frames, expected the same "
                       f"number{_first_alone(left, right)}; where both have times, say pairing: time")
    if (left.width, left.height) != (right.width, right.height):
        raise BadInput(f"{folder}: left is {left.width}x{left.height} but right is {right.width}x{right.height}, "
                       "expected the same size")
    alone = _first_alone(left, right)
    if alone and pairing == "number":
        raise BadInput(f"{folder}: left and right do not pair up{alone}")
    for media in (left, right):
        if isinstance(media, ImageSequence):
            empty = next((p for p in media.paths if p.stat().st_size == 0), None)
            if empty is not None:
                raise BadInput(f"{empty}: empty (0 bytes), expected an image")


def _first_alone(left: Media, right: Media) -> str:
    """Which file has no partner, where both sides use the same names (not where names are exact times)."""
    if not (isinstance(left, ImageSequence) and isinstance(right, ImageSequence)):
        return ""
    names = [{p.stem for p in media.paths} for media in (left, right)]
    if names[0] == names[1] or 2 * len(names[0] & names[1]) < max(map(len, names)):
        return ""
    if times_of_names(left.paths) is not None:
        return ""
    for side, media, other in (("left", left, names[1]), ("right", right, names[0])):
        for path in media.paths:
            if path.stem not in other:
                return f": {path.name} is only on the {side}"
    return ""
