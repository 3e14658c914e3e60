"""The files of an RGB-D recording by its layout: colour, depth, time and pose of every frame."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from curate.geometry.poses import Pose
from curate.geometry.rotations import exp_so3, log_so3
from curate.sources.base import BadInput, check_inside
from curate.sources.config_rgbd import GivenPosesConfig, RgbdConfig
from curate.sources.images import list_images

MAX_LIST_BYTES = 64 << 20
MAX_POSE_BYTES = 4096
DEFAULT_FPS = 30.0
FRAME = re.compile(r"frame-(\d+)\.color\.(png|jpg|jpeg)", re.IGNORECASE)
POSES = {"tum": "groundtruth.txt", "folders": "trajectory.log"}


@dataclass(frozen=True)
class Listed:
    """T frames. `poses`: T_world_camera of the camera that `poses.of` names; None where they are to be estimated.

    skipped: colour images without a depth image (or a pose) near enough in time.
    apart_s: how far depth is from its colour by their times, root mean square.
    """

    color: list[Path]
    depth: list[Path]
    time_s: np.ndarray  # [T] from the first frame
    poses: Pose | None
    skipped: int = 0
    apart_s: float = 0.0


def list_frames(folder: Path, config: RgbdConfig, root: Path) -> Listed:
    """
    Raises:
        BadInput: a file of the layout that is missing or wrong, a gap in the frames; names it.
    """
    given = config.poses if isinstance(config.poses, GivenPosesConfig) else None
    listed = {"tum": _tum, "7-scenes": _seven_scenes, "folders": _folders}[config.layout](folder, config, given)
    for path in (*listed.color, *listed.depth):
        check_inside(path, root)
    gaps = np.diff(listed.time_s)
    if len(gaps) and gaps.max() > config.max_gap_s:
        i = int(np.argmax(gaps))
        raise BadInput(f"{folder}: {gaps[i]:.3f} s between {listed.color[i].name} and {listed.color[i + 1].name}, "
                       f"expected at most {config.max_gap_s:g} s (source.max_gap_s); are frames missing?")
    return listed


def _tum(folder: Path, config: RgbdConfig, given: GivenPosesConfig | None) -> Listed:
    color, depth = (_file_list(folder / name) for name in ("rgb.txt", "depth.txt"))
    if shorter := next((name for name, files in (("rgb.txt", color), ("depth.txt", depth)) if not files), None):
        raise BadInput(f"{folder / shorter}: no frames, expected lines of `time file`")
    pairs = nearest_pairs([t for t, _ in color], [t for t, _ in depth], config.tolerance_s)
    if not pairs:
        raise BadInput(f"{folder}: no depth image lies within {config.tolerance_s:g} s of a colour image "
                       f"(source.tolerance_s); rgb.txt is of {color[0][0]:.3f} to {color[-1][0]:.3f} s, depth.txt of "
                       f"{depth[0][0]:.3f} to {depth[-1][0]:.3f} s")
    time_s = np.array([color[i][0] for i, _ in pairs])
    poses = None
    if given is not None:
        path = _existing(folder / (given.file or POSES["tum"]), "a file of poses")
        times, there = read_tum_poses(path)
        poses, known = poses_at(times, there, time_s, given.tolerance_s)
        if not known.any():
            raise BadInput(f"{path}: no pose within {given.tolerance_s:g} s of a frame; poses are of {times[0]:.3f} to "
                           f"{times[-1]:.3f} s, frames of {time_s[0]:.3f} to {time_s[-1]:.3f} s")
        first, last = np.flatnonzero(known)[[0, -1]]  # mocap starts late and ends early; a hole inside is a gap
        if not known[first:last + 1].all():
            hole = first + int(np.argmin(known[first:last + 1]))
            raise BadInput(f"{path}: no pose within {given.tolerance_s:g} s of the frame at {time_s[hole]:.6f} s, "
                           "between others that have one (source.poses.tolerance_s)")
        pairs, time_s, poses = pairs[first:last + 1], time_s[first:last + 1], poses[first:last + 1]
    files = [(_existing(folder / color[i][1], "an image named by rgb.txt"),
              _existing(folder / depth[j][1], "an image named by depth.txt")) for i, j in pairs]
    return Listed([c for c, _ in files], [d for _, d in files], time_s - time_s[0], poses, len(color) - len(pairs),
                  float(np.sqrt(np.mean([(color[i][0] - depth[j][0]) ** 2 for i, j in pairs]))))


def _seven_scenes(folder: Path, config: RgbdConfig, given: GivenPosesConfig | None) -> Listed:
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder")
    numbered = sorted((int(m[1]), p) for p in folder.iterdir() if (m := FRAME.fullmatch(p.name)))
    if not numbered:
        raise BadInput(f"{folder}: no frame-000000.color.png (or .jpg), expected the layout of 7-Scenes "
                       "(source.layout)")
    color = [p for _, p in numbered]
    stems = [p.name.split(".")[0] for p in color]
    if twice := next((s for s, t in pairwise(stems) if s == t), None):
        raise BadInput(f"{folder}: two colour images of {twice}, expected one")
    depth = [_existing(folder / f"{stem}.depth.png", "the depth of that frame") for stem in stems]
    poses = None
    if given is not None:
        matrices = np.stack([read_matrix(_existing(folder / f"{stem}.pose.txt", "the pose of that frame"))
                             for stem in stems])
        poses = _pose(matrices, folder)
    numbers = np.array([n for n, _ in numbered])
    return Listed(color, depth, (numbers - numbers[0]) / (config.fps or DEFAULT_FPS), poses)


def _folders(folder: Path, config: RgbdConfig, given: GivenPosesConfig | None) -> Listed:
    place = next((name for name in ("color", "rgb", "image") if (folder / name).is_dir()), None)
    if place is None:
        raise BadInput(f"{folder}: no folder color (or rgb, image), expected colour images beside the folder depth")
    color, depth = list_images(folder, place), list_images(folder, "depth")
    if len(color) != len(depth):
        raise BadInput(f"{folder}: {len(color)} images in {place} but {len(depth)} in depth, expected one for one")
    if config.fps is None:
        raise BadInput(f"{folder}: images without times; give source.fps")
    poses = None
    if given is not None:
        path = _existing(folder / (given.file or POSES["folders"]), "a file of poses")
        poses = _pose(read_log(path), path)
        if len(poses) != len(color):
            raise BadInput(f"{path}: {len(poses)} poses for {len(color)} frames, expected one each")
    return Listed(color, depth, np.arange(len(color)) / config.fps, poses)


def nearest_pairs(a: list[float], b: list[float], tolerance: float) -> list[tuple[int, int]]:
    """Indices of times of `a` and `b` (both rising) that are each other's nearest and at most `tolerance` apart."""
    out = []
    for i, t in enumerate(a):
        j = _nearest(b, t)
        if abs(b[j] - t) <= tolerance and _nearest(a, b[j]) == i:
            out.append((i, j))
    return out


