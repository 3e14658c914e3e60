"""Videos whose frames hold both eyes: side by side, or one above the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from curate.sources import calibration as calibrations
from curate.sources.base import BadInput, ClipSpec, check_inside, clip_key, file_digest
from curate.sources.calibration import StereoCameras
from curate.sources.config import ClipConfig, SideBySideConfig, TopBottomConfig
from curate.sources.folders import FolderSource, Look, closed_on_error, content_of, glob, planned_span
from curate.sources.frames import StereoFrames
from curate.sources.images import natural
from curate.sources.rectify import rectify
from curate.video.decode import VideoReader, open_video


class Layout:
    """Where the eyes are in a stored frame, and the size at which they are worked on.

    Half-packed eyes are not square in their pixels. They are made so by resampling rows alone, so that columns,
    which carry the disparity, stay as they were stored: side by side the rows are halved (area average), top-bottom
    they are doubled (linear).

    Args:
        kind: side_by_side or top_bottom.
        width, height: pixels of the stored frame.

    Raises:
        BadInput: where the frame cannot be divided in two.
    """

    def __init__(self, kind: str, packing: str, first: str, width: int, height: int, where: str) -> None:
        self.is_wide = kind == "side_by_side"
        self.swap = first == "right"
        length, side = (width, "width") if self.is_wide else (height, "height")
        if length % 2 or length < 4:
            raise BadInput(f"{where}: {side} of {length} px cannot hold two eyes ({kind}), expected an even number")
        self.eye = (width // 2, height) if self.is_wide else (width, height // 2)  # as stored
        self.full, self.size = self.eye, self.eye
        if packing == "half":
            self.full = (width, height)  # of one eye before it was squeezed: what the calibration is of
            self.size = (width // 2, height // 2) if self.is_wide else (width, height)

    def split(self, frames: np.ndarray) -> list[np.ndarray]:
        """Stored frames [n, H, W, 3] to [left, right], each [n, h, w, 3] of `size`."""
        width, height = self.eye
        eyes = ([frames[:, :, :width], frames[:, :, width:]] if self.is_wide
                else [frames[:, :height], frames[:, height:]])
        if self.size != self.eye:
            method = cv2.INTER_AREA if self.size[1] < height else cv2.INTER_LINEAR
            eyes = [np.stack([cv2.resize(image, self.size, interpolation=method) for image in eye]) for eye in eyes]
        return [np.ascontiguousarray(eye) for eye in (eyes[::-1] if self.swap else eyes)]

    def cameras(self, cameras: StereoCameras, where: str) -> StereoCameras:
        """Calibration of the eye at full resolution, at `size`."""
        full = cameras.at(*self.full, where)
        if self.size == self.full:
            return full
        sx, sy = self.size[0] / self.full[0], self.size[1] / self.full[1]
        return replace(full, K_left=calibrations.scaled(full.K_left, sx, sy),
                       K_right=calibrations.scaled(full.K_right, sx, sy), size=self.size)


class Packed(FolderSource):
    """side_by_side and top_bottom."""

    config: SideBySideConfig | TopBottomConfig

    def __init__(self, config: SideBySideConfig | TopBottomConfig, clip: ClipConfig) -> None:
        super().__init__(config, clip)
        self.kind = config.kind
        self._only = self.root if self.root.is_file() else None
        self.root = self.root.parent if self._only else self.root

    def look(self, place: Path, found: Look) -> None:
        for file in self._files(place):
            if file.is_file():
                check_inside(file, self.root)
                found.digests.append(file_digest(file))
        with open_video(place) as video:
            self._check(place, video)
            found.num_frames = video.num_frames

    def open(self, clip: ClipSpec) -> StereoFrames:
        """
        Raises:
            BadInput: where the video is no longer what was planned.
        """
        path = self.root / clip.uri
        check_inside(path, self.root)
        video = open_video(path, self.config.decoder)
        with closed_on_error(video):
            span = planned_span(clip, video.num_frames, path)
            layout = self._layout(video)
            cameras = layout.cameras(self._cameras(path), str(path))
            return StereoFrames(
                lambda start, stop: layout.split(video.read(start, stop)), video.close,
                video.time_s[span], clip.start, rectify(cameras, str(path)),
                baseline_sigma_m=calibrations.baseline_sigma(cameras, self.config.baseline_sigma_m),
                is_grey=video.is_grey)

    def _files(self, path: Path) -> list[Path]:
        """What the clips of a video are made of; their digests are in the clips' keys."""
        calibration = self._calibration_path(path)
        return [path] if calibration is None else [path, calibration]

    def _check(self, path: Path, video: VideoReader) -> None:
        """Raises BadInput where the video could not be opened as a stereo pair."""
        layout = self._layout(video)
        rectify(layout.cameras(self._cameras(path), str(path)), str(path))

    def recordings(self) -> list[Path]:
        """The videos."""
        if self._only:
            return [self._only]
        if not self.root.is_dir():
            raise BadInput(f"{self.root}: no such folder or video (source.root)")
        patterns = [self.config.videos] if isinstance(self.config.videos, str) else self.config.videos
        found: set[Path] = set()
        for pattern in patterns:
            if Path(pattern).is_absolute():
                raise BadInput(f"{pattern}: expected a name or a pattern relative to source.root (source.videos)")
            # A plain name stands even where the file is missing: then that one file is bad, and named.
            named = {self.root / pattern} if not any(c in pattern for c in "*?[") else set(glob(self.root, pattern))
            found |= {p for p in named if not p.is_dir()}
        if not found:
            raise BadInput(f"{self.root}: no video matches {', '.join(patterns)!r} (source.videos)")
        return sorted(found, key=natural)

    def _layout(self, video: VideoReader) -> Layout:
        return Layout(self.kind, self.config.packing, self.config.first, video.width, video.height, str(video.path))

    def _calibration_path(self, path: Path) -> Path | None:
        given = self.config.calibration
        if given is None:
            return path.with_name(f"{path.stem}.calib.json")
        return self.root / given if isinstance(given, str) else None

    def _cameras(self, path: Path) -> StereoCameras:
        file = self._calibration_path(path)
        if file is None:
            return calibrations.check(calibrations.from_config(self.config.calibration), "source.calibration")
        if not file.is_file():
            raise BadInput(f"{path}: no calibration: {file.name} is not there; write it, or give calibration: "
                           "{fx: ..., baseline_m: ...} in the recipe")
        return calibrations.load(file)

    def _spec(self, uri: str, start: int, num_frames: int, found: Look) -> ClipSpec:
        return ClipSpec(clip_key(uri, start, num_frames, found.digests), self.kind, uri,
                        f"{Path(uri).stem}-{content_of(found.digests)[:8]}", start, num_frames,
                        {"licence": self.config.licence, "sha256": next(iter(found.digests), "")})
