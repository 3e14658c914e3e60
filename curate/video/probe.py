"""What a video's head says, without an index and with one frame decoded at most: for looking, not for reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.sources.base import BadInput
from curate.video.decode import _open


@dataclass(frozen=True)
class VideoFacts:
    """As the container states it; None where it does not."""

    width: int  # as stored, before the container's turn
    height: int
    num_frames: int | None
    fps: float | None
    duration_s: float | None
    codec: str

    def __str__(self) -> str:
        parts = [f"{self.width}x{self.height} {self.codec}"]
        if self.num_frames:
            parts.append(f"{self.num_frames} frames")
        if self.fps:
            parts.append(f"{self.fps:.4g} a second")
        if self.duration_s:
            parts.append(f"{self.duration_s:.4g} s")
        return ", ".join(parts)


def probe(path: Path) -> VideoFacts:
    """
    Raises:
        BadInput: as `open_video`, of what the head shows.
    """
    container, stream = _open(path)
    with container:
        duration = float(stream.duration * stream.time_base) if stream.duration else (
            container.duration / 1e6 if container.duration else None)
        fps = float(stream.average_rate) if stream.average_rate else None
        context = stream.codec_context
        return VideoFacts(context.width, context.height, stream.frames or None, fps, duration, context.name)


def first_frame(path: Path) -> np.ndarray:
    """[H, W, 3] uint8 RGB, as stored.

    Raises:
        BadInput: where it does not decode.
    """
    import av

    container, stream = _open(path)
    stream.codec_context.thread_count = 1
    with container:
        try:
            frame = next(container.decode(stream), None)
        except av.error.FFmpegError as error:
            raise BadInput(f"{path}: cannot decode its first frame: {error.strerror}") from error
        if frame is None:
            raise BadInput(f"{path}: a video stream without frames")
        return frame.to_ndarray(format="rgb24", threads=1)
