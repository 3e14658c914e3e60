"""The annotations that Stereo4D publishes of a clip, one npz each (CC BY 4.0; Jin et al., CVPR 2025).

    timestamps         [T]        microseconds of the original video, increasing
    camera2world       [T, 3, 4]  pose of the rectified left camera, OpenCV axes, metres for eyes 63 mm apart
    track_lengths      [N]        observations of each 3D track
    track_indices      [M]        frame of each observation, M the sum of the lengths
    track_coordinates  [M, 3]     its place in the world, metres
    fov_bounds         [4]        degrees: yaw of the left and right edge, tilt of the top and bottom edge of an eye's
                                  equirectangular picture; tilt is positive downwards
    rectified2rig      [2, 3, 3]  axes of the rectified left and right eye to those of the original picture
    name, video_id                texts
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.geometry.poses import Pose
from curate.sources.base import BadInput

MAX_FILE_BYTES = 1 << 29
MAX_UNPACKED_BYTES = 1 << 31  # of the arrays that are read
MAX_FRAMES = 100_000
STEP_US = (1_000, 2_000_000)  # between frames: 1,000 to 0.5 a second
MAX_COORDINATE_M = 1e5
ROTATION_TOLERANCE = 1e-3
NEEDED = ("timestamps", "camera2world", "track_lengths", "track_indices", "track_coordinates")
OPTIONAL = ("fov_bounds", "rectified2rig", "name", "video_id")


@dataclass(frozen=True)
class Stereo4D:
    """One file, checked. `frames` and `points` are the observations of all tracks, track by track."""

    name: str
    video_id: str
    time_us: np.ndarray  # [T] int64
    T_world_cam: Pose  # [T]
    lengths: np.ndarray  # [N] int64
    frames: np.ndarray  # [M] int64
    points: np.ndarray  # [M, 3] metres, world; nan where not known
    fov_bounds: np.ndarray | None  # [4] degrees
    rectified2rig: np.ndarray | None  # [2, 3, 3]

    @property
    def num_frames(self) -> int:
        return len(self.time_us)

    def tracks(self, start: int, stop: int, least: int = 1, most: int | None = None) -> np.ndarray:
        """[n, stop - start, 3] metres, nan where not observed: the tracks with at least `least` observations in these
        frames; where there are more than `most`, as many spread evenly over them."""
        owner = np.repeat(np.arange(len(self.lengths)), self.lengths)
        inside = (self.frames >= start) & (self.frames < stop) & np.isfinite(self.points).all(1)
        count = np.bincount(owner[inside], minlength=len(self.lengths))
        kept = np.flatnonzero(count >= least)
        if most is not None and len(kept) > most:
            kept = kept[np.linspace(0, len(kept) - 1, most).astype(int)]
        row = np.full(len(self.lengths), -1)
        row[kept] = np.arange(len(kept))
        inside &= row[owner] >= 0
        out = np.full((len(kept), stop - start, 3), np.nan)
        out[row[owner[inside]], self.frames[inside] - start] = self.points[inside]
        return out


def read_stereo4d(path: Path) -> Stereo4D:
    """
    Raises:
        BadInput: not an npz, too large, pickled objects in it, or arrays that are missing, of another shape or not
            what they should be; names the file, the array, what was found and what was expected.
    """
    arrays = _arrays(path)
    time_us = _times(arrays["timestamps"], path)
    num = len(time_us)
    poses = _poses(arrays["camera2world"], num, path)
    lengths = _counts(arrays["track_lengths"], "track_lengths", path)
    frames = _counts(arrays["track_indices"], "track_indices", path)
    points = np.asarray(arrays["track_coordinates"])
    total = int(lengths.sum()) if len(lengths) else 0
    if points.shape != (total, 3) or points.dtype.kind != "f" or frames.shape != (total,):
        raise BadInput(f"{path}: track_lengths sum up to {total} observations, but track_indices is {frames.shape} and "
                       f"track_coordinates {points.shape} {points.dtype}, expected ({total},) and ({total}, 3) floats")
    if total and frames.max() >= num:
        raise BadInput(f"{path}: track_indices goes up to {frames.max()}, expected below {num} (timestamps)")
    same = np.repeat(np.arange(len(lengths)), lengths)
    step = np.diff(frames)
    if ((np.diff(same) == 0) & (step <= 0)).any():
        at = int(np.argmax((np.diff(same) == 0) & (step <= 0)))
        raise BadInput(f"{path}: track {same[at]} is observed at frame {frames[at]} and then at {frames[at + 1]}, "
                       "expected increasing frames in a track")
    points = np.asarray(points, float)
    if total and np.nanmax(np.abs(points), initial=0) > MAX_COORDINATE_M:
        raise BadInput(f"{path}: track_coordinates reach {np.nanmax(np.abs(points)):.3g}, expected metres below "
                       f"{MAX_COORDINATE_M:g}")
    name = _text(arrays.get("name")) or path.stem
    video_id = _text(arrays.get("video_id")) or name.rsplit("_", 1)[0]
    bounds = _of_shape(arrays.get("fov_bounds"), (4,), "fov_bounds", path)
    turns = _of_shape(arrays.get("rectified2rig"), (2, 3, 3), "rectified2rig", path)
    return Stereo4D(name, video_id, time_us, poses, lengths, frames, points, bounds, turns)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The known arrays of the file; nothing else is unpacked."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file, expected Stereo4D's npz")
    if (size := path.stat().st_size) > MAX_FILE_BYTES:
        raise BadInput(f"{path}: {size} bytes, expected at most {MAX_FILE_BYTES}")
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename.removesuffix(".npy"): member.file_size for member in archive.infolist()}
        missing = [name for name in NEEDED if name not in sizes]
        if missing:
            there = ", ".join(sorted(sizes)[:12]) or "nothing"
            raise BadInput(f"{path}: has no {', '.join(missing)} (found {there[:200]}), expected the arrays that "
                           "Stereo4D publishes")
        wanted = [name for name in (*NEEDED, *OPTIONAL) if name in sizes]
        if (unpacked := sum(sizes[name] for name in wanted)) > MAX_UNPACKED_BYTES:
            raise BadInput(f"{path}: {unpacked} bytes unpacked, expected at most {MAX_UNPACKED_BYTES}")
        arrays = {}
        with np.load(path, allow_pickle=False) as npz:
            for name in wanted:
                try:
                    arrays[name] = npz[name]
                except ValueError as error:
                    if "pickle" not in str(error):
                        raise
                    raise BadInput(f"{path}: {name} is an array of Python objects (a pickle), which is never read; "
                                   "save it as an array of numbers or text") from None
        return arrays
    except BadInput:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise some ten kinds on damaged files
        raise BadInput(f"{path}: not a readable npz: {type(error).__name__}: {str(error)[:100]}") from None


def _times(values: np.ndarray, path: Path) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "iuf" or not 2 <= len(values) <= MAX_FRAMES:
        raise BadInput(f"{path}: timestamps has shape {values.shape} of {values.dtype}, expected [T] numbers, 2 to "
                       f"{MAX_FRAMES}")
    if values.dtype.kind == "f" and not (np.isfinite(values) & (np.abs(values) < 2**53)).all():
        raise BadInput(f"{path}: timestamps hold {values[~np.isfinite(values)][:1]}, expected finite microseconds")
    exact, values = values, np.rint(values).astype(np.int64)
    steps = np.diff(values)
    middle = float(np.median(np.diff(exact.astype(float))))
    if 0 < middle < STEP_US[0] or middle > STEP_US[1]:
        unit = "seconds" if middle < 1 else "milliseconds" if middle < STEP_US[0] else "nanoseconds"
        raise BadInput(f"{path}: timestamps are {middle:g} apart, which looks like {unit}; expected microseconds "
                       f"({STEP_US[0]} to {STEP_US[1]} between frames)")
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0))
        raise BadInput(f"{path}: timestamps: time {at + 1} ({values[at + 1]} µs) is not after the one before "
                       f"it ({values[at]} µs)")
    return values


def _poses(values: np.ndarray, num: int, path: Path) -> Pose:
    values = np.asarray(values)
    if values.shape != (num, 3, 4) or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise BadInput(f"{path}: camera2world has shape {values.shape} of {values.dtype}, expected ({num}, 3, 4) "
                       "finite floats, one pose for each of the timestamps")
    values = np.asarray(values, float)
    u, _, vt = np.linalg.svd(values[:, :, :3])
    rotation = u @ vt
    off = np.abs(rotation - values[:, :, :3]).max((1, 2))
    if (np.linalg.det(rotation) < 0).any() or off.max() > ROTATION_TOLERANCE:
        at = int(np.argmax(np.where(np.linalg.det(rotation) < 0, np.inf, off)))
        raise BadInput(f"{path}: camera2world[{at}] does not start with a rotation: "
                       f"{np.round(values[at, :, :3], 3).tolist()}")
    if np.abs(values[:, :, 3]).max() > MAX_COORDINATE_M:
        raise BadInput(f"{path}: camera2world has a place {np.abs(values[:, :, 3]).max():.3g} m away, expected metres")
    return Pose("world", "cam", rotation, values[:, :, 3])


def _counts(values: np.ndarray, name: str, path: Path) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "iu" or (len(values) and values.min() < 0):
        raise BadInput(f"{path}: {name} has shape {values.shape} of {values.dtype}, expected one row of whole numbers, "
                       "none negative")
    return values.astype(np.int64)


def _of_shape(values: np.ndarray | None, shape: tuple[int, ...], name: str, path: Path) -> np.ndarray | None:
    if values is None:
        return None
    if values.shape != shape or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise BadInput(f"{path}: {name} has shape {values.shape} of {values.dtype}, expected {shape} finite numbers")
    return np.asarray(values, float)


def _text(value: np.ndarray | None) -> str:
    """A name that can be part of a path, or ""."""
    text = str(value.item()) if value is not None and value.size == 1 and value.dtype.kind == "U" else ""
    return text if re.fullmatch(r"[\w-]{1,100}", text) else ""
