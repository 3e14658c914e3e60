"""Parts and turns of media: the same protocol over fewer frames, or over pictures as the sensor stored them."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Readable(Protocol):
    num_frames: int
    width: int
    height: int
    is_grey: bool

    def read(self, start: int, stop: int) -> np.ndarray: ...

    def close(self) -> None: ...


class Picked:
    """Some frames of a medium, in order."""

    def __init__(self, media: Readable, indices: np.ndarray) -> None:
        """
        Args:
            indices: [n] of the frames that are kept, strictly increasing.
        """
        self.media, self._indices = media, np.asarray(indices, int)
        self.num_frames = len(self._indices)
        self.width, self.height, self.is_grey = media.width, media.height, media.is_grey

    def read(self, start: int, stop: int) -> np.ndarray:
        """[stop - start, H, W, 3] uint8 RGB, each unbroken run of frames at once."""
        wanted = self._indices[start:stop]
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1)
        parts = [self.media.read(int(run[0]), int(run[-1]) + 1) for run in runs if len(run)]
        return np.concatenate(parts) if parts else self.media.read(0, 0)

    def close(self) -> None:
        self.media.close()


class AsStored:
    """A video's frames before the turn that its container asks for."""

    def __init__(self, video: Readable, turns: int) -> None:
        """
        Args:
            turns: clockwise quarter turns that `video` makes.
        """
        self.media, self._turns = video, turns
        self.num_frames, self.is_grey = video.num_frames, video.is_grey
        self.width, self.height = (video.width, video.height) if turns % 2 == 0 else (video.height, video.width)

    def read(self, start: int, stop: int) -> np.ndarray:
        """[stop - start, H, W, 3] uint8 RGB."""
        return np.ascontiguousarray(np.rot90(self.media.read(start, stop), self._turns, axes=(1, 2)))

    def close(self) -> None:
        self.media.close()
