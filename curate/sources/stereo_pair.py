"""Two folders of images, or two videos: one recording, or a folder of recordings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.sources import calibration as calibrations
from curate.sources.base import BadInput, ClipSpec, check_inside, clip_key, file_digest, reason_of
from curate.sources.calibration import StereoCameras
from curate.sources.config import ClipConfig, StereoPairConfig
from curate.sources.cut import some_good, spans, too_short
from curate.sources.frames import StereoFrames
from curate.sources.images import SUFFIXES, ImageSequence, list_images, natural
from curate.sources.rectify import rectify
from curate.sources.times import check_in_step, check_increasing, read_times, times_of_names
from curate.video.decode import Decoder, VideoReader, open_video

Media = ImageSequence | VideoReader


@dataclass
class Recording:
    """One recording, open: both media agree in number, size and time."""

    left: Media
    right: Media
    time_s: np.ndarray  # [T]
    cameras: StereoCameras

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        return [self.left.read(start, stop), self.right.read(start, stop)]

    def close(self) -> None:
        self.left.close()
        self.right.close()


class StereoPair:
    kind = "stereo_pair"

    def __init__(self, config: StereoPairConfig, clip: ClipConfig) -> None:
        self.config, self.clip = config, clip
        self.root = Path(config.root).expanduser()

    def plan(self) -> Iterator[ClipSpec | tuple[ClipSpec, str]]:
        return some_good(self._plan(), str(self.root), self.clip.max_clips)

    def _plan(self) -> Iterator[ClipSpec | tuple[ClipSpec, str]]:
        for folder in self._recordings():
            uri = folder.relative_to(self.root).as_posix()
            try:
                recording = self._open(folder)
                recording.close()
                rectify(recording.cameras, str(folder))
                digests, total = self._digests(folder, recording), len(recording.time_s)
            except (BadInput, OSError) as error:
                yield self._spec(uri, 0, 0, []), reason_of(error, folder)
                continue
            if reason := too_short(total, self.clip):
                yield self._spec(uri, 0, total, digests), f"{folder}: {reason}"
                continue
            for start, count in spans(total, self.clip):
                yield self._spec(uri, start, count, digests)

    def open(self, clip: ClipSpec) -> StereoFrames:
        """
        Raises:
            BadInput: where the recording is no longer what was planned.
        """
        folder = self.root / clip.uri
        recording = self._open(folder)
        try:
            stop = clip.start + clip.num_frames
            if stop > len(recording.time_s):
                raise BadInput(f"{folder}: {len(recording.time_s)} frames, expected at least {stop} as planned")
            rectification = rectify(recording.cameras, str(folder))
            return StereoFrames(
                recording.read, recording.close, recording.time_s[clip.start:stop], clip.start, rectification,
                baseline_sigma_m=calibrations.baseline_sigma(recording.cameras, self.config.baseline_sigma_m),
                is_grey=recording.left.is_grey and recording.right.is_grey)
        except BaseException:
            recording.close()
            raise

    def _recordings(self) -> list[Path]:
        if not self.root.is_dir():
            raise BadInput(f"{self.root}: no such folder (source.root)")
        if self.config.recordings is None:
            return [self.root]
        folders = sorted((p for p in glob(self.root, self.config.recordings) if p.is_dir()), key=natural)
        if not folders:
            raise BadInput(f"{self.root}: no folder matches recordings: {self.config.recordings!r}")
        return folders

    def _open(self, folder: Path) -> Recording:
        """
        Raises:
            BadInput: whatever is wrong with the recording, in one line.
        """
        left = open_media(folder, self.config.left, self.config.decoder)
        try:
            right = open_media(folder, self.config.right, self.config.decoder)
        except BaseException:
            left.close()
            raise
        try:
            for media in (left, right):
                for path in media.paths if isinstance(media, ImageSequence) else [media.path]:
                    check_inside(path, self.root)
            _check_alike(left, right, folder)
            time_s = self._times(folder, left, right)
            cameras = self._cameras(folder, left.is_grey).at(left.width, left.height, str(folder))
            return Recording(left, right, time_s, cameras)
        except BaseException:
            left.close()
            right.close()
            raise

    def _cameras(self, folder: Path, is_grey: bool) -> StereoCameras:
        given = self.config.calibration
        if not isinstance(given, str):
            return calibrations.check(calibrations.from_config(given), "source.calibration")
        return calibrations.load(self._calibration_path(folder), self.config.cameras, is_grey)

    def _calibration_path(self, folder: Path) -> Path:
        places = [folder / self.config.calibration, self.root / self.config.calibration]
        found = next((p for p in places if p.is_file()), None)
        if found is None:
            raise BadInput(f"{places[0]}: no such calibration file; write one, or give calibration: "
                           "{fx: ..., baseline_m: ...} in the recipe")
        check_inside(found, self.root)
        return found

    def _times(self, folder: Path, left: Media, right: Media) -> np.ndarray:
        """[T] seconds, of the left camera."""
        left_ns = self._times_of(folder, left, self.config.timestamps)
        # One timestamps file speaks for both; videos and time-named images say theirs themselves.
        shared = self.config.timestamps is not None and self.config.timestamps_right is None
        right_ns = None if shared else self._times_of(folder, right, self.config.timestamps_right)
        if left_ns is None and right_ns is None:
            if self.config.fps is None:
                raise BadInput(f"{folder}: images without times; give timestamps (a file) or fps")
            return np.arange(left.num_frames) / self.config.fps
        if left_ns is None:
            raise BadInput(f"{folder}: times of the right camera alone; give timestamps")
        if right_ns is not None:
            check_in_step(left_ns, right_ns, str(folder))
        return (left_ns - left_ns[0]) * 1e-9

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
        digests = [digest_of(recording.left), digest_of(recording.right)]
        if isinstance(self.config.calibration, str):
            digests.append(file_digest(self._calibration_path(folder)))
        return digests + [file_digest(folder / f) for f in (self.config.timestamps, self.config.timestamps_right) if f]

    def _spec(self, uri: str, start: int, num_frames: int, digests: list[str]) -> ClipSpec:
        content = hashlib.sha256("".join(digests).encode()).hexdigest()
        name = self.kind if uri == "." else uri.rsplit("/", 1)[-1]  # not the root's: it may be moved
        return ClipSpec(clip_key(uri, start, num_frames, digests), self.kind, uri, f"{name}-{content[:8]}", start,
                        num_frames, {"licence": self.config.licence, "sha256": content})


def open_media(folder: Path, pattern: str, decoder: Decoder = "av") -> Media:
    """A folder or glob of images, or a video.

    Raises:
        BadInput: nothing there, or not readable.
    """
    path = folder / pattern
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        return open_video(path, decoder)
    if path.is_file():
        raise BadInput(f"{path}: one image, expected a folder of images, a glob of images or a video")
    return ImageSequence(list_images(folder, pattern))


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


def glob(root: Path, pattern: str) -> list[Path]:
    """
    Raises:
        BadInput: where the pattern is not one below `root`.
    """
    try:
        return list(root.glob(pattern))
    except (ValueError, NotImplementedError) as error:
        raise BadInput(f"{pattern!r}: not a pattern relative to {root}: {error}") from error


def _check_alike(left: Media, right: Media, folder: Path) -> None:
    if left.num_frames != right.num_frames:
        raise BadInput(f"{folder}: {left.num_frames} left but {right.num_frames} right frames, expected the same "
                       f"number{_first_alone(left, right)}")
    if (left.width, left.height) != (right.width, right.height):
        raise BadInput(f"{folder}: left is {left.width}x{left.height} but right is {right.width}x{right.height}, "
                       "expected the same size")
    alone = _first_alone(left, right)
    if alone:
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
