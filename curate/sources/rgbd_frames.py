"""Frames of an RGB-D clip: the colour view, and depth in its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics, StereoRig
from curate.geometry.poses import Pose
from curate.sources.base import ClipSpec, Scale, View
from curate.sources.config_rgbd import GivenPosesConfig, RgbdConfig
from curate.sources.frames import ClipFrames
from curate.sources.given_depth import GivenDepth, error_model, virtual_rig
from curate.sources.images import ImageSequence
from curate.sources.rgbd_depth import ERROR_REACH, DepthReader, load_depth, sensor_sigma
from curate.sources.rgbd_layouts import Listed
from curate.sources.rgbd_poses import given_poses

LOOKS = 8  # pairs of depth images whose change is looked at
BLOCKS = 8  # across an image: in their means a pixel's noise is small
TYPICAL_M = 2.0  # where the shared part of the sensor's error is taken: of structured light it is the same everywhere


class RgbdFrames(ClipFrames):
    """One view, read window by window.

    Attributes beyond the protocol:
        scale_sigma: standard deviation of the sensor's scale, relative.
        stats: what goes into the scene's: `registration_error_px`, and `depth_is_registered` (1 or 0).
        T_color_depth: where depth was warped from; None where it is registered.
    """

    scale: Scale = "calibrated"  # a sensor that measures metres

    def __init__(self, config: RgbdConfig, listed: Listed, clip: ClipSpec, color: ImageSequence,
                 maps: tuple[np.ndarray, np.ndarray] | None, camera: Intrinsics, reader: DepthReader) -> None:
        """
        Args:
            listed: all frames of the recording; the clip is a span of them.
            maps: undistort the colour images to `camera`.
            reader: brings a depth image into `camera`.
        """
        self._config, self._color, self._maps, self._reader = config, color, maps, reader
        self._start = clip.start
        span = slice(clip.start, clip.start + clip.num_frames)
        self._depth = listed.depth[span]
        self.num_frames = clip.num_frames
        self.time_s = listed.time_s[span] - listed.time_s[clip.start]
        self.is_grey = color.is_grey
        self.rig: StereoRig = virtual_rig(camera, config.virtual_baseline_m)
        self.views = (View("color", camera, Pose.identity("rig", "color")),)
        self.scale_sigma = config.scale_sigma
        self.T_color_depth = reader.T_color_depth
        self.stats = {"registration_error_px": float(reader.error_px),
                      "depth_is_registered": float(config.registration.kind == "registered")}
        self.given: dict[str, Any] = GivenDepth(self.read_depth, self.rig, self._error_model(listed),
                                                config.readout_s).given()
        if isinstance(config.poses, GivenPosesConfig) and listed.poses is not None:
            self.given["poses"], up = given_poses(config.poses, listed.poses[span], self.T_color_depth)
            if up is not None:
                self.given["up"] = up

    def _error_model(self, listed: Listed) -> dict[str, float]:
        """What all pixels of a region err alike: the sensor's pattern, its flicker, and what the depth changes by
        between the instants of depth and of colour."""
        noise, camera = self._config.noise, self.views[0].camera
        per_px = camera.fx * self.rig.baseline_m / TYPICAL_M**2 * float(sensor_sigma(np.float64(TYPICAL_M), noise))
        late = float(np.hypot(self._config.sync_sigma_s, listed.apart_s)) * self._change_px_s()
        always, each = (noise.shared * per_px) ** 2, (noise.flicker * per_px) ** 2 + late**2
        self.stats["late_depth_px"] = late
        return error_model(max(noise.correlation_px, np.pi * (ERROR_REACH * self._reader.error_px) ** 2),
                           np.sqrt(always + each), always / max(always + each, 1e-12))

    def _change_px_s(self) -> float:
        """How fast disparities change over the clip where nothing moves but the camera: root mean square over a few
        instants of the median over the image's blocks, px/s."""
        found = []
        for i in np.unique(np.linspace(0, self.num_frames - 2, LOOKS).round().astype(int)):
            mean = [_blocks(*self._load(path)) for path in self._depth[i:i + 2]]
            change = np.abs(mean[1] - mean[0])
            change = change[np.isfinite(change)]
            found.append(float(np.median(change) if len(change) else 0.0) / (self.time_s[i + 1] - self.time_s[i]))
        return self.views[0].camera.fx * self.rig.baseline_m * float(np.sqrt(np.mean(np.square(found))))

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """[color], [stop - start, H, W, 3] uint8 RGB without distortion.

        Raises:
            IndexError: outside of the clip.
            BadInput: an image that cannot be decoded.
        """
        self._check(start, stop)
        images = self._color.read(self._start + start, self._start + stop)
        if self._maps is not None:
            images = np.stack([cv2.remap(image, *self._maps, cv2.INTER_LINEAR) for image in images])
        return [images]

    def read_depth(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Depth [n, H, W] metres in the colour view, where it is known, and sigma [n, H, W] metres.

        Raises:
            IndexError: outside of the clip.
            BadInput: an image that cannot be decoded, or of another size than the first.
        """
        self._check(start, stop)
        found = [self._reader(*self._load(path), path) for path in self._depth[start:stop]]
        return tuple(np.stack(parts) for parts in zip(*found, strict=True))

    def _load(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        config = self._config
        return load_depth(path, config.units_a_metre, config.invalid, config.min_depth_m, config.max_depth_m)

    def close(self) -> None:
        self._color.close()


def _blocks(depth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """[BLOCKS, BLOCKS] mean inverse depth, 1/m; nan where less than half of a block is known."""
    inverse = np.where(valid, 1 / np.where(valid, depth, 1), 0).astype(np.float32)
    total, share = (cv2.resize(a, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)
                    for a in (inverse, valid.astype(np.float32)))
    return np.where(share > 0.5, total / np.maximum(share, 1e-6), np.nan)
