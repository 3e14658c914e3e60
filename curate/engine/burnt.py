"""A clip's first view with the marks in its first frame, for trainers that take a video or an image, never both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from curate.marks import Style, burn
from curate.video.decode import open_video
from curate.video.encode import H264Encoder

BLOCK = 16  # frames decoded at once


def burnt(path: Path, record: Mapping[str, Any], style: Style, label: Callable[[int], str], crf: int) -> bytes:
    """The video at `path`, its first frame marked, encoded again: the same frames at the same times.

    Args:
        path: of the clip's first view, of the scene's size or smaller.
        record: of the sample, with its questions. style, label: as `curate.marks.burn` takes them.

    Returns:
        mp4 bytes, the same for the same input.

    Raises:
        BadInput: where the video does not decode.
    """
    with open_video(path) as reader:
        encoder = H264Encoder(reader.width, reader.height, time_s=np.asarray(record["time_s"]), crf=crf)
        try:
            for start in range(0, reader.num_frames, BLOCK):
                images = reader.read(start, min(start + BLOCK, reader.num_frames))
                encoder.add(images if start else burn(images, record, style, label=label))
            return encoder.finish()
        finally:
            encoder.close()
