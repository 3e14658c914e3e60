"""Rendered scenes as a source: drawn and ray cast on demand, no files. Their truth is the scene itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from curate.geometry.cameras import StereoRig
from curate.geometry.poses import Pose
from curate.sources.base import BadInput, ClipSpec, Scale, View, clip_key
from curate.sources.config import ClipConfig, RenderedConfig
from curate.sources.cut import some_good, spans, too_short
from curate.sources.frames import ClipFrames
from curate.synth.distribution import load_distribution
from curate.synth.renderer import Renderer
from curate.synth.sample import sample_scene
from curate.synth.scene import SceneTruth


class RenderedFrames(ClipFrames):
    """Frames of one clip, rendered when read. The rig is exact, so its baseline has no error.

    Attributes beyond the protocol:
        scene: the truth. baseline_sigma_m: 0.
    """

    def __init__(self, scene: SceneTruth, start: int, num_frames: int) -> None:
        self.scene, self._start = scene, start
        self._renderer: Renderer | None = Renderer(scene)
        self.num_frames = num_frames
        self.time_s = np.arange(num_frames) / scene.fps
        self.rig: StereoRig = scene.rig
        self.baseline_sigma_m = 0.0
        self.scale: Scale = "calibrated"
        self.is_grey = False
        self.given: dict[str, Any] = {}
        self.views = (View("left", scene.rig.left, Pose.identity("rig", "left")),
                      View("right", scene.rig.left, Pose("rig", "right", np.eye(3), [scene.rig.baseline_m, 0, 0])))

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """[left, right], each [stop - start, H, W, 3] uint8 RGB.

        Raises:
            IndexError: outside of the clip.
        """
        self._check(start, stop)
        camera = self.rig.left
        pair = [np.empty((stop - start, camera.height, camera.width, 3), np.uint8) for _ in range(2)]
        for i, frame in enumerate(range(self._start + start, self._start + stop)):
            pair[0][i], pair[1][i], _, _ = self._renderer.render(frame)
        return pair

    def close(self) -> None:
        self._renderer = None


class Rendered:
    """kind: rendered."""

    kind = "rendered"

    def __init__(self, config: RenderedConfig, clip: ClipConfig) -> None:
        """
        Raises:
            ValueError: where the scene distribution cannot be read, or is none.
        """
        self.config, self.clip = config, clip
        self.distribution = load_distribution(config.scenes)
        drawn_from = f"{self.distribution.model_dump_json()} {config.seed} {config.width}x{config.height}"
        self._digest = hashlib.sha256(drawn_from.encode()).hexdigest()

    def plan(self) -> Iterator[ClipSpec | tuple[ClipSpec, str]]:
        return some_good(self._plan(), f"{self.config.num_scenes} rendered scenes", self.clip.max_clips)

    def _plan(self) -> Iterator[ClipSpec | tuple[ClipSpec, str]]:
        for index in range(self.config.num_scenes):
            scene = self.scene(index)
            if reason := too_short(scene.num_frames, self.clip):
                yield self._spec(scene, 0, scene.num_frames), f"{scene.name}: {reason}"
                continue
            for start, count in spans(scene.num_frames, self.clip):
                yield self._spec(scene, start, count)

    def scene(self, index: int) -> SceneTruth:
        """The truth of scene `index`."""
        return sample_scene(self.config.seed, index, self.distribution, self.config.width, self.config.height)

    def open(self, clip: ClipSpec) -> RenderedFrames:
        """
        Raises:
            BadInput: where the clip was planned with other settings.
        """
        index = int(clip.params.get("index", -1))
        scene = self.scene(index) if index >= 0 else None
        if scene is None or self._spec(scene, clip.start, clip.num_frames).key != clip.key:
            raise BadInput(f"{clip.uri}: planned with another seed, size or scene distribution; plan again")
        return RenderedFrames(scene, clip.start, clip.num_frames)

    def _spec(self, scene: SceneTruth, start: int, num_frames: int) -> ClipSpec:
        recording = f"{scene.name}-{self._digest[:8]}"
        key = clip_key(scene.name, start, num_frames, [self._digest])
        return ClipSpec(key, self.kind, scene.name, recording, start, num_frames, {
            "index": scene.seed[1], "licence": self.config.licence, "sha256": self._digest})
