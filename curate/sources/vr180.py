"""VR180 and VR360 stereo video as rectified perspective pairs. Its scale is the assumed distance of the eyes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from curate.geometry.cameras import StereoRig
from curate.sources.base import BadInput, ClipSpec, check_inside
from curate.sources.config import ClipConfig
from curate.sources.config_spherical import OMNIDIRECTIONAL_DEG, WIDEST_DEG, VirtualPair, Vr180Config
from curate.sources.equirect import Equirectangular, Fisheye, Lens, Resampler, aim
from curate.sources.folders import Look, closed_on_error, planned_span
from curate.sources.frames import StereoFrames
from curate.sources.packed import Layout, Packed
from curate.sources.rectify import Rectification
from curate.sources.spherical import Spherical, read_spherical
from curate.video.decode import VideoReader, open_video

HALF_SPHERE = (-90.0, 90.0, -90.0, 90.0)
FIXED_DEG = 200.0  # what two lenses that stay where they are show at most


class Vr180(Packed):
    """kind: vr180. Videos, spans and frames are those of packed video; every virtual pair is a clip of its own."""

    def __init__(self, config: Vr180Config, clip: ClipConfig) -> None:
        super().__init__(config, clip)

    def open(self, clip: ClipSpec) -> StereoFrames:
        """
        Raises:
            BadInput: where the video is no longer what was planned.
        """
        path = self.root / clip.uri
        check_inside(path, self.root)
        pair = VirtualPair.model_validate(clip.params["pair"])
        video = open_video(path, self.config.decoder)
        with closed_on_error(video):
            span = planned_span(clip, video.num_frames, path)
            layout, lens, turns = self._geometry(path, video)
            camera, R_eye_view = aim(pair, turns)
            resampler = Resampler(lens, camera, R_eye_view, str(path))

            def read(start: int, stop: int) -> list[np.ndarray]:
                cv2.setNumThreads(1)
                views = [np.empty((stop - start, pair.height, pair.width, 3), np.uint8) for _ in range(2)]
                for i in range(start, stop):  # frames of 8K: one at a time is held
                    for view, eye in zip(views, layout.split(video.read(i, i + 1))):
                        view[i - start] = resampler(eye[0])
                return views

            rig = StereoRig(camera, self.config.eye_distance_m)
            return StereoFrames(read, video.close, video.time_s[span], clip.start,
                                Rectification(rig, camera, R_eye_view.T, None, 0.0),
                                baseline_sigma_m=eye_distance_sigma(self.config, pair, turns), is_grey=video.is_grey,
                                scale="assumed")

    def _files(self, path: Path) -> list[Path]:
        return [path]

    def _check(self, path: Path, video: VideoReader) -> None:
        _, lens, turns = self._geometry(path, video)
        for pair in self.config.pairs:
            if turns and pair.fov_deg > OMNIDIRECTIONAL_DEG:
                raise BadInput(f"{path}: omnidirectional stereo, and a pair of fov_deg {pair.fov_deg:g}; expected "
                               f"at most {OMNIDIRECTIONAL_DEG:g}, or source.stereo: fixed if its lenses do not turn")
            aside = 0 if turns else abs(pair.yaw_deg) + pair.fov_deg / 2
            if aside > WIDEST_DEG:
                raise BadInput(f"{path}: a pair of yaw_deg {pair.yaw_deg:g} and fov_deg {pair.fov_deg:g} reaches "
                               f"{aside:g} degrees to the side, expected at most {WIDEST_DEG:g}: fixed lenses are no "
                               "stereo pair there")
            camera, R_eye_view = aim(pair, turns)
            Resampler(lens, camera, R_eye_view, str(path))

    def _clips(self, uri: str, start: int, num_frames: int, found: Look) -> Iterator[ClipSpec]:
        clip = self._spec(uri, start, num_frames, found)
        for pair in self.config.pairs:
            key = hashlib.sha256(f"{clip.key} {pair.model_dump_json()}".encode()).hexdigest()[:24]
            yield replace(clip, key=key, params={**clip.params, "pair": pair.model_dump()})

    def _geometry(self, path: Path, video: VideoReader) -> tuple[Layout, Lens, bool]:
        """Where the eyes are, what each shows, and whether they turn with the direction of view."""
        said = read_spherical(path)
        unsaid = "mono" if said.told_by else "side_by_side"  # spherical metadata without a word of stereo: one eye
        packing = self.config.packing or said.packing or unsaid
        if packing == "mono":
            raise BadInput(f"{path}: its metadata say that it holds one eye only (st3d or StereoMode: monoscopic, or "
                           "not there beside spherical metadata), expected stereo; if it holds two, say packing")
        if packing == "custom":
            raise BadInput(f"{path}: its st3d box gives a layout of its own, expected side by side or top-bottom; say "
                           "source.packing")
        first = self.config.first or (said.first if packing == said.packing else None) or "left"
        layout = Layout(packing, "full", first, video.width, video.height, str(path))
        lens, across = self._lens(path, said, *layout.size)
        turns = across > FIXED_DEG if self.config.stereo is None else self.config.stereo == "omnidirectional"
        return layout, lens, turns

    def _lens(self, path: Path, said: Spherical, width: int, height: int) -> tuple[Lens, float]:
        """Of each eye, and the degrees it spans across."""
        projection, fov = self.config.projection or said.projection or "equirectangular", self.config.fov_deg
        if projection == "fisheye":
            degrees = fov[0] if fov else 180.0
            return Fisheye(float(np.radians(degrees)), width, height), 0.0
        if projection != "equirectangular":
            raise BadInput(f"{path}: its projection is {projection!r}, expected equirectangular; convert it, or say "
                           "source.projection (fisheye with its fov_deg) where you know the lens")
        left, right, bottom, top = HALF_SPHERE
        if fov:
            left, right, bottom, top = -fov[0] / 2, fov[0] / 2, -fov[1] / 2, fov[1] / 2
        elif said.bounds_deg:
            left, right, bottom, top = said.bounds_deg
        return Equirectangular(*(float(np.radians(a)) for a in (left, right, bottom, top)), width, height), right - left


def eye_distance_sigma(config: Vr180Config, pair: VirtualPair, turns: bool) -> float:
    """Standard deviation of the baseline, metres: that of the assumption, and of the model where the eyes turn.

    Omnidirectional stereo shows a point at azimuth φ from the middle of the pair with 1 / cos φ of the disparity that
    two cameras would see (both eyes keep their distance square to every ray; Peleg, Ben-Ezra, Pritch, PAMI 2001), so
    that lengths there are short by as much; the most of it, at the border, counts as one standard deviation.
    """
    model = config.eye_distance_m * (1 / np.cos(np.radians(pair.fov_deg / 2)) - 1) if turns else 0.0
    return float(np.hypot(config.eye_distance_sigma_m, model))
