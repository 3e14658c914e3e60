"""Video files as windows of RGB frames with their presentation times.

PyAV in one thread, and decord where a recipe asks for it (`decord_reader`). decord conceals damage: of 80 H.264
files with 20 bytes overwritten PyAV refused all, decord gave pictures for 77, up to 86 grey levels off in the mean
of a frame. Damage shows only when decoding, so no probe could choose by it. Nor is decord faster in windows of 8
frames (18 ms against PyAV's 11 for a side-by-side frame of 2560x720, CPU time).
"""

from __future__ import annotations

import gc
import re
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData

from curate.sources.base import BadInput

Decoder = Literal["av", "decord"]
MAX_SIDE = 8192  # pixels
MIN_STEP_S = 2e-5  # between frames
MAX_FRAMES = 10_000_000
# What a user's camera, phone or editor writes. Playlists (hls, concat, dash) would open other files.
FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,wav,mp3,flac,aac,"
           "h264,hevc,m4v,mjpeg,mxf,ivf,obu,dv,gif")
# Turns of the display matrix, clockwise in quarter turns: (a, b, c, d) with x' = a x + c y, y' = b x + d y.
QUARTER_TURNS = {(1, 0, 0, 1): 0, (0, 1, -1, 0): 1, (-1, 0, 0, -1): 2, (0, -1, 1, 0): 3}


@dataclass(frozen=True)
class Index:
    """Where the frames of a file are: one entry per shown frame, in the order of presentation."""

    pts: np.ndarray  # [T] int64 ticks, strictly increasing
    time_base: float  # seconds a tick
    key_pts: np.ndarray  # [K] int64 ticks of key frames, increasing
    key_dts: np.ndarray  # [K] int64 decoding times of the same, what demuxers seek by
    turns: int  # clockwise quarter turns that the container asks for


