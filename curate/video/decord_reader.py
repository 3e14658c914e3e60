"""decord behind the reader of `decode`, for recipes that ask for it (`decoder: decord`).

Used only for files of a kind on which it was measured to give PyAV's very bytes: 8-bit 4:2:0 H.264 and HEVC in
mp4 and mov, progressive, upright, any colour matrix and range. (10-bit video came out up to 47 grey levels apart,
interlaced 125.) Each file is probed: the number of frames and the first frame's pixels must be PyAV's. So the
choice depends on the file and the installed packages alone, and both are in the fingerprint. Times are always
the container's, as PyAV reads them. What the probe cannot see is damage inside, which decord conceals: ask for
it where files are known to be whole. Once it gave a frame nothing falls back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curate.sources.base import BadInput
from curate.video.decode import VideoReader

CODECS = ("h264", "hevc")
PIXELS = ("yuv420p", "yuvj420p")
CONTAINER = "mov,mp4,m4a,3gp,3g2,mj2"
BATCH = 8  # frames of one call: decord keeps a copy of what it returns


class DecordReader(VideoReader):
    """Frames of one probed file. Times, sizes and errors are as of `VideoReader`."""

    decoder = "decord"

    def __init__(self, probe: VideoReader, video) -> None:
        self.path, self._video = probe.path, video
        self.time_s, self.num_frames = probe.time_s, probe.num_frames
        self.width, self.height, self.is_grey = probe.width, probe.height, probe.is_grey

    def read(self, start: int, stop: int) -> np.ndarray:
        if not 0 <= start <= stop <= self.num_frames:
            raise IndexError(f"{self.path}: frames {start}..{stop} of {self.num_frames}")
        out = np.empty((stop - start, self.height, self.width, 3), np.uint8)
        for first in range(start, stop, BATCH):
            last = min(first + BATCH, stop)
            frames = _decode(self.path, self._video, first, last)
            if frames.shape != (last - first, self.height, self.width, 3):
                raise BadInput(f"{self.path}: frames {first}..{last} came as {frames.shape}, expected "
                               f"{self.width}x{self.height} pixels each")
            out[first - start : last - start] = frames
        return out

    def close(self) -> None:
        self._video = None


def open_probed(path: str | Path) -> VideoReader:
    """decord's reader where it is installed and the probe agrees, else PyAV's.

    Raises:
        BadInput: as `open_video`.
    """
    probe = VideoReader(path)
    video = _probe(probe)
    if video is None:
        return probe
    probe.close()
    return DecordReader(probe, video)


def _probe(probe: VideoReader):
    """decord's video, or None where it is not to be used."""
    if not probe.is_plain(CONTAINER, CODECS, PIXELS):
        return None
    try:
        import decord

        video = decord.VideoReader(str(probe.path.absolute()), ctx=decord.cpu(0), num_threads=1)
        if len(video) != probe.num_frames:
            return None
        same = np.array_equal(_decode(probe.path, video, 0, 1), probe.read(0, 1))
    except (ImportError, OSError, RuntimeError, BadInput):
        return None
    return video if same else None


def _decode(path: Path, video, start: int, stop: int) -> np.ndarray:
    from decord import DECORDError

    try:
        return video.get_batch(list(range(start, stop))).asnumpy()
    except (DECORDError, RuntimeError, IndexError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise BadInput(f"{path}: decord cannot decode frames {start}..{stop}: {reason}") from error
