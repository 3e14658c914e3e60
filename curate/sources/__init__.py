"""Where clips come from: one file per kind of input, opened only when a recipe asks for that kind."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.sources.base import Source
    from curate.sources.config import ClipConfig

# A small file may say that it holds a billion pixels. OpenCV reads this once, when it is first imported, and every
# module that imports it needs a recipe, which imports this one.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(8192**2))

SOURCES: dict[str, str] = {
    "stereo_pair": "curate.sources.stereo_pair:StereoPair",
    "side_by_side": "curate.sources.packed:Packed",
    "top_bottom": "curate.sources.packed:Packed",
    "rendered": "curate.sources.rendered:Rendered",
    "single_video": "curate.sources.single_video:SingleVideo",
    "multiview": "curate.sources.multiview:Multiview",
    "conversations": "curate.sources.conversations:Conversations",
    "rgbd": "curate.sources.rgbd:Rgbd",
    "kitti_tracking": "curate.sources.annotated.kitti_tracking:KittiTracking",
    "argoverse2": "curate.sources.annotated.argoverse2:Argoverse2",
    "dgp": "curate.sources.annotated.dgp:Dgp",
    "vr180": "curate.sources.vr180:Vr180",
    "stereo4d": "curate.sources.stereo4d:Stereo4DSource",
}


def make_source(config, clip: ClipConfig | None = None) -> Source:
    """The source a recipe's `source:` describes.

    Args:
        config: one of the models of `curate.sources.config`.
        clip: how to cut recordings into clips; default settings if None.
    """
    from curate.sources.config import ClipConfig

    if config.kind not in SOURCES:
        raise ValueError(f"unknown source kind {config.kind!r}; known: {', '.join(SOURCES)}")
    module, name = SOURCES[config.kind].split(":")
    return getattr(import_module(module), name)(config, clip or ClipConfig())
