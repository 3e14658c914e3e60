"""Pixels of a clip: its video decoded from bytes to exactly the frames that are shown, with their real times.

A frame is stretched to the size asked, so that the whole image stays: teacher grids, which cover the whole image too,
keep lying over it whatever the size. Choose a size of the videos' own shape where the student takes one.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence

import numpy as np

TIME_TOLERANCE_S = 2e-3  # between the container's clock and the record's; a clip's frames are 4 ms apart or more
# digits of the time marks: 5 rows of 3 pixels, as bits
GLYPHS = {"0": (7, 5, 5, 5, 7), "1": (2, 6, 2, 2, 7), "2": (7, 1, 7, 4, 7), "3": (7, 1, 7, 1, 7), "4": (5, 5, 7, 1, 1),
          "5": (7, 4, 7, 1, 7), "6": (7, 4, 7, 5, 7), "7": (7, 1, 1, 2, 2), "8": (7, 5, 7, 5, 7), "9": (7, 5, 7, 1, 7),
          ".": (0, 0, 0, 0, 2), "s": (0, 3, 6, 3, 6), " ": (0, 0, 0, 0, 0)}
ROWS_PER_MARK = 56  # rows of the image for each step of the mark's size


def chosen_frames(num_frames: int, wanted: int | None, repeat: bool = False) -> list[int]:
    """Indices of `wanted` frames spread evenly over a clip, its first and its last among them.

    Args:
        num_frames: of the clip. wanted: None takes all. repeat: a clip of fewer gives some more than once.

    Raises:
        ValueError: where the clip has fewer.

    >>> chosen_frames(9, 4)
    [0, 3, 5, 8]
    """
    if wanted is None:
        return list(range(num_frames))
    if wanted > num_frames and not repeat:
        raise ValueError(f"{wanted} frames are asked for, the clip has {num_frames}; lower data.frames, or set "
                         "data.short_clips to skip")
    if wanted == 1:
        return [0]
    return [(2 * i * (num_frames - 1) + wanted - 1) // (2 * (wanted - 1)) for i in range(wanted)]


def decode_video(data: bytes, time_s: Sequence[float], frames: Sequence[int],
                 size: tuple[int, int] | None) -> np.ndarray:
    """Frames of a video held in memory.

    Args:
        data: the file (`v0.mp4`).
        time_s: [T] presentation times of all its frames by the record, s from the first.
        frames: [N] indices among them, none less than the one before.
        size: (height, width) to stretch to; None keeps the video's own.

    Returns:
        [N, H, W, 3] uint8 RGB.

    Raises:
        ValueError: where the video does not decode, or its frames are not those of the record.
    """
    av = _av()
    wanted, out, count, start = Counter(frames), [], 0, None
    try:
        with av.open(io.BytesIO(data), format="mp4", metadata_errors="ignore") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # clips are decoded side by side
            for frame in container.decode(stream):
                start = frame.time if start is None else start
                if count >= len(time_s) or abs(frame.time - start - time_s[count]) > TIME_TOLERANCE_S:
                    raise ValueError(f"video frame {count} is at {frame.time - start:.3f} s, the record has "
                                     f"{_at(time_s, count)}; video and record are not of the same clip: "
                                     "write the set again")
                if count in wanted:
                    out += [_rgb(frame, size)] * wanted[count]
                count += 1
                if len(out) == len(frames):
                    break
    except (av.error.FFmpegError, IndexError, TypeError) as error:
        raise ValueError(f"the video of {len(data)} bytes does not decode after {count} frames ({error}); "
                         "`curate verify` tells whether the shard is whole") from None
    if len(out) < len(frames):
        raise ValueError(f"the video ends after {count} frames, the record has {len(time_s)}; "
                         "`curate verify` tells whether the shard is whole")
    return np.stack(out)


def decode_image(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """A JPEG held in memory (`mark.jpg`), stretched to `size`: [H, W, 3] uint8 RGB.

    Raises:
        ValueError: where it is no picture.
    """
    av = _av()
    try:
        with av.open(io.BytesIO(data), format="jpeg_pipe") as container:
            return _rgb(next(container.decode(video=0)), size)
    except (av.error.FFmpegError, IndexError, StopIteration) as error:
        raise ValueError(f"{len(data)} bytes that are no JPEG picture ({error})") from None


def _rgb(frame, size: tuple[int, int] | None) -> np.ndarray:
    """Area averaging when made smaller: what moves by less than a pixel still shows."""
    size = size or (frame.height, frame.width)
    return frame.to_ndarray(format="rgb24", height=size[0], width=size[1], interpolation="AREA", threads=1)


def _at(time_s: Sequence[float], index: int) -> str:
    return f"{time_s[index]:.3f} s" if index < len(time_s) else f"only {len(time_s)} frames"


def _av():
    try:
        import av
    except ImportError:
        raise ValueError("decoding clips needs PyAV: pip install av") from None
    return av


def draw_times(frames: np.ndarray, times_s: Sequence[float]) -> np.ndarray:
    """Each frame with its time ("1.07s") in its top left corner, white on black, in digits of 5 rows of pixels, more
    where the image has room.

    Args:
        frames: [N, H, W, 3] uint8; not changed. times_s: [N].
    """
    out = frames.copy()
    scale = max(1, frames.shape[1] // ROWS_PER_MARK)
    for image, seconds in zip(out, times_s):
        text = f"{seconds:.2f}s"
        mark = np.zeros((7, 4 * len(text) + 1), bool)
        for i, letter in enumerate(text):
            mark[1:6, 4 * i + 1:4 * i + 4] = [[row >> 2 & 1, row >> 1 & 1, row & 1] for row in GLYPHS[letter]]
        mark = np.kron(mark, np.ones((scale, scale), bool))[:image.shape[0], :image.shape[1]]
        image[:mark.shape[0], :mark.shape[1]] = np.where(mark[..., None], 255, 0)
    return out
