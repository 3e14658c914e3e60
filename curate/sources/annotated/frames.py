"""Frames of an annotated clip: its pictures, where there are any, and the scene that its files give."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.geometry.poses import Pose
from curate.sources.annotated.cuboids import Annotated, given_scene
from curate.sources.base import ClipSpec, Scale, View
from curate.sources.config_annotated import AnnotatedConfig
from curate.sources.frames import ClipFrames
from curate.sources.images import ImageSequence


class AnnotatedFrames(ClipFrames):
    """One clip.

    Args:
        given: what the files say of it. images: one a frame; None for a clip of text alone.
    """

    def __init__(self, clip: ClipSpec, given: Annotated, config: AnnotatedConfig,
                 images: ImageSequence | None = None) -> None:
        self.time_s = np.asarray(given.time_s - given.time_s[0], float)
        self.num_frames = len(self.time_s)
        self.rig = None
        self.scale: Scale = "calibrated"
        self.is_grey = images is not None and images.is_grey
        self.views: tuple[View, ...] = ()
        if given.camera is not None:
            assert images is not None, "pictures have a camera"
            self.views = (View("camera", given.camera, Pose.identity("rig", "camera")),)
        self.given: dict[str, Any] = {"scene": lambda: given_scene(clip, given, config)}
        self._images = images

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """[[stop - start, H, W, 3] uint8 RGB], or [] without pictures.

        Raises:
            IndexError: outside of the clip. BadInput: an image that cannot be read, or of another size.
        """
        self._check(start, stop)
        return [] if self._images is None else [self._images.read(start, stop)]
