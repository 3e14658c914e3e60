"""H.264 in mp4 and JPEG, the same bytes for the same pixels on the same package versions.

libx264's output depends on its number of threads, and muxers write the date and their version unless told
not to: one thread, bit-exact flags, no metadata.
"""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

# libx264's AVX-512 code, seen to give other costs for the last block of a frame in some 3 of 1,000 encodings of equal
# pixels (none of 4,500 with AVX2 or SSE4.2 alone, whose bytes are those of the others). Named only where the processor
# has it: libx264 believes what it is told.
CPU_AVX2 = 11  # of OpenCV's list (cvdef.h), which Python has no names for
ASM = ":asm=avx2" if cv2.checkHardwareSupport(CPU_AVX2) else ""
TIME_BASE = Fraction(1, 90_000)  # presentation times survive to 6 µs


class _NamedMemory:
    """A file with a name, in memory where the system can: a process that is killed leaves nothing behind.

    The muxer moves the index to the front in a second pass that opens the file by name, so a BytesIO does not do.
    """

    def __init__(self) -> None:
        self._memory: int | None = None
        self._folder: tempfile.TemporaryDirectory | None = None
        if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
            self._memory = os.memfd_create("curate-encode", os.MFD_CLOEXEC)
            self.name = f"/proc/self/fd/{self._memory}"
        else:
            self._folder = tempfile.TemporaryDirectory(prefix="curate-encode-")
            self.name = f"{self._folder.name}/clip.mp4"

    def read(self) -> bytes:
        return Path(self.name).read_bytes()

    def close(self) -> None:
        """Harmless when repeated."""
        if self._memory is not None:
            os.close(self._memory)
            self._memory = None
        if self._folder is not None:
            self._folder.cleanup()

    def __del__(self) -> None:
        self.close()


class H264Encoder:
    """Encodes frames, given in batches, to one mp4 (yuv420p, BT.709, index in front).

    Odd sizes are padded by repeating the last column or row, so no pixel moves and none is lost: the coded
    size is `coded_width` x `coded_height`.

    Args:
        width, height: pixels of the frames given.
        fps: frames per second; or
        time_s: [T] presentation times, strictly increasing; the first frame is shown at 0.
        crf: libx264's constant rate factor, 0 (lossless) to 51.
        preset: libx264's preset.
        keyframe_every: frames between key frames, which bounds what random access decodes.
    """

    def __init__(self, width: int, height: int, *, fps: float | None = None, time_s: np.ndarray | None = None,
                 crf: int = 20, preset: str = "veryfast", keyframe_every: int = 16) -> None:
        if (fps is None) == (time_s is None):
            raise ValueError("give either fps or time_s")
        self.width, self.height = int(width), int(height)
        self.coded_width, self.coded_height = self.width + self.width % 2, self.height + self.height % 2
        if fps is not None and not (np.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be positive, got {fps}")
        self._ticks = None
        if time_s is not None:
            time_s = np.asarray(time_s, float)
            self._ticks = np.round((time_s - time_s[0]) / float(TIME_BASE)).astype(np.int64)
            if not (np.diff(self._ticks) > 0).all():
                raise ValueError("time_s must increase strictly, by at least 12 µs a frame")
            fps = (len(time_s) - 1) / (time_s[-1] - time_s[0]) if len(time_s) > 1 else 1.0
        self._fps = Fraction(fps).limit_denominator(10_000) or Fraction(1, 10_000)
        self._count = 0
        self._file = _NamedMemory()
        self._container = av.open(self._file.name, "w", format="mp4",
                                  options={"movflags": "+faststart", "fflags": "+bitexact", "brand": "isom",
                                           "video_track_timescale": str(TIME_BASE.denominator)})
        stream = self._container.add_stream("libx264", rate=self._fps)
        stream.width, stream.height, stream.pix_fmt = self.coded_width, self.coded_height, "yuv420p"
        stream.time_base = TIME_BASE
        context = stream.codec_context
        context.time_base = TIME_BASE
        context.thread_count = 1
        context.gop_size = keyframe_every
        context.max_b_frames = 0  # decoding order is presentation order: no edit list, the first frame at 0
        context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
        context.color_range = ColorRange.MPEG
        context.options = {"crf": str(crf), "preset": preset, "flags": "+bitexact",
                           "x264-params": "threads=1:lookahead-threads=1:sliced-threads=0:sync-lookahead=0" + ASM}
        self._stream = stream

    def add(self, frames: np.ndarray) -> None:
        """Args:
            frames: [n, H, W, 3] uint8 RGB.

        Raises:
            ValueError: on another shape or type, or more frames than `time_s` has.
        """
        frames = np.asarray(frames)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (self.height, self.width, 3):
            raise ValueError(f"expected uint8 frames [n, {self.height}, {self.width}, 3], "
                             f"got {frames.dtype} {frames.shape}")
        pad = ((0, self.coded_height - self.height), (0, self.coded_width - self.width), (0, 0))
        for image in frames:
            if self._ticks is not None and self._count >= len(self._ticks):
                raise ValueError(f"more frames than the {len(self._ticks)} presentation times given")
            if self.coded_width != self.width or self.coded_height != self.height:
                image = np.pad(image, pad, mode="edge")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1)
            frame.pts = (int(self._ticks[self._count]) if self._ticks is not None
                         else round(self._count / self._fps / TIME_BASE))
            frame.time_base = TIME_BASE
            self._container.mux(self._stream.encode(frame))
            self._count += 1

    def finish(self) -> bytes:
        """The whole file.

        Raises:
            ValueError: where no frame was added, or fewer than `time_s` has.
        """
        if self._count == 0 or (self._ticks is not None and self._count != len(self._ticks)):
            self.close()
            expected = "at least 1" if self._ticks is None else str(len(self._ticks))
            raise ValueError(f"{self._count} frames were added, expected {expected}")
        self._container.mux(self._stream.encode(None))
        self._container.close()
        data = self._file.read()
        self._file.close()
        return data

    def close(self) -> None:
        """Drops what was encoded; harmless after `finish`."""
        self._container.close()
        self._file.close()


def encode_h264(frames: np.ndarray, *, fps: float | None = None, time_s: np.ndarray | None = None,
                **settings) -> bytes:
    """One call for frames [T, H, W, 3] uint8 RGB that are all in memory."""
    encoder = H264Encoder(frames.shape[2], frames.shape[1], fps=fps, time_s=time_s, **settings)
    encoder.add(frames)
    return encoder.finish()


def jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    """JPEG of [H, W, 3] RGB or [H, W] grey, uint8."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(f"expected a uint8 image [H, W, 3] or [H, W], got {image.dtype} {image.shape}")
    ok, data = cv2.imencode(".jpg", image[..., ::-1] if image.ndim == 3 else image,
                            [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    if not ok:
        raise ValueError(f"cannot write a JPEG of {image.shape}")
    return data.tobytes()