def _nearest(rising: list[float], value: float) -> int:
    right = min(bisect.bisect_left(rising, value), len(rising) - 1)
    left = max(right - 1, 0)
    return left if abs(rising[left] - value) <= abs(rising[right] - value) else right


def poses_at(times: np.ndarray, poses: Pose, at: np.ndarray, tolerance: float) -> tuple[Pose, np.ndarray]:
    """Poses [T] at times `at`, between the two around each (on a line, at an even turn), and where both are near."""
    right = np.clip(np.searchsorted(times, at), 1, max(len(times) - 1, 1)) if len(times) > 1 else np.zeros(len(at), int)
    left = np.maximum(right - 1, 0)
    span = times[right] - times[left]
    share = np.clip((at - times[left]) / np.where(span > 0, span, 1), 0, 1)
    between = np.swapaxes(poses.rotation[left], 1, 2) @ poses.rotation[right]
    rotation = poses.rotation[left] @ exp_so3(share[:, None] * log_so3(between))
    shift = poses.translation[right] - poses.translation[left]
    known = (times[left] - at <= tolerance) & (at - times[right] <= tolerance)
    known &= np.minimum(np.abs(at - times[left]), np.abs(at - times[right])) <= tolerance
    known &= (span <= 2 * tolerance) | (np.minimum(share, 1 - share) < 1e-9)
    return Pose(poses.target, poses.source, rotation, poses.translation[left] + share[:, None] * shift), known