class VideoReader:
    """Frames of one file. Reading onwards from the last frame read never seeks.

    Attributes:
        num_frames: T.
        time_s: [T] presentation times of the container, seconds, strictly increasing.
        width, height: pixels as shown (after the container's rotation; sample aspect ratio is not applied).
        turns: clockwise quarter turns that the container asks for, and that were made.
        is_grey: the codec stores no colour.
        decoder: the package that decodes.
    """

    decoder: Decoder = "av"

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._container = None
        self._index = _cached_index(self.path)
        self.time_s = self._index.pts * self._index.time_base
        self.num_frames = len(self._index.pts)
        self._open()
        first = self._frame_at(0)
        self._turns = self.turns = self._index.turns
        self._stored = (first.height, first.width)
        self.height, self.width = self._stored if self._turns % 2 == 0 else self._stored[::-1]
        self.is_grey = first.format.name.startswith("gray")
        self._held = first  # decoded but not yet asked for: the frame `_position - 1`

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames `start .. stop`, [stop - start, H, W, 3] uint8 RGB.

        Raises:
            IndexError: outside of the file.
            BadInput: where the file is damaged or ends before its index says.
        """
        if not 0 <= start <= stop <= self.num_frames:
            raise IndexError(f"{self.path}: frames {start}..{stop} of {self.num_frames}")
        out = np.empty((stop - start, self.height, self.width, 3), np.uint8)
        for i in range(start, stop):
            frame = self._frame_at(i)
            if (frame.height, frame.width) != self._stored:
                raise BadInput(f"{self.path}: frame {i} is {frame.width}x{frame.height}, expected "
                               f"{self._stored[1]}x{self._stored[0]} as at the start")
            out[i - start] = np.rot90(frame.to_ndarray(format="rgb24", threads=1), -self._turns)
        return out

    def is_plain(self, container: str, codecs: tuple[str, ...], pixels: tuple[str, ...]) -> bool:
        """Whether the file is an upright, progressive video of these kinds (FFmpeg's names)."""
        frame = self._frame_at(0)
        return (self._container.format.name == container and self._stream.codec_context.name in codecs
                and frame.format.name in pixels and not frame.interlaced_frame and self._turns == 0)

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None
        self._held = self._decoder = None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _open(self) -> None:
        self._container, self._stream = _open(self.path)
        self._stream.codec_context.thread_count = 1
        self._stream.codec_context.thread_type = "NONE"
        self._decoder = self._container.decode(self._stream)
        self._position = 0  # frame that the decoder is expected to give next
        self._held = None

    def _frame_at(self, i: int):
        """The decoded frame i: from hand, by decoding on, or from the key frame before it."""
        if self._held is not None and i == self._position - 1:
            return self._held
        key = int(np.searchsorted(self._index.key_pts, self._index.pts[i], "right")) - 1
        passes_key = key >= 0 and self._index.key_pts[key] > self._index.pts[min(self._position, i)]
        if i < self._position or passes_key:
            return self._seek_and_decode(i, key)
        frame = self._decode_until(i)
        return frame if frame is not None else self._missing(i)

    def _seek_and_decode(self, i: int, key: int):
        # Demuxers seek near, not exactly: where decoding starts behind the frame, from an earlier key frame.
        for back in (0, 1, 2, 4):
            if key - back > 0:
                self._container.seek(int(self._index.key_dts[key - back]), stream=self._stream, backward=True)
                self._decoder = self._container.decode(self._stream)
            else:
                self._container.close()
                self._open()
            frame = self._decode_until(i)
            if frame is not None:
                return frame
            if key - back <= 0:
                break
        return self._missing(i)

    def _decode_until(self, i: int):
        """Decodes on to frame i; None where the stream ends or is already past it."""
        wanted = self._index.pts[i]
        try:
            for frame in self._decoder:
                if frame.pts is None or frame.pts < wanted:
                    continue
                if frame.pts > wanted:
                    return None
                if frame.is_corrupt:
                    raise BadInput(f"{self.path}: frame {i} at {self.time_s[i]:.3f} s is damaged")
                self._position, self._held = i + 1, frame
                return frame
        except av.error.FFmpegError as error:
            raise BadInput(f"{self.path}: cannot decode frame {i} at {self.time_s[i]:.3f} s: "
                           f"{error.strerror}") from error
        return None

    def _missing(self, i: int):
        raise BadInput(f"{self.path}: frame {i} at {self.time_s[i]:.3f} s does not decode, expected "
                       f"{self.num_frames} frames; the file is truncated or damaged")


def open_video(path: str | Path, decoder: Decoder = "av") -> VideoReader:
    """
    Args:
        path: one video file.
        decoder: "av", or "decord" for decord where it is installed and a probe finds the file to be of a kind that
            it decodes as PyAV does, else PyAV.

    Raises:
        BadInput: no such file, empty, not a video, without frames, truncated, or larger than 8192 pixels a side.
    """
    if decoder == "decord":
        from curate.video.decord_reader import open_probed

        return open_probed(path)
    return VideoReader(path)


def _open(path: Path):
    """(container, its first real video stream)."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise BadInput(f"{path}: empty (0 bytes), expected a video")
    try:
        container = av.open(f"file:{path}", metadata_errors="ignore",
                            options={"format_whitelist": FORMATS, "protocol_whitelist": "file"})
    except (av.error.FFmpegError, ValueError) as error:
        raise BadInput(f"{path}: not readable as a video: {_why_unreadable(path, error)}") from error
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        container.close()
        raise BadInput(f"{path}: no video stream (found {kinds}), expected a video")
    stream = streams[0]
    if stream.codec_context is None:
        container.close()
        raise BadInput(f"{path}: its video codec is not known to this build of FFmpeg")
    width, height = stream.codec_context.width, stream.codec_context.height
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        container.close()
        raise BadInput(f"{path}: frames of {width}x{height}, expected 1 to {MAX_SIDE} pixels a side")
    # What the container says is not what the codec makes room for: frames may grow in the middle of a stream.
    stream.codec_context.options = {"max_pixels": str(MAX_SIDE**2)}
    return container, stream


def _why_unreadable(path: Path, error: Exception) -> str:
    atoms = _mp4_atoms(path)
    if "ftyp" in atoms and "moov" not in atoms:
        return "an mp4 without its index (moov); the recording was cut off before it was finished"
    return getattr(error, "strerror", None) or str(error)


def _mp4_atoms(path: Path) -> list[str]:
    """Names of the top-level boxes of an mp4, as far as they are whole."""
    names, size, position = [], path.stat().st_size, 0
    with path.open("rb") as f:
        while position + 8 <= size and len(names) < 1000:
            f.seek(position)
            length, name = struct.unpack(">I4s", f.read(8))
            if length == 1 and position + 16 <= size:
                length = struct.unpack(">Q", f.read(8))[0]
            names.append(name.decode("latin-1"))
            if length < 8:
                break
            position += length
    return names


_indices: OrderedDict[tuple, Index] = OrderedDict()  # clips of one long video follow each other in a worker
KEPT_INDICES = 4


def _cached_index(path: Path) -> Index:
    stat = path.stat() if path.is_file() else None
    key = (str(path), stat.st_size, stat.st_mtime_ns) if stat else None
    if key in _indices:
        _indices.move_to_end(key)
        return _indices[key]
    index = _build_index(path)
    _indices[key] = index
    while len(_indices) > KEPT_INDICES:
        _indices.popitem(last=False)
    return index


def _build_index(path: Path) -> Index:
    """Reads every packet's times without decoding it.

    Raises:
        BadInput: where packets are missing or torn, or times are missing or not unique.
    """
    container, stream = _open(path)
    with container:
        promised, time_base, codec = stream.frames, float(stream.time_base), stream.codec_context.name
        promised_s = _tagged_duration(stream)
        packets, torn = [], 0
        try:
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue  # the flush packet
                torn += packet.is_corrupt
                packets.append((packet.pts, packet.dts, packet.is_keyframe, packet.is_discard))
                if len(packets) > MAX_FRAMES:
                    raise BadInput(f"{path}: more than {MAX_FRAMES} frames")
        except av.error.FFmpegError as error:
            raise BadInput(f"{path}: unreadable after {len(packets)} frames: {error.strerror}") from error
    whole = len(packets) - torn
    if whole < promised:
        raise BadInput(f"{path}: truncated: holds {whole} whole frames, expected {promised} by its index")
    if torn:
        raise BadInput(f"{path}: truncated or damaged: {torn} of {len(packets)} frames are torn")
    if not packets:
        raise BadInput(f"{path}: a video stream without frames")
    if codec.startswith(("vp8", "libvpx")) or any(p[0] is None for p in packets):
        # Some packets show nothing (VP8), or the container stores no presentation times (AVI): decode to know.
        shown = _decoded_pts(path)
    else:
        shown = [p[0] for p in packets if not p[3]]
    pts = np.sort(np.asarray(shown, np.int64))
    if len(pts) == 0:
        raise BadInput(f"{path}: a video stream without frames to show")
    if len(pts) > 1 and not (np.diff(pts) > 0).all():
        repeated = int(np.argmin(np.diff(pts)))
        raise BadInput(f"{path}: frames {repeated} and {repeated + 1} have the same presentation time "
                       f"({pts[repeated] * time_base:.6f} s), expected increasing times")
    shortest = float(np.diff(pts).min()) * time_base if len(pts) > 1 else 1.0
    if shortest < MIN_STEP_S:
        raise BadInput(f"{path}: frames {shortest:.3g} s apart, expected at least {MIN_STEP_S:g} s; a broken clock?")
    interval = float(np.median(np.diff(pts))) * time_base if len(pts) > 1 else 0.0
    if promised_s is not None and pts[-1] * time_base + 2.5 * interval < promised_s:
        raise BadInput(f"{path}: truncated: its last frame is at {pts[-1] * time_base:.3f} s, expected frames up to "
                       f"{promised_s:.3f} s by its header")
    keys = sorted((p[0] if p[0] is not None else p[1], p[1] if p[1] is not None else p[0])
                  for p in packets if p[2] and not (p[0] is None and p[1] is None))
    key_pts, key_dts = np.asarray(keys, np.int64).reshape(-1, 2).T
    return Index(pts, time_base, key_pts, key_dts, _quarter_turns(path))


def _tagged_duration(stream) -> float | None:
    """Seconds that Matroska's DURATION tag promises: it counts no frames. Streams without either promise nothing."""
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d*)?)", stream.metadata.get("DURATION", ""))
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else None


