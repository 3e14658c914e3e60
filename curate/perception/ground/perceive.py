"""A clip of one camera without depth to a scene: two passes, one for the background and one for what moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from curate.geometry.ground import GroundPlane
from curate.geometry.poses import Pose
from curate.lift.config import LiftConfig
from curate.perception.estimator import Estimator, Field, Window
from curate.perception.ground import VERSION
from curate.perception.ground.background import Background, background_of
from curate.perception.ground.config import GroundConfig
from curate.perception.ground.flat import MAX_HEIGHT, build_flat_region, picture_plane
from curate.perception.ground.regions import build_region
from curate.perception.ground.still import Stillness, stillness
from curate.perception.ground.tracker import Track, Tracker
from curate.scene import Region, Scene
from curate.sources.base import BadInput, ClipSpec, Frames

LOOKS = 10  # frames that tell whether the camera stands still
MAX_BACKGROUND_BYTES = 256 << 20
UNKNOWN_STEP = [1.0] * 3 + [1e4] * 3  # rad² and of length: a camera of which only this is known, that it moves


class GroundPerception:
    """The work on one clip. Raises BadInput where a ground plane is given and the camera is seen to move.

    Args:
        lift: how many regions are kept, and of how many frames.
    """

    def __init__(self, clip: ClipSpec, frames: Frames, config: GroundConfig, lift: LiftConfig) -> None:
        self.clip, self.frames, self.config, self.lift = clip, frames, config, lift
        self.plane: GroundPlane | None = frames.given.get("ground")
        self.still = self._stillness()
        if self.plane is not None and not self.still.is_still:
            raise BadInput(f"{clip.uri}: the camera does not stand still ({self.still.reason}), and a ground plane is "
                           "of one place; cut the recording where it stands, or leave source.ground out (relative "
                           "scale)")
        self.background = self._background() if self.still.is_still else None
        camera = frames.views[0].camera
        self.shape = camera.height, camera.width
        self.tracker = None
        if self.background is not None:
            limits = (config.min_height_m, config.max_height_m) if self.plane is not None else (
                config.min_height_px, MAX_HEIGHT * camera.height)
            self.tracker = Tracker(self.plane or picture_plane(camera), (camera.width, camera.height), limits, config)

    def _some(self, num: int) -> np.ndarray:
        """[n, H, W, 3] frames spread over the clip, the first and last with them."""
        chosen = np.unique(np.linspace(0, self.frames.num_frames - 1, num).round().astype(int))
        return np.concatenate([self.frames.read(int(i), int(i) + 1)[0] for i in chosen])

    def _stillness(self) -> Stillness:
        return stillness([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in self._some(LOOKS)])

    def _background(self) -> Background:
        camera = self.frames.views[0].camera
        most = max(5, MAX_BACKGROUND_BYTES // (3 * camera.width * camera.height))
        return background_of(self._some(min(self.config.background_frames, most)))

    def add(self, window: Window) -> None:
        """Follows what moves through a window, and gives it the field `regions` (ids of the objects)."""
        if self.tracker is None:
            return
        config, time_s = self.config, self.frames.time_s
        regions = np.zeros((window.num_frames, *self.shape), np.int16)
        for j in range(window.overlap, window.num_frames):
            frame = window.start + j
            foreground = self.background.foreground(window.images[0][j], config.threshold, config.min_contrast,
                                                    config.shadow)
            seconds = float(time_s[frame] - time_s[frame - 1]) if frame else 0.0
            self.tracker.step(frame, seconds, foreground, window.images[0][j])
            for track in self.tracker.live:
                if frame in track.figures:
                    regions[j][track.figures[frame].mask(self.shape)] = track.id
        window.fields["regions"] = Field(regions, None, None, f"ground@{VERSION}")

    def finish(self, labels: dict[int, tuple[str, float]]) -> Scene:
        """
        Args:
            labels: track to its name and how sure that is.
        """
        frames = self.frames
        num = frames.num_frames
        time_s = np.asarray(frames.time_s, float)
        tracks = self.tracker.finish() if self.tracker is not None else []
        regions = self._regions(tracks, time_s)
        confidence = {}
        for region in regions:
            if region.id in labels:
                region.label, confidence[f"label_confidence_R{region.id}"] = labels[region.id]
        is_still = self.still.is_still
        up = self.plane.up if self.plane is not None else np.array([0.0, -1.0, 0.0])
        name = f"ground@{VERSION}"
        stats = {"regions_seen": float(len(tracks)), "regions_measured": float(len(regions)),
                 "still_share": self.still.share, "shake_px": self.still.shake_px,
                 "scale_sigma": float(getattr(frames, "scale_sigma", 0.0)), **getattr(frames, "stats", {}),
                 **confidence}
        return Scene(
            key=self.clip.key, clip=self.clip.to_json(), time_s=time_s, camera=frames.views[0].camera, baseline_m=0.0,
            baseline_sigma_m=0.0, scale=frames.scale, up="ground-plane" if self.plane is not None else "camera",
            up_world=up, T_world_cam=Pose("world", "cam", np.tile(np.eye(3), (num, 1, 1)), np.zeros((num, 3))),
            step_cov=np.tile(np.diag([0.0] * 6 if is_still else UNKNOWN_STEP), (num, 1, 1)),
            camera_valid=np.full(num, is_still), regions=regions,
            origin={"camera": name, "regions": name} if is_still else {},
            stats={k: v for k, v in stats.items() if np.isfinite(v)})

    def _regions(self, tracks: list[Track], time_s: np.ndarray) -> list[Region]:
        config, least = self.config, self.lift.min_frames
        made = [build_region(track, self.plane, time_s, self.shape, config, least) if self.plane is not None
                else build_flat_region(track, len(time_s), self.shape, config, least) for track in tracks]
        largest = sorted((r for r in made if r is not None), key=lambda r: (-int(r.seen.sum()), r.id))
        return sorted(largest[:self.lift.max_regions], key=lambda r: r.id)


def perceive_ground(clip: ClipSpec, frames: Frames, config: GroundConfig, lift: LiftConfig, windows: Iterable[Window],
                    taps: Sequence[Callable[[Window], None]], detector: Estimator | None = None) -> Scene:
    """
    Args:
        windows: of the clip, one after another, without fields.
        detector: gives the field `labels` for that of `regions`; set up.

    Raises:
        BadInput: a ground plane is given and the camera moves.
    """
    work = GroundPerception(clip, frames, config, lift)
    labels: dict[int, tuple[str, float]] = {}
    for window in windows:
        work.add(window)
        if detector is not None and "regions" in window.fields:
            labels = detector.run(window)["labels"].values
        for tap in taps:
            tap(window)
    return work.finish(labels)