def read_tum_poses(path: Path) -> tuple[np.ndarray, Pose]:
    """Times [N] (rising) and T_world_cam [N] of `time tx ty tz qx qy qz qw` a line.

    Raises:
        BadInput: a line with other than eight finite numbers, a quaternion without length, times that fall.
    """
    rows = []
    for number, words in _lines(path):
        rows.append(_numbers(words, 8, f"{path}:{number}", "time tx ty tz qx qy qz qw"))
        if not 0.5 < float(np.linalg.norm(rows[-1][4:])) < 1.5:
            raise BadInput(f"{path}:{number}: quaternion {rows[-1][4:].tolist()} is not of length one")
        if len(rows) > 1 and rows[-1][0] <= rows[-2][0]:
            raise BadInput(f"{path}:{number}: time {rows[-1][0]:.6f} is not after {rows[-2][0]:.6f}")
    if not rows:
        raise BadInput(f"{path}: no poses, expected lines of `time tx ty tz qx qy qz qw`")
    table = np.stack(rows)
    x, y, z, w = (table[:, 4:] / np.linalg.norm(table[:, 4:], axis=1, keepdims=True)).T
    rotation = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
                         2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
                         2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1).reshape(-1, 3, 3)
    return table[:, 0], Pose("world", "cam", rotation, table[:, 1:4])


def read_matrix(path: Path) -> np.ndarray:
    """[4, 4], four numbers a line.

    Raises:
        BadInput: anything else.
    """
    if path.stat().st_size > MAX_POSE_BYTES:
        raise BadInput(f"{path}: {path.stat().st_size} bytes, expected a matrix of 4 x 4")
    rows = [_numbers(words, 4, f"{path}:{number}", "four numbers") for number, words in _lines(path)]
    if len(rows) != 4:
        raise BadInput(f"{path}: {len(rows)} lines, expected a matrix of 4 x 4")
    return np.stack(rows)


def read_log(path: Path) -> np.ndarray:
    """[N, 4, 4] of Open3D's trajectory: for each frame a line of three whole numbers, then four of the matrix.

    Raises:
        BadInput: anything else.
    """
    lines = _lines(path)
    if not lines or len(lines) % 5:
        raise BadInput(f"{path}: {len(lines)} lines, expected five a frame (`i i i+1` and a matrix of 4 x 4)")
    return np.stack([np.stack([_numbers(words, 4, f"{path}:{number}", "four numbers")
                               for number, words in lines[k + 1:k + 5]]) for k in range(0, len(lines), 5)])


def _pose(matrices: np.ndarray, where: Path) -> Pose:
    try:
        poses = Pose.from_matrix("world", "cam", matrices)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise BadInput(f"{where}: not poses: {error}") from error
    off = np.abs(poses.rotation - matrices[:, :3, :3]).max(initial=0)
    if off > 0.02:
        raise BadInput(f"{where}: a pose's rotation is none (by {off:.2g}), expected camera-to-world matrices")
    return poses


def _file_list(path: Path) -> list[tuple[float, str]]:
    """(seconds, file) of a line each, rising.

    Raises:
        BadInput: no such file; a line without a time and a name; times that fall.
    """
    out: list[tuple[float, str]] = []
    for number, words in _lines(_existing(path, "a list of `time file` lines")):
        if len(words) < 2:
            raise BadInput(f"{path}:{number}: found {' '.join(words)[:60]!r}, expected `time file`")
        time_s = float(_numbers(words[:1], 1, f"{path}:{number}", "a time in seconds")[0])
        if out and time_s <= out[-1][0]:
            raise BadInput(f"{path}:{number}: time {time_s:.6f} is not after {out[-1][0]:.6f}")
        out.append((time_s, words[1]))
    return out


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """(number, words) of lines that are neither blank nor begin with #."""
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise BadInput(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_LIST_BYTES}")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error
    return [(number, line.replace(",", " ").split()) for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.lstrip().startswith("#")]


def _numbers(words: list[str], count: int, where: str, expected: str) -> np.ndarray:
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        values = np.zeros(0)
    if len(values) != count or not np.isfinite(values).all():
        raise BadInput(f"{where}: found {' '.join(words)[:60]!r}, expected {expected}")
    return values


def _existing(path: Path, what: str) -> Path:
    if not path.is_file():
        raise BadInput(f"{path}: no such file, expected {what}")
    return path
