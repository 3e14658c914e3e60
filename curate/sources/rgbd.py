"""Colour and depth images of one sensor: one view, whose depth is given as disparity of a virtual rig."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import cv2
import numpy as np

from curate.geometry.cameras import Intrinsics
from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3
from curate.sources.base import BadInput, ClipSpec, file_digest
from curate.sources.config import ClipConfig
from curate.sources.config_rgbd import ERRORS_PX, PinholeConfig, RgbdConfig
from curate.sources.folders import FolderSource, Look, planned_span
from curate.sources.images import ImageSequence
from curate.sources.rgbd_cameras import intrinsics, read_open3d_intrinsics, undistorted, undistortion
from curate.sources.rgbd_depth import DepthReader, load_depth
from curate.sources.rgbd_frames import RgbdFrames
from curate.sources.rgbd_layouts import Listed, list_frames
from curate.sources.rgbd_register import Registration, refine_turn

LOOKS = 6  # frames at which edges are compared
log = logging.getLogger(__name__)


class Rgbd(FolderSource):
    """kind: rgbd."""

    kind = "rgbd"
    config: RgbdConfig

    def __init__(self, config: RgbdConfig, clip: ClipConfig) -> None:
        super().__init__(config, clip)
        self._registrations: dict[str, Registration | None] = {}  # of recordings, that no clip looks at again

    def look(self, place: Path, found: Look) -> None:
        listed = list_frames(place, self.config, self.root)
        color = ImageSequence(listed.color)
        self._cameras(place, color, self._first_depth(listed))
        found.digests, found.num_frames = self._digests(place, listed), len(listed.color)
        if listed.skipped:
            log.warning("%s: %d colour images are left out, for want of depth (or a pose) near in time", place,
                        listed.skipped)

    def open(self, clip: ClipSpec) -> RgbdFrames:
        """
        Raises:
            BadInput: where the recording is no longer what was planned.
        """
        folder = self.root / clip.uri
        listed = list_frames(folder, self.config, self.root)
        planned_span(clip, len(listed.color), folder)
        color = ImageSequence(listed.color)
        shape = self._first_depth(listed)
        raw, depth_camera, calibrated = self._cameras(folder, color, shape)
        registration, error_px = None, self.config.registration_error_px
        if self.config.registration.kind == "refined":
            registration = self._registration(folder, listed, color, calibrated, depth_camera)
            if registration is None and self.config.registration.error_px is None:
                error_px = ERRORS_PX["unknown"]
            elif registration is not None:
                error_px = float(np.hypot(error_px, registration.sigma_px))
        is_warped = self.config.registration.kind != "registered"
        pose = None if not is_warped else registration.T_color_depth if registration else self._start()
        reader = DepthReader(shape, depth_camera if is_warped else None, calibrated, pose,
                             self._depth_maps(raw, calibrated, depth_camera), self.config.noise, error_px)
        self._warn(folder, error_px)
        return RgbdFrames(self.config, listed, clip, color, undistortion(raw, calibrated), calibrated, reader)

    def _warn(self, folder: Path, error_px: float) -> None:
        kind = self.config.registration.kind
        if kind in ("unknown", "refined"):
            log.warning("%s: depth is not registered to colour (source.registration: %s); it may lie %.1f px beside "
                        "its pixel: left out within twice that of edges, less sure on slants", folder, kind, error_px)

    # ---- cameras ----

    def _load(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        config = self.config
        return load_depth(path, config.units_a_metre, config.invalid, config.min_depth_m, config.max_depth_m)

    def _first_depth(self, listed: Listed) -> tuple[int, int]:
        """(height, width) of the depth images."""
        return self._load(listed.depth[0])[0].shape

    def _cameras(self, folder: Path, color: ImageSequence, depth_shape: tuple[int, int]
                 ) -> tuple[PinholeConfig, Intrinsics, Intrinsics]:
        """The colour camera as configured, the depth camera, the colour camera without distortion.

        Raises:
            BadInput: where they do not fit the images.
        """
        raw, size = self._color_config(folder)
        if size is not None and size != (color.width, color.height):
            raise BadInput(f"{folder / str(self.config.color)}: calibrated at {size[0]}x{size[1]}, the images are "
                           f"{color.width}x{color.height}")
        calibrated = intrinsics(raw, color.width, color.height, f"{folder}: source.color")
        height, width = depth_shape
        kind = self.config.registration.kind
        if kind == "registered" and abs(width * color.height - height * color.width) > max(width, color.width):
            raise BadInput(f"{folder}: depth is {width}x{height} and colour {color.width}x{color.height}, of another "
                           "shape: such depth is not registered to colour (source.registration)")
        if self.config.depth is not None:
            return raw, intrinsics(self.config.depth, width, height, f"{folder}: source.depth"), calibrated
        return raw, calibrated.scaled(width, height), calibrated

    def _color_config(self, folder: Path) -> tuple[PinholeConfig, tuple[int, int] | None]:
        if not isinstance(self.config.color, str):
            return self.config.color, None
        found = self._beside(folder, self.config.color)
        if found is None:
            raise BadInput(f"{folder / self.config.color}: no such file of intrinsics (source.color); write Open3D's "
                           "json, or give color: {fx: ...} in the recipe")
        return read_open3d_intrinsics(found)

    def _depth_maps(self, raw: PinholeConfig, color: Intrinsics, camera: Intrinsics):
        """Registered depth has the distortion of the colour image; a depth camera has its own."""
        if self.config.registration.kind == "registered":
            return undistortion(raw, color.scaled(camera.width, camera.height))
        return undistortion(self.config.depth or raw, camera)

    # ---- where depth stands ----

    def _start(self) -> Pose:
        stated = self.config.registration
        given = np.asarray(stated.rotation, float)
        rotation = exp_so3(given) if given.size == 3 else given.reshape(3, 3)
        try:
            Pose("color", "depth", rotation, np.asarray(stated.translation_m))
        except ValueError as error:
            raise BadInput(f"source.registration.rotation: {error}") from error
        matrix = np.column_stack([rotation, np.asarray(stated.translation_m)])
        return Pose.from_matrix("color", "depth", matrix)

    def _registration(self, folder: Path, listed: Listed, color: ImageSequence, camera: Intrinsics,
                      depth_camera: Intrinsics) -> Registration | None:
        """Found by edges over the whole recording, once; None where they do not tell."""
        key = str(folder)
        if key not in self._registrations:
            maps = undistortion(self._color_config(folder)[0], camera)
            depth_maps = undistortion(self.config.depth, depth_camera) if self.config.depth else None
            pairs = []
            for index in np.unique(np.linspace(0, len(listed.color) - 1, LOOKS).round().astype(int)):
                image = undistorted(color.read(index, index + 1)[0], maps)
                depth, valid = self._load(listed.depth[index])
                if depth_maps is not None:
                    depth = cv2.remap(depth, *depth_maps, cv2.INTER_NEAREST)
                    valid = cv2.remap(valid.astype(np.uint8), *depth_maps, cv2.INTER_NEAREST) > 0
                pairs.append((cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), depth, valid))
            found = refine_turn(pairs, depth_camera, camera, self._start(), self.config.registration.max_turn_deg)
            if found is None or not found.agrees:
                log.warning("%s: edges of depth and colour do not tell how the cameras stand; depth is taken as stated",
                            folder)
                found = None
            self._registrations[key] = found
        return self._registrations[key]

    # ---- names ----

    def _digests(self, folder: Path, listed: Listed) -> list[str]:
        """Of names and sizes of all images, the contents of the first and last, times and poses."""
        digest = hashlib.sha256()
        for path in (*listed.color, *listed.depth):
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        for path in (listed.color[0], listed.color[-1], listed.depth[0], listed.depth[-1]):
            digest.update(file_digest(path).encode())
        digest.update(np.ascontiguousarray(listed.time_s).tobytes())
        if listed.poses is not None:
            digest.update(np.ascontiguousarray(listed.poses.matrix()).tobytes())
        digests = [digest.hexdigest()]
        if isinstance(self.config.color, str):
            digests.append(hashlib.sha256(self._color_config(folder)[0].model_dump_json().encode()).hexdigest())
        return digests