def _decoded_pts(path: Path) -> list[int]:
    container, stream = _open(path)
    stream.codec_context.thread_count = 1
    with container:
        try:
            times = [frame.pts for frame in container.decode(stream)]
        except av.error.FFmpegError as error:
            raise BadInput(f"{path}: cannot be decoded: {error.strerror}") from error
    if any(t is None for t in times):
        raise BadInput(f"{path}: frames without presentation times; remux it to mp4 or mkv with its frame rate")
    return times


def _quarter_turns(path: Path) -> int:
    """Clockwise quarter turns that the container asks for.

    Raises:
        BadInput: on mirrored or oblique display matrices: nothing says how a stereo calibration meant them.
    """
    matrix = _display_matrix(path)
    # A frame whose side data were looked at is part of a reference cycle, with its pixels and its decoder's: by
    # themselves, hundreds of MB stay until the collector happens to come by.
    gc.collect(1)
    if matrix is None:
        return 0
    turn = tuple(round(matrix[k] / 65536) for k in (0, 1, 3, 4))
    exact = all(abs(matrix[k] / 65536 - t) < 1e-3 for k, t in zip((0, 1, 3, 4), turn))
    if not exact or turn not in QUARTER_TURNS:
        raise BadInput(f"{path}: its display matrix {[round(matrix[k] / 65536, 3) for k in (0, 1, 3, 4)]} is not a "
                       "turn by a multiple of 90 degrees; re-encode the video upright")
    return QUARTER_TURNS[turn]


def _display_matrix(path: Path) -> tuple[int, ...] | None:
    """The 9 fixed-point numbers of the first frame's display matrix."""
    container, stream = _open(path)
    stream.codec_context.thread_count = 1
    stream.codec_context.thread_type = "NONE"
    with container:
        try:
            frame = next(container.decode(stream), None)
        except av.error.FFmpegError as error:
            raise BadInput(f"{path}: cannot decode frame 0: {error.strerror}") from error
        data = frame.side_data.get(SideData.DISPLAYMATRIX) if frame is not None else None
        return struct.unpack("<9i", bytes(data)[:36]) if data is not None else None
